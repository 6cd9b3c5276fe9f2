//! Services of other proxies than kube-proxy: what is written as their maps and tables hold it is read back, and what cannot be known is
//! not guessed.

use kptop::doctor::causes;
use kptop::observe::Observer;
use kptop::proxy::ebpf::{calico, cilium};
use kptop::proxy::{
    Action, Affinity, Backend, CounterSource, Engine, Frontend, FrontendKind, Model, Names, Protocol, Proxy,
    Service, TrafficPolicy, detect,
};
use kptop::recording::Redactor;
use kptop::ruleset::{IpFamily, IpNet};
use kptop::snapshot::facts::{BpfMap, InterfaceAddress, Link};
use kptop::snapshot::{LAYOUTS, Snapshot, is_service_map, layout_of, with_addresses};
use proptest::prelude::*;
use std::net::IpAddr;
use std::sync::Arc;

/// What a Service is made of.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    family: IpFamily,
    protocol: Protocol,
    kind: FrontendKind,
    local: bool,
    backends: u8,
    here: u8,
    affinity: Option<u32>,
    ranges: Option<u8>,
}

pub(crate) fn plans() -> impl Strategy<Value = Vec<Plan>> {
    let kind = prop_oneof![
        Just(FrontendKind::ClusterIp),
        Just(FrontendKind::ExternalIp),
        Just(FrontendKind::LoadBalancerIp),
        Just(FrontendKind::NodePort),
    ];
    let protocol = prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp), Just(Protocol::Sctp)];
    let family = prop_oneof![Just(IpFamily::V4), Just(IpFamily::V6)];
    let affinity = proptest::option::of(1u32..86_400);
    let ranges = proptest::option::of(1u8..3);
    let one = (family, protocol, kind, any::<bool>(), 0u8..6, 0u8..6, affinity, ranges).prop_map(
        |(family, protocol, kind, local, backends, here, affinity, ranges)| Plan {
            family,
            protocol,
            kind,
            local,
            backends,
            here: here.min(backends),
            affinity,
            // Only load balancers have any.
            ranges: ranges.filter(|_| kind == FrontendKind::LoadBalancerIp),
        },
    );
    proptest::collection::vec(one, 0..24)
}

fn address(family: IpFamily, net: u8, n: usize) -> IpAddr {
    let [high, low] = (n as u16).to_be_bytes();
    match family {
        IpFamily::V4 => [10, net, high, low].into(),
        IpFamily::V6 => [0xfd00, u16::from(net), 0, 0, 0, 0, 0, n as u16 + 1].into(),
    }
}

/// The Service of a plan, as maps show it. With `all_known` also the backends that a local policy leaves out are there.
pub(crate) fn service(plan: &Plan, n: usize, engine: Engine, all_known: bool) -> Service {
    let mut s = Service::new(plan.protocol, plan.family, engine);
    let cluster_ip = plan.kind == FrontendKind::ClusterIp;
    let both = plan.local && (!cluster_ip || all_known);
    let (all, here) = (usize::from(plan.backends), usize::from(plan.here));
    for i in 0..all {
        let mut b = Backend::new(address(plan.family, 244, n * 8 + i), 8080, CounterSource::Nothing);
        if !plan.local || both {
            b.traffic_policies.add(TrafficPolicy::Cluster);
            b.share = Some(1.0 / all as f64);
        }
        if (plan.local || all_known) && i < here {
            b.traffic_policies.add(TrafficPolicy::Local);
            b.local_share = Some(1.0 / here as f64);
            b.local = Some(true);
        }
        if !b.traffic_policies.is_empty() {
            s.backends.push(b);
        }
    }
    let takes = if plan.local { here } else { all };
    let action = match (takes, plan.local && all > 0 && both) {
        (0, true) => Action::Drop,
        (0, false) => Action::Reject,
        _ => Action::Balance,
    };
    let at = (plan.kind != FrontendKind::NodePort).then(|| address(plan.family, 96, n));
    let mut f = Frontend::new(Some(plan.kind), at, 30_000 + n as u16, action);
    f.traffic_policy = Some(if plan.local { TrafficPolicy::Local } else { TrafficPolicy::Cluster });
    f.source_ranges = plan.ranges.map(|r| {
        let prefix = if plan.family == IpFamily::V4 { 24 } else { 64 };
        (0..r).map(|i| IpNet { addr: address(plan.family, 200 + i, 0), prefix }.masked()).collect()
    });
    s.frontends.push(f);
    s.session_affinity = plan.affinity.map(Affinity::For);
    s
}

