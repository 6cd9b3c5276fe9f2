//! All Services of a snapshot, and which modes hold them.

use super::cluster::ApiNames;
use super::{
    CounterSource, Mode, Names, Protocol, RuleRef, Service, Variant, iptables, ipvs, nftables, userspace,
};
use crate::ruleset::{IpFamily, Table, TableBackend};
use crate::snapshot::facts::Cluster;
use crate::snapshot::{FlowFigures, FlowKey, Flows, Snapshot};
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
    api: Arc<ApiNames>,
    cluster: Option<Arc<Cluster>>,
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
        let renamed = self.renamed(snapshot);
        let same = self.tables.len() == snapshot.tables.len()
            && self.tables.iter().zip(&snapshot.tables).all(|(a, b)| Arc::ptr_eq(a, &b.table))
            && !self.modes.is_empty()
            && !renamed;
        let mut ipvs = read_ipvs(snapshot);
        self.api.name(&mut ipvs);
        let same_ipvs = same && self.same_ipvs(&ipvs);
        self.changed = !same_ipvs;
        if same_ipvs {
            self.copy_ipvs(ipvs);
            mark_leftovers(&mut self.services, &self.modes);
        } else {
            self.tables = snapshot.tables.iter().map(|t| t.table.clone()).collect();
            self.services = read_tables(snapshot, names);
            self.api.name(&mut self.services);
            self.services.extend(ipvs);
            self.modes = modes(snapshot, &self.services);
            mark_leftovers(&mut self.services, &self.modes);
            self.services.sort_by(order);
        }
        self.fill(snapshot);
    }

    /// Takes the names that the API tells; true where they are others than before.
    fn renamed(&mut self, snapshot: &Snapshot) -> bool {
        let same = match (&self.cluster, &snapshot.cluster) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (None, None) => true,
            _ => false,
        };
        if same {
            return false;
        }
        self.cluster.clone_from(&snapshot.cluster);
        let new = self.api.renewed(snapshot.cluster.as_ref());
        let is_new = new.is_some();
        if let Some(new) = new {
            self.api = Arc::new(new);
        }
        is_new
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
                && a.frontends[0].traffic_policy == b.frontends[0].traffic_policy
                && a.frontends[0].source_ranges == b.frontends[0].source_ranges
                && a.protocol == b.protocol
                && a.name == b.name
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
                    f.hits = counted(snapshot, rule);
                }
                f.refused = f.refusal.and_then(|rule| counted(snapshot, rule));
                // Flows to an address go where the mode at work sends them.
                let mine = flows.as_ref().filter(|_| !service.leftover);
                f.flows = mine.map(|i| i.to(service.protocol, f.address, f.port));
            }
            for b in &mut service.backends {
                if let Some(rule) = b.rule.filter(|_| b.counters.source == CounterSource::NatRule) {
                    b.counters.flows = counted(snapshot, rule);
                }
                let figures = flows.as_ref().filter(|_| !service.leftover).map(|i| {
                    let mut sum = FlowFigures::default();
                    for f in &service.frontends {
                        i.between(service.protocol, f.address, f.port, b.address, b.port, &mut sum);
                    }
                    (sum, i.accounting)
                });
                b.conntrack_flows = figures.map(|f| u64::from(f.0.flows));
                b.unreplied_flows = figures.map(|f| u64::from(f.0.unreplied));
                if b.counters.source == CounterSource::Conntrack {
                    b.counters.flows = b.conntrack_flows;
                    let counted = figures.filter(|f| f.1).map(|f| f.0);
                    b.counters.packets = counted.map(|f| f.in_packets + f.out_packets);
                    b.counters.bytes = counted.map(|f| f.in_bytes + f.out_bytes);
                }
            }
        }
    }
}

/// Packets that a rule counted; `None` where nothing counts them, or a dump does not tell.
fn counted(snapshot: &Snapshot, rule: RuleRef) -> Option<u64> {
    let t = snapshot.tables.get(rule.table)?;
    let is_counted = t.table.rules.get(rule.rule.0 as usize).is_some_and(|r| r.counted);
    is_counted.then(|| t.counter(rule.rule).packets)
}

/// Flows by where they were sent.
struct FlowIndex<'a> {
    by_frontend: HashMap<(u8, IpAddr, u16), u64, foldhash::fast::FixedState>,
    flows: &'a Flows,
    node_addresses: Vec<IpAddr>,
    accounting: bool,
}

