//! `/proc/net/snmp`, `/proc/net/netstat` and `/proc/net/snmp6`.

use crate::kernel::counters;
use crate::snapshot::SourceId;
use crate::snapshot::dump::glance::Glance;
use crate::snapshot::dump::reader::{Form, Found, Reader};

pub(super) static FORM: Form =
    Form { words: "/proc/net/snmp", source: SourceId::Counters, repeats: true, is, read };

fn is(g: &Glance<'_>) -> bool {
    g.any(3, |l| l.starts_with("Ip: ") && l.contains("Forwarding") || l.starts_with("TcpExt: "))
        || g.any(3, |l| l.starts_with("Ip6InReceives "))
}

/// `Icmp6OutDestUnreachs                    9`
fn is_six(line: &str) -> bool {
    let words: Vec<&str> = line.split_whitespace().collect();
    words.len() == 2 && words[0].contains('6') && words[1].bytes().all(|b| b.is_ascii_digit())
}

fn is_pair(line: &str) -> bool {
    line.split_once(": ").is_some_and(|p| !p.0.contains(' '))
}

fn read(to: &mut Reader, f: &Found) -> Result<(), String> {
    // What stands before or between is no pair of lines.
    let pairs: String = f.text.lines().filter(|l| is_pair(l)).map(|l| format!("{l}\n")).collect();
    to.unused_but(f, |l| is_pair(l) || is_six(l));
    counters::parse(&pairs, &mut to.counters.named);
    counters::parse_six(&f.text, &mut to.counters.named);
    Ok(())
}
