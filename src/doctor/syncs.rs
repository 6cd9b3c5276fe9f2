//! What kube-proxy's own answers say of its syncs.

use crate::format::duration;
use crate::ruleset::IpFamily;
use crate::snapshot::facts::{KubeProxy, Syncs};
use std::time::Duration;

/// A sync that is asked for may take this long beyond `minSyncPeriod`: large rule sets do.
const GRACE_S: f64 = 10.0;

/// `minSyncPeriod` where kube-proxy does not tell it (its default).
const MIN_SYNC: Duration = Duration::from_secs(1);

/// `minSyncPeriod`.
pub(super) fn min_sync(k: Option<&KubeProxy>) -> Duration {
    k.and_then(|k| k.config.as_ref()?.min_sync).unwrap_or(MIN_SYNC)
}

/// The metrics of a family of which a sync is due: it was asked for, longer ago than it may take, and none ended since. An old
/// sync alone is no fault: without a change there is none.
fn due(k: &KubeProxy, of: &Syncs) -> bool {
    let now = k.asked_at.as_millisecond() as f64 / 1e3;
    of.queued_s > of.last_s && now - of.queued_s > min_sync(Some(k)).as_secs_f64() + GRACE_S
}

/// Why rules are not up to date by kube-proxy's own word, as evidence; empty where they are. This held with every version from 1.25
/// to 1.36, in every mode, for writes that fail, hang, or cannot begin.
pub(super) fn overdue(k: &KubeProxy) -> Vec<String> {
    let mut why = Vec::new();
    if let Some(h) = k.health.given().filter(|h| h.status != 200) {
        let sick = h.families.iter().filter(|f| !f.healthy).map(|f| ip_family(f.family));
        let sick: Vec<&str> = sick.collect();
        let of = if sick.is_empty() { String::new() } else { format!(" for {}", sick.join(" and ")) };
        let ago = h.families.iter().filter(|f| !f.healthy).filter_map(|f| f.updated_at).min();
        let ago = ago.or(h.updated_at).and_then(|at| Duration::try_from(k.asked_at.duration_since(at)).ok());
        let last = ago.map_or(String::new(), |a| format!(", last up to date {} ago", duration(a)));
        why.push(format!("127.0.0.1:10256/healthz is {}{of}{last}", h.status));
    }
    let now = k.asked_at.as_millisecond() as f64 / 1e3;
    for s in k.metrics.given().into_iter().flat_map(|m| &m.syncs).filter(|s| due(k, s)) {
        let ago = |at: f64| duration(Duration::try_from_secs_f64(now - at).unwrap_or_default());
        let of = s.family.map_or(String::new(), |f| format!(" {}", ip_family(f)));
        let last = if s.last_s > 0.0 {
            format!("the last one ended {} ago", ago(s.last_s))
        } else {
            "none ended yet".into()
        };
        why.push(format!(
            "a sync{of} was asked for {} ago, and {last} (kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds)",
            ago(s.queued_s)
        ));
    }
    why
}

/// Failed writes, as evidence: that they rise, or that there are some and nothing hangs. `None` where writes did not fail.
pub(super) fn failures(k: &KubeProxy) -> Option<String> {
    let m = k.metrics.given()?;
    let risen = k.rose(|m| m.failures());
    let hangs = m.pending.is_some_and(|p| p > 0) && risen.is_none_or(|n| n == 0);
    if m.failures() == 0 || hangs {
        return None;
    }
    let since = risen.filter(|n| *n > 0).zip(k.before.as_ref()).map(|(n, before)| {
        let over = Duration::try_from(k.asked_at.duration_since(before.0)).unwrap_or_default();
        format!(", {n} of them in the last {}", duration(over))
    });
    Some(format!(
        "{} failed writes since it began{} (kubeproxy_sync_proxy_rules_…_failures_total)",
        m.failures(),
        since.unwrap_or_default()
    ))
}

fn ip_family(f: IpFamily) -> &'static str {
    match f {
        IpFamily::V4 => "IPv4",
        IpFamily::V6 => "IPv6",
    }
}
