//! Random native rules beside the kernel: whatever nft's grammar has, in every chain that a packet meets. The rules
//! whose counters went up must be exactly those of one of the ways that the walk reported.

use super::walking::{Counts, NODE_ORIGIN, counts, expectations, names_of, rose, senders, silence};
use super::{run_with, say};
use kptop::kernel::fuzz::Random;
use kptop::lab::packets::Sender;
use kptop::lab::{Lab, inside};
use kptop::snapshot::live::{Live, Wanted};
use kptop::walk::{End, Ingress, Options, Packet, RulesetIndex};
use std::collections::BTreeMap;
use std::io::Write;
use std::net::IpAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Base chains: name, how it hangs, and whether it translates.
const CHAINS: &[(&str, &str, bool)] = &[
    ("c_raw", "type filter hook prerouting priority raw", false),
    ("c_pre", "type filter hook prerouting priority mangle", false),
    ("c_dnat", "type nat hook prerouting priority dstnat", true),
    ("c_late", "type filter hook prerouting priority 10", false),
    ("c_in", "type filter hook input priority filter", false),
    ("c_fwd", "type filter hook forward priority filter", false),
    ("c_outraw", "type filter hook output priority raw", false),
    ("c_outnat", "type nat hook output priority -100", true),
    ("c_out", "type filter hook output priority filter", false),
    ("c_post", "type filter hook postrouting priority mangle", false),
    ("c_snat", "type nat hook postrouting priority srcnat", true),
];
/// Hooks whose last chain counts what is left.
const HOOKS: &[&str] = &["prerouting", "input", "forward", "output", "postrouting"];

