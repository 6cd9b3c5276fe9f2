//! Nodes that are all made up, for tests of what the screen shows.

use super::{read, set};
use kptop::config::{Config, ThemeName};
use kptop::lab::shop;
use kptop::observe::Observer;
use kptop::proxy::{Names, iptables, nftables};
use kptop::ruleset::{
    BaseChain, ChainKind, Counter, Dialect, Family, Hook, IpFamily, Match, Policy, RuleSpec, Table,
    TableBackend, TableBuilder, TableCounters, Target, Verdict, parse_save,
};
use kptop::snapshot::facts::{
    ASSURED, AcctObject, ConntrackStat, Flow, Ipset, Limits, Member, SEEN_REPLY, Stats, Tuple,
};
use kptop::snapshot::{
    Conntrack, Flows, MemoryList, Reading, Remembered, RememberedClient, Snapshot, TableState,
};
use kptop::tui::{App, Theme, Update};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

pub fn new_app(theme: ThemeName) -> App {
    App::new(Theme::new(theme), Duration::from_secs(1), &Config::default())
}

pub fn update(observer: &mut Observer, snapshot: Snapshot) -> Update {
    let view = observer.observe(snapshot);
    Update::now(view, Duration::from_millis(3), Duration::ZERO)
}

fn state(table: Table, counters: TableCounters, backend: TableBackend) -> TableState {
    let bytes = (backend == TableBackend::XTables).then_some(200_000);
    TableState { bytes, ..TableState::new(Duration::from_secs(10), Arc::new(table), Arc::new(counters)) }
}

fn named(mut snapshot: Snapshot) -> Snapshot {
    let node = Arc::make_mut(&mut snapshot.node);
    node.hostname = Some("node-a".into());
    node.kernel = Some("6.1.0".into());
    snapshot
}

/// A reading of a captured set, and more two seconds apart, in which some counters moved.
pub fn readings(more: u64) -> Vec<Update> {
    let dir = set("1.36.2", "iptables-legacy");
    let mut observer = Observer::new(Names::default());
    let mut tables = Vec::new();
    for (family, file) in [(IpFamily::V4, "iptables-save-c.txt"), (IpFamily::V6, "ip6tables-save-c.txt")] {
        for saved in parse_save(&read(&dir, file).unwrap(), family).unwrap() {
            tables.push(state(saved.table, saved.counters, TableBackend::XTables));
        }
    }
    let mut reading = |tables: &[TableState], at: Duration| {
        let limits = Limits { count: Some(24_310), max: Some(262_144), ..Limits::default() };
        let conntrack = Some(Conntrack { at, limits, ..Conntrack::default() });
        let snapshot = named(Snapshot { tables: tables.to_vec(), conntrack, ..Snapshot::default() });
        update(&mut observer, snapshot)
    };
    let mut all = vec![reading(&tables, Duration::from_secs(10))];
    for round in 0..more {
        for t in &mut tables {
            t.at += Duration::from_secs(2);
            let counters = Arc::make_mut(&mut t.counters);
            for (i, c) in counters.rules.iter_mut().enumerate() {
                c.packets += (i as u64 % 7) * (2 + wave(i as u64, round) / 2);
            }
        }
        all.push(reading(&tables, Duration::from_secs(12 + 2 * round)));
    }
    all
}

fn flow(protocol: u8, from: (IpAddr, u16), to: (IpAddr, u16), backend: (IpAddr, u16), n: usize) -> Flow {
    let tuple = |source: (IpAddr, u16), destination: (IpAddr, u16)| Tuple {
        source: source.0,
        destination: destination.0,
        protocol,
        source_port: source.1,
        destination_port: destination.1,
    };
    Flow {
        original: tuple(from, to),
        reply: tuple(backend, from),
        status: if n % 5 == 4 { 0 } else { SEEN_REPLY | ASSURED },
        tcp_state: (protocol == 6).then_some([3, 3, 7, 4, 1][n % 5]),
        timeout: 30 + n as u32,
        traffic: None,
        began_ns: Some(1_700_000_000_000_000_000 - n as u64 * 30_000_000_000),
    }
}

/// Traffic that comes and goes, each Service's at times of its own: 0 to 12.
fn wave(of: u64, round: u64) -> u64 {
    const LENGTH: u64 = 24;
    let at = (round + of * 5) % LENGTH;
    at.min(LENGTH - at) + (of * 31 + round * 17) % 3
}

