//! The node's real Services under every mode side by side: the running one as it is, the others as kube-proxy would write
//! them.

use super::lookup::{FIGURES, ProbeSources, Sizes};
use super::prices::{Prices, PricesFrom};
use crate::format::{nanoseconds, plural};
use crate::proxy::{
    Engine, FrontendKind, Mode, Model, Protocol, RulesForm, Service, ServiceName, TrafficPolicy, chain,
    iptables, ipvs, nftables, node_address, node_addresses, pod_network, rules_form,
};
use crate::ruleset::{Dialect, IpFamily, IpNet, TableBackend};
use crate::snapshot::facts::{Ipvs, blob_size};
use crate::snapshot::{Reading, Snapshot, TableState};
use crate::walk::RulesetIndex;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Smallest, mean, 95th percentile and largest of a figure over all Services.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Smallest.
    pub min: f64,
    /// Mean.
    pub mean: f64,
    /// 95th percentile.
    pub p95: f64,
    /// Largest.
    pub max: f64,
}

impl Spread {
    /// Of figures; `None` without any.
    pub fn of(figures: &[f64]) -> Option<Spread> {
        let mut sorted = figures.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = ((sorted.len() as f64 * 0.95).ceil() as usize).clamp(1, sorted.len().max(1)) - 1;
        Some(Spread {
            min: *sorted.first()?,
            mean: sorted.iter().sum::<f64>() / sorted.len() as f64,
            p95: *sorted.get(at)?,
            max: *sorted.last()?,
        })
    }
}

/// One mode's figures for the node's Services.
#[derive(Clone, Debug, PartialEq)]
pub struct ModeFigures {
    /// Which.
    pub engine: Engine,
    /// True where it runs here, and its rules were read; else they are what kube-proxy would write.
    pub running: bool,
    /// Rules of kube-proxy's tables, both families.
    pub rules: u64,
    /// Elements of sets and maps.
    pub elements: u64,
    /// Virtual servers and real servers (ipvs).
    pub servers: Option<(u64, u64)>,
    /// Bytes in the kernel, where that can be said.
    pub kernel_bytes: Option<u64>,
    /// Rules that the first packet meets.
    pub evaluated: Option<Spread>,
    /// Nanoseconds of the first packet.
    pub first_packet_ns: Option<Spread>,
    /// Nanoseconds of a later packet.
    pub per_packet_ns: Option<f64>,
    /// What the kernel is given again when one endpoint of one Service changes: rules, and elements or servers.
    pub change: (u64, u64),
    /// Rules of `KUBE-SERVICES` that a Service adds to the way of those behind it.
    pub grows: f64,
    /// Whose prices.
    pub from: PricesFrom,
}

impl ModeFigures {
    /// What one changed endpoint costs: `65 rules`, `1 rule + 3`.
    pub fn change_text(&self) -> String {
        match self.change {
            (0, 0) => "-".into(),
            (rules, 0) => plural(rules, "rule"),
            (rules, n) => format!("{} + {n}", plural(rules, "rule")),
        }
    }
}

/// What a Service would gain.
#[derive(Clone, Debug, PartialEq)]
pub struct Gain {
    /// Its name.
    pub service: String,
    /// Nanoseconds of its first packet in the running mode.
    pub now_ns: f64,
    /// The same in the cheapest mode.
    pub best_ns: f64,
}

/// Modes side by side.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// Service ports that were compared.
    pub services: usize,
    /// Their backends.
    pub backends: usize,
    /// By mode.
    pub modes: Vec<ModeFigures>,
    /// Services that gain most by the cheapest mode, and that mode.
    pub gains: Vec<Gain>,
    /// The cheapest mode for first packets.
    pub best: Option<Engine>,
    /// Another proxy that holds the Services, where that is no kube-proxy.
    pub beside: Option<&'static str>,
    /// In whose form the modes that do not run are written.
    pub form: RulesForm,
    /// What must be known to read it.
    pub notes: Vec<String>,
}