impl<'a> FlowIndex<'a> {
    fn new(snapshot: &'a Snapshot) -> Option<FlowIndex<'a>> {
        let conntrack = snapshot.conntrack.as_ref()?;
        let flows = &conntrack.flows.as_ref()?.value;
        let mut index = FlowIndex {
            by_frontend: HashMap::default(),
            flows,
            node_addresses: snapshot.addresses.iter().map(|a| a.address).collect(),
            accounting: flows.accounting || conntrack.limits.accounting == Some(true),
        };
        for (key, figures) in &flows.groups {
            let n = u64::from(figures.flows);
            *index.by_frontend.entry((key.protocol, key.frontend, key.frontend_port)).or_default() += n;
        }
        Some(index)
    }

    /// The addresses behind a frontend: a node port stands on all of the node's.
    fn addresses<'b>(&'b self, address: &'b Option<IpAddr>) -> &'b [IpAddr] {
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

    /// Adds the flows between a frontend and a backend to `sum`.
    fn between(
        &self,
        protocol: Protocol,
        address: Option<IpAddr>,
        port: u16,
        backend: IpAddr,
        backend_port: u16,
        sum: &mut FlowFigures,
    ) {
        for a in self.addresses(&address) {
            let key = FlowKey {
                protocol: protocol.number(),
                frontend: *a,
                frontend_port: port,
                backend,
                backend_port,
            };
            if let Some(f) = self.flows.groups.get(&key) {
                sum.add(f);
            }
        }
    }
}

/// By namespace, name, port, protocol and family, what is at work before what was left; unnamed ones last, by
/// address.
fn order(a: &Service, b: &Service) -> std::cmp::Ordering {
    let address = |s: &Service| {
        let first = s.frontends.first().filter(|_| s.name.is_none());
        first.map(|f| (f.address, f.port))
    };
    (a.name.is_none(), &a.name)
        .cmp(&(b.name.is_none(), &b.name))
        .then_with(|| address(a).cmp(&address(b)))
        .then_with(|| {
            let rest = |s: &Service| (s.protocol.name(), s.family, s.leftover, s.mode, s.variant);
            rest(a).cmp(&rest(b))
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

/// Services of every mode that keeps them in tables.
fn read_tables(snapshot: &Snapshot, names: &Names) -> Vec<Service> {
    let mut services = Vec::new();
    for family in FAMILIES {
        for (variant, backend) in VARIANTS {
            let nat = table(snapshot, backend, family, "nat");
            let filter = table(snapshot, backend, family, "filter");
            services.extend(iptables::read(family, variant, nat, filter, names));
            if let Some((index, nat)) = nat {
                services.extend(userspace::read(family, variant, index, nat));
            }
        }
        if let Some((_, table)) = table(snapshot, TableBackend::NfTables, family, nftables::TABLE) {
            services.extend(nftables::read(family, table));
        }
    }
    services
}

fn read_ipvs(snapshot: &Snapshot) -> Vec<Service> {
    let Some(reading) = &snapshot.ipvs else { return Vec::new() };
    let sets = snapshot.ipsets.as_ref().map_or(&[][..], |s| &s.value);
    ipvs::read(&reading.value, &snapshot.addresses, sets)
}

/// How a chain of kube-proxy's is used.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    /// iptables mode, or ipvs mode's few rules.
    Rules,
    /// userspace mode.
    Userspace,
}

fn use_of(name: &str) -> Option<Use> {
    match name {
        n if userspace::is_chain(n) => Some(Use::Userspace),
        n if n.starts_with("KUBE-") => Some(Use::Rules),
        _ => None,
    }
}

/// Rules of kube-proxy in a table: those in its chains, and those elsewhere that jump there.
fn own_rules(table: &Table, of: Use) -> usize {
    table
        .chains
        .iter()
        .map(|c| match use_of(table.str(c.name)) {
            Some(used) if used == of => c.rules.len(),
            Some(_) => 0,
            None => c
                .rules
                .clone()
                .filter(|i| {
                    let to = table.jump_of(&table.rules[*i as usize]);
                    to.is_some_and(|to| use_of(table.chain_name(to)) == Some(of))
                })
                .count(),
        })
        .sum()
}

fn mark_leftovers(services: &mut [Service], modes: &[ModeState]) {
    for s in services {
        s.leftover = modes.iter().any(|m| {
            m.state == State::Leftover && (m.mode, m.variant, m.family) == (s.mode, s.variant, s.family)
        });
    }
}

/// Modes in the order in which they get a packet, as far as rules tell. Translation by rules comes before
/// IPVS (`ip_vs_in` hangs behind prerouting's nat). Among rules that translate at the same priority the kernel
/// tells no order; nodes move from the later to the earlier ones here, and what they left is a leftover.
const RANK: [(Mode, Option<Variant>); 6] = [
    (Mode::Nftables, None),
    (Mode::Iptables, Some(Variant::Nft)),
    (Mode::Iptables, Some(Variant::Legacy)),
    (Mode::Userspace, Some(Variant::Nft)),
    (Mode::Userspace, Some(Variant::Legacy)),
    (Mode::Ipvs, None),
];

fn modes(snapshot: &Snapshot, services: &[Service]) -> Vec<ModeState> {
    let mut modes = Vec::new();
    for family in FAMILIES {
        let of = |mode: Mode, variant: Option<Variant>| {
            services.iter().filter(move |s| s.mode == mode && s.variant == variant && s.family == family)
        };
        let rules = |backend: Option<TableBackend>, used: Use| -> usize {
            let tables = snapshot.tables.iter().filter(|t| t.family.ip() == Some(family));
            tables
                .filter(|t| backend.is_none_or(|b| b == t.backend) && t.table.name != nftables::TABLE)
                .map(|t| own_rules(&t.table, used))
                .sum()
        };
        let mut taken = false;
        for (mode, variant) in RANK {
            let count = of(mode, variant).count();
            if count == 0 {
                continue;
            }
            // Rules that no packet reaches are left behind, whatever else is there.
            let reached = of(mode, variant).any(|s| !s.frontends.is_empty());
            let state = if reached && !taken { State::Active } else { State::Leftover };
            taken |= reached;
            let backend = variant.and_then(|v| VARIANTS.iter().find(|x| x.0 == v)).map(|x| x.1);
            let rules = match mode {
                Mode::Nftables => table(snapshot, TableBackend::NfTables, family, nftables::TABLE)
                    .map_or(0, |(_, t)| t.rules.len()),
                Mode::Iptables => rules(backend, Use::Rules),
                Mode::Userspace => rules(backend, Use::Userspace),
                // Its few rules stand in the same chains as iptables mode's.
                Mode::Ipvs if services.iter().any(|s| s.mode == Mode::Iptables && s.family == family) => 0,
                Mode::Ipvs => rules(None, Use::Rules),
            };
            modes.push(ModeState { mode, variant, family, state, services: count, rules });
        }
    }
    modes
}
