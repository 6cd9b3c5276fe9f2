//! All Services of a snapshot, and which modes hold them.

use super::{CounterSource, Mode, Names, Protocol, RuleRef, Service, Variant, iptables, ipvs};
use crate::ruleset::{Counter, IpFamily, Table, TableBackend};
use crate::snapshot::{FlowKey, Snapshot};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

/// Whether a mode's rules are at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// They are.
    Active,
    /// Another mode took over and left them.
    Leftover,
}

impl State {
    /// As in JSON.
    pub fn name(self) -> &'static str {
        match self {
            State::Active => "active",
            State::Leftover => "leftover",
        }
    }
}

/// A mode that holds Services, in one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModeState {
    /// Mode.
    pub mode: Mode,
    /// Variant of iptables.
    pub variant: Option<Variant>,
    /// Family.
    pub family: IpFamily,
    /// At work or left behind.
    pub state: State,
    /// Service ports that it holds.
    pub services: usize,
    /// Rules in kube-proxy's chains, and those that jump there.
    pub rules: usize,
}

/// The Services of one namespace. Made from a snapshot, and brought up to date with the next: what did not
/// change is kept.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// By namespace, name, port, protocol and family; unnamed ones last, by address.
    pub services: Vec<Service>,
    /// Modes that hold Services.
    pub modes: Vec<ModeState>,
    /// True where the structure changed with the last update: rows may stand elsewhere now.
    pub changed: bool,
    tables: Vec<Arc<Table>>,
}

impl Model {
    /// Reads a snapshot.
    pub fn read(snapshot: &Snapshot, names: &Names) -> Model {
        let mut model = Model::default();
        model.update(snapshot, names);
        model
    }

    /// Brings the model up to date. The structure of the rules is read again only where a table changed.
    pub fn update(&mut self, snapshot: &Snapshot, names: &Names) {
        let same = self.tables.len() == snapshot.tables.len()
            && self.tables.iter().zip(&snapshot.tables).all(|(a, b)| Arc::ptr_eq(a, &b.table))
            && !self.modes.is_empty();
        let ipvs = snapshot.ipvs.as_ref().map(|r| ipvs::read(&r.value, &snapshot.addresses));
        let same_ipvs = same && self.same_ipvs(ipvs.as_deref().unwrap_or(&[]));
        self.changed = !same_ipvs;
        if same_ipvs {
            self.copy_ipvs(ipvs.unwrap_or_default());
        } else {
            self.tables = snapshot.tables.iter().map(|t| t.table.clone()).collect();
            self.services = read_iptables(snapshot, names);
            self.services.extend(ipvs.unwrap_or_default());
            self.services.sort_by(order);
            self.modes = modes(snapshot, &self.services);
        }
        self.fill(snapshot);
    }

    fn same_ipvs(&self, new: &[Service]) -> bool {
        let mut sorted: Vec<&Service> = new.iter().collect();
        sorted.sort_by(|a, b| order(a, b));
        let old = self.services.iter().filter(|s| s.mode == Mode::Ipvs);
        let mut n = 0;
        let alike = old.zip(&sorted).all(|(a, b)| {
            n += 1;
            a.scheduler == b.scheduler
                && a.session_affinity_s == b.session_affinity_s
                && a.frontends[0].kind == b.frontends[0].kind
                && a.frontends[0].address == b.frontends[0].address
                && a.frontends[0].port == b.frontends[0].port
                && a.protocol == b.protocol
                && a.backends.len() == b.backends.len()
                && a.backends.iter().zip(&b.backends).all(|(x, y)| x.address == y.address && x.port == y.port)
        });
        alike && n == new.len() && self.services.iter().filter(|s| s.mode == Mode::Ipvs).count() == n
    }

    fn copy_ipvs(&mut self, mut new: Vec<Service>) {
        new.sort_by(order);
        for (old, new) in self.services.iter_mut().filter(|s| s.mode == Mode::Ipvs).zip(new) {
            *old = new;
        }
    }

    /// Fills in what changes with every packet.
    fn fill(&mut self, snapshot: &Snapshot) {
        let flows = FlowIndex::new(snapshot);
        for service in &mut self.services {
            for f in &mut service.frontends {
                if let Some(rule) = f.rule {
                    f.hits = Some(counter(snapshot, rule).packets);
                }
                f.refused = f.refusal.map(|rule| counter(snapshot, rule).packets);
                f.flows = flows.as_ref().map(|i| i.to(service.protocol, f.address, f.port));
            }
            for b in &mut service.backends {
                if let Some(rule) = b.rule.filter(|_| b.counters.source == CounterSource::NatRule) {
                    b.counters.flows = Some(counter(snapshot, rule).packets);
                }
                b.conntrack_flows = flows.as_ref().map(|i| {
                    service
                        .frontends
                        .iter()
                        .map(|f| i.between(service.protocol, f.address, f.port, b.address, b.port))
                        .sum()
                });
            }
        }
    }
}

fn counter(snapshot: &Snapshot, rule: RuleRef) -> Counter {
    snapshot.tables.get(rule.table).map(|t| t.counter(rule.rule)).unwrap_or_default()
}

/// Flows by where they were sent.
struct FlowIndex {
    by_frontend: HashMap<(u8, IpAddr, u16), u64, foldhash::fast::FixedState>,
    by_pair: HashMap<FlowKey, u64, foldhash::fast::FixedState>,
    node_addresses: Vec<IpAddr>,
}