impl Comparison {
    /// The figures of the running mode.
    pub fn running(&self) -> Option<&ModeFigures> {
        self.modes.iter().find(|m| m.running)
    }

    /// The figures of a mode.
    pub fn mode(&self, engine: Engine) -> Option<&ModeFigures> {
        self.modes.iter().find(|m| m.engine == engine)
    }

    /// Whether the choice of a mode matters here, in sentences. `flows_per_s` are the node's new flows a second, where they
    /// are known.
    pub fn verdict(&self, flows_per_s: Option<f64>) -> Vec<String> {
        let mean = |m: &ModeFigures| m.first_packet_ns.map(|s| s.mean);
        let (Some(now), Some(best)) = (self.running(), self.best.and_then(|e| self.mode(e))) else {
            return vec![match self.beside {
                Some(proxy) => format!(
                    "{proxy} serves these Services, and what its lookups cost is not measured: the figures are what modes of \
                     kube-proxy would cost with them."
                ),
                None => "No mode of kube-proxy is active here: nothing to compare with.".into(),
            }];
        };
        let (Some(now_ns), Some(best_ns)) = (mean(now), mean(best)) else { return Vec::new() };
        let more = (now_ns - best_ns).max(0.0);
        let mut said = Vec::new();
        let first = nanoseconds(now_ns);
        // Smaller differences are within the estimates' error (`kptop calibrate --verify`).
        let matters = more >= WORTH_SAYING_NS && more >= now_ns * WORTH_SAYING;
        if now.engine == best.engine || !matters {
            said.push(format!(
                "The first packet of a flow takes {first} in {}; no mode is quicker by more than the estimate's error.",
                now.engine.words()
            ));
        } else {
            said.push(format!(
                "The first packet of a flow takes {first} in {}, and {} less in {}; later packets of the flow do not pay \
                 it again.",
                now.engine.words(),
                nanoseconds(more),
                best.engine.words()
            ));
        }
        if let Some(rate) = flows_per_s.filter(|r| matters && *r >= 1.0) {
            let share = rate * more / 1e9 * 100.0;
            let part = if share < 0.01 { "less than 0.01 %".to_string() } else { format!("{share:.2} %") };
            let end = if share < 1.0 { ": nobody will notice" } else { "" };
            said.push(format!(
                "At this node's {rate:.0} new flows a second that is {part} of one core{end}."
            ));
        }
        if self.services < 1_000 {
            said.push(
                "Below some 1,000 Services, and with connections that live long, users see no difference between the \
                 modes."
                    .into(),
            );
        }
        said
    }
}

/// Differences below these are not reported: in nanoseconds, and as a part of what a first packet takes now.
const WORTH_SAYING_NS: f64 = 1_000.0;
const WORTH_SAYING: f64 = 0.15;

/// Services as any mode could write them: what the running one does not say is filled in.
pub(super) fn portable(model: &Model) -> (Vec<Service>, Vec<String>) {
    let mut notes = Vec::new();
    let mut services: Vec<Service> = model.services.iter().filter(|s| !s.stale).cloned().collect();
    // No other mode goes by marks, or takes every protocol of a port.
    services.retain(|s| s.protocol != Protocol::Any);
    services.retain(|s| !s.frontends.iter().any(|f| f.kind.is_some_and(FrontendKind::is_mark)));
    let mut unnamed = 0;
    for s in &mut services {
        if s.name.is_none() {
            unnamed += 1;
            let f = s.frontends.first();
            let at = f.map_or_else(|| "x".into(), |f| f.address.map_or("node".into(), |a| a.to_string()));
            s.name = Some(ServiceName {
                namespace: UNNAMED.into(),
                name: at.replace([':', '.'], "-"),
                port: format!("p{}", f.map_or(0, |f| f.port)),
            });
        }
        // A node port of nftables mode is once for each address; other modes serve all of the node's.
        let mut ports = Vec::new();
        s.frontends.retain_mut(|f| {
            if f.kind == Some(FrontendKind::NodePort) {
                f.address = None;
                let known = ports.contains(&f.port);
                ports.push(f.port);
                return !known;
            }
            // An external address of an unknown kind, or a virtual server of IPVS without its ipsets.
            f.kind.get_or_insert(match s.engine.mode() {
                Mode::Ipvs => FrontendKind::ClusterIp,
                _ => FrontendKind::ExternalIp,
            });
            true
        });
        for b in &mut s.backends {
            if b.traffic_policies.is_empty() {
                b.traffic_policies = TrafficPolicy::Cluster.into();
            }
        }
    }
    if unnamed > 0 {
        notes.push(format!(
            "{unnamed} Services have no name here: each address of theirs counts as a Service of its own."
        ));
    }
    (services, notes)
}

