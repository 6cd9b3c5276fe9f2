//! One scenario for each cause: the fault is made for real in a lab, the doctor names it first, and after healing it is
//! silent. Faults of IPVS, of a full conntrack and of receive queues are made in the VM (`tests/it/kernel/faults_vm.rs`).

use crate::common::ward::{Ward, healthy_shop, named_first, silent, text};
use kptop::kernel::conntrack;
use kptop::kernel::ebpf::{Hook, make};
use kptop::lab::packets::{Sender, encode};
use kptop::lab::{CLIENT_IP, FRIEND_IP, NODE_IP, Origin, inside, shop};
use kptop::proxy::{Engine, FrontendKind, ServiceName, TrafficPolicy, Variant};
use kptop::ruleset::IpFamily;
use kptop::snapshot::facts::Tuple;
use kptop::walk::{Ingress, Packet};
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

const TCP: u8 = 6;
const UDP: u8 = 17;

/// A pod that only asks.
const APP: &str = "10.244.128.5";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn a_healthy_node_is_healthy_in_every_mode() {
    for engine in [Engine::IptablesLegacy, Engine::IptablesNft, Engine::Nftables] {
        let ward = Ward::new(engine, 1.0);
        ward.is_healthy_after(|_| std::thread::sleep(Duration::from_secs(2)));
    }
}

#[test]
fn wiped_jumps_and_tables() {
    let ward = Ward::plain();
    let jump = "PREROUTING -m comment --comment 'kubernetes service portals' -j KUBE-SERVICES";
    ward.node("iptables-legacy", &format!("-t nat -D {jump}"));
    named_first(&ward.examine(|_| {}), "wiped", "no jump to KUBE-SERVICES");
    ward.node("iptables-legacy", &format!("-t nat -I {jump}"));
    silent(&ward.examine(|_| {}), "wiped");

    // A table that was emptied: the canary is gone.
    ward.node("iptables-legacy", "-t mangle -X KUBE-PROXY-CANARY");
    named_first(&ward.examine(|_| {}), "wiped", "canary of kube-proxy is gone in mangle");
    ward.node("iptables-legacy", "-t mangle -N KUBE-PROXY-CANARY");
    ward.is_healthy();

    // Everything gone, while it is looked at.
    let done = ward.examine(|w| {
        for t in ["nat", "filter", "mangle"] {
            w.node("iptables-legacy", &format!("-t {t} -F"));
            w.node("iptables-legacy", &format!("-t {t} -X"));
        }
    });
    named_first(&done, "wiped", "kube-proxy's rules are gone");
    ward.reinstall(Engine::IptablesLegacy, &ward.services);
    ward.is_healthy();

    let ward = Ward::new(Engine::Nftables, 0.0);
    ward.node("nft", "flush chain ip kube-proxy nat-prerouting");
    named_first(&ward.examine(|_| {}), "wiped", "no jump to `services`");
    ward.node("nft", "add rule ip kube-proxy nat-prerouting jump services");
    ward.is_healthy();
}

#[test]
fn chains_and_maps_that_were_emptied() {
    for variant in [Variant::Legacy, Variant::Nft] {
        let iptables = if variant == Variant::Legacy { "iptables-legacy" } else { "iptables-nft" };
        let ward = Ward::new(Engine::iptables(variant), 0.0);
        let cart = ward.service("shop/cart").clone();
        let svc = format!("KUBE-SVC-{}", cart.chain_hash.unwrap());
        for (chain, says) in [
            ("KUBE-SERVICES", "KUBE-SERVICES was emptied"),
            (svc.as_str(), "shop/cart"),
            ("KUBE-POSTROUTING", "nothing is masqueraded"),
            ("KUBE-MARK-MASQ", "nothing is masqueraded"),
        ] {
            ward.node(iptables, &format!("-t nat -F {chain}"));
            named_first(&ward.examine(|_| {}), "wiped", says);
            ward.reinstall(Engine::iptables(variant), &ward.services);
            ward.is_healthy();
        }
    }
    let ward = Ward::new(Engine::Nftables, 0.0);
    for (what, says) in [
        ("chain ip kube-proxy services", "the chain `services` is empty"),
        ("map ip kube-proxy service-ips", "service-ips was emptied"),
        ("chain ip kube-proxy masquerading", "packets are not masqueraded"),
    ] {
        ward.node("nft", &format!("flush {what}"));
        named_first(&ward.examine(|_| {}), "wiped", says);
        ward.reinstall(Engine::Nftables, &ward.services);
        ward.is_healthy();
    }
    // Everything gone before it was looked at: flows that were translated show it.
    let ward = Ward::new(Engine::Nftables, 4.0);
    std::thread::sleep(Duration::from_secs(2));
    ward.node("nft", "flush ruleset");
    named_first(&ward.examine(|_| {}), "wiped", "no mode of kube-proxy holds a Service");
}

