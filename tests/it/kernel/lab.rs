//! What kptop writes, the kernel holds and kptop reads: Services come back as they were, and figures equal
//! what the traffic generator's servers counted.

use crate::common::{in_new_netns, read, run, run_with, set};
use kptop::kernel::nftables as kernel_nftables;
use kptop::kernel::xtables::{Socket, TableReader};
use kptop::lab::{Lab, Origin, Plan, Stream, install_table, shop};
use kptop::proxy::iptables::{WriteOptions, observable, write};
use kptop::proxy::{
    Affinity, CounterSource, Engine, FrontendKind, Model, Names, Part, Protocol, Service, ServiceName,
    TrafficPolicy, memory_lists, nftables, parts,
};
use kptop::ruleset::{Family, IpFamily, IpNet, TableBackend};
use kptop::snapshot::live::{CountFlows, Live, LookedAt, Wanted};
use kptop::snapshot::{FlowKey, MemoryList, Snapshot, TCP_STATES, TableState};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::mpsc::channel;
use std::time::Duration;

fn policy() -> impl Strategy<Value = TrafficPolicy> {
    prop_oneof![Just(TrafficPolicy::Cluster), Just(TrafficPolicy::Local)]
}

fn protocol() -> impl Strategy<Value = Protocol> {
    prop_oneof![4 => Just(Protocol::Tcp), 2 => Just(Protocol::Udp), 1 => Just(Protocol::Sctp)]
}

/// One generated Service port; `i` keeps names, addresses and node ports apart.
fn service(i: u16) -> impl Strategy<Value = Service> {
    (
        "[a-z][a-z0-9-]{0,20}[a-z0-9]",
        prop_oneof![Just(String::new()), "[a-z][a-z0-9-]{0,10}"],
        protocol(),
        any::<bool>(),
        proptest::collection::vec(any::<bool>(), 0..6), // endpoints: on this node?
        policy(),
        policy(),
        (any::<bool>(), 0u8..3, 0u8..3, 0u8..3), // node port, external IPs, load balancer IPs, source ranges
        proptest::option::of(1u32..86400),
        any::<bool>(),
    )
        .prop_map(
            move |(name, port, protocol, v6, endpoints, internal, external, kinds, affinity, check)| {
                let (node_port, external_ips, lb_ips, ranges) = kinds;
                let address = |net: u16, n: u16| -> IpAddr {
                    if v6 {
                        Ipv6Addr::new(0xfd00, net, 0, 0, 0, 0, i, n).into()
                    } else {
                        Ipv4Addr::new(10, net as u8, i as u8, n as u8).into()
                    }
                };
                let family = if v6 { IpFamily::V6 } else { IpFamily::V4 };
                let name = ServiceName {
                    namespace: format!("ns{i}"),
                    name,
                    port: port.trim_end_matches('-').into(),
                };
                let mut frontends = vec![(FrontendKind::ClusterIp, Some(address(96, 1)), 80, internal)];
                for n in 0..external_ips {
                    frontends.push((FrontendKind::ExternalIp, Some(address(97, u16::from(n))), 80, external));
                }
                for n in 0..lb_ips {
                    frontends.push((
                        FrontendKind::LoadBalancerIp,
                        Some(address(98, u16::from(n))),
                        80,
                        external,
                    ));
                }
                if node_port {
                    frontends.push((FrontendKind::NodePort, None, 30000 + i, external));
                }
                let endpoints: Vec<(IpAddr, bool)> = endpoints
                    .into_iter()
                    .enumerate()
                    .map(|(n, local)| (address(244, n as u16 + 2), local))
                    .collect();
                let mut s = shop::build(name, protocol, family, 8080, &endpoints, frontends);
                if ranges > 0 {
                    let nets: Vec<IpNet> = (0..ranges)
                        .map(|n| IpNet { addr: address(200 + u16::from(n), 0), prefix: 24 })
                        .collect();
                    for f in s.frontends.iter_mut().filter(|f| f.kind == Some(FrontendKind::LoadBalancerIp)) {
                        f.source_ranges = Some(nets.clone());
                    }
                }
                // Rules hold affinity only where there are endpoints.
                s.session_affinity = affinity.filter(|_| !s.backends.is_empty()).map(Affinity::For);
                s.health_check_node_port = check.then_some(32000 + i);
                s
            },
        )
}

