//! A view as OpenMetrics, for Prometheus.

use crate::columns::ServiceRow;
use crate::health::HealthState;
use crate::nodes::{ServicesHash, endpoints_hash};
use crate::observe::View;
use crate::proxy::{
    Backend, BackendFigures, CounterSource, Service, State, cluster_endpoint, detect, endpoint_text,
};
use crate::snapshot::facts::{ConntrackStat, KubeProxy};
use crate::snapshot::{Latencies, Snapshot};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

/// A metric that kptop serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name, without unit and `_total`.
    pub name: &'static str,
    /// Unit, which is part of the name that Prometheus sees.
    pub unit: Option<&'static str>,
    /// Whether it only rises (and begins again).
    pub counter: bool,
    /// What it counts, and what it does not.
    pub help: &'static str,
    /// Names of its labels.
    pub labels: &'static [&'static str],
}

impl Metric {
    /// The name that a query asks for.
    pub fn full_name(&self) -> String {
        let unit = self.unit.map(|u| format!("_{u}")).unwrap_or_default();
        format!("{}{unit}{}", self.name, if self.counter { "_total" } else { "" })
    }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, unit: None, counter: false, help, labels }
}

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { counter: true, ..gauge(name, labels, help) }
}

const fn seconds(metric: Metric) -> Metric {
    Metric { unit: Some("seconds"), ..metric }
}

const fn bytes(metric: Metric) -> Metric {
    Metric { unit: Some("bytes"), ..metric }
}

const SERVICE: &[&str] = &["namespace", "service", "port", "protocol", "family", "mode"];
const SERVICE_STATE: &[&str] = &["namespace", "service", "port", "protocol", "family", "mode", "state"];
const SERVICE_QUANTILE: &[&str] = &["namespace", "service", "port", "protocol", "family", "mode", "quantile"];
const BACKEND: &[&str] =
    &["namespace", "service", "port", "protocol", "family", "mode", "frontend", "backend", "pod"];
const TABLE: &[&str] = &["backend", "family", "table"];