#[test]
fn every_wipe_is_found_by_a_doctor_that_starts_afterwards() {
    for variant in [Variant::Legacy, Variant::Nft] {
        let iptables = if variant == Variant::Legacy { "iptables-legacy" } else { "iptables-nft" };
        let ward = Ward::new(Engine::iptables(variant), 0.0);
        for (commands, says) in [
            (&["-t nat -F"][..], "nat were flushed"),
            (&["-t nat -F", "-t nat -X"], "nat were flushed"),
            (&["-t filter -F"], "filter were flushed"),
            (&["-t nat -F", "-t filter -F", "-t mangle -F"], "nat were flushed"),
        ] {
            for command in commands {
                ward.node(iptables, command);
            }
            named_first(&ward.examine(|_| {}), "wiped", says);
            ward.reinstall(Engine::iptables(variant), &ward.services);
            ward.is_healthy();
        }
    }
    let ward = Ward::new(Engine::Nftables, 0.0);
    ward.node("nft", "delete table ip kube-proxy");
    named_first(&ward.examine(|_| {}), "wiped", "`ip kube-proxy` is gone");
    ward.reinstall(Engine::Nftables, &ward.services);
    ward.is_healthy();
}

#[test]
fn a_node_that_does_not_forward() {
    let ward = Ward::plain();
    ward.sysctl("ipv4/ip_forward", "0");
    named_first(&ward.examine(|_| {}), "ip_forward", "net.ipv4.ip_forward = 0");
    ward.sysctl("ipv4/ip_forward", "1");
    ward.is_healthy();
    // One interface alone.
    let ask = |w: &Ward| w.send(Origin::Pod, vec![((ip(APP), 999), w.reached("shop/cart"), TCP)]);
    ward.sysctl("ipv4/conf/apps0/forwarding", "0");
    named_first(&ward.examine(ask), "ip_forward", "net.ipv4.conf.apps0.forwarding = 0");
    ward.sysctl("ipv4/conf/apps0/forwarding", "1");
    ward.is_healthy_after(ask);
}

#[test]
fn rules_of_other_programs_that_drop_services() {
    for engine in [Engine::IptablesLegacy, Engine::Nftables] {
        let ward = Ward::new(engine, 0.0);
        ward.node("nft", "add table inet firewalld");
        ward.node(
            "nft",
            "add chain inet firewalld filter_FORWARD '{ type filter hook forward priority 10; }'",
        );
        ward.node("nft", "add rule inet firewalld filter_FORWARD ip daddr 10.244.0.0/16 counter drop");
        named_first(&ward.examine(|_| {}), "foreign_drop", "a rule of firewalld");
        ward.node("nft", "delete table inet firewalld");
        ward.is_healthy();
        // One that lets loopback pass, and answers.
        ward.node("nft", "add table inet mine");
        ward.node("nft", "add chain inet mine f '{ type filter hook forward priority 10; }'");
        ward.node("nft", "add rule inet mine f oifname lo accept");
        ward.node("nft", "add rule inet mine f reject with icmpx admin-prohibited");
        named_first(
            &ward.examine(|_| {}),
            "foreign_drop",
            "are rejected by a rule in f that no known program made",
        );
        ward.node("nft", "delete table inet mine");
        ward.is_healthy();

        // The security table comes after filter.
        ward.node("iptables-legacy", "-t security -A FORWARD -p udp -j DROP");
        named_first(&ward.examine(|_| {}), "foreign_drop", "ip security FORWARD");
        ward.node("iptables-legacy", "-t security -F");
        // One that drops, but no Service: worth knowing, no alarm.
        ward.node("iptables-legacy", "-t security -A FORWARD -d 192.0.2.77 -j DROP");
        let stray = |w: &Ward| w.send(Origin::Pod, vec![((ip(APP), 999), (ip("192.0.2.77"), 9), UDP)]);
        let done = ward.examine(stray);
        named_first(&done, "foreign_drop", "a rule drops packets");
        assert!(!done.is_alarming());
        ward.node("iptables-legacy", "-t security -F");
        // What the node itself sends.
        ward.node("iptables-legacy", "-t raw -A OUTPUT -d 10.96.2.0/24 -j DROP");
        named_first(&ward.examine(|_| {}), "foreign_drop", "packets from the node itself");
        ward.node("iptables-legacy", "-t raw -F");
        // Answers alone: no new flow ends there, but the addresses are Services'.
        ward.node("iptables-legacy", "-t mangle -A FORWARD -s 10.244.1.0/24 -j DROP");
        let answer = |w: &Ward| {
            let from = w.service("shop/cart").backends[1].address;
            w.send_from(&w.lab.pods().clone(), vec![((from, 8080), (ip(CLIENT_IP), 999), UDP)]);
        };
        let done = ward.examine(answer);
        named_first(&done, "foreign_drop", "Services' addresses");
        assert!(done.is_alarming());
        ward.node("iptables-legacy", "-t mangle -F");
        ward.is_healthy();
    }
}

