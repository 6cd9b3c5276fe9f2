//! Scenarios of `tests/it/kernel/faults.rs` that need another kernel than this machine's: IPVS, and limits that belong to a whole kernel. Run
//! by `tests/run` in the VM, where they fail, not pass, if something is missing.

use crate::common::terminal::Terminal;
use crate::common::ward::{Ward, named_first, silent};
use kptop::doctor::Severity;
use kptop::kernel::conntrack;
use kptop::lab::{CLIENT_IP, NODE_IP, Origin, inside};
use kptop::proxy::{Engine, FrontendKind};
use kptop::snapshot::facts::Tuple;
use std::fs;
use std::net::IpAddr;
use std::time::Duration;

const TCP: u8 = 6;
const UDP: u8 = 17;
const APP: &str = "10.244.128.5";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn ipvs() -> Ward {
    Ward::new(Engine::Ipvs, 0.0)
}

#[test]
#[ignore = "needs IPVS: run by tests/run, in the VM"]
fn a_healthy_node_in_ipvs_mode() {
    let ward = Ward::new(Engine::Ipvs, 1.0);
    ward.is_healthy_after(|_| std::thread::sleep(Duration::from_secs(3)));
}

#[test]
#[ignore = "needs IPVS: run by tests/run, in the VM"]
fn real_servers_of_weight_0() {
    let ward = ipvs();
    let to = ward.reached("shop/cart");
    let servers = ward.service("shop/cart").backends.clone();
    let weigh = |w: &Ward, n: usize, weight: u8| {
        for b in servers.iter().take(n) {
            w.node("ipvsadm", &format!("-e -t {}:{} -r {}:{} -m -w {weight}", to.0, to.1, b.address, b.port));
        }
    };
    weigh(&ward, servers.len(), 0);
    named_first(&ward.examine(|_| {}), "ipvs_weight", "all its real servers have weight 0");
    weigh(&ward, servers.len(), 1);
    silent(&ward.examine(|_| {}), "ipvs_weight");
    // Some drain, and hold what they have: no alarm.
    ward.send(Origin::Pod, (0..8).map(|i| ((ip(APP), 4000 + i), to, TCP)).collect());
    weigh(&ward, 1, 0);
    let done = ward.examine(|_| {});
    let found = done.findings.iter().find(|f| f.id == "ipvs_weight").expect("a drained server");
    assert!(found.severity == Severity::Info && found.title.contains("drained"), "{found:?}");
}

#[test]
#[ignore = "needs IPVS: run by tests/run, in the VM"]
fn virtual_servers_without_real_servers() {
    let ward = ipvs();
    let to = ward.reached("shop/cart");
    for b in &ward.service("shop/cart").backends {
        ward.node("ipvsadm", &format!("-d -t {}:{} -r {}:{}", to.0, to.1, b.address, b.port));
    }
    let done = ward.examine(|w| w.send(Origin::Pod, vec![((ip(APP), 999), to, TCP)]));
    named_first(&done, "no_endpoints", "no real server");
    for b in &ward.service("shop/cart").backends {
        ward.node("ipvsadm", &format!("-a -t {}:{} -r {}:{} -m", to.0, to.1, b.address, b.port));
    }
    silent(&ward.examine(|_| {}), "no_endpoints");
}

#[test]
#[ignore = "needs IPVS: run by tests/run, in the VM"]
fn addresses_that_are_missing_or_left_over() {
    let ward = ipvs();
    let address = ward.reached("shop/cart").0;
    ward.node("ip", &format!("addr del {address}/32 dev kube-ipvs0"));
    named_first(&ward.examine(|_| {}), "ipvs_addresses", &format!("{address} is not on kube-ipvs0"));
    ward.node("ip", &format!("addr add {address}/32 dev kube-ipvs0"));
    silent(&ward.examine(|_| {}), "ipvs_addresses");
    ward.node("ip", "addr add 10.96.99.99/32 dev kube-ipvs0");
    named_first(&ward.examine(|_| {}), "ipvs_addresses", "10.96.99.99");
    ward.node("ip", "addr del 10.96.99.99/32 dev kube-ipvs0");
    silent(&ward.examine(|_| {}), "ipvs_addresses");
}

