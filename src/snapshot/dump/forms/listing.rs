//! `iptables -t nat -nvL`, as sosreports hold it: each line becomes a line of `iptables-save`.
//!
//! What a listing prints of a match is read back where kube-proxy writes it; anything else stays as text, as a match that
//! is not known.

use crate::ruleset::{Family, Hook, IpFamily, SavedTable, TableBackend, parse_save_lenient, protocol_name};
use crate::snapshot::dump::glance::{Glance, rounded};
use crate::snapshot::dump::reader::{Form, Found, Reader, with_backend};
use crate::snapshot::{SourceId, UnreadKind};
use std::collections::HashSet;
use std::fmt::Write as _;

pub(super) static FORM: Form =
    Form { words: "iptables -nvL", source: SourceId::Tables(Family::Ip), repeats: true, is, read: take };

fn is(g: &Glance<'_>) -> bool {
    g.any(3, |l| l.starts_with("Chain ") && l.contains('('))
}

fn take(to: &mut Reader, f: &Found) -> Result<(), String> {
    let named = super::command_lines::table_in(&f.name);
    if named.is_none() {
        to.say("which table it is of its chains and targets say: no command names it");
    }
    let is_v6 = f.name.starts_with("ip6") || f.text.lines().any(|l| l.contains(" ::/0"));
    let family = if is_v6 { IpFamily::V6 } else { IpFamily::V4 };
    // One table's listing after the other's.
    for part in tables(&f.text) {
        let table = named.unwrap_or_else(|| table_of(part));
        let listed = read(part, family, table)?;
        if !listed.unread.is_empty() {
            let first: Vec<String> = listed.unread.iter().take(5).map(ToString::to_string).collect();
            let why = format!("{} lines are no rules: {}", listed.unread.len(), first.join(", "));
            to.unused(listed.unread.len());
            to.unread(f, SourceId::FilterTable, UnreadKind::NotGiven, why);
        }
        if !listed.whole {
            let why = "a listing without -v has neither counters nor interfaces".to_string();
            to.unread(f, SourceId::FilterTable, UnreadKind::NotGiven, why);
        }
        to.listed.push(with_backend(listed.table, TableBackend::XTables));
    }
    Ok(())
}

/// Listings one behind the other: a chain of a hook that was there before begins another table, and so does one that another
/// table has.
fn tables(text: &str) -> Vec<&str> {
    let mut starts = vec![0];
    let mut seen: HashSet<&str> = HashSet::new();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let name = line.strip_prefix("Chain ").and_then(|r| r.split_once(" (")).map(|r| r.0);
        if let Some(name) = name
            && !seen.insert(name)
        {
            starts.push(at);
            seen = HashSet::from([name]);
        }
        at += line.len();
    }
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    starts.iter().zip(ends).map(|(from, to)| &text[*from..to]).collect()
}

/// The table that the chains and targets of a listing say.
fn table_of(text: &str) -> &'static str {
    let has = |chain: &str| text.lines().any(|l| l.starts_with(&format!("Chain {chain} (")));
    let translates = || {
        let nat = ["DNAT ", "MASQUERADE ", "KUBE-SVC-", "KUBE-SEP-", "KUBE-MARK-MASQ"];
        text.lines().any(|l| nat.iter().any(|n| l.contains(n)))
    };
    match (has("PREROUTING"), has("FORWARD"), has("POSTROUTING")) {
        (true, true, _) => "mangle",
        (true, false, true) => "nat",
        (true, false, false) if !translates() => "raw",
        (false, true, _) => "filter",
        _ if translates() => "nat",
        _ => "filter",
    }
}

/// What a listing gives.
struct Listed {
    table: SavedTable,
    /// Lines that are no rule of a listing.
    unread: Vec<usize>,
    /// False for `iptables -L` without `-v`: it prints neither counters nor interfaces.
    whole: bool,
}

