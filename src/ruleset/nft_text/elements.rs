//! Elements of sets and maps.

use super::values::{Kind, concat, host_number, kinds, range, value};
use super::verdict;
use crate::ruleset::Table;
use crate::ruleset::native::{Data, Element, Set, with_last_keys};
use std::fmt::{self, Display, Formatter, Write as _};

/// See [`Table::element_text`].
pub(in crate::ruleset) struct ElementText<'a> {
    pub(in crate::ruleset) table: &'a Table,
    pub(in crate::ruleset) set: &'a Set,
    pub(in crate::ruleset) element: &'a Element,
}

impl Display for ElementText<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        element(&mut out, self.table, self.set, self.element, None);
        f.write_str(&out)
    }
}

fn data_text(out: &mut String, table: &Table, set: &Set, data: &Data) {
    match data {
        Data::None => {}
        Data::Value(bytes) => {
            out.push_str(" : ");
            concat(out, &kinds(set.data_type), bytes, None);
        }
        Data::Verdict(v) => {
            out.push_str(" : ");
            let _ = verdict(out, table, *v);
        }
        Data::Object(name) => {
            let _ = write!(out, " : \"{}\"", table.str(*name));
        }
    }
}

fn element(out: &mut String, table: &Table, set: &Set, e: &Element, key_kind: Option<Kind>) {
    if e.catch_all {
        out.push('*');
    } else {
        let kinds = key_kind.map_or_else(|| kinds(set.key_type), |k| vec![k]);
        concat(out, &kinds, &e.key, e.key_end.as_deref());
    }
    extras(out, table, e);
    data_text(out, table, set, &e.data);
}

fn extras(out: &mut String, table: &Table, e: &Element) {
    if e.counter.is_some() {
        out.push_str(" counter");
    }
    if let Some(comment) = e.comment {
        let _ = write!(out, " comment \"{}\"", table.str(comment));
    }
}

/// `{ … }`: sorted, ranges joined from their two ends.
pub(super) fn all_elements(
    out: &mut String,
    table: &Table,
    set: &Set,
    elements: &[Element],
    key_kind: Option<Kind>,
) {
    let mut sorted: Vec<&Element> = elements.iter().collect();
    let host = key_kind == Some(Kind::HostNumber)
        || matches!(kinds(set.key_type)[..], [Kind::HostNumber | Kind::Mark]);
    if host {
        sorted.sort_by_key(|e| (host_number(&e.key), !e.end));
    } else {
        // A range that ends where the next begins ends first.
        sorted.sort_by(|a, b| a.key.cmp(&b.key).then(b.end.cmp(&a.end)));
    }
    let kinds = key_kind.map_or_else(|| kinds(set.key_type), |k| vec![k]);
    out.push_str("{ ");
    for (i, (e, last)) in with_last_keys(&sorted).enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        if !set.holds_ranges() || e.catch_all {
            element(out, table, set, e, key_kind);
            continue;
        }
        let kind = kinds.first().copied().unwrap_or(Kind::Bytes);
        if last == e.key[..] {
            value(out, kind, &e.key);
        } else {
            range(out, kind, &e.key, &last);
        }
        extras(out, table, e);
        data_text(out, table, set, &e.data);
    }
    out.push_str(" }");
}
