//! `/proc/net/softnet_stat`: columns of eight hexadecimal digits, a line for each CPU.

use crate::kernel::counters;
use crate::snapshot::SourceId;
use crate::snapshot::dump::glance::Glance;
use crate::snapshot::dump::reader::{Form, Found, Reader};

pub(super) static FORM: Form =
    Form { words: "/proc/net/softnet_stat", source: SourceId::Counters, repeats: false, is, read };

fn is_line(line: &str) -> bool {
    let words: Vec<&str> = line.split_whitespace().collect();
    words.len() >= 9 && words[..9].iter().all(|w| w.len() == 8 && w.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn is(g: &Glance<'_>) -> bool {
    is_line(g.first())
}

fn read(to: &mut Reader, f: &Found) -> Result<(), String> {
    let lines: String = f.text.lines().filter(|l| is_line(l)).map(|l| format!("{l}\n")).collect();
    to.unused_but(f, is_line);
    to.counters.softnet = counters::parse_softnet(&lines);
    Ok(())
}
