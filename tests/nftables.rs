//! nf_tables as the kernel of this machine holds it, against `nft` and `iptables-nft-save`.

mod common;

use common::{in_new_netns, load_nft, read, run, run_with, set};
use kptop::kernel::nftables::{self, Client, Reading, Ruleset};
use kptop::ruleset::{Counter, Dialect, Family, IpFamily, Table, parse_save, set_flag};
use serde_json::Value;
use std::collections::BTreeMap;

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
                // kptop reads no interfaces' names by their index.
                rules.insert(key, without_counts(text).replace("oif \"lo\"", "oif 1"));
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

const MIXED: &str = include_str!("mixed.nft");

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

#[test]
fn rules_of_kube_proxys_nftables_mode_agree_with_nft() {
    for version in ["1.30.5", "1.36.2"] {
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
    for version in ["1.20.2", "1.36.2"] {
        in_new_netns(move || {
            load_nft(&set(version, "iptables-nft"));
            assert_iptables_nft(&picture());
        });
    }
}

#[test]
fn matches_that_iptables_nft_translates_read_as_it_prints_them() {
    in_new_netns(|| {
        run_with("iptables-nft-restore", &["-c"], include_str!("mixed.iptables"));
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
    for source in ["1.30.5", "1.36.2", "mixed", "iptables"] {
        let (ruleset, before) = in_new_netns(move || {
            match source {
                "mixed" => run_with("nft", &["-f", "-"], MIXED),
                "iptables" => {
                    load_nft(&set("1.36.2", "iptables-nft"));
                    run_with("iptables-nft-restore", &["-n", "-c"], include_str!("mixed.iptables"))
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