fn services() -> impl Strategy<Value = Vec<Service>> {
    (1usize..6).prop_flat_map(|n| (0..n as u16).map(service).collect::<Vec<_>>())
}

/// A Service without what a snapshot adds, and with its lists in one order.
fn bare(mut s: Service) -> Service {
    for f in &mut s.frontends {
        (f.rule, f.refusal) = (None, None);
    }
    s.frontends.sort_by_key(|f| (f.kind, f.address, f.port));
    for b in &mut s.backends {
        b.rule = None;
        b.share = b.share.map(|s| (s * 1e9).round() / 1e9);
        b.local_share = b.local_share.map(|s| (s * 1e9).round() / 1e9);
        // Where a Service has no local policy, rules do not say who is local.
    }
    s.backends.sort_by_key(|b| (b.address, b.port));
    if s.backends.is_empty() && s.frontends.iter().all(|f| f.action != kptop::proxy::Action::Balance) {
        s.chain_hash = None; // no chain was written
    }
    s
}

fn sorted(services: &[Service]) -> Vec<Service> {
    let mut all: Vec<Service> = services.iter().cloned().map(bare).collect();
    all.sort_by_key(|s| (s.name.clone(), s.protocol, s.family));
    all
}

/// The kernel's tables as a snapshot.
fn from_kernel() -> Snapshot {
    let mut snapshot = Snapshot::default();
    for family in [IpFamily::V4, IpFamily::V6] {
        let socket = Socket::open(family).unwrap();
        for name in ["filter", "nat"] {
            let r = TableReader::new(family, name).read(&socket, &mut Vec::new()).unwrap();
            snapshot.tables.push(TableState {
                at: Duration::ZERO,
                backend: TableBackend::XTables,
                family: family.into(),
                table: r.table,
                counters: r.counters,
                bytes: Some(r.bytes),
                recent: None,
            });
        }
    }
    snapshot
}

#[test]
fn services_to_kernel_to_services_is_the_identity() {
    in_new_netns(|| {
        let config = Config { cases: 150, failure_persistence: None, ..Config::default() };
        let mut runner = TestRunner::new(config);
        let strategy = (services(), any::<bool>(), any::<bool>());
        let written = std::cell::Cell::new(0);
        runner
            .run(&strategy, |(services, large_cluster, cidr)| {
                for family in [IpFamily::V4, IpFamily::V6] {
                    let cidr = cidr.then(|| match family {
                        IpFamily::V4 => "10.244.0.0/16".parse().unwrap(),
                        IpFamily::V6 => "fd00:f4::/32".parse().unwrap(),
                    });
                    let options = WriteOptions { cluster_cidr: cidr, large_cluster, ..Default::default() };
                    for (table, _) in write(&services, family, &options) {
                        install_table(family, &table).unwrap();
                    }
                }
                let model = Model::read(&from_kernel(), &Names::default());
                let reported: Vec<Service> = services.iter().map(observable).collect();
                let (ours, reported) = (sorted(&model.services), sorted(&reported));
                prop_assert_eq!(ours, reported);
                written.set(written.get() + 1);
                Ok(())
            })
            .unwrap();
        assert!(written.get() >= 150);
        // iptables itself takes what we wrote for its own.
        let text = run("iptables-legacy-save", &["-t", "nat"]);
        run("iptables-legacy-restore", &["--test"]);
        assert!(text.contains("KUBE-SERVICES") && !text.contains("unsupported"), "{text}");
    });
}

/// A network without host bits.
fn network(n: IpNet) -> IpNet {
    let addr = match n.addr {
        IpAddr::V4(a) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(n.prefix)).unwrap_or(0);
            Ipv4Addr::from(u32::from(a) & mask).into()
        }
        IpAddr::V6(a) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(n.prefix)).unwrap_or(0);
            Ipv6Addr::from(u128::from(a) & mask).into()
        }
    };
    IpNet { addr, ..n }
}

