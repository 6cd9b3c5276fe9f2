//! Who programs Services on this node, for JSON.

use crate::proxy::{Detected, Model, Proxy, detect};
use crate::snapshot::Snapshot;
use crate::snapshot::facts::KubeProxy;
use jiff::Timestamp;
use serde::Serialize;

/// Who programs Services on this node.
#[derive(Serialize)]
pub(super) struct ProxyOut<'a> {
    name: Option<&'static str>,
    version: Option<&'a str>,
    evidence: Vec<String>,
    /// Others that were found, with what shows them.
    others: Vec<OtherOut>,
    health: Option<ProxyHealthOut<'a>>,
}

/// Another program that was found.
#[derive(Serialize)]
struct OtherOut {
    name: &'static str,
    /// Whether it holds Services here.
    serves: bool,
    evidence: Vec<String>,
}

/// What kube-proxy says of itself.
#[derive(Serialize)]
struct ProxyHealthOut<'a> {
    asked_at: String,
    /// Status of `/healthz`.
    healthz: Option<u16>,
    mode: Option<&'a str>,
    synced_at: Option<String>,
    /// What a sync takes.
    sync_seconds: Option<f64>,
    changes_pending: Option<u64>,
    failed_writes: Option<u64>,
    min_sync_period_seconds: Option<f64>,
    sync_period_seconds: Option<f64>,
    cluster_cidrs: Option<&'a [String]>,
    node_port_addresses: Option<&'a [String]>,
}

impl<'a> ProxyOut<'a> {
    /// What the rules and kube-proxy itself tell of it.
    pub(super) fn of(snapshot: &'a Snapshot, model: &Model) -> ProxyOut<'a> {
        let mut found = detect(snapshot, model).into_iter();
        let first = found.next();
        let is_kube_proxy = first.as_ref().is_some_and(|d| d.proxy == Proxy::KubeProxy);
        let said = snapshot.kube_proxy.as_deref().filter(|_| is_kube_proxy);
        let other = |d: Detected| OtherOut { name: d.proxy.name(), serves: d.serves, evidence: d.evidence };
        ProxyOut {
            name: first.as_ref().map(|d| d.proxy.name()),
            version: said.and_then(KubeProxy::version),
            evidence: first.map_or_else(Vec::new, |d| d.evidence),
            others: found.map(other).collect(),
            health: said.filter(|k| k.answers()).map(health),
        }
    }
}

fn health(k: &KubeProxy) -> ProxyHealthOut<'_> {
    let metrics = k.metrics.given();
    let config = k.config.as_ref();
    let time = |t: Timestamp| format!("{t:.3}");
    ProxyHealthOut {
        asked_at: time(k.asked_at),
        healthz: k.health.given().map(|h| h.status),
        mode: k.mode.as_deref(),
        synced_at: k.synced_at().map(time),
        sync_seconds: k.sync_seconds(),
        changes_pending: metrics.and_then(|m| m.pending),
        failed_writes: metrics.map(|m| m.failures()),
        min_sync_period_seconds: config.and_then(|c| Some(c.min_sync?.as_secs_f64())),
        sync_period_seconds: config.and_then(|c| Some(c.sync?.as_secs_f64())),
        cluster_cidrs: config.map(|c| &*c.cluster_cidrs),
        node_port_addresses: config.map(|c| &*c.node_port_addresses),
    }
}
