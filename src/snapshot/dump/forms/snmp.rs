//! `/proc/net/snmp` and `/proc/net/netstat`.

use crate::kernel::counters;
use crate::snapshot::SourceId;
use crate::snapshot::dump::glance::Glance;
use crate::snapshot::dump::reader::{Form, Found, Reader};

pub(super) static FORM: Form =
    Form { words: "/proc/net/snmp", source: SourceId::Counters, repeats: true, is, read };

fn is(g: &Glance<'_>) -> bool {
    g.any(3, |l| l.starts_with("Ip: ") && l.contains("Forwarding") || l.starts_with("TcpExt: "))
}

fn is_pair(line: &str) -> bool {
    line.split_once(": ").is_some_and(|p| !p.0.contains(' '))
}

fn read(to: &mut Reader, f: &Found) -> Result<(), String> {
    // What stands before or between is no pair of lines.
    let pairs: String = f.text.lines().filter(|l| is_pair(l)).map(|l| format!("{l}\n")).collect();
    to.unused_but(f, is_pair);
    counters::parse(&pairs, &mut to.counters.named);
    Ok(())
}
