//! All Services of a snapshot, and which modes hold them.

use super::cluster::{ApiNames, kinds};
use super::figures::same_arc;
use super::services::{ModeState, Services, State};
use super::{
    CounterSource, Engine, Figures, Mode, Names, Service, ServiceFigures, Variant, chain, ebpf, iptables,
    ipvs, kernelspace, nftables, ovn, userspace,
};
use crate::ruleset::{IpFamily, Table, TableBackend};
use crate::snapshot::facts::{BpfMap, Cluster, InterfaceAddress, Ipset, Ipvs};
use crate::snapshot::{Hns, Snapshot};
use std::sync::Arc;

/// Services with what they counted. Made from a snapshot, and brought up to date with the next: what did not change is
/// shared. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// The structure.
    pub services: Arc<Services>,
    /// What they counted.
    pub figures: Arc<Figures>,
    /// True where the structure changed with the last update: rows may be elsewhere now.
    pub changed: bool,
    made: Made,
}

/// What the structure was made of.
#[derive(Clone, Debug, Default)]
struct Made {
    api: Arc<ApiNames>,
    cluster: Option<Arc<Cluster>>,
    tables: Vec<Arc<Table>>,
    ipvs: Option<Arc<Ipvs>>,
    ipsets: Option<Arc<Vec<Ipset>>>,
    addresses: Arc<Vec<InterfaceAddress>>,
    maps: Option<Arc<Vec<BpfMap>>>,
    hns: Option<Arc<Hns>>,
}

impl Model {
    /// Reads a snapshot.
    pub fn read(snapshot: &Snapshot, names: &Names) -> Model {
        let mut model = Model::default();
        model.update(snapshot, names);
        model
    }

    /// Services of which nobody counted anything, in this order.
    pub fn of(services: Vec<Service>) -> Model {
        let all = services.into_iter().map(|s| (s, Vec::new())).collect();
        Model { services: Arc::new(Services::new(all, Vec::new())), ..Model::default() }
    }

    /// Brings the model up to date. The structure is read again only where something that it is made of changed.
    pub fn update(&mut self, snapshot: &Snapshot, names: &Names) {
        let same =
            !self.made.renamed(snapshot) && !self.services.modes.is_empty() && self.made.same(snapshot);
        self.changed = !same;
        if !same {
            self.services = Arc::new(self.made.services(snapshot, names));
        }
        self.made.take(snapshot);
        self.figures = Arc::new(Figures::read(&self.services, snapshot, &self.figures));
    }

    /// What a Service counted, by its place.
    ///
    /// # Panics
    /// Where there is no such Service.
    pub fn figures(&self, service: usize) -> ServiceFigures<'_> {
        self.figures.of(&self.services, service)
    }

    /// True where rules or IPVS count the new flows of every Service in use: conntrack's notices tell nothing more then.
    pub fn new_flows_are_counted(&self) -> bool {
        let used = self.services.iter().filter(|s| s.is_used());
        !used.flat_map(|s| &s.backends).any(|b| b.source == CounterSource::Conntrack)
    }

    /// Every Service with its figures.
    pub fn iter(&self) -> impl Iterator<Item = (&Service, ServiceFigures<'_>)> {
        self.services.iter().enumerate().map(|(i, s)| (s, self.figures(i)))
    }
}

