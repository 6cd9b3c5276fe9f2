//! The walk against the kernel: of each captured set that this kernel can load, random packets take exactly one of the
//! ways that the walk says. The sets of ipvs mode run in the VM (`tests/it/kernel/ipvs.rs`).

use crate::common::walking::{packets, walk_beside_the_kernel};
use crate::common::{
    in_new_netns, load_legacy, load_nft, minor, read, run, run_with, say, set, sets, versions,
};
use kptop::kernel::nftables as kernel_nftables;
use kptop::lab::packets::Sender;
use kptop::lab::{Lab, Origin, inside, shop};
use kptop::proxy::{
    Engine, FrontendKind, Model, Names, Protocol, Service, ServiceName, TrafficPolicy, iptables, nftables,
};
use kptop::ruleset::{Counter, Dialect, IpFamily, Match, RuleSpec, Table, TableBuilder, TableCounters};
use kptop::snapshot::live::{Live, Wanted};
use kptop::snapshot::{Snapshot, TableState};
use kptop::walk::{Ingress, Options, Packet, RulesetIndex};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

#[test]
fn packets_go_as_told_through_iptables_legacy() {
    for version in versions("iptables-legacy") {
        let dir = set(version, "iptables-legacy");
        let report = walk_beside_the_kernel(1, packets(250), move || load_legacy(&dir));
        report.check(&format!("{version}/iptables-legacy"), 150);
    }
}

#[test]
fn packets_go_as_told_through_iptables_nft() {
    for version in versions("iptables-nft") {
        let dir = set(version, "iptables-nft");
        let report = walk_beside_the_kernel(2, packets(250), move || load_nft(&dir));
        report.check(&format!("{version}/iptables-nft"), 150);
    }
}

#[test]
fn packets_go_as_told_to_the_ports_of_a_userspace_proxy() {
    let dir = set("1.20.2", "userspace-legacy");
    let report = walk_beside_the_kernel(3, packets(250), move || load_legacy(&dir));
    report.check("1.20.2/userspace-legacy", 40);
}

/// The same table with a counter in each rule, before its verdict: kube-proxy's own rules count nothing.
fn with_counters(table: &Table) -> (Table, TableCounters) {
    let mut b = TableBuilder::new(table.family, table.backend, &table.name);
    b.dialect = Dialect::Nft;
    b.strings = table.strings.clone();
    for chain in &table.chains {
        let id = b.chain(table.str(chain.name));
        if let Some(base) = chain.base {
            b.base(id, base, Counter::default());
        }
    }
    for set in &table.sets {
        b.set(set.clone());
    }
    for (i, chain) in table.chains.iter().enumerate() {
        let id = b.chain(table.str(chain.name));
        assert_eq!(id.0 as usize, i);
        for (_, rule) in table.rules_of(id) {
            let mut matches: Vec<Match> = table.matches_of(rule).to_vec();
            matches.push(Match::Counter);
            let target = rule.target.clone();
            b.push(id, RuleSpec { matches, target, counter: Counter::default() });
        }
    }
    b.finish()
}

#[test]
fn packets_go_as_told_through_nftables_mode() {
    for version in versions("nftables") {
        let dir = set(version, "nftables");
        let report = walk_beside_the_kernel(4, packets(250), move || {
            run_with("nft", &["-f", "-"], &read(&dir, "nft-list-ruleset.txt").unwrap());
            let snapshot = Live::open(None).unwrap().snapshot(Wanted::ALL);
            for t in snapshot.tables.iter().filter(|t| t.table.name == "kube-proxy") {
                let (table, counters) = with_counters(&t.table);
                kernel_nftables::delete(t.family, &t.table.name).unwrap();
                kernel_nftables::create(&table, &counters).unwrap();
            }
            let rules = run("nft", &["list", "table", "ip", "kube-proxy"]);
            assert!(rules.matches("counter packets").count() > 50);
        });
        report.check(&format!("{version}/nftables"), 50);
    }
}

