//! The policy of FORWARD is DROP, and packets reach it: what no rule accepted dies there. Docker sets it; kube-proxy accepts
//! only marked packets and answers, the CNI must accept the rest (kubernetes/kubernetes#40182).

use super::super::{DeadEnd, Subject};
use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::{Finding, Severity};
use crate::ruleset::{ChainId, Hook, Policy};
use crate::snapshot::SourceId;

pub(super) const CHECK: Check =
    Check { id: "forward_policy", needs: &[], looks_at: SourceId::RULES, readings: 1, run };

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    for (i, t) in cx.snapshot.tables.iter().enumerate() {
        for (c, chain) in t.table.chains.iter().enumerate() {
            let Some(base) = chain.base.filter(|b| b.hook == Hook::Forward && b.policy == Policy::Drop)
            else {
                continue;
            };
            let id = ChainId(c as u32);
            let rise = cx.policy_rise(i, id);
            let place = format!("{} {} {}", t.family, t.table.name, t.table.chain_name(id));
            let stopped: Vec<&DeadEnd> =
                cx.facts.dead_ends.iter().filter(|d| d.place == place && is_policy(cx, d)).collect();
            if rise.is_none() && stopped.is_empty() {
                continue;
            }
            let severity = if stopped.is_empty() { Severity::Warning } else { Severity::Critical };
            let title = "packets that reach the end of FORWARD are dropped by its policy";
            let taken = rise
                .map_or("no packet taken since the last reading".into(), |r| format!("{} packets", r.text()));
            let mut f = Finding::node("forward_policy", severity, &place, title)
                .proved_by(format!("policy DROP at priority {}: {taken}", base.priority))
                .proved_by(format!("none of the {} rules before it took them", chain.rules.len()));
            f.subject = Subject::Table(i);
            if let Some(d) = stopped.first() {
                let label = cx.model.services[d.service].label();
                f = f.proved_by(format!(
                    "packets from {} to {} Services end there, {label} among them",
                    d.from,
                    stopped.len()
                ));
            }
            found.push(
                f.advise("the CNI's rules should accept traffic from and to pods: pane Rules, this chain")
                    .advise("until then: iptables -A FORWARD -s POD-NETWORK -j ACCEPT, and the same with -d; or iptables -P FORWARD ACCEPT"),
            );
        }
    }
    Ok(())
}

/// True for a way that ends at a policy of FORWARD which counts, so that it is named when packets end there.
pub(super) fn is_policy(cx: &CheckContext<'_>, d: &DeadEnd) -> bool {
    d.rule.is_none()
        && cx.snapshot.tables.iter().any(|t| {
            t.counters.policies.iter().any(|(id, _)| {
                let chain = &t.table.chains[id.0 as usize];
                chain.base.is_some_and(|b| b.hook == Hook::Forward)
                    && d.place == format!("{} {} {}", t.family, t.table.name, t.table.chain_name(*id))
            })
        })
}
