//! The walk beside the kernel: random packets are sent through a rule set in the lab, and the rules whose counters
//! went up must be exactly those of one of the ways that the walk reported.

use super::run;
use kptop::kernel::conntrack;
use kptop::kernel::fuzz::Random;
use kptop::lab::packets::Sender;
use kptop::lab::{Lab, Origin, inside};
use kptop::proxy::{FrontendKind, Model, Names, Service, memory_lists};
use kptop::ruleset::{IpFamily, IpNet, RuleId};
use kptop::snapshot::Snapshot;
use kptop::snapshot::live::{Live, LookedAt, Wanted};
use kptop::walk::{CtState, End, Ingress, Options, Outcome, Packet, RulesetIndex, StepKind, Trace};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How many packets each set gets: `KPTOP_WALK_PACKETS`, or few enough for CI.
pub fn packets(usual: usize) -> usize {
    std::env::var("KPTOP_WALK_PACKETS").ok().and_then(|n| n.parse().ok()).unwrap_or(usual)
}

const IN: &str = "table inet sink { chain in { type filter hook prerouting priority -400; policy drop; }; }";
const NODE: &str = "table inet sink { chain in { type filter hook input priority 30000; policy drop; }; }";

/// Nothing answers: what comes is swallowed, neighbours are known, and no packet is sent by the kernel itself.
pub fn silence(lab: &Lab) {
    let mac = |link: &'static str| {
        move || {
            let text = run("ip", &["-o", "link", "show", link]);
            let mut words = text.split_whitespace().skip_while(|w| *w != "link/ether");
            Ok(words.nth(1).unwrap().to_string())
        }
    };
    let outer = [
        (lab.pods(), "pods0", ["192.168.60.2", "fd00:60::2"], ["192.168.60.1", "fd00:60::1"]),
        (lab.origin(Origin::Pod), "apps0", ["192.168.61.2", "fd00:61::2"], ["192.168.61.1", "fd00:61::1"]),
        (
            lab.origin(Origin::Outside),
            "ext0",
            ["192.168.50.1", "fd00:50::1"],
            ["192.168.50.10", "fd00:50::10"],
        ),
    ];
    let quiet = || {
        for family in ["ipv4", "ipv6"] {
            for link in std::fs::read_dir(format!("/proc/sys/net/{family}/conf")).unwrap().flatten() {
                for (file, value) in
                    [("send_redirects", "0"), ("router_solicitations", "0"), ("rp_filter", "0")]
                {
                    let _ = std::fs::write(link.path().join(file), value);
                }
            }
        }
        let _ = std::fs::write("/proc/sys/net/ipv4/icmp_ratelimit", "0");
        let _ = std::fs::write("/proc/sys/net/ipv6/icmp/ratelimit", "0");
    };
    for (ns, link, theirs, ours) in outer {
        let their_mac = inside(ns, mac("eth0")).unwrap();
        let our_mac = inside(lab.node(), mac(link)).unwrap();
        inside(lab.node(), move || {
            for a in theirs {
                run("ip", &["neigh", "replace", a, "lladdr", &their_mac, "dev", link, "nud", "permanent"]);
            }
            Ok(())
        })
        .unwrap();
        inside(ns, move || {
            for a in ours {
                run("ip", &["neigh", "replace", a, "lladdr", &our_mac, "dev", "eth0", "nud", "permanent"]);
            }
            quiet();
            super::run_with("nft", &["-f", "-"], IN);
            Ok(())
        })
        .unwrap();
    }
    inside(lab.origin(Origin::Outside), || {
        run("ip", &["route", "replace", "default", "via", "192.168.50.10"]);
        run("ip", &["-6", "route", "replace", "default", "via", "fd00:50::10"]);
        Ok(())
    })
    .unwrap();
    inside(lab.node(), move || {
        quiet();
        // As kube-proxy sets it.
        std::fs::write("/proc/sys/net/ipv4/conf/all/route_localnet", "1").unwrap();
        super::run_with("nft", &["-f", "-"], NODE);
        Ok(())
    })
    .unwrap();
}

/// A packet with where it is sent from.
struct Shot {
    origin: usize,
    packet: Packet,
}

pub const NODE_ORIGIN: usize = 0;
const APPS: usize = 1;
const PODS: usize = 2;
const OUTSIDE: usize = 3;

struct Aim<'a> {
    services: &'a [Service],
    dice: Random,
    port: u16,
}