/// The same through nf_tables: iptables mode by the nft variant, and nftables mode, whose own tool prints what
/// we wrote as kube-proxy's is printed.
#[test]
fn services_survive_nf_tables_in_both_modes() {
    in_new_netns(|| {
        let config = Config { cases: 60, failure_persistence: None, ..Config::default() };
        let mut runner = TestRunner::new(config);
        let node_port_addresses: Vec<IpAddr> =
            vec!["192.0.2.7".parse().unwrap(), "192.0.2.8".parse().unwrap(), "fd00:7::7".parse().unwrap()];
        let mut live = Live::open(None).unwrap();
        let live = std::cell::RefCell::new(&mut live);
        let written = std::cell::Cell::new(0);
        runner
            .run(&(services(), any::<bool>(), any::<bool>()), |(services, nftables_mode, cidr)| {
                for family in [IpFamily::V4, IpFamily::V6] {
                    let (table_family, net) = match family {
                        IpFamily::V4 => (Family::Ip, "10.244.0.0/16"),
                        IpFamily::V6 => (Family::Ip6, "fd00:f4::/32"),
                    };
                    let cluster_cidr = cidr.then(|| net.parse().unwrap());
                    for name in ["nat", "filter", "mangle", nftables::TABLE] {
                        let _ = kernel_nftables::delete(table_family, name);
                    }
                    let tables = if nftables_mode {
                        let node_port_addresses = node_port_addresses.clone();
                        let options = nftables::WriteOptions {
                            cluster_cidr,
                            node_port_addresses,
                            ..Default::default()
                        };
                        vec![nftables::write(&services, family, &options)]
                    } else {
                        write(&services, family, &WriteOptions { cluster_cidr, ..Default::default() })
                    };
                    for (table, counters) in tables {
                        kernel_nftables::create(&table, &counters).unwrap();
                    }
                }
                let snapshot = live.borrow_mut().snapshot(Wanted::ALL);
                let model = Model::read(&snapshot, &Names::default());
                let reported: Vec<Service> = services
                    .iter()
                    .map(|s| match nftables_mode {
                        true => nftables::observable(s, &node_port_addresses),
                        false => observable(s),
                    })
                    .collect();
                // What says the mode and its hashes is not the Service's.
                let plain = |all: &[Service]| -> Vec<Service> {
                    let mut all = sorted(all);
                    for s in &mut all {
                        (s.engine, s.chain_hash) = (Engine::IptablesLegacy, None);
                        for b in &mut s.backends {
                            b.source = CounterSource::NatRule;
                        }
                        for f in &mut s.frontends {
                            // nf_tables keeps no host bits, and a set of ranges holds each once.
                            for r in f.source_ranges.iter_mut() {
                                r.iter_mut().for_each(|n| *n = network(*n));
                                r.sort();
                                r.dedup();
                            }
                        }
                    }
                    all
                };
                prop_assert_eq!(plain(&model.services), plain(&reported));
                written.set(written.get() + 1);
                Ok(())
            })
            .unwrap();
        assert!(written.get() >= 60);
    });
}

/// What we write for nftables mode is printed as what kube-proxy 1.36.2 wrote for the same Services.
#[test]
fn nft_prints_our_nftables_mode_as_kube_proxys() {
    let dir = set("1.36.2", "nftables");
    let (services, theirs) = in_new_netns({
        let dir = dir.clone();
        move || {
            run_with("nft", &["-f", "-"], &read(&dir, "nft-list-ruleset.txt").unwrap());
            let snapshot = Live::open(None).unwrap().snapshot(Wanted::ALL);
            (Model::read(&snapshot, &Names::default()).services, run("nft", &["list", "ruleset"]))
        }
    });
    let ours = in_new_netns(move || {
        for (family, cidr, ip) in [
            (IpFamily::V4, "10.244.0.0/16", "192.168.50.10"),
            (IpFamily::V6, "fd00:10:244::/56", "fd00:50::10"),
        ] {
            let options = nftables::WriteOptions {
                cluster_cidr: cidr.parse().ok(),
                node_port_addresses: vec![ip.parse().unwrap()],
                ..Default::default()
            };
            let (table, counters) = nftables::write(&services, family, &options);
            kernel_nftables::create(&table, &counters).unwrap();
        }
        run("nft", &["list", "ruleset"])
    });
    // Chain by chain: their order, sets of addresses that rules do not say whole, and one rule that needs
    // the cluster's service network apart.
    let chains = |text: &str| -> BTreeMap<String, Vec<String>> {
        let mut chains = BTreeMap::new();
        let (mut table, mut chain) = (String::new(), None);
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                ["table", family, ..] => (table, chain) = (family.to_string(), None),
                ["chain", name, "{"] => chain = Some(format!("{table} {name}")),
                ["set" | "map", ..] => chain = None,
                ["}"] | [] => {}
                _ if line.contains("unallocated ClusterIPs") => {}
                _ => {
                    if let Some(name) = &chain {
                        let rules: &mut Vec<String> = chains.entry(name.clone()).or_default();
                        rules.push(line.trim().to_string());
                    }
                }
            }
        }
        chains
    };
    let (ours, theirs) = (chains(&ours), chains(&theirs));
    for (name, rules) in &theirs {
        // The node's own addresses are let in beside the Service's ranges.
        let own = |r: &String| r.replace(", 198.51.100.20 }", " }");
        let theirs: Vec<String> = rules.iter().map(own).collect();
        let cidr = |r: &String| r.contains("saddr") && r.contains("fd00:10:244");
        if name.starts_with("ip6") && theirs.iter().any(cidr) {
            continue;
        }
        assert_eq!(ours.get(name), Some(&theirs), "{name}");
    }
    assert_eq!(ours.len(), theirs.len());
}