pub(crate) fn ordered(mut all: Vec<Service>) -> Vec<Service> {
    all.sort_by_key(|s| (s.family, s.frontends[0].port));
    all
}

/// The same with `backends_v2`.
pub(crate) fn older(maps: Vec<BpfMap>) -> Vec<BpfMap> {
    let one = |m: BpfMap| {
        let Some(layout) = LAYOUTS.iter().find(|l| m.name.replace("backends_v3", "backends_v2") == l.name)
        else {
            return m;
        };
        let size = layout.value as usize;
        let entries: Vec<_> = m.entries().map(|(k, v)| (k.to_vec(), v[..size].to_vec())).collect();
        let mut old = BpfMap { name: layout.name.into(), value_size: layout.value, ..m };
        old.set_entries(entries);
        old
    };
    maps.into_iter().map(one).collect()
}

/// Cuts, alters and mixes bytes, and sizes.
fn altered(maps: Vec<BpfMap>, seed: &[u8]) -> Vec<BpfMap> {
    let mut seed = seed.iter().copied().cycle();
    let mut next = move || seed.next().unwrap_or(0);
    let one = |mut m: BpfMap| {
        for bytes in [&mut m.keys, &mut m.values] {
            for _ in 0..next() % 8 {
                let at = usize::from(next()) * 7 % bytes.len().max(1);
                if let Some(b) = bytes.get_mut(at) {
                    *b ^= next();
                }
            }
            let keep = bytes.len().saturating_sub(usize::from(next() % 5));
            bytes.truncate(keep);
        }
        match next() % 8 {
            0 => m.key_size = u32::from(next()),
            1 => m.value_size = u32::from(next()),
            2 => m.name = LAYOUTS[usize::from(next()) % LAYOUTS.len()].name.into(),
            _ => {}
        }
        m
    };
    maps.into_iter().map(one).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn what_cilium_would_write_is_read_back(plans in plans()) {
        let all: Vec<Service> =
            plans.iter().enumerate().map(|(n, p)| service(p, n, Engine::Cilium, false)).collect();
        let maps = cilium::write(&all);
        prop_assert!(maps.iter().all(|m| is_service_map(&m.name) && layout_of(m).is_some()));
        prop_assert_eq!(ordered(cilium::read(&maps)), ordered(all.clone()));
        // Versions before 1.14 have backends without the cluster's number and the zone.
        prop_assert_eq!(ordered(cilium::read(&older(maps))), ordered(all));
    }

    #[test]
    fn what_calico_would_write_is_read_back(plans in plans()) {
        let node = [IpAddr::from([192, 0, 2, 1]), IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1])];
        let all: Vec<Service> =
            plans.iter().enumerate().map(|(n, p)| service(p, n, Engine::CalicoEbpf, true)).collect();
        let own: Vec<InterfaceAddress> = node
            .iter()
            .map(|a| InterfaceAddress { interface: "eth0".into(), address: *a, prefix: None })
            .collect();
        let got = calico::read(&calico::write(&all, &node), &own);
        // Its maps say of an address that it is the node's own, and of no other which kind it is.
        let known = |mut s: Service| {
            for f in &mut s.frontends {
                f.kind = f.kind.filter(|k| *k == FrontendKind::NodePort);
            }
            s
        };
        prop_assert_eq!(ordered(got), ordered(all.into_iter().map(known).collect()));
    }

    #[test]
    fn altered_maps_never_crash(plans in plans(), seed in proptest::collection::vec(any::<u8>(), 1..64)) {
        let all: Vec<Service> =
            plans.iter().enumerate().map(|(n, p)| service(p, n, Engine::Cilium, false)).collect();
        let mut maps = cilium::write(&all);
        maps.extend(calico::write(&all, &[]));
        let maps = altered(maps, &seed);
        cilium::read(&maps);
        calico::read(&maps, &[]);
        let redactor = Redactor::with_key([7; 32]);
        for m in &maps {
            with_addresses(m, |a| redactor.address(a));
        }
        let snapshot = Snapshot { maps: Some(Arc::new(maps)), ..Snapshot::default() };
        Observer::new(Names::default()).observe(snapshot);
    }
}

fn link(name: &str) -> Link {
    Link { name: name.into(), ..Link::default() }
}

