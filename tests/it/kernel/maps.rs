//! Maps of other proxies in a real kernel: written by `bpf(2)` into a bpffs that nobody else sees, and read as those of a node are.

use crate::common::{in_new_netns, run};
use crate::proxies::{older, ordered, plans, service};
use kptop::kernel::maps::BpfMap;
use kptop::kernel::maps::make::Bpffs;
use kptop::lab::shop;
use kptop::observe::Observer;
use kptop::proxy::ebpf::{calico, cilium};
use kptop::proxy::{Engine, Model, Names, Service};
use kptop::snapshot::live::{Live, Wanted};
use kptop::snapshot::{SourceId, UnreadKind};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::process::Command;

fn shop_of(maps: &[BpfMap]) -> (Bpffs, kptop::snapshot::Snapshot) {
    let bpffs = Bpffs::new().unwrap();
    maps.iter().for_each(|m| bpffs.pin(m).unwrap());
    let path = bpffs.path();
    let snapshot =
        in_new_netns(move || Live::open(None).unwrap().with_maps(Some(path)).snapshot(Wanted::ALL));
    (bpffs, snapshot)
}

#[test]
fn the_shop_as_cilium_and_calico_hold_it() {
    let services = shop::services(Some(2_000), 4);
    for (maps, engine) in
        [(cilium::write(&services), Engine::Cilium), (calico::write(&services, &[]), Engine::CalicoEbpf)]
    {
        let (_bpffs, snapshot) = shop_of(&maps);
        assert!(snapshot.unread.iter().all(|u| u.source != SourceId::ServiceMaps), "{:?}", snapshot.unread);
        assert_eq!(snapshot.maps.as_deref().unwrap().len(), maps.len());
        let model = Model::read(&snapshot, &Names::default());
        let direct = Model::read(
            &kptop::snapshot::Snapshot { maps: Some(maps.into()), ..kptop::snapshot::Snapshot::default() },
            &Names::default(),
        );
        let of = |m: &Model| m.services.iter().cloned().collect::<Vec<Service>>();
        assert_eq!(of(&model), of(&direct));
        assert!(model.services.iter().filter(|s| s.engine == engine).count() > 2_000);
        let view = Observer::new(Names::default()).observe(snapshot);
        assert!(view.examination.findings.iter().all(|f| f.id != "two_proxies"));
    }
}

/// Lists of Services of every kind, written by `bpf(2)` in every layout, and read back by the pinned files.
#[test]
fn any_list_of_services_is_read_back_from_the_kernel() {
    let mut runner = TestRunner::new(Config { cases: 24, failure_persistence: None, ..Config::default() });
    let node = ["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
    runner
        .run(&plans(), |plans| {
            let of = |engine, all_known| -> Vec<Service> {
                plans.iter().enumerate().map(|(n, p)| service(p, n, engine, all_known)).collect()
            };
            let (in_cilium, in_calico) = (of(Engine::Cilium, false), of(Engine::CalicoEbpf, true));
            let written = cilium::write(&in_cilium);
            for maps in [older(written.clone()), written, calico::write(&in_calico, &node)] {
                let (_bpffs, snapshot) = shop_of(&maps);
                prop_assert!(snapshot.unread.iter().all(|u| u.source != SourceId::ServiceMaps));
                let mut wanted = maps;
                wanted.sort_by(|a, b| a.name.cmp(&b.name));
                prop_assert_eq!(&**snapshot.maps.as_ref().unwrap(), &wanted);
                if wanted.iter().any(|m| m.name.starts_with("cilium")) {
                    let read = cilium::read(snapshot.maps.as_deref().unwrap());
                    prop_assert_eq!(ordered(read), ordered(in_cilium.clone()));
                }
            }
            Ok(())
        })
        .unwrap();
}

/// A layout of a later version is named, and nothing of it is guessed; the others are read.
#[test]
fn sizes_that_are_not_known_are_said() {
    let mut maps = cilium::write(&shop::services(None, 4));
    for m in maps.iter_mut().filter(|m| m.name == "cilium_lb4_backends_v3") {
        let entries: Vec<_> = m.entries().map(|(k, v)| (k.to_vec(), [v, &[0; 4]].concat())).collect();
        m.value_size += 4;
        m.set_entries(entries);
    }
    let (bpffs, snapshot) = shop_of(&maps);
    let said: Vec<_> = snapshot.unread.iter().filter(|u| u.source == SourceId::ServiceMaps).collect();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].what.contains("cilium_lb4_backends_v3") && said[0].why.contains("values of 16 bytes"));
    assert_eq!(said[0].kind, UnreadKind::Failed);
    drop(bpffs);
}

