//! The faults of `kptop demo --fault`: each comes, is found with its name, and was not there before.

use crate::common::say;
use kptop::doctor::Severity;
use kptop::lab::{Fault, Lab, LabOptions, shop};
use kptop::observe::{Observer, View};
use kptop::proxy::{Engine, Names};
use kptop::snapshot::live::{CountFlows, Live, Wanted};
use std::time::{Duration, Instant};

/// Runs a demo with a fault, and looks at it until the fault is found.
fn tell(engine: Engine, fault: Fault, id: &'static str, check: fn(&View) -> bool) {
    let services = shop::services(None, 4);
    let plan = shop::plan(&services, 1.0);
    let mut lab = Lab::start(&LabOptions { engine, services: services.clone(), plan }).unwrap();
    lab.fault(fault, Duration::from_secs(4), engine, &services).unwrap();
    let began = Instant::now();
    let node = lab.node().clone();
    let found = std::thread::spawn(move || {
        let live = Live::enter(&node).unwrap().counting_new_flows(CountFlows::Auto);
        let mut live = live.asking_kube_proxy(fault == Fault::KubeProxyStuck);
        let mut observer = Observer::new(Names::default());
        let is_found =
            |v: &View| v.examination.findings.iter().any(|f| f.id == id && f.severity <= Severity::Warning);
        let mut at_first = None;
        while began.elapsed() < Duration::from_secs(60) {
            let view = observer.observe(live.snapshot(Wanted::ALL));
            if began.elapsed() < Duration::from_secs(4) {
                at_first = Some(is_found(&view));
            } else if is_found(&view) && check(&view) {
                return (at_first, true, String::new());
            }
            std::thread::sleep(Duration::from_millis(500));
        }
        let view = observer.observe(live.snapshot(Wanted::ALL));
        let seen: Vec<String> =
            view.examination.findings.iter().map(|f| format!("{} {:?}", f.id, f.title)).collect();
        (at_first, false, seen.join("\n"))
    });
    let (at_first, found, seen) = found.join().unwrap();
    assert!(found, "{engine:?} {fault:?}: {id} was not found, but\n{seen}");
    // A slow machine may have had no reading before the fault.
    assert_ne!(at_first, Some(true), "{engine:?} {fault:?}: {id} was there before");
    say(&format!("{engine:?} {fault:?}: found after {:?}", began.elapsed()));
}

const MODES: [Engine; 3] = [Engine::IptablesLegacy, Engine::IptablesNft, Engine::Nftables];

#[test]
fn a_rule_of_somebody_else_drops_one_backend() {
    for engine in MODES {
        tell(engine, Fault::ForeignDrop, "foreign_drop", |v| {
            let cart = v.rows().find(|r| r.service.label() == "shop/cart").unwrap();
            cart.health.lost_share.is_some_and(|s| (s - 0.25).abs() < 0.01)
        });
    }
}

#[test]
fn datagrams_go_to_a_pod_that_is_gone() {
    for engine in MODES {
        tell(engine, Fault::StaleUdp, "stale_flows", |_| true);
    }
}

#[test]
fn the_rules_are_flushed() {
    for engine in MODES {
        tell(engine, Fault::Wiped, "wiped", |_| true);
    }
}

#[test]
fn the_nodes_own_ports_reach_into_those_of_services() {
    tell(Engine::Nftables, Fault::NodePortTaken, "node_port_range", |_| true);
}

#[test]
fn kube_proxy_does_not_answer() {
    tell(Engine::Nftables, Fault::KubeProxyStuck, "sync_stuck", |_| true);
}
