//! Virtual servers that no ipset of kube-proxy's knows: the rules beside IPVS neither masquerade nor let in what goes there. Sets
//! are filled after the virtual servers, one member at a time: only what is missing twice is a fault.

use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::{Finding, Severity};
use crate::proxy::{Mode, Service, endpoint_text};
use crate::snapshot::Snapshot;
use crate::snapshot::SourceId;
use crate::snapshot::facts::Ipset;

/// Sets of frontends (`pkg/proxy/ipvs/ipset.go`).
const SETS: [&str; 3] = ["CLUSTER-IP", "EXTERNAL-IP", "LOAD-BALANCER"];

fn sets(snapshot: &Snapshot) -> impl Iterator<Item = &Ipset> {
    let all = snapshot.ipsets.iter().flat_map(|r| r.value.iter());
    all.filter(|s| {
        let name = s.name.strip_prefix(crate::proxy::ipvs::IPSETS).map(|n| n.strip_prefix("6-").unwrap_or(n));
        name.is_some_and(|n| SETS.contains(&n))
    })
}

/// Frontends that no set has.
fn missing<'a>(snapshot: &Snapshot, services: impl Iterator<Item = &'a Service>) -> Vec<String> {
    let mut known = std::collections::HashSet::new();
    for m in sets(snapshot).flat_map(|s| s.members.iter().flatten()) {
        known.insert((m.protocol, m.address, m.port));
    }
    let mut gone = Vec::new();
    for s in services.filter(|s| s.engine.mode() == Mode::Ipvs && !s.stale) {
        for f in &s.frontends {
            // Node ports are on the node's own addresses, and have sets of their own.
            let Some(a) = f.address.filter(|a| {
                !snapshot
                    .addresses
                    .iter()
                    .any(|x| x.address == *a && x.interface != crate::proxy::ipvs::DUMMY)
            }) else {
                continue;
            };
            if !known.contains(&(Some(s.protocol.number()), Some(a), Some(f.port))) {
                gone.push(format!("{} {}", endpoint_text(a, f.port), s.protocol.lower()));
            }
        }
    }
    gone
}

pub(super) const CHECK: Check =
    Check { id: "ipvs_sets", needs: &[SourceId::Ipvs], looks_at: SourceId::RULES, readings: 1, run };

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    // Without the sets there is nothing to compare with: rules of ipvs mode that are gone altogether are another cause's.
    let read = sets(cx.snapshot).count();
    if !cx.active(Mode::Ipvs) || read == 0 {
        return Ok(());
    }
    if sets(cx.snapshot).any(|s| s.members.is_none()) {
        return Err(NotChecked::new(SourceId::Ipsets, "members of large ipsets are not read"));
    }
    let before = cx.before()?;
    let old = missing(before.snapshot, before.model.services.iter());
    let mut gone = missing(cx.snapshot, cx.model.services.iter());
    gone.retain(|g| old.contains(g));
    if !gone.is_empty() {
        found.push(
            Finding::node(
                "ipvs_sets",
                Severity::Warning,
                "ipsets",
                format!(
                    "{} in no ipset of kube-proxy's: neither masqueraded nor let in",
                    if gone.len() == 1 {
                        "a virtual server is".into()
                    } else {
                        format!("{} virtual servers are", gone.len())
                    }
                ),
            )
            .proved_by(format!(
                "missing in KUBE-CLUSTER-IP, KUBE-EXTERNAL-IP and KUBE-LOAD-BALANCER: {}",
                gone[..gone.len().min(8)].join(", ")
            ))
            .advise(
                "restart kube-proxy: it fills its sets again; who changes them (ipset list KUBE-CLUSTER-IP)?",
            ),
        );
    }
    Ok(())
}
