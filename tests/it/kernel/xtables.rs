//! The x_tables reader and writer against the kernel and iptables' own tools.

use crate::common::{in_new_netns, load_ipsets, load_legacy, run, set, sets};
use kptop::kernel::xtables::{EncodedTable, Socket, TableReader, decode, encode, table_names};
use kptop::ruleset::{ChainId, IpFamily, SavedTable, Table, TableCounters, parse_save};
use std::collections::BTreeSet;

/// All lines of a table as `iptables-save -c` prints them.
fn lines(table: &Table, counters: &TableCounters) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for (i, chain) in table.chains.iter().enumerate() {
        let id = ChainId(i as u32);
        let policy = chain.base.map_or("-", |b| b.policy.name());
        let counter = counters.policies.iter().find(|p| p.0 == id).map_or(Default::default(), |p| p.1);
        let name = table.chain_name(id);
        lines.insert(format!("*{} :{name} {policy} [{}:{}]", table.name, counter.packets, counter.bytes));
        for (n, (rule_id, rule)) in table.rules_of(id).enumerate() {
            let c = counters.rules[rule_id.0 as usize];
            let text = table.rule_text(rule);
            lines.insert(format!("*{} {name} #{n} [{}:{}] {text}", table.name, c.packets, c.bytes));
        }
    }
    lines
}

/// The same from the text of iptables-save itself, without any parser of ours.
fn saved_lines(text: &str) -> BTreeSet<String> {
    let (mut lines, mut table, mut n, mut last) = (BTreeSet::new(), String::new(), 0, String::new());
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('*') {
            table = name.to_string();
        } else if line.starts_with(':') {
            lines.insert(format!("*{table} {line}"));
        } else if let Some((counter, rule)) = line.split_once(" -A ") {
            let (chain, rest) = rule.split_once(' ').unwrap_or((rule, ""));
            n = if chain == last { n + 1 } else { 0 };
            last = chain.to_string();
            lines.insert(format!("*{table} {chain} #{n} {counter} {rest}"));
        }
    }
    lines
}

fn assert_same(ours: &BTreeSet<String>, theirs: &BTreeSet<String>, what: &str) {
    let only_ours: Vec<_> = ours.difference(theirs).take(5).collect();
    let only_theirs: Vec<_> = theirs.difference(ours).take(5).collect();
    assert!(ours == theirs, "{what}\nonly ours: {only_ours:#?}\nonly theirs: {only_theirs:#?}");
}

fn family_tool(family: IpFamily) -> &'static str {
    match family {
        IpFamily::V4 => "iptables-legacy-save",
        IpFamily::V6 => "ip6tables-legacy-save",
    }
}

fn read_all(family: IpFamily) -> Vec<SavedTable> {
    let socket = Socket::open(family).unwrap();
    let mut buffer = Vec::new();
    table_names(family)
        .unwrap()
        .iter()
        .map(|name| {
            let r = TableReader::new(family, name).read(&socket, &mut buffer).unwrap();
            SavedTable { table: (*r.table).clone(), counters: (*r.counters).clone() }
        })
        .collect()
}

#[test]
fn every_legacy_set_reads_as_iptables_save_prints_it() {
    for (version, mode) in sets(&["iptables-legacy", "userspace-legacy"]) {
        in_new_netns(move || {
            let dir = set(version, mode);
            load_ipsets(&dir);
            load_legacy(&dir);
            for family in [IpFamily::V4, IpFamily::V6] {
                let ours: BTreeSet<String> =
                    read_all(family).iter().flat_map(|t| lines(&t.table, &t.counters)).collect();
                let theirs = saved_lines(&run(family_tool(family), &["-c"]));
                assert_same(&ours, &theirs, &format!("{version}/{mode} {family}"));
                assert!(family == IpFamily::V6 || theirs.len() > 20, "{version}/{mode}: nothing was loaded");
            }
        });
    }
}

