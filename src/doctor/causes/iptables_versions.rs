//! Two versions of iptables wrote one table, and one lost what it did not understand: the DROP of `KUBE-FIREWALL` without
//! its mark match takes every packet (kubernetes/kubernetes#112477), a DNAT without its target sends packets to 0.0.0.0
//! (kubernetes/kubernetes#114537).

use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::{Finding, Severity};
use crate::doctor::losses::cause_of;
use crate::reach::Taker;
use crate::snapshot::SourceId;

pub(super) const CHECK: Check =
    Check { id: "iptables_versions", needs: &[], looks_at: SourceId::RULES, readings: 1, run };

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    for t in cx.taken.iter().filter(|t| cause_of(cx.snapshot, t.taker) == CHECK.id) {
        let title = match t.taker {
            Taker::Elsewhere { .. } => "a DNAT rule lost its target: packets are sent to 0.0.0.0",
            _ => "KUBE-FIREWALL drops packets of Services: its rule lost the match for marked packets",
        };
        found.push(
            super::shared::lossy(cx, CHECK.id, Severity::Critical, title.into(), t)
                .advise("the host and a container wrote one table with different versions of iptables: use one, or the same variant")
                .advise("then restart kube-proxy (and a kubelet until 1.27): they write their rules again")
                .advise(super::shared::explain_hint(cx, t)),
        );
    }
    Ok(())
}
