//! The shop's Services as the Kubernetes API would report them: names and pods for virtual servers, which carry none.

use super::addresses::{NODE_IP, parse};
use crate::kernel::Result;
use crate::proxy::{Affinity, FrontendKind, Service, TrafficPolicy};
use crate::snapshot::facts::{Cluster, ClusterEndpoint, ClusterNode, ClusterPort, ClusterService};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// Nodes of the shop's cluster; the lab is the first.
const NODES: [&str; 3] = ["node-a", "node-b", "node-c"];

/// The objects behind Services of the lab.
pub(super) fn objects(services: &[Service]) -> Result<Cluster> {
    let mut all: BTreeMap<(String, String), ClusterService> = BTreeMap::new();
    for s in services {
        let Some(name) = &s.name else { continue };
        let key = (name.namespace.clone(), name.name.clone());
        let of = all.entry(key).or_insert_with(|| ClusterService {
            namespace: name.namespace.clone(),
            name: name.name.clone(),
            affinity_s: s.session_affinity.map(Affinity::seconds_or_default),
            ..ClusterService::default()
        });
        let mut port = ClusterPort {
            name: name.port.clone(),
            protocol: s.protocol.name().into(),
            ..ClusterPort::default()
        };
        for f in &s.frontends {
            let local = f.traffic_policy == Some(TrafficPolicy::Local);
            let list = match f.kind {
                Some(FrontendKind::ClusterIp) => {
                    port.port = f.port;
                    of.internal_local |= local;
                    &mut of.cluster_ips
                }
                Some(FrontendKind::NodePort) => {
                    port.node_port = Some(f.port);
                    of.external_local |= local;
                    continue;
                }
                Some(FrontendKind::ExternalIp) => &mut of.external_ips,
                Some(FrontendKind::LoadBalancerIp) => {
                    of.external_local |= local;
                    of.source_ranges.extend(f.source_ranges.iter().flatten());
                    &mut of.load_balancer_ips
                }
                _ => continue,
            };
            list.extend(f.address.filter(|a| !list.contains(a)));
        }
        if !of.ports.contains(&port) {
            of.ports.push(port);
        }
        for (n, b) in s.backends.iter().enumerate() {
            of.endpoints.push(ClusterEndpoint {
                port_name: name.port.clone(),
                protocol: s.protocol.name().into(),
                address: Some(b.address),
                port: b.port,
                target: Some(format!("{}-{n}", name.name)),
                node: Some(NODES[node_of(b.address)].into()),
                ready: true,
                serving: true,
                ..ClusterEndpoint::default()
            });
        }
    }
    let node = ClusterNode {
        name: NODES[0].into(),
        addresses: vec![parse(NODE_IP)?],
        pod_cidrs: vec!["10.244.0.0/24".into()],
        ..ClusterNode::default()
    };
    Ok(Cluster {
        services: all.into_values().map(Arc::new).collect(),
        node: Some(node),
        complete: true,
        ..Cluster::default()
    })
}

/// The shop's three nodes share the pods' network, each every third of its /24 networks.
fn node_of(pod: IpAddr) -> usize {
    match pod {
        IpAddr::V4(a) => usize::from(a.octets()[2]) % NODES.len(),
        IpAddr::V6(a) => usize::from(a.segments()[3]) % NODES.len(),
    }
}
