//! Walks through small tables made for the purpose. What real rules do is tested against the kernel (`tests/it/kernel/walk.rs`).

use super::*;
use crate::ruleset::{
    BaseChain, ChainKind, ConntrackMatch, Counter, Family, Match, Policy, PortRange, Table, TableBackend,
    TableBuilder, Target, Unknown, Verdict, ct_state, recent,
};
use crate::ruleset::{ChainId, Hook, IpFamily};
use crate::snapshot::facts::{InterfaceAddress, Ipvs, IpvsStats, RealServer, VirtualAddress, VirtualServer};
use crate::snapshot::{MemoryList, Reading, Remembered, RememberedClient, Snapshot, TableState};
use proptest::prelude::*;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn base(b: &mut TableBuilder, hook: Hook, kind: ChainKind, priority: i32, policy: Policy) -> ChainId {
    let id = b.chain(hook.chain_name());
    b.base(id, BaseChain { hook, kind, priority, policy }, Counter::default());
    id
}

fn builder(name: &str) -> TableBuilder {
    TableBuilder::new(Family::Ip, TableBackend::XTables, name)
}

fn snapshot(tables: Vec<Table>) -> Snapshot {
    let own = InterfaceAddress { interface: "eth0".into(), address: ip("192.0.2.1"), prefix: None };
    Snapshot {
        tables: tables
            .into_iter()
            .map(|t| TableState::new(Duration::ZERO, Arc::new(t), Arc::default()))
            .collect(),
        addresses: Arc::new(vec![own]),
        ..Snapshot::default()
    }
}

fn packet(to: &str, port: u16) -> Packet {
    let entrance = Ingress::Interface(Some("eth0".into()));
    Packet::new((ip("10.0.0.9"), 40_000), (ip(to), port), 6, entrance)
}

fn ends(snapshot: &Snapshot, p: &Packet) -> Vec<(End, f64, u32)> {
    let walk = RulesetIndex::new(snapshot).walk(p, &Options::default());
    walk.outcomes.iter().map(|o| (o.end, (o.probability * 1e6).round() / 1e6, o.tally.rules())).collect()
}

#[test]
fn goto_comes_back_to_the_last_jump_and_its_policy() {
    let mut b = builder("filter");
    let forward = base(&mut b, Hook::Forward, ChainKind::Filter, 0, Policy::Drop);
    let (a, c) = (b.chain("a"), b.chain("c"));
    b.rule(forward, vec![], Target::Verdict(Verdict::Jump(a)));
    b.rule(a, vec![], Target::Verdict(Verdict::Goto(c)));
    // Never met: a goto does not come back here.
    b.rule(a, vec![], Target::Verdict(Verdict::Accept));
    b.rule(c, vec![], Target::None);
    b.rule(forward, vec![], Target::None);
    let s = snapshot(vec![b.finish().0]);
    assert_eq!(ends(&s, &packet("10.9.9.9", 80)), [(End::Dropped, 1.0, 4)]);
    // A base chain that goes away keeps its policy.
    let mut b = builder("filter");
    let forward = base(&mut b, Hook::Forward, ChainKind::Filter, 0, Policy::Drop);
    let a = b.chain("a");
    b.rule(forward, vec![], Target::Verdict(Verdict::Goto(a)));
    b.rule(a, vec![], Target::Verdict(Verdict::Return));
    let s = snapshot(vec![b.finish().0]);
    assert_eq!(ends(&s, &packet("10.9.9.9", 80)), [(End::Dropped, 1.0, 2)]);
}