/// The ipsets and rules that we write for ipvs mode are printed by the node's tools as what kube-proxy 1.36.2 wrote. Virtual servers
/// need the VM, and rules that ask IPVS with them: those of source ranges.
#[test]
fn ipset_and_iptables_print_our_ipvs_mode_as_kube_proxys() {
    use kptop::proxy::FrontendKind;
    let dir = set("1.36.2", "ipvs-legacy");
    let snapshot = kptop::snapshot::dump::read(&[dir]).unwrap();
    let mut services = Model::read(&snapshot, &Names::default()).services.to_vec();
    for f in services.iter_mut().flat_map(|s| &mut s.frontends) {
        f.source_ranges = None;
        // The lab's node has one address: a node port is one frontend for all.
        if f.kind == Some(FrontendKind::NodePort) {
            f.address = None;
        }
    }
    let text = |name: &str| read(&set("1.36.2", "ipvs-legacy"), name).unwrap();
    let (members, rules) = in_new_netns({
        let services = services.clone();
        move || {
            kptop::lab::put_beside_ipvs(&services).unwrap();
            (run("ipset", &["save"]), run("iptables-legacy-save", &[]))
        }
    });
    // By source ranges, or by the addresses of their node.
    let other =
        ["LOAD-BALANCER-FW", "SOURCE-CID", "SOURCE-IP", "SCTP-HASH", "LOOP-BACK", "ICMP", "HEALTH-CHECK"];
    let sorted = |text: &str| -> BTreeSet<String> {
        let lines = text.lines().filter(|l| l.starts_with("add ") || l.starts_with("create "));
        let kept = lines.filter(|l| !other.iter().any(|o| l.contains(o)));
        kept.map(|l| l.split(' ').take(3).collect::<Vec<_>>().join(" ")).collect()
    };
    let (ours, theirs) = (sorted(&members), sorted(&text("ipset-save.txt")));
    let only = |a: &BTreeSet<String>, b: &BTreeSet<String>| a.difference(b).cloned().collect::<Vec<_>>();
    assert_eq!((only(&ours, &theirs), only(&theirs, &ours)), (vec![], vec![]));
    assert!(ours.len() > 100, "{}", ours.len());
    let sorted = |text: &str| -> BTreeSet<String> {
        let rules = text.lines().map(|l| l.split_once("] ").map_or(l, |r| r.1));
        let own = rules.filter(|l| l.starts_with("-A") && l.contains("KUBE-"));
        own.filter(|l| !["LOAD-BALANCER-FW", "vproto", "SOURCE-RANGES"].iter().any(|o| l.contains(o)))
            .map(str::to_string)
            .collect()
    };
    let (ours, theirs) = (sorted(&rules), sorted(&text("iptables-save-c.txt")));
    assert_eq!((only(&ours, &theirs), only(&theirs, &ours)), (vec![], vec![]));
    assert!(ours.len() > 25, "{}", ours.len());
}