#[test]
fn each_proxy_is_known_by_what_it_leaves() {
    for (interface, proxy) in [
        ("kube-dummy-if", Proxy::KubeRouter),
        ("cilium_host", Proxy::Cilium),
        ("bpfin.cali", Proxy::Calico),
        ("ovn-k8s-mp0", Proxy::OvnKubernetes),
        ("antrea-gw0", Proxy::Antrea),
        ("kube-ipvs0", Proxy::KubeProxy),
    ] {
        let snapshot =
            Snapshot { links: Arc::new(vec![link("eth0"), link(interface)]), ..Snapshot::default() };
        let found = detect(&snapshot, &Model::default());
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].proxy, found[0].serves), (proxy, false));
        assert_eq!(found[0].evidence, [format!("the interface {interface}")]);
    }
    assert!(detect(&Snapshot::default(), &Model::default()).is_empty());
}

fn node_with(maps: Vec<BpfMap>) -> Snapshot {
    Snapshot { maps: Some(Arc::new(maps)), ..Snapshot::default() }
}

/// A Service without endpoints is one; what maps lead to is healthy, and nothing of it is called lost.
#[test]
fn services_of_maps_are_judged_by_them() {
    let plan = |backends| Plan {
        family: IpFamily::V4,
        protocol: Protocol::Tcp,
        kind: FrontendKind::NodePort,
        local: false,
        backends,
        here: 0,
        affinity: None,
        ranges: None,
    };
    let all = [service(&plan(3), 1, Engine::Cilium, false), service(&plan(0), 2, Engine::Cilium, false)];
    let view = Observer::new(Names::default()).observe(node_with(cilium::write(&all)));
    let states: Vec<_> = view.health.iter().map(|h| (h.state.words(), h.lost_share)).collect();
    assert_eq!(states, [("healthy", None), ("no endpoints", Some(1.0))], "{:?}", view.examination.findings);
    assert_eq!(view.model.figures(0).flows(), None, "nothing counts what Cilium carries");
    let found = detect(&view.snapshot, &view.model);
    assert_eq!((found[0].proxy, found[0].serves), (Proxy::Cilium, true));
    assert!(causes().any(|c| c == "two_proxies"));
    assert!(!view.examination.findings.iter().any(|f| f.id == "two_proxies"));
}

/// Rules of kube-proxy that were not taken away after a migration.
#[test]
fn two_that_serve_side_by_side_are_a_finding() {
    let rules = kptop::snapshot::dump::read(&[crate::common::set("1.36.2", "iptables-nft")]).unwrap();
    let plan = Plan {
        family: IpFamily::V4,
        protocol: Protocol::Tcp,
        kind: FrontendKind::NodePort,
        local: false,
        backends: 2,
        here: 0,
        affinity: None,
        ranges: None,
    };
    let of = |kind| cilium::write(&[service(&Plan { kind, ..plan.clone() }, 1, Engine::Cilium, false)]);
    let with = |maps| Snapshot { maps: Some(Arc::new(maps)), ..rules.clone() };
    let both = Observer::new(Names::default()).at_once().observe(with(of(FrontendKind::NodePort)));
    let found = both.examination.findings.iter().find(|f| f.id == "two_proxies").expect("no finding");
    assert!(found.title.contains("Cilium and kube-proxy"), "{}", found.title);
    assert!(both.model.services.iter().any(|s| s.engine == Engine::Cilium));
    // Cluster IPs alone are what Cilium serves beside kube-proxy by design.
    let design = Observer::new(Names::default()).at_once().observe(with(of(FrontendKind::ClusterIp)));
    assert!(design.examination.findings.iter().all(|f| f.id != "two_proxies"));
    assert!(design.model.services.iter().all(|s| s.engine != Engine::Cilium && !s.stale));
}

#[test]
fn a_redacted_map_leads_where_the_redacted_rules_do() {
    let plan = Plan {
        family: IpFamily::V4,
        protocol: Protocol::Tcp,
        kind: FrontendKind::LoadBalancerIp,
        local: true,
        backends: 3,
        here: 2,
        affinity: Some(60),
        ranges: Some(1),
    };
    let all = [service(&plan, 1, Engine::Cilium, false)];
    let redactor = Redactor::with_key([3; 32]);
    let maps: Vec<BpfMap> =
        cilium::write(&all).iter().map(|m| with_addresses(m, |a| redactor.address(a))).collect();
    let got = cilium::read(&maps);
    assert_eq!(got.len(), 1);
    assert_eq!(got[0].frontends[0].address, Some(redactor.address(address(IpFamily::V4, 96, 1))));
    let wanted: Vec<IpAddr> = all[0].backends.iter().map(|b| redactor.address(b.address)).collect();
    assert_eq!(got[0].backends.iter().map(|b| b.address).collect::<Vec<_>>(), wanted);
}