/// Names of ports that `iptables -L` prints without `-n`, of services that clusters run (`/etc/services`).
const PORTS: [(&str, u16); 26] = [
    ("ssh", 22),
    ("smtp", 25),
    ("domain", 53),
    ("http", 80),
    ("kerberos", 88),
    ("pop3", 110),
    ("sunrpc", 111),
    ("ntp", 123),
    ("imap2", 143),
    ("snmp", 161),
    ("ldap", 389),
    ("https", 443),
    ("submission", 587),
    ("ldaps", 636),
    ("domain-s", 853),
    ("imaps", 993),
    ("ms-sql-s", 1433),
    ("nfs", 2049),
    ("mysql", 3306),
    ("postgresql", 5432),
    ("amqp", 5672),
    ("amqps", 5671),
    ("redis", 6379),
    ("http-alt", 8080),
    ("webcache", 8080),
    ("mdns", 5353),
];

fn port_number(word: &str) -> String {
    let one = |w: &str| PORTS.iter().find(|p| p.0 == w).map_or_else(|| w.to_string(), |p| p.1.to_string());
    word.split(':').map(one).collect::<Vec<_>>().join(":")
}

/// Reads a listing. A line that is no rule costs itself; the error says why there is no table at all.
fn read(text: &str, family: IpFamily, table: &str) -> Result<Listed, String> {
    let (mut unread, mut whole) = (Vec::new(), true);
    let mut heads = String::new();
    let mut rules = String::new();
    let mut chain = "";
    let mut numbered = false;
    for (i, line) in text.lines().enumerate() {
        if let Some(rest) = line.strip_prefix("Chain ") {
            // `Chain INPUT (policy ACCEPT 12 packets, 3456 bytes)`, `Chain KUBE-SERVICES (2 references)`
            let Some((name, rest)) = rest.split_once(" (") else {
                unread.push(i + 1);
                continue;
            };
            chain = name;
            let mut words = rest.split_whitespace();
            let (policy, packets, bytes) = match words.next() {
                Some("policy") => {
                    let policy = words.next().unwrap_or("ACCEPT").trim_end_matches(')');
                    let packets = words.next().and_then(rounded).unwrap_or(0);
                    (policy, packets, words.nth(1).and_then(rounded).unwrap_or(0))
                }
                _ => ("-", 0, 0),
            };
            let policy = if Hook::from_chain_name(name).is_some() { policy } else { "-" };
            let _ = writeln!(heads, ":{chain} {policy} [{packets}:{bytes}]");
            continue;
        }
        let line = line.trim();
        if line.is_empty() || line.starts_with("# ") {
            continue;
        }
        // The head says which columns there are.
        if let Some(head) = ["pkts ", "num ", "target "].iter().find(|h| line.starts_with(**h)) {
            numbered = *head == "num ";
            whole &= line.contains("pkts ");
            continue;
        }
        let line = if numbered { line.split_once(' ').map_or("", |l| l.1.trim_start()) } else { line };
        let Some(rule) = rule(line, family).filter(|_| !chain.is_empty()) else {
            unread.push(i + 1);
            continue;
        };
        let (packets, bytes) = rule.1;
        let _ = writeln!(rules, "[{packets}:{bytes}] -A {chain}{}", rule.0);
    }
    let saved = format!("*{table}\n{heads}{rules}COMMIT\n");
    let mut read = parse_save_lenient(&saved, family);
    // What is no rule of `iptables-save` either is there as text.
    let mut table = read.tables.pop().ok_or_else(|| "no table".to_string())?;
    table.table.rules.iter_mut().for_each(|r| r.counted &= whole);
    Ok(Listed { table, unread, whole })
}

