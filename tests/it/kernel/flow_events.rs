//! Flows counted as they begin, against those that were sent; filters that the kernel applies.

use crate::common::ward::Ward;
use kptop::kernel::conntrack;
use kptop::lab::packets::{Sender, encode};
use kptop::lab::{Origin, inside};
use kptop::proxy::Engine;
use kptop::snapshot::FlowWatch;
use kptop::walk::{Ingress, Packet};
use nix::libc::linger;
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

/// CPU time of the threads of this process that have a name.
fn cpu_of(name: &str) -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let ticks: u64 = tasks
        .filter_map(|t| {
            let stat = std::fs::read_to_string(t.path().join("stat")).ok()?;
            let (front, rest) = stat.rsplit_once(')')?;
            let times = rest.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<u64>().ok());
            front.ends_with(name).then(|| times.sum::<u64>())
        })
        .sum();
    Duration::from_millis(ticks * 10)
}

/// All flows of the node at once: exactly while that costs little, by a sample with its error where it costs much.
#[test]
fn a_whole_node_is_counted_exactly_or_by_a_sample_that_says_so() {
    let ward = Ward::new(Engine::Nftables, 0.0);
    let (dns, other) = (ward.reached("kube-system/kube-dns:dns"), ward.reached("monitoring/statsd:udp"));
    let watch = inside(ward.lab.node(), FlowWatch::start_whole).unwrap();
    let began = |e: &kptop::snapshot::FlowEvents, to: (IpAddr, u16)| {
        let mine = e.pairs.iter().filter(|(k, _)| (k.frontend, k.frontend_port) == to);
        mine.fold(kptop::snapshot::FlowTurnover::default(), |mut sum, (_, t)| {
            sum.add(t);
            sum
        })
    };
    // Little: each flow, and each of its own Service.
    let sent = [send(&ward, dns, 500, 2), send(&ward, other, 200, 1)].map(u64::from);
    let got = crate::common::wait_until(
        || watch.get(),
        |e| began(e, dns).began >= sent[0] && began(e, other).began >= sent[1],
    );
    assert_eq!((got.lost, got.one_in), (0, 1));
    for (to, sent) in [(dns, sent[0]), (other, sent[1])] {
        let t = began(&got, to);
        assert_eq!((t.began, t.variance), (sent, 0));
    }
    // Much: the sample is as good as it says.
    ward.node("conntrack", "-F");
    let (before, cpu, wall) = (began(&watch.get(), dns), cpu_of("flow events"), Instant::now());
    let sent = u64::from(send(&ward, dns, RATE, seconds().max(5)));
    std::thread::sleep(Duration::from_millis(500));
    let (events, cpu) = (watch.get(), cpu_of("flow events") - cpu);
    let after = began(&events, dns);
    let counted = after.began - before.began;
    let error = ((after.variance - before.variance) as f64).sqrt();
    crate::common::say(&format!(
        "{sent} flows in {:.1} s: {counted} counted, standard error {error:.0}, 1 in {}, {} notices lost, {:.1} % of a core",
        wall.elapsed().as_secs_f64(),
        events.one_in,
        events.lost,
        cpu.as_secs_f64() / wall.elapsed().as_secs_f64() * 100.0
    ));
    let off = (counted as f64 - sent as f64).abs();
    assert!(
        off <= 5.0 * error + events.lost as f64,
        "{counted} of {sent}: {off} is more than five times {error}"
    );
}

/// Refused at once, answered, and not at all: what each backend does.
#[test]
fn refused_answered_and_silent_connections_are_distinguished() {
    let ward = Ward::new(Engine::Nftables, 0.0);
    let watch = inside(ward.lab.node(), FlowWatch::start_whole).unwrap();
    let to = ward.reached("shop/cart");
    let backends = &ward.service("shop/cart").backends;
    let (refuses, silent) = (&backends[0], &backends[1]);
    ward.pods("nft", "add table ip t");
    ward.pods("nft", "add chain ip t c '{ type filter hook prerouting priority -300; }'");
    ward.pods("nft", &format!("add rule ip t c ip daddr {} drop", silent.address));
    ward.pods("nft", "add chain ip t i '{ type filter hook input priority 0; }'");
    ward.pods(
        "nft",
        &format!("add rule ip t i ip daddr {} meta l4proto tcp reject with tcp reset", refuses.address),
    );
    let listening: Vec<(IpAddr, u16)> = backends[2..].iter().map(|b| (b.address, b.port)).collect();
    let _listeners = inside(ward.lab.pods(), move || {
        Ok(listening.into_iter().map(|at| std::net::TcpListener::bind(at).unwrap()).collect::<Vec<_>>())
    })
    .unwrap();
    inside(ward.lab.origin(Origin::Pod), move || {
        for _ in 0..60 {
            let to = std::net::SocketAddr::from(to);
            let _ = std::net::TcpStream::connect_timeout(&to, Duration::from_millis(30));
        }
        Ok(())
    })
    .unwrap();
    std::thread::sleep(Duration::from_millis(500));
    let events = watch.get();
    let mut all = BTreeMap::new();
    for (k, t) in events.pairs.iter().filter(|(k, _)| (k.frontend, k.frontend_port) == to) {
        all.insert((k.backend, k.backend_port), *t);
    }
    assert!(all.len() >= 3, "{all:?}");
    for ((backend, _), t) in &all {
        let wanted = match () {
            () if *backend == refuses.address => (0, t.began),
            () if *backend == silent.address => (0, 0),
            () => (t.began, 0),
        };
        assert_eq!((t.answered, t.refused), wanted, "{backend}: {t:?}");
    }
    // A pod beside the node answers within a moment.
    let latencies = events.latencies.values().fold(kptop::snapshot::Latencies::default(), |mut sum, l| {
        sum.merge(l);
        sum
    });
    let p99 = latencies.quantile(0.99).unwrap();
    assert!(p99 < Duration::from_millis(500), "{p99:?}");
}