/// Services of a text, as label-free lines: where they are reached, and what is behind.
fn shown(name: &str, text: &str) -> Vec<String> {
    let place = crate::common::recordings::Place::new("proxies");
    let file = place.file(name);
    std::fs::write(&file, text).unwrap();
    let snapshot = kptop::snapshot::dump::read(&[file]).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert!(snapshot.parts.iter().all(|p| p.unused == 0), "{:?}", snapshot.parts);
    let model = Model::read(&snapshot, &Names::default());
    let line = |s: &Service| {
        let at: Vec<String> = s.frontends.iter().map(kptop::proxy::frontend_text).collect();
        let to: Vec<String> =
            s.backends.iter().map(|b| kptop::proxy::endpoint_text(b.address, b.port)).collect();
        format!("{} {} -> {}", s.protocol.lower(), at.join(" "), to.join(" "))
    };
    model.services.iter().map(line).collect()
}

/// What people send of Cilium and Calico, in the shapes that their commands print.
#[test]
fn what_people_send_of_other_proxies_is_read() {
    let wanted = ["tcp 10.96.0.1:443 -> 172.18.0.3:6443", "udp 10.96.0.10:53 -> 10.244.1.5:53 10.244.0.8:53"];
    let lb = "\
SERVICE ADDRESS            BACKEND ADDRESS (REVNAT_ID) (SLOT)
10.96.0.1:443/TCP (0)      0.0.0.0:0 (1) (0) [ClusterIP, non-routable]
10.96.0.1:443/TCP (1)      172.18.0.3:6443/TCP (1) (1)
10.96.0.10:53/UDP (0)      0.0.0.0:0 (2) (0) [ClusterIP, non-routable]
10.96.0.10:53/UDP (1)      10.244.1.5:53/UDP (2) (1)
10.96.0.10:53/UDP (2)      10.244.0.8:53/UDP (2) (2)
";
    assert_eq!(shown("lb.txt", lb), wanted);
    let json = r#"{"10.96.0.1:443/TCP (0)": ["0.0.0.0:0 (1) (0) [ClusterIP, non-routable]"],
 "10.96.0.1:443/TCP (1)": ["172.18.0.3:6443/TCP (1) (1)"],
 "10.96.0.10:53/UDP (0)": ["0.0.0.0:0 (2) (0) [ClusterIP, non-routable]"],
 "10.96.0.10:53/UDP (1)": ["10.244.1.5:53/UDP (2) (1)"],
 "10.96.0.10:53/UDP (2)": ["10.244.0.8:53/UDP (2) (2)"]}"#;
    assert_eq!(shown("lb.json", json), wanted);
    let services = "\
ID   Frontend             Service Type   Backend
1    10.96.0.1:443/TCP    ClusterIP      1 => 172.18.0.3:6443/TCP (active)
2    10.96.0.10:53/UDP    ClusterIP      1 => 10.244.1.5:53/UDP (active)
                                         2 => 10.244.0.8:53/UDP (active)
                                         3 => 10.244.0.9:53/UDP (terminating)
3    10.96.0.99:80/TCP    ClusterIP
";
    let mut more: Vec<String> = wanted.map(str::to_string).to_vec();
    more.push("tcp 10.96.0.99:80 -> ".into());
    assert_eq!(shown("services.txt", services), more);
    let calico = "\
10.96.0.1 port 443 proto 6 id 2 count 1 local 0
\t2:0\t 172.18.0.3:6443
10.96.0.10 port 53 proto 17 id 3 count 2 local 1
\t3:0\t 10.244.1.5:53
\t3:1\t 10.244.0.8:53
";
    assert_eq!(shown("nat.txt", calico), wanted);
    // bpftool prints bytes, and the file's name says of which map.
    let place = crate::common::recordings::Place::new("bpftool");
    let hex = |b: &[u8]| b.iter().map(|b| format!("\"0x{b:02x}\"")).collect::<Vec<_>>().join(",");
    let plan = Plan {
        family: IpFamily::V4,
        protocol: Protocol::Tcp,
        kind: FrontendKind::ClusterIp,
        local: false,
        backends: 2,
        here: 0,
        affinity: None,
        ranges: None,
    };
    let all = [service(&plan, 1, Engine::Cilium, false)];
    let maps = cilium::write(&all);
    for m in maps.iter().filter(|m| !m.is_empty()) {
        let entries: Vec<String> =
            m.entries().map(|(k, v)| format!("{{\"key\":[{}],\"value\":[{}]}}", hex(k), hex(v))).collect();
        std::fs::write(place.file(&format!("{}.json", m.name)), format!("[{}]", entries.join(","))).unwrap();
    }
    let snapshot = kptop::snapshot::dump::read(&[place.file("")]).unwrap();
    assert_eq!(cilium::read(snapshot.maps.as_deref().unwrap()), all);
}

