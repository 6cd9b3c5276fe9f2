//! Who programs Services on this node, for JSON.

use crate::proxy::{Model, State};
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
    health: Option<ProxyHealthOut<'a>>,
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
        let said = snapshot.kube_proxy.as_deref();
        let active = model.services.modes.iter().filter(|m| m.state == State::Active);
        let mut evidence: Vec<String> = active
            .map(|m| format!("{} of {}: {} Services", m.engine.mode().name(), m.family.name(), m.services))
            .collect();
        let answers = said.filter(|k| k.answers());
        evidence.extend(answers.map(|_| "it answers on 127.0.0.1:10249 or 10256".to_string()));
        ProxyOut {
            name: (!evidence.is_empty()).then_some("kube-proxy"),
            version: said.and_then(KubeProxy::version),
            evidence,
            health: answers.map(health),
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
