//! `ipset save` and `ipset list` (ipset 7.17).

use crate::format::plural;
use crate::kernel::ipset::{AS_TEXT, Ipset, Member, icmp_number};
use crate::ruleset::{Counter, IpFamily, protocol_number};
use crate::snapshot::dump::glance::Glance;
use crate::snapshot::dump::reader::{Form, Found, Reader, reading};
use crate::snapshot::{SourceId, UnreadKind};
use std::collections::HashMap;

pub(super) static FORM: Form =
    Form { words: "ipset save", source: SourceId::Ipsets, repeats: false, is, read: take };

fn is(g: &Glance<'_>) -> bool {
    g.any(3, |l| l.starts_with("create ") && l.contains(':'))
        || g.any(3, |l| l.starts_with("Name: ")) && g.any(4, |l| l.starts_with("Type: "))
}

fn take(to: &mut Reader, f: &Found) -> Result<(), String> {
    let read = read(&f.text);
    if read.sets.is_empty() {
        return Err(read.wrong.first().cloned().unwrap_or_else(|| "it has no set".into()));
    }
    if let Some(why) = read.kept {
        to.unread(f, SourceId::Ipsets, UnreadKind::Failed, why);
    }
    to.lines_lost(f, &read.wrong, (SourceId::Ipsets, UnreadKind::Failed), "");
    to.snapshot.ipsets = Some(reading(read.sets));
    Ok(())
}

/// What a text gives.
#[derive(Default)]
struct Read {
    sets: Vec<Ipset>,
    /// What is said of members that were kept as text.
    kept: Option<String>,
    /// Lines that are nothing that ipset prints.
    wrong: Vec<String>,
}

/// Sets, as one of both printed them.
fn read(text: &str) -> Read {
    let mut all = Read::default();
    let sets = &mut all.sets;
    let mut by_name: HashMap<String, usize> = HashMap::new();
    let mut in_members = false;
    let mut kept: Option<(usize, String, usize)> = None;
    let mut keep = |set: &mut Ipset, line: usize, text: &str| {
        kept.get_or_insert_with(|| (line, text.to_string(), 0)).2 += 1;
        let member = Member { other: vec![(AS_TEXT, text.as_bytes().into())], ..Member::default() };
        set.members.get_or_insert_default().push(member);
    };
    for (i, line) in text.lines().enumerate() {
        let mut wrong = |what: &str| all.wrong.push(format!("line {}: {what}: `{line}`", i + 1));
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [] => in_members = false,
            ["create", name, kind, ..] => {
                by_name.insert(name.to_string(), sets.len());
                sets.push(create(name, kind, &words[3..]));
            }
            ["add", name, member, ..] => {
                let Some(set) = by_name.get(name).and_then(|at| sets.get_mut(*at)) else {
                    wrong("a member of a set that was not created");
                    continue;
                };
                match self::member(&set.kind, member, &words[3..]) {
                    Some(m) => set.members.get_or_insert_default().push(m),
                    None => keep(set, i + 1, member),
                }
            }
            ["Name:", name] => {
                in_members = false;
                sets.push(create(name, "", &[]));
            }
            ["Members:"] => in_members = true,
            [member, ..] if in_members => {
                let Some(set) = sets.last_mut() else {
                    wrong("a member of no set");
                    continue;
                };
                match self::member(&set.kind, member, &words[1..]) {
                    Some(m) => set.members.get_or_insert_default().push(m),
                    None => keep(set, i + 1, line.trim()),
                }
            }
            [head, value, ..] if head.ends_with(':') => {
                let Some(set) = sets.last_mut() else {
                    wrong("no set begins before it");
                    continue;
                };
                let last = words.last().and_then(|w| w.parse::<u64>().ok()).unwrap_or(0);
                match head {
                    "Type:" => set.kind = value.to_string(),
                    "Header:" => options(set, &words[1..]),
                    "References:" => set.references = last,
                    _ => {}
                }
            }
            ["Size", "in", "memory:", n] => {
                if let Some(set) = sets.last_mut() {
                    set.memory = n.parse().unwrap_or(0);
                }
            }
            ["Number", "of", "entries:", _] => {}
            _ => wrong("nothing that ipset save or list prints"),
        }
    }
    for set in sets {
        set.size = set.members.as_ref().map_or(0, |m| m.len() as u64);
    }
    all.kept = kept.map(|(line, text, n)| {
        let members = plural(n as u64, "member");
        format!("line {line}: {members} that their kind of set does not have, kept as text: `{text}`")
    });
    all
}

fn create(name: &str, kind: &str, rest: &[&str]) -> Ipset {
    let mut set = Ipset {
        name: name.to_string(),
        kind: kind.to_string(),
        family: 2,
        members: Some(Vec::new()),
        ..Ipset::default()
    };
    options(&mut set, rest);
    set
}