/// Namespace of Services that have no name here.
const UNNAMED: &str = "unnamed";

/// A Service's name for people; its address where it has none here.
fn shown(s: &Service) -> String {
    match (&s.name, s.frontends.first()) {
        (Some(n), Some(f)) if n.namespace == UNNAMED => crate::proxy::frontend_text(f),
        _ => s.label(),
    }
}

/// The snapshot that a node would give in another mode, with nothing but kube-proxy's rules on it.
pub(super) fn written(
    snapshot: &Snapshot,
    services: &[Service],
    engine: Engine,
    form: &RulesForm,
) -> Snapshot {
    let version = form.version_for(engine.mode());
    let mut made = Snapshot {
        // Other modes have no interface that holds the Services' addresses.
        addresses: Arc::new(
            snapshot.addresses.iter().filter(|a| !ipvs::is_dummy(&a.interface)).cloned().collect(),
        ),
        sysctls: Arc::new(
            snapshot
                .sysctls
                .iter()
                .filter(|s| !s.0.contains("/vs/"))
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect(),
        ),
        ..Snapshot::default()
    };
    let nodes: Vec<IpAddr> =
        [IpFamily::V4, IpFamily::V6].iter().filter_map(|f| node_address(snapshot, *f)).collect();
    let mut ipsets = Vec::new();
    for family in [IpFamily::V4, IpFamily::V6] {
        if !services.iter().any(|s| s.family == family) {
            continue;
        }
        let cluster_cidr = pod_network(snapshot, family);
        let node = nodes.iter().copied().find(|a| IpFamily::of(*a) == family);
        let tables = match engine {
            Engine::Nftables => {
                let config = snapshot.proxy_config();
                let serves = |a: &IpAddr| {
                    let is_primary = Some(*a) == node;
                    let set = config.and_then(|c| c.serves_node_ports_on(*a, is_primary));
                    set.unwrap_or(is_primary)
                };
                let own = node_addresses(snapshot, family).map(|a| a.address);
                let node_port_addresses = own.filter(serves).collect();
                let options = nftables::WriteOptions {
                    version,
                    cluster_cidr,
                    node_port_addresses,
                    service_cidr: around_cluster_ips(services, family),
                };
                vec![nftables::write(services, family, &options)]
            }
            Engine::Ipvs => {
                let options = ipvs::FrameOptions { version, cluster_cidr, node, node_addresses: &nodes };
                let (tables, sets) = ipvs::frame(services, family, &options);
                ipsets.extend(sets);
                tables
            }
            _ => {
                let large_cluster = services.iter().map(|s| s.backends.len()).sum::<usize>() > 1000;
                let accounts = form.accounts;
                let options = iptables::WriteOptions { version, cluster_cidr, large_cluster, accounts, node };
                iptables::write(services, family, &options)
            }
        };
        made.tables.extend(tables.into_iter().map(|(mut table, counters)| {
            if engine == Engine::IptablesNft {
                table.backend = TableBackend::NfTables;
            }
            TableState::new(Duration::ZERO, Arc::new(table), Arc::new(counters))
        }));
    }
    if engine == Engine::Ipvs {
        let servers = ipvs::write(services, &nodes);
        let mut addresses = (*made.addresses).clone();
        addresses.extend(servers.iter().filter_map(|s| match s.address {
            crate::snapshot::facts::VirtualAddress::Socket { address, .. } => {
                Some(crate::snapshot::facts::InterfaceAddress {
                    interface: ipvs::DUMMY.into(),
                    address,
                    prefix: None,
                })
            }
            _ => None,
        }));
        made.addresses = Arc::new(addresses);
        let value = Arc::new(Ipvs { servers, ..Ipvs::default() });
        made.ipvs = Some(Reading { at: Duration::ZERO, value });
        made.ipsets = Some(Reading { at: Duration::ZERO, value: Arc::new(ipsets) });
    }
    made
}

