//! Each sync of kube-proxy takes long: endpoints are that much behind, always.

use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::{Finding, Severity};
use crate::doctor::syncs::min_sync;
use crate::format::duration;
use crate::snapshot::SourceId;
use std::time::Duration;

/// From here on clients notice it: a rolling update takes pods away sooner.
const SLOW_S: f64 = 5.0;

pub(super) const CHECK: Check = Check {
    id: "sync_slow",
    about: "a sync takes 5 s or more",
    needs: &[SourceId::KubeProxy],
    looks_at: &[],
    readings: 1,
    run,
};

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    let k = cx.kube_proxy_with_metrics()?;
    // None has ended yet: that is another cause's.
    let Some(seconds) = k.sync_seconds() else { return Ok(()) };
    // It may have waited for its turn.
    let min = min_sync(Some(k));
    if seconds >= SLOW_S + min.as_secs_f64() {
        let took = duration(Duration::try_from_secs_f64(seconds).unwrap_or_default());
        found.push(
            Finding::node(CHECK.id, Severity::Warning, "kube-proxy", "kube-proxy takes long to write its rules")
                .proved_by(format!(
                    "a sync takes {took}; minSyncPeriod is {} (kubeproxy_sync_proxy_rules_duration_seconds)",
                    duration(min)
                ))
                .advise("what another mode would write and take: kptop compare")
                .advise("kube-proxy 1.28 and later write only what changed in iptables mode; give it CPU (requests and limits)"),
        );
    }
    Ok(())
}