#[test]
fn chance_branches_with_its_odds() {
    let mut b = builder("nat");
    let pre = base(&mut b, Hook::Prerouting, ChainKind::Nat, -100, Policy::Accept);
    let to = |n: u8| Target::dnat_to(Ipv4Addr::new(10, 1, 0, n).into(), 8080, 2);
    let probability = |p: f64| {
        vec![Match::StatisticRandom { probability: (p * f64::from(0x8000_0000_u32)) as u32, invert: false }]
    };
    b.rule(pre, probability(0.25), to(1));
    b.rule(pre, probability(0.5), to(2));
    b.rule(pre, vec![], to(3));
    let s = snapshot(vec![b.finish().0]);
    let walk = RulesetIndex::new(&s).walk(&packet("10.96.0.1", 80), &Options::default());
    let mut found: Vec<(IpAddr, f64, u32)> =
        walk.outcomes.iter().map(|o| (o.backend.unwrap().0, o.probability, o.tally.rules())).collect();
    found.sort_by_key(|f| f.0);
    assert_eq!(found[0], (ip("10.1.0.1"), 0.25, 1));
    assert_eq!(found[1], (ip("10.1.0.2"), 0.375, 2));
    assert_eq!(found[2], (ip("10.1.0.3"), 0.375, 3));
    assert_eq!(walk.mean_rules(), Some(0.25 + 0.375 * 2.0 + 0.375 * 3.0));
    assert!(walk.outcomes.iter().all(|o| o.end == End::Sent && o.assuming.is_empty() && !o.masquerade));
}

#[test]
fn what_is_not_known_is_a_fork_and_said() {
    let mut b = builder("filter");
    let forward = base(&mut b, Hook::Forward, ChainKind::Filter, 0, Policy::Accept);
    let name = b.strings.intern("bpf");
    let unknown = Match::Unknown(Box::new(Unknown { name, revision: 1, bytes: Box::default() }));
    b.rule(forward, vec![unknown], Target::Verdict(Verdict::Drop));
    let s = snapshot(vec![b.finish().0]);
    let walk = RulesetIndex::new(&s).walk(&packet("10.9.9.9", 80), &Options::default());
    assert_eq!(walk.outcomes.len(), 2);
    assert!(walk.outcomes.iter().all(|o| o.assuming.len() == 1 && o.assuming[0].to_string().contains("bpf")));
    let dropped = walk.outcomes.iter().find(|o| o.end == End::Dropped).unwrap();
    assert!(dropped.assuming[0].answer == Some(Answer::Yes), "{dropped:?}");
    // The same question again is no other fork.
    let mut b = builder("filter");
    let forward = base(&mut b, Hook::Forward, ChainKind::Filter, 0, Policy::Accept);
    let eth = b.strings.intern("eth9");
    for _ in 0..3 {
        b.rule(forward, vec![Match::OutInterface { name: eth, invert: false }], Target::None);
    }
    let s = snapshot(vec![b.finish().0]);
    assert_eq!(ends(&s, &packet("10.9.9.9", 80)), [(End::Sent, 1.0, 3); 2]);
}

#[test]
fn a_target_that_nobody_knows_may_end_it() {
    let mut b = builder("filter");
    let forward = base(&mut b, Hook::Forward, ChainKind::Filter, 0, Policy::Accept);
    for name in ["LOG", "RATTLE"] {
        let name = b.strings.intern(name);
        let bytes = Box::default();
        b.rule(forward, vec![], Target::Unknown(Box::new(Unknown { name, revision: 0, bytes })));
    }
    let s = snapshot(vec![b.finish().0]);
    let mut found = ends(&s, &packet("10.9.9.9", 80));
    found.sort_by_key(|e| format!("{:?}", e.0));
    assert_eq!(found, [(End::Sent, 1.0, 2), (End::Undecided, 1.0, 2)]);
}

/// Ends of a packet that is forwarded through these rules, read from text.
fn ends_of_text(rules: &[&str]) -> Vec<End> {
    let text = format!(
        "table ip t {{\n chain f {{\n  type filter hook forward priority filter; policy accept;\n  {}\n }}\n}}\n",
        rules.join("\n  ")
    );
    let tables = crate::ruleset::parse_nft(&text).unwrap_or_else(|e| panic!("{text}: {e}"));
    let s = snapshot(tables.into_iter().map(|t| t.table).collect());
    let mut all: Vec<End> = ends(&s, &packet("10.9.9.9", 80)).into_iter().map(|e| e.0).collect();
    all.sort_by_key(|e| format!("{e:?}"));
    all.dedup();
    all
}