/// kube-proxy's tables of an engine.
fn tables(snapshot: &Snapshot, engine: Engine) -> impl Iterator<Item = &TableState> {
    snapshot.tables.iter().filter(move |t| match engine {
        Engine::Nftables => t.table.dialect == Dialect::Nft && t.table.name == nftables::TABLE,
        Engine::IptablesLegacy | Engine::UserspaceLegacy => t.backend == TableBackend::XTables,
        Engine::IptablesNft | Engine::UserspaceNft => {
            t.backend == TableBackend::NfTables && t.table.dialect == Dialect::Iptables
        }
        Engine::Ipvs => t.table.dialect == Dialect::Iptables,
        Engine::Cilium | Engine::CalicoEbpf | Engine::OvnKubernetes | Engine::Kernelspace => false,
    })
}

/// What one changed endpoint of a usual Service costs.
fn change(snapshot: &Snapshot, engine: Engine, services: &[Service]) -> (u64, u64) {
    // The Service in the middle, by its number of backends.
    let mut by_size: Vec<&Service> = services.iter().filter(|s| !s.backends.is_empty()).collect();
    by_size.sort_by_key(|s| s.backends.len());
    let Some(usual) = by_size.get(by_size.len() / 2) else { return (0, 0) };
    let of_family = tables(snapshot, engine).filter(|t| t.family.ip() == Some(usual.family));
    match engine {
        // Each table is replaced whole.
        Engine::IptablesLegacy => {
            let kube = of_family.filter(|t| ["nat", "filter"].contains(&t.table.name.as_str()));
            (kube.map(|t| t.table.rules.len() as u64).sum(), 0)
        }
        Engine::IptablesNft => {
            let fixed: u64 = of_family
                .flat_map(|t| {
                    let table = &t.table;
                    table.chains.iter().filter(|c| iptables::always_written(&table.name, table.str(c.name)))
                })
                .map(|c| c.rules.len() as u64)
                .sum();
            let n = usual.backends.len() as u64;
            (fixed + 1 + 3 * n, 0)
        }
        Engine::Nftables => (
            1 + usual.backends.len() as u64 * u64::from(usual.session_affinity.is_some()) * 3,
            usual.backends.len() as u64,
        ),
        // Its few rules are restored, and one real server is set.
        Engine::Ipvs => (tables(snapshot, engine).map(|t| t.table.rules.len() as u64).sum(), 1),
        // Its backends are in the process.
        Engine::UserspaceLegacy | Engine::UserspaceNft => (0, 0),
        // A slot and a backend.
        Engine::Cilium | Engine::CalicoEbpf => (0, 2),
        // Its load balancer.
        Engine::Kernelspace => (0, 1),
        // OVS alone.
        Engine::OvnKubernetes => (0, 0),
    }
}

/// Whose form projected modes have, and why.
fn projected(form: &RulesForm, has_rules: bool) -> String {
    let version = form.version;
    let nftables = form.version_for(Mode::Nftables);
    let why = match (form.reported, has_rules) {
        (true, _) => "it runs here",
        (false, true) => "the rules here have its form",
        (false, false) => "the newest that this kptop knows",
    };
    let other = match nftables == version {
        true => String::new(),
        false => format!(" It has no nftables mode: that is as kube-proxy {nftables} writes it."),
    };
    format!("Projected modes are as kube-proxy {version} writes them: {why}.{other}")
}

