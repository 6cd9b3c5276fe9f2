//! What the Kubernetes API reports, joined with what the kernel holds: names by hash and by address, pods behind backends,
//! and the endpoints that a Service should have here.

use super::{FrontendKind, NamedBy, Names, Protocol, Service, ServiceName, service_hash};
use crate::ruleset::IpFamily;
use crate::snapshot::facts::{Cluster, ClusterEndpoint, ClusterNode, ClusterPort, ClusterService};
use std::collections::{BTreeSet, HashSet};
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

/// Says which kind of address a frontend is, where the kernel does not and the API does.
pub(super) fn kinds(cluster: &Cluster, services: &mut [Service]) {
    for s in services {
        let Some(of) = s.name.as_ref().and_then(|n| cluster_service(cluster, n)) else { continue };
        for f in s.frontends.iter_mut().filter(|f| f.kind.is_none()) {
            let Some(a) = f.address else { continue };
            f.kind = match () {
                () if of.cluster_ips.contains(&a) => Some(FrontendKind::ClusterIp),
                () if of.external_ips.contains(&a) => Some(FrontendKind::ExternalIp),
                () if of.load_balancer_ips.contains(&a) => Some(FrontendKind::LoadBalancerIp),
                () => None,
            };
        }
        s.frontends.sort_by_key(|f| (f.kind.is_none(), f.kind));
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
    let place = |e: &ClusterEndpoint| e.address.map(|a| (a, e.port));
    let all = endpoints_of(s, p, family);
    let usable = |e: &&&ClusterEndpoint| e.ready || (e.serving && e.terminating);
    let may = all.iter().filter(usable).filter_map(|e| place(e)).collect();
    let keeps = Keeps::new(s, p, &all, node);
    let ready = all.iter().filter(|e| e.ready);
    let must = match (node, keeps.only_local || keeps.hinted) {
        (None, true) => None,
        _ => Some(ready.filter(|e| keeps.away(e).is_none()).filter_map(|e| place(e)).collect()),
    };
    Expected { may, must }
}

fn endpoints_of<'a>(s: &'a ClusterService, p: &ClusterPort, family: IpFamily) -> Vec<&'a ClusterEndpoint> {
    let mine = |e: &&ClusterEndpoint| {
        e.port_name == p.name
            && e.protocol == p.protocol
            && e.address.is_some_and(|a| IpFamily::of(a) == family)
    };
    s.endpoints.iter().filter(mine).collect()
}

/// What policies and hints keep of a port's ready endpoints on this node.
struct Keeps<'a> {
    node: Option<&'a ClusterNode>,
    /// What policies leave is the local ones alone only where no frontend follows the cluster policy.
    only_local: bool,
    /// Every ready endpoint has hints.
    hinted: bool,
    /// Hints of which none is for this node are ignored by kube-proxy.
    heeded: bool,
}

impl<'a> Keeps<'a> {
    fn new(
        s: &ClusterService,
        p: &ClusterPort,
        all: &[&ClusterEndpoint],
        node: Option<&'a ClusterNode>,
    ) -> Keeps<'a> {
        let external = p.node_port.is_some() || !s.external_ips.is_empty() || !s.load_balancer_ips.is_empty();
        let only_local = s.internal_local && (!external || s.external_local);
        let ready = || all.iter().filter(|e| e.ready);
        let hinted =
            ready().next().is_some() && ready().all(|e| !e.for_zones.is_empty() || !e.for_nodes.is_empty());
        let heeded = hinted && node.is_some_and(|n| ready().any(|e| is_meant(n, e)));
        Keeps { node, only_local, hinted, heeded }
    }

    /// Why a ready endpoint is not used here; `None` where nothing that is known keeps it away.
    fn away(&self, e: &ClusterEndpoint) -> Option<UnusedBecause> {
        let Some(node) = self.node else {
            return (self.only_local || self.hinted).then_some(UnusedBecause::NodeUnknown);
        };
        if self.only_local && e.node.as_deref() != Some(&node.name) {
            return Some(UnusedBecause::LocalPolicy);
        }
        if !self.heeded || is_meant(node, e) {
            return None;
        }
        Some(if e.for_zones.is_empty() { UnusedBecause::OtherNode } else { UnusedBecause::OtherZone })
    }
}

/// True where hints say that this node should use an endpoint.
fn is_meant(node: &ClusterNode, e: &ClusterEndpoint) -> bool {
    node.zone.as_ref().is_some_and(|z| e.for_zones.contains(z)) || e.for_nodes.contains(&node.name)
}