#[test]
fn reading_creates_no_table() {
    in_new_netns(|| {
        assert_eq!(table_names(IpFamily::V4).unwrap(), Vec::<String>::new());
        assert!(read_all(IpFamily::V4).is_empty());
        assert_eq!(table_names(IpFamily::V4).unwrap(), Vec::<String>::new());
        run("iptables-legacy", &["-t", "filter", "-S"]);
        assert_eq!(table_names(IpFamily::V4).unwrap(), ["filter"]);
        assert_eq!(read_all(IpFamily::V4).len(), 1);
        assert_eq!(table_names(IpFamily::V4).unwrap(), ["filter"]);
    });
}

#[test]
fn a_second_reading_shares_the_structure_until_a_rule_changes() {
    in_new_netns(|| {
        load_legacy(&set("1.36.2", "iptables-legacy"));
        let socket = Socket::open(IpFamily::V4).unwrap();
        let mut buffer = Vec::new();
        let mut reader = TableReader::new(IpFamily::V4, "filter");
        let first = reader.read(&socket, &mut buffer).unwrap();
        run("iptables-legacy", &["-Z", "KUBE-SERVICES"]); // counters only
        let second = reader.read(&socket, &mut buffer).unwrap();
        assert!(std::sync::Arc::ptr_eq(&first.table, &second.table));
        // Other tables are read into the same buffer, too.
        for garbage in [0x55, 0xaa] {
            let len = buffer.len();
            buffer.clear();
            buffer.resize(len + 5000, garbage);
            let again = reader.read(&socket, &mut buffer).unwrap();
            assert!(std::sync::Arc::ptr_eq(&first.table, &again.table), "what was in the buffer is no rule");
        }
        assert_ne!(first.counters, second.counters);
        assert_eq!(
            lines(&second.table, &second.counters),
            saved_lines(&run("iptables-legacy-save", &["-c", "-t", "filter"]))
        );
        // The same size, another destination.
        run("iptables-legacy", &["-R", "KUBE-SERVICES", "1", "-d", "10.9.9.9/32", "-j", "DROP"]);
        let third = reader.read(&socket, &mut buffer).unwrap();
        run("iptables-legacy", &["-R", "KUBE-SERVICES", "1", "-d", "10.9.9.8/32", "-j", "DROP"]);
        let fourth = reader.read(&socket, &mut buffer).unwrap();
        assert_eq!(third.bytes, fourth.bytes);
        assert!(!std::sync::Arc::ptr_eq(&third.table, &fourth.table));
        assert_eq!(
            lines(&fourth.table, &fourth.counters),
            saved_lines(&run("iptables-legacy-save", &["-c", "-t", "filter"]))
        );
    });
}

/// What the kernel keeps for itself: `nfcache` and `comefrom`, and the counters. And what has no meaning:
/// iptables leaves the probability once more in the words of `-m statistic` that random mode does not use.
fn without_kernel_fields(family: IpFamily, blob: &[u8]) -> Vec<u8> {
    let (entry, offset) = if family == IpFamily::V4 { (112, 84) } else { (168, 136) };
    let mut out = blob.to_vec();
    let mut at = 0;
    while at + entry <= out.len() {
        let next = usize::from(u16::from_ne_bytes([out[at + offset + 6], out[at + offset + 7]]));
        out[at + offset..at + offset + 4].fill(0);
        out[at + offset + 8..at + entry].fill(0);
        let mut m = at + entry;
        let target = at + usize::from(u16::from_ne_bytes([out[at + offset + 4], out[at + offset + 5]]));
        while m < target {
            let size = usize::from(u16::from_ne_bytes([out[m], out[m + 1]]));
            if out[m + 2..].starts_with(b"statistic\0") && out[m + 32] == 0 {
                out[m + 40..m + 48].fill(0);
            }
            m += size;
        }
        at += next;
    }
    out
}