/// The first picture of a large node in nftables mode has the Services of the whole reading, without the endpoints themselves, and
/// judges nothing by what it did not read.
#[test]
fn a_first_picture_knows_all_but_the_endpoints() {
    use kptop::health::HealthState;
    use kptop::observe::Observer;
    for (count, is_large) in [(100, false), (2_100, true)] {
        let services = shop::services(Some(count), 1);
        let lab = Lab::bare().unwrap();
        lab.install(Engine::Nftables, &services).unwrap();
        let (outline, whole) = kptop::lab::inside(lab.node(), || {
            let mut live = Live::open(None)?;
            let outline = live.outline();
            Ok((outline, live.snapshot(Wanted::ALL)))
        })
        .unwrap();
        assert_eq!(outline.is_some(), is_large);
        let Some(outline) = outline else { continue };
        let view = Observer::new(Names::default()).observe(outline);
        let whole = Observer::new(Names::default()).observe(whole);
        let lines = |v: &kptop::observe::View| -> Vec<String> {
            let one = |s: &Service| {
                format!("{} {} {:?} {}", s.label(), s.family, s.frontends, s.backend_count().unwrap())
            };
            v.model.services.iter().map(one).collect()
        };
        assert_eq!(lines(&view), lines(&whole));
        let unread = |s: &&Service| s.unknown_backends.is_some();
        let unread: usize =
            view.model.services.iter().filter(unread).filter_map(Service::backend_count).sum();
        let backends: usize = whole.model.services.iter().map(|s| s.backends.len()).sum();
        assert!(unread > 2_000 && unread <= backends, "{unread} of {backends}");
        assert!(whole.model.services.iter().all(|s| s.unknown_backends.is_none()));
        // What cannot be judged is not said to fail, nor to be well.
        for (i, s) in view.model.services.iter().enumerate().filter(|(_, s)| s.unknown_backends.is_some()) {
            let health = view.health.get(i).unwrap();
            assert_eq!(health.state, HealthState::Unknown, "{}: {health:?}", s.label());
        }
        let of_rules = ["foreign_drop", "uneven_backends", "no_services"];
        let said = &view.examination.findings;
        assert!(said.iter().all(|f| !of_rules.contains(&f.id)), "{said:?}");
        let unread = view.snapshot.unread.iter().find(|u| u.what == "endpoints of Services").unwrap();
        assert_eq!(unread.why, "they are being read");
    }
}

/// Rules of nftables mode count nothing: what they refuse is known for the node, by the errors that it sent.
#[test]
fn refusals_of_nftables_mode_are_counted_for_the_node() {
    use kptop::observe::Observer;
    let services = shop::services(None, 0);
    let payments = services.iter().find(|s| s.label() == "shop/payments:http").unwrap();
    let to = std::net::SocketAddr::new(payments.frontends[0].address.unwrap(), payments.frontends[0].port);
    let lab = Lab::bare().unwrap();
    let refused = |engine: Engine| {
        lab.install(engine, &services).unwrap();
        kptop::lab::inside(lab.node(), move || {
            let mut observer = Observer::new(Names::default());
            let mut live = Live::open(None)?;
            observer.observe(live.snapshot(Wanted::ALL));
            for _ in 0..20 {
                std::net::TcpStream::connect_timeout(&to, Duration::from_secs(2)).unwrap_err();
            }
            std::thread::sleep(Duration::from_millis(300));
            let view = observer.observe(live.snapshot(Wanted::ALL));
            for family in [Family::Ip, Family::Ip6] {
                kernel_nftables::delete(family, nftables::TABLE).ok();
            }
            Ok(view.node.causes.clone())
        })
        .unwrap()
    };
    let of_node = |c: &&kptop::rates::Cause| c.name.contains("ICMP errors");
    let causes = refused(Engine::Nftables);
    let cause = causes.iter().find(of_node).unwrap();
    assert_eq!((cause.total, cause.rate.is_ok_and(|r| r > 5.0)), (20, true), "{causes:?}");
    // Where rules count it, nothing is counted twice.
    let causes = refused(Engine::IptablesNft);
    assert!(causes.iter().find(of_node).is_none(), "{causes:?}");
    assert!(causes.iter().any(|c| c.name.starts_with("rejected") && c.total == 20), "{causes:?}");
}

