//! What is compared of a node, as a snapshot's JSON has it. A view gives the same.

use crate::observe::View;
use crate::proxy::{Affinity, Detected, Service, detect};
use crate::snapshot::facts::KubeProxy;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// `kptop.snapshot/1`, as far as nodes are compared by it. Fields that older versions do not have are empty.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub(super) struct Facts {
    pub(super) schema: String,
    pub(super) taken_at: Option<jiff::Timestamp>,
    #[serde(default)]
    pub(super) node: NodeFact,
    #[serde(default)]
    pub(super) modes: Vec<ModeFact>,
    #[serde(default)]
    pub(super) tables: Vec<TableFact>,
    pub(super) proxy: Option<ProxyFact>,
    #[serde(default)]
    pub(super) services: Vec<ServiceFact>,
    pub(super) conntrack: Option<ConntrackFact>,
    #[serde(default)]
    pub(super) sysctls: Option<BTreeMap<String, String>>,
    #[serde(default)]
    pub(super) unread: Vec<UnreadFact>,
    /// Of `kptop.doctor/1`.
    #[serde(default)]
    pub(super) findings: Vec<FindingFact>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct FindingFact {
    pub(super) severity: String,
    pub(super) subject: String,
    pub(super) title: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub(super) struct NodeFact {
    pub(super) hostname: Option<String>,
    pub(super) kernel: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct ModeFact {
    pub(super) mode: String,
    pub(super) variant: Option<String>,
    pub(super) family: String,
    pub(super) state: String,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct TableFact {
    pub(super) backend: String,
    pub(super) family: String,
    pub(super) name: String,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct ProxyFact {
    pub(super) name: Option<String>,
    pub(super) version: Option<String>,
    pub(super) health: Option<ProxyHealthFact>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub(super) struct ProxyHealthFact {
    pub(super) cluster_cidrs: Option<Vec<String>>,
    pub(super) node_port_addresses: Option<Vec<String>>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct ConntrackFact {
    pub(super) max: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct UnreadFact {
    pub(super) what: String,
    pub(super) why: String,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct ServiceFact {
    pub(super) namespace: Option<String>,
    pub(super) name: Option<String>,
    pub(super) port_name: Option<String>,
    pub(super) protocol: String,
    pub(super) family: String,
    pub(super) mode: String,
    pub(super) frontends: Vec<FrontendFact>,
    pub(super) scheduler: Option<String>,
    #[serde(default)]
    pub(super) session_affinity: bool,
    pub(super) session_affinity_s: Option<u32>,
    pub(super) health_check_node_port: Option<u16>,
    pub(super) backends: Vec<BackendFact>,
    #[serde(default)]
    pub(super) backends_unknown: Option<String>,
    #[serde(default)]
    pub(super) leftover: bool,
    pub(super) health: Option<HealthFact>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct HealthFact {
    pub(super) state: String,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct FrontendFact {
    pub(super) kind: Option<String>,
    pub(super) address: Option<IpAddr>,
    pub(super) port: u16,
    pub(super) action: String,
    pub(super) traffic_policy: Option<String>,
    pub(super) source_ranges: Option<Vec<String>>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct BackendFact {
    pub(super) address: IpAddr,
    pub(super) port: u16,
    pub(super) weight: Option<u32>,
    pub(super) traffic_policies: Option<Vec<String>>,
}

impl Facts {
    pub(super) fn of(view: &View) -> Facts {
        let s = &*view.snapshot;
        let serving: Option<Detected> = detect(s, &view.model).into_iter().next();
        let said = s.kube_proxy.as_deref();
        Facts {
            schema: "kptop.snapshot/1".into(),
            taken_at: Some(s.taken_at),
            node: NodeFact { hostname: s.node.hostname.clone(), kernel: s.node.kernel.clone() },
            modes: view
                .model
                .services
                .modes
                .iter()
                .map(|m| ModeFact {
                    mode: m.engine.mode().name().into(),
                    variant: m.engine.variant().map(|v| v.name().into()),
                    family: m.family.name().into(),
                    state: m.state.name().into(),
                })
                .collect(),
            tables: s
                .tables
                .iter()
                .map(|t| TableFact {
                    backend: t.backend.name().into(),
                    family: t.family.name().into(),
                    name: t.table.name.clone(),
                })
                .collect(),
            proxy: Some(ProxyFact {
                name: serving.map(|d| d.proxy.name().into()),
                version: said.and_then(KubeProxy::version).map(str::to_string),
                health: said.filter(|k| k.answers()).map(|k| ProxyHealthFact {
                    cluster_cidrs: k.config.as_ref().map(|c| c.cluster_cidrs.clone()),
                    node_port_addresses: k.config.as_ref().map(|c| c.node_port_addresses.clone()),
                }),
            }),
            services: view.rows().map(|r| ServiceFact::of(r.service, r.health.state.name())).collect(),
            conntrack: s.conntrack.as_ref().map(|c| ConntrackFact { max: c.limits.max }),
            sysctls: (!s.sysctls.is_empty())
                .then(|| s.sysctls.iter().map(|(k, v)| (k.to_string(), v.clone())).collect()),
            unread: s
                .unread
                .iter()
                .map(|u| UnreadFact { what: u.what.clone(), why: u.why.clone() })
                .collect(),
            findings: Vec::new(),
        }
    }
}

impl ServiceFact {
    fn of(s: &Service, health: &str) -> ServiceFact {
        let frontends = s.frontends.iter().map(|f| FrontendFact {
            kind: f.kind.map(|k| k.name().into()),
            address: f.address,
            port: f.port,
            action: f.action.name().into(),
            traffic_policy: f.traffic_policy.map(|p| p.name().into()),
            source_ranges: f.source_ranges.as_ref().map(|r| r.iter().map(ToString::to_string).collect()),
        });
        let backends = s.backends.iter().map(|b| BackendFact {
            address: b.address,
            port: b.port,
            weight: b.weight,
            traffic_policies: (!b.traffic_policies.is_empty())
                .then(|| b.traffic_policies.iter().map(|p| p.name().into()).collect()),
        });
        ServiceFact {
            namespace: s.name.as_ref().map(|n| n.namespace.clone()),
            name: s.name.as_ref().map(|n| n.name.clone()),
            port_name: s.name.as_ref().map(|n| n.port.clone()),
            protocol: s.protocol.name().into(),
            family: s.family.name().into(),
            mode: s.engine.mode().name().into(),
            frontends: frontends.collect(),
            scheduler: s.scheduler.clone(),
            session_affinity: s.session_affinity.is_some(),
            session_affinity_s: s.session_affinity.and_then(Affinity::seconds),
            health_check_node_port: s.health_check_node_port,
            backends: backends.collect(),
            backends_unknown: s.unknown_backends.map(|u| u.words().into()),
            leftover: s.stale,
            health: Some(HealthFact { state: health.into() }),
        }
    }
}
