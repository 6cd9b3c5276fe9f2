//! nf_tables as the kernel of this machine holds it, against `nft` and `iptables-nft-save`.

use crate::common::{in_new_netns, load_nft, read, run, run_with, set, versions};
use kptop::kernel::netns::Netns;
use kptop::kernel::nftables::{self, Client, Reading, Ruleset};
use kptop::kernel::{ErrorKind, ipset, nfacct};
use kptop::proxy::owners;
use kptop::ruleset::{Counter, Dialect, Family, IpFamily, RuleId, Table, parse_save, set_flag};
use kptop::snapshot::live::{Live, Wanted};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write;
use std::net::UdpSocket;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn picture() -> Ruleset {
    Client::open().unwrap().read().unwrap()
}

/// Rules of `nft list ruleset` by family, table, chain and number, without what they counted.
fn nft_rules() -> BTreeMap<(String, String, String, u64), String> {
    let mut rules = BTreeMap::new();
    let (mut table, mut chain) = ((String::new(), String::new()), String::new());
    for line in run("nft", &["-a", "list", "ruleset"]).lines() {
        let line = line.trim();
        let words: Vec<&str> = line.split(' ').collect();
        match words[0] {
            "table" => table = (words[1].to_string(), words[2].to_string()),
            "chain" if line.contains(" { # handle") => chain = words[1].to_string(),
            "set" | "map" | "type" | "comment" | "counter" if !line.contains("# handle") => {}
            _ => {
                let Some((text, handle)) = line.rsplit_once(" # handle ") else { continue };
                if text.ends_with('{') {
                    continue;
                }
                let key = (table.0.clone(), table.1.clone(), chain.clone(), handle.parse().unwrap());
                rules.insert(key, without_counts(text));
            }
        }
    }
    rules
}

fn without_counts(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut out: Vec<&str> = Vec::new();
    let mut i = 0;
    while i < words.len() {
        out.push(words[i]);
        let counts = words[i] == "counter" && words.get(i + 1) == Some(&"packets");
        i += if counts { 5 } else { 1 };
    }
    out.join(" ")
}

/// The same of what kptop read.
fn our_rules(ruleset: &Ruleset) -> BTreeMap<(String, String, String, u64), String> {
    let mut rules = BTreeMap::new();
    for Reading { table, .. } in &ruleset.tables {
        for (c, chain) in table.chains.iter().enumerate() {
            for (id, rule) in table.rules_of(kptop::ruleset::ChainId(c as u32)) {
                assert_eq!(table.chain_of(id).unwrap().0 as usize, c);
                let handle = table.nf.as_ref().unwrap().rule_handles[id.0 as usize];
                let key = (
                    table.family.name().to_string(),
                    table.name.clone(),
                    table.str(chain.name).to_string(),
                    handle,
                );
                rules.insert(key, table.rule_text(rule).to_string());
            }
        }
    }
    rules
}

fn assert_rules(ours: &BTreeMap<(String, String, String, u64), String>) {
    let theirs = nft_rules();
    assert!(!theirs.is_empty());
    for (key, text) in &theirs {
        assert_eq!(ours.get(key), Some(text), "{key:?}");
    }
    assert_eq!(ours.len(), theirs.len());
}

