//! Columns of Services.

use super::{Column, NEVER, Rows, Shape, Value, figure, words};
use crate::cost::Lookup;
use crate::health::{HealthState, ServiceHealth};
use crate::proxy::{Affinity, Backend, BackendFigures, Engine, Mode, Service, ServiceFigures, frontend_text};
use crate::rates::{NoRate, Rate, ServiceRates};
use crate::ruleset::IpFamily;
use crate::snapshot::Latencies;
use std::borrow::Borrow;

/// Rows of Services.
#[derive(Debug)]
pub struct Services;

/// A Service, with its rates where there are two readings. [`crate::observe::View::rows`] makes them.
#[derive(Clone, Copy, Debug)]
pub struct ServiceRow<'a> {
    /// Its place among all.
    pub place: usize,
    /// The Service.
    pub service: &'a Service,
    /// What it counted.
    pub figures: ServiceFigures<'a>,
    /// Its rates.
    pub rates: Option<&'a ServiceRates>,
    /// How it is, and why.
    pub health: &'a ServiceHealth,
    /// What its lookup costs, where that is known.
    pub lookup: Option<&'a Lookup>,
}

impl Rows for Services {
    type Row<'a> = ServiceRow<'a>;
}

fn rate(row: &ServiceRow<'_>, of: fn(&ServiceRates) -> Rate) -> Value {
    Value::rate(row.rates.map_or(Err(NoRate::FirstSample), of))
}

/// True where some frontends ask for local endpoints and others do not: nobody knows how much comes by which.
fn mixed_policies(s: &Service) -> bool {
    s.backends.windows(2).any(|w| w[0].traffic_policies != w[1].traffic_policies)
}

/// The part of new flows that a backend should get; `None` where rules expect nothing, or nobody knows.
pub fn expected_share(s: &Service, b: &Backend) -> Option<f64> {
    b.share.or(b.local_share).filter(|_| !mixed_policies(s))
}

/// Flows below which the spread over backends says nothing.
const FEW_FLOWS: u64 = 30;

/// How far the most uneven backend is from what it should get, in parts of the whole; `None` with few flows, or
/// where rules expect nothing.
pub fn skew(s: &Service, figures: ServiceFigures<'_>) -> Option<f64> {
    let sum: u64 = figures.spread().sum();
    // Clients that stay with their backend are not spread.
    let sticky = s.session_affinity.is_some();
    if sum < FEW_FLOWS || s.backends.len() < 2 || sticky || s.stale {
        return None;
    }
    let got = figures.spread().map(|n| n as f64 / sum as f64);
    s.backends
        .iter()
        .zip(got)
        .filter_map(|(b, got)| Some((got - expected_share(s, b)?).abs()))
        .fold(None, |most: Option<f64>, d| Some(most.map_or(d, |m| m.max(d))))
}

fn sum_of(r: &ServiceRow<'_>, of: fn(&BackendFigures) -> Option<u64>) -> Option<u64> {
    r.figures.backends().filter_map(|b| of(&b)).reduce(|a, b| a + b)
}

/// A quantile of times, in nanoseconds.
pub(super) fn latency(times: impl Borrow<Latencies>, part: f64) -> Value {
    let time = times.borrow().quantile(part);
    time.map_or(Value::Missing(NoRate::NotCounted), |t| Value::Number(t.as_nanos() as f64))
}

fn mode_word(s: &Service) -> &'static str {
    match s.engine {
        Engine::IptablesNft => "ipt-nft",
        Engine::UserspaceLegacy | Engine::UserspaceNft => "user",
        engine => engine.mode().name(),
    }
}

/// What is lost for certain: what rules take, and where no backend answers, all.
pub fn lost_share(health: &ServiceHealth) -> Option<f64> {
    match health.state {
        HealthState::Failing => Some(health.lost_share.filter(|s| *s > 0.0).unwrap_or(1.0)),
        _ => health.lost_share,
    }
}

fn frontends(s: &Service) -> String {
    match s.frontends.as_slice() {
        [] => "-".into(),
        [one] => frontend_text(one),
        [first, rest @ ..] => format!("{} +{}", frontend_text(first), rest.len()),
    }
}

fn text(t: impl Into<String>) -> Value {
    Value::Text(t.into())
}