/// Why an endpoint of a Service is not among its backends here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum UnusedBecause {
    /// Its pod is not ready.
    NotReady,
    /// Its pod ends, and others are ready.
    Terminating,
    /// Its hints are for other zones (`hints.forZones`).
    OtherZone,
    /// Its hints are for other nodes (`hints.forNodes`).
    OtherNode,
    /// A local traffic policy leaves only this node's.
    LocalPolicy,
    /// A policy or hints may keep it away, and this node was not found in the API.
    NodeUnknown,
    /// Nothing that is known: kube-proxy has not written it.
    NotWritten,
}

impl UnusedBecause {
    /// As in JSON: `other_zone`.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            UnusedBecause::NotReady => "not ready",
            UnusedBecause::Terminating => "terminating",
            UnusedBecause::OtherZone => "meant for another zone",
            UnusedBecause::OtherNode => "meant for another node",
            UnusedBecause::LocalPolicy => "on another node: local policy",
            UnusedBecause::NodeUnknown => "policy or hints: this node is not in the API",
            UnusedBecause::NotWritten => "not written by kube-proxy",
        }
    }
}

/// An endpoint that the API reports and that is not among a Service's backends here.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UnusedEndpoint<'a> {
    /// It.
    pub endpoint: &'a ClusterEndpoint,
    /// Why.
    pub why: UnusedBecause,
}

/// The endpoints of a Service that are not used here, by reason; `None` where the API reports nothing of this Service, or its backends
/// here are not known.
pub fn unused_endpoints<'a>(cluster: &'a Cluster, service: &Service) -> Option<Vec<UnusedEndpoint<'a>>> {
    let name = service.name.as_ref().filter(|_| service.unknown_backends.is_none())?;
    let of = cluster_service(cluster, name)?;
    let port = of.ports.iter().find(|p| p.name == name.port && p.protocol == service.protocol.name())?;
    let all = endpoints_of(of, port, service.family);
    let used: HashSet<(IpAddr, u16)> = service.backends.iter().map(|b| (b.address, b.port)).collect();
    let keeps = Keeps::new(of, port, &all, cluster.node.as_ref());
    let why = |e: &ClusterEndpoint| match (e.ready, e.terminating) {
        (true, _) => keeps.away(e).unwrap_or(UnusedBecause::NotWritten),
        (_, true) => UnusedBecause::Terminating,
        _ => UnusedBecause::NotReady,
    };
    let unused = all.into_iter().filter(|e| e.address.is_some_and(|a| !used.contains(&(a, e.port))));
    let mut unused: Vec<UnusedEndpoint<'_>> =
        unused.map(|endpoint| UnusedEndpoint { endpoint, why: why(endpoint) }).collect();
    unused.sort_by_key(|u| (u.why, u.endpoint.address, u.endpoint.port));
    Some(unused)
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
        // Those that are not there, and why.
        let cluster = |s: &ClusterService| Cluster { services: vec![Arc::new(s.clone())], ..cluster() };
        let mut here = Service::new(Protocol::Tcp, IpFamily::V4, Engine::Nftables);
        here.name = ServiceName::parse("shop/frontend:http");
        here.backends = vec![crate::proxy::Backend::new(
            "10.244.0.1".parse().unwrap(),
            8080,
            crate::proxy::CounterSource::Ipvs,
        )];
        let unused = |c: &Cluster| -> Vec<(String, UnusedBecause)> {
            let all = unused_endpoints(c, &here).unwrap();
            all.iter().map(|u| (u.endpoint.address.unwrap().to_string(), u.why)).collect()
        };
        let both = |why| {
            vec![("10.244.1.2".to_string(), UnusedBecause::Terminating), ("10.244.1.1".to_string(), why)]
        };
        assert_eq!(unused(&cluster(&s)), both(UnusedBecause::OtherZone));
        assert_eq!(unused(&cluster(&local)), both(UnusedBecause::LocalPolicy));
        assert_eq!(unused(&cluster(&plain)), both(UnusedBecause::NotWritten));
        let lost = Cluster { node: None, ..cluster(&s) };
        assert_eq!(unused(&lost), both(UnusedBecause::NodeUnknown));
        let mut down = plain.clone();
        down.endpoints[1].ready = false;
        assert_eq!(unused(&cluster(&down))[0], ("10.244.1.1".to_string(), UnusedBecause::NotReady));
        assert_eq!(unused_endpoints(&Cluster::default(), &here), None);
        // None ready: nothing must be there.
        let mut none = plain;
        none.endpoints.iter_mut().for_each(|e| e.ready = false);
        assert_eq!(of(&none, node).must, Some(BTreeSet::new()));
    }
}