#[test]
#[ignore = "needs IPVS: run by tests/run, in the VM"]
fn virtual_servers_that_no_ipset_knows() {
    let ward = ipvs();
    silent(&ward.examine(|_| {}), "ipvs_sets");
    let (address, port) = ward.reached("shop/cart");
    ward.node("ipset", &format!("del KUBE-CLUSTER-IP {address},tcp:{port}"));
    named_first(&ward.examine(|_| {}), "ipvs_sets", &format!("{address}:{port} tcp"));
    // One that is filled while it is looked at is no fault.
    let done = ward.examine(|w| {
        w.node("ipset", &format!("add KUBE-CLUSTER-IP {address},tcp:{port}"));
    });
    silent(&done, "ipvs_sets");
}

#[test]
#[ignore = "needs IPVS: run by tests/run, in the VM"]
fn sysctls_that_ipvs_needs() {
    let ward = ipvs();
    for (name, ill, well, id, says) in [
        ("ipv4/vs/conntrack", "0", "1", "ipvs_conntrack", "net.ipv4.vs.conntrack = 0"),
        ("ipv4/vs/conn_reuse_mode", "0", "1", "ipvs_conn_reuse_mode", "conn_reuse_mode = 0"),
        ("ipv4/vs/expire_nodest_conn", "0", "1", "ipvs_expire_nodest_conn", "expire_nodest_conn = 0"),
    ] {
        ward.sysctl(name, ill);
        named_first(&ward.examine(|_| {}), id, says);
        ward.sysctl(name, well);
        silent(&ward.examine(|_| {}), id);
    }
    // Idle connections: forgotten after 900 s, first keepalive after 7,200 s by default.
    ward.sysctl("ipv4/conf/all/arp_ignore", "1");
    ward.sysctl("ipv4/conf/all/arp_announce", "2");
    named_first(&ward.examine(|_| {}), "ipvs_timeouts", "first keepalive");
    ward.sysctl("ipv4/tcp_keepalive_time", "600");
    silent(&ward.examine(|_| {}), "ipvs_timeouts");
    // And now everybody answers for load balancers' addresses, which kube-proxy's ipset knows as such.
    ward.sysctl("ipv4/conf/all/arp_ignore", "0");
    named_first(&ward.examine(|_| {}), "ipvs_arp", "arp_ignore = 0");
    ward.sysctl("ipv4/conf/all/arp_ignore", "1");
    silent(&ward.examine(|_| {}), "ipvs_arp");
}

/// Makes so many entries of flows to the node.
fn entries(ward: &Ward, n: u32) {
    inside(ward.lab.node(), move || {
        let mut client = conntrack::Client::open()?;
        for i in 0..n {
            let source = IpAddr::from([10, 200, (i >> 8) as u8, i as u8]);
            let (a, b) = (ip(NODE_IP), 1000 + (i >> 16) as u16);
            let original =
                Tuple { source, destination: a, protocol: UDP, source_port: 9, destination_port: b };
            let reply =
                Tuple { source: a, destination: source, protocol: UDP, source_port: b, destination_port: 9 };
            // A chain that is too long refuses it, which is what is wanted.
            let _ = client.create(original, reply, 600);
        }
        Ok(())
    })
    .unwrap();
}

#[test]
#[ignore = "sets limits of the whole kernel: run by tests/run, in the VM"]
fn a_table_of_flows_that_is_full() {
    let limit = "/proc/sys/net/netfilter/nf_conntrack_max";
    let usual = fs::read_to_string(limit).unwrap();
    let ward = Ward::plain();
    ward.is_healthy();
    entries(&ward, 1000);
    fs::write(limit, "1005").unwrap();
    named_first(&ward.examine(|_| {}), "conntrack_full", "the table is full");
    // More flows than there is room for: their packets are dropped.
    let crowd = |w: &Ward| {
        w.send(Origin::Pod, (0..200).map(|i| ((ip(APP), 4000 + i), (ip(CLIENT_IP), 9), UDP)).collect());
    };
    let done = ward.examine(crowd);
    let drops = done.findings.iter().find(|f| f.id == "conntrack_drops").expect("drops are counted");
    assert!(drops.title.contains("drop rises"), "{drops:?}");
    fs::write(limit, usual).unwrap();
    ward.is_healthy_after(crowd);
}

