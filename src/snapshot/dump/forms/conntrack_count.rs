//! `conntrack -C`, and `nf_conntrack_count` and `nf_conntrack_max` of procfs: a number alone.

use crate::snapshot::SourceId;
use crate::snapshot::dump::glance::Glance;
use crate::snapshot::dump::reader::{Form, Found, Reader};

pub(super) static FORM: Form =
    Form { words: "conntrack -C", source: SourceId::ConntrackStats, repeats: true, is, read };

/// Whose name says what the number is.
fn is_named(name: &str) -> bool {
    name.ends_with("conntrack_-C")
        || name.ends_with("nf_conntrack_count")
        || name.ends_with("nf_conntrack_max")
}

fn is(g: &Glance<'_>) -> bool {
    is_named(g.name) && g.lines().count() == 1 && g.first().trim().parse::<u64>().is_ok()
}

fn read(to: &mut Reader, f: &Found) -> Result<(), String> {
    let n = f.text.trim().parse().ok();
    match f.name.ends_with("_max") {
        true => to.limits.max = n.or(to.limits.max),
        false => to.limits.count = n.or(to.limits.count),
    }
    Ok(())
}