/// What is read only while a user looks at it, beside the node's own tools: the flows of a Service one by one, and
/// the clients that its rules remember.
fn looked_at(live: &mut Live, snapshot: &Snapshot) {
    assert!(snapshot.remembered.is_none(), "nobody looked yet");
    let model = Model::read(snapshot, &Names::default());
    let service = model.services.iter().find(|s| s.label() == "shop/sessions:redis").unwrap();
    let f = &service.frontends[0];
    let memory = memory_lists(snapshot, service);
    assert_eq!(memory.len(), service.backends.len());
    let flows = vec![(service.protocol.number(), f.address, f.port)];
    live.look_at(LookedAt { flows, memory, ..LookedAt::default() });
    let seen = live.snapshot(Wanted::ALL);
    let flows = &seen.conntrack.as_ref().unwrap().flows.as_ref().unwrap().value;
    let address = f.address.unwrap().to_string();
    let theirs = run("conntrack", &["-L", "-p", "tcp", "--orig-dst", &address, "--orig-port-dst", "6379"]);
    let theirs: BTreeSet<String> = theirs
        .lines()
        .map(|l| {
            // src= dst= sport= dport= of the first packet, then of the answer.
            let words: Vec<&str> = l.split_whitespace().collect();
            let of = |key: &str, n: usize| words.iter().filter_map(|w| w.strip_prefix(key)).nth(n).unwrap();
            format!(
                "{} {}:{} {}:{}",
                words[3],
                of("src=", 0),
                of("sport=", 0),
                of("src=", 1),
                of("sport=", 1)
            )
        })
        .collect();
    let ours: BTreeSet<String> = flows
        .followed
        .iter()
        .map(|f| {
            let state = TCP_STATES[usize::from(f.tcp_state.unwrap())];
            let (from, back) = (&f.original, &f.reply);
            format!("{state} {}:{} {}:{}", from.source, from.source_port, back.source, back.source_port)
        })
        .collect();
    assert_eq!((ours.len(), flows.followed_count), (40, 40));
    assert_eq!(ours, theirs);
    let clients: BTreeSet<IpAddr> = flows.followed.iter().map(|f| f.original.source).collect();
    let remembered = &seen.remembered.as_ref().unwrap().value;
    assert_eq!(remembered.failed, Vec::<String>::new());
    let ours: BTreeSet<IpAddr> = remembered.lists.iter().flat_map(|l| &l.1).map(|c| c.address).collect();
    assert_eq!(ours, clients, "each client is remembered");
    for (list, members) in &remembered.lists {
        let theirs = match list {
            MemoryList::Recent(name) => run("cat", &[&format!("/proc/thread-self/net/xt_recent/{name}")]),
            MemoryList::Set(family, table, set) => run("nft", &["list", "set", family.name(), table, set]),
        };
        for c in members {
            assert!(theirs.contains(&c.address.to_string()), "{} in {theirs}", c.address);
        }
        let count = theirs.matches("src=").count() + theirs.matches("expires").count();
        assert_eq!(count, members.len(), "{theirs}");
    }
    // The rules that make it up lead to every backend.
    let parts = parts(snapshot, service);
    for b in &service.backends {
        let to = kptop::proxy::endpoint_text(b.address, b.port);
        let leads = parts.iter().any(|p| match p {
            Part::Rule(r) => {
                let table = &snapshot.tables[r.table].table;
                table.rule_text(table.rule(r.rule)).to_string().ends_with(&to)
            }
            _ => false,
        });
        assert!(leads, "{to}: {parts:?}");
    }
}

/// Every frontend kind gets exactly 40 flows; the backends' counters report the same as their servers.
#[test]
fn figures_equal_what_the_servers_counted() {
    for engine in [Engine::IptablesLegacy, Engine::IptablesNft, Engine::Nftables] {
        figures(engine);
    }
}

/// What Prometheus gets are the same flows, by Service.
fn served_new_flows(
    snapshot: &Snapshot,
    model: &Model,
    counts: &std::collections::HashMap<kptop::lab::BackendKey, kptop::lab::Counted>,
) {
    use kptop::output::{Cardinality, open_metrics, samples};
    let view = kptop::observe::Observer::new(Names::default()).observe(snapshot.clone());
    let limits = Cardinality { node_name: None, services: 1_000, backends: 10_000, namespaces: Vec::new() };
    let text = open_metrics(samples(&view, Duration::ZERO, Duration::ZERO, &limits)).unwrap();
    let all = text.lines().filter_map(|l| l.strip_prefix("kptop_service_new_flows_total{"));
    let all: Vec<(&str, &str)> = all.map(|l| l.rsplit_once("} ").unwrap()).collect();
    let mut found = 0;
    for s in model.services.iter().filter(|s| !s.backends.is_empty()) {
        let name = s.name.as_ref().unwrap();
        let labels = [
            format!("namespace=\"{}\"", name.namespace),
            format!("service=\"{}\"", name.name),
            format!("port=\"{}\"", name.port),
            format!("protocol=\"{}\"", s.protocol.lower()),
            format!("family=\"{}\"", s.family.name()),
        ];
        let mine: Vec<&str> =
            all.iter().filter(|l| labels.iter().all(|w| l.0.contains(w.as_str()))).map(|l| l.1).collect();
        let of =
            |b: &kptop::proxy::Backend| counts.get(&(s.protocol, b.address, b.port)).map_or(0, |c| c.flows);
        let counted: u64 = s.backends.iter().map(of).sum();
        assert_eq!(mine, [format!("{counted}.0").as_str()], "{}: {labels:?}", s.label());
        found += 1;
    }
    assert!(found > 30, "{found}");
}