/// Length of every way to every end of a frontend, from everywhere.
fn lengths(snapshot: &Snapshot, services: &[Service]) -> BTreeMap<String, Vec<String>> {
    let ruleset = RulesetIndex::new(snapshot);
    let options = Options { new_client: true, steps: false, ..Options::default() };
    let mut all = BTreeMap::new();
    for s in services {
        let any = |v4: &str, v6: &str| -> IpAddr {
            if s.family == IpFamily::V4 { v4.parse().unwrap() } else { v6.parse().unwrap() }
        };
        let node = any("192.168.50.10", "fd00:50::10");
        let pod = Ingress::Interface(Some("cni0".into()));
        let outside = Ingress::Interface(Some("eth0".into()));
        for f in &s.frontends {
            for (name, from, entrance) in [
                ("node", node, Ingress::Node),
                ("pod", any("10.244.0.250", "fd00:10:244::250"), pod.clone()),
                ("outside", any("192.168.50.1", "fd00:50::1"), outside.clone()),
                ("friend", any("203.0.113.9", "2001:db8:113::9"), outside.clone()),
            ] {
                let to = (f.address.unwrap_or(node), f.port);
                let packet = Packet::new((from, 40_000), to, s.protocol.number(), entrance);
                let walk = ruleset.walk(&packet, &options);
                let mut ends: Vec<String> = walk
                    .outcomes
                    .iter()
                    .map(|o| {
                        format!(
                            "{:?} {:?} {} {:.6} {}",
                            o.end,
                            o.backend,
                            o.masquerade,
                            o.probability,
                            o.tally.rules()
                        )
                    })
                    .collect();
                ends.sort();
                all.insert(format!("{} {} {to:?} from {name}", s.label(), s.protocol.lower()), ends);
            }
        }
    }
    all
}

/// Services in the order in which kube-proxy went through them: its rules are in that order, which is another at each
/// full sync (`syncProxyRules` ranges over a map).
fn as_written(services: Vec<Service>, snapshot: &Snapshot) -> Vec<Service> {
    // Its first rule in each chain.
    let places = |s: &Service| -> BTreeMap<String, u32> {
        let mut all = BTreeMap::new();
        for r in s.frontends.iter().flat_map(|f| [f.rule, f.refusal]).flatten() {
            let t = &snapshot.tables[r.table].table;
            let chain = t.chain_of(r.rule).map_or("?", |c| t.chain_name(c));
            let at = all.entry(format!("{} {} {chain}", t.family, t.name)).or_insert(r.rule.0);
            *at = r.rule.0.min(*at);
        }
        all
    };
    let all: Vec<BTreeMap<String, u32>> = services.iter().map(places).collect();
    // One that is before another in any chain was met before it.
    let mut left: Vec<usize> = (0..services.len()).collect();
    let mut order = Vec::new();
    while !left.is_empty() {
        let before = |a: usize, b: usize| {
            all[a].iter().any(|(chain, at)| all[b].get(chain).is_some_and(|other| at < other))
        };
        let first = |i: &usize| left.iter().all(|j| j == i || !before(*j, *i));
        let next = left.iter().position(first).expect("one order in all chains");
        order.push(left.remove(next));
    }
    let mut services: Vec<Option<Service>> = services.into_iter().map(Some).collect();
    order.into_iter().filter_map(|i| services[i].take()).collect()
}

/// Ways through the rules of a set as kube-proxy wrote them, and as kptop writes the same Services in that form.
fn both_ways(version: &'static str, mode: &'static str) -> [BTreeMap<String, Vec<String>>; 2] {
    in_new_netns(move || {
        let dir = set(version, mode);
        run("ip", &["addr", "add", "192.168.50.10/24", "dev", "lo"]);
        run("ip", &["addr", "add", "fd00:50::10/64", "dev", "lo", "nodad"]);
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
        std::fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").unwrap();
        match mode {
            "iptables-legacy" => load_legacy(&dir),
            "iptables-nft" => load_nft(&dir),
            _ => {
                run_with("nft", &["-f", "-"], &read(&dir, "nft-list-ruleset.txt").unwrap());
            }
        }
        let theirs = Live::open(None).unwrap().snapshot(Wanted::ALL);
        let model = Model::read(&theirs, &Names::default());
        let services = as_written(model.services.to_vec(), &theirs);
        let mut ours = Snapshot { tables: Vec::new(), ..theirs.clone() };
        for (family, cidr, node, cluster_ips) in [
            (IpFamily::V4, "10.244.0.0/16", "192.168.50.10", "10.96.0.0/12"),
            (IpFamily::V6, "fd00:10:244::/56", "fd00:50::10", "fd00:10:96::/112"),
        ] {
            let cluster_cidr = cidr.parse().ok();
            let tables = if mode == "nftables" {
                let node_port_addresses = vec![node.parse().unwrap()];
                let options = nftables::WriteOptions {
                    version: version.parse().unwrap(),
                    cluster_cidr,
                    node_port_addresses,
                    service_cidr: cluster_ips.parse().ok(),
                };
                vec![nftables::write(&services, family, &options)]
            } else {
                // In the captured sets of 1.20 and 1.25 kube-proxy did not know the node's address.
                let old = minor(version) <= 25;
                let options = iptables::WriteOptions {
                    version: version.parse().unwrap(),
                    cluster_cidr,
                    accounts: true,
                    node: node.parse().ok().filter(|_| !old),
                    ..Default::default()
                };
                iptables::write(&services, family, &options)
            };
            let tables = tables.into_iter().map(|(t, c)| TableState::new(Duration::ZERO, t.into(), c.into()));
            ours.tables.extend(tables);
        }
        [lengths(&theirs, &services), lengths(&ours, &services)]
    })
}