/// Chains, hooks, policies and elements against `nft -j list ruleset`.
fn assert_json(ruleset: &Ruleset) {
    let json: Value = serde_json::from_str(&run("nft", &["-j", "list", "ruleset"])).unwrap();
    let mut chains = 0;
    let mut rules = BTreeMap::new();
    for item in json["nftables"].as_array().unwrap() {
        let of = |kind: &str| -> Option<(&Value, &Table)> {
            let v = item.get(kind)?;
            let found = ruleset
                .tables
                .iter()
                .find(|t| v["family"] == t.table.family.name() && v["table"] == t.table.name.as_str());
            Some((v, &*found.unwrap_or_else(|| panic!("{v}")).table))
        };
        if let Some((v, table)) = of("chain") {
            chains += 1;
            let id = table.chain(v["name"].as_str().unwrap()).unwrap_or_else(|| panic!("{v}"));
            let chain = &table.chains[id.0 as usize];
            match chain.base {
                Some(base) => {
                    assert_eq!(v["type"], base.kind.name());
                    assert_eq!(v["hook"], base.hook.name());
                    assert_eq!(v["prio"], base.priority);
                    assert_eq!(v["policy"], base.policy.name().to_lowercase());
                }
                None => assert!(v.get("hook").is_none()),
            }
        } else if let Some((v, table)) = of("rule") {
            let chain = v["chain"].as_str().unwrap().to_string();
            *rules.entry((table.family, table.name.clone(), chain)).or_insert(0) += 1;
        } else if let Some((v, table)) = of("set").or_else(|| of("map")) {
            let id = table.find_set(v["name"].as_str().unwrap()).unwrap_or_else(|| panic!("{v}"));
            let set = table.set(id);
            let elements = v["elem"].as_array().map_or(0, Vec::len) as u64;
            assert_eq!(set.count, Some(elements), "{v}");
            assert_eq!(set.comment.map(|c| table.str(c)), v["comment"].as_str());
        }
    }
    assert_eq!(chains, ruleset.tables.iter().map(|t| t.table.chains.len()).sum::<usize>());
    for t in &ruleset.tables {
        for (c, chain) in t.table.chains.iter().enumerate() {
            let key = (t.table.family, t.table.name.clone(), t.table.str(chain.name).to_string());
            let id = kptop::ruleset::ChainId(c as u32);
            assert_eq!(t.table.rules_of(id).count(), rules.get(&key).copied().unwrap_or(0), "{key:?}");
        }
    }
}

const MIXED: &str = include_str!("../../mixed.nft");

#[test]
fn a_bit_of_everything_reads_as_nft_prints_it() {
    in_new_netns(|| {
        run_with("nft", &["-f", "-"], MIXED);
        let ruleset = picture();
        assert_json(&ruleset);
        assert_rules(&our_rules(&ruleset));
        let inet = ruleset.tables.iter().find(|t| t.table.family == Family::Inet).unwrap();
        assert_eq!(inet.table.nf.as_ref().unwrap().comment.as_deref(), Some("hello table"));
        let x = inet.table.chain("x").unwrap();
        let (id, rule) = inet.table.rules_of(x).next().unwrap();
        assert!(rule.counted);
        assert_eq!(inet.counters.rules[id.0 as usize], Counter { packets: 3, bytes: 4 });
    });
}

/// Commands of nft, a line each: whatever its grammar has. Some kernels lack a part.
const ODD: &str = include_str!("../../odd.nft");

/// Runs them one by one; gives how many the kernel took.
fn load_odd() -> usize {
    load_lines(ODD.lines())
}

fn load_lines(lines: impl Iterator<Item = &'static str>) -> usize {
    let taken = |line: &&str| {
        let mut nft = Command::new("nft")
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        nft.stdin.take().unwrap().write_all(line.as_bytes()).unwrap();
        nft.wait().unwrap().success()
    };
    lines.filter(taken).count()
}

/// Sets and maps with their elements, as nft lists them on one line.
fn nft_sets() -> BTreeMap<(String, String, String), String> {
    let mut sets = BTreeMap::new();
    let (mut table, mut set) = ((String::new(), String::new()), None);
    let mut elements: Option<String> = None;
    for line in run("nft", &["list", "ruleset"]).lines() {
        let line = line.trim();
        let words: Vec<&str> = line.split_whitespace().collect();
        match &words[..] {
            ["table", family, name, "{"] => table = (family.to_string(), name.to_string()),
            ["set" | "map", name, "{"] => set = Some(name.to_string()),
            _ if line.starts_with("elements = {") || elements.is_some() => {
                let text = elements.get_or_insert_default();
                text.push_str(line.trim_start_matches("elements = "));
                text.push(' ');
                if line.ends_with('}') {
                    let text = elements.take().unwrap().trim().to_string();
                    sets.insert((table.0.clone(), table.1.clone(), set.take().unwrap()), text);
                }
            }
            _ => {}
        }
    }
    sets
}