fn figures(engine: Engine) {
    let services = shop::services(None, 0);
    let mut plan = Plan { streams: Vec::new(), flows_per_stream: Some(40) };
    for s in services.iter().filter(|s| s.protocol != Protocol::Sctp && !s.backends.is_empty()) {
        if s.protocol == Protocol::Udp && s.family == IpFamily::V6 {
            continue;
        }
        for f in &s.frontends {
            let (origin, address) = match (f.kind, f.address) {
                (Some(FrontendKind::ClusterIp), Some(a)) => (Origin::Pod, a),
                (_, Some(a)) if f.source_ranges.is_some() => (Origin::Friend, a),
                (_, Some(a)) => (Origin::Outside, a),
                (_, None) => (Origin::Outside, kptop::lab::NODE_IP.parse().unwrap()),
            };
            plan.streams.push(Stream {
                origin,
                protocol: s.protocol,
                address,
                port: f.port,
                per_second: 0.0,
            });
        }
    }
    let sent = plan.streams.len() as u64 * 40;
    let mut lab = Lab::bare().unwrap();
    lab.install(engine, &services).unwrap();
    let node = lab.node().clone();
    let ((ready, wait), (go, start)) = (channel(), channel::<()>());
    let reader = std::thread::spawn(move || {
        let mut live = Live::enter(&node).unwrap().counting_new_flows(CountFlows::Always);
        live.snapshot(Wanted::ALL);
        ready.send(()).unwrap();
        start.recv().unwrap();
        let snapshot = live.snapshot(Wanted::ALL);
        looked_at(&mut live, &snapshot);
        snapshot
    });
    wait.recv().unwrap();
    lab.serve(&services).unwrap();
    lab.send(&plan).unwrap();
    lab.wait();
    std::thread::sleep(Duration::from_millis(500));
    go.send(()).unwrap();
    let snapshot = reader.join().unwrap();
    let model = Model::read(&snapshot, &Names::default());
    let events = &snapshot.new_flows().unwrap().value;
    assert_eq!((events.lost, events.one_in), (0, 1));
    let counts = lab.counts().get();
    let (mut by_rule, mut by_server) = (0, 0);
    for (s, figures) in model.iter() {
        for (b, figures) in s.backends.iter().zip(figures.backends()) {
            let counted = counts.get(&(s.protocol, b.address, b.port)).map_or(0, |c| c.flows);
            assert_eq!(figures.flows, Some(counted), "{} {}:{}", s.label(), b.address, b.port);
            // nftables mode counts nothing: the figure is conntrack's, and says so.
            let source =
                if engine == Engine::Nftables { CounterSource::Conntrack } else { CounterSource::NatRule };
            assert_eq!(b.source, source);
            // Conntrack holds the same flows, by backend and by frontend.
            assert_eq!(figures.conntrack_flows, Some(counted), "conntrack of {} {}", s.label(), b.address);
            // Whoever counts the new flows: each of them.
            assert_eq!(figures.new_flows, Some(counted), "{} {}:{}", s.label(), b.address, b.port);
            let to = |k: &&FlowKey| {
                (k.backend, k.backend_port, k.protocol) == (b.address, b.port, s.protocol.number())
            };
            let noticed = events.pairs.iter().filter(|(k, _)| to(k)).map(|(_, t)| t.began).sum::<u64>();
            assert_eq!(noticed, counted, "notices of {} {}:{}", s.label(), b.address, b.port);
            by_rule += figures.flows.unwrap();
            by_server += counted;
        }
    }
    assert_eq!((by_rule, by_server), (sent, sent));
    served_new_flows(&snapshot, &model, &counts);
    let tracked: u64 = model.iter().filter_map(|(_, figures)| figures.held()).sum();
    assert!(tracked >= sent, "{tracked} flows in conntrack, {sent} sent");
}
