//! Files that other tools wrote give what the live reader gives.

use crate::common::dumps::{files, live_json, same_services, services};
use crate::common::recordings::{Place, json};
use crate::common::{in_new_netns, load_legacy, load_nft, read, run, run_with, set, sets, versions};
use kptop::kernel::nftables::Client;
use kptop::ruleset::{Element, Family, SavedTable, Set, Table, parse_nft, parse_nft_json};
use kptop::snapshot::dump;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Chains with their rules, and sets with their elements, as text.
type Received = BTreeMap<String, Vec<String>>;

fn reported(t: &Table) -> Received {
    let mut all = BTreeMap::new();
    for (i, c) in t.chains.iter().enumerate() {
        let rules = t.rules_of(kptop::ruleset::ChainId(i as u32));
        // Sets without a name get one from the kernel.
        let rules = rules.map(|(_, r)| t.rule_text(r).to_string());
        all.insert(format!("chain {} {:?}", t.str(c.name), c.base), rules.collect());
    }
    for s in t.sets.iter().filter(|s| s.flags & 1 == 0) {
        // The time that an element has left runs between two readings, and JSON gives it in whole seconds.
        let text =
            |s: &Set, e: &Element| t.element_text(s, &Element { expires_ms: None, ..e.clone() }).to_string();
        let mut elements: Vec<String> = s.elements.iter().flatten().map(|e| text(s, e)).collect();
        elements.sort();
        // What rules fill while packets come is not read with the rest.
        if s.is_dynamic() {
            elements.clear();
        }
        all.insert(
            format!("set {} {:#x} {:?}", t.str(s.name), s.key_type, s.count.filter(|_| !s.is_dynamic())),
            elements,
        );
    }
    all
}

fn same_tables(what: &str, live: &[(Family, String, Received)], read: &[SavedTable]) {
    assert_eq!(live.len(), read.len(), "{what}");
    for (family, name, tables) in live {
        let mine = read.iter().find(|t| t.table.family == *family && t.table.name == *name);
        let mine = reported(&mine.unwrap_or_else(|| panic!("{what}: no table {name}")).table);
        for (key, lines) in tables {
            let is = mine.get(key).unwrap_or_else(|| panic!("{what}: {name}: no {key} in {:?}", mine.keys()));
            assert_eq!(is, lines, "{what}: {name}: {key}");
        }
        assert_eq!(tables.len(), mine.len(), "{what}: {name}");
    }
}

#[test]
fn counters_of_nft_rules_are_read() {
    let text = "table ip x {\n\tchain c {\n\t\ttype filter hook input priority filter; policy drop;\n\t\ttcp dport 80 counter packets 7 bytes 420 accept\n\t}\n}\n";
    let t = parse_nft(text).unwrap().remove(0);
    assert_eq!((t.counters.rules[0].packets, t.counters.rules[0].bytes), (7, 420));
    assert!(t.table.rules[0].counted);
}