/// A node with the shop in iptables mode, traffic, and a conntrack that loses packets: three readings.
pub fn busy_node() -> Vec<Update> {
    busy_with("shop/sessions:redis", None, 3)
}

/// The same after some minutes, as pictures show it.
pub fn busy_for_long() -> Vec<Update> {
    busy_with("shop/sessions:redis", None, 110)
}

/// The same with a firewall that drops what goes to one of four backends of shop/cart.
pub fn losing_node(readings: u64) -> Vec<Update> {
    let services = shop::services(None, 4);
    let cart = services.iter().find(|s| s.label() == "shop/cart").unwrap();
    let mut b = TableBuilder::new(Family::Inet, TableBackend::NfTables, "quarantine");
    b.dialect = Dialect::Nft;
    let chain = b.chain("forward");
    let base =
        BaseChain { hook: Hook::Forward, kind: ChainKind::Filter, priority: 10, policy: Policy::Accept };
    b.base(chain, base, Counter::default());
    let IpAddr::V4(addr) = cart.backends[1].address else { panic!("{cart:?}") };
    let to = Match::Address4 { addr, prefix: 32, destination: true, invert: false };
    let counter = Counter { packets: 1_204, bytes: 72_240 };
    let target = Target::Verdict(Verdict::Drop);
    b.push(chain, RuleSpec { matches: vec![to, Match::Counter], target, counter });
    let (table, counters) = b.finish();
    busy_with("shop/cart", Some(state(table, counters, TableBackend::NfTables)), readings)
}

/// With the flows of one Service read one by one, and one more table.
fn busy_with(followed: &str, more: Option<TableState>, readings: u64) -> Vec<Update> {
    let services = shop::services(None, 4);
    let mut tables: Vec<TableState> = Vec::new();
    for family in [IpFamily::V4, IpFamily::V6] {
        let pods = more.is_some() && family == IpFamily::V4;
        let cluster_cidr = pods.then(|| "10.244.0.0/16".parse().unwrap());
        let options = iptables::WriteOptions { cluster_cidr, ..Default::default() };
        let written = iptables::write(&services, family, &options);
        tables.extend(written.into_iter().map(|(t, c)| state(t, c, TableBackend::XTables)));
    }
    let mut observer = Observer::new(Names::default());
    let mut all = Vec::new();
    for round in 0..readings {
        let at = Duration::from_secs(10 + 2 * round);
        for t in &mut tables {
            t.at = at;
            let counters = Arc::make_mut(&mut t.counters);
            for (i, c) in counters.rules.iter_mut().enumerate() {
                let more = if t.table.name == "nat" { (i as u64 % 11) * 3 } else { i as u64 % 3 };
                c.packets += more * if readings > 3 { 1 + wave(i as u64 / 11, round) } else { 1 + round };
                c.bytes += more * 60;
            }
        }
        let mut flows = Flows::default();
        let clients: Vec<IpAddr> = (2..8).map(|n| IpAddr::from([10, 244, 128, n])).collect();
        flows.look_at_sources(&clients);
        let redis = services.iter().find(|s| s.label() == "shop/sessions:redis").unwrap();
        let looked_at = services.iter().find(|s| s.label() == followed).unwrap();
        flows.follow(looked_at.frontends.iter().map(|f| (6, f.address, f.port)).collect());
        for (i, s) in services.iter().enumerate().filter(|(_, s)| s.family == IpFamily::V4) {
            let Some(to) = s.frontends[0].address else { continue };
            for (n, b) in s.backends.iter().enumerate() {
                for client in 0..(i * 7 + n) % 6 {
                    let from = (IpAddr::from([10, 244, 128, client as u8 + 2]), 40_000 + (i * 50 + n) as u16);
                    let (to, backend) = ((to, s.frontends[0].port), (b.address, b.port));
                    flows.add(&flow(s.protocol.number(), from, to, backend, client + n));
                }
            }
        }
        let stats = Stats::default()
            .with(ConntrackStat::Found, 7)
            .with(ConntrackStat::Invalid, 5 * round)
            .with(ConntrackStat::InsertFailed, 40 + 6 * round)
            .with(ConntrackStat::Drop, 0)
            .with(ConntrackStat::EarlyDrop, 0);
        let limits = Limits {
            count: Some(228_000 + 1500 * round.min(2)),
            max: Some(262_144),
            accounting: Some(false),
            timestamps: Some(true),
            ..Limits::default()
        };
        let conntrack = Conntrack {
            at,
            limits,
            stats: Some(stats),
            cpus: vec![stats, stats.with(ConntrackStat::InsertFailed, 0)],
            flows: Some(Reading { at, value: Arc::new(flows) }),
        };
        let endpoint = kptop::proxy::endpoint_text(redis.backends[1].address, redis.backends[1].port);
        let name = redis.name.as_ref().unwrap();
        let chain = kptop::proxy::endpoint_chain(name, redis.protocol, &endpoint);
        let client = |n: u8| RememberedClient {
            address: IpAddr::from([10, 244, 128, n]),
            expires: None,
            packets: Some(u32::from(n)),
        };
        let remembered = Remembered {
            lists: vec![(MemoryList::Recent(chain), vec![client(2), client(5)])],
            failed: Vec::new(),
        };
        let snapshot = Snapshot {
            taken_at: jiff::Timestamp::from_second(1_700_000_060).unwrap(),
            tables: tables.iter().chain(&more).cloned().collect(),
            conntrack: Some(conntrack),
            remembered: Some(Reading { at, value: Arc::new(remembered) }),
            ..Snapshot::default()
        };
        all.push(update(&mut observer, named(snapshot)));
    }
    all
}

