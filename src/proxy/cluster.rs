//! What the Kubernetes API reports, joined with what the kernel holds: names by hash and by address, pods behind backends,
//! and the endpoints that a Service should have here.

use super::{FrontendKind, NamedBy, Names, Protocol, Service, ServiceName, service_hash};
use crate::ruleset::IpFamily;
use crate::snapshot::facts::{Cluster, ClusterEndpoint, ClusterNode, ClusterPort, ClusterService};
use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

/// Names of Services as the API reports them.
#[derive(Clone, Debug, Default)]
pub(super) struct ApiNames {
    /// What they were made of, to see whether they are others.
    fingerprint: u64,
    names: Names,
}

impl Protocol {
    /// From Kubernetes' spelling: `TCP`.
    pub fn from_kubernetes(name: &str) -> Option<Protocol> {
        [Protocol::Tcp, Protocol::Udp, Protocol::Sctp].into_iter().find(|p| p.name() == name)
    }
}

fn fingerprint(cluster: &Cluster) -> u64 {
    let mut h = foldhash::fast::FixedState::default().build_hasher();
    for s in &cluster.services {
        (&s.namespace, &s.name, &s.cluster_ips, &s.external_ips, &s.load_balancer_ips).hash(&mut h);
        for p in &s.ports {
            (&p.name, &p.protocol, p.port, p.node_port).hash(&mut h);
        }
    }
    h.finish() | 1 // 0 is none at all
}

impl ApiNames {
    /// Those of a cluster; `None` where they are what they were.
    pub(super) fn renewed(&self, cluster: Option<&Arc<Cluster>>) -> Option<ApiNames> {
        let new = cluster.map_or(0, |c| fingerprint(c));
        if new == self.fingerprint {
            return None;
        }
        let names = cluster.map_or_else(Names::default, |c| Names::of_cluster(c));
        Some(ApiNames { fingerprint: new, names })
    }

    /// Gives Services their names, where the kernel does not say them.
    pub(super) fn name(&self, services: &mut [Service]) {
        self.names.name(services);
    }
}

impl Names {
    /// Those of a cluster's Services, with their addresses.
    pub fn of_cluster(cluster: &Cluster) -> Names {
        let mut names = Names::default();
        for s in &cluster.services {
            for p in &s.ports {
                let Some(protocol) = Protocol::from_kubernetes(&p.protocol) else { continue };
                let name = name_of(s, p);
                for a in s.cluster_ips.iter().chain(&s.external_ips).chain(&s.load_balancer_ips) {
                    names.by_address.insert((*a, protocol, p.port), name.clone());
                }
                if let Some(port) = p.node_port {
                    names.by_node_port.insert((protocol, port), name.clone());
                }
                names.by_hash.insert(service_hash(&name, protocol), name);
            }
        }
        names
    }

    /// Gives Services their names, where the kernel does not say them.
    pub(super) fn name(&self, services: &mut [Service]) {
        if self.by_hash.is_empty() {
            return;
        }
        for s in services.iter_mut().filter(|s| s.name.is_none()) {
            let by_hash = s.chain_hash.as_ref().and_then(|h| self.by_hash.get(h));
            let by_address = || {
                s.frontends.iter().find_map(|f| {
                    let exact = f.address.and_then(|a| self.by_address.get(&(a, s.protocol, f.port)));
                    // A node port is on an address of the node's.
                    exact.or_else(|| {
                        self.by_node_port
                            .get(&(s.protocol, f.port))
                            .filter(|_| f.address.is_none() || f.kind == Some(FrontendKind::NodePort))
                    })
                })
            };
            if let Some(name) = by_hash.or_else(by_address) {
                s.name = Some(name.clone());
                s.named_by = Some(NamedBy::Api);
            }
        }
    }
}

pub(super) fn name_of(s: &ClusterService, p: &ClusterPort) -> ServiceName {
    ServiceName { namespace: s.namespace.clone(), name: s.name.clone(), port: p.name.clone() }
}

/// The Service of a name.
pub(super) fn cluster_service<'a>(
    cluster: &'a Cluster,
    name: &ServiceName,
) -> Option<&'a Arc<ClusterService>> {
    let wanted = (name.namespace.as_str(), name.name.as_str());
    let at =
        cluster.services.binary_search_by(|s| (s.namespace.as_str(), s.name.as_str()).cmp(&wanted)).ok()?;
    cluster.services.get(at)
}