/// Every column of Services, in the order in which they are shown unless the user chose another.
pub const SERVICES: &[Column<Services>] = &[
    Column {
        key: "state",
        head: "",
        unit: "",
        help: "✗ failing, or no endpoints; ◐ degraded; ▼ no local endpoints; ○ stale; ? unknown; ● healthy",
        width: 1,
        right: false,
        from: 0,
        shape: Shape::Symbol,
        value: |r| text(r.health.state.name()),
    },
    words("name", "SERVICE", 0, 0, "namespace/name:port; the address where only that is known", |r| {
        Value::AsListed(r.service.label())
    }),
    words("ns", "NAMESPACE", 16, NEVER, "namespace", |r| {
        text(r.service.name.as_ref().map_or("", |n| n.namespace.as_str()))
    }),
    words("proto", "PROTO", 6, 92, "transport protocol", |r| text(r.service.protocol.name())),
    words("family", "FAMILY", 6, NEVER, "IP family", |r| {
        text(if r.service.family == IpFamily::V4 { "ipv4" } else { "ipv6" })
    }),
    words(
        "mode",
        "MODE",
        8,
        118,
        "mode of kube-proxy that holds it; ipt-nft: iptables mode in nf_tables",
        |r| text(mode_word(r.service)),
    ),
    words("frontend", "FRONTEND", 22, 94, "first address, and how many more", |r| text(frontends(r.service))),
    Column {
        width: 6,
        ..figure("backends", "ENDPTS", "backends", Shape::Count, 0, "endpoints that its rules know", |r| {
            match r.service.engine.mode() {
                Mode::Userspace => text("?"), // the process alone knows them
                _ => match r.service.backend_count() {
                    Some(n) => Value::count(Some(n as u64)),
                    None => text("?"), // in rules that are not understood
                },
            }
        })
    },
    Column {
        width: 5,
        ..figure(
            "loss",
            "LOSS",
            "share",
            Shape::Share,
            0,
            "part of the new flows that is lost for certain, of the worst of its senders",
            |r| Value::share(lost_share(r.health)),
        )
    },
    figure("flows", "NEW/s", "1/s", Shape::Rate, 0, "new flows, over all backends", |r| rate(r, |r| r.flows)),
    figure(
        "packets",
        "PKT/s",
        "1/s",
        Shape::Rate,
        92,
        "packets both ways, where the mode counts them (IPVS)",
        |r| rate(r, |r| r.packets),
    ),
    figure(
        "bytes",
        "B/s",
        "bytes/s",
        Shape::Rate,
        104,
        "bytes both ways, where the mode counts them (IPVS)",
        |r| rate(r, |r| r.bytes),
    ),
    figure(
        "refused",
        "DROP/s",
        "1/s",
        Shape::Rate,
        76,
        "packets that its rules reject or drop, those of disallowed sources too",
        |r| rate(r, |r| r.refused),
    ),
    figure("held", "CONNS", "flows", Shape::Count, 0, "flows that conntrack holds for its frontends", |r| {
        Value::count(r.figures.held())
    }),
    figure(
        "active",
        "ACTIVE",
        "connections",
        Shape::Count,
        NEVER,
        "active connections of its real servers (IPVS)",
        |r| Value::count(sum_of(r, |c| c.active)),
    ),
    figure(
        "skew",
        "SKEW",
        "share",
        Shape::Percent,
        140,
        "how far the most uneven backend is from its expected share; - below 30 flows, with affinity or mixed policies",
        |r| Value::share(skew(r.service, r.figures)),
    ),
    figure(
        "lookup_ns",
        "LOOKUP",
        "ns",
        Shape::Nanoseconds,
        132,
        "what the first packet of a flow from a pod costs, estimated (kptop calibrate); later packets pay less",
        |r| r.lookup.and_then(|l| l.ns).map_or(Value::Missing(NoRate::NotCounted), Value::Number),
    ),
    figure(
        "lookup_rules",
        "RULES",
        "rules",
        Shape::Count,
        NEVER,
        "rules that this packet meets, matched or not, in the mean over its backends",
        |r| r.lookup.map_or(Value::Missing(NoRate::NotCounted), |l| Value::Number(l.mean)),
    ),
    Column {
        width: 7,
        ..figure(
            "latency_ns",
            "LATENCY",
            "ns",
            Shape::Nanoseconds,
            118,
            "95 of 100 flows had their first answer sooner, in the last minute; where conntrack's notices are counted (--new-flows)",
            |r| latency(r.figures.all_latencies(), 0.95),
        )
    },
    Column {
        width: 7,
        ..figure(
            "median_ns",
            "LAT p50",
            "ns",
            Shape::Nanoseconds,
            NEVER,
            "half of its flows had their first answer sooner, in the last minute",
            |r| latency(r.figures.all_latencies(), 0.5),
        )
    },
    Column {
        width: 9,
        ..figure(
            "new_total",
            "NEW FLOWS",
            "flows",
            Shape::Count,
            NEVER,
            "new flows since kube-proxy wrote its rules; in nftables mode since kptop listens",
            |r| Value::count(r.figures.new_flows()),
        )
    },
    Column {
        width: 8,
        ..figure(
            "refused_total",
            "REFUSED",
            "packets",
            Shape::Count,
            NEVER,
            "packets refused since kube-proxy wrote its rules",
            |r| Value::count(r.figures.refused()),
        )
    },
    Column {
        width: 8,
        ..figure(
            "affinity",
            "AFFINITY",
            "s",
            Shape::Count,
            NEVER,
            "how long a client stays with a backend",
            |r| Value::count(r.service.session_affinity.and_then(Affinity::seconds).map(u64::from)),
        )
    },
    words("scheduler", "SCHED", 6, NEVER, "scheduler (IPVS)", |r| {
        text(r.service.scheduler.as_deref().unwrap_or("-"))
    }),
    Column {
        key: "trend",
        head: "TREND",
        unit: "",
        help: "new flows a second, the last readings; the flows that conntrack held where nothing counts new ones",
        width: 16,
        right: false,
        from: 100,
        shape: Shape::Trend,
        value: |r| rate(r, |r| r.flows),
    },
    words("why", "WHY", 24, 150, "why it is not healthy", |r| text(&*r.health.why)),
];
