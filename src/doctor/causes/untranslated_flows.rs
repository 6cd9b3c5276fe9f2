//! Flows to a Service that nobody translates: they began before its rules were there, and rules are asked for first packets
//! only. A client that sends on from the same port keeps the entry alive (kubernetes/kubernetes#59368).

use super::{Case, Finding, Severity};
use crate::proxy::{Action, Mode, endpoint_text};

pub(super) fn find(case: &Case<'_>, found: &mut Vec<Finding>) -> Result<(), String> {
    case.need_rules()?;
    let flows = case.need_flows()?;
    let before = case.need_before()?;
    let before = before.conntrack.as_ref().and_then(|c| c.flows.as_ref());
    let mut astray: Vec<_> = flows.astray.iter().collect();
    astray.sort_by_key(|a| *a.0);
    for (to @ (protocol, address, port), a) in astray {
        let Some(i) = case.service_at(*protocol, *address, *port) else { continue };
        let s = &case.model.services[i];
        // IPVS translates without conntrack's help where net.ipv4.vs.conntrack is off.
        if s.mode == Mode::Ipvs || s.backends.is_empty() {
            continue;
        }
        let balances = s.frontends.iter().any(|f| {
            f.port == *port && f.address.is_none_or(|x| x == *address) && f.action == Action::Balance
        });
        // A first packet that is on its way just now.
        if !balances || !before.is_some_and(|b| b.value.astray.contains_key(to)) {
            continue;
        }
        let who = a.from.map_or(String::new(), |(a, p)| format!(", one from {}", endpoint_text(a, p)));
        let title = format!("{} not translated: made before the rules were", super::flows_are(a.flows));
        found.push(
            case.service("untranslated_flows", Severity::Critical, i, title)
                .proved_by(format!(
                    "{} to {}, unanswered{who}; up to {} s left",
                    super::flows(a.flows),
                    endpoint_text(*address, *port),
                    a.longest_left_s
                ))
                .proved_by("rules send new flows to its backends: only these are stuck")
                .advise(format!(
                    "free them: conntrack -D -p {} --orig-dst {address} --dport {port}",
                    s.protocol.lower()
                )),
        );
    }
    Ok(())
}