#[test]
#[ignore = "sets limits of the whole kernel: run by tests/run, in the VM"]
fn buckets_that_are_too_long() {
    let size = "/sys/module/nf_conntrack/parameters/hashsize";
    let usual = fs::read_to_string(size).unwrap();
    let ward = Ward::plain();
    let limit = "/proc/sys/net/netfilter/nf_conntrack_max";
    let most = fs::read_to_string(limit).unwrap();
    fs::write(limit, "100000").unwrap();
    fs::write(size, "512").unwrap();
    let done = ward.examine(|w| entries(w, 60_000));
    fs::write(size, usual.trim()).unwrap();
    fs::write(limit, most).unwrap();
    let found = done.findings.iter().find(|f| f.id == "conntrack_drops").expect("chains are too long");
    assert!(found.title.contains("chain_toolong rises"), "{found:?}");
    ward.node("conntrack", "-F");
    silent(&ward.examine(|w| entries(w, 100)), "conntrack_drops");
}

#[test]
#[ignore = "sets limits of the whole kernel: run by tests/run, in the VM"]
fn receive_queues_that_are_full() {
    let limit = "/proc/sys/net/core/netdev_max_backlog";
    let usual = fs::read_to_string(limit).unwrap();
    let ward = Ward::plain();
    // A bridge that floods to many ports at once.
    ward.node("ip", "link add br9 type bridge");
    ward.node("ip", "addr add 10.250.0.1/24 dev br9");
    for i in 0..16 {
        ward.node("ip", &format!("link add v{i} type veth peer name w{i}"));
        ward.node("ip", &format!("link set v{i} master br9 up"));
        ward.node("ip", &format!("link set w{i} up"));
    }
    ward.node("ip", "link set br9 up");
    std::thread::sleep(Duration::from_secs(1));
    let flood = |w: &Ward| {
        w.send(
            Origin::Node,
            (0..20).map(|i| ((ip("10.250.0.1"), 9), (IpAddr::from([10, 250, 0, 50 + i]), 9), UDP)).collect(),
        );
    };
    fs::write(limit, "1").unwrap();
    let done = ward.examine(flood);
    fs::write(limit, usual.trim()).unwrap();
    named_first(&done, "softnet", "CPU 0: ");
    silent(&ward.examine(flood), "softnet");
}

