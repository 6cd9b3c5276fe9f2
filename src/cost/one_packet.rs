//! One packet in every mode: the rules that the first packet of a flow to a Service meets at each hook.

use super::compare::{portable, written};
use super::lookup::{FIGURES, ProbeSources, Sizes};
use super::prices::Prices;
use crate::proxy::{Engine, Model, rules_form};
use crate::ruleset::{Hook, L4Endpoint};
use crate::snapshot::Snapshot;
use crate::walk::{Options, Packet, RulesetIndex, StepKind, Trace};

/// What the first packet of a flow meets in one mode.
#[derive(Clone, Debug, PartialEq)]
pub struct PacketCost {
    /// The mode.
    pub engine: Engine,
    /// True where it runs here; else its rules are as kube-proxy would write them.
    pub running: bool,
    /// Rules checked at each hook that it comes through, in its order; means over the possible ends.
    pub hooks: Vec<(Hook, f64)>,
    /// Rules checked, all hooks together.
    pub rules: f64,
    /// Sets, maps and ipsets that were searched, and virtual servers of IPVS.
    pub lookups: f64,
    /// Nanoseconds of the first packet; `None` where no price is known.
    pub first_packet_ns: Option<f64>,
    /// Nanoseconds of a later packet.
    pub later_ns: Option<f64>,
}

/// One packet from a pod to a Service, in every mode.
#[derive(Clone, Debug, PartialEq)]
pub struct OnePacket {
    /// Where it is sent to.
    pub to: L4Endpoint,
    /// By mode, in the order of [`Engine::COMPARED`].
    pub modes: Vec<PacketCost>,
}

/// Steps are wanted, those of a few thousand ends.
const STEPS: Options = Options { steps: true, most_outcomes: 2_000, ..FIGURES };

/// Sends one packet to the Service with this index through the rules of every mode; `None` where the Service has no
/// address that can be asked.
pub fn one_packet(snapshot: &Snapshot, model: &Model, service: usize, prices: &Prices) -> Option<OnePacket> {
    let chosen = model.services.get(service)?;
    let packet = ProbeSources::new(snapshot).packet(chosen)?;
    let to =
        L4Endpoint { protocol: packet.protocol, address: packet.destination, port: packet.destination_port };
    let (services, _) = portable(model);
    let form = rules_form(snapshot);
    let in_mode = |engine: Engine| {
        let running = !chosen.stale && chosen.engine == engine;
        let made;
        let of_mode = match running {
            true => snapshot,
            false => {
                made = written(snapshot, &services, engine, &form);
                &made
            }
        };
        cost(of_mode, &packet, engine, running, prices)
    };
    Some(OnePacket { to, modes: Engine::COMPARED.into_iter().filter_map(in_mode).collect() })
}

fn cost(
    snapshot: &Snapshot,
    packet: &Packet,
    engine: Engine,
    running: bool,
    prices: &Prices,
) -> Option<PacketCost> {
    let trace = RulesetIndex::new(snapshot).walk(packet, &STEPS);
    let rules = trace.mean_rules()?;
    let price = prices.calibration.engine(engine);
    let in_tables = Sizes::of(snapshot).rules(engine, packet.family());
    Some(PacketCost {
        engine,
        running,
        hooks: by_hook(&trace),
        rules,
        lookups: trace.mean(|t| f64::from(t.lookups + t.ipvs))?,
        first_packet_ns: price.and_then(|p| p.first_packet_ns(in_tables, rules)),
        later_ns: price.map(|p| p.later_ns),
    })
}

/// Hooks as packets come through them; what comes in for the node itself ends at INPUT, or goes on as IPVS has it.
pub const HOOKS: [Hook; 7] = [
    Hook::Ingress,
    Hook::Prerouting,
    Hook::Input,
    Hook::Forward,
    Hook::Output,
    Hook::Postrouting,
    Hook::Egress,
];

/// The mean number of rules at each hook, in the order in which packets come through them.
fn by_hook(trace: &Trace) -> Vec<(Hook, f64)> {
    let mut hooks: Vec<(Hook, f64)> = Vec::new();
    let weight: f64 = trace.outcomes.iter().map(|o| o.probability).sum();
    for outcome in &trace.outcomes {
        for step in trace.path(outcome) {
            let rules = match step.kind {
                StepKind::Matched(_) | StepKind::Counted(_) => 1,
                StepKind::Passed(_, n) => n,
                StepKind::Policy | StepKind::Ipvs(_) | StepKind::Note(_) => 0,
            };
            let mean = f64::from(rules) * outcome.probability / weight.max(f64::EPSILON);
            match hooks.iter_mut().find(|h| h.0 == step.hook) {
                Some(h) => h.1 += mean,
                None => hooks.push((step.hook, mean)),
            }
        }
    }
    hooks.sort_by_key(|h| HOOKS.iter().position(|known| *known == h.0));
    hooks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::shop;
    use crate::proxy::{Names, iptables};
    use crate::ruleset::IpFamily;
    use crate::snapshot::TableState;
    use std::sync::Arc;
    use std::time::Duration;

    #[test]
    fn hooks_add_up_to_the_whole_in_every_mode() {
        let tables = iptables::write(&shop::services(None, 200), IpFamily::V4, &Default::default());
        let state = |(t, c)| TableState::new(Duration::ZERO, Arc::new(t), Arc::new(c));
        let snapshot = Snapshot { tables: tables.into_iter().map(state).collect(), ..Snapshot::default() };
        let model = Model::read(&snapshot, &Names::default());
        let last = model.services.iter().position(|s| s.backends.len() > 1).unwrap();
        let found = one_packet(&snapshot, &model, last, &Prices::default()).unwrap();
        assert_eq!(found.modes.len(), Engine::COMPARED.len());
        for m in &found.modes {
            let sum: f64 = m.hooks.iter().map(|h| h.1).sum();
            assert!(
                (sum - m.rules).abs() < 1e-6 && m.rules > 0.0,
                "{}: {sum} of {}",
                m.engine.words(),
                m.rules
            );
            assert!(m.first_packet_ns > m.later_ns || m.later_ns.is_none(), "{}", m.engine.words());
        }
        let of = |engine| found.modes.iter().find(|m| m.engine == engine).unwrap();
        assert!(of(Engine::IptablesLegacy).running && !of(Engine::Nftables).running);
        // A list is as long as there are Services; a map is asked once.
        assert!(of(Engine::IptablesLegacy).rules > of(Engine::Nftables).rules);
        assert!(of(Engine::Nftables).lookups >= 1.0);
    }
}