fn options(set: &mut Ipset, words: &[&str]) {
    for pair in words.windows(2) {
        match pair {
            ["family", "inet6"] => set.family = 10,
            ["maxelem", n] => set.max_size = n.parse().ok(),
            ["timeout", n] => set.timeout_s = n.parse().ok(),
            _ => {}
        }
    }
}

/// `198.51.100.30,tcp:80`, `10.0.0.1,udp:53,10.1.0.0/16`, by the kind's fields.
fn member(kind: &str, text: &str, rest: &[&str]) -> Option<Member> {
    let fields: Vec<&str> = kind.split_once(':')?.1.split(',').collect();
    let values: Vec<&str> = text.split(',').collect();
    if values.len() != fields.len() {
        return None;
    }
    let mut m = Member::default();
    for (field, value) in fields.iter().zip(values) {
        match *field {
            "ip" | "net" => {
                let (address, prefix) = value.split_once('/').map_or((value, None), |(a, p)| (a, Some(p)));
                let address = address.parse().ok()?;
                let bits = IpFamily::of(address).bits();
                let prefix = match prefix {
                    Some(p) => p.parse().ok().filter(|p| *p <= bits)?,
                    None => bits,
                };
                match m.address {
                    None => (m.address, m.prefix) = (Some(address), Some(prefix)),
                    Some(_) => (m.address2, m.prefix2) = (Some(address), Some(prefix)),
                }
            }
            "port" => match value.split_once(':') {
                Some((protocol, port)) => {
                    let number = u8::try_from(protocol_number(protocol)?).ok()?;
                    m.protocol = Some(number);
                    m.port = Some(match number {
                        1 | 58 => icmp_number(number, port)?,
                        _ => port.parse().ok()?,
                    });
                }
                None => m.port = Some(value.parse().ok()?),
            },
            // Kept as it is.
            other => m.other.push((other.len() as u16, value.as_bytes().into())),
        }
    }
    for (i, word) in rest.iter().enumerate() {
        let next = || rest.get(i + 1).and_then(|w| w.parse::<u64>().ok());
        match *word {
            "nomatch" => m.except = true,
            "timeout" => m.timeout_s = next().map(|n| n as u32),
            "packets" => m.counter.get_or_insert(Counter::default()).packets = next()?,
            "bytes" => m.counter.get_or_insert(Counter::default()).bytes = next()?,
            _ => {}
        }
    }
    Some(m)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn saved_and_listed_sets_are_the_same() {
        let saved = "create KUBE-LOOP-BACK hash:ip,port,ip family inet hashsize 1024 maxelem 65536\nadd KUBE-LOOP-BACK 10.244.0.3,tcp:80,10.244.0.3\ncreate P bitmap:port range 0-65535\nadd P 30080\n";
        let listed = "Name: KUBE-LOOP-BACK\nType: hash:ip,port,ip\nRevision: 6\nHeader: family inet hashsize 1024 maxelem 65536\nSize in memory: 472\nReferences: 1\nNumber of entries: 1\nMembers:\n10.244.0.3,tcp:80,10.244.0.3\n\nName: P\nType: bitmap:port\nRevision: 3\nHeader: range 0-65535\nSize in memory: 8\nReferences: 0\nNumber of entries: 1\nMembers:\n30080\n";
        let (a, b) = (read(saved).sets, read(listed).sets);
        assert_eq!(a.len(), 2);
        for (a, b) in a.iter().zip(&b) {
            assert_eq!((&a.name, &a.kind, &a.members, a.size), (&b.name, &b.kind, &b.members, b.size));
        }
        assert_eq!(a[0].members.as_ref().unwrap()[0].address2, Some("10.244.0.3".parse().unwrap()));
        assert!(read("add X 1.2.3.4").wrong[0].contains("line 1"));
    }

    /// What ipset prints of ICMP, and a member that nobody understands: it costs itself.
    #[test]
    fn a_member_that_is_not_understood_is_kept_as_text() {
        let saved = "create p hash:ip,port family inet\nadd p 1.2.3.4,icmp:echo-request\nadd p 1.2.3.4,icmp:200/3\nadd p what,is:this\nadd p 1.2.3.4,tcp:80\n";
        let Read { sets, kept, .. } = read(saved);
        let members: Vec<String> = sets[0].members.iter().flatten().map(ToString::to_string).collect();
        assert_eq!(
            members,
            ["1.2.3.4,icmp:echo-request", "1.2.3.4,icmp:200/3", "what,is:this", "1.2.3.4,tcp:80"]
        );
        assert_eq!(sets[0].members.as_ref().unwrap()[0].port, Some(8 << 8));
        assert!(kept.unwrap().contains("line 4: 1 member "));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_survived(text in "((create|add|Name:|Type:|Members:)? ?[-a-z0-9.:, ]{0,40}\n){0,6}") {
            let _ = read(&text);
        }
    }
}