/// Backends that take their time: the latency of each is what its server waits, within a tenth or a millisecond.
#[test]
fn latencies_are_those_of_the_servers() {
    let ward = Ward::new(Engine::Nftables, 0.0);
    let to = ward.reached("kube-system/kube-dns:dns");
    let backends: Vec<(IpAddr, u16)> =
        ward.service("kube-system/kube-dns:dns").backends.iter().map(|b| (b.address, b.port)).collect();
    let delays = [Duration::from_millis(6), Duration::from_millis(45)];
    let servers = backends.clone();
    let sockets = inside(ward.lab.pods(), move || {
        Ok(servers.into_iter().map(|at| std::net::UdpSocket::bind(at).unwrap()).collect::<Vec<_>>())
    })
    .unwrap();
    for (socket, delay) in sockets.into_iter().zip(delays) {
        std::thread::spawn(move || {
            let mut buffer = [0; 64];
            while let Ok((_, from)) = socket.recv_from(&mut buffer) {
                let socket = socket.try_clone().unwrap();
                std::thread::spawn(move || {
                    std::thread::sleep(delay);
                    let _ = socket.send_to(b"!", from);
                });
            }
        });
    }
    let watch = inside(ward.lab.node(), FlowWatch::start_whole).unwrap();
    inside(ward.lab.origin(Origin::Pod), move || {
        for _ in 0..200 {
            let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.send_to(b"?", to).unwrap();
            std::thread::sleep(Duration::from_millis(3));
            std::mem::forget(socket); // its port stays its own until the answer is there
        }
        Ok(())
    })
    .unwrap();
    let events = crate::common::wait_until(
        || watch.get(),
        |e| e.pairs.values().map(|t| t.answered).sum::<u64>() >= 200,
    );
    for (backend, delay) in backends.into_iter().zip(delays) {
        let (_, l) = events.latencies.iter().find(|(k, _)| (k.backend, k.backend_port) == backend).unwrap();
        let p50 = l.quantile(0.5).unwrap();
        let off = p50.abs_diff(delay);
        crate::common::say(&format!(
            "{delay:?} made, p50 {p50:?}, p95 {:?} of {}",
            l.quantile(0.95).unwrap(),
            l.count()
        ));
        // A server wakes up a little late on a busy machine, never early.
        assert!(off <= (delay / 10).max(Duration::from_millis(1)), "{p50:?} for {delay:?}");
        assert!(l.count() > 50, "{}", l.count());
    }
}

/// What listening costs the node for each flow, said and not judged: no listener, begins and ends, and answers too.
#[test]
fn what_notices_cost_is_measured() {
    use kptop::kernel::conntrack_events::{Events, Wanted};
    const FLOWS: u32 = 3000;
    let ward = Ward::new(Engine::Nftables, 0.0);
    let to = ward.reached("shop/cart");
    let listening: Vec<(IpAddr, u16)> =
        ward.service("shop/cart").backends.iter().map(|b| (b.address, b.port)).collect();
    let listeners = inside(ward.lab.pods(), move || {
        Ok(listening.into_iter().map(|at| std::net::TcpListener::bind(at).unwrap()).collect::<Vec<_>>())
    })
    .unwrap();
    for l in listeners {
        std::thread::spawn(move || l.incoming().for_each(drop));
    }
    let connect = || {
        inside(ward.lab.origin(Origin::Pod), move || {
            let began = Instant::now();
            for _ in 0..FLOWS {
                let s = std::net::TcpStream::connect(to).unwrap();
                // RST instead of FIN: no port stays in TIME_WAIT.
                reset_at_close(&s);
            }
            Ok(began.elapsed() / FLOWS)
        })
        .unwrap()
    };
    connect();
    let mut took = Vec::new();
    for answers in [None, Some(false), Some(true)] {
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let until = stop.clone();
        let node = ward.lab.node().clone();
        let reader = answers.map(|answers| {
            std::thread::spawn(move || {
                node.enter().unwrap();
                let mut events = Events::open(Wanted::Translated).unwrap();
                events.tell_answers(answers).unwrap();
                let mut n = 0u64;
                while !until.load(std::sync::atomic::Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(20));
                    events.receive(&mut |_| n += 1).unwrap();
                }
                n
            })
        });
        std::thread::sleep(Duration::from_millis(100));
        let each = connect();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        took.push((each, reader.map_or(0, |r| r.join().unwrap())));
    }
    crate::common::say(&format!(
        "a connection takes {:?} without a listener, {:?} with begins and ends ({} notices), {:?} with answers ({})",
        took[0].0, took[1].0, took[1].1, took[2].0, took[2].1
    ));
    assert!(took[1].1 >= u64::from(FLOWS) && took[2].1 >= 2 * u64::from(FLOWS), "{took:?}");
}

fn reset_at_close(s: &std::net::TcpStream) {
    let linger = linger { l_onoff: 1, l_linger: 0 };
    nix::sys::socket::setsockopt(s, nix::sys::socket::sockopt::Linger, &linger).unwrap();
}