#[test]
fn a_policy_of_forward_that_drops() {
    let ward = Ward::plain();
    let to_outside = |w: &Ward| w.send(Origin::Pod, vec![((ip(APP), 999), (ip(CLIENT_IP), 9), UDP)]);
    ward.node("iptables-legacy", "-P FORWARD DROP");
    named_first(&ward.examine(to_outside), "forward_policy", "dropped by its policy");
    // At once, also where nothing was dropped yet: no Service is let through.
    assert!(ward.examine(|_| {}).is_alarming());
    // A CNI that accepts what is from and to pods.
    ward.node("iptables-legacy", "-A FORWARD -s 10.244.0.0/16 -j ACCEPT");
    ward.node("iptables-legacy", "-A FORWARD -d 10.244.0.0/16 -j ACCEPT");
    ward.is_healthy_after(to_outside);
}

#[test]
fn entries_that_cannot_be_inserted() {
    let ward = Ward::plain();
    // A protocol without ports, so that translation cannot make room.
    const PORTLESS: u8 = 253;
    let tuple = |source: &str, destination: &str| Tuple {
        source: ip(source),
        destination: ip(destination),
        protocol: PORTLESS,
        source_port: 0,
        destination_port: 0,
    };
    // The answers to what the pod will send belong to another entry already: its own cannot be inserted.
    let (original, reply) = (tuple(CLIENT_IP, APP), tuple("192.0.2.1", "192.0.2.2"));
    inside(ward.lab.node(), move || conntrack::Client::open()?.create(original, reply, 60)).unwrap();
    let send = |w: &Ward, to: &'static str| {
        inside(w.lab.origin(Origin::Pod), move || {
            let mut bytes = encode(&Packet::new((ip(APP), 0), (ip(to), 0), UDP, Ingress::Node));
            bytes[9] = PORTLESS;
            Sender::open()?.send_bytes(ip(to), &bytes)
        })
        .unwrap();
    };
    named_first(&ward.examine(|w| send(w, CLIENT_IP)), "conntrack_insert_failed", "insert_failed: 1 in");
    ward.is_healthy_after(|w| send(w, FRIEND_IP));
}

#[test]
fn errors_that_conntrack_counts() {
    let ward = Ward::plain();
    // An ICMP message whose checksum is wrong.
    let broken = |w: &Ward| {
        inside(w.lab.origin(Origin::Outside), || {
            let mut bytes = encode(&Packet::new((ip(CLIENT_IP), 0), (ip(NODE_IP), 0), UDP, Ingress::Node));
            bytes[9] = 1; // ICMP
            bytes.truncate(20);
            bytes.extend([8, 0, 0xba, 0xad, 0, 1, 0, 1]);
            let length = (bytes.len() as u16).to_be_bytes();
            bytes[2..4].copy_from_slice(&length);
            Sender::open()?.send_bytes(ip(NODE_IP), &bytes)
        })
        .unwrap();
    };
    let done = ward.examine(broken);
    named_first(&done, "conntrack_drops", "error rises");
    assert!(!done.is_alarming(), "malformed packets of others are no alarm");
    silent(&ward.examine(|_| {}), "conntrack_drops");
}

/// A TCP packet with these flags, and a checksum that fits.
fn with_flags(from: (IpAddr, u16), to: (IpAddr, u16), flags: u8) -> Vec<u8> {
    let mut bytes = encode(&Packet::new(from, to, TCP, Ingress::Node));
    let word = |b: &[u8], at: usize| u32::from(u16::from_be_bytes([b[at], b[at + 1]]));
    let old = word(&bytes, 32);
    bytes[33] = flags;
    // RFC 1624: ~(~sum + ~old + new)
    let mut sum = (!word(&bytes, 36) & 0xffff) + (!old & 0xffff) + word(&bytes, 32);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    bytes[36..38].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    bytes
}

#[test]
fn invalid_packets_are_dropped() {
    for variant in [Variant::Legacy, Variant::Nft] {
        let ward = Ward::new(Engine::iptables(variant), 0.0);
        let invalid = |w: &Ward| {
            inside(w.lab.origin(Origin::Pod), || {
                let to = (ip(CLIENT_IP), 80);
                // SYN and FIN together: no flow begins like this.
                Sender::open()?.send_bytes(to.0, &with_flags((ip(APP), 999), to, 0x03))
            })
            .unwrap();
        };
        named_first(&ward.examine(invalid), "invalid_dropped", "nf_conntrack_tcp_be_liberal = 0");
        ward.is_healthy_after(|w| w.send(Origin::Pod, vec![((ip(APP), 999), (ip(CLIENT_IP), 80), TCP)]));
    }
}

