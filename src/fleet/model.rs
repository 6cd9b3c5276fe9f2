//! Nodes and Services of a fleet.

use crate::doctor::Severity;
use crate::health::HealthState;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// A Service port, whichever node holds it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceKey {
    /// Namespace; empty where rules name none.
    pub namespace: String,
    /// Name, or the address.
    pub service: String,
    /// Name of the port; may be empty.
    pub port: String,
    /// `tcp`, `udp`, `sctp`.
    pub protocol: String,
    /// `ipv4`, `ipv6`.
    pub family: String,
}

impl ServiceKey {
    /// `shop/cart:http`, as `kptop PLACE` takes it.
    pub fn place(&self) -> String {
        let port = if self.port.is_empty() { String::new() } else { format!(":{}", self.port) };
        match self.namespace.is_empty() {
            true => format!("{}{port}", self.service),
            false => format!("{}/{}{port}", self.namespace, self.service),
        }
    }

    /// The same with protocol and family, where they are not the usual ones.
    pub fn label(&self) -> String {
        let mut text = self.place();
        for (value, usual) in [(&self.protocol, "tcp"), (&self.family, "ipv4")] {
            if value != usual {
                text = format!("{text} {value}");
            }
        }
        text
    }
}

/// A cause that the doctor of a node found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Which cause.
    pub id: String,
    /// How much it matters.
    pub severity: Severity,
    /// How often.
    pub count: u64,
}

/// In what a node differs from most of the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// Other endpoints of a Service, by its place in the list.
    Endpoints(usize),
    /// It does not have this Service.
    Lacks(usize),
    /// It has this Service, and most of them do not.
    Alone(usize),
    /// Its Services or their endpoints; in what was not asked.
    Services,
    /// A setting.
    Setting {
        /// `mode`, `proxy`, `version of kube-proxy`.
        name: &'static str,
        /// What it says.
        said: String,
        /// What most of the others say.
        usual: String,
    },
}

/// A node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FleetNode {
    /// The value of the label that distinguishes it.
    pub key: String,
    /// Its name, as `kubectl kptop NODE` takes it, where `kptop serve` reports it.
    pub name: String,
    /// True where the store has nothing newer of it than some minutes.
    pub is_silent: bool,
    /// Who programs Services: `kube-proxy`.
    pub proxy: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// Its mode.
    pub mode: Option<String>,
    /// Seconds since the node was read, when the store asked last.
    pub age: Option<f64>,
    /// Service ports by state.
    pub states: BTreeMap<HealthState, u64>,
    /// New flows a second to all Services; `None` where nothing counts them.
    pub new_flows: Option<f64>,
    /// What the doctor found there.
    pub findings: Vec<Found>,
    /// In what it differs.
    pub differs: Vec<Difference>,
    /// Services that it has no series of, as there are more than it was allowed.
    pub left_out: u64,
}

impl FleetNode {
    /// Service ports.
    pub fn services(&self) -> u64 {
        self.states.values().sum()
    }

    /// Those that lose new flows.
    pub fn bad(&self) -> u64 {
        bad(&self.states)
    }

    /// How many findings are of a severity.
    pub fn count(&self, severity: Severity) -> u64 {
        self.findings.iter().filter(|f| f.severity == severity).map(|f| f.count).sum()
    }

    fn order(&self) -> impl Ord + use<> {
        let of = |s| Reverse(self.count(s));
        let first = (Reverse(self.is_silent), Reverse(self.differs.len()), of(Severity::Critical));
        (first, Reverse(self.bad()), of(Severity::Warning), natural(&self.name))
    }
}

/// A Service port over all nodes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FleetService {
    /// Which.
    pub key: ServiceKey,
    /// Nodes by the state that it has there.
    pub states: BTreeMap<HealthState, u64>,
    /// The largest part of new flows that a node loses of it, and which node.
    pub lost: Option<(f64, usize)>,
    /// New flows a second of all nodes; `None` where nothing counts them.
    pub new_flows: Option<f64>,
    /// The time to the first answer of 99 of 100 flows on the slowest node, in seconds.
    pub latency: Option<f64>,
    /// Nodes that have other endpoints of it, that lack it, or that are alone with it.
    pub differs: Vec<usize>,
}

impl FleetService {
    /// Nodes that hold it.
    pub fn nodes(&self) -> u64 {
        self.states.values().sum()
    }

