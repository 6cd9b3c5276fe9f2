//! What the API says of the cluster.

use crate::ruleset::IpNet;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::sync::Arc;

/// What is known of the cluster at one instant. Cheap to copy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cluster {
    /// How the connection is.
    pub state: ApiState,
    /// Services with their endpoints, by namespace and name.
    pub services: Vec<Arc<ClusterService>>,
    /// This node, where it was found.
    pub node: Option<ClusterNode>,
    /// Whether Services and EndpointSlices were read whole: only then is what is not here not there.
    pub complete: bool,
    /// Services that were deleted while kptop watched, the latest last.
    pub removed: Vec<Removed>,
}

/// A Service that was deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// When the watch reported it.
    pub at: Timestamp,
}

/// How the connection to the API is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ApiState {
    /// Where it is: `https://10.96.0.1:443`.
    pub server: String,
    /// Where the access came from: a file, or the pod's service account.
    pub access: String,
    /// What is wrong, and since when; `None` while all is well, or nothing was heard yet.
    pub trouble: Option<Trouble>,
    /// True while Services or EndpointSlices are not being watched: what is known of them may be old.
    pub outdated: bool,
}

/// What is wrong with the API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// What was tried and what came of it.
    pub what: String,
    /// Since when.
    pub since: Timestamp,
}

/// A Service with its endpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterService {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Cluster IPs; none for a headless Service.
    pub cluster_ips: Vec<IpAddr>,
    /// `externalIPs`.
    pub external_ips: Vec<IpAddr>,
    /// Load balancer ingress addresses, without those of `ipMode: Proxy`, which get no rules.
    pub load_balancer_ips: Vec<IpAddr>,
    /// Those of `ipMode: Proxy`: kube-proxy before 1.30 writes rules for them, too.
    pub proxied_ips: Vec<IpAddr>,
    /// `loadBalancerSourceRanges`
    pub source_ranges: Vec<IpNet>,
    /// `sessionAffinity: ClientIP`: its timeout in seconds.
    pub affinity_s: Option<u32>,
    /// `internalTrafficPolicy: Local`
    pub internal_local: bool,
    /// `externalTrafficPolicy: Local`
    pub external_local: bool,
    /// `service.kubernetes.io/service-proxy-name` or no cluster IP: kube-proxy writes no rules for it.
    pub not_proxied: bool,
    /// Ports.
    pub ports: Vec<ClusterPort>,
    /// Endpoints of all its EndpointSlices.
    pub endpoints: Vec<ClusterEndpoint>,
    /// When its EndpointSlices or itself last changed, as seen by the watch, or reported by the annotation
    /// `endpoints.kubernetes.io/last-change-trigger-time`.
    pub changed_at: Option<Timestamp>,
}

/// A port of a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterPort {
    /// Its name; empty where the Service has one port without a name.
    pub name: String,
    /// `TCP`, `UDP`, `SCTP`
    pub protocol: String,
    /// Port at the cluster IP.
    pub port: u16,
    /// Node port.
    pub node_port: Option<u16>,
}

/// An endpoint of one port of a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterEndpoint {
    /// Name of the Service's port.
    pub port_name: String,
    /// `TCP`, `UDP`, `SCTP`
    pub protocol: String,
    /// Address.
    pub address: Option<IpAddr>,
    /// Port.
    pub port: u16,
    /// Pod, or what is behind it: `Kind/name` where it is no pod.
    pub target: Option<String>,
    /// Node that it runs on.
    pub node: Option<String>,
    /// Zone.
    pub zone: Option<String>,
    /// `ready`
    pub ready: bool,
    /// `serving`
    pub serving: bool,
    /// `terminating`
    pub terminating: bool,
    /// Zones that should use it (`hints.forZones`).
    pub for_zones: Vec<String>,
    /// Nodes that should use it (`hints.forNodes`).
    pub for_nodes: Vec<String>,
}

impl ClusterEndpoint {
    /// In a word: `ready`, `not ready`, `terminating`.
    pub fn readiness(&self) -> &'static str {
        match (self.ready, self.serving, self.terminating) {
            (true, ..) => "ready",
            (_, true, true) => "terminating, serving",
            (_, _, true) => "terminating",
            _ => "not ready",
        }
    }
}

/// This node in the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterNode {
    /// Name.
    pub name: String,
    /// Zone (`topology.kubernetes.io/zone`).
    pub zone: Option<String>,
    /// Addresses.
    pub addresses: Vec<IpAddr>,
    /// Networks of its pods.
    pub pod_cidrs: Vec<String>,
}