impl Aim<'_> {
    fn shot(&mut self) -> Shot {
        let service = self.services[self.dice.below(self.services.len())].clone();
        let v6 = service.family == IpFamily::V6;
        let any = |v4: &str, other: &str| -> IpAddr { if v6 { other } else { v4 }.parse().unwrap() };
        self.port = if self.port > 60_000 { 1025 } else { self.port + 1 };
        let node = [any("192.168.50.10", "fd00:50::10"), any("192.168.60.1", "fd00:60::1")];
        let mut protocol = service.protocol.number();
        let (to, port) =
            match (self.dice.below(20), service.frontends.get(self.dice.below(service.frontends.len()))) {
                (0, _) => (any("10.244.3.9", "fd00:10:244:3::9"), 8080),
                (1, _) => (any("203.0.113.77", "fd00:77::7"), 443),
                (2, _) => (node[0], 22),
                // A port that is no Service's.
                (3 | 4, Some(f)) => (f.address.unwrap_or(node[0]), 9999),
                (5, Some(f)) => {
                    protocol = *self.dice.pick(&[6, 17, 132]);
                    (f.address.unwrap_or(node[0]), f.port)
                }
                (_, Some(f)) if f.kind == Some(FrontendKind::NodePort) || f.address.is_none() => {
                    let local = any("127.0.0.1", "::1");
                    (*self.dice.pick(&[node[0], node[0], node[1], local]), f.port)
                }
                (_, Some(f)) => (f.address.unwrap_or(node[0]), f.port),
                (_, None) => (node[0], 1),
            };
        let mut origin = self.dice.below(4);
        let pods: IpNet = if v6 { "fd00:10:244::/48" } else { "10.244.0.0/16" }.parse().unwrap();
        if to.is_loopback() {
            origin = NODE_ORIGIN;
        } else if origin == PODS && pods.contains(to) {
            origin = APPS; // in the pods' own namespace every pod is at home
        }
        let source = match origin {
            NODE_ORIGIN if to.is_loopback() => to,
            NODE_ORIGIN => *self.dice.pick(&node),
            APPS => any(&format!("10.244.128.{}", 2 + self.dice.below(8)), "fd00:10:244:8000::2"),
            // A pod of the Service itself, perhaps.
            PODS => match service.backends.get(self.dice.below(service.backends.len().max(1) * 2)) {
                Some(b) if !node.contains(&b.address) => b.address,
                _ => any("10.244.0.77", "fd00:10:244::77"),
            },
            _ => match self.dice.below(4) {
                0 => any("203.0.113.9", "fd00:50::1"),
                1 => any("198.51.100.200", "2001:db8:99::9"),
                _ => any("192.168.50.1", "fd00:50::1"),
            },
        };
        let entrance = match origin {
            NODE_ORIGIN => Ingress::Node,
            APPS => Ingress::Interface(Some("apps0".into())),
            PODS => Ingress::Interface(Some("pods0".into())),
            _ => Ingress::Interface(Some("ext0".into())),
        };
        Shot { origin, packet: Packet::new((source, self.port), (to, port), protocol, entrance) }
    }
}

/// Counters of every rule that counts, by table and rule.
pub type Counts = BTreeMap<(String, u32), u64>;

pub fn table_name(snapshot: &Snapshot, table: usize) -> String {
    let t = &snapshot.tables[table];
    format!("{} {} {}", t.backend.name(), t.family, t.table.name)
}

pub fn counts(snapshot: &Snapshot) -> Counts {
    let mut all = Counts::new();
    for (i, t) in snapshot.tables.iter().enumerate() {
        let name = table_name(snapshot, i);
        for id in 0..t.table.rules.len() as u32 {
            if t.table.rules[id as usize].counted {
                all.insert((name.clone(), id), t.counter(RuleId(id)).packets);
            }
        }
    }
    all
}

pub fn rose(before: &Counts, after: &Counts) -> Counts {
    let moved = |(key, n): (&(String, u32), &u64)| {
        let more = n - before.get(key).copied().unwrap_or(0);
        (more > 0).then(|| (key.clone(), more))
    };
    after.iter().filter_map(moved).collect()
}

/// The rules that count on a way.
fn reported(snapshot: &Snapshot, walk: &Trace, outcome: &Outcome, into: &mut Counts) {
    for step in walk.path(outcome).into_iter().filter(|s| s.counted) {
        if let (StepKind::Matched(id) | StepKind::Counted(id), Some(place)) = (&step.kind, step.place) {
            *into.entry((table_name(snapshot, place.table), id.0)).or_default() += 1;
        }
    }
}

/// Rules that matched on a way, as text.
fn matched_texts<'a>(
    snapshot: &'a Snapshot,
    walk: &'a Trace,
    outcome: &Outcome,
) -> impl Iterator<Item = String> + 'a {
    walk.path(outcome).into_iter().filter_map(|step| {
        let (StepKind::Matched(id) | StepKind::Counted(id)) = &step.kind else { return None };
        let table = &snapshot.tables[step.place?.table].table;
        Some(table.rule_text(table.rule(*id)).to_string())
    })
}