/// Every rule and every element, whatever the grammar has, as nft prints them.
#[test]
fn odd_rules_and_elements_read_as_nft_prints_them() {
    in_new_netns(|| {
        let taken = load_odd();
        assert!(taken > 250, "{taken}");
        let picture = picture();
        let (ours, theirs) = (our_rules(&picture), nft_rules());
        assert_eq!(ours.len(), theirs.len());
        let mut wrong = Vec::new();
        for (key, text) in &theirs {
            if &ours[key] != text {
                wrong.push(format!("nft:   {text}\nkptop: {}", ours[key]));
            }
        }
        for (key, text) in nft_sets() {
            let table =
                picture.tables.iter().find(|t| t.table.family.name() == key.0 && t.table.name == key.1);
            let table = &table.unwrap().table;
            let set = table.find_set(&key.2).unwrap();
            let set = table.set(set);
            if set.elements.is_none() {
                assert!(set.is_dynamic(), "{key:?} was not read");
                continue;
            }
            let ours = format!("{{ {} }}", table.element_texts(set, usize::MAX).join(", "));
            if ours != without_counts(&text) {
                wrong.push(format!("{key:?}\nnft:   {text}\nkptop: {ours}"));
            }
        }
        assert!(wrong.is_empty(), "{} of {taken} differ:\n{}", wrong.len(), wrong.join("\n\n"));
    });
}

/// What is read of them can be written, and reads the same: every expression but named objects and chains on devices.
#[test]
fn odd_rules_survive_the_way_to_the_kernel_and_back() {
    let (before, taken) = in_new_netns(|| {
        let objects = ["\"c1\"", "\"q1\"", "\"l1\"", "\"ftp1\"", "\"t1\"", "\"e1\"", " netdev "];
        let taken = load_lines(ODD.lines().filter(|l| !objects.iter().any(|o| l.contains(o))));
        // Objects that no rule names any more.
        for (kind, name) in [("counter", "c1"), ("quota", "q1"), ("limit", "l1")] {
            run("nft", &["delete", kind, "inet", "odd", name]);
        }
        (picture(), taken)
    });
    assert!(taken > 230, "{taken}");
    in_new_netns(move || {
        for t in &before.tables {
            nftables::create(&t.table, &t.counters).unwrap_or_else(|e| panic!("{}: {e}", t.table.name));
        }
        let texts = |r: &Ruleset| {
            let all = r.tables.iter().flat_map(|t| {
                t.table.rules.iter().map(|rule| format!("{}: {}", t.table.name, t.table.rule_text(rule)))
            });
            all.collect::<Vec<_>>()
        };
        let (before, after) = (texts(&before), texts(&picture()));
        for (a, b) in before.iter().zip(&after) {
            assert_eq!(a, b);
        }
        assert_eq!(before.len(), after.len());
    });
}

#[test]
fn rules_of_kube_proxys_nftables_mode_agree_with_nft() {
    for version in versions("nftables") {
        in_new_netns(move || {
            let dir = set(version, "nftables");
            run_with("nft", &["-f", "-"], &read(&dir, "nft-list-ruleset.txt").unwrap());
            let ruleset = picture();
            assert_eq!(ruleset.tables.len(), 2);
            assert!(ruleset.tables.iter().all(|t| t.table.dialect == Dialect::Nft));
            assert_json(&ruleset);
            assert_rules(&our_rules(&ruleset));
        });
    }
}

/// Chains with their rules and counters, as text.
fn flat(table: &Table, counters: &kptop::ruleset::TableCounters) -> BTreeMap<String, Vec<String>> {
    let mut chains = BTreeMap::new();
    for (c, chain) in table.chains.iter().enumerate() {
        let id = kptop::ruleset::ChainId(c as u32);
        let mut lines: Vec<String> = table
            .rules_of(id)
            .map(|(id, rule)| {
                let c = counters.rules[id.0 as usize];
                format!("[{}:{}] {}", c.packets, c.bytes, table.rule_text(rule))
            })
            .collect();
        if let Some(base) = chain.base {
            let of = counters.policies.iter().find(|p| p.0 == id).map(|p| p.1).unwrap_or_default();
            lines.push(format!("{} {} {:?} {:?}", base.policy.name(), base.priority, base.kind, of));
        }
        chains.insert(table.str(chain.name).to_string(), lines);
    }
    chains
}

