//! The policy of FORWARD is DROP, and packets reach it: what no rule accepted dies there. Docker sets it; kube-proxy accepts
//! only marked packets and answers, the CNI must accept the rest (kubernetes/kubernetes#40182).

use super::super::Subject;
use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::{Finding, Severity};
use crate::reach::Taker;
use crate::ruleset::{ChainId, Hook, Policy};
use crate::snapshot::SourceId;

pub(super) const CHECK: Check = Check {
    id: "forward_policy",
    about: "the policy of FORWARD drops",
    needs: &[],
    looks_at: SourceId::RULES,
    readings: 1,
    run,
};

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    for (i, t) in cx.snapshot.tables.iter().enumerate() {
        for (c, chain) in t.table.chains.iter().enumerate() {
            let Some(base) = chain.base.filter(|b| b.hook == Hook::Forward && b.policy == Policy::Drop)
            else {
                continue;
            };
            let id = ChainId(c as u32);
            let rise = cx.policy_rise(i, id);
            let stops = cx.taken.iter().find(|t| *t.taker == Taker::Policy(i, id));
            if rise.is_none() && stops.is_none() {
                continue;
            }
            let title = "packets that reach the end of FORWARD are dropped by its policy";
            let mut f = match stops {
                Some(t) => super::shared::lossy(cx, CHECK.id, t.severity(), title.into(), t)
                    .advise(super::shared::explain_hint(cx, t)),
                None => {
                    let place = format!("{} {} {}", t.family, t.table.name, t.table.chain_name(id));
                    let mut f = Finding::node(CHECK.id, Severity::Warning, &place, title);
                    f.subject = Subject::Table(i);
                    f.proved_by(format!("policy DROP at priority {}", base.priority))
                }
            };
            f = f.proved_by(format!("none of the {} rules before it took them", chain.rules.len()));
            if let Some(rise) = rise {
                f.lost_rate = Some(rise.per_second());
                f = f.proved_by(format!("policy DROP: {} packets", rise.text()));
            }
            found.push(
                f.advise("the CNI's rules should accept traffic from and to pods: pane Rules, this chain")
                    .advise("until then: iptables -A FORWARD -s POD-NETWORK -j ACCEPT, and the same with -d; or iptables -P FORWARD ACCEPT"),
            );
        }
    }
    Ok(())
}
