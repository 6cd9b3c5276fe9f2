//! Each cause in a node that has it, and silence in its healthy twin. Faults made in the lab come with the causes that
//! need them.

mod common;

use common::screens::{busy_node, moved_node};
use kptop::doctor::{Finding, Severity, Subject};
use kptop::lab::shop;
use kptop::observe::Observer;
use kptop::proxy::{Names, iptables};
use kptop::ruleset::IpFamily;
use kptop::snapshot::{Snapshot, TableState};
use std::sync::Arc;
use std::time::Duration;

/// Of one cause.
fn of(findings: &[Finding], id: &str) -> Vec<(Severity, String)> {
    findings
        .iter()
        .filter(|f| f.id == id)
        .map(|f| (f.severity, format!("{}: {}", f.about, f.title)))
        .collect()
}

#[test]
fn services_that_refuse_are_found_and_those_that_are_asked_first() {
    let update = busy_node().pop().unwrap();
    let found = of(&update.findings, "no_endpoints");
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found.iter().all(|f| f.1.contains("no endpoint")));
    assert!(found.iter().any(|f| f.0 == Severity::Critical), "packets are refused now");
    // The worst stand first, and lead to what they are about.
    assert!(update.findings.windows(2).all(|w| w[0].severity <= w[1].severity));
    for f in update.findings.iter().filter(|f| f.id == "no_endpoints") {
        let Subject::Service(i) = f.subject else { panic!("{f:?}") };
        assert!(f.about.starts_with(&update.model.services[i].label()));
        assert!(!f.evidence.is_empty() && !f.advice.is_empty());
    }
}

#[test]
fn a_mode_that_was_left_is_found() {
    let update = moved_node();
    let found = of(&update.findings, "leftovers");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].1.contains("iptables mode (legacy) ipv4 is left over"), "{found:?}");
}

#[test]
fn drop_rules_that_take_packets_now_are_found_others_are_not() {
    let updates = busy_node();
    assert_eq!(of(&updates[0].findings, "drops"), [], "one reading tells no rate");
    let last = updates.last().unwrap();
    assert!(!of(&last.findings, "drops").is_empty());
    assert_eq!(of(&last.findings, "leftovers"), []);
}

/// Every Service has endpoints, nothing is refused, no other mode: nothing to say.
#[test]
fn a_healthy_node_has_no_findings() {
    let mut services = shop::services(None, 4);
    services.retain(|s| !s.backends.is_empty() && s.family == IpFamily::V4);
    let mut observer = Observer::new(Names::default());
    for round in 1..4u64 {
        let at = Duration::from_secs(round);
        let tables = iptables::write(&services, IpFamily::V4, &iptables::WriteOptions::default());
        let tables: Vec<TableState> = tables
            .into_iter()
            .map(|(table, mut counters)| {
                if table.name == "nat" {
                    counters.rules.iter_mut().for_each(|c| c.packets = round * 5);
                }
                TableState::new(at, Arc::new(table), Arc::new(counters))
            })
            .collect();
        let view = observer.observe(Snapshot { tables, ..Snapshot::default() });
        assert!(view.model.services.len() > 20);
        assert_eq!(*view.findings, [], "{round}");
    }
}