    /// Nodes on which it loses new flows.
    pub fn bad(&self) -> u64 {
        bad(&self.states)
    }

    /// The worst of its states.
    pub fn worst(&self) -> HealthState {
        self.states.keys().min().copied().unwrap_or_default()
    }

    /// Problems first, then traffic.
    pub(super) fn order(&self) -> impl Ord + use<> {
        let flows = self.new_flows.unwrap_or(0.0).max(0.0);
        let state = Some(self.worst()).filter(|s| s.is_bad());
        let first = (Reverse(state.is_some()), state, Reverse(self.bad()), Reverse(self.differs.len()));
        (first, Reverse((flows * 10.0) as u64), self.key.clone())
    }
}

fn bad(states: &BTreeMap<HealthState, u64>) -> u64 {
    states.iter().filter(|(s, _)| s.is_bad()).map(|(_, n)| n).sum()
}

/// `worker-9` is before `worker-10`.
fn natural(name: &str) -> (String, usize, String) {
    let front = name.trim_end_matches(|c: char| c.is_ascii_digit());
    (front.to_string(), name.len() - front.len(), name[front.len()..].to_string())
}

/// All nodes and their Services, those that need a look first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fleet {
    /// Nodes.
    pub nodes: Vec<FleetNode>,
    /// Service ports.
    pub services: Vec<FleetService>,
    /// What the figures do not hold, and why: a line each.
    pub notes: Vec<String>,
}

impl Fleet {
    /// Nodes of which something newer than some minutes is known.
    pub fn reporting(&self) -> usize {
        self.nodes.iter().filter(|n| !n.is_silent).count()
    }

    /// True where a node is silent or differs, or a Service loses new flows.
    pub fn has_findings(&self) -> bool {
        self.nodes.iter().any(|n| n.is_silent || !n.differs.is_empty() || n.count(Severity::Critical) > 0)
            || self.services.iter().any(|s| s.bad() > 0)
    }

    /// `lacks shop/cart:http`, for people.
    pub fn difference(&self, d: &Difference) -> String {
        let label = |i: &usize| self.services[*i].key.label();
        match d {
            Difference::Endpoints(s) => format!("other endpoints of {}", label(s)),
            Difference::Lacks(s) => format!("lacks {}", label(s)),
            Difference::Alone(s) => format!("has {}, most nodes do not", label(s)),
            Difference::Services => "Services or endpoints: in what was not asked".into(),
            Difference::Setting { name, said, usual } => format!("{name} {said} (most: {usual})"),
        }
    }

    /// Brings nodes and Services into their order, and what names them by place.
    pub(super) fn sorted(mut self) -> Fleet {
        let nodes = order(&self.nodes, |n| n.order());
        let services = order(&self.services, |s| s.order());
        let (new_node, new_service) = (places(&nodes), places(&services));
        self.nodes = nodes.iter().map(|i| std::mem::take(&mut self.nodes[*i])).collect();
        self.services = services.iter().map(|i| std::mem::take(&mut self.services[*i])).collect();
        for n in &mut self.nodes {
            for d in &mut n.differs {
                match d {
                    Difference::Endpoints(s) | Difference::Lacks(s) | Difference::Alone(s) => {
                        *s = new_service[*s];
                    }
                    Difference::Services | Difference::Setting { .. } => {}
                }
            }
            n.differs.sort_by_key(|d| match d {
                Difference::Services | Difference::Setting { .. } => (0, 0),
                Difference::Lacks(s) | Difference::Alone(s) => (1, *s),
                Difference::Endpoints(s) => (2, *s),
            });
        }
        for s in &mut self.services {
            s.lost = s.lost.map(|(v, n)| (v, new_node[n]));
            s.differs.iter_mut().for_each(|n| *n = new_node[*n]);
            s.differs.sort_unstable();
            s.differs.dedup();
        }
        self
    }
}

/// The places of things in their order.
fn order<T, K: Ord>(all: &[T], key: impl Fn(&T) -> K) -> Vec<usize> {
    let mut places: Vec<usize> = (0..all.len()).collect();
    places.sort_by_cached_key(|i| key(&all[*i]));
    places
}

/// For each old place the new one.
fn places(order: &[usize]) -> Vec<usize> {
    let mut new = vec![0; order.len()];
    order.iter().enumerate().for_each(|(now, before)| new[*before] = now);
    new
}
