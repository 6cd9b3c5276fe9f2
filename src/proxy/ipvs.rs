//! kube-proxy's ipvs mode: virtual servers -> Services and back.
//!
//! IPVS carries no names: each virtual server is a Service of its own, known by its address, until the API names it: those of one
//! Service port are one Service then, with a frontend for each. What kind of
//! frontend it is, its policy and its source ranges are in kube-proxy's ipsets (`pkg/proxy/ipvs/ipset.go`).

mod frame;

pub use frame::{FrameOptions, frame};

use super::{
    Action, Affinity, Backend, CounterSource, Engine, Frontend, FrontendKind, Protocol, Service, ServiceName,
    TrafficPolicies, TrafficPolicy,
};
use crate::ruleset::{IpFamily, IpNet};
use crate::snapshot::facts::{
    InterfaceAddress, Ipset, Ipvs, IpvsStats, Member, RealServer, SVC_PERSISTENT, VirtualAddress,
    VirtualServer,
};
use std::collections::HashMap;
use std::net::IpAddr;

/// The dummy interface that holds the Services' addresses (`defaultDummyDevice`, `pkg/proxy/ipvs/proxier.go`).
pub const DUMMY: &str = "kube-ipvs0";

/// The same of kube-router (`KubeDummyIf`, `pkg/controllers/proxy/network_services_controller.go`).
pub const KUBE_ROUTER_DUMMY: &str = "kube-dummy-if";

/// True for an interface that holds Services' addresses.
pub fn is_dummy(interface: &str) -> bool {
    interface == DUMMY || interface == KUBE_ROUTER_DUMMY
}

/// Beginning of the names of kube-proxy's ipsets: their members say what a virtual server is.
pub const IPSETS: &str = "KUBE-";

/// kube-proxy's ipsets of one family. IPv6 ones have `6-` in their names, which ipset cuts at 31 bytes.
struct Sets<'a> {
    sets: Vec<(&'a str, &'a [Member])>,
}

impl<'a> Sets<'a> {
    fn new(all: &'a [Ipset], family: IpFamily) -> Sets<'a> {
        let sets = all
            .iter()
            .filter_map(|s| {
                let rest = s.name.strip_prefix(IPSETS)?;
                let name = match (rest.strip_prefix("6-"), family) {
                    (Some(name), IpFamily::V6) => name,
                    (None, IpFamily::V4) => rest,
                    _ => return None,
                };
                Some((name, s.members.as_deref()?))
            })
            .collect();
        Sets { sets }
    }

    /// Members of a set. Names of IPv6 sets may be cut off.
    fn members(&self, name: &str) -> &'a [Member] {
        let cut = &name[..name.len().min(31 - IPSETS.len() - 2)];
        self.sets.iter().find(|s| s.0 == name || s.0 == cut).map_or(&[], |s| s.1)
    }
}

/// A set of networks cannot hold all addresses: kube-proxy puts its two halves in (`writeIptablesRules`,
/// `pkg/proxy/ipvs/proxier.go`: "0.0.0.0/1" and "128.0.0.0/1").
fn whole(ranges: &mut Vec<IpNet>) {
    let halves: Vec<IpNet> = ranges.iter().copied().filter(|r| r.prefix == 1).collect();
    if let [low, high] = halves[..]
        && low.addr != high.addr
    {
        ranges.retain(|r| r.prefix != 1);
        ranges.push(IpNet { addr: low.addr, prefix: 0 });
    }
}

