//! What the doctor says of captured rule sets, of data that no kernel at hand can give, and of the screen's fixtures. Faults
//! that are made for real are in `tests/it/kernel/faults.rs` and `tests/it/kernel/faults_vm.rs`.

use crate::common::screens::{busy_node, moved_node};
use kptop::doctor::{Finding, Severity, Subject};
use kptop::lab::shop;
use kptop::observe::Observer;
use kptop::proxy::{Names, iptables};
use kptop::ruleset::IpFamily;
use kptop::snapshot::{Snapshot, SourceId, TableState, Unread, UnreadKind};
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
    let found: Vec<_> = update
        .examination
        .findings
        .iter()
        .filter(|f| ["no_endpoints", "no_local_endpoints"].contains(&f.id))
        .collect();
    // Those without endpoints are one fault; the one of a local policy is another.
    let count = |id: &str| found.iter().filter(|f| f.id == id).map(|f| f.services.len()).collect::<Vec<_>>();
    assert_eq!((count("no_endpoints"), count("no_local_endpoints")), (vec![2], vec![1]), "{found:?}");
    assert!(found.iter().all(|f| f.title.contains("no endpoint")));
    assert!(found.iter().any(|f| f.severity == Severity::Critical), "packets are refused now");
    // The worst are first, and lead to what they are about.
    assert!(update.examination.findings.windows(2).all(|w| w[0].severity <= w[1].severity));
    for f in found {
        let Subject::Service(i) = f.subject else { panic!("{f:?}") };
        assert_eq!(f.services[0], i, "the one that loses most");
        let one = f.about.starts_with(&update.model.services[i].label());
        assert!(one || f.about.ends_with(&format!(" and {} more", f.services.len() - 1)));
        assert!(!f.evidence.is_empty() && !f.advice.is_empty());
    }
}

#[test]
fn a_mode_that_was_left_is_found() {
    let update = moved_node();
    let found = of(&update.examination.findings, "leftovers");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].1.contains("iptables mode (legacy) ipv4 is stale"), "{found:?}");
}

#[test]
fn drop_rules_that_take_packets_now_are_found_others_are_not() {
    let updates = busy_node();
    let own = |u: &kptop::tui::Update| -> Vec<&'static str> {
        let drops = ["invalid_dropped", "localnet", "foreign_drop"];
        u.examination.findings.iter().map(|f| f.id).filter(|id| drops.contains(id)).collect()
    };
    assert_eq!(own(&updates[0]), [""; 0], "one reading says no rise");
    let unchecked = &updates[0].examination.unchecked;
    assert!(unchecked.iter().any(|u| u.id == "invalid_dropped" && u.why.contains("needs two")));
    let last = updates.last().unwrap();
    assert!(own(last).contains(&"invalid_dropped"), "{:?}", own(last));
    assert_eq!(of(&last.examination.findings, "leftovers"), []);
}

/// kube-proxy's rules are gone for as long as they are not back.
#[test]
fn wiped_rules_stay_wiped() {
    let services = shop::services(None, 4);
    let mut observer = Observer::new(Names::default());
    let mut look = |at: u64, rules: bool| {
        let tables = match rules {
            true => iptables::write(&services, IpFamily::V4, &iptables::WriteOptions::default()),
            false => Vec::new(),
        };
        let tables = tables.into_iter();
        let snapshot = Snapshot {
            taken_at: jiff::Timestamp::from_second(1_000 + at as i64).unwrap(),
            tables: tables
                .map(|(t, c)| TableState::new(Duration::from_secs(at), Arc::new(t), Arc::new(c)))
                .collect(),
            ..Snapshot::default()
        };
        (*observer.observe(snapshot).examination).clone()
    };
    assert_eq!(of(&look(0, true).findings, "wiped"), []);
    let broken = of(&look(1, true).findings, "no_endpoints");
    assert!(!broken.is_empty());
    for at in [2, 8, 13, 100, 4_000] {
        let said = look(at, false);
        let wiped = of(&said.findings, "wiped");
        assert!(matches!(&wiped[..], [(Severity::Critical, t)] if t.contains("rules are gone")), "{wiped:?}");
    }
    let said = look(4_100, true);
    assert!(said.findings.iter().all(|f| f.id != "wiped" || f.quiet_since.is_some()), "{:?}", said.findings);
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
        // What a later version takes away is no fault of the node's.
        let found: Vec<_> = view.examination.findings.iter().filter(|f| f.id != "deprecated").collect();
        assert!(found.is_empty(), "{round}: {found:#?}");
    }
}

