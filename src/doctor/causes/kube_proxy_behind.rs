//! Rules or virtual servers that are older than the endpoints: kube-proxy is slow, stuck or not running. The truth to compare with
//! is what the Kubernetes API says; a moment of difference is no fault.

use crate::doctor::Subject;
use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::{Finding, Severity};
use crate::format::{duration, plural};
use crate::proxy::{Behind, Protocol, ServiceName, differences, endpoint_text};
use crate::ruleset::IpFamily;
use crate::snapshot::SourceId;
use std::cell::LazyCell;
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Duration;

/// kube-proxy writes at most once a second (`minSyncPeriod`), and large rule sets take some: what is younger is on its way.
const ON_ITS_WAY: Duration = Duration::from_secs(15);
/// Services that are reported one by one.
const MOST: usize = 20;

fn list(endpoints: &BTreeSet<(IpAddr, u16)>) -> String {
    let shown: Vec<String> = endpoints.iter().take(6).map(|(a, p)| endpoint_text(*a, *p)).collect();
    let more = endpoints.len().saturating_sub(6);
    shown.join(", ") + &if more > 0 { format!(" and {more} more") } else { String::new() }
}

pub(super) const CHECK: Check =
    Check { id: "kube_proxy_behind", needs: &[SourceId::Api], looks_at: SourceId::RULES, readings: 1, run };

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    let now = cx.cluster()?;
    if cx.model.services.modes.is_empty() {
        // That all rules are gone is another cause's.
        return Err(NotChecked::new(None, "no mode of kube-proxy holds a Service here"));
    }
    // What differed at the reading before; asked for where something of unknown age differs.
    let earlier = LazyCell::new(|| {
        let (before, cluster) = cx.facts.before.and_then(|b| Some((b, b.snapshot.cluster.as_ref()?)))?;
        let all = differences(cluster, &before.model.services);
        Some(all.into_iter().map(|d| (key(&d), d.difference)).collect::<HashMap<_, _>>())
    });
    let mut reported = Vec::new();
    for d in differences(now, &cx.model.services) {
        let age = d
            .service
            .changed_at
            .map(|at| Duration::try_from(cx.snapshot.taken_at.duration_since(at)).unwrap_or_default());
        // Of what was so from the start the age is not known: it must have been so at the reading before, too.
        let stays = || earlier.as_ref().and_then(|e| e.get(&key(&d))) == Some(&d.difference);
        let is_old = match age {
            Some(age) => age >= ON_ITS_WAY,
            // One reading of files: what differs there differs.
            None if cx.facts.before.is_none() => cx.is_still(),
            None => stays(),
        };
        if is_old {
            reported.push((d, age));
        }
    }
    if reported.is_empty() && cx.facts.before.is_none() && !cx.is_still() {
        return Err(NotChecked::ONE_READING);
    }
    let all = reported.len();
    for (behind, age) in reported.into_iter().take(MOST) {
        let d = behind.difference;
        let title = match (d.missing.len(), d.surplus.len()) {
            (0, n) => format!(
                "{} no longer, and still {}",
                are(n, "an endpoint", "endpoints"),
                if n == 1 { "gets traffic" } else { "get traffic" }
            ),
            (n, 0) => format!("{} without rules", plural(n as u64, "ready endpoint")),
            (a, b) => format!(
                "{} without rules, {} that are none any more",
                plural(a as u64, "ready endpoint"),
                plural(b as u64, "backend")
            ),
        };
        let old =
            age.map_or("since before kptop began to look".to_string(), |a| format!("{} ago", duration(a)));
        let dead = !d.surplus.is_empty();
        let mut f = Finding {
            id: "kube_proxy_behind",
            severity: if dead { Severity::Critical } else { Severity::Warning },
            title,
            subject: behind.place.map_or(Subject::Node, Subject::Service),
            services: behind.place.into_iter().collect(),
            ..Finding::node("", Severity::Info, &format!("{} {}", behind.name, behind.protocol.name()), "")
        };
        if dead {
            f = f.proved_by(format!(
                "backends here that no EndpointSlice has as usable: {}",
                list(&d.surplus)
            ));
        }
        if !d.missing.is_empty() {
            f = f.proved_by(format!("ready in EndpointSlices and no backend here: {}", list(&d.missing)));
        }
        found.push(
            f.proved_by(format!("its endpoints last changed {old}"))
                .advise("is kube-proxy running here, and what does it log? kubectl -n kube-system get pods -o wide | grep kube-proxy")
                .advise("its metric kubeproxy_sync_proxy_rules_last_timestamp_seconds says when it last wrote"),
        );
    }
    if all > MOST {
        found.push(Finding::node(
            "kube_proxy_behind",
            Severity::Warning,
            "kube-proxy",
            format!("{} more Services are not as the EndpointSlices say", all - MOST),
        ));
    }
    Ok(())
}

fn are(n: usize, one: &str, many: &str) -> String {
    if n == 1 { format!("a backend is {one}") } else { format!("{n} backends are {many}") }
}

/// Whose difference it is.
fn key(of: &Behind<'_>) -> (ServiceName, Protocol, IpFamily) {
    (of.name.clone(), of.protocol, of.family)
}
