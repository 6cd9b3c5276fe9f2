//! Virtual servers that no ipset of kube-proxy's knows: the rules beside IPVS neither masquerade nor let in what goes there, and
//! the filter of 1.36 rejects it. Sets are filled after the virtual servers, one member at a time: only what is
//! missing twice is a fault.

use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::{Finding, Severity};
use crate::doctor::losses::Taken;
use crate::format::plural;
use crate::proxy::{Mode, Service, endpoint_text};
use crate::snapshot::Snapshot;
use crate::snapshot::SourceId;
use crate::snapshot::facts::Ipset;
use std::collections::HashSet;

/// Sets of frontends (`pkg/proxy/ipvs/ipset.go`).
const SETS: [&str; 3] = ["CLUSTER-IP", "EXTERNAL-IP", "LOAD-BALANCER"];

fn sets(snapshot: &Snapshot) -> impl Iterator<Item = &Ipset> {
    let all = snapshot.ipsets.iter().flat_map(|r| r.value.iter());
    all.filter(|s| {
        let name = s.name.strip_prefix(crate::proxy::ipvs::IPSETS).map(|n| n.strip_prefix("6-").unwrap_or(n));
        name.is_some_and(|n| SETS.contains(&n))
    })
}

/// A frontend that no set has.
struct Missing {
    /// Of the Service that it is a frontend of.
    service: usize,
    /// `10.96.0.10:53 udp`
    frontend: String,
}

/// Frontends that no set has.
fn missing<'a>(snapshot: &Snapshot, services: impl Iterator<Item = &'a Service>) -> Vec<Missing> {
    let mut known = HashSet::new();
    for m in sets(snapshot).flat_map(|s| s.members.iter().flatten()) {
        known.insert((m.protocol, m.address, m.port));
    }
    let mut gone = Vec::new();
    for (service, s) in services.enumerate().filter(|(_, s)| s.engine.mode() == Mode::Ipvs && !s.stale) {
        for f in &s.frontends {
            // Node ports are on the node's own addresses, and have sets of their own.
            let Some(a) = f.address.filter(|a| {
                !snapshot
                    .addresses
                    .iter()
                    .any(|x| x.address == *a && !crate::proxy::ipvs::is_dummy(&x.interface))
            }) else {
                continue;
            };
            if !known.contains(&(Some(s.protocol.number()), Some(a), Some(f.port))) {
                let frontend = format!("{} {}", endpoint_text(a, f.port), s.protocol.lower());
                gone.push(Missing { service, frontend });
            }
        }
    }
    gone
}

pub(super) const CHECK: Check = Check {
    id: "ipvs_sets",
    about: "virtual servers are missing in kube-proxy's ipsets",
    needs: &[SourceId::Ipvs],
    looks_at: SourceId::RULES,
    readings: 1,
    run,
};

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    // Without the sets there is nothing to compare with: rules of ipvs mode that are gone altogether are another cause's.
    let read = sets(cx.snapshot).count();
    if !cx.active(Mode::Ipvs) || read == 0 {
        return Ok(());
    }
    if sets(cx.snapshot).any(|s| s.members.is_none()) {
        return Err(NotChecked::new(SourceId::Ipsets, "members of large ipsets are not read"));
    }
    let mut gone = missing(cx.snapshot, cx.model.services.iter());
    let rejected: Vec<&Taken<'_>> = cx.taken_as(CHECK.id).collect();
    match cx.before() {
        Ok(before) => {
            let old = missing(before.snapshot, before.model.services.iter());
            let old: HashSet<&str> = old.iter().map(|m| &*m.frontend).collect();
            gone.retain(|m| old.contains(&*m.frontend));
        }
        // What a rule rejects is seen in one reading.
        Err(_) if !rejected.is_empty() => {
            gone.retain(|m| rejected.iter().any(|t| t.services().contains(&m.service)));
        }
        Err(e) => return Err(e),
    }
    let advice =
        "restart kube-proxy: it fills its sets again; who changes them (ipset list KUBE-CLUSTER-IP)?";
    let proof = |gone: &[Missing]| {
        let names: Vec<&str> = gone.iter().take(8).map(|m| &*m.frontend).collect();
        format!("missing in KUBE-CLUSTER-IP, KUBE-EXTERNAL-IP and KUBE-LOAD-BALANCER: {}", names.join(", "))
    };
    let is_are = |gone: &[Missing]| {
        format!(
            "{} {}",
            plural(gone.len() as u64, "virtual server"),
            if gone.len() == 1 { "is" } else { "are" }
        )
    };
    for t in rejected {
        let losses: Vec<_> =
            t.losses.iter().filter(|l| gone.iter().any(|m| m.service == l.service)).copied().collect();
        let t = Taken { taker: t.taker, losses };
        let services = t.services();
        let (of_these, others) = gone.into_iter().partition::<Vec<_>, _>(|m| services.contains(&m.service));
        gone = others;
        if of_these.is_empty() {
            continue;
        }
        let title = format!(
            "packets from {} are rejected: {} in no ipset of kube-proxy's",
            t.senders_text(),
            is_are(&of_these)
        );
        found.push(
            super::shared::lossy(cx, CHECK.id, t.severity(), title, &t)
                .proved_by(proof(&of_these))
                .advise(advice)
                .advise(super::shared::explain_hint(cx, &t)),
        );
    }
    if !gone.is_empty() {
        let title = format!("{} in no ipset of kube-proxy's: neither masqueraded nor let in", is_are(&gone));
        found.push(
            Finding::node(CHECK.id, Severity::Warning, "ipsets", title)
                .proved_by(proof(&gone))
                .advise(advice),
        );
    }
    Ok(())
}