fn assert_iptables_nft(ruleset: &Ruleset) {
    let mut tables = 0;
    for (family, program) in [(IpFamily::V4, "iptables-nft-save"), (IpFamily::V6, "ip6tables-nft-save")] {
        for saved in parse_save(&run(program, &["-c"]), family).unwrap() {
            tables += 1;
            let ours = ruleset
                .tables
                .iter()
                .find(|t| t.table.family.ip() == Some(family) && t.table.name == saved.table.name)
                .unwrap();
            assert_eq!(ours.table.dialect, Dialect::Iptables);
            let (ours, theirs) = (flat(&ours.table, &ours.counters), flat(&saved.table, &saved.counters));
            for (chain, rules) in &theirs {
                assert_eq!(ours.get(chain), Some(rules), "{family} {} {chain}", saved.table.name);
            }
            assert_eq!(ours.len(), theirs.len());
        }
    }
    assert!(tables > 0);
    assert_eq!(tables, ruleset.tables.len());
}

#[test]
fn every_iptables_nft_set_reads_as_iptables_nft_save_prints_it() {
    for version in versions("iptables-nft") {
        in_new_netns(move || {
            load_nft(&set(version, "iptables-nft"));
            assert_iptables_nft(&picture());
        });
    }
}

#[test]
fn matches_that_iptables_nft_translates_read_as_it_prints_them() {
    in_new_netns(|| {
        run_with("iptables-nft-restore", &["-c"], include_str!("../../mixed.iptables"));
        run_with(
            "ip6tables-nft-restore",
            &[],
            "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n-A INPUT -s fd00::/13 -p tcp -m tcp --dport 80 -j ACCEPT\n\
             -A INPUT -d fd00::1 -p ipv6-icmp -j REJECT --reject-with icmp6-adm-prohibited\nCOMMIT\n",
        );
        assert_iptables_nft(&picture());
    });
}

/// What is read can be written: kernel -> tables -> kernel gives the same text, by nft's own word.
#[test]
fn tables_survive_the_way_to_the_kernel_and_back() {
    let list = || without_expiry(&run("nft", &["list", "ruleset"]));
    for source in versions("nftables").into_iter().chain(["mixed", "iptables"]) {
        let (ruleset, before) = in_new_netns(move || {
            match source {
                "mixed" => run_with("nft", &["-f", "-"], MIXED),
                "iptables" => {
                    load_nft(&set("1.36.2", "iptables-nft"));
                    run_with("iptables-nft-restore", &["-n", "-c"], include_str!("../../mixed.iptables"))
                }
                version => {
                    let text = read(&set(version, "nftables"), "nft-list-ruleset.txt").unwrap();
                    run_with("nft", &["-f", "-"], &text)
                }
            };
            if source == "mixed" {
                // Named objects and chains on devices are read, not written.
                run("nft", &["flush", "chain", "inet", "t", "objects"]);
                run("nft", &["delete", "counter", "inet", "t", "cnt"]);
                run("nft", &["delete", "table", "netdev", "nd"]);
            }
            (picture(), list())
        });
        let after = in_new_netns(move || {
            for name in ["ct_state_invalid_dropped_pkts", "localhost_nps_accepted_pkts"] {
                run("nfacct", &["add", name]);
            }
            let mut in_order: Vec<_> = ruleset.tables.iter().collect();
            in_order.sort_by_key(|t| t.table.nf.as_ref().unwrap().handle);
            for t in in_order {
                nftables::create(&t.table, &t.counters).unwrap_or_else(|e| panic!("{source}: {e}"));
            }
            let again = picture();
            for (a, b) in ruleset.tables.iter().zip(&again.tables) {
                let sets = |t: &Table| {
                    t.sets.iter().filter(|s| !s.is_dynamic()).map(|s| s.count).collect::<Vec<_>>()
                };
                assert_eq!(sets(&a.table), sets(&b.table));
                assert_eq!(a.table.nf.as_ref().unwrap().comment, b.table.nf.as_ref().unwrap().comment);
                if a.table.dialect == Dialect::Iptables {
                    let (a, b) = (flat(&a.table, &a.counters), flat(&b.table, &b.counters));
                    assert!(a.keys().eq(b.keys()));
                    for (chain, rules) in &a {
                        assert_eq!(b.get(chain), Some(rules), "{chain}");
                    }
                }
            }
            list()
        });
        for (a, b) in before.lines().zip(after.lines()) {
            assert_eq!(a, b, "{source}");
        }
        assert_eq!(before.lines().count(), after.lines().count());
    }
}