#[test]
fn wrong_and_cut_files_are_told() {
    let place = Place::new("dump-wrong");
    let write = |name: &str, text: &str| {
        let file = place.file(name);
        std::fs::write(&file, text).unwrap();
        file
    };
    let refused = |files: &[PathBuf]| dump::read(files).unwrap_err();
    let dir = set("1.36.2", "nftables");
    let text = read(&dir, "nft-list-ruleset.txt").unwrap();
    // What ends early gives what came before, and nothing is ruled out by it.
    let cut = |files: &[PathBuf]| {
        let snapshot = dump::read(files).unwrap();
        let failed: Vec<String> = snapshot.failed().map(|u| format!("{}: {}", u.what, u.why)).collect();
        assert!(failed.iter().any(|f| f.contains("cut off") || f.contains("no flow")), "{failed:?}");
        (snapshot, failed.join("; "))
    };
    let (snapshot, why) = cut(&[write("cut.nft", &text[..text.len() / 2])]);
    assert!(why.contains("cut.nft") && why.contains("line") && snapshot.tables.len() == 1, "{why}");
    let why = refused(&[write("notes.txt", "buy milk\n")]);
    assert!(why.contains("nothing that kptop reads") && why.contains("iptables-save"), "{why}");
    assert!(refused(&[place.file("nope")]).contains("nope"));
    // A mark that some editors put before a text is none of it.
    let saved = read(&set("1.36.2", "iptables-legacy"), "iptables-save-c.txt").unwrap();
    assert!(dump::read(&[write("bom.txt", &format!("\u{feff}{saved}"))]).unwrap().rules_read());
    let (snapshot, _) = cut(&[write("cut.txt", &saved[..saved.len() / 2])]);
    assert!(!snapshot.tables.is_empty());
    // Files that end in the middle of a line or an object.
    let flows = read(&set("1.36.2", "iptables-legacy"), "conntrack-L.txt").unwrap();
    let last = flows.lines().next_back().unwrap().len();
    let (snapshot, _) = cut(&[write("conntrack.txt", &flows[..flows.len() - last + 20])]);
    assert!(snapshot.conntrack.unwrap().flows.unwrap().value.total > 10);
    let objects = read(&set("1.36.2", "iptables-legacy"), "services.json").unwrap();
    let (snapshot, _) = cut(&[write("services.json", &objects[..objects.len() / 2])]);
    let cluster = snapshot.cluster.unwrap();
    assert!(cluster.services.len() > 5 && !cluster.complete);
    // nft's view of iptables-nft's rules is not taken for the whole.
    let nft = read(&set("1.36.2", "iptables-nft"), "nft-list-ruleset.txt").unwrap();
    let snapshot = dump::read(&[write("ruleset.nft", &nft)]).unwrap();
    let unread: Vec<&str> = snapshot.failed().map(|u| u.why.as_str()).collect();
    assert!(unread.iter().any(|w| w.contains("iptables-nft wrote it")), "{unread:?}");
    assert!(!snapshot.rules_read());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Altered rulesets are refused or read, and what is read can be printed.
    #[test]
    fn altered_rulesets_are_survived(at in any::<usize>(), cut in any::<bool>(), with in "[{};:@.,/ \"a-z0-9\n-]{0,8}") {
        let text = read(&set("1.36.2", "nftables"), "nft-list-ruleset.txt").unwrap();
        let at = text.floor_char_boundary(at % text.len());
        let rest = if cut { "" } else { &text[text.ceil_char_boundary((at + with.len()).min(text.len()))..] };
        let text = format!("{}{with}{rest}", &text[..at]);
        for t in parse_nft(&text).into_iter().flatten() {
            reported(&t.table);
        }
    }

    #[test]
    fn altered_json_is_survived(at in any::<usize>(), with in "[{}\\[\\]:,\"a-z0-9]{0,6}") {
        let text = read(&set("1.36.2", "nftables"), "nft-list-ruleset.json").unwrap();
        let at = text.floor_char_boundary(at % text.len());
        let end = text.ceil_char_boundary((at + with.len()).min(text.len()));
        for t in parse_nft_json(&format!("{}{with}{}", &text[..at], &text[end..])).into_iter().flatten() {
            reported(&t.table);
        }
    }
}

/// On a real kernel, in network namespaces made for it.
mod kernel {
    use super::*;

    /// A sosreport has listings instead of iptables-save: frontends, backends, probability and refusals are the same.
    #[test]
    fn a_sosreport_gives_the_same_services() {
        let dir = set("1.36.2", "iptables-legacy");
        let of = dir.clone();
        let place = Place::new("sos");
        let root = place.file("sosreport-worker/sos_commands/firewall_tables");
        std::fs::create_dir_all(&root).unwrap();
        let to = root.clone();
        let live = in_new_netns(move || {
            load_legacy(&of);
            for (program, family) in [("iptables-legacy", "iptables"), ("ip6tables-legacy", "ip6tables")] {
                for table in ["nat", "mangle", "filter"] {
                    let text = run(program, &["-t", table, "-nvL"]);
                    let name = match table {
                        "filter" => format!("{family}_-vnxL"),
                        t => format!("{family}_-t_{t}_-nvL"),
                    };
                    std::fs::write(to.join(name), text).unwrap();
                }
            }
            live_json()
        });
        std::fs::write(place.file("sosreport-worker/hostname"), "worker\n").unwrap();
        let mut live = services(&live);
        let snapshot = dump::read(&[place.file("sosreport-worker")]).unwrap();
        assert!(
            snapshot.rules_read() && snapshot.node.hostname.as_deref() == Some("worker"),
            "{:?}",
            snapshot.unread
        );
        let mut from = services(&json(snapshot));
        assert!(live.len() > 10);
        // Listings round: 1.0 and 0.33 are the same, 0.33333333349 and 0.33333333000 are not quite.
        for s in live.iter_mut().chain(&mut from) {
            for b in s["backends"].as_array_mut().unwrap() {
                b["share"] = b["share"].as_f64().map(|x| (x * 1e6).round() / 1e6).into();
            }
        }
        assert_eq!(live, from);
    }