#[test]
fn services_without_endpoints() {
    for variant in [Variant::Legacy, Variant::Nft] {
        let all = shop::services(None, 4);
        let ill: Vec<_> = all.iter().filter(|s| s.label() == "shop/payments:http").cloned().collect();
        let mut services = healthy_shop();
        services.extend(ill);
        let ward = Ward::with(Engine::iptables(variant), services, 0.0);
        let ask = |w: &Ward| {
            let to = w.reached("shop/payments:http");
            w.send(Origin::Pod, vec![((ip(APP), 999), to, TCP)]);
        };
        let done = ward.examine(ask);
        named_first(&done, "no_endpoints", "shop/payments:http TCP");
        assert!(done.is_alarming());
        // Nobody asks: no alarm.
        silent_alarm(&ward, "no_endpoints");
        ward.reinstall(Engine::iptables(variant), &healthy_shop());
        silent(&ward.examine(|_| {}), "no_endpoints");
    }
}

/// Found, but not asked by anybody now: worth a word at most.
fn silent_alarm(ward: &Ward, id: &str) {
    let done = ward.examine(|_| {});
    let found = done.findings.iter().find(|f| f.id == id).expect("it is still there");
    assert!(found.severity > kptop::doctor::Severity::Critical);
}

#[test]
fn local_policies_without_a_local_endpoint() {
    let all = shop::services(None, 4);
    let label = "monitoring/agent-elsewhere:otlp";
    let mut services = healthy_shop();
    services.extend(all.iter().filter(|s| s.label() == label).cloned());
    let ward = Ward::with(Engine::IptablesLegacy, services, 0.0);
    let done = ward.examine(|w| w.send(Origin::Pod, vec![((ip(APP), 999), w.reached(label), TCP)]));
    named_first(&done, "no_local_endpoints", "new flows are dropped");
    ward.reinstall(Engine::IptablesLegacy, &healthy_shop());
    silent(&ward.examine(|_| {}), "no_local_endpoints");
}

#[test]
fn clients_outside_the_source_ranges() {
    let ward = Ward::plain();
    let partners = ward.service("shop/partners:https");
    let lb = partners.frontends.iter().find(|f| f.kind == Some(FrontendKind::LoadBalancerIp)).unwrap();
    let to = (lb.address.unwrap(), lb.port);
    let from = |who: &'static str| move |w: &Ward| w.send(Origin::Outside, vec![((ip(who), 999), to, TCP)]);
    named_first(&ward.examine(from(CLIENT_IP)), "source_ranges", "203.0.113.0/24");
    ward.is_healthy_after(from(FRIEND_IP));
}

/// Makes an entry of a flow from a pod through a Service to a backend.
fn entry(ward: &Ward, label: &str, backend: &str, port: u16) {
    let to = ward.reached(label);
    let target = ward.service(label).backends[0].port;
    let backend = ip(backend);
    inside(ward.lab.node(), move || {
        let protocol = UDP;
        let original =
            Tuple { source: ip(APP), destination: to.0, protocol, source_port: port, destination_port: to.1 };
        let reply = Tuple {
            source: backend,
            destination: ip(APP),
            protocol,
            source_port: target,
            destination_port: port,
        };
        conntrack::Client::open()?.create(original, reply, 110)
    })
    .unwrap();
}

#[test]
fn udp_flows_to_a_backend_that_is_gone() {
    for engine in [Engine::IptablesLegacy, Engine::Nftables] {
        let ward = Ward::new(engine, 0.0);
        let label = "kube-system/kube-dns:dns";
        let living = ward.service(label).backends[0].address.to_string();
        entry(&ward, label, &living, 4000);
        ward.is_healthy();
        entry(&ward, label, "10.244.77.77", 4001);
        named_first(&ward.examine(|_| {}), "stale_flows", "10.244.77.77:53");
        ward.node("conntrack", "-D -p udp --reply-src 10.244.77.77");
        ward.is_healthy();
    }
}

#[test]
fn flows_that_began_before_the_rules() {
    let label = "kube-system/kube-dns:dns";
    let late: Vec<_> = healthy_shop().into_iter().filter(|s| s.label() != label).collect();
    let ward = Ward::with(Engine::IptablesLegacy, late, 0.0);
    let all = healthy_shop();
    let dns = all.iter().find(|s| s.label() == label).unwrap();
    let to = (dns.frontends[0].address.unwrap(), dns.frontends[0].port);
    let ask = |w: &Ward, port| w.send(Origin::Pod, vec![((ip(APP), port), to, UDP)]);
    ask(&ward, 4000); // out by the default route
    ward.lab.install(Engine::IptablesLegacy, &all).unwrap();
    let ward = Ward { services: all, ..ward };
    named_first(&ward.examine(|w| ask(w, 4000)), "untranslated_flows", "from 10.244.128.5:4000");
    // A client that has gone: what it left is no fault, once one can say.
    let later = |w: &Ward| {
        let _ = w;
        std::thread::sleep(Duration::from_secs(3));
    };
    silent(&ward.examine(later), "untranslated_flows");
    ward.node("conntrack", &format!("-D -p udp --orig-dst {}", to.0));
    ward.is_healthy_after(|w| ask(w, 4000));
}