#[test]
fn bytes_to_rules_to_bytes_is_the_identity() {
    for (version, mode) in sets(&["iptables-legacy", "userspace-legacy"]) {
        in_new_netns(move || {
            let dir = set(version, mode);
            load_ipsets(&dir);
            load_legacy(&dir);
            for family in [IpFamily::V4, IpFamily::V6] {
                let socket = Socket::open(family).unwrap();
                for name in table_names(family).unwrap() {
                    let info = socket.info(&name).unwrap();
                    let mut buffer = Vec::new();
                    assert!(socket.entries(&info, &mut buffer).unwrap());
                    let blob = &buffer[40..];
                    let decoded = decode(family, &info, blob, &mut |_| None).unwrap();
                    let EncodedTable { hook_entry, underflow, num_entries, blob: again, .. } =
                        encode(&decoded.table).unwrap();
                    let what = format!("{version}/{mode} {family} {name}");
                    assert_eq!(num_entries, info.num_entries, "{what}");
                    for hook in info.hooks() {
                        assert_eq!(hook_entry[hook as usize], info.hook_entry[hook as usize], "{what}");
                        assert_eq!(underflow[hook as usize], info.underflow[hook as usize], "{what}");
                    }
                    let (a, b) = (without_kernel_fields(family, blob), without_kernel_fields(family, &again));
                    let differs = a.iter().zip(&b).position(|(x, y)| x != y);
                    assert!(
                        a == b,
                        "{what}: {} and {} bytes, differ at {differs:?}: {:?} {:?}",
                        a.len(),
                        b.len(),
                        differs.map(|d| &a[d - 60..d + 20]),
                        differs.map(|d| &b[d - 60..d + 20])
                    );
                    // And the kernel takes it.
                    socket.replace(&encode(&decoded.table).unwrap()).unwrap();
                }
            }
        });
    }
}

