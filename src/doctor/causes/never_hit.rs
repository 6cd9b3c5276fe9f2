//! Rules that can never be met: two Services claim one address and port (external IPs, load balancer addresses), and the first in
//! the chain takes all its packets. Which one is first changes with every full sync.

use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::{Finding, Severity};
use crate::proxy::{Mode, endpoint_text};
use crate::ruleset::L4Endpoint;
use crate::snapshot::SourceId;
use std::collections::HashMap;

pub(super) const CHECK: Check = Check {
    id: "never_hit",
    about: "two Services claim one address and port",
    needs: &[],
    looks_at: SourceId::RULES,
    readings: 1,
    run,
};

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    let mut first: HashMap<L4Endpoint, (usize, u32)> = HashMap::new();
    for (i, s) in cx.active_services().filter(|(_, s)| s.engine.mode() == Mode::Iptables) {
        for f in &s.frontends {
            // What is refused is in another table: only rules of one chain are in each other's way.
            let (Some(address), Some(rule), true) =
                (f.address, f.rule, f.action == crate::proxy::Action::Balance)
            else {
                continue;
            };
            let key = L4Endpoint::new(s.protocol.number(), address, f.port);
            let Some((other, at)) = first.get(&key).copied().filter(|(o, _)| *o != i) else {
                first.insert(key, (i, rule.rule.0));
                continue;
            };
            let (winner, loser) = if at < rule.rule.0 { (other, i) } else { (i, other) };
            found.push(
                cx.service(
                    "never_hit",
                    Severity::Warning,
                    loser,
                    format!(
                        "{} belongs to two Services: this one gets nothing there",
                        endpoint_text(address, f.port)
                    ),
                )
                .proved_by(format!(
                    "the rule of {} is before it in KUBE-SERVICES",
                    cx.model.services[winner].label()
                ))
                .advise("take the address from one of them: kubectl get services -A -o wide"),
            );
        }
    }
    Ok(())
}
