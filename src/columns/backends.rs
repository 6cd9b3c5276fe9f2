//! Columns of the backends of a Service.

use super::services::latency;
use super::{Column, NEVER, Rows, Shape, Value, expected_share, figure, words};
use crate::health::LostBackend;
use crate::proxy::{Backend, BackendFigures, Service, endpoint_text};
use crate::rates::{BackendRates, NoRate, Rate};
use crate::snapshot::Latencies;
use crate::snapshot::facts::ClusterEndpoint;

/// Rows of backends.
#[derive(Debug)]
pub struct Backends;

/// A backend of a Service, with its rates where there are two readings. [`crate::observe::View::backend_row`] makes them.
#[derive(Clone, Copy, Debug)]
pub struct BackendRow<'a> {
    /// The Service.
    pub service: &'a Service,
    /// The backend.
    pub backend: &'a Backend,
    /// What it counted.
    pub figures: BackendFigures,
    /// The part of its Service's flows that it got.
    pub real_share: Option<f64>,
    /// Times to the first answer of its flows, where they were seen.
    pub latencies: Option<&'a Latencies>,
    /// Its rates.
    pub rates: Option<BackendRates>,
    /// What takes its new flows, where something does.
    pub lost: Option<&'a LostBackend>,
    /// What the Kubernetes API reports it.
    pub endpoint: Option<&'a ClusterEndpoint>,
}

impl Rows for Backends {
    type Row<'a> = BackendRow<'a>;
}

fn rate(row: &BackendRow<'_>, of: fn(&BackendRates) -> Rate) -> Value {
    Value::rate(row.rates.as_ref().map_or(Err(NoRate::FirstSample), of))
}

/// Columns that the Kubernetes API fills.
pub const API_ONLY: [&str; 4] = ["pod", "ready", "node", "zone"];

fn word(row: &BackendRow<'_>, of: fn(&ClusterEndpoint) -> Option<String>) -> Value {
    Value::Text(row.endpoint.and_then(of).unwrap_or_else(|| "-".into()))
}

/// Every column of backends.
pub const BACKENDS: &[Column<Backends>] = &[
    Column {
        key: "backend",
        head: "BACKEND",
        unit: "",
        help: "endpoint; ✗: its new flows are lost; w3: its weight in IPVS; local: on this node",
        width: 24,
        right: false,
        from: 0,
        shape: Shape::Text,
        value: |r| {
            let mut text = endpoint_text(r.backend.address, r.backend.port);
            if r.lost.is_some() {
                text.push_str(" ✗");
            }
            if let Some(weight) = r.backend.weight.filter(|w| *w != 1) {
                text.push_str(&format!(" w{weight}"));
            } else if r.backend.local == Some(true) {
                text.push_str(" local");
            }
            Value::AsListed(text)
        },
    },
    figure(
        "expect",
        "EXPECT",
        "share",
        Shape::Share,
        0,
        "part of new flows that it should get, by the rules; - with mixed traffic policies",
        |r| Value::share(expected_share(r.service, r.backend)),
    ),
    Column {
        width: 5,
        ..figure(
            "real",
            "REAL",
            "share",
            Shape::Share,
            0,
            "part that it got, since kube-proxy wrote its rule",
            |r| Value::share(r.real_share),
        )
    },
    Column {
        key: "balance",
        head: "LESS MORE",
        unit: "share",
        help: "real minus expected share: left of │ less than it should get, right of it more; a full side is none, or twice as much",
        width: 10,
        right: false,
        from: 66,
        shape: Shape::Bar,
        value: |r| Value::share(r.real_share),
    },
    figure("flows", "NEW/s", "1/s", Shape::Rate, 0, "new flows", |r| rate(r, |r| r.flows)),
    figure("packets", "PKT/s", "1/s", Shape::Rate, 100, "packets both ways (IPVS)", |r| {
        rate(r, |r| r.packets)
    }),
    figure("bytes", "B/s", "bytes/s", Shape::Rate, 108, "bytes both ways (IPVS)", |r| rate(r, |r| r.bytes)),
    figure("active", "ACTIVE", "connections", Shape::Count, 92, "active connections (IPVS)", |r| {
        Value::count(r.figures.active)
    }),
    figure("inactive", "INACT", "connections", Shape::Count, 116, "inactive connections (IPVS)", |r| {
        Value::count(r.figures.inactive)
    }),
    figure("held", "CONNS", "flows", Shape::Count, 72, "flows that conntrack holds for it", |r| {
        Value::count(r.figures.conntrack_flows)
    }),
    Column {
        width: 8,
        ..figure("unreplied", "NO REPLY", "flows", Shape::Count, 98, "of them, without any answer yet", |r| {
            Value::count(r.figures.unreplied_flows)
        })
    },
    Column {
        width: 7,
        ..figure(
            "median_ns",
            "LAT p50",
            "ns",
            Shape::Nanoseconds,
            110,
            "half of its flows had their first answer sooner, in the last minute",
            |r| r.latencies.map_or(Value::Missing(NoRate::NotCounted), |l| latency(l, 0.5)),
        )
    },
    Column {
        width: 7,
        ..figure(
            "latency_ns",
            "LAT p95",
            "ns",
            Shape::Nanoseconds,
            84,
            "95 of 100 flows had their first answer sooner, in the last minute",
            |r| r.latencies.map_or(Value::Missing(NoRate::NotCounted), |l| latency(l, 0.95)),
        )
    },
    Column {
        width: 8,
        ..figure("refused", "REFUSED", "flows", Shape::Count, 122, "connections that it refused (RST)", |r| {
            Value::count(r.figures.refused_flows)
        })
    },
    words("pod", "POD", 26, 100, "its pod, as the Kubernetes API names it", |r| {
        word(r, |e| e.target.clone())
    }),
    words("ready", "READY", 9, 128, "whether its pod is ready, as the API reports", |r| {
        word(r, |e| Some(e.readiness().into()))
    }),
    words("node", "NODE", 16, 140, "the node that it runs on, as the API reports", |r| {
        word(r, |e| e.node.clone())
    }),
    words("zone", "ZONE", 12, 158, "the zone of that node, as the API reports", |r| {
        word(r, |e| e.zone.clone())
    }),
    figure("weight", "WEIGHT", "", Shape::Count, NEVER, "weight (IPVS)", |r| {
        Value::count(r.backend.weight.map(u64::from))
    }),
    Column {
        key: "trend",
        head: "TREND",
        unit: "",
        help: "new flows a second, the last readings; the flows that conntrack held where nothing counts new ones",
        width: 0,
        right: false,
        from: 76,
        shape: Shape::Trend,
        value: |r| rate(r, |r| r.flows),
    },
];
