//! Elements of sets and maps.

use super::values::{Kind, Side, concat, host_number, kinds, range, side_value, value, width};
use super::words::{duration, verdict};
use crate::Table;
use crate::{Data, Element, Set, set_flag, with_last_keys};
use std::fmt::{self, Display, Formatter, Write as _};

/// See [`Table::element_text`].
pub(crate) struct ElementText<'a> {
    pub(crate) table: &'a Table,
    pub(crate) set: &'a Set,
    pub(crate) element: &'a Element,
}

impl Display for ElementText<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        element(&mut out, self.table, self.set, self.element, &key_sides(self.set));
        f.write_str(&out)
    }
}

/// How the fields of a set's keys are read, where no rule says it: numbers of the host are in network order in sets of
/// ranges.
fn key_sides(set: &Set) -> Vec<Side> {
    let swapped = set.flags & set_flag::INTERVAL != 0;
    kinds(set.key_type).into_iter().map(|kind| Side { swapped, ..Side::from(kind) }).collect()
}

fn data_text(out: &mut String, table: &Table, set: &Set, data: &Data) {
    match data {
        Data::None => {}
        Data::Value(bytes) => {
            out.push_str(" : ");
            let sides: Vec<Side> = kinds(set.data_type).into_iter().map(Side::from).collect();
            match &sides[..] {
                // Networks for networks: the first address and the last.
                [side] if bytes.len() == 2 * width(side.kind) => {
                    let (from, to) = bytes.split_at(width(side.kind));
                    if from == to { value(out, side.kind, from) } else { range(out, *side, from, to) }
                }
                _ => concat(out, &sides, bytes, None),
            }
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

fn element(out: &mut String, table: &Table, set: &Set, e: &Element, sides: &[Side]) {
    if e.catch_all {
        out.push('*');
    } else if let ([side], true) = (sides, e.key.iter().map(|b| b.count_ones()).sum::<u32>() > 1)
        && side.kind.is_flags()
    {
        // Here a comma would begin the next element.
        let mut flags = String::new();
        side_value(&mut flags, *side, &e.key);
        out.push_str(&flags.replace(',', " | "));
    } else {
        concat(out, sides, &e.key, e.key_end.as_deref());
    }
    extras(out, table, e);
    data_text(out, table, set, &e.data);
}

fn extras(out: &mut String, table: &Table, e: &Element) {
    if e.counter.is_some() {
        out.push_str(" counter");
    }
    for (word, ms) in [(" timeout ", e.timeout_ms), (" expires ", e.expires_ms)] {
        if let Some(ms) = ms {
            out.push_str(word);
            duration(out, ms);
        }
    }
    if let Some(comment) = e.comment {
        let _ = write!(out, " comment \"{}\"", table.str(comment));
    }
}

/// `{ … }`: sorted, ranges joined from their two ends.
pub(crate) fn all_elements(
    out: &mut String,
    table: &Table,
    set: &Set,
    elements: &[Element],
    sides: Option<Vec<Side>>,
) {
    let texts = element_texts(table, set, elements, sides, usize::MAX);
    let _ = write!(out, "{{ {} }}", texts.join(", "));
}

/// Elements as nft lists them, at most so many.
pub(crate) fn element_texts(
    table: &Table,
    set: &Set,
    elements: &[Element],
    sides: Option<Vec<Side>>,
    most: usize,
) -> Vec<String> {
    let sides = sides.unwrap_or_else(|| key_sides(set));
    let mut sorted: Vec<&Element> = elements.iter().collect();
    match &sides[..] {
        [side] if side.kind.is_host() && !side.swapped => {
            sorted.sort_by_key(|e| (host_number(&e.key), !e.end));
        }
        // nft puts several flags in front.
        [side] if side.kind.is_flags() => {
            let several = |e: &Element| e.key.iter().map(|b| b.count_ones()).sum::<u32>() > 1;
            sorted.sort_by(|a, b| (!several(a), &a.key).cmp(&(!several(b), &b.key)));
        }
        // Keys of several ranges stay in the order of the kernel.
        [_, _, ..] if set.flags & set_flag::INTERVAL != 0 => {}
        // A range that ends where the next begins ends first.
        _ => sorted.sort_by(|a, b| a.key.cmp(&b.key).then(b.end.cmp(&a.end))),
    }
    let text = |(e, last): (&Element, Vec<u8>)| {
        let mut out = String::new();
        if !set.holds_ranges() || e.catch_all {
            element(&mut out, table, set, e, &sides);
            return out;
        }
        let side = sides.first().copied().unwrap_or(Kind::Bytes.into());
        if last == e.key[..] {
            side_value(&mut out, side, &e.key);
        } else {
            range(&mut out, side, &e.key, &last);
        }
        extras(&mut out, table, e);
        data_text(&mut out, table, set, &e.data);
        out
    };
    with_last_keys(&sorted).take(most).map(text).collect()
}