/// Reads the Services of IPVS. Virtual servers by firewall mark are none of kube-proxy's and are left out.
///
/// `sets` say kinds, policies and source ranges. Without them `addresses` still say the node ports: their
/// virtual servers are on an address of an interface that is no [`is_dummy`]. What source ranges refuse is counted
/// by one rule for all load balancers together, so by none of them.
///
/// Each Service comes with the place of its virtual server.
pub fn read(ipvs: &Ipvs, addresses: &[InterfaceAddress], ipsets: &[Ipset]) -> Vec<(u32, Service)> {
    let mut on_dummy: HashMap<IpAddr, bool> = HashMap::new();
    for a in addresses {
        *on_dummy.entry(a.address).or_insert(false) |= is_dummy(&a.interface);
    }
    let v4 = Index::new(&Sets::new(ipsets, IpFamily::V4));
    let v6 = Index::new(&Sets::new(ipsets, IpFamily::V6));
    (0..)
        .zip(&ipvs.servers)
        .filter_map(|(place, server)| {
            let (protocol, address, port) = match server.address {
                VirtualAddress::Socket { protocol, address, port } => (protocol, address, port),
                VirtualAddress::Mark(mark) => return Some((place, marked(server, mark))),
            };
            let protocol = Protocol::from_number(protocol)?;
            let index = if server.family == IpFamily::V4 { &v4 } else { &v6 };
            let known = index.kinds.get(&(address, protocol, port)).or_else(|| {
                index.ports.get(&(protocol, port)).filter(|_| on_dummy.get(&address) != Some(&true))
            });
            let kind = match known {
                Some(k) => Some(k.0),
                None => (on_dummy.get(&address) == Some(&false)).then_some(FrontendKind::NodePort),
            };
            let mut service = service(server, protocol, address, port, kind);
            let f = &mut service.frontends[0];
            f.traffic_policy = known.and_then(|k| k.1);
            f.source_ranges = index.ranges.get(&(address, protocol, port)).cloned();
            if let Some(policy) = f.traffic_policy {
                for b in &mut service.backends {
                    b.traffic_policies = policy.into();
                }
            }
            Some((place, service))
        })
        .map(|(place, mut service)| {
            if ipvs.unweighted {
                // Statistics alone: neither weights nor the scheduler are said.
                service.backends.iter_mut().for_each(|b| (b.weight, b.share) = (None, None));
            }
            (place, service)
        })
        .collect()
}

/// True where virtual servers and their real servers are the same, whatever they counted.
pub(super) fn same_structure(a: &Ipvs, b: &Ipvs) -> bool {
    let real = |(a, b): (&RealServer, &RealServer)| {
        (a.address, a.port, a.weight, a.forwarding) == (b.address, b.port, b.weight, b.forwarding)
    };
    let server = |(a, b): (&VirtualServer, &VirtualServer)| {
        a.address == b.address
            && (a.family, a.flags, a.timeout) == (b.family, b.flags, b.timeout)
            && a.scheduler == b.scheduler
            && a.real_servers.len() == b.real_servers.len()
            && a.real_servers.iter().zip(&b.real_servers).all(real)
    };
    a.servers.len() == b.servers.len() && a.servers.iter().zip(&b.servers).all(server)
}

type KindAndPolicy = (FrontendKind, Option<TrafficPolicy>);

/// What the sets say, by virtual server: a node may have 10,000.
#[derive(Default)]
struct Index {
    kinds: HashMap<(IpAddr, Protocol, u16), KindAndPolicy>,
    ports: HashMap<(Protocol, u16), KindAndPolicy>,
    ranges: HashMap<(IpAddr, Protocol, u16), Vec<IpNet>>,
}

/// `address,protocol:port`
fn key(m: &Member) -> Option<(IpAddr, Protocol, u16)> {
    Some((m.address?, Protocol::from_number(u16::from(m.protocol?))?, m.port?))
}

impl Index {
    fn new(sets: &Sets<'_>) -> Index {
        let mut index = Index::default();
        // The policy of cluster IPs is in no set. A LOCAL set follows the one that it is a part of.
        for (name, kind, policy) in [
            ("CLUSTER-IP", FrontendKind::ClusterIp, None),
            ("LOAD-BALANCER", FrontendKind::LoadBalancerIp, Some(TrafficPolicy::Cluster)),
            ("LOAD-BALANCER-LOCAL", FrontendKind::LoadBalancerIp, Some(TrafficPolicy::Local)),
            ("EXTERNAL-IP", FrontendKind::ExternalIp, Some(TrafficPolicy::Cluster)),
            ("EXTERNAL-IP-LOCAL", FrontendKind::ExternalIp, Some(TrafficPolicy::Local)),
            ("NODE-PORT-SCTP-HASH", FrontendKind::NodePort, Some(TrafficPolicy::Cluster)),
            ("NODE-PORT-LOCAL-SCTP-HASH", FrontendKind::NodePort, Some(TrafficPolicy::Local)),
        ] {
            index.kinds.extend(sets.members(name).iter().filter_map(key).map(|k| (k, (kind, policy))));
        }
        // TCP and UDP have sets of bare ports.
        for (name, protocol, policy) in [
            ("NODE-PORT-TCP", Protocol::Tcp, TrafficPolicy::Cluster),
            ("NODE-PORT-LOCAL-TCP", Protocol::Tcp, TrafficPolicy::Local),
            ("NODE-PORT-UDP", Protocol::Udp, TrafficPolicy::Cluster),
            ("NODE-PORT-LOCAL-UDP", Protocol::Udp, TrafficPolicy::Local),
        ] {
            let ports = sets.members(name).iter().filter_map(|m| m.port);
            index.ports.extend(ports.map(|p| ((protocol, p), (FrontendKind::NodePort, Some(policy)))));
        }
        for m in sets.members("LOAD-BALANCER-FW") {
            if let Some(k) = key(m) {
                index.ranges.entry(k).or_default();
            }
        }
        // SOURCE-IP holds the load balancer's own address, where the node is among the ranges: no range.
        for m in sets.members("LOAD-BALANCER-SOURCE-CIDR") {
            if let (Some(k), Some(addr)) = (key(m), m.address2)
                && let Some(ranges) = index.ranges.get_mut(&k)
            {
                ranges.push(IpNet { addr, prefix: m.prefix2.unwrap_or(IpFamily::of(addr).bits()) });
            }
        }
        for ranges in index.ranges.values_mut() {
            ranges.sort();
            whole(ranges);
        }
        index
    }
}