/// Rules that came as text are walked like those of the kernel.
#[test]
fn rules_from_text_are_walked() {
    let (dropped, sent) = (End::Dropped, End::Sent);
    let cases: &[(&[&str], &[End])] = &[
        // What the packet does not say is a fork.
        (&["tcp option sack-perm exists counter drop"], &[dropped, sent]),
        (&["tcp option maxseg size 1-500 drop"], &[dropped, sent]),
        (&["meta mark set jhash ip saddr mod 2", "meta mark 0x00000001 drop"], &[dropped, sent]),
        (&["meta mark set numgen random mod 4", "meta mark 0x00000003 drop"], &[dropped, sent]),
        // What a rule wrote is known: marks lie in the host's byte order, and their ranges, too.
        (&["meta mark 0x00000010-0x00000020 drop"], &[sent]),
        (&["meta mark set ct mark", "meta mark 0x00000007 drop"], &[sent]), // a new flow has none
        (&["meta mark set 0x00000015", "meta mark 0x00000010-0x00000020 drop"], &[dropped]),
        (&["meta mark set 0x00001500", "meta mark 0x00000010-0x00000020 drop"], &[sent]),
        (&["meta mark set 0x00000015", "meta mark { 0x00000010-0x00000020, 0x00000030 } drop"], &[dropped]),
        (&["tcp dport 70-90 drop"], &[dropped]),
    ];
    for (rules, wanted) in cases {
        assert_eq!(ends_of_text(rules), *wanted, "{rules:?}");
    }
    // Not read from text yet: what such a rule may write is unknown, so that the true end is among the ends.
    let cases: &[(&[&str], End)] = &[
        (&["ip dscp set cs1", "ip dscp cs1 drop"], dropped),
        (&["ip daddr set 10.1.1.1", "ip daddr 10.1.0.0/16 drop"], dropped),
        (&["tcp dport set 8080", "tcp dport 80 drop"], sent),
        (&["tcp dport set 8080", "tcp dport 8080 drop"], dropped),
    ];
    for (rules, end) in cases {
        let found = ends_of_text(rules);
        assert!(found.contains(end), "{rules:?}: {found:?}");
    }
}

#[test]
fn remembered_clients_go_where_they_were() {
    let mut b = builder("nat");
    let pre = base(&mut b, Hook::Prerouting, ChainKind::Nat, -100, Policy::Accept);
    let name = b.strings.intern("LIST");
    let check = Match::Recent(Box::new(crate::ruleset::RecentMatch {
        name,
        seconds: 0,
        hit_count: 0,
        check_set: recent::CHECK,
        invert: false,
        side: 0,
        mask: Ipv4Addr::BROADCAST.into(),
        revision: 1,
    }));
    b.rule(pre, vec![check], Target::dnat_to(ip("10.1.0.1"), 80, 2));
    b.rule(pre, vec![], Target::dnat_to(ip("10.1.0.2"), 80, 2));
    let mut s = snapshot(vec![b.finish().0]);
    let p = packet("10.96.0.1", 80);
    let backends = |s: &Snapshot, options: &Options| -> Vec<IpAddr> {
        let walk = RulesetIndex::new(s).walk(&p, options);
        walk.outcomes.iter().map(|o| o.backend.unwrap().0).collect()
    };
    assert_eq!(backends(&s, &Options::default()).len(), 2, "the list was not read");
    let new = Options { new_client: true, ..Options::default() };
    assert_eq!(backends(&s, &new), [ip("10.1.0.2")]);
    let client = RememberedClient { address: ip("10.0.0.9"), expires: None, packets: None };
    for (clients, to) in [(vec![client], "10.1.0.1"), (Vec::new(), "10.1.0.2")] {
        let lists = vec![(MemoryList::Recent("LIST".into()), clients)];
        let value = Arc::new(Remembered { lists, failed: Vec::new() });
        s.remembered = Some(Reading { at: Duration::ZERO, value });
        assert_eq!(backends(&s, &Options::default()), [ip(to)]);
    }
}

