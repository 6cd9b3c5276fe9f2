//! The walk against the kernel: of each captured set that this kernel can load, random packets take exactly one of the
//! ways that the walk tells. The sets of ipvs mode run in the VM (`tests/ipvs.rs`).

mod common;

use common::walking::{Report, packets, walk_beside_the_kernel};
use common::{load_legacy, load_nft, read, run, run_with, set};
use kptop::kernel::nftables as kernel_nftables;
use kptop::ruleset::{Counter, Dialect, Match, RuleSpec, Table, TableBuilder, TableCounters};
use kptop::snapshot::live::{Live, Wanted};

fn check(what: &str, report: &Report, rules: usize) {
    eprintln!(
        "{what}: {} packets, ends {:?}, {} with assumptions, {} of {} rules seen",
        report.packets,
        report.ends,
        report.forks,
        report.rules_seen.len(),
        report.rules_in_all
    );
    assert!(report.ends.len() >= 2 && report.rules_seen.len() > rules, "{what}: {report:?}");
}

#[test]
fn packets_go_as_told_through_iptables_legacy() {
    for version in ["1.20.2", "1.36.2"] {
        let dir = set(version, "iptables-legacy");
        let report = walk_beside_the_kernel(1, packets(250), move || load_legacy(&dir));
        check(&format!("{version}/iptables-legacy"), &report, 150);
    }
}

#[test]
fn packets_go_as_told_through_iptables_nft() {
    for version in ["1.20.2", "1.36.2"] {
        let dir = set(version, "iptables-nft");
        let report = walk_beside_the_kernel(2, packets(250), move || load_nft(&dir));
        check(&format!("{version}/iptables-nft"), &report, 150);
    }
}

#[test]
fn packets_go_as_told_to_the_ports_of_a_userspace_proxy() {
    let dir = set("1.20.2", "userspace-legacy");
    let report = walk_beside_the_kernel(3, packets(250), move || load_legacy(&dir));
    check("1.20.2/userspace-legacy", &report, 40);
}

/// The same table with a counter in each rule, before its verdict: kube-proxy's own rules count nothing.
fn with_counters(table: &Table) -> (Table, TableCounters) {
    let mut b = TableBuilder::new(table.family, table.backend, &table.name);
    b.dialect = Dialect::Nft;
    b.strings = table.strings.clone();
    for chain in &table.chains {
        let id = b.chain(table.str(chain.name));
        if let Some(base) = chain.base {
            b.base(id, base, Counter::default());
        }
    }
    for set in &table.sets {
        b.set(set.clone());
    }
    for (i, chain) in table.chains.iter().enumerate() {
        let id = b.chain(table.str(chain.name));
        assert_eq!(id.0 as usize, i);
        for (_, rule) in table.rules_of(id) {
            let mut matches: Vec<Match> = table.matches_of(rule).to_vec();
            matches.push(Match::Counter);
            let target = rule.target.clone();
            b.push(id, RuleSpec { matches, target, counter: Counter::default() });
        }
    }
    b.finish()
}

#[test]
fn packets_go_as_told_through_nftables_mode() {
    for version in ["1.30.5", "1.36.2"] {
        let dir = set(version, "nftables");
        let report = walk_beside_the_kernel(4, packets(250), move || {
            run_with("nft", &["-f", "-"], &read(&dir, "nft-list-ruleset.txt").unwrap());
            let snapshot = Live::open(None).unwrap().snapshot(Wanted::ALL);
            for t in snapshot.tables.iter().filter(|t| t.table.name == "kube-proxy") {
                let (table, counters) = with_counters(&t.table);
                kernel_nftables::delete(t.family, &t.table.name).unwrap();
                kernel_nftables::create(&table, &counters).unwrap();
            }
            let rules = run("nft", &["list", "table", "ip", "kube-proxy"]);
            assert!(rules.matches("counter packets").count() > 50);
        });
        check(&format!("{version}/nftables"), &report, 50);
    }
}