#[test]
fn a_backend_that_does_not_answer() {
    for engine in [Engine::IptablesLegacy, Engine::Nftables] {
        let ward = Ward::new(engine, 4.0);
        let dead = ward.service("kube-system/kube-dns:dns").backends[0].address;
        ward.pods("nft", "add table ip dead");
        ward.pods("nft", "add chain ip dead in '{ type filter hook prerouting priority -300; }'");
        ward.pods("nft", &format!("add rule ip dead in ip daddr {dead} drop"));
        let done = ward.examine(|_| std::thread::sleep(Duration::from_secs(2)));
        named_first(&done, "unreachable_backend", &dead.to_string());
        ward.pods("nft", "delete table ip dead");
        // Entries of what was not answered live on for a while. Those of other flows stay: without them packets on their
        // way fit no flow, which is a finding of its own.
        ward.node("conntrack", &format!("-D --reply-src {dead}"));
        ward.is_healthy_after(|_| std::thread::sleep(Duration::from_secs(1)));
    }
}

/// A pod on whose port nobody listens answers with an RST: the kernel forgets such a flow at once.
#[test]
fn a_backend_that_refuses_connections() {
    for engine in [Engine::IptablesLegacy, Engine::IptablesNft, Engine::Nftables] {
        let ward = Ward::new(engine, 4.0);
        let refusing = ward.service("shop/frontend:http").backends[0].address;
        let look = |w: &Ward| w.examine(|_| std::thread::sleep(Duration::from_secs(2)));
        silent(&look(&ward), "unreachable_backend");
        ward.pods("nft", "add table ip r");
        ward.pods("nft", "add chain ip r c '{ type filter hook input priority 0; }'");
        let reset = format!("add rule ip r c ip daddr {refusing} tcp flags syn reject with tcp reset");
        ward.pods("nft", &reset);
        let done = look(&ward);
        named_first(&done, "unreachable_backend", "new connections refused (RST)");
        assert!(done.findings[0].title.contains("refuses connections"), "{}", done.findings[0].title);
        ward.pods("nft", "delete table ip r");
        silent(&look(&ward), "unreachable_backend");
        ward.is_healthy();
    }
}

/// kube-proxy's own fault of 1.33 and 1.34.
#[test]
fn pods_that_are_told_by_the_number_of_an_interface() {
    let ward = Ward::new(Engine::Nftables, 0.0);
    ward.is_healthy();
    silent(&ward.examine(|_| {}), "iif_for_iifname");
    let chain = "ip kube-proxy services";
    ward.node("nft", &format!("insert rule {chain} ip daddr 10.96.0.1 tcp dport 443 iif != lo counter"));
    named_first(&ward.examine(|_| {}), "iif_for_iifname", "iif");
    let listed = ward.node("nft", &format!("-a list chain {chain}"));
    let handle = listed.lines().find(|l| l.contains(" iif ")).and_then(|l| l.rsplit(' ').next()).unwrap();
    ward.node("nft", &format!("delete rule {chain} handle {handle}"));
    ward.is_healthy();
    silent(&ward.examine(|_| {}), "iif_for_iifname");
}

#[test]
fn backends_to_which_no_way_leads() {
    let ward = Ward::plain();
    ward.is_healthy();
    let to = ward.service("kube-system/kube-dns:dns").backends[0].address;
    let heal = |w: &Ward| {
        w.is_healthy();
        silent(&w.examine(|_| {}), "unroutable_backend");
    };
    // The CNI's own routes: one that drops, and one that refuses.
    for (kind, says) in [("blackhole", "drops packets"), ("unreachable", "refuses packets")] {
        ward.node("ip", &format!("route add {kind} {to}/32"));
        let done = ward.examine(|_| {});
        named_first(&done, "unroutable_backend", says);
        assert!(done.findings[0].lost_share.is_some_and(|s| s > 0.0 && s < 1.0), "{:#?}", done.findings[0]);
        // A path says it, too.
        let view = ward.view(|_| {});
        let found =
            kptop::explain::destinations(&view.snapshot, &view.model, "kube-system/kube-dns:dns").unwrap();
        let path = kptop::explain::explain(
            &view.snapshot,
            &view.model,
            &found[0],
            kptop::explain::Sender::Pod,
            None,
        )
        .unwrap();
        assert!(
            path.notes.iter().any(|n| n.contains(&to.to_string()) && n.contains(says)),
            "{:?}",
            path.notes
        );
        ward.node("ip", &format!("route del {kind} {to}/32"));
        heal(&ward);
    }
    // On the link, where nobody says that it has the address: three questions in three seconds.
    ward.pods("sysctl", "-w net.ipv4.conf.all.arp_ignore=8");
    ward.node("ip", &format!("route add {to}/32 dev pods0"));
    ward.send(Origin::Node, vec![((ip(NODE_IP), 40_000), (to, 53), UDP)]);
    let done = ward.examine(|_| std::thread::sleep(Duration::from_secs(5)));
    named_first(&done, "unroutable_backend", "neighbour FAILED");
    ward.pods("sysctl", "-w net.ipv4.conf.all.arp_ignore=0");
    ward.node("ip", &format!("route del {to}/32 dev pods0"));
    heal(&ward);
    // None at all, where others lead on.
    ward.node("ip", "route del default");
    ward.node("ip", "route del 10.244.0.0/17");
    named_first(&ward.examine(|_| {}), "unroutable_backend", "no route leads there");
}