/// The Service port that a virtual server was found to be of.
type PortKey = (ServiceName, Protocol, IpFamily);

/// Virtual servers that are of one Service port, as one Service with a frontend for each; those that nobody names stay single. Each
/// with the places of its virtual servers, in the order of its frontends.
pub(super) fn joined(servers: impl Iterator<Item = (Service, u32)>) -> Vec<(Service, Vec<u32>)> {
    let mut of_port: HashMap<PortKey, usize> = HashMap::new();
    let mut groups: Vec<Vec<(Service, u32)>> = Vec::new();
    for (service, place) in servers {
        let key = service.name.clone().map(|n| (n, service.protocol, service.family));
        let at = match key {
            Some(key) => *of_port.entry(key).or_insert(groups.len()),
            None => groups.len(),
        };
        match groups.get_mut(at) {
            Some(group) => group.push((service, place)),
            None => groups.push(vec![(service, place)]),
        }
    }
    groups.into_iter().filter_map(join).collect()
}

/// Of a Service port, its virtual servers as one Service: cluster IPs first.
fn join(mut group: Vec<(Service, u32)>) -> Option<(Service, Vec<u32>)> {
    let local = |s: &Service| s.frontends.iter().any(|f| f.traffic_policy == Some(TrafficPolicy::Local));
    group.sort_by_key(|(s, _)| s.frontends.first().map(|f| (f.kind.is_none(), f.kind, f.address, f.port)));
    let places = group.iter().map(|g| g.1).collect();
    if group.len() == 1 {
        return group.pop().map(|g| (g.0, places));
    }
    let any_local = group.iter().any(|g| local(&g.0));
    let mut rest = group.into_iter().map(|g| g.0);
    let mut one = rest.next()?;
    let is_local = local(&one);
    for b in &mut one.backends {
        settle(b, is_local, any_local);
    }
    for s in rest {
        let is_local = local(&s);
        for mut b in s.backends {
            settle(&mut b, is_local, any_local);
            match one.backends.iter_mut().find(|o| (o.address, o.port) == (b.address, b.port)) {
                Some(known) => {
                    known.share = known.share.or(b.share);
                    known.local_share = known.local_share.or(b.local_share);
                    b.traffic_policies.iter().for_each(|p| known.traffic_policies.add(p));
                }
                None => one.backends.push(b),
            }
        }
        one.frontends.extend(s.frontends);
        one.session_affinity = one.session_affinity.or(s.session_affinity);
    }
    Some((one, places))
}

/// Puts the share of a backend under the policy of its virtual server; where others of the Service are local, those of which
/// IPVS says nothing go by the cluster policy.
fn settle(b: &mut Backend, is_local: bool, any_local: bool) {
    if is_local {
        b.local_share = b.share.take();
    } else if any_local && b.traffic_policies.is_empty() {
        b.traffic_policies = TrafficPolicy::Cluster.into();
    }
}

/// The Service of a firewall mark: kube-proxy makes none, others do.
fn marked(server: &VirtualServer, mark: u32) -> Service {
    let nowhere = std::net::Ipv4Addr::UNSPECIFIED.into();
    let kind = Some(FrontendKind::FirewallMark(mark));
    let mut service = service(server, Protocol::Any, nowhere, 0, kind);
    service.frontends[0].address = None;
    service
}

