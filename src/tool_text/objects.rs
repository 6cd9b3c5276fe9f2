//! `kubectl get services,endpointslices,nodes -A -o json`, as far as kptop keeps of them.

use crate::snapshot::facts::{Cluster, ClusterService};
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(super) fn list(cluster: &Cluster) -> String {
    let mut items: Vec<Value> = Vec::new();
    for s in &cluster.services {
        items.push(service(s));
        items.extend(slices(s));
    }
    items.extend(cluster.node.iter().map(|n| {
        json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": n.name, "labels": n.zone.as_ref().map(|z| json!({"topology.kubernetes.io/zone": z}))},
            "spec": {"podCIDRs": n.pod_cidrs},
            "status": {"addresses": n.addresses.iter().map(|a| json!({"type": "InternalIP", "address": a})).collect::<Vec<_>>()},
        })
    }));
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string() + "\n"
}

fn service(s: &ClusterService) -> Value {
    let policy = |local: bool| if local { "Local" } else { "Cluster" };
    let mut ingress: Vec<Value> = s.load_balancer_ips.iter().map(|ip| json!({"ip": ip})).collect();
    ingress.extend(s.proxied_ips.iter().map(|ip| json!({"ip": ip, "ipMode": "Proxy"})));
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "namespace": s.namespace, "name": s.name,
            "labels": (s.not_proxied && !s.cluster_ips.is_empty()).then(|| json!({"service.kubernetes.io/service-proxy-name": "other"})),
        },
        "spec": {
            "clusterIP": s.cluster_ips.first().map_or("None".to_string(), ToString::to_string),
            "clusterIPs": s.cluster_ips,
            "externalIPs": s.external_ips,
            "loadBalancerSourceRanges": s.source_ranges.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "sessionAffinity": if s.affinity_s.is_some() { "ClientIP" } else { "None" },
            "sessionAffinityConfig": s.affinity_s.map(|t| json!({"clientIP": {"timeoutSeconds": t}})),
            "internalTrafficPolicy": policy(s.internal_local),
            "externalTrafficPolicy": policy(s.external_local),
            "ports": s.ports.iter().map(|p| json!({
                "name": Some(&p.name).filter(|n| !n.is_empty()), "port": p.port, "protocol": p.protocol, "nodePort": p.node_port,
            })).collect::<Vec<_>>(),
        },
        "status": {"loadBalancer": {"ingress": ingress}},
    })
}

/// True for IPv6; name, protocol and number of a port.
type PortKey<'a> = (bool, &'a str, &'a str, u16);

/// A slice for each port and family.
fn slices(s: &ClusterService) -> Vec<Value> {
    let mut by_port: BTreeMap<PortKey<'_>, Vec<Value>> = BTreeMap::new();
    for e in &s.endpoints {
        let Some(address) = e.address else { continue };
        let target = e.target.as_ref().map(|t| match t.split_once('/') {
            Some((kind, name)) => json!({"kind": kind, "name": name}),
            None => json!({"kind": "Pod", "name": t}),
        });
        let zones = |key: &str, all: &[String]| {
            (!all.is_empty())
                .then(|| json!({key: all.iter().map(|z| json!({"name": z})).collect::<Vec<_>>()}))
        };
        let endpoint = json!({
            "addresses": [address], "nodeName": e.node, "zone": e.zone, "targetRef": target,
            "conditions": {"ready": e.ready, "serving": e.serving, "terminating": e.terminating},
            "hints": zones("forZones", &e.for_zones).or_else(|| zones("forNodes", &e.for_nodes)),
        });
        by_port.entry((address.is_ipv6(), &e.port_name, &e.protocol, e.port)).or_default().push(endpoint);
    }
    let slice = |(n, (key, endpoints)): (usize, (PortKey<'_>, Vec<Value>))| {
        let (v6, name, protocol, port) = key;
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {
                "namespace": s.namespace, "name": format!("{}-{n}", s.name),
                "labels": {"kubernetes.io/service-name": s.name},
            },
            "addressType": if v6 { "IPv6" } else { "IPv4" },
            "ports": [{"name": name, "port": port, "protocol": protocol}],
            "endpoints": endpoints,
        })
    };
    by_port.into_iter().enumerate().map(slice).collect()
}