impl Made {
    /// Takes the names that the API says; true where they are others than before.
    fn renamed(&mut self, snapshot: &Snapshot) -> bool {
        if same_arc(self.cluster.as_ref(), snapshot.cluster.as_ref()) {
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

    /// True where a snapshot makes the same structure.
    fn same(&self, snapshot: &Snapshot) -> bool {
        let ipsets = snapshot.ipsets.as_ref().map(|r| &r.value);
        self.tables.len() == snapshot.tables.len()
            && self.tables.iter().zip(&snapshot.tables).all(|(a, b)| Arc::ptr_eq(a, &b.table))
            && (same_arc(self.maps.as_ref(), snapshot.maps.as_ref()) || self.maps == snapshot.maps)
            && self.hns == snapshot.hns
            && match (&self.ipvs, snapshot.ipvs.as_ref().map(|r| &r.value)) {
                (None, None) => true,
                // Only virtual servers are distinguished by sets and addresses.
                (Some(a), Some(b)) => {
                    ipvs::same_structure(a, b)
                        && self.addresses == snapshot.addresses
                        && self.ipsets.as_ref() == ipsets
                }
                _ => false,
            }
    }

    fn take(&mut self, snapshot: &Snapshot) {
        self.tables = snapshot.tables.iter().map(|t| t.table.clone()).collect();
        self.ipvs = snapshot.ipvs.as_ref().map(|r| r.value.clone());
        self.ipsets = snapshot.ipsets.as_ref().map(|r| r.value.clone());
        self.addresses = snapshot.addresses.clone();
        self.maps.clone_from(&snapshot.maps);
        self.hns.clone_from(&snapshot.hns);
    }

    fn services(&self, snapshot: &Snapshot, names: &Names) -> Services {
        let mut all = read_tables(snapshot, names);
        let (places, mut servers): (Vec<u32>, Vec<Service>) = read_ipvs(snapshot).into_iter().unzip();
        let beside_kube_proxy =
            !all.is_empty() || snapshot.ipvs.as_ref().is_some_and(|i| !i.value.servers.is_empty());
        let mut mapped = read_others(snapshot, beside_kube_proxy);
        self.api.name(&mut all);
        self.api.name(&mut mapped);
        names.name(&mut mapped);
        if let Some(cluster) = &snapshot.cluster {
            kinds(cluster, &mut mapped);
        }
        self.api.name(&mut servers);
        names.name(&mut servers);
        let mut places_of: Vec<Vec<u32>> = vec![Vec::new(); all.len()];
        for (service, places) in ipvs::joined(servers.into_iter().zip(places)) {
            all.push(service);
            places_of.push(places);
        }
        // Each frontend of Cilium's is one of its own, as virtual servers are, until names join them.
        for (service, _) in ipvs::joined(mapped.into_iter().map(|s| (s, 0))) {
            all.push(service);
            places_of.push(Vec::new());
        }
        let modes = modes(snapshot, &all);
        mark_stale(&mut all, &modes);
        let mut all: Vec<(Service, Vec<u32>)> = all.into_iter().zip(places_of).collect();
        all.sort_by(|a, b| order(&a.0, &b.0));
        Services::new(all, modes)
    }
}

/// By namespace, name, port, protocol and family, what is active before what was left; unnamed ones last, by
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
            let rest = |s: &Service| (s.protocol.name(), s.family, s.stale, s.engine);
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

/// Services of other proxies than kube-proxy, and of kube-proxy on Windows.
fn read_others(snapshot: &Snapshot, beside_kube_proxy: bool) -> Vec<Service> {
    let maps = snapshot.maps.as_deref().map_or(&[][..], Vec::as_slice);
    let mut services = ebpf::cilium::read(maps);
    services.extend(ebpf::calico::read(maps, &snapshot.addresses));
    services.extend(ovn::read(snapshot));
    services.extend(snapshot.hns.iter().flat_map(|h| kernelspace::read(h)));
    // Beside kube-proxy Cilium serves the cluster IPs for pods by design (`kubeProxyReplacement=false`): the same Services, not
    // others.
    let is_more = |s: &Service| {
        let kind = |f: &super::Frontend| f.kind.is_some_and(|k| k != super::FrontendKind::ClusterIp);
        s.engine != Engine::Cilium || s.frontends.iter().any(kind)
    };
    if beside_kube_proxy && !services.iter().any(is_more) {
        services.clear();
    }
    services
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

/// The Services of IPVS, each with the place of its virtual server.
fn read_ipvs(snapshot: &Snapshot) -> Vec<(u32, Service)> {
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
        n if chain::is_own(n) => Some(Use::Rules),
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

fn mark_stale(services: &mut [Service], modes: &[ModeState]) {
    for s in services {
        s.stale =
            modes.iter().any(|m| m.state == State::Stale && (m.engine, m.family) == (s.engine, s.family));
    }
}

/// Modes in the order in which they get a packet, as far as rules say. Translation by rules comes before
/// IPVS (`ip_vs_in` hangs behind prerouting's nat). Among rules that translate at the same priority the kernel
/// says no order; nodes move from the later to the earlier ones here, and what they left is a leftover.
const RANK: [Engine; 10] = [
    // At the socket, tc or XDP: before any rule.
    Engine::Cilium,
    Engine::CalicoEbpf,
    Engine::Nftables,
    Engine::IptablesNft,
    Engine::IptablesLegacy,
    Engine::UserspaceNft,
    Engine::UserspaceLegacy,
    Engine::Ipvs,
    Engine::OvnKubernetes,
    Engine::Kernelspace,
];

fn modes(snapshot: &Snapshot, services: &[Service]) -> Vec<ModeState> {
    let mut modes = Vec::new();
    for family in FAMILIES {
        let of = |engine: Engine| services.iter().filter(move |s| s.engine == engine && s.family == family);
        let rules = |backend: Option<TableBackend>, used: Use| -> usize {
            let tables = snapshot.tables.iter().filter(|t| t.family.ip() == Some(family));
            tables
                .filter(|t| backend.is_none_or(|b| b == t.backend) && t.table.name != nftables::TABLE)
                .map(|t| own_rules(&t.table, used))
                .sum()
        };
        let mut taken = false;
        for engine in RANK {
            let count = of(engine).count();
            if count == 0 {
                continue;
            }
            // Rules that no packet reaches are left behind, whatever else is there.
            let reached = of(engine).any(|s| !s.frontends.is_empty());
            // Maps take what comes their way, whatever rules are there.
            let is_ebpf = engine.mode().keeps_no_rules() || engine.mode() == Mode::Ovn;
            let state = if reached && (is_ebpf || !taken) { State::Active } else { State::Stale };
            taken |= reached && !is_ebpf;
            let backend = engine.variant().and_then(|v| VARIANTS.iter().find(|x| x.0 == v)).map(|x| x.1);
            let rules = match engine.mode() {
                Mode::Nftables => table(snapshot, TableBackend::NfTables, family, nftables::TABLE)
                    .map_or(0, |(_, t)| t.rules.len()),
                Mode::Iptables => rules(backend, Use::Rules),
                Mode::Userspace => rules(backend, Use::Userspace),
                Mode::Cilium | Mode::Calico | Mode::Ovn | Mode::Kernelspace => 0,
                // Its few rules are in the same chains as iptables mode's.
                Mode::Ipvs
                    if services.iter().any(|s| s.engine.mode() == Mode::Iptables && s.family == family) =>
                {
                    0
                }
                Mode::Ipvs => rules(None, Use::Rules),
            };
            modes.push(ModeState { engine, family, state, services: count, rules });
        }
    }
    modes
}