/// One reading of a node with these Services in iptables mode.
pub fn node_of(services: &[kptop::proxy::Service]) -> Update {
    let written = [IpFamily::V4, IpFamily::V6]
        .into_iter()
        .flat_map(|family| iptables::write(services, family, &iptables::WriteOptions::default()));
    let tables = written.map(|(t, c)| state(t, c, TableBackend::XTables)).collect();
    update(&mut Observer::new(Names::default()), named(Snapshot { tables, ..Snapshot::default() }))
}

/// A node in nftables mode that still holds the rules of iptables mode, with flows, ipsets and a firewall.
pub fn moved_node() -> Update {
    let services = shop::services(None, 4);
    let options = nftables::WriteOptions {
        cluster_cidr: "10.244.0.0/16".parse().ok(),
        node_port_addresses: vec!["192.0.2.7".parse().unwrap()],
        ..Default::default()
    };
    let (native, counters) = nftables::write(&services, IpFamily::V4, &options);
    let old = iptables::write(&services[..6], IpFamily::V4, &iptables::WriteOptions::default());
    let mut tables: Vec<TableState> =
        old.into_iter().map(|(t, c)| state(t, c, TableBackend::XTables)).collect();
    let mut firewall = TableBuilder::new(Family::Inet, TableBackend::NfTables, "firewalld");
    firewall.dialect = Dialect::Nft;
    let chain = firewall.chain("filter_FORWARD");
    let (hook, kind) = (Hook::Forward, ChainKind::Filter);
    let base = BaseChain { hook, kind, priority: 10, policy: Policy::Accept };
    firewall.base(chain, base, Counter::default());
    let counter = Counter { packets: 12, bytes: 720 };
    let target = Target::Verdict(Verdict::Drop);
    firewall.push(chain, RuleSpec { matches: vec![Match::Counter], target, counter });
    let (firewall, counted) = firewall.finish();
    tables.push(state(firewall, counted, TableBackend::NfTables));
    tables.push(state(native, counters, TableBackend::NfTables));
    let mut flows = Flows::default();
    for s in services.iter().filter(|s| s.family == IpFamily::V4) {
        for (n, b) in s.backends.iter().enumerate() {
            let Some(to) = s.frontends[0].address else { continue };
            for client in 0..3 + n {
                let from = (IpAddr::from([10, 244, 128, 2]), 40_000 + client as u16);
                let (to, backend) = ((to, s.frontends[0].port), (b.address, b.port));
                flows.add(&flow(s.protocol.number(), from, to, backend, 0));
            }
        }
    }
    let at = Duration::from_secs(1);
    let flows = Some(Reading { at, value: Arc::new(flows) });
    let conntrack = Conntrack { at, flows, ..Conntrack::default() };
    let member =
        Member { address: "10.96.0.1".parse().ok(), protocol: Some(6), port: Some(443), ..Member::default() };
    let set = Ipset {
        name: "KUBE-CLUSTER-IP".into(),
        kind: "hash:ip,port".into(),
        size: 1,
        members: Some(vec![member]),
        ..Ipset::default()
    };
    let object = AcctObject { name: "ct_state_invalid_dropped_pkts".into(), counter, references: 1 };
    let snapshot = Snapshot {
        tables,
        conntrack: Some(conntrack),
        ipsets: Some(Reading { at, value: Arc::new(vec![set]) }),
        accounts: Some(Reading { at, value: Arc::new(vec![object]) }),
        ..Snapshot::default()
    };
    update(&mut Observer::new(Names::default()), snapshot)
}