/// Addresses that a refusal's answer may come from. Usually that to which the packet was sent; where a rule wrote
/// another into its header, the kernel takes that or one of its own, by the route (`icmp_send`).
fn sources_of_answer(
    snapshot: &Snapshot,
    packet: &Packet,
    walk: &Trace,
    outcome: &Outcome,
) -> BTreeSet<IpAddr> {
    let mut sources = BTreeSet::from([packet.destination]);
    for text in matched_texts(snapshot, walk, outcome) {
        if text.contains("addr set ") {
            sources.extend(text.split([' ', ',', '{', '}']).filter_map(|w| w.parse::<IpAddr>().ok()));
            sources.extend(snapshot.addresses.iter().map(|a| a.address));
        }
    }
    sources.retain(|a| a.is_ipv4() == packet.destination.is_ipv4());
    sources
}

/// Every set of rules that may have counted, with the outcome that it belongs to. A refusal's answer is a packet of
/// its own, which the node sends.
pub fn expectations<'w>(
    ruleset: &RulesetIndex<'_>,
    snapshot: &Snapshot,
    packet: &Packet,
    walk: &'w Trace,
) -> Vec<(Counts, &'w Outcome)> {
    let mut all = Vec::new();
    let mut answers = BTreeMap::new();
    for o in &walk.outcomes {
        let mut counts = Counts::new();
        reported(snapshot, walk, o, &mut counts);
        if o.end != End::Rejected {
            all.push((counts, o));
            continue;
        }
        // To a packet whose own checksum is wrong the kernel gives no answer (`nf_reject_verify_csum`): a rule wrote
        // into its header.
        if matched_texts(snapshot, walk, o).any(|text| text.contains(" set ")) {
            all.push((counts.clone(), o));
        }
        for source in sources_of_answer(snapshot, packet, walk, o) {
            let back = answers.entry(source).or_insert_with(|| {
                let answer = Packet {
                    source,
                    destination: packet.source,
                    protocol: if packet.source.is_ipv4() { 1 } else { 58 },
                    source_port: 0,
                    destination_port: 0,
                    entrance: Ingress::Node,
                    mark: 0,
                    state: CtState::Related,
                };
                ruleset.walk(&answer, &Options::default())
            });
            for b in &back.outcomes {
                let mut with = counts.clone();
                reported(snapshot, back, b, &mut with);
                all.push((with, o));
            }
        }
    }
    all
}

/// Rules that counted, as text.
pub fn names_of(snapshot: &Snapshot, counts: &Counts) -> Vec<String> {
    let name = |(key, n): (&(String, u32), &u64)| {
        let index = (0..snapshot.tables.len()).find(|t| table_name(snapshot, *t) == key.0).unwrap();
        let table = &snapshot.tables[index].table;
        let chain = table.chain_of(RuleId(key.1)).map_or("?", |c| table.chain_name(c));
        format!("{n}x {} {chain}: {}", key.0, table.rule_text(table.rule(RuleId(key.1))))
    };
    counts.iter().map(name).collect()
}

/// What happened to a run.
#[derive(Debug, Default)]
pub struct Report {
    pub packets: usize,
    pub ends: BTreeMap<String, usize>,
    pub forks: usize,
    pub rules_seen: BTreeSet<(String, u32)>,
    pub rules_in_all: usize,
}

impl Report {
    /// Says what was seen, and fails where that was too little to prove anything.
    pub fn check(&self, what: &str, rules: usize) {
        super::say(&format!(
            "{what}: {} packets, ends {:?}, {} with assumptions, {} of {} rules seen",
            self.packets,
            self.ends,
            self.forks,
            self.rules_seen.len(),
            self.rules_in_all
        ));
        assert!(self.ends.len() >= 2 && self.rules_seen.len() > rules, "{what}: {self:?}");
    }
}

/// Who sends, in the order of a packet's origin: the node, an asking pod, a serving pod, a client outside.
pub fn senders(lab: &Lab) -> [Sender; 4] {
    [lab.node(), lab.origin(Origin::Pod), lab.pods(), lab.origin(Origin::Outside)]
        .map(|namespace| inside(namespace, Sender::open).unwrap())
}

/// Loads rules in the node's namespace by `load`, and sends `n` packets.
pub fn walk_beside_the_kernel(seed: u64, n: usize, load: impl FnOnce() + Send + 'static) -> Report {
    // Other packets: `KPTOP_WALK_SEED`.
    let other = std::env::var("KPTOP_WALK_SEED").ok().and_then(|n| n.parse().ok());
    let seed = other.unwrap_or(seed);
    let lab = Lab::bare().unwrap();
    silence(&lab);
    let senders = senders(&lab);
    inside(lab.node(), move || {
        load();
        Ok(run_packets(seed, n, &senders))
    })
    .unwrap()
}

