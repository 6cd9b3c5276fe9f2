//! How long it takes to write kube-proxy's rules into the kernel: all of them, and one changed endpoint, by mode and variant. With the
//! tools that kube-proxy runs (`iptables-restore`, `nft -f`; for IPVS `ipvsadm`, as its requests are the same), and the texts
//! that kptop writes in kube-proxy's form.
//!
//! `cargo bench --bench write`; IPVS is measured where the kernel has it (`tests/bench-ipvs`).
#![allow(clippy::print_stdout)] // it prints its figures

mod common;

use common::{in_netns, median, record, write_table};
use kptop::kernel::module;
use kptop::lab::shop;
use kptop::proxy::{KubeProxyVersion, Service, iptables, ipvs, nftables};
use kptop::ruleset::{IpFamily, Table, TableBackend, TableCounters};
use kptop::snapshot::facts::Ipvs;
use kptop::snapshot::{Reading, Snapshot, TableState};
use kptop::tool_text;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// Endpoints of each Service.
const ENDPOINTS: usize = 4;

fn main() {
    for (services, rounds) in [(1_000, 3), (5_000, 1)] {
        println!("{services} Services with {ENDPOINTS} endpoints: written whole, and one endpoint changed");
        let mut base = None;
        for way in WAYS {
            if !(way.is_there)() {
                println!("  {:<20} not in this kernel", way.name);
                continue;
            }
            let (mut whole, mut change) = (Vec::new(), Vec::new());
            for _ in 0..rounds {
                let (send, receive) = channel();
                in_netns(move || send.send(measure(way, services)).unwrap());
                let (a, b) = receive.recv().unwrap();
                whole.push(a);
                change.push(b);
            }
            let (whole, change) = (median(whole), median(change));
            let (first, ratio) = *base.get_or_insert((whole, change));
            println!(
                "  {:<20} {whole:>9.0} ms {:>6.2}   {change:>9.1} ms {:>6.2}",
                way.name,
                whole / first,
                change / ratio
            );
            let job = format!("writing {services} Services with {ENDPOINTS} endpoints by `{}`", way.program);
            let one = format!("{change:.0} ms for one changed endpoint");
            record(&job, &format!("{whole:.0} ms"), &one, Some(change / whole));
        }
    }
    write_table();
}

/// A mode with its tool.
#[derive(Clone, Copy)]
struct Way {
    name: &'static str,
    program: &'static str,
    /// Arguments for all rules, and for a part.
    args: [&'static [&'static str]; 2],
    is_there: fn() -> bool,
    texts: fn(&[Service], usize) -> (String, String),
}

const WAYS: [Way; 4] = [
    Way {
        name: "iptables (legacy)",
        program: "iptables-legacy-restore",
        args: [&[], &["--noflush"]],
        is_there: || module::is_there("ip_tables"),
        texts: iptables_texts,
    },
    Way {
        name: "iptables (nft)",
        program: "iptables-nft-restore",
        args: [&[], &["--noflush"]],
        is_there: || true,
        texts: iptables_texts,
    },
    Way {
        name: "ipvs",
        program: "ipvsadm",
        args: [&["-R"], &["-R"]],
        is_there: || kptop::kernel::ipvs::Client::open().is_ok(),
        texts: ipvs_texts,
    },
    Way {
        name: "nftables",
        program: "nft",
        args: [&["-f", "-"], &["-f", "-"]],
        is_there: || true,
        texts: nft_texts,
    },
];

/// Wall milliseconds of all rules, and of one changed endpoint of the Service in the middle.
fn measure(way: Way, services: usize) -> (f64, f64) {
    let mut all = shop::services(Some(31 + services), ENDPOINTS);
    all.drain(..all.len() - services);
    let (whole, change) = (way.texts)(&all, services / 2);
    (run(way.program, way.args[0], &whole), run(way.program, way.args[1], &change))
}

fn run(program: &str, args: &[&str], input: &str) -> f64 {
    let began = Instant::now();
    let mut child = Command::new(program)
        .args(args)
        .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap_or_else(|e| panic!("{program}: {e}"));
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("the tool reads");
    assert!(child.wait().is_ok_and(|s| s.success()), "{program} {args:?}");
    began.elapsed().as_secs_f64() * 1e3
}

fn text(tables: Vec<(Table, TableCounters)>, backend: TableBackend, name: &str) -> String {
    let state = |(mut t, c): (Table, TableCounters)| {
        t.backend = backend;
        TableState::new(Duration::ZERO, Arc::new(t), Arc::new(c))
    };
    let snapshot = Snapshot { tables: tables.into_iter().map(state).collect(), ..Snapshot::default() };
    let found = tool_text::files(&snapshot).into_iter().find(|f| f.name == name);
    found.unwrap_or_else(|| panic!("no {name}")).text
}