const SETS: &str = "
    set addresses { type ipv4_addr; flags interval; elements = { 10.244.0.0/16, 127.0.0.2-127.0.0.4, 192.168.50.1 }; };
    set ports { type inet_service; elements = { 80, 443, 9000 }; };
    set marks { type mark; flags interval; elements = { 1-5, 9, 0x100-0x1ff }; };
    set links { type ifname; flags interval; elements = { \"ext*\", \"lo\" }; };
    set both { type ipv4_addr . inet_service . inet_proto; flags interval; elements = { 127.0.0.0/8 . 80-90 . tcp, 10.244.3.9 . 443 . udp }; };
    set seen { type ipv4_addr; size 50; flags dynamic; };
    set seen2 { type ipv4_addr . inet_service; size 50; flags dynamic; };
    map verdicts { type inet_service : verdict; elements = { 80 : drop, 443 : accept, 9000 : jump sub }; };
    map where { type ipv4_addr : verdict; flags interval; elements = { 127.0.0.0/8 : continue, 192.168.50.0/24 : goto sub }; };
    map markof { type inet_service : mark; elements = { 80 : 5, 443 : 0x101 }; };
    counter cnt { }
    quota much { over 10 mbytes }
    quota none { until 1 mbytes }
    limit slow { rate 5/hour }
";

/// What rules ask.
const CONDITIONS: &[&str] = &[
    "ip daddr 127.0.0.2",
    "ip daddr 127.0.0.0/8",
    "ip daddr != 127.0.0.3",
    "ip saddr 127.0.0.1",
    "ip saddr 10.244.0.0/16",
    "ip daddr @addresses",
    "ip daddr != @addresses",
    "ip saddr @addresses",
    "ip daddr 127.0.0.1-127.0.0.3",
    "ip daddr > 127.0.0.2",
    "ip saddr & 255.0.0.1 == 127.0.0.1",
    "ip daddr { 127.0.0.1, 10.244.0.0/16 }",
    "ip6 daddr ::1",
    "ip6 saddr fd00::/8",
    "tcp dport 80",
    "tcp dport != 80",
    "tcp dport 80-443",
    "tcp dport { 80, 9000-9100 }",
    "tcp dport @ports",
    "udp dport 443",
    "udp dport != 80-90",
    "th dport 80",
    "th dport >= 443",
    "th sport > 1024",
    "sctp dport 80",
    "meta l4proto tcp",
    "meta l4proto { tcp, udp }",
    "meta l4proto != udp",
    "ip protocol udp",
    "meta nfproto ipv4",
    "meta nfproto ipv6",
    "meta protocol ip",
    "ip daddr . tcp dport { 127.0.0.1 . 80, 127.0.0.2 . 443 }",
    "ip daddr . th dport . meta l4proto @both",
    "meta mark 0",
    "meta mark 1",
    "meta mark 1-5",
    "meta mark != 0",
    "meta mark @marks",
    "meta mark & 0xff == 5",
    "meta mark > 0x10",
    "ct mark 5",
    "ct mark != 0",
    "ct mark 1-9",
    "ct state new",
    "ct state != new",
    "ct state { new, untracked }",
    "ct state untracked",
    "ct state invalid",
    "ct direction original",
    "ct status dnat",
    "ct status snat",
    "ct status ! dnat",
    "ct original ip daddr 127.0.0.2",
    "ct protocol tcp",
    "ct original ip saddr 127.0.0.0/8",
    "ct l3proto ipv4",
    "ct helper \"ftp\"",
    "ct zone 5",
    "ct label 5",
    "ct expiration 1s-1d",
    "ct bytes > 10",
    "iifname \"lo\"",
    "iifname != \"lo\"",
    "iifname \"ext*\"",
    "iifname @links",
    "iifname { \"lo\", \"apps0\" }",
    "iif \"lo\"",
    "oifname \"lo\"",
    "oifname != \"lo\"",
    "oifname \"pods*\"",
    "oif \"lo\"",
    "meta iiftype loopback",
    "meta oiftype ether",
    "meta length 20-60",
    "meta length > 100",
    "meta priority 0:1",
    "meta cpu 0",
    "meta pkttype host",
    "meta pkttype { broadcast, multicast }",
    "meta skuid 0",
    "meta skgid 1000",
    "meta cgroup 5",
    "meta hour \"00:00\"-\"23:59\"",
    "meta time > \"2020-01-01 00:00:00\"",
    "meta random < 0x80000000",
    "meta rtclassid 5",
    "iifgroup default",
    "oifgroup 5",
    "meta ipsec missing",
    "meta oifkind \"veth\"",
    "ip ttl 64",
    "ip ttl > 10",
    "ip dscp cs1",
    "ip dscp != cs0",
    "ip ecn not-ect",
    "ip length < 100",
    "ip frag-off & 0x1fff == 0",
    "ip hdrlength 5",
    "ip version 4",
    "ip id 0",
    "ip checksum 0",
    "ip6 hoplimit 64",
    "ip6 nexthdr tcp",
    "ip6 flowlabel 0",
    "tcp flags syn",
    "tcp flags & (fin|syn|rst|ack) == syn",
    "tcp flags ! ack",
    "tcp flags { syn, fin }",
    "tcp window > 100",
    "tcp sequence 0",
    "tcp doff 5",
    "tcp urgptr 0",
    "udp length 8-20",
    "udp checksum != 0",
    "icmp type echo-request",
    "tcp option maxseg exists",
    "tcp option maxseg missing",
    "tcp option sack-perm exists",
    "tcp option maxseg size 1-1460",
    "tcp option 30 exists",
    "tcp option timestamp missing",
    "ip option rr exists",
    "ip option lsrr missing",
    "exthdr hbh exists",
    "exthdr frag missing",
    "frag id 5",
    "sctp chunk data exists",
    "sctp chunk init missing",
    "dccp type request",
    "fib daddr type local",
    "fib daddr type != local",
    "fib saddr type { local, unicast }",
    "fib daddr . iif type local",
    "fib saddr . iif oif missing",
    "fib daddr oifname \"lo\"",
    "fib saddr oif exists",
    "numgen inc mod 2 0",
    "numgen random mod 3 < 2",
    "numgen random mod 4 offset 3 4-5",
    "jhash ip daddr mod 4 0-1",
    "jhash ip saddr . th dport mod 2 seed 0x5 0",
    "symhash mod 2 1",
    "symhash mod 3 offset 5 { 5, 7 }",
    "rt classid 0",
    "rt ip nexthop 127.0.0.1",
    "rt ipsec missing",
    "socket transparent 0",
    "socket transparent 1",
    "socket mark 5",
    "socket wildcard 0",
    "osf name \"Linux\"",
    "osf ttl skip name \"unknown\"",
    "ipsec in reqid 1",
    "@nh,128,32 0x7f000002",
    "@th,16,16 80",
    "@nh,72,8 17",
    "@th,0,16 > 1024",
    "@nh,96,16 0x7f00",
    "@ll,0,8 0",
    "limit rate 100/second",
    "limit rate over 100/second",
    "limit rate 1/hour burst 1 packets",
    "quota over 1 mbytes",
    "quota until 1 kbytes",
    "ct count 1000",
    "ct count over 2",
    "limit name \"slow\"",
    "quota name \"much\"",
    "quota name \"none\"",
    "update @seen { ip saddr limit rate 3/hour }",
    "add @seen { ip saddr ct count over 1 }",
    "ah spi 5",
    "esp spi 5",
    "comp cpi 5",
    "igmp type membership-query",
    "ether type ip",
    "ether saddr 00:11:22:33:44:55",
    "vlan id 5",
    "meta secpath missing",
    "rt type 0",
    "mh type 5",
    "dst nexthdr 6",
    "hbh hdrlength 0",
];

/// What rules do on the way.
const STATEMENTS: &[&str] = &[
    "meta mark set 1",
    "meta mark set 5",
    "meta mark set 0x101",
    "meta mark set meta mark | 0x10",
    "meta mark set meta mark & 0xf0",
    "meta mark set meta mark xor 0x3",
    "meta mark set ct mark",
    "meta mark set tcp dport map @markof",
    "meta mark set symhash mod 3",
    "meta mark set jhash ip daddr mod 2 offset 4",
    "meta mark set numgen random mod 2 offset 1",
    "meta mark set meta cpu",
    "ct mark set 5",
    "ct mark set meta mark",
    "ct mark set ct mark | 4",
    "ct mark set symhash mod 2",
    "ct mark set numgen inc mod 3",
    "ct label set 5",
    "ct zone set 3",
    "meta priority set 1:2",
    "meta priority set none",
    "meta nftrace set 0",
    "meta pkttype set host",
    "ip dscp set cs1",
    "ip ecn set ce",
    "ip ttl set 9",
    "ip6 dscp set ef",
    "ip6 hoplimit set 9",
    "tcp window set 100",
    "ip daddr set 127.0.0.3",
    "ip daddr set 127.0.0.2",
    "ip6 daddr set ::1",
    "tcp dport set 443",
    "tcp dport set 80",
    "udp dport set 443",
    "tcp sport set 99",
    "udp checksum set 0",
    "th dport set 80",
    "tcp option maxseg size set 1000",
    "reset tcp option timestamp",
    "notrack",
    "log",
    "log prefix \"x\" level debug",
    "counter name \"cnt\"",
    "add @seen { ip saddr }",
    "update @seen2 { ip daddr . th dport }",
    "delete @seen { ip saddr }",
    "add @seen { ip saddr counter }",
    "last",
    "ct helper set \"none\"",
    "ip daddr set numgen random mod 2 map { 0 : 127.0.0.3, 1 : 127.0.0.4 }",
    "tcp dport set symhash mod 2 map { 0 : 80, 1 : 443 }",
    "@nh,128,32 set 0x7f000003",
    "@th,16,16 set 80",
];

const VERDICTS: &[&str] = &[
    "",
    "",
    "",
    "accept",
    "accept",
    "drop",
    "return",
    "continue",
    "jump sub",
    "goto sub",
    "jump sub2",
    "reject",
];
const LAST: &[&str] = &[
    "tcp dport vmap @verdicts",
    "ip daddr vmap @where",
    "numgen random mod 3 vmap { 0 : accept, 1 : drop, 2 : continue }",
    "symhash mod 2 vmap { 0 : jump sub, 1 : return }",
    "jhash ip saddr . ip daddr mod 4 vmap { 0-1 : accept, 2 : drop }",
    "tcp dport . ip daddr vmap { 80 . 127.0.0.1 : drop, 443 . 127.0.0.0/8 : jump sub }",
    "meta mark vmap { 0 : continue, 1-9 : drop }",
    "iifname vmap { \"lo\" : jump sub, \"ext0\" : drop }",
    "ct state vmap { new : jump sub, invalid : drop }",
];
const NAT: &[&str] = &[
    "meta l4proto tcp dnat ip to 127.0.0.3:443",
    "meta l4proto udp dnat ip to 127.0.0.4:80",
    "dnat ip to 127.0.0.2",
    "meta l4proto tcp redirect to :9000",
    "meta l4proto udp redirect to :80-81",
    "meta nfproto ipv4 dnat ip to numgen random mod 2 map { 0 : 127.0.0.3, 1 : 127.0.0.4 }",
    "meta l4proto tcp dnat ip to 127.0.0.3-127.0.0.4:80-90",
    "meta nfproto ipv4 dnat ip to symhash mod 2 map { 0 : 127.0.0.2, 1 : 127.0.0.3 }",
    "accept",
    "return",
];
const SNAT: &[&str] = &["masquerade", "masquerade fully-random", "accept", "snat ip to 127.0.0.9", "return"];

/// A random rule for a chain.
fn rule(dice: &mut Random, chain: &str, nat: bool) -> String {
    let mut text = String::new();
    for _ in 0..dice.below(3) + usize::from(nat) {
        text.push_str(dice.pick::<&str>(CONDITIONS));
        text.push(' ');
    }
    if dice.below(3) == 0 && !nat {
        text.push_str(dice.pick::<&str>(STATEMENTS));
        text.push(' ');
        if dice.below(3) == 0 {
            text.push_str(dice.pick::<&str>(CONDITIONS));
            text.push(' ');
        }
    }
    text.push_str("counter ");
    text.push_str(match nat {
        true if chain == "c_snat" => dice.pick::<&str>(SNAT),
        true => dice.pick::<&str>(NAT),
        false if dice.below(5) == 0 => dice.pick::<&str>(LAST),
        false => dice.pick::<&str>(VERDICTS),
    });
    format!("add rule inet odd {chain} {text}\n")
}

fn takes(line: &str) -> bool {
    let mut nft =
        Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    nft.stdin.take().unwrap().write_all(line.as_bytes()).unwrap();
    nft.wait().unwrap().success()
}

/// Fills the table again; gives how many rules the kernel took.
fn fill(dice: &mut Random) -> usize {
    let mut text = String::from("table inet odd\ndelete table inet odd\ntable inet odd {\n");
    text.push_str(SETS);
    text.push_str("chain sub { counter return; }\nchain sub2 { meta mark 5 counter drop; ip daddr 127.0.0.3 counter; }\n");
    for (name, how, _) in CHAINS {
        text.push_str(&format!("chain {name} {{ {how}; }}\n"));
    }
    for hook in HOOKS {
        text.push_str(&format!("chain last_{hook} {{ type filter hook {hook} priority 20000; counter; }}\n"));
    }
    // Flows are tracked where a rule asks for it, and only then do nat chains see them.
    text.push_str("chain flows { type filter hook output priority 30000; ct state new; }\n}\n");
    run_with("nft", &["-f", "-"], &text);
    let mut taken = 0;
    for _ in 0..10 {
        let (chain, _, nat) = dice.pick(CHAINS);
        taken += usize::from(takes(&rule(dice, chain, *nat)));
    }
    taken
}

fn packet(dice: &mut Random, port: u16) -> (usize, Packet) {
    let protocol = *dice.pick(&[6, 6, 6, 17, 17, 132]);
    let to_port = *dice.pick(&[80, 80, 443, 9000, 5000]);
    let v6 = dice.below(6) == 0;
    let any = |v4: &str, other: &str| -> IpAddr { if v6 { other } else { v4 }.parse().unwrap() };
    let origin = *dice.pick(&[0, 0, 0, 1, 3]);
    let (from, to, entrance) = match origin {
        NODE_ORIGIN => {
            let to = dice
                .pick(&["127.0.0.1", "127.0.0.2", "127.0.0.3", "192.168.50.10", "10.244.3.9"])
                .to_string();
            let to = if v6 { "::1" } else { &to }.parse::<IpAddr>().unwrap();
            let from = match to {
                _ if to.is_loopback() && !v6 => any("127.0.0.1", "::1"),
                _ if v6 => to,
                _ => any("192.168.50.10", "::1"),
            };
            (from, to, Ingress::Node)
        }
        1 => (
            any("10.244.128.3", "fd00:10:244:8000::2"),
            any(dice.pick::<&str>(&["192.168.50.10", "192.168.50.1"]), "fd00:50::10"),
            Ingress::Interface(Some("apps0".into())),
        ),
        _ => (
            any("192.168.50.1", "fd00:50::1"),
            any(dice.pick::<&str>(&["192.168.50.10", "10.244.3.9"]), "fd00:10:244:3::9"),
            Ingress::Interface(Some("ext0".into())),
        ),
    };
    (origin, Packet::new((from, port), (to, to_port), protocol, entrance))
}

/// Sends a packet: how it ended, and whether that had to be assumed; `None` where there are too many ways to look at
/// each. The error says what the kernel did instead of what was reported.
fn one(live: &mut Live, sender: &Sender, packet: &Packet) -> Result<Option<(End, bool)>, String> {
    let snapshot = live.snapshot(Wanted::ALL);
    let before = counts(&snapshot);
    let ruleset = RulesetIndex::new(&snapshot);
    let walk = ruleset.walk(packet, &Options::default());
    assert!(!walk.outcomes.is_empty());
    if walk.cut {
        return Ok(None);
    }
    let expected = expectations(&ruleset, &snapshot, packet, &walk);
    // What refuses a packet in OUTPUT informs the sender.
    let _ = sender.send(packet);
    let began = Instant::now();
    loop {
        let real = rose(&before, &counts(&live.snapshot(Wanted::ALL)));
        if let Some((_, outcome)) = expected.iter().find(|e| e.0 == real) {
            return Ok(Some((outcome.end, !outcome.assuming.is_empty())));
        }
        if began.elapsed() > Duration::from_millis(500) {
            let mut nearest: Vec<_> = expected.iter().collect();
            nearest.sort_by_key(|e| {
                let differs =
                    |a: &Counts, b: &Counts| a.iter().filter(|(k, n)| b.get(*k) != Some(*n)).count();
                differs(&e.0, &real) + differs(&real, &e.0)
            });
            let reported: Vec<_> = nearest
                .iter()
                .take(3)
                .map(|e| (names_of(&snapshot, &e.0), &e.1.end, &e.1.assuming))
                .collect();
            return Err(format!(
                "{packet:?}\nthe kernel counted {:#?}\nthe walk reported {} ways: {reported:#?}\n{}",
                names_of(&snapshot, &real),
                expected.len(),
                super::run("nft", &["list", "table", "inet", "odd"])
            ));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Tries so many rules, three packets for each ten of them.
pub fn walk_odd_rules(seed: u64, rules: usize) {
    let lab = Lab::bare().unwrap();
    silence(&lab);
    let senders = senders(&lab);
    inside(lab.node(), move || {
        let mut live = Live::open(None).unwrap();
        let (mut dice, mut port) = (Random::new(seed), 1024);
        let (mut taken, mut sent, mut forks, mut strays) = (0, 0, 0, 0);
        let mut ends = BTreeMap::<String, usize>::new();
        // What the kernel sends by itself after links came up.
        std::thread::sleep(Duration::from_millis(2500));
        while taken < rules {
            taken += fill(&mut dice);
            for _ in 0..3 {
                let (origin, mut packet) = packet(&mut dice, port);
                let mut again = || {
                    port = if port > 60_000 { 1025 } else { port + 1 };
                    packet.source_port = port;
                    one(&mut live, &senders[origin], &packet)
                };
                // The kernel sends something by itself now and then, which is counted, too: what does not agree is
                // tried twice more, and must agree both times.
                let outcome = again().or_else(|first| {
                    strays += 1;
                    let both = again().is_ok() && again().is_ok();
                    if both { Ok(None) } else { Err(first) }
                });
                sent += 1;
                if let Some((end, assumes)) = outcome.unwrap_or_else(|why| panic!("seed {seed}, {why}")) {
                    forks += usize::from(assumes);
                    *ends.entry(format!("{end:?}")).or_default() += 1;
                }
            }
        }
        say(&format!(
            "{taken} odd rules, {sent} packets, ends {ends:?}, {forks} with assumptions, {strays} tried again"
        ));
        assert!(ends.len() >= 2 && sent > rules / 5 && strays <= sent / 50, "{ends:?}");
        Ok(())
    })
    .unwrap();
}
