//! Nodes and Services as rows of text: the same on the screen and in print.

use super::gather::ServiceOnNode;
use super::model::{Fleet, FleetNode, FleetService};
use crate::doctor::Severity;
use crate::format::{duration, nanoseconds, plural, share_text, short};
use crate::health::HealthState;
use std::time::Duration;

/// The head of a column.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// Its text.
    pub text: &'static str,
    /// Kept to the right.
    pub right: bool,
    /// Where room is short the column with the highest number goes first.
    pub rank: u8,
}

const fn words(text: &'static str, rank: u8) -> Head {
    Head { text, right: false, rank }
}

const fn figure(text: &'static str, rank: u8) -> Head {
    Head { text, right: true, rank }
}

/// Heads of [`service_cells`].
pub const SERVICE_HEADS: [Head; 8] = [
    words("SERVICE", 0),
    words("STATE", 0),
    words("ON", 1),
    figure("LOST", 2),
    figure("NEW/s", 3),
    figure("P99", 5),
    figure("NODES", 4),
    words("DIFFERS ON", 2),
];

/// Heads of [`node_cells`].
pub const NODE_HEADS: [Head; 8] = [
    words("NODE", 0),
    words("STATE", 0),
    figure("DIFFERS", 1),
    figure("PORTS", 3),
    figure("BAD", 2),
    figure("NEW/s", 4),
    figure("READ", 6),
    words("PROXY", 5),
];

/// Heads of [`place_cells`].
pub const PLACE_HEADS: [Head; 7] = [
    words("NODE", 0),
    words("STATE", 0),
    figure("LOST", 1),
    figure("NEW/s", 2),
    figure("P99", 4),
    figure("ENDPTS", 3),
    words("DIFFERS", 1),
];

fn rate(n: Option<f64>) -> String {
    n.map_or("-".into(), short)
}

fn seconds(t: Option<f64>) -> String {
    t.map_or("-".into(), |t| nanoseconds(t * 1e9))
}

/// A state with its symbol.
pub fn state_text(state: HealthState) -> String {
    format!("{} {}", state.symbol(), state.words())
}

/// The names of nodes, as far as they are few: `worker-7`, `worker-7 and 2 more`.
fn names(fleet: &Fleet, nodes: &[usize]) -> String {
    let name = |i: &usize| fleet.nodes.get(*i).map_or("?", |n| n.name.as_str());
    match nodes {
        [] => "-".into(),
        [one] => name(one).into(),
        all if all.len() == fleet.reporting() => "all nodes".into(),
        [first, rest @ ..] => format!("{} and {} more", name(first), rest.len()),
    }
}

/// Where a Service is bad: the node that loses most of it first.
fn on(fleet: &Fleet, s: &FleetService) -> String {
    let worst = s.lost.and_then(|(_, n)| fleet.nodes.get(n)).map(|n| n.name.as_str());
    match (s.bad(), worst) {
        (0, _) => "-".into(),
        (n, _) if n > 1 && n as usize == fleet.reporting() => "all nodes".into(),
        (1, Some(name)) => name.into(),
        (n, Some(name)) => format!("{name} and {} more", n - 1),
        (n, None) => plural(n, "node"),
    }
}

/// A Service as a row.
pub fn service_cells(fleet: &Fleet, s: &FleetService) -> Vec<String> {
    vec![
        s.key.label(),
        state_text(s.worst()),
        on(fleet, s),
        s.lost.map_or("-".into(), |(part, _)| share_text(Some(part))),
        rate(s.new_flows),
        seconds(s.latency),
        s.nodes().to_string(),
        names(fleet, &s.differs),
    ]
}

/// How a node is, in words.
pub fn node_state(n: &FleetNode) -> String {
    if n.is_silent {
        return "silent".into();
    }
    let (critical, warnings) = (n.count(Severity::Critical), n.count(Severity::Warning));
    match (critical, warnings) {
        (0, 0) => "● no findings".into(),
        (0, w) => format!("▲ {}", plural(w, "warning")),
        (c, 0) => format!("✗ {c} critical"),
        (c, w) => format!("✗ {c} critical, {}", plural(w, "warning")),
    }
}

/// A node as a row.
pub fn node_cells(n: &FleetNode) -> Vec<String> {
    let proxy = [&n.proxy, &n.version].into_iter().flatten().cloned().collect::<Vec<_>>().join(" ");
    let proxy = match (&n.mode, proxy.is_empty()) {
        (Some(mode), false) => format!("{mode}, {proxy}"),
        (Some(mode), true) => mode.clone(),
        (None, false) => proxy,
        (None, true) => "-".into(),
    };
    let known = |n: u64, is_silent: bool| if is_silent { "-".into() } else { n.to_string() };
    let age = n.age.filter(|a| a.is_finite() && *a >= 0.0).map(Duration::from_secs_f64);
    vec![
        n.name.clone(),
        node_state(n),
        known(n.differs.len() as u64, n.is_silent),
        known(n.services(), n.is_silent),
        known(n.bad(), n.is_silent),
        rate(n.new_flows),
        // Whole seconds: it is as old again as the last scrape.
        age.map_or("-".into(), |a| format!("{} ago", duration(Duration::from_secs(a.as_secs().max(1))))),
        proxy,
    ]
}

/// A Service on a node as a row.
pub fn place_cells(fleet: &Fleet, p: &ServiceOnNode) -> Vec<String> {
    vec![
        fleet.nodes.get(p.node).map_or("?".into(), |n| n.name.clone()),
        state_text(p.state),
        p.lost.map_or("-".into(), |part| share_text(Some(part))),
        rate(p.new_flows),
        seconds(p.latency),
        p.backends.map_or("-".into(), |n| n.to_string()),
        if p.differs { "yes".into() } else { "-".into() },
    ]
}

/// `100 nodes, 1 silent`, `1000 ports, 3 failing`, `1 node differs`: what the header says.
pub fn totals(fleet: &Fleet) -> Vec<String> {
    let mut nodes = plural(fleet.nodes.len() as u64, "node");
    let silent = fleet.nodes.len() - fleet.reporting();
    if silent > 0 {
        nodes.push_str(&format!(", {silent} silent"));
    }
    let mut services = plural(fleet.services.len() as u64, "Service port");
    for state in [HealthState::Failing, HealthState::NoEndpoints, HealthState::Degraded] {
        let n = fleet.services.iter().filter(|s| s.worst() == state).count();
        if n > 0 {
            services.push_str(&format!(", {n} {}", state.words()));
        }
    }
    let odd = fleet.nodes.iter().filter(|n| !n.differs.is_empty()).count();
    let differs = match odd {
        0 => "no node differs".to_string(),
        1 => "1 node differs".to_string(),
        n => format!("{n} nodes differ"),
    };
    vec![nodes, services, differs]
}