/// Every metric, in the order in which they are served.
pub const METRICS: &[Metric] = &[
    gauge("kptop_build_info", &["version", "commit"], "Always 1; which kptop this is"),
    gauge(
        "kptop_node_info",
        &["nodename", "proxy", "proxy_version", "mode"],
        "Always 1; which node this is, who programs its Services and in which mode, as far as that is known",
    ),
    seconds(gauge("kptop_reading_age", &[], "Time since the last reading of the node")),
    seconds(gauge("kptop_reading_duration", &[], "How long the last reading took, with its understanding")),
    gauge("kptop_unread", &["what"], "1 for each thing that was refused or failed to be read"),
    gauge(
        "kptop_left_out",
        &["kind"],
        "Services and backends beyond the limits that serve was given; their series are left out",
    ),
    gauge(
        "kptop_mode_services",
        &["mode", "variant", "family", "state"],
        "Service ports that a mode of kube-proxy holds",
    ),
    gauge(
        "kptop_mode_rules",
        &["mode", "variant", "family", "state"],
        "Rules in kube-proxy's chains, and those that jump there",
    ),
    gauge("kptop_table_chains", TABLE, "Chains of a table"),
    gauge("kptop_table_rules", TABLE, "Rules of a table"),
    bytes(gauge("kptop_table", TABLE, "Size of a table in the kernel, where the kernel reports it")),
    counter(
        "kptop_table_dropped_packets",
        TABLE,
        "Packets that DROP rules and policies of a table took, where all of them count",
    ),
    gauge("kptop_services", &["state"], "Service ports by how they are, with those beyond the limits"),
    gauge(
        "kptop_services_hash",
        &[],
        "A number made of all Services and their endpoints: equal on nodes that hold the same, but for what a local policy gives each node of its own",
    ),
    gauge("kptop_service_healthy", SERVICE, "1 where nothing takes its new flows, 0 where something does"),
    gauge("kptop_service_health", SERVICE_STATE, "1 for the state that it is in"),
    gauge(
        "kptop_service_lost",
        SERVICE,
        "Part of its new flows that the rules lose for certain, from the worst of the senders",
    ),
    gauge("kptop_service_backends", SERVICE, "Backends"),
    gauge(
        "kptop_service_endpoints_hash",
        SERVICE,
        "A number made of its endpoints' addresses and ports: equal on nodes that hold the same; none where a local policy gives each node its own",
    ),
    gauge("kptop_service_flows", SERVICE, "Flows that conntrack holds for its frontends"),
    counter(
        "kptop_service_new_flows",
        SERVICE,
        "New flows, by nat rules, IPVS or, in nftables mode, conntrack's notices; begins again when kube-proxy rewrites a chain",
    ),
    counter(
        "kptop_service_refused_packets",
        SERVICE,
        "Packets that its frontends rejected or dropped, where rules count them",
    ),
    gauge(
        "kptop_service_lookup_rules",
        SERVICE,
        "Rules that the first packet of a flow meets, in the mean over all ends",
    ),
    seconds(gauge(
        "kptop_service_lookup",
        SERVICE,
        "What that lookup costs, as estimated (kptop calibrate measures it)",
    )),
    seconds(gauge(
        "kptop_service_latency",
        SERVICE_QUANTILE,
        "Time from a flow's first packet to its first answer, of the last minute, where conntrack's notices are counted",
    )),
    counter(
        "kptop_notices_lost",
        &[],
        "Notices of conntrack that found no room: so many flows more began, were answered or ended",
    ),
    gauge("kptop_notices_sample", &[], "Of how many new flows one is counted: 1 for all of them"),
    gauge("kptop_backend_flows", BACKEND, "Flows that conntrack holds for a backend, through its Service"),
    gauge("kptop_backend_unreplied_flows", BACKEND, "Of them, without any answer"),
    counter(
        "kptop_backend_new_flows",
        BACKEND,
        "New flows, by its nat rule, IPVS or conntrack's notices; begins again when kube-proxy rewrites its chain",
    ),
    counter("kptop_backend_packets", BACKEND, "Packets both ways (IPVS)"),
    bytes(counter("kptop_backend", BACKEND, "Bytes both ways (IPVS)")),
    gauge(
        "kptop_backend_connections",
        &[
            "namespace",
            "service",
            "port",
            "protocol",
            "family",
            "mode",
            "frontend",
            "backend",
            "pod",
            "state",
        ],
        "Connections of a real server by state: active, inactive (IPVS)",
    ),
    counter(
        "kptop_backend_refused_flows",
        BACKEND,
        "Connections that it refused (RST), where conntrack's notices are counted",
    ),
    gauge("kptop_backend_weight", BACKEND, "Weight of a real server (IPVS)"),
    gauge("kptop_backend_ready", BACKEND, "1 for an endpoint that the Kubernetes API calls ready"),
    gauge("kptop_conntrack_entries", &[], "Flows in conntrack"),
    gauge("kptop_conntrack_limit", &[], "nf_conntrack_max"),
    counter(
        "kptop_conntrack_events",
        &["event"],
        "Statistics of conntrack over all CPUs, as conntrack -S names them",
    ),
    counter(
        "kptop_network_events",
        &["counter"],
        "Counters of the network stack that report lost packets, as /proc/net/snmp and netstat name them",
    ),
    counter("kptop_softnet_dropped_packets", &[], "Packets dropped as a CPU's receive queue was full"),
    gauge("kptop_ipvs_services", &[], "Virtual servers of IPVS"),
    gauge("kptop_ipvs_real_servers", &[], "Their real servers"),
    gauge(
        "kptop_findings",
        &["id", "severity"],
        "What the doctor finds now, by cause; no series for a cause that was ruled out",
    ),
    gauge("kptop_findings_unchecked", &["id"], "1 for each cause that could not be looked for"),
    gauge(
        "kptop_api_up",
        &[],
        "1 while the Kubernetes API reports Services and EndpointSlices, where it is asked",
    ),
];

/// What is served of Services and backends, and of which node.
#[derive(Clone, Debug)]
pub struct Cardinality {
    /// Name of the node in the cluster, where that is known; else it is the host name.
    pub node_name: Option<String>,
    /// Services with series of their own.
    pub services: usize,
    /// Backends with series of their own.
    pub backends: usize,
    /// Only Services of these namespaces; all where it is empty.
    pub namespaces: Vec<String>,
}

/// A line: values of the labels, and the figure.
type Sample = (Vec<String>, f64);

/// The samples of a view, by name of the metric.
#[derive(Debug, Default)]
pub struct Samples(BTreeMap<&'static str, Vec<Sample>>);

impl Samples {
    fn add(&mut self, name: &'static str, labels: &[&str], value: f64) {
        debug_assert!(METRICS.iter().any(|m| key(m) == name && m.labels.len() == labels.len()), "{name}");
        let labels = labels.iter().map(|l| (*l).to_string()).collect();
        self.0.entry(name).or_default().push((labels, value));
    }

    fn add_some(&mut self, name: &'static str, labels: &[&str], value: Option<u64>) {
        if let Some(v) = value {
            self.add(name, labels, v as f64);
        }
    }
}

/// Name and unit identify a metric: two may share the name before the unit.
fn key(m: &Metric) -> &'static str {
    m.name
}