/// Matches that kube-proxy does not write, but others do: known or not, they come back byte by byte.
#[test]
fn other_peoples_rules_survive() {
    in_new_netns(|| {
        let rules = "*filter
:INPUT DROP [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:mine - [0:0]
-A INPUT -i eth+ -p tcp -m tcp --sport 1:5 --dport 80 --tcp-flags FIN,SYN,RST,ACK SYN -m limit --limit 5/sec -j mine
-A INPUT ! -i lo ! -s 10.0.0.0/8 ! -p udp -g mine
-A INPUT -f -j DROP
-A INPUT -p udp -m multiport --dports 53,100:200 -m hashlimit --hashlimit-upto 5/sec --hashlimit-name h -j ACCEPT
-A INPUT -d 10.0.0.1/255.0.255.0 -m connmark --mark 0x1 -j LOG --log-prefix \"a b\"
-A FORWARD -m physdev  --physdev-in eth0 --physdev-is-bridged -m state --state RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -m statistic --mode nth --every 3 --packet 0 -j NFLOG --nflog-group 3
-A mine -m mark ! --mark 0x1/0x1 -m conntrack --ctstate NEW --ctproto 6 -j REJECT --reject-with tcp-reset
-A mine
COMMIT
";
        // The tcp-reset rule needs a protocol.
        let rules = rules.replace("-A mine -m mark", "-A mine -p tcp -m mark");
        crate::common::run_with("iptables-legacy-restore", &["-c"], &rules);
        let before = run("iptables-legacy-save", &["-c"]);
        let socket = Socket::open(IpFamily::V4).unwrap();
        let mut buffer = Vec::new();
        let reading = TableReader::new(IpFamily::V4, "filter").read(&socket, &mut buffer).unwrap();
        socket.replace(&encode(&reading.table).unwrap()).unwrap();
        let strip = |s: &str| s.lines().filter(|l| !l.starts_with('#')).collect::<Vec<_>>().join("\n");
        assert_eq!(strip(&before), strip(&run("iptables-legacy-save", &["-c"])));
        let ours = lines(&reading.table, &reading.counters);
        for unknown in ["-m limit [", "-m hashlimit [", "-j LOG [", "-j NFLOG [", "-m conntrack ["] {
            assert!(ours.iter().any(|l| l.contains(unknown)), "{unknown} is not shown: {ours:#?}");
        }
        let known: BTreeSet<String> = ours.into_iter().filter(|l| !l.contains(" bytes]")).collect();
        let theirs = saved_lines(&before);
        assert!(known.is_subset(&theirs), "{:#?}", known.difference(&theirs).collect::<Vec<_>>());
    });
}

/// Text that iptables-save wrote, read by us and put into the kernel by us, prints the same.
#[test]
fn text_to_kernel_to_text() {
    in_new_netns(|| {
        let dir = set("1.36.2", "iptables-legacy");
        run("nfacct", &["add", "ct_state_invalid_dropped_pkts"]);
        run("nfacct", &["add", "localhost_nps_accepted_pkts"]);
        for (family, file) in [(IpFamily::V4, "iptables-save-c.txt"), (IpFamily::V6, "ip6tables-save-c.txt")]
        {
            let text = crate::common::read(&dir, file).unwrap();
            let socket = Socket::open(family).unwrap();
            let mut expected = BTreeSet::new();
            for saved in parse_save(&text, family).unwrap() {
                socket.replace(&encode(&saved.table).unwrap()).unwrap();
                let zero = TableCounters {
                    rules: vec![Default::default(); saved.table.rules.len()],
                    policies: vec![],
                };
                expected.extend(lines(&saved.table, &zero));
            }
            assert_same(&saved_lines(&run(family_tool(family), &["-c"])), &expected, file);
        }
    });
}

/// A table that is replaced all the time, by one of another size, is read as one or the other.
#[test]
fn a_table_replaced_while_it_is_read_is_never_mixed() {
    use kptop::lab::{install_table, shop};
    use kptop::proxy::iptables::{WriteOptions, write};
    use std::sync::atomic::{AtomicBool, Ordering};
    in_new_netns(|| {
        let nat = |n: usize| {
            let services = shop::services(Some(31 + n), 3).split_off(31);
            write(&services, IpFamily::V4, &WriteOptions::default()).remove(0).0
        };
        let tables = [nat(40), nat(60)];
        let shapes: Vec<_> = tables.iter().map(|t| (t.chains.len(), t.rules.len())).collect();
        install_table(IpFamily::V4, &tables[0]).unwrap();
        let here = kptop::kernel::netns::Netns::current().unwrap();
        let stop = std::sync::Arc::new(AtomicBool::new(false));
        let writer = std::thread::spawn({
            let stop = stop.clone();
            move || {
                here.enter().unwrap();
                let mut n = 0;
                while !stop.load(Ordering::Relaxed) && n < 20_000 {
                    n += 1;
                    install_table(IpFamily::V4, &tables[n % 2]).unwrap();
                }
                n
            }
        });
        let socket = Socket::open(IpFamily::V4).unwrap();
        let mut reader = TableReader::new(IpFamily::V4, "nat");
        let (mut buffer, mut seen, mut interrupted) = (Vec::new(), BTreeSet::new(), 0);
        for _ in 0..400 {
            match reader.read(&socket, &mut buffer) {
                Ok(r) => {
                    let shape = (r.table.chains.len(), r.table.rules.len());
                    assert!(shapes.contains(&shape), "{shape:?} is neither of {shapes:?}");
                    assert_eq!(r.counters.rules.len(), shape.1);
                    seen.insert(shape);
                }
                Err(e) => {
                    assert!(e.to_string().contains("interrupted"), "{e}");
                    interrupted += 1;
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
        assert!(writer.join().unwrap() > 10, "the table was not replaced");
        assert!(!seen.is_empty(), "every reading was interrupted ({interrupted})");
    });
}