/// The Service with one endpoint more.
fn changed(services: &[Service], which: usize) -> Vec<Service> {
    let mut all = services.to_vec();
    let mut more = all[which].backends[0].clone();
    more.address = "10.244.99.99".parse().expect("an address");
    all[which].backends.push(more);
    let n = all[which].backends.len() as f64;
    all[which].backends.iter_mut().for_each(|b| b.share = Some(1.0 / n));
    all
}

/// Chains that kube-proxy writes again at each partial sync, and those of the changed Service.
fn iptables_texts(services: &[Service], which: usize) -> (String, String) {
    let endpoints: usize = services.iter().map(|s| s.backends.len()).sum();
    let options = iptables::WriteOptions {
        version: KubeProxyVersion::LATEST,
        cluster_cidr: "10.244.0.0/16".parse().ok(),
        large_cluster: endpoints > 1000,
        ..Default::default()
    };
    let of = |services: &[Service]| {
        text(iptables::write(services, IpFamily::V4, &options), TableBackend::XTables, "iptables-save.txt")
    };
    let (whole, after) = (of(services), of(&changed(services, which)));
    let before: std::collections::HashSet<&str> = whole.lines().collect();
    // Chains of the Service: those with a line that is new, and its endpoints'.
    let chain = |l: &str| l.strip_prefix("-A ").and_then(|r| r.split(' ').next()).map(str::to_string);
    let bare = |l: &str| l.split_once("] ").map_or(l.to_string(), |p| p.1.to_string());
    let mut of_one: std::collections::HashSet<String> =
        after.lines().filter(|l| !before.contains(l)).filter_map(|l| chain(&bare(l))).collect();
    let jumps = |name: &str| -> Vec<String> {
        let own = after.lines().map(bare).filter(|l| chain(l).as_deref() == Some(name));
        own.filter_map(|l| l.rsplit(' ').next().map(str::to_string)).collect()
    };
    for name in of_one.clone() {
        of_one.extend(jumps(&name).into_iter().filter(|c| c.starts_with("KUBE-SEP-")));
    }
    let (mut change, mut table) = (String::new(), String::new());
    for line in after.lines() {
        if let Some(name) = line.strip_prefix('*') {
            table = name.to_string();
        }
        let line = bare(line);
        let name = match line.strip_prefix(':') {
            Some(rest) => rest.split(' ').next().map(str::to_string),
            None => chain(&line),
        };
        let kept = name.is_none_or(|n| iptables::always_written(&table, &n) || of_one.contains(&n));
        if kept && table != "mangle" {
            change.push_str(&line);
            change.push('\n');
        }
    }
    (whole.lines().map(|l| bare(l) + "\n").collect(), change)
}

fn nft_texts(services: &[Service], which: usize) -> (String, String) {
    let options = nftables::WriteOptions { cluster_cidr: "10.244.0.0/16".parse().ok(), ..Default::default() };
    let of = |services: &[Service]| {
        text(
            vec![nftables::write(services, IpFamily::V4, &options)],
            TableBackend::NfTables,
            "nft-list-ruleset.txt",
        )
    };
    let after = changed(services, which);
    let one = of(&after[which..=which]);
    // The chain of the Service, by its name.
    let mut lines = one.lines().skip_while(|l| !l.trim_start().starts_with("chain service-"));
    let head = lines.next().expect("its chain").trim().trim_end_matches(" {").to_string();
    let name = head.trim_start_matches("chain ").to_string();
    let rules = lines
        .take_while(|l| l.trim() != "}")
        .map(|l| format!("add rule ip kube-proxy {name} {}\n", l.trim()));
    let change = format!("flush chain ip kube-proxy {name}\n{}", rules.collect::<String>());
    (of(services), change)
}

fn ipvs_texts(services: &[Service], which: usize) -> (String, String) {
    let of = |services: &[Service]| {
        let value = Arc::new(Ipvs { servers: ipvs::write(services, &[]), ..Ipvs::default() });
        let snapshot = Snapshot { ipvs: Some(Reading { at: Duration::ZERO, value }), ..Snapshot::default() };
        let found = tool_text::files(&snapshot).into_iter().find(|f| f.name == "ipvsadm-Sn.txt");
        found.expect("virtual servers").text
    };
    let after = changed(services, which);
    let last = of(&after[which..=which]).lines().last().map(|l| format!("{l}\n"));
    (of(services), last.expect("a real server"))
}
