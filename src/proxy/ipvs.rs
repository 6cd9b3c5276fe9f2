//! kube-proxy's ipvs mode: virtual servers -> Services and back.
//!
//! IPVS carries no names and no kinds: each virtual server is a Service of its own here, known by its address.

use super::{
    Action, Backend, BackendCounters, CounterSource, Frontend, FrontendKind, Mode, Protocol, Service,
};
use crate::ruleset::IpFamily;
use crate::snapshot::facts::{
    Forwarding, InterfaceAddress, Ipvs, IpvsStats, RealServer, SVC_PERSISTENT, VirtualAddress, VirtualServer,
};
use std::collections::HashMap;
use std::net::IpAddr;

/// The dummy interface that holds the Services' addresses (`defaultDummyDevice`, `pkg/proxy/ipvs/proxier.go`).
pub const DUMMY: &str = "kube-ipvs0";

/// Reads the Services of IPVS. Virtual servers by firewall mark are none of kube-proxy's and are passed over.
///
/// `addresses` tell the node ports: their virtual servers stand on an address of an interface other than
/// [`DUMMY`].
pub fn read(ipvs: &Ipvs, addresses: &[InterfaceAddress]) -> Vec<Service> {
    let mut on_dummy: HashMap<IpAddr, bool> = HashMap::new();
    for a in addresses {
        *on_dummy.entry(a.address).or_insert(false) |= a.interface == DUMMY;
    }
    ipvs.servers
        .iter()
        .filter_map(|server| {
            let VirtualAddress::Socket { protocol, address, port } = server.address else { return None };
            let protocol = Protocol::from_number(protocol)?;
            let kind = (on_dummy.get(&address) == Some(&false)).then_some(FrontendKind::NodePort);
            Some(service(server, protocol, address, port, kind))
        })
        .collect()
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
        name: None,
        named_by: None,
        protocol,
        family: server.family,
        mode: Mode::Ipvs,
        variant: None,
        frontends: vec![Frontend {
            kind,
            address: Some(address),
            port,
            // ip_vs_leave() answers with an ICMP error where there is no real server.
            action: if server.real_servers.is_empty() { Action::Reject } else { Action::Balance },
            traffic_policy: None,
            source_ranges: None,
            rule: None,
            hits: Some(server.stats.connections),
            refusal: None,
            refused: None,
            flows: None,
        }],
        backends: server
            .real_servers
            .iter()
            .zip(expected)
            .map(|(real, share)| backend(real, share))
            .collect(),
        scheduler: Some(server.scheduler.clone()),
        session_affinity_s: (server.flags & SVC_PERSISTENT != 0).then_some(server.timeout),
        health_check_node_port: None,
        chain_hash: None,
    }
}

fn backend(real: &RealServer, share: Option<f64>) -> Backend {
    let s = &real.stats;
    Backend {
        address: real.address,
        port: real.port,
        share,
        local_share: None,
        weight: Some(real.weight),
        local: None,
        traffic_policies: Vec::new(), // which policy a virtual server follows is not in IPVS
        rule: None,
        counters: BackendCounters {
            source: CounterSource::Ipvs,
            flows: Some(s.connections),
            packets: Some(s.in_packets + s.out_packets),
            bytes: Some(s.in_bytes + s.out_bytes),
            active: Some(u64::from(real.active)),
            inactive: Some(u64::from(real.inactive)),
        },
        conntrack_flows: None,
    }
}

/// Expected parts of new connections. Schedulers that go by load have none that is fixed; with equal servers
/// they even out, and weights are what the operator asked for (`net/netfilter/ipvs/ip_vs_*.c`).
fn shares(server: &VirtualServer) -> Vec<Option<f64>> {
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
                        && f.traffic_policy.is_none_or(|p| b.traffic_policies.contains(&p))
                })
                .map(real_server)
                .collect();
            let addresses = match f.address {
                Some(a) => vec![a],
                None => {
                    node_addresses.iter().copied().filter(|a| IpFamily::of(*a) == service.family).collect()
                }
            };
            for address in addresses {
                servers.push(VirtualServer {
                    family: service.family,
                    address: VirtualAddress::Socket {
                        protocol: u16::from(service.protocol.number()),
                        address,
                        port: f.port,
                    },
                    scheduler: service.scheduler.clone().unwrap_or_else(|| "rr".into()),
                    flags: if service.session_affinity_s.is_some() { SVC_PERSISTENT } else { 0 },
                    timeout: service.session_affinity_s.unwrap_or(0),
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
    RealServer {
        address: b.address,
        port: b.port,
        forwarding: Forwarding::Masquerade,
        weight: b.weight.unwrap_or(1),
        upper_threshold: 0,
        lower_threshold: 0,
        active: 0,
        inactive: 0,
        persistent: 0,
        stats: IpvsStats::default(),
    }
}