/// A node on which things change: a rollout, a firewall, a sysctl; two readings.
pub fn changing_node() -> Vec<Update> {
    use kptop::ruleset::{Dialect, Hook, Target, Verdict};
    let services = shop::services(None, 4);
    let mut after = services.clone();
    let cart = after.iter_mut().find(|s| s.label() == "shop/cart").unwrap();
    let gone = cart.backends.remove(0);
    cart.backends.push(kptop::proxy::Backend { address: IpAddr::from([10, 244, 1, 99]), ..gone });
    after.retain(|s| s.label() != "shop/mail:smtp");
    let checkout = after.iter_mut().find(|s| s.label() == "shop/checkout:http").unwrap();
    checkout.backends.clear();
    checkout.frontends[0].action = kptop::proxy::Action::Reject;
    let mut observer = Observer::new(Names::default());
    [(services, "1"), (after, "0")]
        .into_iter()
        .zip(0..)
        .map(|((services, forward), round)| {
            let mut tables: Vec<TableState> = Vec::new();
            for family in [IpFamily::V4, IpFamily::V6] {
                let written = iptables::write(&services, family, &iptables::WriteOptions::default());
                tables.extend(written.into_iter().map(|(t, c)| state(t, c, TableBackend::XTables)));
            }
            if round == 1 {
                let mut b = TableBuilder::new(Family::Inet, TableBackend::NfTables, "firewalld");
                b.dialect = Dialect::Nft;
                let chain = b.chain("filter_FORWARD");
                let base = BaseChain {
                    hook: Hook::Forward,
                    kind: ChainKind::Filter,
                    priority: 10,
                    policy: Policy::Accept,
                };
                b.base(chain, base, Default::default());
                b.rule(chain, Vec::new(), Target::Verdict(Verdict::Drop));
                let (t, c) = b.finish();
                tables.push(state(t, c, TableBackend::NfTables));
            }
            for t in &mut tables {
                t.at = Duration::from_secs(10 + 9 * round);
            }
            let snapshot = Snapshot {
                taken_at: jiff::Timestamp::from_second(1_700_000_060 + 9 * round as i64).unwrap(),
                tables,
                sysctls: Arc::new([("net/ipv4/ip_forward".into(), forward.to_string())].into()),
                ..Snapshot::default()
            };
            update(&mut observer, named(snapshot))
        })
        .collect()
}

/// Packets of the shop that a drop monitor would report.
pub fn dropped_packets() -> kptop::snapshot::DropBatch {
    use kptop::snapshot::facts::{DroppedPacket, PacketHeader};
    let services = shop::services(None, 4);
    let to = |label: &str| {
        let s = services.iter().find(|s| s.label() == label).unwrap();
        (s.frontends[0].address.unwrap(), s.frontends[0].port)
    };
    let packet = |n: u16, to: (IpAddr, u16), reason: &str, symbol: &str| DroppedPacket {
        reason: Some(reason.into()),
        symbol: Some(symbol.into()),
        packet: Some(PacketHeader {
            source: IpAddr::from([10, 244, 128, 5]),
            destination: to.0,
            protocol: 6,
            ports: Some((40_000 + n, to.1)),
            tcp_flags: Some(2),
        }),
        ..DroppedPacket::default()
    };
    let payments = to("shop/payments:http");
    let mut packets: Vec<DroppedPacket> =
        (0..12).map(|n| packet(n, payments, "NETFILTER_DROP", "nf_hook_slow+0x71/0x10b")).collect();
    let cart = services.iter().find(|s| s.label() == "shop/cart").unwrap().backends[0].clone();
    packets.push(packet(50, (cart.address, cart.port), "NETFILTER_DROP", "nf_hook_slow+0x71/0x10b"));
    packets.push(packet(60, (IpAddr::from([192, 0, 2, 7]), 25), "IP_INNOROUTES", "ip_forward+0x21/0x400"));
    packets.push(packet(70, payments, "NOT_SPECIFIED", "tcp_v4_rcv+0x11/0x22"));
    kptop::snapshot::DropBatch { packets, span: Duration::from_secs(14), ..Default::default() }
}