/// Without what packets put into dynamic sets.
fn without_expiry(text: &str) -> String {
    let mut out = String::new();
    let mut skipping = false;
    for line in text.lines() {
        if line.contains("expires") {
            skipping = !line.trim_end().ends_with('}');
            continue;
        }
        if skipping {
            skipping = !line.trim_end().ends_with('}');
            continue;
        }
        out.push_str(line);
        out.push('\n');
    }
    out
}

#[test]
fn sets_that_packets_fill_are_counted_and_not_dumped() {
    in_new_netns(|| {
        run_with("nft", &["-f", "-"], MIXED);
        run("nft", &["add", "element", "inet", "t", "d", "{ 10.0.0.1, 10.0.0.2, 10.0.0.3 }"]);
        let ruleset = picture();
        let t = &ruleset.tables.iter().find(|t| t.table.family == Family::Inet).unwrap().table;
        let d = t.set(t.find_set("d").unwrap());
        assert_eq!((d.count, d.elements.as_ref()), (Some(3), None));
        assert!(d.flags & set_flag::TIMEOUT != 0);
    });
}

/// Chains of the table that other programs change while it is read: enough that a reading takes longer than a
/// change.
const CHURNED: usize = 50;

/// What a transaction puts into each chain of the table, and into its map: its own number.
fn churn(n: usize) -> String {
    let mut text = String::from("table ip churn { map m { type ipv4_addr : verdict; elements = {");
    for i in 0..CHURNED {
        text.push_str(&format!("10.0.{i}.{n} : goto c{i}, "));
    }
    text.push_str("}; }; ");
    for i in 0..CHURNED {
        text.push_str(&format!("chain c{i} {{ counter comment \"{n}\"; ip daddr 10.1.{i}.{n} drop; }}; "));
    }
    text + "}"
}

/// A picture holds the same transactions in each chain and in the map, each whole.
fn is_not_mixed(table: &Table) {
    let number = |text: String| match text.strip_prefix("counter comment \"") {
        Some(n) => n.trim_end_matches('"').to_string(),
        None => text.trim_end_matches(" drop").rsplit('.').next().unwrap().to_string(),
    };
    let mut chains: Vec<Vec<String>> = Vec::new();
    for chain in &table.chains {
        let rules = &table.rules[chain.rules.start as usize..chain.rules.end as usize];
        chains.push(rules.iter().map(|r| number(table.rule_text(r).to_string())).collect());
    }
    assert_eq!(chains.len(), CHURNED);
    assert!(!chains[0].is_empty() && chains.iter().all(|c| *c == chains[0]), "a mixed picture: {chains:?}");
    let mut expected = BTreeMap::new();
    for n in &chains[0] {
        *expected.entry(n.clone()).or_insert(0) += CHURNED / 2; // two rules, one element
    }
    let mut elements = BTreeMap::new();
    for e in table.sets.iter().flat_map(|s| s.elements.iter().flatten()) {
        *elements.entry(e.key[3].to_string()).or_insert(0) += 1;
    }
    assert_eq!(elements, expected, "a mixed picture");
    assert_eq!(table.sets[0].count, Some(elements.values().sum::<usize>() as u64));
}