fn run_packets(seed: u64, n: usize, senders: &[Sender; 4]) -> Report {
    let mut live = Live::open(None).unwrap();
    let mut flows = conntrack::Client::open().unwrap();
    let mut snapshot = live.snapshot(Wanted::ALL);
    assert!(snapshot.failed().next().is_none(), "{:?}", snapshot.unread);
    let model = Model::read(&snapshot, &Names::default());
    assert!(model.services.len() > 10, "{} Services", model.services.len());
    let mut lists = Vec::new();
    for s in model.services.iter() {
        lists.extend(memory_lists(&snapshot, s));
    }
    live.look_at(LookedAt { memory: lists, ..LookedAt::default() });
    let mut aim = Aim { services: &model.services, dice: Random::new(seed), port: 1024 };
    // What the kernel sends by itself after links came up has ended when nothing counts for a second.
    let mut before = counts(&live.snapshot(Wanted::ALL));
    let mut still = Instant::now();
    while still.elapsed() < Duration::from_millis(1200) {
        std::thread::sleep(Duration::from_millis(100));
        let now = counts(&live.snapshot(Wanted::ALL));
        if now != before {
            (before, still) = (now, Instant::now());
        }
    }
    let mut report = Report { packets: n, rules_in_all: before.len(), ..Report::default() };
    for i in 0..n {
        let shot = aim.shot();
        snapshot = live.snapshot(Wanted::ALL);
        before = counts(&snapshot);
        let ruleset = RulesetIndex::new(&snapshot);
        let walk = ruleset.walk(&shot.packet, &Options::default());
        assert!(!walk.cut && !walk.outcomes.is_empty());
        for o in walk.outcomes.iter().filter(|o| o.assuming.is_empty()) {
            assert!(o.probability > 0.0 && o.probability <= 1.0 + 1e-9, "{o:?}");
        }
        let expected = expectations(&ruleset, &snapshot, &shot.packet, &walk);
        let sent = senders[shot.origin].send(&shot.packet);
        // Whatever refuses a packet in OUTPUT informs the sender.
        let refused = walk.outcomes.iter().any(|o| matches!(o.end, End::Dropped | End::Rejected | End::Lost));
        assert!(sent.is_ok() || (shot.origin == NODE_ORIGIN && refused), "{sent:?} {:?}", shot.packet);
        let began = Instant::now();
        let (real, alike) = loop {
            let after = counts(&live.snapshot(Wanted::ALL));
            let real = rose(&before, &after);
            let alike: Vec<&Outcome> = expected.iter().filter(|e| e.0 == real).map(|e| e.1).collect();
            if !alike.is_empty() || began.elapsed() > Duration::from_millis(700) {
                break (real, alike);
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        let Some(mut outcome) = alike.first().copied() else {
            let names = |c: &Counts| names_of(&snapshot, c);
            let reported: Vec<_> = expected
                .iter()
                .take(3)
                .map(|e| (names(&e.0), &e.1.end, &e.1.assuming, e.1.backend))
                .collect();
            panic!(
                "packet {i} {:?}\nthe kernel counted {:#?}\nthe walk reported {reported:#?}",
                shot.packet,
                names(&real)
            );
        };
        report.rules_seen.extend(real.into_keys());
        *report.ends.entry(format!("{:?}", outcome.end)).or_default() += 1;
        // Where it really went. A packet that the sink of the node took has no entry.
        if outcome.end == End::Sent {
            let p = &shot.packet;
            let mut entry = None;
            flows
                .flows(|f| {
                    let o = &f.original;
                    if (o.source, o.source_port, o.protocol) == (p.source, p.source_port, p.protocol)
                        && (o.destination, o.destination_port) == (p.destination, p.destination_port)
                    {
                        entry = Some(*f);
                    }
                })
                .unwrap();
            let entry = entry.unwrap_or_else(|| panic!("no flow of {p:?}, {outcome:?}"));
            let real = (entry.reply.source, entry.reply.source_port);
            // Rules that draw from a map count alike whatever they draw.
            let reported = |o: &Outcome| o.backend.unwrap_or((p.destination, p.destination_port));
            let mine = alike.iter().find(|o| o.end == End::Sent && reported(o) == real);
            let say = || alike.iter().map(|o| reported(o)).collect::<Vec<_>>();
            outcome = mine.unwrap_or_else(|| panic!("{p:?} went to {real:?}, reported were {:?}", say()));
            let same = entry.reply.destination == p.source;
            assert!(!outcome.masquerade || !same || p.source == entry.reply.destination, "{p:?} {entry:?}");
            assert!(outcome.masquerade || same, "not masqueraded, but {entry:?}");
        }
        report.forks += usize::from(!outcome.assuming.is_empty());
    }
    report
}
