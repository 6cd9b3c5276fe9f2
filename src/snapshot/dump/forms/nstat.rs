//! `nstat -az` and `netstat -s`: the counters of `/proc/net/snmp` and `netstat`, one a line.

use crate::kernel::counters::NAMES;
use crate::snapshot::SourceId;
use crate::snapshot::dump::glance::Glance;
use crate::snapshot::dump::reader::{Form, Found, Reader};
use std::borrow::Cow;

pub(super) static FORM: Form = Form { words: "nstat", source: SourceId::Counters, repeats: false, is, read };
pub(super) static NETSTAT: Form = Form {
    words: "netstat -s",
    source: SourceId::Counters,
    repeats: false,
    is: is_netstat,
    read: read_netstat,
};

fn is(g: &Glance<'_>) -> bool {
    g.any(40, |l| counter(l).is_some()) && g.any(3, |l| l.starts_with('#') || counter_like(l))
}

/// `IpInReceives                    123                0.0`
fn counter_like(line: &str) -> bool {
    let words: Vec<&str> = line.split_whitespace().collect();
    words.len() == 3 && words[1].parse::<u64>().is_ok() && words[2].parse::<f64>().is_ok()
}

fn counter(line: &str) -> Option<(&'static str, u64)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [name, value, ..] = words[..] else { return None };
    // nstat has no dot between the group and the name.
    let known = NAMES.iter().find(|n| n.replace('.', "") == name)?;
    Some((known, value.parse().ok()?))
}

fn read(to: &mut Reader, f: &Found) -> Result<(), String> {
    // Without -a it says what rose since the last time.
    if !f.text.contains("TcpExtListenOverflows") {
        to.say("counters that are 0, or did not rise, are left out: nstat -az says all");
    }
    to.unused_but(f, |l| l.starts_with('#') || counter_like(l));
    let all = f.text.lines().filter_map(counter);
    to.counters.named.extend(all.map(|(name, n)| (Cow::Borrowed(name), n)));
    Ok(())
}

/// What `netstat -s` calls the counters that kptop reads (net-tools, `statistics.c`).
const SENTENCES: [(&str, &str); 12] = [
    ("packets forwarded", "Ip.ForwDatagrams"),
    ("forwarded", "Ip.ForwDatagrams"),
    ("with invalid addresses", "Ip.InAddrErrors"),
    ("incoming packets discarded", "Ip.InDiscards"),
    ("outgoing packets dropped", "Ip.OutDiscards"),
    ("dropped because of missing route", "Ip.OutNoRoutes"),
    ("segments retransmitted", "Tcp.RetransSegs"),
    ("segments sent out", "Tcp.OutSegs"),
    ("packets to unknown port received", "Udp.NoPorts"),
    ("times the listen queue of a socket overflowed", "TcpExt.ListenOverflows"),
    ("SYNs to LISTEN sockets dropped", "TcpExt.ListenDrops"),
    ("IPReversePathFilter", "TcpExt.IPReversePathFilter"),
];

fn is_netstat(g: &Glance<'_>) -> bool {
    g.any(3, |l| l.trim() == "Ip:")
        && g.any(6, |l| l.contains("total packets received") || l.contains("Forwarding:"))
}

fn sentence(line: &str) -> Option<(&'static str, u64)> {
    let line = line.trim();
    // `IPReversePathFilter: 7` among those that have no sentence.
    if let Some((name, n)) = line.split_once(": ") {
        let known = NAMES.iter().find(|k| k.split_once('.').is_some_and(|p| p.1 == name))?;
        return Some((known, n.trim().parse().ok()?));
    }
    let (n, rest) = line.split_once(' ')?;
    let known = SENTENCES.iter().find(|s| s.0 == rest.trim())?;
    Some((known.1, n.parse().ok()?))
}

fn read_netstat(to: &mut Reader, f: &Found) -> Result<(), String> {
    let all: Vec<_> = f.text.lines().filter_map(sentence).collect();
    to.say("netstat leaves out counters that are 0");
    to.counters.named.extend(all.into_iter().map(|(name, n)| (Cow::Borrowed(name), n)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_name_the_kernels_counters() {
        assert_eq!(
            counter("TcpExtListenOverflows           22                 0.0"),
            Some(("TcpExt.ListenOverflows", 22))
        );
        assert_eq!(counter("IpInReceives 3 0.0"), None);
        assert_eq!(
            sentence("    22 times the listen queue of a socket overflowed"),
            Some(("TcpExt.ListenOverflows", 22))
        );
        assert_eq!(sentence("    IPReversePathFilter: 7"), Some(("TcpExt.IPReversePathFilter", 7)));
        assert!(SENTENCES.iter().all(|s| NAMES.contains(&s.1)));
    }

    proptest::proptest! {
        #[test]
        fn any_line_is_survived(line in ".{0,60}") {
            let _ = (counter(&line), sentence(&line));
        }
    }
}
