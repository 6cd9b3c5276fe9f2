//! `iptables -S`: rules as commands, of a table or of single chains.

use crate::ruleset::Family;
use crate::snapshot::SourceId;
use crate::snapshot::dump::glance::Glance;
use crate::snapshot::dump::reader::{Form, Found, Reader};
use std::collections::HashSet;

pub(super) static FORM: Form =
    Form { words: "iptables -S", source: SourceId::Tables(Family::Ip), repeats: true, is, read };

fn is(g: &Glance<'_>) -> bool {
    let rule = |l: &str| l.starts_with("-A ") && [" -j ", " -m ", " -g "].iter().any(|o| l.contains(o));
    g.any(3, |l| l.starts_with("-P ") || l.starts_with("-N ") || rule(l))
}

fn read(to: &mut Reader, f: &Found) -> Result<(), String> {
    let (saved, assumed, left_out) = as_save(&f.name, &f.text);
    if assumed {
        to.say("which table it is of its chains and targets say: no command names it");
    }
    to.unused(left_out);
    super::save::saved(to, f, &saved)
}

/// As lines of `iptables-save`: a text for each table; whether the tables had to be told from their chains; and how many lines are no
/// commands.
fn as_save(name: &str, text: &str) -> (String, bool, usize) {
    let mut tables: Vec<Vec<&str>> = vec![Vec::new()];
    let (mut in_rules, mut left_out) = (false, 0);
    for line in text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
        if !["-P ", "-N ", "-A "].iter().any(|c| line.starts_with(c)) {
            left_out += 1;
            continue;
        }
        let begins = line.starts_with("-P ");
        // Policies come first: after rules they begin another table.
        if begins && in_rules {
            tables.push(Vec::new());
        }
        in_rules = !begins;
        if let Some(t) = tables.last_mut() {
            t.push(line);
        }
    }
    let mut out = String::new();
    let named = table_in(name);
    for lines in tables {
        let table = named.unwrap_or_else(|| table_of(&lines));
        out.push_str(&format!("*{table}\n"));
        let mut known: HashSet<&str> = HashSet::new();
        let declare = |out: &mut String, chain: &str, policy: &str| {
            out.push_str(&format!(":{chain} {policy} [0:0]\n"));
        };
        for line in &lines {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                ["-P", chain, policy, ..] => {
                    declare(&mut out, chain, policy);
                    known.insert(chain);
                }
                ["-N", chain, ..] => {
                    declare(&mut out, chain, "-");
                    known.insert(chain);
                }
                _ => {}
            }
        }
        // Of single chains nobody declares those to which rules lead.
        for line in &lines {
            let words: Vec<&str> = line.split_whitespace().collect();
            let led =
                words.windows(2).filter(|w| matches!(w[0], "-j" | "-g") && w[1].contains('-')).map(|w| w[1]);
            let own = words.get(1).copied().filter(|_| words.first() == Some(&"-A"));
            for chain in own.into_iter().chain(led) {
                if known.insert(chain) {
                    declare(&mut out, chain, "-");
                }
            }
        }
        for line in lines.iter().filter(|l| l.starts_with("-A ")) {
            match line.split_once(" -c ").and_then(|(front, rest)| {
                let mut words = rest.splitn(3, ' ');
                let (packets, bytes) =
                    (words.next()?.parse::<u64>().ok()?, words.next()?.parse::<u64>().ok()?);
                Some(format!("[{packets}:{bytes}] {front} {}", words.next().unwrap_or("")))
            }) {
                Some(counted) => out.push_str(&counted),
                None => out.push_str(line),
            }
            out.push('\n');
        }
        out.push_str("COMMIT\n");
    }
    (out, named.is_none(), left_out)
}

/// The table that a command names: `iptables_-t_nat_-S`; `filter` where it names none.
pub(super) fn table_in(command: &str) -> Option<&str> {
    let words: Vec<&str> = command.split('_').collect();
    let named =
        words.iter().position(|w| matches!(*w, "-t" | "--table")).and_then(|i| words.get(i + 1).copied());
    let is_command = ["iptables", "ip6tables"].iter().any(|p| words.first().is_some_and(|w| w.contains(p)));
    named.or((is_command && words.iter().any(|w| w.starts_with('-'))).then_some("filter"))
}

/// The table of chains and rules, where the command does not say it.
fn table_of(lines: &[&str]) -> &'static str {
    let has = |chain: &str| lines.iter().any(|l| l.starts_with(&format!("-P {chain} ")));
    let targets = [
        " -j DNAT",
        " -j SNAT",
        " -j MASQUERADE",
        " -j REDIRECT",
        " -j KUBE-SVC-",
        " -j KUBE-SEP-",
        " -j KUBE-MARK-MASQ",
    ];
    let translates = lines.iter().any(|l| targets.iter().any(|t| l.contains(t)));
    match (has("PREROUTING"), has("FORWARD"), has("POSTROUTING"), has("INPUT")) {
        (true, true, ..) => "mangle",
        (true, false, true, _) => "nat",
        (true, false, false, _) => "raw",
        (false, true, ..) | (false, _, _, true) => "filter",
        _ if translates => "nat",
        _ => "filter",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_become_a_table() {
        let nat = "-P PREROUTING ACCEPT\n-P POSTROUTING ACCEPT\n-N KUBE-SVC-A\nwhat is this\n-A PREROUTING -v -c 3 180 -j KUBE-SVC-A\n";
        let (saved, assumed, left_out) = as_save("", nat);
        assert!(saved.starts_with("*nat\n:PREROUTING ACCEPT [0:0]\n"), "{saved}");
        assert!(saved.contains("[3:180] -A PREROUTING -v -j KUBE-SVC-A\n"), "{saved}");
        assert_eq!((assumed, left_out), (true, 1));
        let two =
            as_save("", "-P INPUT ACCEPT\n-A INPUT -j ACCEPT\n-P PREROUTING ACCEPT\n-P POSTROUTING ACCEPT\n")
                .0;
        assert!(two.contains("*filter\n") && two.contains("*nat\n"), "{two}");
        // Single chains, and the command that says the table.
        assert!(as_save("", "-N KUBE-SVC-A\n-A KUBE-SVC-A -j KUBE-SEP-B\n").0.starts_with("*nat\n"));
        assert!(as_save("iptables_-t_mangle_-S", "-P INPUT ACCEPT\n").0.starts_with("*mangle\n"));
        assert_eq!((table_in("iptables_-S_KUBE-SVC-A"), table_in("iptables_nat")), (Some("filter"), None));
    }
}
