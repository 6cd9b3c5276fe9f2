//! The machine-readable face: a contract whose field names never change, only grow (`kptop.snapshot/1`).

use super::proxy::ProxyOut;
use crate::columns::ServiceRow;
use crate::cost::Lookup;
use crate::observe::View;
use crate::proxy::{
    Affinity, Backend, BackendFigures, Frontend, FrontendFigures, Model, RuleRef, Service, cluster_endpoint,
    is_local, owners, unused_endpoints,
};
use crate::ruleset::{Hook, TABLE_DORMANT};
use crate::snapshot::facts::{Cluster, ClusterEndpoint, Stats, Sysctls};
use crate::snapshot::{Conntrack, Latencies, Snapshot, TableState};
use serde::Serialize;
use std::io::{self, Write};
use std::net::IpAddr;

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    taken_at: String,
    node: Node<'a>,
    netns: Netns<'a>,
    modes: Vec<Mode>,
    tables: Vec<Table<'a>>,
    /// The Kubernetes API; `None` where it was not asked.
    api: Option<ApiOut<'a>>,
    proxy: ProxyOut<'a>,
    services: Services<'a>,
    conntrack: Option<ConntrackOut>,
    /// Those that decide what happens to packets, by their path under `/proc/sys`; `None` where they were not read.
    sysctls: Option<&'a Sysctls>,
    /// How new flows were counted by notices; `None` where they were not.
    notices: Option<NoticesOut>,
    ipvs: Option<IpvsOut<'a>>,
    /// ipsets; `None` where the kernel has none.
    ipsets: Option<Vec<IpsetOut<'a>>>,
    /// Named counters of nfacct; `None` where the kernel has none.
    nfacct: Option<Vec<AccountOut<'a>>>,
    unread: Vec<UnreadOut<'a>>,
}

#[derive(Serialize)]
struct Node<'a> {
    hostname: Option<&'a str>,
    kernel: Option<&'a str>,
    distribution: Option<&'a str>,
    cpus: Option<usize>,
    memory_bytes: Option<u64>,
    container_runtime: Option<&'a str>,
    ipvs_version: Option<&'a str>,
    iptables_version: Option<&'a str>,
}

#[derive(Serialize)]
struct Netns<'a> {
    name: Option<&'a str>,
    inode: Option<u64>,
}

#[derive(Serialize)]
struct Mode {
    mode: &'static str,
    variant: Option<&'static str>,
    family: &'static str,
    state: &'static str,
    services: usize,
    rules: usize,
}

#[derive(Serialize)]
struct Table<'a> {
    backend: &'static str,
    family: &'static str,
    name: &'a str,
    chains: usize,
    rules: usize,
    sets: usize,
    /// Of all sets together; `None` where the kernel does not say it of one that packets fill.
    elements: Option<u64>,
    /// Why there is no `elements`.
    elements_unknown: Option<&'static str>,
    bytes: Option<u64>,
    /// Programs that it belongs to, by its names.
    owners: Vec<&'static str>,
    /// Hooks that its chains hang on.
    hooks: Vec<&'static str>,
    /// Packets that its DROP rules and policies took; `None` where one of them does not count.
    dropped_packets: Option<u64>,
    /// True where it is there and asleep.
    dormant: bool,
}

fn table(t: &TableState) -> Table<'_> {
    let elements = t.table.element_count();
    let mut hooks: Vec<_> = t.table.chains.iter().filter_map(|c| c.base).map(|b| b.hook).collect();
    hooks.sort_by_key(|h| *h as u8);
    hooks.dedup();
    Table {
        backend: t.backend.name(),
        family: t.family.name(),
        name: &t.table.name,
        chains: t.table.chains.len(),
        rules: t.table.rules.len(),
        sets: t.table.sets.len(),
        elements,
        elements_unknown: elements
            .is_none()
            .then_some("this kernel does not report how many elements a set has that packets fill"),
        bytes: t.bytes,
        owners: owners(&t.table),
        hooks: hooks.into_iter().map(Hook::name).collect(),
        dropped_packets: t.dropped(),
        dormant: t.table.nf.as_ref().is_some_and(|n| n.flags & TABLE_DORMANT != 0),
    }
}

