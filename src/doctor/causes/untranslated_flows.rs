//! Flows to a Service that nobody translates: they began before its rules were there, and rules are asked for first packets
//! only. A client that sends on from the same port keeps the entry alive (kubernetes/kubernetes#59368).

use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::{Finding, Severity};
use crate::proxy::{Action, Mode, endpoint_text};
use crate::ruleset::L4Endpoint;
use crate::snapshot::SourceId;
use crate::snapshot::UntranslatedFlow;
use std::time::Duration;

pub(super) const CHECK: Check = Check {
    id: "untranslated_flows",
    about: "flows began before the rules were there",
    needs: &[SourceId::Flows],
    looks_at: SourceId::RULES,
    readings: 2,
    run,
};

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    let flows = cx.flows()?;
    let before = cx.before()?.snapshot.conntrack.as_ref().and_then(|c| c.flows.as_ref());
    let now = cx.snapshot.conntrack.as_ref().and_then(|c| c.flows.as_ref()).map_or(Duration::ZERO, |f| f.at);
    let passed = now.saturating_sub(before.map_or(now, |b| b.at));
    let mut all = Vec::new();
    let mut astray: Vec<_> = flows.astray.iter().collect();
    astray.sort_by_key(|a| *a.0);
    for (to, a) in astray {
        let &L4Endpoint { address, port, .. } = to;
        let Some(i) = cx.service_at(*to) else { continue };
        let s = &cx.model.services[i];
        // IPVS translates without conntrack's help where net.ipv4.vs.conntrack is off.
        // eBPF programs translate behind conntrack.
        let mode = s.engine.mode();
        if mode == Mode::Ipvs || mode.keeps_no_rules() || s.backends.is_empty() {
            continue;
        }
        let balances = s
            .frontends
            .iter()
            .any(|f| f.port == port && f.address.is_none_or(|x| x == address) && f.action == Action::Balance);
        // A first packet that is on its way just now, or what a client left that has gone: neither is a fault.
        let known = before.and_then(|b| b.value.astray.get(to));
        if !balances || !known.is_some_and(|was| is_fed(was, a, passed)) {
            continue;
        }
        let who = a.from.map_or(String::new(), |(a, p)| format!(", one from {}", endpoint_text(a, p)));
        let title =
            format!("{} not translated: made before the rules were", super::shared::flows_are(a.flows));
        all.push(
            cx.service("untranslated_flows", Severity::Critical, i, title)
                .proved_by(format!(
                    "{} to {}, unanswered{who}; up to {} s left",
                    super::shared::flows(a.flows),
                    endpoint_text(address, port),
                    a.longest_left_s
                ))
                .proved_by("rules send new flows to its backends: only these are stuck")
                .advise(format!(
                    "free them: conntrack -D -p {} --orig-dst {address} --dport {port}",
                    s.protocol.lower()
                )),
        );
    }
    if all.len() > FEW {
        // Many at once have one cause.
        let mut one = all.swap_remove(0);
        one.about = format!("{} frontends", all.len() + 1);
        one.title = "flows to many Services are not translated: made before the rules were".into();
        one.evidence.extend(all.iter().take(6).filter_map(|f| f.evidence.first().cloned()));
        one.subject = super::super::Subject::Node;
        all = vec![one.advise("all at once: conntrack -F (every flow of the node then begins again)")];
    }
    found.append(&mut all);
    Ok(())
}

/// Findings beyond which they are one.
const FEW: usize = 3;

/// True where packets still come: the time that is left is more than what would be by now.
fn is_fed(was: &UntranslatedFlow, is: &UntranslatedFlow, passed: Duration) -> bool {
    // Times are whole seconds: of a shorter while nothing can be said.
    passed < Duration::from_millis(1500)
        || u64::from(is.longest_left_s) + passed.as_secs() > u64::from(was.longest_left_s) + 1
}