    #[test]
    fn iptables_save_of_every_set_is_as_good_as_the_kernel() {
        for (version, mode) in sets(&["iptables-legacy", "iptables-nft", "userspace-legacy"]) {
            let nft = mode == "iptables-nft";
            let dir = set(version, mode);
            let what = format!("{version}/{mode}");
            let of = dir.clone();
            let place = Place::new(&format!("dump-{version}-{mode}"));
            let to = ["iptables", "ip6tables"].map(|p| (p, place.file(&format!("{p}-saved.txt"))));
            let saved: Vec<PathBuf> = to.iter().map(|t| t.1.clone()).collect();
            let live = in_new_netns(move || {
                if nft {
                    load_nft(&of);
                } else {
                    load_legacy(&of);
                }
                for (program, file) in to {
                    let variant = if nft { "nft" } else { "legacy" };
                    std::fs::write(file, run(&format!("{program}-{variant}-save"), &["-c"])).unwrap();
                }
                live_json()
            });
            same_services(&what, &live, &saved);
            // The captured files, too; ip6tables-nft-restore gives some counters back as 0.
            let files = files(&place, &dir, &["iptables-save-c.txt", "ip6tables-save-c.txt"]);
            if !nft {
                same_services(&what, &live, &files);
            }
            // All that the set holds, as a directory: the same Services, now with the other files' facts.
            let whole = dump::read(std::slice::from_ref(&dir)).unwrap();
            assert_eq!(services(&json(whole)).len(), services(&live).len(), "{what}");
        }
    }

    #[test]
    fn nft_rulesets_are_as_good_as_the_kernel() {
        for version in versions("nftables") {
            let dir = set(version, "nftables");
            let text = read(&dir, "nft-list-ruleset.txt").unwrap();
            let live = in_new_netns(move || {
                run_with("nft", &["-f", "-"], &text);
                live_json()
            });
            let place = Place::new(&format!("dump-nft-{version}"));
            for name in ["nft-list-ruleset.txt", "nft-list-ruleset.json"] {
                same_services(&format!("{version} {name}"), &live, &files(&place, &dir, &[name]));
            }
        }
    }

    /// Every rule and element that nft prints is read back to what the kernel holds.
    #[test]
    fn what_nft_prints_is_what_the_kernel_holds() {
        let mixed = std::fs::read_to_string("tests/mixed.nft").unwrap();
        let mut cases = vec![("mixed".to_string(), mixed)];
        for version in versions("nftables") {
            let text = read(&set(version, "nftables"), "nft-list-ruleset.txt").unwrap();
            cases.push((version.to_string(), text));
        }
        for (what, rules) in cases {
            let (live, text, json) = in_new_netns(move || {
                run_with("nft", &["-f", "-"], &rules);
                let ruleset = Client::open().unwrap().read().unwrap();
                let live: Vec<_> = ruleset
                    .tables
                    .iter()
                    .map(|t| (t.table.family, t.table.name.clone(), reported(&t.table)))
                    .collect();
                (live, run("nft", &["list", "ruleset"]), run("nft", &["-j", "list", "ruleset"]))
            });
            same_tables(&format!("{what} text"), &live, &parse_nft(&text).unwrap());
            same_tables(&format!("{what} JSON"), &live, &parse_nft_json(&json).unwrap());
        }
    }

