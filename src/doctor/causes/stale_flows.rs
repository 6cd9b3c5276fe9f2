//! Flows that still go to a backend which is gone. UDP: their client sends on from the same port, so the entry never dies, and
//! rules are not asked again. kube-proxy deletes such entries when an endpoint goes (`pkg/proxy/conntrack/cleanup.go`); where it
//! missed one, that client talks to nobody.

use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::{Finding, Severity};
use crate::format::count;
use crate::proxy::{FrontendKind, Mode, Protocol, endpoint_text};
use crate::ruleset::{IpNet, L4Endpoint};
use crate::snapshot::SourceId;
use crate::snapshot::{FlowFigures, FlowKey};
use std::collections::BTreeMap;
use std::net::IpAddr;

pub(super) const CHECK: Check = Check {
    id: "stale_flows",
    about: "flows still go to a backend that is gone",
    needs: &[SourceId::Flows],
    looks_at: SourceId::RULES,
    readings: 1,
    run,
};

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    for (i, s) in cx.active_services().filter(|(_, s)| s.engine.mode() != Mode::Userspace) {
        let gone = |address, port| {
            !s.backends.iter().any(|b| b.address == address && (b.port == port || b.port == 0))
        };
        let mut gone_flows = cx.flows_of(i).iter().filter(|f| gone(f.0.backend, f.0.backend_port)).peekable();
        // Mostly there are none, and Services are many.
        if gone_flows.peek().is_none() {
            continue;
        }
        let was = cx.facts.before.and_then(|before| {
            before.model.services.iter().find(|o| {
                !o.stale && o.protocol == s.protocol && o.family == s.family && o.label() == s.label()
            })
        });
        let mut stale = Stale::default();
        for (key, figures) in gone_flows {
            // The cleaning follows the rules by a moment: what was in use a moment ago is no fault yet.
            let old = was.is_some_and(|w| {
                !w.backends.iter().any(|b| b.address == key.backend && b.port == key.backend_port)
            });
            let twice = old && cx.flows_before(key).is_some();
            // Of TCP only those that nobody answers: others end as pods end. One reading shows what nobody answers.
            let unanswered = figures.unreplied;
            match s.protocol {
                Protocol::Tcp if unanswered == 0 => continue,
                Protocol::Tcp => stale.add(key, figures, unanswered, twice),
                _ if twice => stale.add(key, figures, figures.flows, true),
                _ if cx.facts.before.is_none() && unanswered == figures.flows => {
                    stale.add(key, figures, unanswered, false);
                }
                _ => {}
            }
        }
        if let Some(f) = stale.finding(cx.service("stale_flows", Severity::Critical, i, ""), s.protocol) {
            let first = s.frontends.first().and_then(|f| f.address);
            found.push(f.advise(free(s.protocol, first, stale.example)).advise(format!(
                "{} endpoints now; kube-proxy logs what it cleans up at -v 4",
                count(s.backends.len() as u64)
            )));
        }
    }
    of_no_service(cx, found);
    Ok(())
}

/// Flows that were translated for an address that no Service has any more, nor the node.
fn of_no_service(cx: &CheckContext<'_>, found: &mut Vec<Finding>) {
    if cx.model.services.is_empty() {
        return;
    }
    let mut by_address: BTreeMap<L4Endpoint, Stale> = BTreeMap::new();
    for (key, figures) in cx.flows_of_others() {
        // Where the node's addresses are not known, this may be one, with a host port.
        let known = !cx.snapshot.addresses.is_empty() || is_cluster_ip(cx, key.frontend);
        let waits = figures.unreplied > 0 && figures.unreplied == figures.flows;
        let twice = cx.facts.before.is_none() || cx.flows_before(key).is_some();
        if known && !cx.is_own(key.frontend) && waits && twice && key.protocol != ICMP {
            by_address.entry(key.frontend()).or_default().add(key, figures, figures.unreplied, false);
        }
    }
    for (to, stale) in by_address {
        let about = endpoint_text(to.address, to.port);
        let protocol = Protocol::from_number(u16::from(to.protocol)).unwrap_or(Protocol::Udp);
        let f = Finding::node("stale_flows", Severity::Warning, &about, "");
        if let Some(mut f) = stale.finding(f, protocol) {
            f.title = format!("{}: no Service has this address any more", f.title);
            found.push(f.advise(free(protocol, Some(to.address), stale.example)));
        }
    }
}

/// True for an address near those of Services: in the same /16 or /112.
fn is_cluster_ip(cx: &CheckContext<'_>, address: IpAddr) -> bool {
    let prefix = if address.is_ipv4() { 16 } else { 112 };
    let mut all = cx.frontends(FrontendKind::ClusterIp).filter_map(|(_, _, f)| f.address);
    all.any(|a| IpNet { addr: a, prefix }.contains(address))
}

/// The command that frees clients of such flows.
fn free(protocol: Protocol, to: Option<IpAddr>, backend: Option<IpAddr>) -> String {
    let to = to.map_or_else(String::new, |a| format!(" --orig-dst {a}"));
    let backend = backend.map_or_else(String::new, |b| format!(" --reply-src {b}"));
    format!("free these clients: conntrack -D -p {}{to}{backend}", protocol.lower())
}

/// Flows to backends that are gone.
#[derive(Default)]
struct Stale {
    flows: u64,
    /// True where two readings show it.
    twice: bool,
    example: Option<IpAddr>,
    evidence: Vec<String>,
}

impl Stale {
    fn add(&mut self, key: &FlowKey, figures: &FlowFigures, flows: u32, twice: bool) {
        self.flows += u64::from(flows);
        self.twice |= twice;
        self.example.get_or_insert(key.backend);
        self.evidence.push(format!(
            "{} to {}: {} to {}, which is no endpoint any more; {} unanswered, up to {} s left",
            super::shared::flows(flows),
            endpoint_text(key.frontend, key.frontend_port),
            if flows == 1 { "goes" } else { "go" },
            endpoint_text(key.backend, key.backend_port),
            figures.unreplied,
            figures.longest_left_s,
        ));
    }

    fn finding(&self, mut f: Finding, protocol: Protocol) -> Option<Finding> {
        if self.flows == 0 {
            return None;
        }
        f.title = format!(
            "{} still {} to a backend that is gone",
            super::shared::flows_n(self.flows),
            if self.flows == 1 { "goes" } else { "go" }
        );
        // TCP clients give up by themselves; of datagrams one reading may show what is being cleaned.
        let certain = self.twice && protocol != Protocol::Tcp;
        f.severity = if certain { Severity::Critical } else { Severity::Warning };
        f.evidence.extend(self.evidence.iter().take(8).cloned());
        Some(f)
    }
}

/// IP protocol number of ICMP.
const ICMP: u8 = 1;