/// kube-proxy's mode kernelspace: what Microsoft's collection script and `hnsdiag` print, in both forms of the interface.
#[test]
fn load_balancers_of_windows_nodes_are_services() {
    let endpoints = r#"[
 {"ID":"CA8B877B-AB90-499A-BC0E-7D736C425632","Name":"Ethernet","IPAddress":"10.244.1.5","IsRemoteEndpoint":true,"VirtualNetworkName":"cbr0"},
 {"ID":"ee0ef08b-8434-4f8b-b748-393884e77465","Name":"cid-1","IPAddress":"10.244.2.7","VirtualNetworkName":"cbr0"}]"#;
    let policies = format!(
        r#"[{{"ID":"1","Policies":[{{"ExternalPort":80,"InternalPort":8080,"Protocol":6,"Type":"ELB","VIPs":["10.96.2.9"],"IsDSR":true}}],
  "References":["/endpoints/ca8b877b-ab90-499a-bc0e-7d736c425632","/endpoints/EE0EF08B-8434-4F8B-B748-393884E77465"]}}]
{endpoints}"#
    );
    let wanted = ["tcp 10.96.2.9:80 -> 10.244.1.5:8080 10.244.2.7:8080"];
    assert_eq!(shown("policy.txt", &policies), wanted);
    let balancers = format!(
        "LoadBalancers:\n\
{{\"ID\":\"2\",\"HostComputeEndpoints\":[\"ca8b877b-ab90-499a-bc0e-7d736c425632\",\"ee0ef08b-8434-4f8b-b748-393884e77465\"],\
\"FrontendVIPs\":[\"10.96.2.9\"],\"Flags\":1,\
\"PortMappings\":[{{\"Protocol\":6,\"InternalPort\":8080,\"ExternalPort\":80,\"DistributionType\":2}}]}}\n\
{{\"ID\":\"3\",\"HostComputeEndpoints\":[\"unknown\"],\"FrontendVIPs\":[],\"PortMappings\":[{{\"Protocol\":17,\"InternalPort\":53,\"ExternalPort\":30053}}]}}\n\
Endpoints:\n{endpoints}\n"
    );
    let place = crate::common::recordings::Place::new("hns");
    std::fs::write(place.file("hns.txt"), &balancers).unwrap();
    let snapshot = kptop::snapshot::dump::read(&[place.file("hns.txt")]).unwrap();
    let view = Observer::new(Names::default()).observe(snapshot);
    let s = &view.model.services;
    assert_eq!(s.len(), 2);
    let cart = s.iter().find(|s| s.protocol == Protocol::Tcp).unwrap();
    assert_eq!((cart.engine, cart.scheduler.as_deref()), (Engine::Kernelspace, Some("DSR")));
    assert!(cart.session_affinity.is_some());
    assert_eq!(cart.backends.iter().map(|b| b.local).collect::<Vec<_>>(), [Some(false), Some(true)]);
    // What an endpoint's identifier means was not given: how many there are is known, and not where.
    let dns = s.iter().find(|s| s.protocol == Protocol::Udp).unwrap();
    assert_eq!((dns.backend_count(), dns.backends.len()), (Some(1), 0));
    assert_eq!(dns.frontends[0].kind, Some(FrontendKind::NodePort));
    // Nothing is lost by it, and no rule of Linux is missed.
    assert!(view.examination.findings.iter().all(|f| f.severity >= kptop::doctor::Severity::Info));
    // A text that was cut off gives what came before.
    for cut in (0..balancers.len()).step_by(7) {
        std::fs::write(place.file("hns.txt"), &balancers[..cut]).unwrap();
        let _ = kptop::snapshot::dump::read(&[place.file("hns.txt")]);
    }
}
