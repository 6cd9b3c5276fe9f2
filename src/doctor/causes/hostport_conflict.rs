//! Two rules for one host port: the first takes all packets, the pod behind the second gets none. A CNI left the rules of a
//! pod that is gone (containernetworking/plugins#683), or two programs publish one port.

use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::{Finding, Severity};
use crate::proxy::{RuleRef, endpoint_text};
use crate::ruleset::{ChainId, Match, PortRange, RuleId, Table, Target};
use crate::snapshot::SourceId;
use std::net::IpAddr;

pub(super) const CHECK: Check = Check {
    id: "hostport_conflict",
    about: "two rules claim one host port",
    needs: &[],
    looks_at: SourceId::RULES,
    readings: 1,
    run,
};

/// Chains of programs that publish ports of pods and containers.
const CHAINS: [&str; 5] =
    ["CNI-HOSTPORT-DNAT", "KUBE-HOSTPORTS", "DOCKER", "NETAVARK-HOSTPORT-DNAT", "HOSTPORT"];

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    for (i, t) in cx.snapshot.tables.iter().enumerate().filter(|(_, t)| t.table.name == "nat") {
        let t = &*t.table;
        for chain in CHAINS.iter().filter_map(|c| t.chain(c)) {
            let mut known: Vec<(Vec<&Match>, RuleId)> = Vec::new();
            for (id, rule) in t.rules_of(chain) {
                let wants: Vec<&Match> = t
                    .matches_of(rule)
                    .iter()
                    .filter(|m| !matches!(m, Match::Comment(_) | Match::Counter))
                    .collect();
                let Some(ports) = ports(&wants).filter(|_| destination(t, id).is_some()) else { continue };
                let Some((_, first)) = known.iter().find(|k| k.0 == wants).cloned() else {
                    known.push((wants, id));
                    continue;
                };
                let (Some(taker), Some(loser)) = (destination(t, first), destination(t, id)) else {
                    continue;
                };
                if taker == loser {
                    continue;
                }
                let (first, second) = (RuleRef { table: i, rule: first }, RuleRef { table: i, rule: id });
                found.push(
                    cx.rule(
                        "hostport_conflict",
                        Severity::Warning,
                        first,
                        format!("two rules for host port {ports}: the second is never met"),
                    )
                    .proved_by(format!("to {}: {}", endpoint_text(taker.0, taker.1), cx.rule_text(first)))
                    .proved_by(format!("to {}: {}", endpoint_text(loser.0, loser.1), cx.rule_text(second)))
                    .advise("which of the two pods is there? kubectl get pods -A -o wide | grep ADDRESS; delete the rules of the one that is gone, or restart its pod's sandbox")
                    .advise("CNI plugins leave such rules where a pod was deleted while the plugin failed: its log says it"),
                );
            }
        }
    }
    Ok(())
}

/// The destination ports that conditions name.
fn ports(wants: &[&Match]) -> Option<String> {
    let range = |r: &PortRange| match r {
        r if *r == PortRange::ANY => None,
        r if r.first == r.last => Some(r.first.to_string()),
        r => Some(format!("{}-{}", r.first, r.last)),
    };
    wants.iter().find_map(|m| match m {
        Match::Tcp { destination, .. } => range(destination),
        Match::Udp { destination, .. } | Match::Sctp { destination, .. } => range(destination),
        Match::Multiport(m) if m.side == 1 && !m.invert => {
            Some(m.ports.iter().map(|p| p.0.to_string()).collect::<Vec<_>>().join(", "))
        }
        _ => None,
    })
}

/// Where a rule sends packets on to: by itself, or by the chain that it leads to.
fn destination(t: &Table, rule: RuleId) -> Option<(IpAddr, u16)> {
    let own = |id: RuleId| match &t.rule(id).target {
        Target::Dnat(r) => r.addrs.map(|a| (a.0, r.ports.0)),
        target => target.as_dnat_to().map(|to| (to.addr, to.port)),
    };
    let led = || -> Option<ChainId> { t.jump_of(t.rule(rule)) };
    own(rule).or_else(|| t.rules_of(led()?).find_map(|(id, _)| own(id)))
}