/// A cgroup that goes with what is attached to it.
struct Cgroup(PathBuf);

impl Cgroup {
    fn new(name: &str) -> Cgroup {
        let mounts = procfs::process::Process::myself().unwrap().mountinfo().unwrap();
        let root = mounts.into_iter().find(|m| m.fs_type == "cgroup2").expect("no cgroup2").mount_point;
        let path = root.join(format!("kptop-{name}-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Cgroup(path)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[test]
fn ebpf_programs_before_the_rules() {
    let ward = Ward::plain();
    silent(&ward.examine(|_| {}), "ebpf_ahead");
    let group = Cgroup::new("connect");
    make::at_cgroup("cil_sock4_conn", Hook::Connect4, &group.0).unwrap();
    let done = ward.examine(|_| {});
    named_first(&done, "ebpf_ahead", "cil_sock4_conn (of Cilium)");
    assert!(done.findings[0].evidence[0].starts_with("connect4 of /kptop-connect-"), "{}", text(&done));
    // A path from a pod says it, one from outside does not: its socket is elsewhere.
    let view = ward.view(|_| {});
    let found =
        kptop::explain::destinations(&view.snapshot, &view.model, "kube-system/kube-dns:dns").unwrap();
    for (sender, said) in [(kptop::explain::Sender::Pod, true), (kptop::explain::Sender::Outside, false)] {
        let path = kptop::explain::explain(&view.snapshot, &view.model, &found[0], sender, None).unwrap();
        assert_eq!(path.notes.iter().any(|n| n.contains("cil_sock4_conn")), said, "{:?}", path.notes);
    }
    drop(group);
    silent(&ward.examine(|_| {}), "ebpf_ahead");

    // At an interface of the node: each hook there.
    let attach = |hook| {
        inside(ward.lab.node(), move || {
            let index = nix::net::if_::if_nametoindex("pods0").unwrap();
            make::at_interface("own_program", hook, index)
        })
        .unwrap()
    };
    let held = [attach(Hook::Xdp), attach(Hook::TcxIngress)];
    let done = ward.examine(|_| {});
    named_first(&done, "ebpf_ahead", "xdp of pods0: own_program (owner unknown)");
    let seen = &done.findings[0].evidence;
    assert!(seen.iter().any(|e| e == "tcx ingress of pods0: own_program (owner unknown)"), "{seen:?}");
    drop(held);
    silent(&ward.examine(|_| {}), "ebpf_ahead");
    ward.node("tc", "qdisc add dev pods0 clsact");
    silent(&ward.examine(|_| {}), "ebpf_ahead");
    ward.node("tc", "filter add dev pods0 egress bpf da bytecode '1,6 0 0 4294967295,'");
    named_first(&ward.examine(|_| {}), "ebpf_ahead", "tc egress of pods0");
    ward.node("tc", "qdisc del dev pods0 clsact");
    silent(&ward.examine(|_| {}), "ebpf_ahead");
}

#[test]
fn a_pod_that_asks_its_own_service() {
    let ward = Ward::plain();
    let label = "kube-system/metrics-server:https";
    let s = ward.service(label).clone();
    let (pod, to) = (s.backends[0].address, ward.reached(label));
    let chain = kptop::proxy::endpoint_chain(
        s.name.as_ref().unwrap(),
        s.protocol,
        &format!("{pod}:{}", s.backends[0].port),
    );
    let ask = |w: &Ward, port| w.send_from(&w.lab.pods().clone(), vec![((pod, port), to, TCP)]);
    let rule = format!("{chain} -s {pod} -m comment --comment {label} -j KUBE-MARK-MASQ");
    ward.node("iptables-legacy", &format!("-t nat -D {rule}"));
    named_first(&ward.examine(|w| ask(w, 4000)), "hairpin", "with its own address as the source");
    ward.node("iptables-legacy", &format!("-t nat -I {rule}"));
    ward.node("conntrack", "-F");
    silent(&ward.examine(|w| ask(w, 4001)), "hairpin");
}

#[test]
fn source_ports_run_out() {
    let ward = Ward::plain();
    let to = ward.reached("shop/cart");
    let backend = (ward.service("shop/cart").backends[0].address, ward.service("shop/cart").backends[0].port);
    let fill = move |from: u16, n: u16| {
        move || {
            let mut client = conntrack::Client::open()?;
            for i in 0..n {
                let port = from + i;
                // Each from another client, as masquerading gives each a port of its own.
                let source = IpAddr::from([10, 200, (i >> 8) as u8, i as u8]);
                let original = Tuple {
                    source,
                    destination: to.0,
                    protocol: TCP,
                    source_port: 7,
                    destination_port: to.1,
                };
                let reply = Tuple {
                    source: backend.0,
                    destination: ip(NODE_IP),
                    protocol: TCP,
                    source_port: backend.1,
                    destination_port: port,
                };
                client.create(original, reply, 600)?;
            }
            Ok(())
        }
    };
    inside(ward.lab.node(), fill(1024, 20_000)).unwrap();
    silent(&ward.examine(|_| {}), "snat_ports");
    ward.node("conntrack", "-F");
    inside(ward.lab.node(), fill(1024, 55_000)).unwrap();
    named_first(&ward.examine(|_| {}), "snat_ports", "55000 of 64512 ports");
    ward.node("conntrack", "-F");
    ward.is_healthy();
}

#[test]
fn backends_that_get_more_than_their_part() {
    for variant in [Variant::Legacy, Variant::Nft] {
        let iptables = if variant == Variant::Legacy { "iptables-legacy" } else { "iptables-nft" };
        let ward = Ward::new(Engine::iptables(variant), 0.0);
        let label = "kube-system/kube-dns:dns";
        let (s, to) = (ward.service(label).clone(), ward.reached(label));
        let ask = |w: &Ward, from: u16| {
            w.send(Origin::Pod, (0..800).map(|i| ((ip(APP), from + i), to, UDP)).collect());
        };
        silent(&ward.examine(|w| ask(w, 2000)), "uneven_backends");
        // A rule of a user that goes past the Service's chain, for half of its flows.
        let first = format!("{}:53", s.backends[0].address);
        let chain = kptop::proxy::endpoint_chain(s.name.as_ref().unwrap(), s.protocol, &first);
        let rule = format!("PREROUTING -p udp -d {} --dport 53 --sport 3000:3599 -j {chain}", to.0);
        ward.node(iptables, &format!("-t nat -I {rule}"));
        named_first(&ward.examine(|w| ask(w, 3000)), "uneven_backends", "beyond chance");
        ward.node(iptables, &format!("-t nat -D {rule}"));
        ward.reinstall(Engine::iptables(variant), &ward.services);
        ward.is_healthy_after(|w| ask(w, 4000));
    }
}

#[test]
fn node_ports_on_no_address_of_the_node() {
    let ward = Ward::new(Engine::Nftables, 0.0);
    ward.node("nft", &format!("delete element ip kube-proxy nodeport-ips '{{ {NODE_IP} }}'"));
    ward.node("nft", "add element ip kube-proxy nodeport-ips '{ 192.0.2.10 }'");
    named_first(&ward.examine(|_| {}), "nodeport_ips", "nodeport-ips holds 192.0.2.10");
    ward.node("nft", "flush set ip kube-proxy nodeport-ips");
    named_first(&ward.examine(|_| {}), "nodeport_ips", "nodeport-ips holds nothing");
    ward.node("nft", &format!("add element ip kube-proxy nodeport-ips '{{ {NODE_IP} }}'"));
    ward.is_healthy();
}

#[test]
fn node_ports_that_the_node_uses_itself() {
    let ward = Ward::plain();
    ward.sysctl("ipv4/ip_local_port_range", "30000 60999");
    named_first(&ward.examine(|_| {}), "node_port_range", "30080 (shop/frontend:http)");
    ward.sysctl("ipv4/ip_local_port_range", "32768 60999");
    ward.is_healthy();
}

#[test]
fn packets_to_localhost_from_elsewhere() {
    let ward = Ward::plain();
    let bound = |w: &Ward| {
        inside(w.lab.node(), || {
            let socket = UdpSocket::bind((NODE_IP, 0)).unwrap();
            let _ = socket.send_to(b"kptop", ("127.0.0.1", 9));
            Ok(())
        })
        .unwrap();
    };
    named_first(&ward.examine(bound), "localnet", "KUBE-FIREWALL");
    silent(&ward.examine(|_| {}), "localnet");
    // Node ports on localhost that do not answer: worth knowing.
    ward.sysctl("ipv4/conf/all/route_localnet", "0");
    named_first(&ward.examine(|_| {}), "localnet", "route_localnet = 0");
    ward.sysctl("ipv4/conf/all/route_localnet", "1");
    silent(&ward.examine(|_| {}), "localnet");
}

#[test]
fn pods_on_a_bridge_that_rules_do_not_see() {
    let ward = Ward::plain();
    for args in [
        "link add cni0 type bridge",
        "addr add 10.245.0.1/24 dev cni0",
        "link add v1 type veth peer name w1",
        "link add v2 type veth peer name w2",
        "link set v1 master cni0",
        "link set v2 master cni0",
        "link set cni0 up",
    ] {
        ward.node("ip", args);
    }
    ward.sysctl("bridge/bridge-nf-call-iptables", "0");
    named_first(&ward.examine(|_| {}), "bridge_netfilter", "bridge-nf-call-iptables = 0");
    ward.sysctl("bridge/bridge-nf-call-iptables", "1");
    ward.is_healthy();
}

#[test]
fn answers_that_would_go_another_way() {
    let ward = Ward::plain();
    // A client outside with the address of a pod.
    let spoof = |w: &Ward| {
        let to = w.reached("shop/cart");
        w.send(Origin::Outside, vec![((ip(APP), 999), (ip(NODE_IP), 9), UDP)]);
        let _ = to;
    };
    ward.sysctl("ipv4/conf/ext0/rp_filter", "1");
    named_first(&ward.examine(spoof), "rp_filter", "ext0");
    ward.sysctl("ipv4/conf/ext0/rp_filter", "2");
    silent(
        &ward.examine(|w| w.send(Origin::Outside, vec![((ip(CLIENT_IP), 999), (ip(NODE_IP), 9), UDP)])),
        "rp_filter",
    );
}

#[test]
fn a_server_that_does_not_accept() {
    let ward = Ward::plain();
    let crowd = |n: usize| {
        move |w: &Ward| {
            inside(w.lab.node(), move || {
                let listener = socket2_listen(1);
                let to: SocketAddr = listener.local_addr().unwrap();
                for _ in 0..n {
                    match std::net::TcpStream::connect_timeout(&to, Duration::from_millis(30)) {
                        Ok(stream) => std::mem::forget(stream),
                        Err(e) => {
                            assert!(matches!(e.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock), "{e}");
                        }
                    }
                }
                Ok(())
            })
            .unwrap();
        }
    };
    named_first(&ward.examine(crowd(8)), "listen_overflows", "ListenOverflows");
    silent(&ward.examine(crowd(1)), "listen_overflows");
}

/// A listener with a short queue.
fn socket2_listen(backlog: i32) -> std::net::TcpListener {
    use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, listen, socket};
    use std::os::fd::AsRawFd;
    let fd = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    bind(fd.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).unwrap();
    listen(&fd, Backlog::new(backlog).unwrap()).unwrap();
    fd.into()
}

#[test]
fn both_variants_hold_services() {
    let ward = Ward::plain();
    ward.lab.install(Engine::IptablesNft, &ward.services).unwrap();
    named_first(&ward.examine(|_| {}), "both_variants", "legacy and iptables-nft");
    for (family, list) in
        [("iptables-nft", ["nat", "filter", "mangle"]), ("ip6tables-nft", ["nat", "filter", "mangle"])]
    {
        for t in list {
            ward.node(family, &format!("-t {t} -F"));
            ward.node(family, &format!("-t {t} -X"));
        }
    }
    // Empty tables side by side are no fault.
    ward.is_healthy();
}

#[test]
fn a_mode_that_was_left() {
    let ward = Ward::plain();
    ward.lab.install(Engine::Nftables, &ward.services).unwrap();
    named_first(&ward.examine(|_| {}), "leftovers", "iptables mode (legacy) ipv4 is stale");
    ward.node("nft", "delete table ip kube-proxy");
    ward.node("nft", "delete table ip6 kube-proxy");
    ward.is_healthy();
}

#[test]
fn rules_that_are_there_twice() {
    let ward = Ward::plain();
    let jump = "PREROUTING -m comment --comment 'kubernetes service portals' -j KUBE-SERVICES";
    ward.node("iptables-legacy", &format!("-t nat -A {jump}"));
    let done = ward.examine(|_| {});
    named_first(&done, "duplicate_rules", "is there twice");
    assert!(!done.is_alarming());
    ward.node("iptables-legacy", &format!("-t nat -D {jump}"));
    silent(&ward.examine(|_| {}), "duplicate_rules");
}

#[test]
fn two_services_with_one_address() {
    let address = Some(ip("198.51.100.77")); // shop/catalog's
    let frontends = vec![
        (FrontendKind::ClusterIp, Some(ip("10.96.9.9")), 80, TrafficPolicy::Cluster),
        (FrontendKind::ExternalIp, address, 80, TrafficPolicy::Cluster),
    ];
    let name = ServiceName::parse("rivals/catalog:http").unwrap();
    let protocol = kptop::proxy::Protocol::Tcp;
    let rival = shop::build(name, protocol, IpFamily::V4, 8080, &[(ip("10.244.3.3"), false)], frontends);
    let mut services = healthy_shop();
    services.push(rival);
    let ward = Ward::with(Engine::IptablesLegacy, services, 0.0);
    named_first(&ward.examine(|_| {}), "never_hit", "belongs to two Services");
    ward.reinstall(Engine::IptablesLegacy, &healthy_shop());
    ward.is_healthy();
}