impl FlowIndex {
    fn new(snapshot: &Snapshot) -> Option<FlowIndex> {
        let flows = snapshot.conntrack.as_ref()?.flows.as_ref()?;
        let mut index = FlowIndex {
            by_frontend: HashMap::default(),
            by_pair: HashMap::default(),
            node_addresses: snapshot.addresses.iter().map(|a| a.address).collect(),
        };
        for (key, figures) in &flows.value.groups {
            let n = u64::from(figures.flows);
            *index.by_frontend.entry((key.protocol, key.frontend, key.frontend_port)).or_default() += n;
            index.by_pair.insert(*key, n);
        }
        Some(index)
    }

    /// The addresses behind a frontend: a node port stands on all of the node's.
    fn addresses<'a>(&'a self, address: &'a Option<IpAddr>) -> &'a [IpAddr] {
        match address {
            Some(a) => std::slice::from_ref(a),
            None => &self.node_addresses,
        }
    }

    fn to(&self, protocol: Protocol, address: Option<IpAddr>, port: u16) -> u64 {
        self.addresses(&address)
            .iter()
            .filter_map(|a| self.by_frontend.get(&(protocol.number(), *a, port)))
            .sum()
    }

    fn between(
        &self,
        protocol: Protocol,
        address: Option<IpAddr>,
        port: u16,
        backend: IpAddr,
        backend_port: u16,
    ) -> u64 {
        let key = |a: IpAddr| FlowKey {
            protocol: protocol.number(),
            frontend: a,
            frontend_port: port,
            backend,
            backend_port,
        };
        self.addresses(&address).iter().filter_map(|a| self.by_pair.get(&key(*a))).sum()
    }
}

/// By namespace, name, port, protocol and family; unnamed ones last, by address.
fn order(a: &Service, b: &Service) -> std::cmp::Ordering {
    let address = |s: &Service| {
        let first = s.frontends.first().filter(|_| s.name.is_none());
        first.map(|f| (f.address, f.port))
    };
    (a.name.is_none(), &a.name)
        .cmp(&(b.name.is_none(), &b.name))
        .then_with(|| address(a).cmp(&address(b)))
        .then_with(|| {
            (a.protocol.name(), a.family, a.mode, a.variant).cmp(&(
                b.protocol.name(),
                b.family,
                b.mode,
                b.variant,
            ))
        })
}

const FAMILIES: [IpFamily; 2] = [IpFamily::V4, IpFamily::V6];

/// Tables of iptables by variant.
const VARIANTS: [(Variant, TableBackend); 2] =
    [(Variant::Legacy, TableBackend::XTables), (Variant::Nft, TableBackend::NfTables)];

fn table<'a>(
    snapshot: &'a Snapshot,
    backend: TableBackend,
    family: IpFamily,
    name: &str,
) -> Option<(usize, &'a Table)> {
    snapshot
        .tables
        .iter()
        .enumerate()
        .find(|(_, t)| t.backend == backend && t.family.ip() == Some(family) && t.table.name == name)
        .map(|(i, t)| (i, &*t.table))
}

fn read_iptables(snapshot: &Snapshot, names: &Names) -> Vec<Service> {
    let mut services = Vec::new();
    for (variant, backend) in VARIANTS {
        for family in FAMILIES {
            let nat = table(snapshot, backend, family, "nat");
            let filter = table(snapshot, backend, family, "filter");
            services.extend(iptables::read(family, variant, nat, filter, names));
        }
    }
    services
}

/// Rules of kube-proxy in a table: those in its chains, and those elsewhere that jump there.
fn own_rules(table: &Table) -> usize {
    let own = |name: &str| name.starts_with("KUBE-");
    table
        .chains
        .iter()
        .map(|c| {
            if own(table.str(c.name)) {
                return c.rules.len();
            }
            c.rules
                .clone()
                .filter(|i| {
                    let rule = &table.rules[*i as usize];
                    table.jump_of(rule).is_some_and(|to| own(table.chain_name(to)))
                })
                .count()
        })
        .sum()
}

fn modes(snapshot: &Snapshot, services: &[Service]) -> Vec<ModeState> {
    let mut modes = Vec::new();
    for family in FAMILIES {
        let of = |mode: Mode, variant: Option<Variant>| {
            services.iter().filter(move |s| s.mode == mode && s.variant == variant && s.family == family)
        };
        // kube-proxy's ipvs mode writes rules too, which jump by ipset: they are no Services of iptables mode.
        let mut iptables_at_work = false;
        for (variant, backend) in VARIANTS {
            let count = of(Mode::Iptables, Some(variant)).count();
            if count == 0 {
                continue;
            }
            let reached = of(Mode::Iptables, Some(variant)).any(|s| !s.frontends.is_empty());
            iptables_at_work |= reached;
            let rules = snapshot
                .tables
                .iter()
                .filter(|t| t.backend == backend && t.family.ip() == Some(family))
                .map(|t| own_rules(&t.table))
                .sum();
            modes.push(ModeState {
                mode: Mode::Iptables,
                variant: Some(variant),
                family,
                state: if reached { State::Active } else { State::Leftover },
                services: count,
                rules,
            });
        }
        let count = of(Mode::Ipvs, None).count();
        if count > 0 {
            let rules = if iptables_at_work {
                0
            } else {
                snapshot
                    .tables
                    .iter()
                    .filter(|t| t.family.ip() == Some(family))
                    .map(|t| own_rules(&t.table))
                    .sum()
            };
            modes.push(ModeState {
                mode: Mode::Ipvs,
                variant: None,
                family,
                // Rules of iptables mode translate a packet before IPVS sees it.
                state: if iptables_at_work { State::Leftover } else { State::Active },
                services: count,
                rules,
            });
        }
    }
    modes
}
