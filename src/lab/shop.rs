//! A believable shop: some 30 Services with every kind of frontend, and the traffic that they get.

use super::traffic::{Origin, Plan, Stream};
use crate::proxy::{
    Action, Backend, CounterSource, Engine, Frontend, FrontendKind, NamedBy, Protocol, Service, ServiceName,
    TrafficPolicies, TrafficPolicy, service_hash,
};
use crate::ruleset::{IpFamily, IpNet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One line of the shop.
struct Line {
    name: &'static str,
    protocol: Protocol,
    port: u16,
    target: u16,
    backends: u8,
    extra: Extra,
    /// New flows a second that the demo sends.
    flows: f32,
}

#[derive(Clone, Copy, PartialEq)]
enum Extra {
    None,
    NodePort(u16),
    NodePortLocal(u16),
    LoadBalancer { ip: u8, node_port: u16, local: bool, ranges: bool },
    External(u8),
    Affinity,
    InternalLocal,
    Dual,
}

use Extra::{Affinity, Dual, External, InternalLocal, LoadBalancer, NodePort, NodePortLocal, None as Plain};
use Protocol::{Sctp, Tcp, Udp};

#[allow(clippy::too_many_arguments)] // a table's row
const fn line(
    name: &'static str,
    protocol: Protocol,
    port: u16,
    target: u16,
    backends: u8,
    extra: Extra,
    flows: f32,
) -> Line {
    Line { name, protocol, port, target, backends, extra, flows }
}

const SHOP: &[Line] = &[
    line("default/kubernetes:https", Tcp, 443, 6443, 1, Plain, 3.0),
    line("kube-system/kube-dns:dns", Udp, 53, 53, 2, Dual, 40.0),
    line("kube-system/kube-dns:dns-tcp", Tcp, 53, 53, 2, Dual, 1.0),
    line("kube-system/kube-dns:metrics", Tcp, 9153, 9153, 2, Dual, 0.5),
    line("kube-system/metrics-server:https", Tcp, 443, 10250, 1, Plain, 0.5),
    line(
        "ingress-nginx/controller:http",
        Tcp,
        80,
        8000,
        3,
        LoadBalancer { ip: 30, node_port: 31080, local: true, ranges: false },
        12.0,
    ),
    line(
        "ingress-nginx/controller:https",
        Tcp,
        443,
        8443,
        3,
        LoadBalancer { ip: 30, node_port: 31443, local: true, ranges: false },
        8.0,
    ),
    line("shop/frontend:http", Tcp, 80, 8080, 6, NodePort(30080), 14.0),
    line("shop/cart", Tcp, 8080, 8080, 4, Plain, 9.0),
    line("shop/catalog:http", Tcp, 80, 8080, 8, External(77), 11.0),
    line("shop/checkout:http", Tcp, 8080, 8080, 3, Plain, 4.0),
    line("shop/payments:http", Tcp, 8080, 8080, 0, Plain, 1.0),
    line("shop/invoices:http", Tcp, 80, 8080, 0, NodePort(30091), 0.4),
    line("shop/search:grpc", Tcp, 9200, 9200, 5, Plain, 6.0),
    line("shop/recommend:http", Tcp, 80, 8080, 4, Plain, 5.0),
    line("shop/sessions:redis", Tcp, 6379, 6379, 3, Affinity, 3.0),
    line("shop/images:http", Tcp, 80, 8080, 4, Plain, 7.0),
    line("shop/mail:smtp", Tcp, 25, 2525, 2, Plain, 0.5),
    line("shop/orders-db:pg", Tcp, 5432, 5432, 2, Plain, 2.0),
    line(
        "shop/partners:https",
        Tcp,
        443,
        8443,
        2,
        LoadBalancer { ip: 20, node_port: 30443, local: false, ranges: true },
        2.0,
    ),
    line("media/rtp:rtp", Udp, 5004, 5004, 3, NodePort(30500), 9.0),
    line("media/rtp:rtcp", Udp, 5005, 5005, 3, NodePort(30501), 2.0),
    line("media/transcode:grpc", Tcp, 9090, 9090, 3, Plain, 1.0),
    line("telecom/diameter:tcp", Tcp, 3868, 3868, 2, Plain, 1.0),
    line("telecom/sctp-gw:ngap", Sctp, 38412, 38412, 2, Plain, 0.0),
    line("monitoring/prometheus:web", Tcp, 9090, 9090, 2, NodePortLocal(30909), 1.0),
    line("monitoring/node-exporter:metrics", Tcp, 9100, 9100, 3, InternalLocal, 1.0),
    line("monitoring/statsd:udp", Udp, 8125, 8125, 2, Plain, 15.0),
    line("monitoring/agent-elsewhere:otlp", Tcp, 4317, 4317, 0, InternalLocal, 0.4),
    line("dual/web:http", Tcp, 80, 8080, 3, Dual, 3.0),
    line("jobs/queue:amqp", Tcp, 5672, 5672, 3, Affinity, 1.0),
];

/// The shop's Services, then as many more as it takes to have `services` (Service ports, counted in IPv4),
/// these with `backends` backends each. `None` gives the shop alone.
pub fn services(services: Option<usize>, backends: usize) -> Vec<Service> {
    let mut all = Vec::new();
    let count = services.unwrap_or(SHOP.len());
    let mut pods = Pods::default();
    for (i, l) in SHOP.iter().enumerate().take(count) {
        all.extend(shop_services(i, l, &mut pods));
    }
    for i in SHOP.len()..count {
        all.push(filler(i, backends, &mut pods));
    }
    all
}

/// Gives pods their addresses: the first of a Service on this node, the next on others, and so on.
#[derive(Default)]
struct Pods {
    next: [u32; 3],
}

impl Pods {
    fn address(&mut self, node: usize) -> Ipv4Addr {
        self.next[node] += 1;
        let n = self.next[node] + 9; // .1 is the bridge; the first few stay free for clients
        // Three nodes share the /16: every third of its /24 networks.
        let (network, host) = (n / 240 * 3 + node as u32, n % 240 + 10);
        Ipv4Addr::new(10, 244, (network % 126) as u8, host as u8)
    }
}

fn v6(a: Ipv4Addr) -> Ipv6Addr {
    let [_, _, c, d] = a.octets();
    Ipv6Addr::new(0xfd00, 0x10, 0x244, u16::from(c), 0, 0, 0, u16::from(d))
}

/// Where the Service of a line begins: all of its ports have one cluster IP.
fn first_port(i: usize) -> usize {
    let service = |l: &Line| l.name.split(':').next();
    SHOP.get(i).and_then(|l| SHOP.iter().position(|o| service(o) == service(l))).unwrap_or(i)
}

fn cluster_ip(i: usize) -> Ipv4Addr {
    match SHOP.get(i).map_or("", |l| l.name) {
        // Where kubeadm puts them.
        "default/kubernetes:https" => Ipv4Addr::new(10, 96, 0, 1),
        n if n.starts_with("kube-system/kube-dns") => Ipv4Addr::new(10, 96, 0, 10),
        _ => {
            let i = first_port(i);
            Ipv4Addr::new(10, 96, (i / 250) as u8 + 2, (i % 250) as u8 + 1)
        }
    }
}

fn frontend(
    kind: FrontendKind,
    address: Option<IpAddr>,
    port: u16,
    action: Action,
    policy: TrafficPolicy,
) -> Frontend {
    Frontend {
        traffic_policy: (action != Action::Reject).then_some(policy),
        ..Frontend::new(Some(kind), address, port, action)
    }
}

/// A Service port from its endpoints (address, on this node) and its frontends, whose actions follow.
pub fn build(
    name: ServiceName,
    protocol: Protocol,
    family: IpFamily,
    target: u16,
    endpoints: &[(IpAddr, bool)],
    frontends: Vec<(FrontendKind, Option<IpAddr>, u16, TrafficPolicy)>,
) -> Service {
    use TrafficPolicy::{Cluster, Local};
    let here = endpoints.iter().filter(|e| e.1).count();
    let any_local = frontends.iter().any(|f| f.3 == Local);
    // External traffic under the local policy still takes all endpoints for pods and for the node itself.
    let uses_cluster = frontends.iter().any(|f| f.3 == Cluster || f.0 != FrontendKind::ClusterIp);
    let mut backends = Vec::new();
    for (address, local) in endpoints {
        let mut policies = TrafficPolicies::default();
        if uses_cluster {
            policies.add(Cluster);
        }
        if any_local && *local {
            policies.add(Local);
        }
        if policies.is_empty() {
            continue;
        }
        backends.push(Backend {
            share: uses_cluster.then_some(1.0 / endpoints.len() as f64),
            local_share: (any_local && *local).then_some(1.0 / here as f64),
            local: any_local.then_some(*local),
            traffic_policies: policies,
            ..Backend::new(*address, target, CounterSource::NatRule)
        });
    }
    let frontends = frontends
        .into_iter()
        .map(|(kind, address, port, policy)| {
            let action = match (endpoints.len(), here, policy) {
                (0, ..) => Action::Reject,
                (_, 0, Local) => Action::Drop,
                _ => Action::Balance,
            };
            frontend(kind, address, port, action, policy)
        })
        .collect();
    Service {
        proxy_port: None,
        stale: false,
        chain_hash: Some(service_hash(&name, protocol)),
        name: Some(name),
        named_by: Some(NamedBy::Comment),
        protocol,
        family,
        engine: Engine::IptablesLegacy,
        frontends,
        backends,
        scheduler: None,
        session_affinity: None,
        health_check_node_port: None,
        unknown_backends: None,
    }
}

fn shop_services(i: usize, l: &Line, pods: &mut Pods) -> Vec<Service> {
    use FrontendKind::{ClusterIp, ExternalIp, LoadBalancerIp, NodePort as NodePortKind};
    use TrafficPolicy::{Cluster, Local};
    let Some(name) = ServiceName::parse(l.name) else { return Vec::new() };
    let mut endpoints: Vec<(Ipv4Addr, bool)> =
        (0..usize::from(l.backends)).map(|n| (pods.address(n % 3), n % 3 == 0)).collect();
    let internal = if l.extra == InternalLocal { Local } else { Cluster };
    if l.name.contains("elsewhere") {
        // Its endpoints are on other nodes only.
        endpoints = vec![(pods.address(1), false), (pods.address(2), false)];
    }
    let address = cluster_ip(i);
    let mut frontends = vec![(ClusterIp, Some(IpAddr::V4(address)), l.port, internal)];
    let lb = |n: u8| Some(IpAddr::V4(Ipv4Addr::new(198, 51, 100, n)));
    match l.extra {
        NodePort(p) => frontends.push((NodePortKind, None, p, Cluster)),
        NodePortLocal(p) => frontends.push((NodePortKind, None, p, Local)),
        External(n) => frontends.push((ExternalIp, lb(n), l.port, Cluster)),
        LoadBalancer { ip, node_port, local, .. } => {
            let policy = if local { Local } else { Cluster };
            frontends.push((LoadBalancerIp, lb(ip), l.port, policy));
            frontends.push((NodePortKind, None, node_port, policy));
        }
        _ => {}
    }
    let v4: Vec<(IpAddr, bool)> = endpoints.iter().map(|e| (IpAddr::V4(e.0), e.1)).collect();
    let mut service = build(name.clone(), l.protocol, IpFamily::V4, l.target, &v4, frontends);
    if l.extra == Affinity {
        service.session_affinity = Some(crate::proxy::Affinity::For(10_800));
    }
    if let LoadBalancer { local, ranges, .. } = l.extra {
        service.health_check_node_port = local.then_some(32100);
        if ranges {
            for f in service.frontends.iter_mut().filter(|f| f.kind == Some(LoadBalancerIp)) {
                f.source_ranges =
                    Some(vec![IpNet { addr: Ipv4Addr::new(203, 0, 113, 0).into(), prefix: 24 }]);
            }
        }
    }
    let mut all = vec![service];
    if l.extra == Dual {
        let v6_endpoints: Vec<(IpAddr, bool)> =
            endpoints.iter().map(|e| (IpAddr::V6(v6(e.0)), e.1)).collect();
        let address = Ipv6Addr::new(0xfd00, 0x10, 0x96, 0, 0, 0, 0, first_port(i) as u16 + 1);
        let frontends = vec![(ClusterIp, Some(IpAddr::V6(address)), l.port, Cluster)];
        all.push(build(name, l.protocol, IpFamily::V6, l.target, &v6_endpoints, frontends));
    }
    all
}

fn filler(i: usize, backends: usize, pods: &mut Pods) -> Service {
    let name = ServiceName {
        namespace: format!("team-{:02}", i % 40),
        name: format!("service-{i:05}"),
        port: "http".into(),
    };
    let endpoints: Vec<(IpAddr, bool)> =
        (0..backends).map(|n| (IpAddr::V4(pods.address(n % 3)), n % 3 == 0)).collect();
    let frontends =
        vec![(FrontendKind::ClusterIp, Some(IpAddr::V4(cluster_ip(i))), 80, TrafficPolicy::Cluster)];
    build(name, Tcp, IpFamily::V4, 8080, &endpoints, frontends)
}

/// The traffic of the shop, `scale` times as much as usual. Endless: it stops with the lab.
pub fn plan(services: &[Service], scale: f32) -> Plan {
    let mut streams = Vec::new();
    for s in services {
        let Some(name) = &s.name else { continue };
        let label = name.to_string();
        let line = SHOP.iter().find(|l| l.name == label && l.protocol == s.protocol);
        let flows = line.map_or(0.05, |l| l.flows) * scale;
        if s.protocol == Sctp || (s.protocol == Udp && s.family == IpFamily::V6) {
            continue; // no traffic of these in the demo
        }
        let share = flows / s.frontends.len() as f32;
        for f in &s.frontends {
            let (origins, address): (&[Origin], IpAddr) = match (f.kind, f.address) {
                (Some(FrontendKind::ClusterIp), Some(a)) => (&[Origin::Pod, Origin::Node], a),
                (_, Some(a)) if f.source_ranges.is_some() => (&[Origin::Friend, Origin::Outside], a),
                (_, Some(a)) => (&[Origin::Outside], a),
                (_, None) => (&[Origin::Outside], Ipv4Addr::new(192, 168, 50, 10).into()),
            };
            for (i, origin) in origins.iter().enumerate() {
                let part = match (origins.len(), i) {
                    (1, _) => 1.0,
                    (_, 0) => 0.8,
                    _ => 0.2,
                };
                streams.push(Stream {
                    origin: *origin,
                    protocol: s.protocol,
                    address,
                    port: f.port,
                    per_second: share * part,
                });
            }
        }
    }
    Plan { streams, flows_per_stream: None }
}
