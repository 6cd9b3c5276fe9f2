//! `conntrack -S`, and `/proc/net/stat/nf_conntrack`.

use crate::kernel::conntrack::{ConntrackStat, Stats, parse_proc_stats};
use crate::snapshot::SourceId;
use crate::snapshot::dump::glance::Glance;
use crate::snapshot::dump::reader::{Form, Found, Reader};

pub(super) static FORM: Form =
    Form { words: "conntrack -S", source: SourceId::ConntrackStats, repeats: false, is, read };

pub(super) static PROC: Form = Form {
    words: "/proc/net/stat/nf_conntrack",
    source: SourceId::ConntrackStats,
    repeats: false,
    is: is_proc,
    read: read_proc,
};

fn is(g: &Glance<'_>) -> bool {
    g.any(3, |l| is_cpu(l) && l.contains("insert"))
}

fn read(to: &mut Reader, f: &Found) -> Result<(), String> {
    to.cpus = stats(&f.text);
    to.unused_but(f, is_cpu);
    Ok(())
}

fn is_proc(g: &Glance<'_>) -> bool {
    let head = g.first();
    head.starts_with("entries") && head.contains("insert_failed") && head.contains("search_restart")
}

fn read_proc(to: &mut Reader, f: &Found) -> Result<(), String> {
    let is_hex = |w: &str| w.bytes().all(|b| b.is_ascii_hexdigit());
    let is_row = |l: &&str| !l.trim().is_empty() && l.split_whitespace().all(is_hex);
    let head = f.text.lines().find(|l| l.trim_start().starts_with("entries"));
    let rows: Vec<&str> = f.text.lines().filter(is_row).collect();
    let table: String = head.iter().chain(&rows).flat_map(|l| [l, "\n"]).collect();
    to.unused(f.text.lines().filter(|l| !l.trim().is_empty()).count() - table.lines().count());
    to.cpus = parse_proc_stats(&table).ok_or("a table whose figures are none")?;
    // The first column is the same on each line: the entries of all.
    let entries = rows.first().and_then(|l| l.split_whitespace().next());
    let entries = entries.and_then(|n| u64::from_str_radix(n, 16).ok());
    to.limits.count = to.limits.count.or(entries);
    Ok(())
}

fn is_cpu(line: &str) -> bool {
    line.trim_start().starts_with("cpu=")
}

/// `cpu=0 found=0 invalid=0 insert=0 …`
fn stats(text: &str) -> Vec<Stats> {
    text.lines()
        .filter(|l| is_cpu(l))
        .map(|line| {
            let mut s = Stats::default();
            for (key, value) in line.split_whitespace().filter_map(|w| w.split_once('=')) {
                let Ok(n) = value.parse() else { continue };
                if let Some(stat) = ConntrackStat::of_printed(key) {
                    s = s.with(stat, n);
                }
            }
            s
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_each_cpu_are_read() {
        let s = stats(
            "cpu=0   \tfound=1 invalid=2 insert=0 insert_failed=3 drop=0 early_drop=0 error=0 search_restart=9 clash_resolve=1 chaintoolong=0 \n",
        );
        use ConntrackStat::{InsertFailed, SearchRestart};
        assert_eq!((s[0].get(InsertFailed), s[0].get(SearchRestart)), (Some(3), Some(9)));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_survived(text in "(cpu=[0-9]{0,2} ([a-z_]{3,14}=[0-9a-z]{0,8} ?){0,9}\n){0,4}") {
            let _ = stats(&text);
        }
    }
}