/// Services are written one by one: a node may hold 10,000.
struct Services<'a>(&'a View);

impl Serialize for Services<'_> {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let cluster = self.0.snapshot.cluster.as_deref();
        s.collect_seq(self.0.rows().map(|row| service(self.0, &row, cluster)))
    }
}

#[derive(Serialize)]
struct ServiceOut<'a> {
    namespace: Option<&'a str>,
    name: Option<&'a str>,
    port_name: Option<&'a str>,
    named_by: Option<&'static str>,
    protocol: &'static str,
    family: &'static str,
    mode: &'static str,
    variant: Option<&'static str>,
    frontends: Vec<FrontendOut>,
    scheduler: Option<&'a str>,
    session_affinity: bool,
    /// Null where there is none, and where the node does not say for how long.
    session_affinity_s: Option<u32>,
    health_check_node_port: Option<u16>,
    /// Port of the kube-proxy process that takes its traffic (userspace mode).
    proxy_port: Option<u16>,
    backends: Vec<BackendOut<'a>>,
    /// Why `backends` is empty where they are not known.
    backends_unknown: Option<&'static str>,
    /// Endpoints that the Kubernetes API reports and that are not used here; `None` where it reports nothing of the Service.
    unused_endpoints: Option<Vec<UnusedOut<'a>>>,
    /// True where another mode is active.
    leftover: bool,
    health: HealthOut<'a>,
    lookup: Option<LookupOut>,
    /// Why there is no `lookup`, or no estimate in it.
    lookup_unknown: Option<&'static str>,
}

/// How a Service is.
#[derive(Serialize)]
struct HealthOut<'a> {
    state: &'static str,
    /// The part of new flows that the rules lose for certain, 0 to 1, over the worst of the senders that were walked.
    lost_share: Option<f64>,
    /// Ids of causes, as `kptop doctor` names them.
    causes: &'a [&'static str],
    /// For people.
    why: Option<&'a str>,
}

/// What takes a backend's new flows.
#[derive(Serialize)]
struct LostOut {
    cause: &'static str,
    rule: Option<String>,
}

#[derive(Serialize)]
struct LookupOut {
    rules: RulesOut,
    /// `None` for a mode that no price is known of.
    estimated_ns: Option<f64>,
    estimate_from: &'static str,
}

#[derive(Serialize)]
struct RulesOut {
    min: u32,
    mean: f64,
    max: u32,
}

#[derive(Serialize)]
struct FrontendOut {
    kind: Option<&'static str>,
    address: Option<IpAddr>,
    port: u16,
    action: &'static str,
    traffic_policy: Option<&'static str>,
    source_ranges: Option<Vec<String>>,
    flows: Option<u64>,
    /// Packets that the frontend's rule has counted.
    hits: Option<u64>,
    /// Packets that its reject or drop rule took, or the one for other sources than its ranges.
    refused: Option<u64>,
}

#[derive(Serialize)]
struct BackendOut<'a> {
    address: IpAddr,
    port: u16,
    share: Option<f64>,
    local_share: Option<f64>,
    weight: Option<u32>,
    local: Option<bool>,
    traffic_policies: Option<Vec<&'static str>>,
    counters: CountersOut,
    conntrack_flows: Option<u64>,
    /// Where conntrack's notices are counted and an answer was seen.
    latency_us: Option<LatencyOut>,
    /// What takes its new flows; `None` where nothing that is known does.
    lost: Option<LostOut>,
    /// What the Kubernetes API reports it.
    endpoint: Option<EndpointOut<'a>>,
}

#[derive(Serialize)]
struct EndpointOut<'a> {
    pod: Option<&'a str>,
    node: Option<&'a str>,
    zone: Option<&'a str>,
    ready: bool,
    serving: bool,
    terminating: bool,
}