/// What a view says.
pub fn samples(view: &View, took: Duration, age: Duration, limits: &Cardinality) -> Samples {
    let mut s = Samples::default();
    let (snapshot, model): (&Snapshot, _) = (&view.snapshot, &view.model);
    let commit = env!("KPTOP_BUILD").split(',').next().unwrap_or_default();
    s.add("kptop_build_info", &[env!("CARGO_PKG_VERSION"), commit], 1.0);
    node_info(&mut s, view, limits.node_name.as_deref());
    s.add("kptop_reading_age", &[], age.as_secs_f64());
    s.add("kptop_reading_duration", &[], took.as_secs_f64());
    let mut unread: Vec<&str> = snapshot.failed().map(|u| u.what.as_str()).collect();
    unread.sort_unstable();
    unread.dedup();
    for what in unread {
        s.add("kptop_unread", &[what], 1.0);
    }
    for m in &model.services.modes {
        let labels = [
            m.engine.mode().name(),
            m.engine.variant().map_or("", |v| v.name()),
            m.family.name(),
            m.state.name(),
        ];
        s.add("kptop_mode_services", &labels, m.services as f64);
        s.add("kptop_mode_rules", &labels, m.rules as f64);
    }
    for t in &snapshot.tables {
        let labels = [t.backend.name(), t.family.name(), t.table.name.as_str()];
        s.add("kptop_table_chains", &labels, t.table.chains.len() as f64);
        s.add("kptop_table_rules", &labels, t.table.rules.len() as f64);
        s.add_some("kptop_table", &labels, t.bytes);
        s.add_some("kptop_table_dropped_packets", &labels, t.dropped());
    }
    services(&mut s, view, limits);
    if let Some(c) = &snapshot.conntrack {
        s.add_some("kptop_conntrack_entries", &[], c.limits.count);
        s.add_some("kptop_conntrack_limit", &[], c.limits.max);
        if let Some(stats) = &c.stats {
            for stat in ConntrackStat::all() {
                s.add_some("kptop_conntrack_events", &[stat.name()], stats.get(stat));
            }
        }
    }
    if let Some(e) = snapshot.new_flows() {
        s.add("kptop_notices_lost", &[], e.value.lost as f64);
        s.add("kptop_notices_sample", &[], f64::from(e.value.one_in));
    }
    if let Some(c) = &snapshot.counters {
        for (name, value) in &c.value.named {
            s.add("kptop_network_events", &[name], *value as f64);
        }
        let dropped = c.value.softnet.iter().map(|c| c.dropped).sum::<u64>();
        s.add("kptop_softnet_dropped_packets", &[], dropped as f64);
    }
    if let Some(i) = &snapshot.ipvs {
        s.add("kptop_ipvs_services", &[], i.value.servers.len() as f64);
        let real: usize = i.value.servers.iter().map(|s| s.real_servers.len()).sum();
        s.add("kptop_ipvs_real_servers", &[], real as f64);
    }
    let mut found: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    for f in &view.examination.findings {
        *found.entry((f.id, f.severity.name())).or_default() += 1;
    }
    for u in &view.examination.unchecked {
        s.add("kptop_findings_unchecked", &[u.id], 1.0);
    }
    for ((id, severity), n) in found {
        s.add("kptop_findings", &[id, severity], f64::from(n));
    }
    if let Some(c) = &snapshot.cluster {
        let up = c.complete && c.state.trouble.is_none();
        s.add("kptop_api_up", &[], f64::from(u8::from(up)));
    }
    s
}

fn node_info(s: &mut Samples, view: &View, name: Option<&str>) {
    let snapshot = &view.snapshot;
    let modes: BTreeSet<&str> = view
        .model
        .services
        .modes
        .iter()
        .filter(|m| m.state == State::Active)
        .map(|m| m.engine.mode().name())
        .collect();
    let serving = detect(snapshot, &view.model).into_iter().next();
    let version = snapshot.kube_proxy.as_deref().and_then(KubeProxy::version);
    let labels = [
        name.or(snapshot.node.hostname.as_deref()).unwrap_or_default(),
        serving.as_ref().map_or("", |d| d.proxy.name()),
        version.unwrap_or_default(),
        &modes.into_iter().collect::<Vec<_>>().join(" and "),
    ];
    s.add("kptop_node_info", &labels, 1.0);
}