#[test]
fn that_there_is_no_bpffs_is_said() {
    for place in ["/nonexistent", "/proc"] {
        let snapshot = in_new_netns(move || {
            let live = Live::open(None).unwrap().with_maps(Some(place.into()));
            { live }.snapshot(Wanted::ALL)
        });
        let said: Vec<_> = snapshot.unread.iter().filter(|u| u.source == SourceId::ServiceMaps).collect();
        assert_eq!(said.len(), 1, "{said:?}");
        assert_eq!(said[0].why, format!("no bpffs is mounted at {place}"));
        assert_eq!(said[0].kind, UnreadKind::Missing);
        assert!(snapshot.maps.is_none());
        // All else is read.
        assert!(snapshot.counters.is_some() && snapshot.unread.iter().all(|u| !u.failed()));
    }
}

#[test]
fn a_bpffs_that_is_none_is_refused_with_the_next_step() {
    for (place, why) in [("/nonexistent", "No such file or directory"), ("/proc", "this is no bpffs")] {
        for command in ["doctor", "snapshot", "serve", "compare"] {
            let out =
                Command::new(env!("CARGO_BIN_EXE_kptop")).args([command, "--bpffs", place]).output().unwrap();
            let text = String::from_utf8_lossy(&out.stderr);
            assert_eq!(out.status.code(), Some(2), "{command}: {text}");
            assert!(
                text.contains(&format!("--bpffs {place}: {why}")) && text.contains("mount -t bpf"),
                "{command}: {text}"
            );
        }
    }
}

/// The demo: names by objects, and no word of kube-proxy.
#[test]
fn the_demo_shows_the_shop_as_cilium_holds_it() {
    let kptop = env!("CARGO_BIN_EXE_kptop");
    let text = run(kptop, &["demo", "--mode", "cilium", "-o", "json", "--for", "0"]);
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["proxy"]["name"], "cilium");
    let services = json["services"].as_array().unwrap();
    assert_eq!(services.len(), 35);
    assert!(services.iter().all(|s| s["mode"] == "cilium" && s["namespace"].is_string()));
    let invoices = services.iter().find(|s| s["name"] == "invoices").unwrap();
    assert_eq!(invoices["health"]["state"], "no_endpoints");
}

/// OVN-Kubernetes' table, as `go-controller/pkg/node/gateway_nftables.go` writes it.
const OVN: &str = "
table inet ovn-kubernetes {
    map nodeports-v4 { type inet_proto . inet_service : ipv4_addr . inet_service
        elements = { tcp . 30080 : 172.30.5.9 . 80, udp . 30053 : 172.30.0.10 . 53 } }
    map nodeports-v6 { type inet_proto . inet_service : ipv6_addr . inet_service
    }
    map nodeports-etp-local-v4 { type inet_proto . inet_service : ipv4_addr . inet_service
        elements = { tcp . 30080 : 169.254.169.3 . 30080, tcp . 31000 : 169.254.169.3 . 31000 } }
    map external-ips-v4 { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service
        elements = { 203.0.113.9 . tcp . 80 : 172.30.5.9 . 80 } }
    map external-ips-v6 { type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service
        elements = { 2001:db8::9 . tcp . 443 : fd02::7 . 443 } }
    map external-ips-etp-local-v4 { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service
    }
    chain services-etp {
        fib daddr type local dnat ip to meta l4proto . th dport map @nodeports-etp-local-v4
    }
    chain services {
        dnat ip to ip daddr . meta l4proto . th dport map @external-ips-v4
        fib daddr type local dnat ip to meta l4proto . th dport map @nodeports-v4
    }
    chain services-prerouting { type nat hook prerouting priority dstnat
        jump services-etp
        jump services
    }
}
";

#[test]
fn the_table_of_ovn_kubernetes_is_read_as_far_as_it_tells() {
    let snapshot = in_new_netns(|| {
        crate::common::run_with("nft", &["-f", "-"], OVN);
        Live::open(None).unwrap().snapshot(Wanted::ALL)
    });
    let view = Observer::new(Names::default()).observe(snapshot);
    let lines: Vec<String> = view
        .model
        .services
        .iter()
        .map(|s| {
            let at: Vec<String> = s
                .frontends
                .iter()
                .map(|f| {
                    let policy = f.traffic_policy.map_or("-", |p| p.name());
                    format!("{} {policy}", kptop::proxy::frontend_text(f))
                })
                .collect();
            format!("{} {}", s.protocol.lower(), at.join(", "))
        })
        .collect();
    assert_eq!(
        lines,
        [
            "tcp *:31000 local",
            "udp 172.30.0.10:53 cluster, *:30053 cluster",
            "tcp 172.30.5.9:80 cluster, *:30080 local, 203.0.113.9:80 cluster",
            "tcp [fd02::7]:443 cluster, [2001:db8::9]:443 cluster",
        ]
    );
    assert!(view.health.iter().all(|h| h.why.contains("Open vSwitch")), "{:?}", view.health);
    let found = kptop::proxy::detect(&view.snapshot, &view.model);
    assert_eq!((found[0].proxy.name(), found[0].serves), ("ovn-kubernetes", true), "{found:?}");
}