impl EndpointOut<'_> {
    fn of(e: &ClusterEndpoint) -> EndpointOut<'_> {
        EndpointOut {
            pod: e.target.as_deref(),
            node: e.node.as_deref(),
            zone: e.zone.as_deref(),
            ready: e.ready,
            serving: e.serving,
            terminating: e.terminating,
        }
    }
}

#[derive(Serialize)]
struct UnusedOut<'a> {
    address: Option<IpAddr>,
    port: u16,
    #[serde(flatten)]
    endpoint: EndpointOut<'a>,
    reason: &'static str,
}

/// How the connection to the Kubernetes API is.
#[derive(Serialize)]
struct ApiOut<'a> {
    server: Option<&'a str>,
    access: &'a str,
    complete: bool,
    node: Option<&'a str>,
    zone: Option<&'a str>,
    trouble: Option<&'a str>,
}

#[derive(Serialize)]
struct CountersOut {
    source: &'static str,
    flows: Option<u64>,
    packets: Option<u64>,
    bytes: Option<u64>,
    active: Option<u64>,
    inactive: Option<u64>,
    /// New flows, whoever counts them; of `conntrack` by its notices, since kptop listens.
    new_flows: Option<u64>,
    /// Connections that were refused (RST), by notices.
    refused_flows: Option<u64>,
}

/// Times from the first packet of a flow to its first answer, in microseconds, of the last minute.
#[derive(Serialize)]
struct LatencyOut {
    count: u64,
    p50: Option<f64>,
    p95: Option<f64>,
    p99: Option<f64>,
}

impl LatencyOut {
    fn of(l: &Latencies) -> LatencyOut {
        let quantile = |part| l.quantile(part).map(|t| t.as_secs_f64() * 1e6);
        LatencyOut { count: l.count(), p50: quantile(0.5), p95: quantile(0.95), p99: quantile(0.99) }
    }
}

/// How new flows were counted by conntrack's notices.
#[derive(Serialize)]
struct NoticesOut {
    span_s: f64,
    lost: u64,
    /// Of so many flows one is counted.
    one_in: u32,
}

#[derive(Serialize)]
struct ConntrackOut {
    count: Option<u64>,
    max: Option<u64>,
    buckets: Option<u64>,
    accounting: Option<bool>,
    timestamps: Option<bool>,
    stats: Option<Stats>,
}

#[derive(Serialize)]
struct IpsetOut<'a> {
    name: &'a str,
    kind: &'a str,
    members: u64,
    references: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct AccountOut<'a> {
    name: &'a str,
    packets: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct IpvsOut<'a> {
    version: &'a str,
    connection_table_size: u32,
    services: usize,
    real_servers: usize,
}

#[derive(Serialize)]
struct UnreadOut<'a> {
    what: &'a str,
    why: &'a str,
    hint: Option<&'a str>,
}