#[test]
fn an_interface_and_a_state_decide_where_they_are_known() {
    let mut b = builder("filter");
    let input = base(&mut b, Hook::Input, ChainKind::Filter, 0, Policy::Accept);
    let eth = b.strings.intern("eth+");
    b.rule(input, vec![Match::InInterface { name: eth, invert: true }], Target::Verdict(Verdict::Accept));
    let state = ConntrackMatch { states: ct_state::NEW, invert: false, state_alias: false, revision: 3 };
    let tcp = Match::Tcp {
        source: PortRange::ANY,
        destination: PortRange::one(22),
        option: 0,
        flag_mask: 0x17,
        flag_set: 0x02,
        invert: 0,
    };
    b.rule(input, vec![Match::Conntrack(state), tcp], Target::Reject { with: 3 });
    let s = snapshot(vec![b.finish().0]);
    assert_eq!(ends(&s, &packet("192.0.2.1", 22)), [(End::Rejected, 1.0, 2)]);
    assert_eq!(ends(&s, &packet("192.0.2.1", 23)), [(End::Delivered, 1.0, 2)]);
    let later = Packet { state: CtState::Established, ..packet("192.0.2.1", 22) };
    assert_eq!(ends(&s, &later), [(End::Delivered, 1.0, 2)]);
    let nowhere = Packet { entrance: Ingress::Interface(None), ..packet("192.0.2.1", 22) };
    assert_eq!(ends(&s, &nowhere).len(), 2);
}

#[test]
fn ipvs_takes_a_packet_to_its_servers_by_weight() {
    let real = |n: u8, weight: u32| RealServer::new(Ipv4Addr::new(10, 1, 0, n).into(), 8080, weight);
    let server = VirtualServer {
        family: IpFamily::V4,
        address: VirtualAddress::Socket { protocol: 6, address: ip("192.0.2.1"), port: 80 },
        scheduler: "wrr".into(),
        flags: 0,
        timeout: 0,
        netmask: u32::MAX,
        persistence_engine: None,
        stats: IpvsStats::default(),
        real_servers: vec![real(1, 3), real(2, 1), real(3, 0)],
    };
    let mut s = snapshot(Vec::new());
    let value = Arc::new(Ipvs { servers: vec![server], ..Ipvs::default() });
    s.ipvs = Some(Reading { at: Duration::ZERO, value });
    let walk = RulesetIndex::new(&s).walk(&packet("192.0.2.1", 80), &Options::default());
    let found: Vec<_> = walk.outcomes.iter().map(|o| (o.backend, o.probability, o.end)).collect();
    assert_eq!(
        found,
        [(Some((ip("10.1.0.1"), 8080)), 0.75, End::Sent), (Some((ip("10.1.0.2"), 8080)), 0.25, End::Sent)]
    );
    assert_eq!(ends(&s, &packet("192.0.2.1", 81)), [(End::Delivered, 1.0, 0)]);
}

#[test]
fn a_node_that_does_not_forward_loses_it() {
    let mut s = snapshot(Vec::new());
    s.sysctls = Arc::new([("net/ipv4/ip_forward".into(), "0".to_string())].into());
    assert_eq!(ends(&s, &packet("10.9.9.9", 80)), [(End::Lost, 1.0, 0)]);
    assert_eq!(ends(&s, &packet("192.0.2.1", 80)), [(End::Delivered, 1.0, 0)]);
}