/// A value with its `!`, as the listing prints it.
fn option(out: &mut String, flag: &str, value: &str) {
    let (not, value) = match value.strip_prefix('!') {
        Some(rest) => ("! ", rest),
        None => ("", value),
    };
    let _ = write!(out, " {not}{flag} {value}");
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// What is behind `-A CHAIN`, and what it counted.
fn rule(line: &str, family: IpFamily) -> Option<(String, (u64, u64))> {
    let (front, rest) = fields(line, family)?;
    let [packets, bytes, target, protocol, _, input, output, source, destination] = front;
    let counted = (rounded(packets)?, rounded(bytes)?);
    let mut out = String::new();
    let any = ["0.0.0.0/0", "::/0", "anywhere"];
    for (flag, value) in [("-s", source), ("-d", destination)] {
        if !any.contains(&value) {
            option(&mut out, flag, value);
        }
    }
    for (flag, value) in [("-i", input), ("-o", output)] {
        if value != "*" && value != "any" {
            option(&mut out, flag, value);
        }
    }
    if !["all", "0"].contains(&protocol) {
        let (not, name) = protocol.strip_prefix('!').map_or(("", protocol), |p| ("! ", p));
        let name = match name.parse::<u16>() {
            Ok(n) => protocol_name(n).map_or_else(|| n.to_string(), str::to_string),
            Err(_) => name.to_string(),
        };
        let _ = write!(out, " {not}-p {name}");
    }
    let number = protocol.parse::<u16>().ok();
    let name = number.and_then(protocol_name).unwrap_or(protocol);
    let end = details(&mut out, rest, name, target);
    if !target.is_empty() {
        let _ = write!(out, " {} {target}{end}", if rest.contains("[goto]") { "-g" } else { "-j" });
    }
    Some((out, counted))
}

/// The nine columns, and what is behind them. A rule without a target has one column less, and so has one of IPv6
/// without the column of options.
fn fields(line: &str, family: IpFamily) -> Option<([&str; 9], &str)> {
    let mut words: Vec<&str> = Vec::new();
    let mut rest = line;
    for _ in 0..9 {
        rest = rest.trim_start();
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        words.push(&rest[..end]);
        rest = &rest[end..];
    }
    let is_network = |w: &str| {
        let w = w.trim_start_matches('!');
        w == "anywhere" || w.split('/').next().is_some_and(|a| a.parse::<std::net::IpAddr>().is_ok())
    };
    // pkts bytes target prot opt in out source destination
    let source = words.iter().position(|w| is_network(w))?;
    let behind = |n: usize| -> Option<&str> {
        let mut rest = line;
        for _ in 0..n {
            rest = rest.trim_start();
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            rest = &rest[end..];
        }
        Some(rest)
    };
    let destination = words.get(source + 1).filter(|w| is_network(w))?;
    let before = &words[..source];
    let has_option = before.iter().any(|w| ["--", "-f", "!f"].contains(w));
    let columns: [&str; 9] = match (before.len(), has_option, family) {
        (7, ..) => [
            before[0],
            before[1],
            before[2],
            before[3],
            before[4],
            before[5],
            before[6],
            words[source],
            destination,
        ],
        (6, true, _) => {
            [before[0], before[1], "", before[2], before[3], before[4], before[5], words[source], destination]
        }
        (6, false, IpFamily::V6) => [
            before[0],
            before[1],
            before[2],
            before[3],
            "--",
            before[4],
            before[5],
            words[source],
            destination,
        ],
        (5, false, IpFamily::V6) => {
            [before[0], before[1], "", before[2], "--", before[3], before[4], words[source], destination]
        }
        // Without `-v`: target, protocol, options.
        (3, true, _) => ["0", "0", before[0], before[1], before[2], "*", "*", words[source], destination],
        (2, true, _) => ["0", "0", "", before[0], before[1], "*", "*", words[source], destination],
        (2, false, IpFamily::V6) => {
            ["0", "0", before[0], before[1], "--", "*", "*", words[source], destination]
        }
        (1, false, IpFamily::V6) => ["0", "0", "", before[0], "--", "*", "*", words[source], destination],
        _ => return None,
    };
    Some((columns, behind(source + 2)?))
}

/// Matches behind the columns; gives the target's own options.
fn details(out: &mut String, text: &str, protocol: &str, target: &str) -> String {
    let mut end = String::new();
    let mut rest = text.trim();
    let mut unread: Vec<&str> = Vec::new();
    while !rest.is_empty() {
        // Comments hold blanks.
        if let Some(body) = rest.strip_prefix("/* ") {
            let (comment, after) = body.split_once(" */").unwrap_or((body, ""));
            let _ = write!(out, " -m comment --comment {}", quoted(comment));
            rest = after.trim_start();
            continue;
        }
        let (word, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let after = after.trim_start();
        let next = |n: usize| after.split_whitespace().nth(n).unwrap_or_default();
        let skip = |n: usize| {
            let mut rest = after;
            for _ in 0..n {
                rest = rest.split_once(char::is_whitespace).map_or("", |r| r.1).trim_start();
            }
            rest
        };
        let ports = |v: &str, name: &str, out: &mut String| {
            let (not, v) = v.strip_prefix('!').map_or(("", v), |v| ("! ", v));
            let _ = write!(out, " -m {protocol} {not}--{name} {}", port_number(v));
        };
        match word {
            // A protocol's name is before its ports.
            "tcp" | "udp" | "sctp" | "[goto]" => rest = after,
            w if w.starts_with("dpt:")
                || w.starts_with("dpts:")
                || w.starts_with("spt:")
                || w.starts_with("spts:") =>
            {
                let (name, value) = w.split_once(':').unwrap_or((w, ""));
                ports(value, if name.starts_with('d') { "dport" } else { "sport" }, out);
                rest = after;
            }
            "statistic" if next(0) == "mode" && next(1) == "random" && next(2) == "probability" => {
                let _ = write!(out, " -m statistic --mode random --probability {}", next(3));
                rest = skip(4);
            }
            "mark" if next(0) == "match" => {
                let not = next(1) == "!";
                let _ = write!(
                    out,
                    " -m mark {}--mark {}",
                    if not { "! " } else { "" },
                    next(1 + usize::from(not))
                );
                rest = skip(2 + usize::from(not));
            }
            "ctstate" => {
                let _ = write!(out, " -m conntrack --ctstate {}", next(0));
                rest = skip(1);
            }
            "ADDRTYPE" if next(0) == "match" && next(1).ends_with("-type") => {
                let _ = write!(out, " -m addrtype --{} {}", next(1), next(2));
                rest = skip(3);
            }
            "nfacct-name" => {
                let _ = write!(out, " -m nfacct --nfacct-name {}", next(0));
                rest = skip(1);
            }
            "match-set" => {
                let _ = write!(out, " -m set --match-set {} {}", next(0), next(1));
                rest = skip(2);
            }
            "!" if next(0) == "match-set" => {
                let _ = write!(out, " -m set ! --match-set {} {}", next(1), next(2));
                rest = skip(3);
            }
            "MARK" if target == "MARK" => {
                // `MARK or 0x4000`, `MARK xor 0x4000`, `MARK set 0x1`
                let flag = match next(0) {
                    "or" => "--or-mark",
                    "xor" => "--xor-mark",
                    "and" => "--and-mark",
                    _ => "--set-xmark",
                };
                let _ = write!(end, " {flag} {}", next(1));
                rest = skip(2);
            }
            w if w.starts_with("to:") && ["DNAT", "SNAT"].contains(&target) => {
                let flag = if target == "DNAT" { "--to-destination" } else { "--to-source" };
                let _ = write!(end, " {flag} {}", &w[3..]);
                rest = after;
            }
            "random-fully" if ["MASQUERADE", "SNAT", "DNAT"].contains(&target) => {
                end.push_str(" --random-fully");
                rest = after;
            }
            "redir" if next(0) == "ports" => {
                let _ = write!(end, " --to-ports {}", next(1));
                rest = skip(2);
            }
            "reject-with" => {
                let _ = write!(end, " --reject-with {}", next(0));
                rest = skip(1);
            }
            "recent:" => {
                // `recent: CHECK seconds: 10800 reap name: KUBE-SEP-X side: source mask: 255.255.255.255`
                let words: Vec<&str> = after.split_whitespace().collect();
                let stop = words.iter().position(|w| *w == "mask:").map_or(words.len(), |i| i + 2);
                let value = |key: &str| words.iter().position(|w| *w == key).and_then(|i| words.get(i + 1));
                let verb = match words.first() {
                    Some(&"CHECK") => "--rcheck",
                    Some(&"UPDATE") => "--update",
                    Some(&"REMOVE") => "--remove",
                    _ => "--set",
                };
                let _ = write!(out, " -m recent {verb}");
                if let Some(s) = value("seconds:") {
                    let _ = write!(out, " --seconds {s}");
                }
                if words[..stop.min(words.len())].contains(&"reap") {
                    out.push_str(" --reap");
                }
                if let (Some(name), Some(mask)) = (value("name:"), value("mask:")) {
                    let _ = write!(out, " --name {name} --mask {mask}");
                }
                out.push_str(" --rsource");
                rest = skip(stop);
            }
            _ => {
                unread.push(word);
                rest = after;
            }
        }
    }
    if !unread.is_empty() {
        // Kept, and not guessed at.
        let _ = write!(out, " -m listing --text {}", quoted(&unread.join(" ")));
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_iptables_lists_them() {
        let text = "Chain PREROUTING (policy ACCEPT 12 packets, 3456 bytes)\n pkts bytes target     prot opt in     out     source               destination         \n  27K 1908 KUBE-SERVICES  0    --  *      *       0.0.0.0/0            0.0.0.0/0            /* kubernetes service portals */\n\nChain KUBE-SERVICES (1 references)\n pkts bytes target     prot opt in     out     source               destination         \n    3   180 KUBE-SVC-X  6    --  *      *       0.0.0.0/0            10.96.0.1            /* default/kubernetes:https cluster IP */ tcp dpt:443\n\nChain KUBE-SVC-X (1 references)\n pkts bytes target     prot opt in     out     source               destination         \n    1    60 KUBE-SEP-Y  all  --  *      *       0.0.0.0/0            0.0.0.0/0            /* default/kubernetes:https -> 1.2.3.4:6443 */ statistic mode random probability 0.50000000000\n\nChain KUBE-SEP-Y (1 references)\n pkts bytes target     prot opt in     out     source               destination         \n    1    60 DNAT       tcp  --  *      *       0.0.0.0/0            0.0.0.0/0            /* default/kubernetes:https */ tcp to:1.2.3.4:6443\n    0     0            tcp  --  *      *       10.0.0.0/8            0.0.0.0/0            strange words\n";
        let t = read(text, IpFamily::V4, "nat").unwrap().table.table;
        let texts: Vec<String> = t.rules.iter().map(|r| t.rule_text(r).to_string()).collect();
        assert_eq!(texts.len(), 5);
        assert!(texts.iter().any(|t| t.contains("--to-destination 1.2.3.4:6443")), "{texts:?}");
        assert!(texts.iter().any(|t| t.contains("--probability 0.5")), "{texts:?}");
        assert!(texts.iter().any(|t| t.contains("-m listing")), "{texts:?}");
        assert!(
            texts.iter().any(|t| t.contains("-d 10.96.0.1/32 -p tcp") && t.contains("--dport 443")),
            "{texts:?}"
        );
        // Where no command says it, the chains do.
        assert_eq!(table_of(text), "nat");
        // Two tables, one behind the other.
        let two = format!("{text}{}", text.replace("KUBE", "OTHER"));
        assert_eq!(tables(&two).len(), 2);
        assert_eq!(tables(text), [text]);
        // Without `-v`, with numbers of lines and names of ports; a line that is none costs itself.
        let text = "Chain FORWARD (policy DROP)\nnum  target     prot opt source               destination         \n1    REJECT     tcp  --  anywhere             10.43.4.68           /* db/replica:mysql has no endpoints */ tcp dpt:mysql reject-with icmp-port-unreachable\n2    what is this\n";
        let listed = read(text, IpFamily::V4, "filter").unwrap();
        assert_eq!((listed.unread, listed.whole), (vec![4], false));
        let t = listed.table.table;
        assert!(t.rule_text(&t.rules[0]).to_string().contains("--dport 3306") && !t.rules[0].counted);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_survived(text in "(Chain [A-Z]{1,6} \\(1 references\\)\n)?([0-9K]{1,3} [0-9]{1,3} [A-Z]{0,5} (tcp|all) -- \\* \\* 0.0.0.0/0 0.0.0.0/0 [a-z:/* 0-9]{0,40}\n){0,5}") {
            let _ = read(&text, IpFamily::V4, "nat");
        }
    }
}
