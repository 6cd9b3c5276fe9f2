//! Peak memory of the big jobs: unlike times it is the same from run to run. Limits are those of the binary that tests use;
//! the one that is released takes a fifth less (docs/benchmarks.md).

use crate::common::in_new_netns;
use crate::common::terminal::{Terminal, kptop};
use kptop::kernel::nftables;
use kptop::lab::{install_table, shop};
use kptop::proxy::Service;
use kptop::proxy::iptables::{self, WriteOptions};
use kptop::ruleset::IpFamily;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Made-up Services only.
fn services(n: usize, backends: usize) -> Vec<Service> {
    shop::services(Some(31 + n), backends).split_off(31)
}

/// kube-proxy's iptables mode in x_tables.
fn install(services: &[Service]) {
    let options = WriteOptions {
        cluster_cidr: "10.244.0.0/16".parse().ok(),
        large_cluster: false,
        ..WriteOptions::default()
    };
    for (table, _) in iptables::write(services, IpFamily::V4, &options) {
        install_table(IpFamily::V4, &table).unwrap();
    }
}

/// 7,200 Services with 4 endpoints: 100,000 rules.
#[test]
fn a_snapshot_of_100_000_rules() {
    in_new_netns(|| {
        install(&services(7_200, 4));
        let mut timed = Command::new("/usr/bin/time");
        timed.args(["-f", "%M", env!("CARGO_BIN_EXE_kptop"), "snapshot", "--no-api", "-o", "json"]);
        let out = timed.stdout(Stdio::null()).output().unwrap();
        let text = String::from_utf8(out.stderr).unwrap();
        let kib: u64 = text.trim().lines().last().unwrap().parse().unwrap_or_else(|_| panic!("{text}"));
        assert!(kib < 104 * 1024, "{kib} KiB");
    });
}

/// The live screen once some readings have passed: what it holds at its peak.
#[track_caller]
fn screen_takes_at_most(mib: u64) {
    let mut t = Terminal::run(kptop(&["--no-api"]), 50, 160);
    t.wait_for("service-000");
    std::thread::sleep(Duration::from_secs(5)); // readings: their peak is what is looked for
    let status = std::fs::read_to_string(format!("/proc/{}/status", t.child.id())).unwrap();
    let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
    let kib: u64 = peak.split_whitespace().next().unwrap().parse().unwrap();
    crate::common::say(&format!("the screen at its peak: {kib} KiB of {}", mib * 1024));
    assert!(kib < mib * 1024, "{kib} KiB");
    t.keys("q");
    let began = Instant::now();
    assert_eq!(t.ended().0, Some(0));
    assert!(began.elapsed() < Duration::from_secs(60));
}

/// 5,710 Services with 57,000 backends.
#[test]
fn the_screen_in_nftables_mode() {
    in_new_netns(|| {
        let (table, counters) =
            kptop::proxy::nftables::write(&services(5_710, 10), IpFamily::V4, &Default::default());
        nftables::create(&table, &counters).unwrap();
        screen_takes_at_most(120);
    });
}

/// The same in x_tables: 180,000 rules. The kernel gives its whole table or nothing, 107 MB of it.
#[test]
fn the_screen_in_iptables_mode() {
    in_new_netns(|| {
        install(&services(5_710, 10));
        screen_takes_at_most(270);
    });
}