/// The smallest network that holds all cluster IPs: rules of other modes do not say the whole one, and only that a rule for it
/// is there counts here.
fn around_cluster_ips(services: &[Service], family: IpFamily) -> Option<IpNet> {
    let of_family = services.iter().filter(|s| s.family == family).flat_map(|s| &s.frontends);
    let mut ips = of_family.filter(|f| f.kind == Some(FrontendKind::ClusterIp)).filter_map(|f| f.address);
    let mut around = IpNet::host(ips.next()?);
    for ip in ips {
        while !around.contains(ip) {
            around = IpNet { prefix: around.prefix.saturating_sub(1), ..around };
        }
    }
    Some(around.masked())
}

/// Figures of one mode.
fn figures(
    snapshot: &Snapshot,
    services: &[Service],
    engine: Engine,
    running: bool,
    probes: &ProbeSources,
    prices: &Prices,
) -> (ModeFigures, BTreeMap<String, f64>) {
    let ruleset = RulesetIndex::new(snapshot);
    let sizes = Sizes::of(snapshot);
    let priced = prices.calibration.engine(engine);
    let (mut means, mut lows, mut highs) = (Vec::new(), Vec::new(), Vec::new());
    let mut ns = Vec::new();
    let mut by_service = BTreeMap::new();
    for s in services {
        let Some(packet) = probes.packet(s) else { continue };
        let walk = ruleset.walk(&packet, &FIGURES);
        let Some(mean) = walk.mean_rules() else { continue };
        means.push(mean);
        lows.extend(walk.outcomes.iter().map(|o| o.tally.rules()).min());
        highs.extend(walk.outcomes.iter().map(|o| o.tally.rules()).max());
        if let Some(cost) = priced.and_then(|p| p.first_packet_ns(sizes.rules(engine, s.family), mean)) {
            ns.push(cost);
            by_service.insert(shown(s), cost);
        }
    }
    let evaluated = Spread::of(&means).map(|s| Spread {
        // Means out of probability differ from whole numbers by rounding.
        min: lows.iter().copied().min().map_or(s.min, |n| s.min.min(f64::from(n))),
        max: highs.iter().copied().max().map_or(s.max, |n| s.max.max(f64::from(n))),
        ..s
    });
    let all: Vec<&TableState> = tables(snapshot, engine).collect();
    let bytes = match engine {
        Engine::IptablesLegacy => all.iter().map(|t| t.bytes.or_else(|| blob_size(&t.table))).sum(),
        _ => None,
    };
    let portals: u64 = all
        .iter()
        .filter(|t| t.table.name == "nat" && t.table.dialect == Dialect::Iptables)
        .filter_map(|t| Some(t.table.chains[t.table.chain(chain::SERVICES)?.0 as usize].rules.len() as u64))
        .sum();
    let ipvs = snapshot.ipvs.as_ref().filter(|_| engine == Engine::Ipvs).map(|i| &i.value.servers);
    let sets = snapshot.ipsets.as_ref().filter(|_| engine == Engine::Ipvs);
    let in_ipsets: u64 = sets
        .iter()
        .flat_map(|s| s.value.iter())
        .filter(|s| s.name.starts_with(ipvs::IPSETS))
        .map(|s| s.size)
        .sum();
    let linear = matches!(engine, Engine::IptablesLegacy | Engine::IptablesNft);
    let figures = ModeFigures {
        engine,
        running,
        rules: all.iter().map(|t| t.table.rules.len() as u64).sum(),
        elements: all.iter().filter_map(|t| t.table.element_count()).sum::<u64>() + in_ipsets,
        servers: ipvs.map(|s| (s.len() as u64, s.iter().map(|v| v.real_servers.len() as u64).sum())),
        kernel_bytes: bytes,
        evaluated,
        first_packet_ns: Spread::of(&ns),
        per_packet_ns: priced.map(|p| p.later_ns),
        change: change(snapshot, engine, services),
        grows: if linear { portals as f64 / services.len().max(1) as f64 } else { 0.0 },
        from: prices.source(engine),
    };
    (figures, by_service)
}