/// Writes a snapshot and its Services as one JSON document: on one line, or indented for people.
pub fn write_snapshot(view: &View, indented: bool, out: &mut dyn Write) -> io::Result<()> {
    let (snapshot, model): (&Snapshot, &Model) = (&view.snapshot, &view.model);
    // A document is a million small pieces: not one call through `dyn` for each.
    let mut out = io::BufWriter::with_capacity(64 * 1024, out);
    let node = &snapshot.node;
    let document = Document {
        schema: "kptop.snapshot/1",
        taken_at: format!("{:.3}", snapshot.taken_at),
        node: Node {
            hostname: node.hostname.as_deref(),
            kernel: node.kernel.as_deref(),
            distribution: node.distribution.as_deref(),
            cpus: node.cpus,
            memory_bytes: node.memory_bytes,
            container_runtime: node.container_runtime.as_deref(),
            ipvs_version: snapshot.ipvs.as_ref().map(|i| i.value.version.as_str()),
            iptables_version: node.iptables_version.as_deref(),
        },
        netns: Netns { name: snapshot.netns.name.as_deref(), inode: snapshot.netns.inode },
        modes: model
            .services
            .modes
            .iter()
            .map(|m| Mode {
                mode: m.engine.mode().name(),
                variant: m.engine.variant().map(|v| v.name()),
                family: m.family.name(),
                state: m.state.name(),
                services: m.services,
                rules: m.rules,
            })
            .collect(),
        tables: snapshot.tables.iter().map(table).collect(),
        sysctls: Some(&*snapshot.sysctls).filter(|s| !s.is_empty()),
        services: Services(view),
        api: snapshot.cluster.as_deref().map(|c| ApiOut {
            server: (!c.state.server.is_empty()).then_some(c.state.server.as_str()),
            access: &c.state.access,
            complete: c.complete,
            node: c.node.as_ref().map(|n| n.name.as_str()),
            zone: c.node.as_ref().and_then(|n| n.zone.as_deref()),
            trouble: c.state.trouble.as_ref().map(|t| t.what.as_str()),
        }),
        proxy: ProxyOut::of(snapshot, model),
        conntrack: snapshot.conntrack.as_ref().map(conntrack),
        notices: snapshot.new_flows().map(|e| NoticesOut {
            span_s: e.value.span.as_secs_f64(),
            lost: e.value.lost,
            one_in: e.value.one_in,
        }),
        ipvs: snapshot.ipvs.as_ref().map(|i| IpvsOut {
            version: &i.value.version,
            connection_table_size: i.value.connection_table_size,
            services: i.value.servers.len(),
            real_servers: i.value.servers.iter().map(|s| s.real_servers.len()).sum(),
        }),
        ipsets: snapshot.ipsets.as_ref().map(|r| {
            r.value
                .iter()
                .map(|s| IpsetOut {
                    name: &s.name,
                    kind: &s.kind,
                    members: s.size,
                    references: s.references,
                    bytes: s.memory,
                })
                .collect()
        }),
        nfacct: snapshot.accounts.as_ref().map(|r| {
            r.value
                .iter()
                .map(|o| AccountOut { name: &o.name, packets: o.counter.packets, bytes: o.counter.bytes })
                .collect()
        }),
        unread: snapshot
            .unread
            .iter()
            .map(|u| UnreadOut { what: &u.what, why: &u.why, hint: u.hint.as_deref() })
            .collect(),
    };
    write_json(&document, indented, &mut out)
}

/// Writes one document and ends the line.
pub(super) fn write_json(document: &impl Serialize, indented: bool, out: &mut dyn Write) -> io::Result<()> {
    // What is behind `out` looks through all that it gets: in one piece that is quicker than word by word.
    let mut out = io::BufWriter::with_capacity(16 * 1024, out);
    if indented {
        serde_json::to_writer_pretty(&mut out, document)?;
    } else {
        serde_json::to_writer(&mut out, document)?;
    }
    writeln!(out)?;
    out.flush()
}

