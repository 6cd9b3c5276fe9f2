//! Flows counted as they begin, against those that were sent; filters that the kernel applies.

use crate::common::ward::Ward;
use kptop::kernel::conntrack;
use kptop::lab::packets::{Sender, encode};
use kptop::lab::{Origin, inside};
use kptop::proxy::Engine;
use kptop::snapshot::FlowWatch;
use kptop::walk::{Ingress, Packet};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

const UDP: u8 = 17;

/// Flows a second, and for how many seconds: more by `KPTOP_FLOW_SECONDS`.
const RATE: u32 = 20_000;

fn seconds() -> u32 {
    std::env::var("KPTOP_FLOW_SECONDS").ok().and_then(|n| n.parse().ok()).unwrap_or(2)
}

/// Sends first packets of so many UDP flows to a Service, evenly over the time; gives how many.
fn send(ward: &Ward, to: (IpAddr, u16), rate: u32, seconds: u32) -> u32 {
    inside(ward.lab.origin(Origin::Pod), move || {
        let sender = Sender::open()?;
        let began = Instant::now();
        let n = rate * seconds;
        for i in 0..n {
            // Another client for each 60,000 ports.
            let from = (IpAddr::from([10, 244, 128, 2 + (i / 60_000) as u8]), (i % 60_000) as u16 + 2000);
            sender.send_bytes(to.0, &encode(&Packet::new(from, to, UDP, Ingress::Node)))?;
            if i % 200 == 0 {
                let due = Duration::from_secs_f64(f64::from(i) / f64::from(rate));
                std::thread::sleep(due.saturating_sub(began.elapsed()));
            }
        }
        Ok(n)
    })
    .unwrap()
}

/// Every new flow is counted with its backend, or the loss is said with its number.
#[test]
fn new_flows_are_counted_by_backend() {
    for engine in [Engine::IptablesLegacy, Engine::Nftables] {
        let ward = Ward::new(engine, 0.0);
        let to = ward.reached("kube-system/kube-dns:dns");
        let other = ward.reached("monitoring/statsd:udp");
        // What arrives at the pods, counted by their own kernel.
        ward.pods("nft", "add table ip got");
        ward.pods("nft", "add map ip got by '{ type ipv4_addr : verdict; }'");
        ward.pods("nft", "add chain ip got in '{ type filter hook prerouting priority -300; }'");
        for b in &ward.service("kube-system/kube-dns:dns").backends {
            ward.pods("nft", &format!("add rule ip got in ip daddr {} udp dport 53 counter drop", b.address));
        }
        let watch = inside(ward.lab.node(), move || FlowWatch::start(&[to.0])).unwrap();
        let sent = send(&ward, to, RATE, seconds());
        send(&ward, other, 100, 1); // to be left out by the kernel
        let began = |e: &kptop::snapshot::FlowEvents| e.pairs.values().map(|t| t.began).sum::<u64>() + e.lost;
        let events = crate::common::wait_until(|| watch.get(), |e| began(e) >= u64::from(sent));
        let text = ward.pods("nft", "list chain ip got in");
        let mut arrived: BTreeMap<IpAddr, u64> = BTreeMap::new();
        for line in text.lines().filter(|l| l.contains("counter packets")) {
            let word = |after: &str| {
                let mut words = line.split_whitespace().skip_while(move |w| *w != after);
                words.nth(1).unwrap().to_string()
            };
            arrived.insert(word("daddr").parse().unwrap(), word("packets").parse().unwrap());
        }
        let began: BTreeMap<IpAddr, u64> = events.pairs.iter().map(|(k, t)| (k.backend, t.began)).collect();
        let (all, counted) = (arrived.values().sum::<u64>(), began.values().sum::<u64>());
        crate::common::say(&format!(
            "{}: {sent} flows sent in {} s, {all} arrived, {counted} counted by events: {began:?}; {} notices lost",
            engine.name(),
            seconds(),
            events.lost
        ));
        assert!(all > u64::from(sent) * 9 / 10, "{all} of {sent} arrived");
        assert!(
            events.pairs.keys().all(|k| (k.frontend, k.frontend_port) == to),
            "the filter let others pass"
        );
        assert!(events.untranslated.is_empty());
        if events.lost == 0 {
            assert_eq!(began, arrived);
        } else {
            assert_eq!(counted + events.lost, all, "the loss is not what is missing");
        }
    }
}

/// Flows that end are counted, and whether anybody answered them.
#[test]
fn flows_that_end_are_counted() {
    let ward = Ward::plain();
    let watch = inside(ward.lab.node(), || FlowWatch::start(&[])).unwrap();
    let to = ward.reached("kube-system/kube-dns:dns");
    send(&ward, to, 50, 1);
    ward.node("conntrack", "-F");
    let ended = |e: &kptop::snapshot::FlowEvents| e.pairs.values().map(|t| t.ended).sum::<u64>();
    let events = crate::common::wait_until(|| watch.get(), |e| ended(e) >= 50);
    let sum = |of: fn(&kptop::snapshot::FlowTurnover) -> u64| -> u64 { events.pairs.values().map(of).sum() };
    // Pods answer that nobody listens: no reply of the flow itself.
    assert_eq!((sum(|t| t.began), sum(|t| t.ended), sum(|t| t.ended_unanswered)), (50, 50, 50), "{events:?}");
}

/// The kernel's own filter gives the flows of one address and no others.
#[test]
fn one_services_flows_are_dumped_alone() {
    let ward = Ward::plain();
    let dns = ward.reached("kube-system/kube-dns:dns");
    let other = ward.reached("monitoring/statsd:udp");
    send(&ward, dns, 300, 1);
    send(&ward, other, 200, 1);
    let (found, all) = inside(ward.lab.node(), move || {
        let mut client = conntrack::Client::open()?;
        let (mut found, mut all) = (0, 0);
        client.flows_to(kptop::ruleset::L4Endpoint::new(UDP, dns.0, dns.1), |f| {
            assert_eq!((f.original.destination, f.original.destination_port), dns);
            found += 1;
        })?;
        client.flows(|_| all += 1)?;
        Ok((found, all))
    })
    .unwrap();
    assert_eq!(found, 300);
    assert!(all >= 500, "{all}");
}