fn services(s: &mut Samples, view: &View, limits: &Cardinality) {
    let wanted = |x: &&Service| {
        let namespace = x.name.as_ref().map_or("", |n| n.namespace.as_str());
        !x.stale && (limits.namespaces.is_empty() || limits.namespaces.iter().any(|n| n == namespace))
    };
    let all = view.model.services.iter().enumerate().filter(|(_, x)| wanted(x));
    // Virtual servers of IPVS share the name of their Service: their figures are one series, backends distinguish them.
    let mut groups: BTreeMap<[String; 6], Vec<usize>> = BTreeMap::new();
    for (i, x) in all {
        groups.entry(labels_of(x)).or_default().push(i);
    }
    let (mut left_services, mut left_backends, mut backends) = (0, 0, 0);
    let (mut states, mut all_hash): (BTreeMap<HealthState, u64>, _) =
        (BTreeMap::new(), ServicesHash::default());
    for (n, (labels, places)) in groups.iter().enumerate() {
        let mine = || places.iter().filter_map(|i| view.row(*i));
        // The worst of its virtual servers.
        let state = mine().map(|x| x.health.state).min().unwrap_or(HealthState::Unknown);
        *states.entry(state).or_default() += 1;
        let hash = endpoints_hash(mine().map(|x| x.service));
        // Without the mode: nodes may have different ones.
        all_hash.add(&labels[..5], hash);
        let count: usize = mine().map(|x| x.service.backends.len()).sum();
        if n >= limits.services {
            left_services += 1;
            left_backends += count;
            continue;
        }
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        let sum = |of: &dyn Fn(ServiceRow<'_>) -> Option<u64>| mine().filter_map(of).reduce(|a, b| a + b);
        // What is not known is not said.
        if state != HealthState::Unknown {
            s.add("kptop_service_healthy", &labels, f64::from(u8::from(state == HealthState::Healthy)));
        }
        let with_state: Vec<&str> = labels.iter().copied().chain([state.name()]).collect();
        s.add("kptop_service_health", &with_state, 1.0);
        let lost = mine().filter_map(|x| x.health.lost_share).reduce(f64::max);
        if let Some(lost) = lost {
            s.add("kptop_service_lost", &labels, lost);
        }
        let mut distinct: Vec<_> =
            mine().flat_map(|x| &x.service.backends).map(|b| (b.address, b.port)).collect();
        distinct.sort_unstable();
        distinct.dedup();
        if mine().all(|x| x.service.unknown_backends.is_none()) {
            s.add("kptop_service_backends", &labels, distinct.len() as f64);
        }
        s.add_some("kptop_service_endpoints_hash", &labels, hash);
        let flows = sum(&|x| x.figures.frontends().filter_map(|f| f.flows).reduce(|a, b| a + b));
        s.add_some("kptop_service_flows", &labels, flows);
        let new = sum(&|x| x.figures.new_flows());
        s.add_some("kptop_service_new_flows", &labels, new);
        let mut latencies = Latencies::default();
        mine().for_each(|x| latencies.merge(&x.figures.all_latencies()));
        for (part, name) in [(0.5, "0.5"), (0.95, "0.95"), (0.99, "0.99")] {
            if let Some(t) = latencies.quantile(part) {
                let labels: Vec<&str> = labels.iter().copied().chain([name]).collect();
                s.add("kptop_service_latency", &labels, t.as_secs_f64());
            }
        }
        s.add_some("kptop_service_refused_packets", &labels, sum(&|x| x.figures.refused()));
        let lookups: Vec<_> = mine().filter_map(|x| x.lookup).collect();
        if !lookups.is_empty() {
            let n = lookups.len() as f64;
            s.add("kptop_service_lookup_rules", &labels, lookups.iter().map(|l| l.mean).sum::<f64>() / n);
            let ns: Vec<f64> = lookups.iter().filter_map(|l| l.ns).collect();
            if !ns.is_empty() {
                let mean = ns.iter().sum::<f64>() / ns.len() as f64;
                s.add("kptop_service_lookup", &labels, mean / 1e9);
            }
        }
        for x in mine() {
            for (b, n) in x.service.backends.iter().zip(x.figures.backends()) {
                if backends >= limits.backends {
                    left_backends += 1;
                    continue;
                }
                backends += 1;
                backend(s, view, x.service, (b, n), &labels);
            }
        }
    }
    for (state, n) in states {
        s.add("kptop_services", &[state.name()], n as f64);
    }
    s.add("kptop_services_hash", &[], all_hash.value() as f64);
    s.add("kptop_left_out", &["services"], f64::from(left_services));
    s.add("kptop_left_out", &["backends"], left_backends as f64);
}

fn labels_of(x: &Service) -> [String; 6] {
    let (namespace, name, port) = match &x.name {
        Some(n) => (n.namespace.clone(), n.name.clone(), n.port.clone()),
        None => (String::new(), x.label(), String::new()),
    };
    [namespace, name, port, x.protocol.lower().into(), x.family.name().into(), x.engine.mode().name().into()]
}

fn backend(
    s: &mut Samples,
    view: &View,
    x: &Service,
    (b, figures): (&Backend, BackendFigures),
    service: &[&str],
) {
    let endpoint = view.snapshot.cluster.as_deref().and_then(|c| cluster_endpoint(c, x, b.address, b.port));
    let place = endpoint_text(b.address, b.port);
    // Of virtual servers that nobody names the address is all that distinguishes them.
    let frontend = match (x.engine.mode(), x.frontends.first()) {
        (crate::proxy::Mode::Ipvs, Some(f)) if x.name.is_none() => crate::proxy::frontend_text(f),
        _ => String::new(),
    };
    let pod = endpoint.and_then(|e| e.target.as_deref()).unwrap_or_default();
    let labels = [service, &[frontend.as_str(), place.as_str(), pod]].concat();
    s.add_some("kptop_backend_flows", &labels, figures.conntrack_flows);
    s.add_some("kptop_backend_unreplied_flows", &labels, figures.unreplied_flows);
    s.add_some("kptop_backend_new_flows", &labels, figures.new_flows);
    s.add_some("kptop_backend_refused_flows", &labels, figures.refused_flows);
    if b.source == CounterSource::Ipvs {
        s.add_some("kptop_backend_packets", &labels, figures.packets);
        s.add_some("kptop_backend", &labels, figures.bytes);
        for (state, n) in [("active", figures.active), ("inactive", figures.inactive)] {
            s.add_some("kptop_backend_connections", &[&labels[..], &[state]].concat(), n);
        }
        s.add_some("kptop_backend_weight", &labels, b.weight.map(u64::from));
    }
    if let Some(e) = endpoint {
        s.add("kptop_backend_ready", &labels, f64::from(u8::from(e.ready)));
    }
}

impl Collector for Samples {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        use prometheus_client::encoding::EncodeMetric;
        use prometheus_client::metrics::{counter::ConstCounter, gauge::ConstGauge};
        for m in METRICS {
            let Some(lines) = self.0.get(key(m)) else { continue };
            let unit = m.unit.map(|u| match u {
                "seconds" => Unit::Seconds,
                _ => Unit::Bytes,
            });
            let kind = if m.counter { MetricType::Counter } else { MetricType::Gauge };
            let mut of = encoder.encode_descriptor(m.name, m.help, unit.as_ref(), kind)?;
            for (values, value) in lines {
                let labels: Vec<(&str, &str)> =
                    m.labels.iter().copied().zip(values.iter().map(String::as_str)).collect();
                let line = of.encode_family(&labels)?;
                match m.counter {
                    true => ConstCounter::new(*value).encode(line)?,
                    false => ConstGauge::new(*value).encode(line)?,
                }
            }
        }
        Ok(())
    }
}

/// The samples as OpenMetrics.
///
/// # Errors
/// None that a `String` could have; the encoder's own.
pub fn open_metrics(samples: Samples) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(samples));
    let mut out = String::new();
    text::encode(&mut out, &registry)?;
    Ok(out)
}

/// The same in the older text format, for those who do not ask for OpenMetrics: counters have their whole name in the
/// remarks, and there is no unit and no end.
pub fn prometheus_text(open_metrics: &str) -> String {
    let mut out = String::with_capacity(open_metrics.len());
    let counters: Vec<&str> =
        open_metrics.lines().filter_map(|l| l.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
    for line in open_metrics.lines() {
        if line == "# EOF" || line.starts_with("# UNIT ") {
            continue;
        }
        let remark = ["# HELP ", "# TYPE "].iter().find_map(|p| Some((*p, line.strip_prefix(p)?)));
        match remark.and_then(|(p, rest)| Some((p, rest.split_once(' ')?))) {
            Some((p, (name, rest))) if counters.contains(&name) => {
                out.push_str(&format!("{p}{name}_total {rest}\n"));
            }
            _ => {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
    out
}