fn service<'a>(view: &'a View, row: &ServiceRow<'a>, cluster: Option<&'a Cluster>) -> ServiceOut<'a> {
    let (s, lookup) = (row.service, row.lookup);
    ServiceOut {
        namespace: s.name.as_ref().map(|n| n.namespace.as_str()),
        name: s.name.as_ref().map(|n| n.name.as_str()),
        port_name: s.name.as_ref().map(|n| n.port.as_str()),
        named_by: s.named_by.map(|n| n.name()),
        protocol: s.protocol.name(),
        family: s.family.name(),
        mode: s.engine.mode().name(),
        variant: s.engine.variant().map(|v| v.name()),
        frontends: s.frontends.iter().zip(row.figures.frontends()).map(|(f, n)| frontend(f, n)).collect(),
        scheduler: s.scheduler.as_deref(),
        session_affinity: s.session_affinity.is_some(),
        session_affinity_s: s.session_affinity.and_then(Affinity::seconds),
        health_check_node_port: s.health_check_node_port,
        proxy_port: s.proxy_port,
        leftover: s.stale,
        health: HealthOut {
            state: row.health.state.name(),
            lost_share: row.health.lost_share,
            causes: &row.health.causes,
            why: Some(row.health.why.as_str()).filter(|w| !w.is_empty()),
        },
        backends: s
            .backends
            .iter()
            .zip(row.figures.backends())
            .enumerate()
            .map(|(i, (b, n))| {
                let lost = row
                    .health
                    .lost_backend(i)
                    .map(|l| LostOut { cause: l.cause, rule: l.rule.and_then(|r| rule_text(view, r)) });
                backend(s, b, (n, row.figures.latencies(i)), lost, cluster)
            })
            .collect(),
        backends_unknown: s.unknown_backends.map(|u| u.words()),
        unused_endpoints: cluster.and_then(|c| unused_endpoints(c, s)).map(|all| {
            all.iter()
                .map(|u| UnusedOut {
                    address: u.endpoint.address,
                    port: u.endpoint.port,
                    endpoint: EndpointOut::of(u.endpoint),
                    reason: u.why.name(),
                })
                .collect()
        }),
        lookup: lookup.map(|l| LookupOut {
            rules: RulesOut { min: l.min, mean: l.mean, max: l.max },
            estimated_ns: l.ns,
            estimate_from: l.from.name(),
        }),
        lookup_unknown: match lookup {
            None if s.stale => Some("stale: another mode takes its packets"),
            None => Some("it has no address here that a packet could be sent to"),
            Some(Lookup { ns: None, .. }) => Some("no price is known for its mode"),
            Some(_) => None,
        },
    }
}

fn frontend(f: &Frontend, figures: FrontendFigures) -> FrontendOut {
    FrontendOut {
        kind: f.kind.map(|k| k.name()),
        address: f.address,
        port: f.port,
        action: f.action.name(),
        traffic_policy: f.traffic_policy.map(|p| p.name()),
        source_ranges: f.source_ranges.as_ref().map(|r| r.iter().map(|n| n.to_string()).collect()),
        flows: figures.flows,
        hits: figures.hits,
        refused: figures.refused,
    }
}

/// A rule as `iptables -S` or `nft list` prints it, with its table.
fn rule_text(view: &View, r: RuleRef) -> Option<String> {
    let t = view.snapshot.tables.get(r.table)?;
    let rule = t.table.rules.get(r.rule.0 as usize)?;
    let chain = t.table.chain_of(r.rule).map_or("?", |c| t.table.chain_name(c));
    Some(format!("{} {} {chain}: {}", t.family, t.table.name, t.table.rule_text(rule)))
}

fn backend<'a>(
    s: &Service,
    b: &Backend,
    (c, latencies): (BackendFigures, Option<&Latencies>),
    lost: Option<LostOut>,
    cluster: Option<&'a Cluster>,
) -> BackendOut<'a> {
    let endpoint = cluster.and_then(|c| cluster_endpoint(c, s, b.address, b.port));
    BackendOut {
        address: b.address,
        port: b.port,
        share: b.share,
        local_share: b.local_share,
        weight: b.weight,
        local: b.local.or_else(|| cluster.zip(endpoint).and_then(|(c, e)| is_local(c, e))),
        // IPVS does not say which policy a virtual server follows.
        traffic_policies: (!b.traffic_policies.is_empty())
            .then(|| b.traffic_policies.iter().map(|p| p.name()).collect()),
        counters: CountersOut {
            source: b.source.name(),
            flows: c.flows,
            packets: c.packets,
            bytes: c.bytes,
            active: c.active,
            inactive: c.inactive,
            new_flows: c.new_flows,
            refused_flows: c.refused_flows,
        },
        latency_us: latencies.map(LatencyOut::of),
        conntrack_flows: c.conntrack_flows,
        lost,
        endpoint: endpoint.map(EndpointOut::of),
    }
}

fn conntrack(c: &Conntrack) -> ConntrackOut {
    ConntrackOut {
        count: c.limits.count,
        max: c.limits.max,
        buckets: c.limits.buckets,
        accounting: c.limits.accounting,
        timestamps: c.limits.timestamps,
        stats: c.stats,
    }
}