    /// Every tool's own words, of a namespace with something of everything, against what the live reader says of it.
    #[test]
    fn what_the_tools_print_is_what_the_live_reader_says() {
        use kptop::snapshot::live::{Live, Wanted};
        let dir = set("1.36.2", "iptables-legacy");
        let place = Place::new("dump-tools");
        let to = place.0.clone();
        let live = in_new_netns(move || {
            load_legacy(&dir);
            for line in [
                "link set lo up",
                "link add br0 type bridge",
                "link add d0 type veth peer name d1",
                "link set d0 master br0",
                "link set br0 up",
                "link set d0 up",
                "addr add 192.168.50.10/24 dev br0",
                "addr add fd00:50::10/64 dev br0 nodad",
                "route add 10.244.1.0/24 via 192.168.50.11 dev br0",
                "route add blackhole 10.9.0.0/16",
                "route add default via 192.168.50.1 dev br0 metric 50",
                "neigh add 192.168.50.77 dev br0 nud failed",
            ] {
                run("ip", &line.split(' ').collect::<Vec<_>>());
            }
            std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
            let flow = "-I -p tcp -s 10.0.0.1 -d 10.96.0.1 --sport 9 --dport 443 --reply-src 10.244.0.2 --reply-dst 10.0.0.1 --reply-port-src 6443 --reply-port-dst 9 --state ESTABLISHED -u SEEN_REPLY,ASSURED -t 300";
            run("conntrack", &flow.split(' ').collect::<Vec<_>>());
            for (file, command) in [
                ("a", "iptables-legacy -t nat -S"),
                ("b", "iptables-legacy -t filter -S -v"),
                ("c", "iptables-legacy -t mangle -nvxL"),
                ("d", "ip -d addr"),
                ("e", "ip route show table all"),
                ("f", "ip rule"),
                ("g", "ip neigh"),
                ("h", "conntrack -L -o extended,id"),
                ("i", "conntrack -S"),
                ("j", "sysctl -a"),
                ("k", "nstat -az"),
                ("l", "ss -tlnp"),
            ] {
                let words: Vec<&str> = command.split(' ').collect();
                // sysctl complains of what nobody may read.
                let out = std::process::Command::new(words[0]).args(&words[1..]).output().unwrap();
                let text = String::from_utf8_lossy(&out.stdout);
                std::fs::write(to.join(file), format!("# {command}\n{text}")).unwrap();
            }
            std::fs::write(to.join("json"), run("ip", &["-j", "-d", "addr"])).unwrap();
            std::fs::write(to.join("snmp"), std::fs::read("/proc/thread-self/net/snmp").unwrap()).unwrap();
            Live::open(None).unwrap().snapshot(Wanted::ALL)
        });
        let read = dump::read(std::slice::from_ref(&place.0)).unwrap();
        let unused: Vec<_> = read.parts.iter().filter(|p| p.unused > 0).collect();
        assert!(unused.is_empty(), "{unused:#?}");
        let links = |s: &kptop::snapshot::Snapshot| {
            let mut all: Vec<_> =
                s.links.iter().map(|l| (l.index, l.name.clone(), l.kind.clone(), l.master, l.up)).collect();
            all.sort();
            all
        };
        assert_eq!(links(&read), links(&live));
        let addresses = |s: &kptop::snapshot::Snapshot| {
            let mut all: Vec<_> =
                s.addresses.iter().map(|a| (a.interface.clone(), a.address, a.prefix)).collect();
            all.sort();
            all
        };
        assert_eq!(addresses(&read), addresses(&live));
        let ways = |s: &kptop::snapshot::Snapshot| {
            let w = s.ways.as_ref().unwrap();
            let is_named = |r: &&kptop::snapshot::facts::WayRoute| !r.net.addr.is_multicast();
            let mut all: Vec<String> = w
                .routes
                .iter()
                .filter(is_named)
                .map(|r| format!("{} {:?} {} {} {:?}", r.net, r.kind, r.table, r.interface, r.gateway))
                .collect();
            all.sort();
            (all, w.deaf.clone())
        };
        assert_eq!(ways(&read), ways(&live));
        let flows = |s: &kptop::snapshot::Snapshot| {
            let f = &s.conntrack.as_ref().unwrap().flows.as_ref().unwrap().value;
            let mut groups: Vec<_> =
                f.groups.iter().map(|(k, v)| (*k, v.flows, v.assured, v.established)).collect();
            groups.sort();
            assert!(f.total >= groups.len() as u64, "the bridge's own multicast comes and goes");
            groups
        };
        assert_eq!(flows(&read), flows(&live));
        assert_eq!(read.sysctls, live.sysctls);
        assert_eq!(read.conntrack.as_ref().unwrap().cpus.len(), live.conntrack.as_ref().unwrap().cpus.len());
        let names = |s: &kptop::snapshot::Snapshot| {
            s.counters.as_ref().unwrap().value.named.keys().cloned().collect::<Vec<_>>()
        };
        assert_eq!(names(&read), names(&live));
        for t in read.tables.iter().filter(|t| t.family == Family::Ip) {
            let i = live.table(t.backend, t.family, &t.table.name).unwrap();
            let rules = |t: &Table| t.rules.iter().map(|r| t.rule_text(r).to_string()).collect::<Vec<_>>();
            assert_eq!(rules(&t.table), rules(&live.tables[i].table), "{}", t.table.name);
        }
        assert!(read.tables.len() >= 3);
    }
}