#[test]
fn loopback_addresses_stay_on_the_node_without_route_localnet() {
    let mut b = builder("nat");
    let output = base(&mut b, Hook::Output, ChainKind::Nat, -100, Policy::Accept);
    b.rule(output, vec![], Target::dnat_to(ip("10.1.0.1"), 80, 2));
    let mut s = snapshot(vec![b.finish().0]);
    let local = Packet { source: ip("127.0.0.1"), entrance: Ingress::Node, ..packet("127.0.0.1", 80) };
    assert_eq!(ends(&s, &local), [(End::Sent, 1.0, 1)]);
    let any = crate::snapshot::facts::ANY_ROUTE_LOCALNET;
    s.sysctls = Arc::new([(any.into(), "0".to_string())].into());
    assert_eq!(ends(&s, &local), [(End::Lost, 1.0, 1)]);
    // From the wire it is a martian.
    assert_eq!(ends(&s, &packet("127.0.0.1", 80)), [(End::Lost, 1.0, 0)]);
    s.sysctls = Arc::new([(any.into(), "1".to_string())].into());
    assert_eq!(ends(&s, &local), [(End::Sent, 1.0, 1)]);
}

proptest! {
    /// Whatever jumps where: a walk ends, what chance decides sums up to one, and counting alone finds the same ends as
    /// keeping every step.
    #[test]
    fn any_table_is_walked_to_its_end(
        rules in proptest::collection::vec((0u8..6, 0u8..9, 0u8..6, any::<bool>()), 0..40),
        drop in any::<bool>(),
    ) {
        let mut b = builder("filter");
        let policy = if drop { Policy::Drop } else { Policy::Accept };
        let forward = base(&mut b, Hook::Forward, ChainKind::Filter, 0, policy);
        let chains: Vec<ChainId> =
            std::iter::once(forward).chain((1..6).map(|n| b.chain(&format!("c{n}")))).collect();
        let mut draws = 0;
        for (chain, what, to, other) in rules {
            let mut matches = Vec::new();
            if other {
                matches.push(Match::Address4 {
                    addr: Ipv4Addr::new(10, 9, 9, 8 + what % 2),
                    prefix: 32,
                    destination: true,
                    invert: false,
                });
            }
            let jump = chains[usize::from(to)];
            let target = match what {
                0 => Target::Verdict(Verdict::Accept),
                1 => Target::Verdict(Verdict::Drop),
                2 => Target::Verdict(Verdict::Return),
                // Only forwards: a circle that branches would be gone through very often.
                3 | 4 if to > chain => Target::Verdict(Verdict::Jump(jump)),
                5 => Target::Verdict(Verdict::Goto(jump)),
                6 if draws < 4 => {
                    draws += 1;
                    matches.push(Match::StatisticRandom { probability: 1 << 30, invert: false });
                    Target::None
                }
                _ => Target::Mark { mark: 1, mask: 1 },
            };
            b.rule(chains[usize::from(chain)], matches, target);
        }
        let s = snapshot(vec![b.finish().0]);
        let ruleset = RulesetIndex::new(&s);
        let p = packet("10.9.9.9", 80);
        let limited = Options { most_outcomes: 500, ..Options::default() };
        let walk = ruleset.walk(&p, &limited);
        prop_assert!(!walk.outcomes.is_empty());
        if !walk.cut {
            let sum: f64 = walk.outcomes.iter().map(|o| o.probability).sum();
            prop_assert!((sum - 1.0).abs() < 1e-6, "{sum}");
            let bare = ruleset.walk(&p, &Options { steps: false, ..limited });
            prop_assert!(bare.steps.is_empty());
            for (a, b) in walk.outcomes.iter().zip(&bare.outcomes) {
                prop_assert_eq!((&a.end, a.tally, a.probability), (&b.end, b.tally, b.probability));
            }
            for o in &walk.outcomes {
                let reported: u32 = walk.path(o).iter().map(|s| match s.kind {
                    StepKind::Matched(_) | StepKind::Counted(_) => 1,
                    StepKind::Passed(_, n) => n,
                    _ => 0,
                }).sum();
                prop_assert_eq!(reported, o.tally.rules());
            }
        }
    }
}