/// Compares the modes for the Services of a snapshot.
pub fn compare_modes(snapshot: &Snapshot, model: &Model, prices: &Prices) -> Comparison {
    let (services, mut notes) = portable(model);
    let present: Vec<Engine> = Engine::COMPARED
        .into_iter()
        .filter(|e| {
            let active = |s: &&Service| !s.stale && Some(s.engine) == Some(*e);
            model.services.iter().any(|s| active(&s))
        })
        .collect();
    let probes = ProbeSources::new(snapshot);
    let form = rules_form(snapshot);
    let mut modes = Vec::new();
    let mut costs = Vec::new();
    for engine in Engine::COMPARED {
        let running = present.contains(&engine);
        let (figures, by_service) = if running {
            // A node may run one mode for IPv4 and another for IPv6: each has its own Services.
            let own: Vec<Service> =
                services.iter().filter(|s| Some(s.engine) == Some(engine)).cloned().collect();
            figures(snapshot, &own, engine, true, &probes, prices)
        } else {
            let made = written(snapshot, &services, engine, &form);
            figures(&made, &services, engine, false, &probes, prices)
        };
        modes.push(figures);
        costs.push((engine, by_service));
    }
    let mean = |m: &ModeFigures| m.first_packet_ns.map(|s| s.mean);
    let best = modes
        .iter()
        .filter_map(|m| Some((m.engine, mean(m)?)))
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .map(|m| m.0);
    let of = |engine: Option<Engine>| costs.iter().find(|c| Some(c.0) == engine).map(|c| &c.1);
    let mut gains: Vec<Gain> = match (of(present.first().copied()), of(best)) {
        (Some(now), Some(best)) => now
            .iter()
            .filter_map(|(service, now_ns)| {
                let best_ns = *best.get(service)?;
                let gain = now_ns - best_ns;
                (gain >= WORTH_SAYING_NS && gain >= now_ns * WORTH_SAYING).then(|| Gain {
                    service: service.clone(),
                    now_ns: *now_ns,
                    best_ns,
                })
            })
            .collect(),
        _ => Vec::new(),
    };
    gains.sort_by(|a, b| (b.now_ns - b.best_ns).total_cmp(&(a.now_ns - a.best_ns)));
    if modes.iter().any(|m| !m.running) {
        notes.push(projected(&form, !present.is_empty()));
    }
    if present.iter().any(|e| matches!(e, Engine::IptablesLegacy | Engine::IptablesNft)) {
        notes.push(
            "In iptables mode a Service's place in KUBE-SERVICES is drawn again at each full sync: who is slow today may be \
             fast tomorrow."
                .into(),
        );
    }
    let others = snapshot.tables.iter().any(|t| {
        let kube = crate::proxy::owners(&t.table);
        !kube.is_empty() && kube != ["kube-proxy"]
    });
    if others {
        notes.push("Rules of other programs are counted in the running mode, and not in the others.".into());
    }
    Comparison {
        services: services.len(),
        backends: services.iter().map(|s| s.backends.len()).sum(),
        modes,
        gains,
        best,
        beside: model.services.iter().find(|s| s.engine.mode().keeps_no_rules()).map(|s| s.engine.words()),
        form,
        notes,
    }
}

/// The mean first packet of a mode over the number of Services: Services like those that are here, and a place in the
/// middle of the list.
pub fn cost_over_services(
    figures: &ModeFigures,
    services: usize,
    prices: &Prices,
    counts: &[usize],
) -> Vec<(usize, f64)> {
    let (Some(evaluated), Some(engine)) = (figures.evaluated, prices.calibration.engine(figures.engine))
    else {
        return Vec::new();
    };
    let here = services.max(1) as f64;
    let per_service = figures.rules as f64 / here;
    counts
        .iter()
        .filter_map(|n| {
            let rules = (evaluated.mean + (*n as f64 - here) * figures.grows / 2.0).max(1.0);
            let size = match figures.grows > 0.0 {
                true => (per_service * *n as f64) as u64,
                false => figures.rules,
            };
            Some((*n, engine.first_packet_ns(size, rules)?))
        })
        .collect()
}