/// Reads while `write` changes the table some 600 times, until it is stopped. Each reading gives a picture that is
/// not mixed, or is called interrupted. Returns pictures with the table, those without, and interrupted ones.
/// On an idle machine that takes 4 to 6 seconds; how long a busy one takes decides nothing.
fn read_while(write: impl FnOnce(&AtomicBool) + Send + 'static) -> (u32, u32, u32) {
    let done = Arc::new(AtomicBool::new(false));
    let (stop, ns) = (done.clone(), Netns::current().unwrap());
    let writer = std::thread::spawn(move || {
        ns.enter().unwrap();
        write(&stop);
    });
    let mut client = Client::open().unwrap();
    let first = client.generation().unwrap();
    let (mut whole, mut without, mut interrupted) = (0, 0, 0);
    let began = Instant::now();
    let mut changes = 0;
    while changes < 600 && began.elapsed() < Duration::from_secs(120) {
        // Readings without a pause would keep the writer from the kernel's lock.
        if (whole + without + interrupted) % 8 == 0 {
            std::thread::sleep(Duration::from_millis(2));
        }
        changes = client.generation().unwrap() - first;
        match client.read() {
            Ok(ruleset) => match ruleset.tables.first() {
                Some(reading) => {
                    whole += 1;
                    is_not_mixed(&reading.table);
                }
                None => without += 1,
            },
            Err(e) => {
                assert!(matches!(e.kind, ErrorKind::Interrupted { .. }), "{e}");
                interrupted += 1;
            }
        }
    }
    done.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    assert!(
        changes >= 600,
        "{changes} changes: {whole} whole, {without} without it, {interrupted} interrupted"
    );
    (whole, without, interrupted)
}

/// kube-proxy rewrites tables as a whole; other programs change theirs at any time. A hundred times a second
/// and more: replaced, then added to.
#[test]
fn rules_that_change_while_they_are_read_are_never_mixed() {
    in_new_netns(|| {
        // One line is one transaction.
        let mut nft = Command::new("nft")
            .arg("-i")
            .env("PATH", "/usr/sbin:/usr/bin")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdin = nft.stdin.take().unwrap();
        run_with("nft", &["-f", "-"], &churn(250));
        let (whole, without, interrupted) = read_while(move |stop| {
            for n in 0.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                // Only the replacement waits until the kernel has let go of what was there.
                let again = if n % 5 == 0 { "table ip churn; delete table ip churn; " } else { "" };
                writeln!(stdin, "{again}{}", churn(n % 250)).unwrap();
                std::thread::sleep(Duration::from_millis(2));
            }
            // What is in the pipe need not be written any more.
            nft.kill().unwrap();
            nft.wait().unwrap();
        });
        assert_eq!(without, 0, "a replacement is one change");
        assert!(whole + interrupted > 10, "{whole} whole, {interrupted} interrupted");
    });
}

/// What was listed may be gone when its parts are asked for: no error, as the rules moved.
#[test]
fn a_table_that_comes_and_goes_while_it_is_read_is_whole_or_not_there() {
    in_new_netns(|| {
        run_with("nft", &["-f", "-"], &churn(1));
        // Written by kptop's own batches: faster than any program that must parse text.
        let Reading { table, counters } = picture().tables.remove(0);
        let (whole, without, interrupted) = read_while(move |stop| {
            while !stop.load(Ordering::Relaxed) {
                nftables::delete(Family::Ip, "churn").unwrap();
                nftables::create(&table, &counters).unwrap();
            }
        });
        assert!(whole + without + interrupted > 10, "{whole}, {without}, {interrupted}");
    });
}

/// Packets to a port of loopback where nobody listens.
fn send(to: &str, n: u32) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for _ in 0..n {
        socket.send_to(b"x", (to, 9)).unwrap();
    }
}

