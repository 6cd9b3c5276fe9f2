//! Two versions of iptables wrote one table, and one lost what it did not understand: the DROP of `KUBE-FIREWALL` without
//! its mark match takes every packet (kubernetes/kubernetes#112477).

use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::{Finding, Severity};
use crate::doctor::losses::cause_of;
use crate::snapshot::SourceId;

pub(super) const CHECK: Check =
    Check { id: "iptables_versions", needs: &[], looks_at: SourceId::RULES, readings: 1, run };

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    for t in cx.taken.iter().filter(|t| cause_of(cx.snapshot, t.taker) == CHECK.id) {
        let title = "KUBE-FIREWALL drops packets of Services: its rule lost the match for marked packets";
        found.push(
            super::shared::lossy(cx, CHECK.id, Severity::Critical, title.into(), t)
                .advise("the host and a container wrote one table with different versions of iptables: use one, or the same variant")
                .advise("iptables -F KUBE-FIREWALL; the kubelet (until 1.27) and kube-proxy write what they need again")
                .advise(super::shared::explain_hint(cx, t)),
        );
    }
    Ok(())
}