/// Packets that die are reported with reason and Service, and the monitor is off again after every end.
#[test]
#[ignore = "needs the drop monitor: run by tests/run, in the VM"]
fn dropped_packets_are_told_of_and_the_monitor_is_off_again() {
    use kptop::drops::{Drops, Role};
    use kptop::kernel::drop_monitor::{DropMonitor, is_on};
    use kptop::proxy::{Model, Names};
    use kptop::snapshot::live::{Live, Wanted};
    use kptop::snapshot::{DropWatch, Snapshot};
    assert!(!is_on().expect("module drop_monitor"), "a user has switched it on");
    let ward = Ward::plain();
    let node = ward.lab.node().clone();
    let (snapshot, model): (Snapshot, Model) = std::thread::spawn(move || {
        let snapshot = Live::enter(&node).unwrap().snapshot(Wanted::ALL);
        let model = Model::read(&snapshot, &Names::default());
        (snapshot, model)
    })
    .join()
    .unwrap();
    let partners = ward.service("shop/partners:https");
    let lb = partners.frontends.iter().find(|f| f.kind == Some(FrontendKind::LoadBalancerIp)).unwrap();
    let to = (lb.address.unwrap(), lb.port);
    let mut drops = Drops::default();
    {
        let watch = DropWatch::start(false).unwrap();
        assert!(is_on().unwrap() && !watch.take().shared);
        // Strangers, whom its source ranges do not let in.
        ward.send(Origin::Outside, (0..20).map(|i| ((ip(CLIENT_IP), 4000 + i), to, TCP)).collect());
        std::thread::sleep(Duration::from_millis(1500));
        drops.add(watch.take(), &snapshot, &model.services);
        // A second one listens, and leaves the first one's monitor alone.
        let second = DropMonitor::start().unwrap();
        assert!(second.is_shared());
        drop(second);
        assert!(is_on().unwrap());
    }
    assert!(!is_on().unwrap(), "still on");
    let groups = drops.groups();
    let (group, tally) = groups.first().expect("nothing was reported");
    assert_eq!(group.owner, Some(("shop/partners:https TCP".to_string(), Role::ToService)));
    assert_eq!((group.reason.as_str(), tally.packets, drops.lost), ("NETFILTER_DROP", 20, 0), "{group:?}");
    let h = tally.example.packet.unwrap();
    assert_eq!((h.source, h.destination, h.protocol, h.tcp_flags), (ip(CLIENT_IP), to.0, TCP, Some(2)));

    // Killed without a chance to clean up, ended, and ended by itself.
    for signal in ["-KILL", "-TERM", "-INT", ""] {
        let span = if signal.is_empty() { "1" } else { "60" };
        let mut kptop = std::process::Command::new(env!("CARGO_BIN_EXE_kptop"))
            .args(["drops", "--for", span])
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let until = |wanted: bool| {
            let began = std::time::Instant::now();
            while is_on().unwrap() != wanted {
                assert!(began.elapsed() < Duration::from_secs(60), "{signal}: never {wanted}");
                std::thread::sleep(Duration::from_millis(100));
            }
        };
        until(true);
        if !signal.is_empty() {
            crate::common::run("kill", &[signal, &kptop.id().to_string()]);
        }
        kptop.wait().unwrap();
        until(false);
    }
}

/// The key `w` of the screen, which by then has given up what it does not need to read.
#[test]
#[ignore = "needs the drop monitor: run by tests/run, in the VM"]
fn the_screen_switches_the_drop_monitor_on_and_off() {
    use kptop::kernel::drop_monitor::is_on;
    let mut terminal = Terminal::start(&[]);
    terminal.wait_for("SERVICE");
    for (key, wanted) in [("8w", true), ("w", false), ("w", true), ("q", false)] {
        terminal.keys(key);
        let began = std::time::Instant::now();
        while is_on().unwrap() != wanted {
            assert!(began.elapsed() < Duration::from_secs(30), "{key}: never {wanted}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    assert_eq!(terminal.ended().0, Some(0));
}

#[test]
#[ignore = "needs IPVS: run by tests/run, in the VM"]
fn changes_of_virtual_and_real_servers_are_told() {
    let ward = ipvs();
    let to = ward.reached("shop/cart");
    let b = ward.service("shop/cart").backends[0].clone();
    let server = format!("-t {}:{} -r {}:{} -m", to.0, to.1, b.address, b.port);
    let subject = format!("{}:{} TCP backend {}:{}", to.0, to.1, b.address, b.port);
    let reported = |all: &[kptop::changes::Change]| -> Vec<String> {
        let of_services = all.iter().filter(|c| c.subject.contains(" TCP"));
        of_services.map(|c| format!("{}: {}", c.subject, c.text())).collect()
    };
    assert_eq!(reported(&ward.changes(|_| {})), [""; 0]);
    let all = ward.changes(|w| drop(w.node("ipvsadm", &format!("-e {server} -w 0"))));
    assert_eq!(reported(&all), [format!("{subject}: weight 1 -> weight 0")]);
    let all = ward.changes(|w| {
        drop(w.node("ipvsadm", &format!("-d -t {}:{} -r {}:{}", to.0, to.1, b.address, b.port)));
    });
    assert_eq!(reported(&all), [format!("{subject}: was weight 0")]);
    let all = ward.changes(|w| drop(w.node("ipvsadm", &format!("-a {server}"))));
    assert_eq!(reported(&all), [format!("{subject}: weight 1")]);
}