/// What no kernel at hand does: data represents it.
#[test]
fn kernels_that_do_not_suit_a_mode() {
    let services = shop::services(None, 4);
    let options = kptop::proxy::nftables::WriteOptions::default();
    let (table, counters) = kptop::proxy::nftables::write(&services, IpFamily::V4, &options);
    let (table, counters) = (Arc::new(table), Arc::new(counters));
    let found = |release: &str| {
        let kernel = Some(release.to_string());
        let node = Arc::new(kptop::snapshot::facts::Node { kernel, ..Default::default() });
        let tables = vec![TableState::new(Duration::ZERO, table.clone(), counters.clone())];
        let view = Observer::new(Names::default()).observe(Snapshot { node, tables, ..Snapshot::default() });
        of(&view.examination.findings, "slow_kernel")
    };
    assert_eq!(found("5.4.0-42-generic").len(), 1);
    assert!(found("5.4.0-42-generic")[0].1.contains("too old"));
    assert_eq!(found("6.1.0-40-amd64"), []);
}

/// A pod of this node to which only the default route leads, as after the loss of the CNI's route.
#[test]
fn packets_to_a_pod_of_this_node_that_leave_the_node() {
    use kptop::snapshot::facts::{Link, RouteKind, WayRoute, Ways};
    let dir = crate::common::set("1.36.2", "iptables-legacy");
    let mut snapshot = kptop::snapshot::dump::read(&[dir]).unwrap();
    let link = |index, name: &str| Link { index, name: name.into(), up: true, ..Link::default() };
    snapshot.links = Arc::new(vec![link(2, "eth0"), link(3, "cni0")]);
    snapshot.addresses = Arc::new(vec![kptop::snapshot::facts::InterfaceAddress {
        interface: "eth0".into(),
        address: "192.168.50.10".parse().unwrap(),
        prefix: None,
    }]);
    let route = |net: &str, interface, gateway: Option<&str>| WayRoute {
        net: net.parse().unwrap(),
        kind: RouteKind::Unicast,
        table: 254,
        metric: 0,
        interface,
        gateway: gateway.map(|g| g.parse().unwrap()),
    };
    let out = |net| route(net, 2, Some(if net == "::/0" { "fd00:50::1" } else { "192.168.50.1" }));
    let pods = [route("10.244.0.0/24", 3, None), route("fd00:10:244::/64", 3, None)];
    for (with_pods, wanted) in [(true, false), (false, true)] {
        let mut routes = vec![out("0.0.0.0/0"), out("::/0")];
        routes.extend(pods.iter().filter(|_| with_pods).cloned());
        snapshot.ways = Some(Arc::new(Ways { routes, ..Ways::default() }));
        let view = Observer::new(Names::default()).at_once().observe(snapshot.clone());
        let found = of(&view.examination.findings, "unroutable_backend");
        assert_eq!(!found.is_empty(), wanted, "{found:#?} {:?}", view.examination.unchecked);
        assert!(found.iter().all(|f| f.1.contains("leave the node")), "{found:#?}");
    }
}