/// What is known of a backend: its pod, node, zone and readiness.
pub fn cluster_endpoint<'a>(
    cluster: &'a Cluster,
    service: &Service,
    address: IpAddr,
    port: u16,
) -> Option<&'a ClusterEndpoint> {
    let name = service.name.as_ref()?;
    let of = cluster_service(cluster, name)?;
    of.endpoints.iter().find(|e| {
        e.address == Some(address)
            && e.port == port
            && e.port_name == name.port
            && e.protocol == service.protocol.name()
    })
}

/// True where an endpoint is on this node; `None` where that is not known.
pub fn is_local(cluster: &Cluster, endpoint: &ClusterEndpoint) -> Option<bool> {
    Some(endpoint.node.as_ref()? == &cluster.node.as_ref()?.name)
}

/// The endpoints that kube-proxy may use for a Service port, and those that it must.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// Ready ones, and those that end but still serve.
    pub may: BTreeSet<(IpAddr, u16)>,
    /// Ready ones that no zone or policy keeps from this node; `None` where that is not known.
    pub must: Option<BTreeSet<(IpAddr, u16)>>,
}

/// What kube-proxy should have written for a port of a Service, in a family (`CategorizeEndpoints`, `pkg/proxy/topology.go`,
/// 1.36): ready endpoints, or where none is, serving ones that end; hints keep those for this zone or node, where every
/// endpoint has one; local policies those of this node.
pub fn expected(
    s: &ClusterService,
    p: &ClusterPort,
    family: IpFamily,
    node: Option<&ClusterNode>,
) -> Expected {
    let mine = |e: &&ClusterEndpoint| {
        e.port_name == p.name
            && e.protocol == p.protocol
            && e.address.is_some_and(|a| IpFamily::of(a) == family)
    };
    let place = |e: &ClusterEndpoint| e.address.map(|a| (a, e.port));
    let all: Vec<&ClusterEndpoint> = s.endpoints.iter().filter(mine).collect();
    let usable = |e: &&&ClusterEndpoint| e.ready || (e.serving && e.terminating);
    let may = all.iter().filter(usable).filter_map(|e| place(e)).collect();
    let ready: Vec<&ClusterEndpoint> = all.iter().copied().filter(|e| e.ready).collect();
    let external = p.node_port.is_some() || !s.external_ips.is_empty() || !s.load_balancer_ips.is_empty();
    // What policies leave is the local ones alone only where no frontend follows the cluster policy.
    let only_local = s.internal_local && (!external || s.external_local);
    let hinted =
        !ready.is_empty() && ready.iter().all(|e| !e.for_zones.is_empty() || !e.for_nodes.is_empty());
    let must = match (node, only_local || hinted) {
        (None, true) => None,
        (_, false) => Some(ready.iter().filter_map(|e| place(e)).collect()),
        (Some(node), true) => {
            let is_local = |e: &ClusterEndpoint| e.node.as_deref() == Some(&node.name);
            let is_meant = |e: &ClusterEndpoint| {
                let zone = node.zone.as_ref().is_some_and(|z| e.for_zones.contains(z));
                zone || e.for_nodes.contains(&node.name)
            };
            // Hints of which none is for this node are ignored by kube-proxy.
            let hints = hinted && ready.iter().any(|e| is_meant(e));
            let kept = ready.iter().filter(|e| (!only_local || is_local(e)) && (!hints || is_meant(e)));
            Some(kept.filter_map(|e| place(e)).collect())
        }
    };
    Expected { may, must }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::{Action, Engine, Frontend};

    fn cluster() -> Cluster {
        let port = |name: &str, protocol: &str, port, node_port| ClusterPort {
            name: name.into(),
            protocol: protocol.into(),
            port,
            node_port,
        };
        let endpoint =
            |a: &str, node: &str, ready: bool, terminating: bool, zones: &[&str]| ClusterEndpoint {
                port_name: "http".into(),
                protocol: "TCP".into(),
                address: a.parse().ok(),
                port: 8080,
                node: Some(node.into()),
                ready,
                serving: true,
                terminating,
                for_zones: zones.iter().map(|z| (*z).to_string()).collect(),
                ..ClusterEndpoint::default()
            };
        let service = ClusterService {
            namespace: "shop".into(),
            name: "frontend".into(),
            cluster_ips: vec!["10.96.2.2".parse().unwrap()],
            ports: vec![port("http", "TCP", 80, Some(30080)), port("dns", "UDP", 53, None)],
            endpoints: vec![
                endpoint("10.244.0.1", "a", true, false, &["z1"]),
                endpoint("10.244.1.1", "b", true, false, &["z2"]),
                endpoint("10.244.1.2", "b", false, true, &["z2"]),
            ],
            ..ClusterService::default()
        };
        let node = ClusterNode { name: "a".into(), zone: Some("z1".into()), ..ClusterNode::default() };
        Cluster { services: vec![Arc::new(service)], node: Some(node), complete: true, ..Cluster::default() }
    }

    /// Rules whose comments were left off, virtual servers, and what the API does not know.
    #[test]
    fn names_are_found_by_hash_address_and_node_port() {
        let names = ApiNames::default().renewed(Some(&Arc::new(cluster()))).unwrap();
        assert!(names.renewed(Some(&Arc::new(cluster()))).is_none(), "the same names are not new");
        let nameless = |protocol| Service::new(protocol, IpFamily::V4, Engine::Ipvs);
        let at = |kind, address: &str, port| Frontend::new(kind, address.parse().ok(), port, Action::Balance);
        let hash = service_hash(&ServiceName::parse("shop/frontend:http").unwrap(), Protocol::Tcp);
        let mut all = [
            Service { chain_hash: Some(hash), ..nameless(Protocol::Tcp) },
            Service { frontends: vec![at(None, "10.96.2.2", 53)], ..nameless(Protocol::Udp) },
            Service {
                frontends: vec![at(Some(FrontendKind::NodePort), "192.168.50.10", 30080)],
                ..nameless(Protocol::Tcp)
            },
            // Another protocol, and an address that only shares the port.
            Service { frontends: vec![at(None, "10.96.2.2", 53)], ..nameless(Protocol::Tcp) },
            Service { frontends: vec![at(None, "198.51.100.1", 30080)], ..nameless(Protocol::Tcp) },
        ];
        names.name(&mut all);
        let found = all.map(|s| s.name.map(|n| n.to_string()));
        let named = |n: &str| Some(n.to_string());
        assert_eq!(
            found,
            [
                named("shop/frontend:http"),
                named("shop/frontend:dns"),
                named("shop/frontend:http"),
                None,
                None
            ]
        );
    }

    #[test]
    fn what_should_be_here_follows_readiness_hints_and_policies() {
        let c = cluster();
        let (s, node) = ((*c.services[0]).clone(), c.node.as_ref());
        let set = |list: &[&str]| list.iter().map(|a| (a.parse().unwrap(), 8080)).collect::<BTreeSet<_>>();
        let of = |s: &ClusterService, node| expected(s, &s.ports[0], IpFamily::V4, node);
        // One that ends may still be used; this zone's must be.
        let e = of(&s, node);
        assert_eq!(e.may, set(&["10.244.0.1", "10.244.1.1", "10.244.1.2"]));
        assert_eq!(e.must, Some(set(&["10.244.0.1"])));
        // Without knowing this node, hints say nothing of it.
        assert_eq!(of(&s, None).must, None);
        let mut plain = s.clone();
        plain.endpoints.iter_mut().for_each(|e| e.for_zones.clear());
        assert_eq!(of(&plain, None).must, Some(set(&["10.244.0.1", "10.244.1.1"])));
        // Local alone, where no frontend follows the cluster policy.
        let local = ClusterService { internal_local: true, external_local: true, ..plain.clone() };
        assert_eq!(of(&local, node).must, Some(set(&["10.244.0.1"])));
        let mixed = ClusterService { internal_local: true, ..plain.clone() };
        assert_eq!(of(&mixed, node).must, Some(set(&["10.244.0.1", "10.244.1.1"])));
        // None ready: nothing must be there.
        let mut none = plain;
        none.endpoints.iter_mut().for_each(|e| e.ready = false);
        assert_eq!(of(&none, node).must, Some(BTreeSet::new()));
    }
}