/// Ways through what kptop writes for the Services of a set are as long as through what kube-proxy wrote.
#[test]
fn written_rules_are_as_long_as_kube_proxys() {
    let (mut ways, mut others) = (0, 0);
    for (version, mode) in sets(&["iptables-legacy", "iptables-nft", "nftables"]) {
        let [theirs, ours] = both_ways(version, mode);
        assert!(theirs.len() > 150);
        let mut differ = 0;
        ways += theirs.len();
        for (way, lengths) in &theirs {
            if ours.get(way) != Some(lengths) {
                differ += 1;
                say(&format!("{version}/{mode}: {way}\n  theirs {lengths:?}\n  ours   {:?}", ours.get(way)));
            }
        }
        say(&format!(
            "{version}/{mode}: {} ways, {differ} of another length than kube-proxy's",
            theirs.len()
        ));
        others += differ;
    }
    assert_eq!(others, 0, "of {ways} ways");
}

/// 20,000 flows fall on the backends as the walk's probabilities say: chi-squared with 6 degrees of freedom, which chance
/// alone takes beyond 40 once in two million runs.
#[test]
fn flows_fall_on_the_backends_by_the_odds() {
    const FLOWS: u32 = 20_000;
    for (what, engine) in [
        ("iptables-legacy", Engine::IptablesLegacy),
        ("iptables-nft", Engine::IptablesNft),
        ("nftables", Engine::Nftables),
    ] {
        let endpoints: Vec<(IpAddr, bool)> =
            (1..=7).map(|n| (IpAddr::V4([10, 244, 1, n].into()), n % 3 == 0)).collect();
        let address: IpAddr = "10.96.7.7".parse().unwrap();
        let frontends = vec![(FrontendKind::ClusterIp, Some(address), 53, TrafficPolicy::Cluster)];
        let name = ServiceName::parse("probability/seven:dns").unwrap();
        let service = shop::build(name, Protocol::Udp, IpFamily::V4, 53, &endpoints, frontends);
        let lab = Lab::bare().unwrap();
        lab.install(engine, &[service]).unwrap();
        crate::common::walking::silence(&lab);
        let packet = move |n: u32| {
            let from = IpAddr::V4([10, 244, 128, 2 + (n / 10_000) as u8].into());
            let port = 1025 + (n % 10_000) as u16;
            let entrance = Ingress::Interface(Some("apps0".into()));
            Packet::new((from, port), (address, 53), 17, entrance)
        };
        let probability = inside(lab.node(), move || {
            let snapshot = Live::open(None)?.snapshot(Wanted::ALL);
            let walk = RulesetIndex::new(&snapshot).walk(&packet(0), &Options::default());
            Ok(walk
                .outcomes
                .iter()
                .map(|o| (o.backend.unwrap().0, o.probability))
                .collect::<BTreeMap<_, _>>())
        })
        .unwrap();
        assert_eq!(probability.len(), 7);
        inside(lab.origin(Origin::Pod), move || {
            let sender = Sender::open()?;
            (0..FLOWS).try_for_each(|n| sender.send(&packet(n)))
        })
        .unwrap();
        let fell = inside(lab.node(), move || {
            let mut fell: BTreeMap<IpAddr, u32> = BTreeMap::new();
            kptop::kernel::conntrack::Client::open()?.flows(|f| {
                if f.original.destination == address {
                    *fell.entry(f.reply.source).or_default() += 1;
                }
            })?;
            Ok(fell)
        })
        .unwrap();
        assert_eq!(fell.values().sum::<u32>(), FLOWS, "{what}: {fell:?}");
        let chi_squared: f64 = probability
            .iter()
            .map(|(backend, p)| {
                let expected = p * f64::from(FLOWS);
                let off = f64::from(fell.get(backend).copied().unwrap_or(0)) - expected;
                off * off / expected
            })
            .sum();
        say(&format!("{what}: {fell:?}, chi-squared {chi_squared:.1}"));
        assert!(chi_squared < 40.0, "{what}: {chi_squared} {fell:?} against {probability:?}");
    }
}

/// Random rules of every kind that this kernel's nft takes. `KPTOP_ODD_RULES` tries more.
#[test]
fn packets_go_as_told_through_odd_rules() {
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse().ok());
    let rules = number("KPTOP_ODD_RULES").unwrap_or(300) as usize;
    crate::common::odd_rules::walk_odd_rules(number("KPTOP_WALK_SEED").unwrap_or(15), rules);
}