/// What is on a screen is read alone, and only while the rules are those of the last reading.
#[test]
fn watched_counters_are_read_one_by_one() {
    in_new_netns(|| {
        run_with(
            "nft",
            &["-f", "-"],
            "table ip t {\n chain out {\n type filter hook output priority 0\n\
             ip daddr 127.0.0.1 counter comment \"one\"\n ip daddr 127.0.0.2 counter comment \"two\"\n\
             accept\n }\n}\n",
        );
        let mut live = Live::open(None).unwrap().paced();
        let first = live.snapshot(Wanted::ALL);
        let table = first.tables[0].table.clone();
        let rules: Vec<RuleId> = (0..3).map(RuleId).collect();
        live.watch(vec![(table.clone(), rules)]);
        send("127.0.0.2", 2);
        let mut client = Client::open().unwrap();
        assert!(client.counters_of(&table, &[RuleId(1)]).unwrap().is_none(), "nothing was read yet");
        client.read().unwrap();
        let watched = client.counters_of(&table, &[RuleId(0), RuleId(1), RuleId(2)]).unwrap().unwrap();
        // The third rule counts nothing.
        assert_eq!(watched.iter().map(|r| r.0).collect::<Vec<_>>(), [RuleId(0), RuleId(1)]);
        assert_eq!(watched[1].1.packets, 2);
        // Through the source, whether or not the whole was due.
        let second = live.snapshot(Wanted::ALL);
        assert_eq!(second.tables[0].counter(RuleId(1)).packets, 2);
        assert!(Arc::ptr_eq(&second.tables[0].table, &table));
        run("nft", &["add", "rule", "ip", "t", "out", "counter"]);
        assert!(client.counters_of(&table, &[RuleId(1)]).unwrap().is_none(), "the rules changed");
        assert_eq!(client.read().unwrap().tables[0].table.rules.len(), 4);
    });
}

#[test]
fn ipsets_and_nfacct_objects_read_as_their_tools_print_them() {
    in_new_netns(|| {
        for set in ["1.20.2", "1.36.2"] {
            let dir = crate::common::set(set, "ipvs-legacy");
            crate::common::load_ipsets(&dir);
            let mut client = ipset::Client::open().unwrap();
            let sets = client.read(|_| true).unwrap();
            let mut ours: Vec<String> = Vec::new();
            for s in &sets {
                let members = s.members.as_ref().unwrap();
                assert_eq!(members.len() as u64, s.size, "{}", s.name);
                ours.extend(members.iter().map(|m| format!("add {} {m}", s.name)));
            }
            let text = run("ipset", &["save"]);
            let mut theirs: Vec<String> =
                text.lines().filter(|l| l.starts_with("add ")).map(str::to_string).collect();
            ours.sort();
            theirs.sort();
            assert_eq!(ours, theirs);
            let kinds: Vec<String> = text
                .lines()
                .filter(|l| l.starts_with("create "))
                .map(|l| l.split(' ').skip(1).take(2).collect::<Vec<_>>().join(" "))
                .collect();
            assert_eq!(kinds, sets.iter().map(|s| format!("{} {}", s.name, s.kind)).collect::<Vec<_>>());
            run("ipset", &["destroy"]);
        }
        // Counters, timeouts, and headers alone.
        run("ipset", &["create", "c", "hash:ip,port,net", "counters", "timeout", "300"]);
        run("ipset", &["add", "c", "10.0.0.1,tcp:80,192.0.2.0/24", "packets", "7", "bytes", "900"]);
        let mut client = ipset::Client::open().unwrap();
        let c = client.read(|s| s.name == "c").unwrap().remove(0);
        let m = &c.members.unwrap()[0];
        assert_eq!(m.counter, Some(Counter { packets: 7, bytes: 900 }));
        assert!(m.timeout_s.is_some_and(|s| s > 290) && c.timeout_s == Some(300) && m.other.is_empty());
        let header = client.headers().unwrap().remove(0);
        assert_eq!((header.size, header.members), (1, None));
        run("nfacct", &["add", "first"]);
        run("nfacct", &["add", "second"]);
        run(
            "iptables-legacy",
            &["-A", "OUTPUT", "-d", "127.0.0.3", "-m", "nfacct", "--nfacct-name", "second"],
        );
        send("127.0.0.3", 3);
        let found = nfacct::read().unwrap();
        let reported: Vec<_> = found.iter().map(|o| (o.name.as_str(), o.counter.packets)).collect();
        assert_eq!(reported, [("first", 0), ("second", 3)]);
        let theirs = run("nfacct", &["list"]);
        assert!(theirs.contains(&format!("bytes = {:020} }} = second", found[1].counter.bytes)), "{theirs}");
        // Reading reset nothing.
        assert_eq!(nfacct::read().unwrap(), found);
    });
}