fn service(
    server: &VirtualServer,
    protocol: Protocol,
    address: IpAddr,
    port: u16,
    kind: Option<FrontendKind>,
) -> Service {
    let expected = shares(server);
    Service {
        frontends: vec![Frontend {
            kind,
            address: Some(address),
            port,
            // ip_vs_leave() answers with an ICMP error where there is no real server.
            action: if server.real_servers.is_empty() { Action::Reject } else { Action::Balance },
            traffic_policy: None,
            source_ranges: None,
            rule: None,
            refusal: None,
        }],
        backends: server
            .real_servers
            .iter()
            .zip(expected)
            .map(|(real, share)| backend(real, share))
            .collect(),
        scheduler: Some(server.scheduler.clone()).filter(|s| !s.is_empty()),
        session_affinity: (server.flags & SVC_PERSISTENT != 0).then_some(Affinity::For(server.timeout)),
        ..Service::new(protocol, server.family, Engine::Ipvs)
    }
}

fn backend(real: &RealServer, share: Option<f64>) -> Backend {
    Backend {
        address: real.address,
        port: real.port,
        share,
        local_share: None,
        weight: Some(real.weight),
        local: None,
        traffic_policies: TrafficPolicies::default(), // which policy a virtual server follows is not in IPVS
        rule: None,
        source: CounterSource::Ipvs,
    }
}

/// Expected parts of new connections. Schedulers that go by load have none that is fixed; with equal servers
/// they even out, and weights are what the operator asked for (`net/netfilter/ipvs/ip_vs_*.c`).
pub(crate) fn shares(server: &VirtualServer) -> Vec<Option<f64>> {
    let by_weight = match server.scheduler.as_str() {
        "rr" | "lc" | "dh" => false,
        "wrr" | "wlc" | "sed" | "nq" | "sh" | "mh" | "lblc" | "lblcr" => true,
        _ => return vec![None; server.real_servers.len()],
    };
    let part = |r: &RealServer| match (r.weight, by_weight) {
        (0, _) => 0.0,
        (w, true) => f64::from(w),
        (_, false) => 1.0,
    };
    let sum: f64 = server.real_servers.iter().map(part).sum();
    server.real_servers.iter().map(|r| if sum > 0.0 { Some(part(r) / sum) } else { Some(0.0) }).collect()
}

/// Writes virtual servers: one for each frontend, node ports on each of `node_addresses`.
pub fn write(services: &[Service], node_addresses: &[IpAddr]) -> Vec<VirtualServer> {
    let mut servers = Vec::new();
    for service in services {
        for f in &service.frontends {
            let reals: Vec<RealServer> = service
                .backends
                .iter()
                .filter(|b| {
                    f.action == Action::Balance
                        && f.traffic_policy.is_none_or(|p| b.traffic_policies.contains(p))
                })
                .map(real_server)
                .collect();
            let protocol = u16::from(service.protocol.number());
            let at = |address| VirtualAddress::Socket { protocol, address, port: f.port };
            let of_family = |a: &IpAddr| IpFamily::of(*a) == service.family;
            let addresses: Vec<VirtualAddress> = match (f.kind, f.address) {
                (Some(FrontendKind::FirewallMark(mark)), _) => vec![VirtualAddress::Mark(mark)],
                (_, Some(a)) => vec![at(a)],
                (_, None) => node_addresses.iter().copied().filter(of_family).map(at).collect(),
            };
            for address in addresses {
                servers.push(VirtualServer {
                    family: service.family,
                    address,
                    scheduler: service.scheduler.clone().unwrap_or_else(|| "rr".into()),
                    flags: if service.session_affinity.is_some() { SVC_PERSISTENT } else { 0 },
                    timeout: service.session_affinity.map_or(0, Affinity::seconds_or_default),
                    netmask: match service.family {
                        IpFamily::V4 => u32::MAX,
                        IpFamily::V6 => 128,
                    },
                    persistence_engine: None,
                    stats: IpvsStats::default(),
                    real_servers: reals.clone(),
                });
            }
        }
    }
    servers
}

fn real_server(b: &Backend) -> RealServer {
    RealServer::new(b.address, b.port, b.weight.unwrap_or(1))
}