/// Kernels before 5.9 want another `conn_reuse_mode` than later ones.
#[test]
fn conn_reuse_mode_goes_with_the_kernel() {
    use kptop::snapshot::Reading;
    use kptop::snapshot::facts::{InterfaceAddress, Ipvs, VirtualAddress};
    let servers = kptop::proxy::ipvs::write(&shop::services(None, 4), &[]);
    let address = |a: &VirtualAddress| match a {
        VirtualAddress::Socket { address, .. } => {
            Some(InterfaceAddress { interface: "kube-ipvs0".into(), address: *address, prefix: None })
        }
        _ => None,
    };
    let addresses = Arc::new(servers.iter().filter_map(|s| address(&s.address)).collect());
    let ipvs = Reading { at: Duration::ZERO, value: Arc::new(Ipvs { servers, ..Ipvs::default() }) };
    let found = |release: &str, mode: &str| {
        let kernel = Some(release.to_string());
        let snapshot = Snapshot {
            node: Arc::new(kptop::snapshot::facts::Node { kernel, ..Default::default() }),
            ipvs: Some(ipvs.clone()),
            addresses: Arc::clone(&addresses),
            sysctls: Arc::new([("net/ipv4/vs/conn_reuse_mode".into(), mode.to_string())].into()),
            ..Snapshot::default()
        };
        let view = Observer::new(Names::default()).observe(snapshot);
        of(&view.examination.findings, "ipvs_conn_reuse_mode")
    };
    assert!(found("5.4.0-42-generic", "1")[0].1.contains("wait a second"));
    assert_eq!(found("5.4.0-42-generic", "0"), []);
    assert!(found("6.1.0", "0")[0].1.contains("drained"));
    assert_eq!(found("6.1.0", "1"), []);
}

/// The manual names every cause, and no other.
/// Each finding offers commands: of a Service's by what it is, of the node's by the check.
#[test]
fn every_cause_has_commands() {
    let of_services = ["no_endpoints", "no_local_endpoints", "source_ranges", "uneven_backends", "never_hit"];
    for id in kptop::doctor::causes().filter(|id| !of_services.contains(id)) {
        assert!(!kptop::by_hand::of_check(id).is_empty(), "{id} has no commands");
    }
}

#[test]
fn the_manual_has_every_cause() {
    let text = include_str!("../../docs/doctor.md");
    let reported: Vec<&str> =
        text.lines().filter_map(|l| l.strip_prefix("| `")?.split_once('`').map(|c| c.0)).collect();
    for id in kptop::doctor::causes() {
        assert!(reported.contains(&id), "docs/doctor.md does not report {id}");
    }
    for id in &reported {
        assert!(kptop::doctor::causes().any(|c| c == *id), "docs/doctor.md reports {id}, which is no cause");
    }
    assert_eq!(reported.len(), kptop::doctor::causes().count());
}

/// What could not be read is not ruled out.
#[test]
fn a_reading_that_failed_rules_nothing_out() {
    let services = shop::services(None, 4);
    let options = iptables::WriteOptions::default();
    let tables = iptables::write(&services, IpFamily::V4, &options);
    let tables: Vec<TableState> =
        tables.into_iter().map(|(t, c)| TableState::new(Duration::ZERO, Arc::new(t), Arc::new(c))).collect();
    let unread = Unread::of_files(SourceId::NfTables, UnreadKind::Failed, "nf_tables", "interrupted");
    let view = Observer::new(Names::default()).observe(Snapshot {
        tables,
        unread: vec![unread],
        ..Snapshot::default()
    });
    let done = &view.examination;
    assert!(done.findings.iter().any(|f| f.id == "no_endpoints"), "what was read is reported");
    let left = done.unchecked.iter().find(|u| u.id == "leftovers").expect("it may be in what was not read");
    assert!(left.why.contains("nf_tables: interrupted"), "{left:?}");
}

/// On a real kernel, in network namespaces made for it.
mod kernel {

    /// Sets that the real kube-proxy wrote: nothing is alarming about them but the Services that have no endpoints.
    #[test]
    fn captured_sets_raise_no_false_alarm() {
        for (version, mode) in crate::common::sets(&crate::common::MODES[..4]) {
            crate::common::in_new_netns(move || {
                let dir = crate::common::set(version, mode);
                crate::common::run("ip", &["link", "set", "lo", "up"]);
                crate::common::run("ip", &["addr", "add", "192.168.50.10/24", "dev", "lo"]);
                crate::common::run("ip", &["addr", "add", "fd00:50::10/64", "dev", "lo", "nodad"]);
                std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
                std::fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").unwrap();
                match mode {
                    "iptables-nft" => crate::common::load_nft(&dir),
                    "nftables" => {
                        let text = crate::common::read(&dir, "nft-list-ruleset.txt").unwrap();
                        crate::common::run_with("nft", &["-f", "-"], &text);
                    }
                    _ => crate::common::load_legacy(&dir),
                }
                crate::common::no_false_alarm(&format!("{version}/{mode}"));
            });
        }
    }
}