/// Tables that are none of kube-proxy's and can still take its packets: every family, legacy arptables, and whose
/// they are.
#[test]
fn other_peoples_tables_are_counted_with_what_they_dropped() {
    in_new_netns(|| {
        // Asking must make none: neither of arptables', nor of the others.
        let mut live = Live::open(None).unwrap();
        assert!(live.snapshot(Wanted::ALL).tables.is_empty());
        assert!(live.snapshot(Wanted::ALL).tables.is_empty());
        run_with(
            "nft",
            &["-f", "-"],
            "table inet firewalld {\n chain filter_OUTPUT {\n type filter hook output priority 10; policy drop\n\
             ip daddr 127.0.0.4 counter drop\n accept\n }\n}\n\
             table bridge b {\n chain f {\n type filter hook forward priority 0\n counter drop\n }\n}\n\
             table netdev nd {\n chain i {\n type filter hook ingress device lo priority 0\n counter\n }\n}\n\
             table ip asleep {\n flags dormant\n chain c {\n drop\n }\n}\n",
        );
        run("iptables-legacy", &["-N", "cali-OUTPUT"]);
        run("iptables-legacy", &["-A", "cali-OUTPUT", "-d", "127.0.0.5", "-j", "DROP"]);
        run("iptables-legacy", &["-A", "OUTPUT", "-j", "cali-OUTPUT"]);
        run("arptables-legacy", &["-N", "mine"]);
        run("arptables-legacy", &["-A", "INPUT", "-s", "10.0.0.1", "-j", "mine"]);
        run("arptables-legacy", &["-A", "mine", "-j", "DROP"]);
        run("arptables-legacy", &["-P", "OUTPUT", "DROP"]);
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        for (to, n) in [("127.0.0.4:9", 3), ("127.0.0.5:9", 2)] {
            for _ in 0..n {
                assert!(socket.send_to(b"x", to).is_err(), "dropped on the way out");
            }
        }
        let first = live.snapshot(Wanted::ALL);
        let reported: BTreeMap<String, _> = first
            .tables
            .iter()
            .map(|t| {
                let sleeps = t.table.nf.as_ref().is_some_and(|n| n.flags & 1 != 0);
                let chains = (t.table.chains.len(), t.table.rules.len());
                let name = format!("{} {} {}", t.backend.name(), t.family, t.table.name);
                (name, (chains, t.dropped(), owners(&t.table).join(" "), sleeps))
            })
            .collect();
        let expected = [
            // A policy that takes packets and does not count them: the whole is not known.
            ("nf_tables inet firewalld", ((1, 2), None, "firewalld", false)),
            ("nf_tables bridge b", ((1, 1), Some(0), "", false)),
            ("nf_tables netdev nd", ((1, 1), Some(0), "", false)),
            ("nf_tables ip asleep", ((1, 1), None, "", true)),
            ("x_tables ip filter", ((4, 2), Some(2), "Calico", false)),
            ("x_tables arp filter", ((4, 2), Some(0), "", false)),
        ];
        for (name, (chains, dropped, owner, sleeps)) in expected {
            assert_eq!(reported.get(name), Some(&(chains, dropped, owner.to_string(), sleeps)), "{name}");
        }
        assert_eq!(reported.len(), expected.len(), "{reported:?}");
        let arp = first.tables.iter().find(|t| t.family == Family::Arp).unwrap();
        let list: Vec<String> = arp
            .table
            .chains
            .iter()
            .map(|c| format!("{} {:?}", arp.table.str(c.name), c.base.map(|b| b.policy.name())))
            .collect();
        let expected =
            ["INPUT Some(\"ACCEPT\")", "OUTPUT Some(\"DROP\")", "FORWARD Some(\"ACCEPT\")", "mine None"];
        assert_eq!(list, expected);
        // The same structure is the same table.
        let second = live.snapshot(Wanted::ALL);
        let again = second.tables.iter().find(|t| t.family == Family::Arp).unwrap();
        assert!(Arc::ptr_eq(&arp.table, &again.table));
        run("arptables-legacy", &["-F", "mine"]);
        let third = live.snapshot(Wanted::ALL);
        let changed = third.tables.iter().find(|t| t.family == Family::Arp).unwrap();
        assert_eq!(changed.table.rules.len(), 1);
    });
}
