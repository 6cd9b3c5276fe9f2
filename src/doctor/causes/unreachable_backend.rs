//! Backends that do not answer while others of their Service do: flows to them stay unreplied in conntrack. The pod is dead,
//! a network policy or a host firewall drops it, or the way to its node is broken. And backends that refuse connections: the kernel
//! forgets such a flow at once, and only its notices show them.

use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::{Finding, Severity};
use crate::format::count;
use crate::proxy::{Backend, Protocol, endpoint_text};
use crate::snapshot::{FlowFigures, FlowKey, FlowTurnover, SourceId};
use std::collections::HashMap;
use std::net::IpAddr;

/// Fewer unanswered flows say nothing.
const FEW: u32 = 3;

pub(super) const CHECK: Check = Check {
    id: "unreachable_backend",
    about: "a backend does not answer, or refuses",
    needs: &[SourceId::Flows],
    looks_at: SourceId::RULES,
    readings: 1,
    run,
};

/// What notices told of a backend between the two readings.
#[derive(Clone, Copy, Default)]
struct Told {
    began: u64,
    refused: u64,
}

impl Told {
    fn refuses(self) -> bool {
        self.refused >= u64::from(FEW) && self.refused as f64 >= 0.8 * self.began as f64
    }
}

/// By frontend and backend; empty where new flows were not counted, or in one reading alone.
fn told(cx: &CheckContext<'_>) -> HashMap<FlowKey, Told> {
    let now = cx.snapshot.new_flows();
    let Some((now, before)) = now.zip(cx.facts.before.and_then(|b| b.snapshot.new_flows())) else {
        return HashMap::new();
    };
    let since = |key: &FlowKey, t: &FlowTurnover| {
        let old = before.value.pairs.get(key).copied().unwrap_or_default();
        // Of another session nothing is known of what came before.
        Some(Told { began: t.began.checked_sub(old.began)?, refused: t.refused.checked_sub(old.refused)? })
    };
    now.value.pairs.iter().filter_map(|(key, t)| Some((*key, since(key, t)?))).collect()
}

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    let mut by_service: HashMap<usize, HashMap<(IpAddr, u16), Told>> = HashMap::new();
    for (key, told) in told(cx) {
        let Some(i) = cx.service_at(key.frontend()) else { continue };
        let sum = by_service.entry(i).or_default().entry((key.backend, key.backend_port)).or_default();
        sum.began += told.began;
        sum.refused += told.refused;
    }
    let nothing = HashMap::new();
    for (i, s) in cx.active_services() {
        // Nobody asks.
        if cx.flows_of(i).is_empty() && !by_service.contains_key(&i) {
            continue;
        }
        let mut sums: Vec<FlowFigures> = vec![FlowFigures::default(); s.backends.len()];
        for (key, figures) in cx.flows_of(i) {
            let b = s.backends.iter().position(|b| b.address == key.backend && b.port == key.backend_port);
            if let Some(b) = b {
                sums[b].add(figures);
            }
        }
        let told = by_service.get(&i).unwrap_or(&nothing);
        let told = |b: &Backend| told.get(&(b.address, b.port)).copied().unwrap_or_default();
        let deaf = |f: &FlowFigures| f.unreplied >= FEW && f64::from(f.unreplied) >= 0.8 * f64::from(f.flows);
        let refusing: Vec<bool> = s.backends.iter().map(|b| told(b).refuses()).collect();
        let is_silent = |b: usize| !refusing[b] && deaf(&sums[b]);
        let does_answer = |b: usize| {
            let new = told(&s.backends[b]);
            !refusing[b] && !deaf(&sums[b]) && (sums[b].flows > sums[b].unreplied || new.began > new.refused)
        };
        let all = || 0..s.backends.len();
        let answering = all().filter(|b| does_answer(*b)).count();
        let (silent, refused) =
            (all().filter(|b| is_silent(*b)).count(), refusing.iter().filter(|r| **r).count());
        // Datagrams need no answer (logs, metrics): only beside others that do answer is silence a sign.
        if silent + refused == 0 || (answering == 0 && s.protocol != Protocol::Tcp) {
            continue;
        }
        let of = s.backends.len();
        let does = |n: usize, one: &str, many: &str| if n == 1 { one.to_string() } else { many.to_string() };
        let title = match (refused, silent, answering) {
            (_, 0, 0) => "every backend that is asked refuses connections".to_string(),
            (0, _, 0) => "no backend answers".to_string(),
            (0, n, _) => format!("{n} of {of} backends {} not answer", does(n, "does", "do")),
            (n, 0, _) => format!("{n} of {of} backends {} connections", does(n, "refuses", "refuse")),
            (r, n, _) => format!(
                "of {of} backends {r} {} connections and {n} {} not answer",
                does(r, "refuses", "refuse"),
                does(n, "does", "do")
            ),
        };
        let mut f = cx.service("unreachable_backend", Severity::Critical, i, title);
        f.lost_share = Some(if answering == 0 { 1.0 } else { (silent + refused) as f64 / of as f64 });
        for b in all().filter(|b| refusing[*b] || is_silent(*b)).take(8) {
            let (at, new) = (endpoint_text(s.backends[b].address, s.backends[b].port), told(&s.backends[b]));
            f = f.proved_by(match refusing[b] {
                true => format!(
                    "{at}: {} of {} new connections refused (RST)",
                    count(new.refused),
                    count(new.began)
                ),
                false => {
                    format!(
                        "{at}: {} of {} unanswered",
                        sums[b].unreplied,
                        super::shared::flows(sums[b].flows)
                    )
                }
            });
        }
        if let Some(b) = all().find(|b| does_answer(*b)) {
            let at = endpoint_text(s.backends[b].address, s.backends[b].port);
            let (flows, unreplied) = (sums[b].flows, sums[b].unreplied);
            f = f.proved_by(match flows > unreplied {
                true => format!("{at} answers: {} of {}", flows - unreplied, super::shared::flows(flows)),
                false => format!("{at} answers"),
            });
        }
        if let Some(b) = all().find(|b| refusing[*b]).map(|b| &s.backends[b]) {
            f = f.advise(format!(
                "its host is there and nobody listens on port {}: is the Service's targetPort the container's, and does the container run? kubectl get pods -o wide | grep {}",
                b.port, b.address
            ));
        }
        if let Some(b) = all().find(|b| is_silent(*b)).map(|b| &s.backends[b]) {
            f = f.advise(match s.protocol {
                Protocol::Tcp => format!("ask it directly: nc -vz {} {}", b.address, b.port),
                _ => format!("ask it directly: nc -vzu {} {}", b.address, b.port),
            });
            f = f.advise(format!(
                "where packets go on from here: ip route get {}; kubectl get pods -o wide | grep {}",
                b.address, b.address
            ));
            f = f.advise("a network policy may drop it: look in pane Rules for the CNI's chains");
        }
        found.push(f);
    }
    Ok(())
}
