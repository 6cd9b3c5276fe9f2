//! Conntrack against the kernel and the conntrack tool.

use crate::common::{in_new_netns, run};
use kptop::kernel::conntrack::{Client, ConntrackStat, SEEN_REPLY, Stats, Tuple, limits, stats_from_proc};
use kptop::snapshot::{FlowKey, Flows};
use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::time::{SystemTime, UNIX_EPOCH};

fn tuple(source: &str, destination: &str, sport: u16, dport: u16) -> Tuple {
    Tuple {
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
        protocol: 17,
        source_port: sport,
        destination_port: dport,
    }
}

/// The addresses and ports of a line of `conntrack -L`, original then reply.
fn line_of(text: &str) -> String {
    text.split_whitespace()
        .filter(|w| {
            ["src=", "dst=", "sport=", "dport=", "packets=", "bytes="].iter().any(|p| w.starts_with(p))
        })
        .collect::<Vec<_>>()
        .join(" ")
}

fn ours(client: &mut Client) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    client
        .flows(|f| {
            let traffic = f.traffic;
            let mut line = String::new();
            for (t, seen) in [(f.original, traffic.map(|t| t.0)), (f.reply, traffic.map(|t| t.1))] {
                let ports = format!("sport={} dport={}", t.source_port, t.destination_port);
                line.push_str(&format!("src={} dst={} {ports} ", t.source, t.destination));
                if let Some(s) = seen {
                    line.push_str(&format!("packets={} bytes={} ", s.packets, s.bytes));
                }
            }
            lines.insert(line.trim_end().to_string());
        })
        .unwrap();
    lines
}

fn theirs(family: &str) -> BTreeSet<String> {
    run("conntrack", &["-L", "-f", family]).lines().map(line_of).filter(|l| !l.is_empty()).collect()
}

#[test]
fn flows_are_those_that_conntrack_lists() {
    in_new_netns(|| {
        let mut client = Client::open().unwrap();
        for i in 0..500u16 {
            let backend = format!("10.244.0.{}", i % 4 + 1);
            client
                .create(
                    tuple("10.0.0.1", "10.96.0.10", 1000 + i, 53),
                    tuple(&backend, "10.0.0.1", 5353, 1000 + i),
                    600,
                )
                .unwrap();
        }
        client
            .create(tuple("fd00::1", "fd00:96::1", 7, 80), tuple("fd00:244::1", "fd00::1", 8080, 7), 600)
            .unwrap();
        let all: BTreeSet<String> = theirs("ipv4").union(&theirs("ipv6")).cloned().collect();
        assert_eq!(all.len(), 501);
        assert_eq!(ours(&mut client), all);

        let mut flows = Flows::default();
        client.flows(|f| flows.add(f)).unwrap();
        assert_eq!((flows.total, flows.untranslated, flows.groups.len()), (501, 0, 5));
        for n in 1..=4 {
            let key = FlowKey {
                protocol: 17,
                frontend: "10.96.0.10".parse().unwrap(),
                frontend_port: 53,
                backend: format!("10.244.0.{n}").parse().unwrap(),
                backend_port: 5353,
            };
            let figures = flows.groups[&key];
            assert_eq!((figures.flows, figures.unreplied, figures.assured), (125, 0, 125));
        }
        assert_eq!(limits().unwrap().count, Some(501));
    });
}

/// With accounting on, packets and bytes are those of the tool, and of the traffic.
#[test]
fn packets_and_bytes_are_counted_where_the_kernel_counts_them() {
    in_new_netns(|| {
        let sysctl = |value: &str| {
            std::fs::write("/proc/sys/net/netfilter/nf_conntrack_acct", value).unwrap();
        };
        sysctl("1");
        std::fs::write("/proc/sys/net/netfilter/nf_conntrack_timestamp", "1").unwrap();
        assert_eq!(limits().unwrap().accounting, Some(true));
        assert_eq!(limits().unwrap().timestamps, Some(true));
        let began = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
        let rule =
            "-t nat -A OUTPUT -d 127.0.0.9/32 -p udp --dport 53 -j DNAT --to-destination 127.0.0.1:5353";
        run("iptables-legacy", &rule.split(' ').collect::<Vec<_>>());
        let server = UdpSocket::bind("127.0.0.1:5353").unwrap();
        let client_socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        client_socket.connect("127.0.0.9:53").unwrap();
        let mut buffer = [0u8; 100];
        for _ in 0..7 {
            client_socket.send(&[1; 20]).unwrap();
            let (_, from) = server.recv_from(&mut buffer).unwrap();
            server.send_to(&[2; 50], from).unwrap();
            client_socket.recv(&mut buffer).unwrap();
        }
        let mut client = Client::open().unwrap();
        assert_eq!(ours(&mut client), theirs("ipv4"));
        let mut flows = Flows::default();
        client.flows(|f| flows.add(f)).unwrap();
        let figures = flows.groups.values().next().unwrap();
        assert!(flows.accounting);
        let oldest = figures.oldest_ns.expect("timestamps are on");
        assert!((began..began + 60_000_000_000).contains(&oldest), "{oldest} after {began}");
        assert_eq!((figures.in_packets, figures.in_bytes), (7, 7 * 48));
        assert_eq!((figures.out_packets, figures.out_bytes), (7, 7 * 78));
        client.flows(|f| assert_ne!(f.status & SEEN_REPLY, 0)).unwrap();
        // An untranslated flow is counted, and is in no group.
        let other = UdpSocket::bind("127.0.0.1:0").unwrap();
        other.send_to(&[1], "127.0.0.1:5353").unwrap();
        let mut flows = Flows::default();
        client.flows(|f| flows.add(f)).unwrap();
        assert_eq!((flows.total, flows.untranslated, flows.groups.len(), flows.unreplied), (2, 1, 1, 1));
    });
}

#[test]
fn statistics_are_those_that_conntrack_prints() {
    in_new_netns(|| {
        let rule = "-t nat -A OUTPUT -d 127.0.0.9/32 -p udp --dport 53 -j DNAT --to-destination 127.0.0.1:9";
        run("iptables-legacy", &rule.split(' ').collect::<Vec<_>>());
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..5 {
            let _ = socket.send_to(&[1], "127.0.0.9:53");
        }
        let text = run("conntrack", &["-S"]);
        let sum = |name: &str| -> u64 {
            text.split_whitespace()
                .filter_map(|w| w.strip_prefix(&format!("{name}=")))
                .map(|v| v.parse::<u64>().unwrap())
                .sum()
        };
        let cpus = Client::open().unwrap().stats().unwrap();
        let ours = Stats::sum(&cpus);
        assert_eq!(cpus.len(), text.lines().count(), "one line a CPU");
        for stat in ConntrackStat::all() {
            let printed = if stat == ConntrackStat::ChainTooLong { "chaintoolong" } else { stat.name() };
            if let Some(value) = ours.get(stat) {
                assert_eq!(value, sum(printed), "{printed}: {text}");
            }
        }
        assert!(ours.get(InsertFailed).is_some());
        // Without privileges, procfs says the same of what both know.
        let proc = Stats::sum(&stats_from_proc().unwrap());
        use ConntrackStat::{Drop, InsertFailed, Invalid};
        for stat in [Drop, Invalid, InsertFailed] {
            assert_eq!(proc.get(stat), ours.get(stat), "{stat:?}");
        }
    });
}
