//! Elements of sets and maps, and the verdicts that they hold.

use super::value::{arg, bytes, named_type, number};
use crate::nft_text::values::{self, Kind, width};
use crate::{Counter, Data, Element, SetId, TableBuilder, Verdict};
use crate::{field_types, set_flag};
use serde_json::Value;

/// A verdict's name, and where it leads.
pub(super) fn verdict_name(v: &Value) -> Option<(&str, Option<&str>)> {
    let (name, arg) = match v {
        Value::Object(o) if o.len() == 1 => o.iter().next().map(|(k, v)| (k.as_str(), v))?,
        Value::String(s) => (s.as_str(), &Value::Null),
        _ => return None,
    };
    let to = arg.get("target").and_then(Value::as_str);
    match name {
        "accept" | "drop" | "return" | "continue" => Some((name, None)),
        "jump" | "goto" => Some((name, Some(to?))),
        _ => None,
    }
}

pub(super) fn verdict(b: &mut TableBuilder, v: &Value) -> Option<Verdict> {
    let (name, to) = verdict_name(v)?;
    Some(match (name, to) {
        ("accept", _) => Verdict::Accept,
        ("drop", _) => Verdict::Drop,
        ("return", _) => Verdict::Return,
        ("continue", _) => Verdict::Continue,
        ("jump", Some(to)) => Verdict::Jump(b.chain(to)),
        ("goto", Some(to)) => Verdict::Goto(b.chain(to)),
        _ => return None,
    })
}

/// The value of an element without its comment and times.
pub(super) fn plain(e: &Value) -> &Value {
    e.get("elem").and_then(|e| e.get("val")).unwrap_or(e)
}

/// Fills a set. `None` where an element is not understood.
pub(super) fn elements(b: &mut TableBuilder, id: SetId, list: &[Value], kinds: &[Kind]) -> Option<()> {
    let (data_type, is_map) = {
        let set = &b.sets[id.0 as usize];
        (set.data_type, set.is_map())
    };
    let mut all = Vec::new();
    let mut ranges = false;
    let mut count = 0;
    for e in list {
        // A map's elements are pairs; comments and times belong to the key.
        let (left, data) = match e.as_array() {
            Some(pair) if is_map => (pair.first()?, Some(pair.get(1)?)),
            _ => (e, None),
        };
        let details = left.get("elem").or_else(|| e.get("elem"));
        let val = plain(left);
        let mut element = Element::new(&[], Data::None);
        if let Some(d) = details {
            let ms = |k: &str| d.get(k).and_then(number).map(|s| s * 1000);
            (element.timeout_ms, element.expires_ms) = (ms("timeout"), ms("expires"));
            element.comment = arg(d, "comment").map(|c| b.strings.intern(c));
            element.counter = d.get("counter").map(|c| {
                let n = |k: &str| c.get(k).and_then(number).unwrap_or(0);
                Counter { packets: n("packets"), bytes: n("bytes") }
            });
        }
        if let Some(d) = data {
            element.data = match verdict(b, d) {
                Some(v) => Data::Verdict(v),
                None if b.sets[id.0 as usize].flags & set_flag::OBJECT != 0 => {
                    Data::Object(b.strings.intern(d.as_str()?))
                }
                None => {
                    let kinds: Vec<Kind> = values::kinds(data_type);
                    Data::Value(joined(d, &kinds)?.0.into())
                }
            };
        }
        count += 1;
        if val.as_str() == Some("*") {
            element.catch_all = true;
            all.push((element, None));
            continue;
        }
        let (key, end) = joined(val, kinds)?;
        element.key = key.into();
        ranges |= end.is_some();
        all.push((element, end));
    }
    let set = &mut b.sets[id.0 as usize];
    set.count = Some(count);
    if ranges {
        set.flags |= set_flag::INTERVAL;
    }
    set.elements = Some(match (set.flags & set_flag::INTERVAL != 0, kinds.len() > 1) {
        (false, _) => all.into_iter().map(|e| e.0).collect(),
        (true, true) => all
            .into_iter()
            .map(|(mut e, end)| {
                e.key_end = Some(end.map_or_else(|| e.key.clone(), Into::into));
                e
            })
            .collect(),
        (true, false) => as_ends(all),
    });
    Some(())
}

/// Ranges of one field, as the kernel holds them: where each begins, and where it ends.
pub(crate) fn as_ends(mut all: Vec<(Element, Option<Vec<u8>>)>) -> Vec<Element> {
    all.sort_by(|a, b| (a.0.catch_all, &a.0.key).cmp(&(b.0.catch_all, &b.0.key)));
    let mut out: Vec<Element> = Vec::new();
    let first = all.iter().find(|e| !e.0.catch_all).map(|e| e.0.key.clone());
    if let Some(first) = first.filter(|k| k.iter().any(|b| *b != 0)) {
        out.push(Element { end: true, ..Element::new(&vec![0; first.len()], Data::None) });
    }
    for (e, end) in all {
        if e.catch_all {
            out.push(e);
            continue;
        }
        let mut next = end.unwrap_or_else(|| e.key.to_vec());
        out.push(e);
        // The first key behind it, where there is one.
        let mut carry = true;
        for b in next.iter_mut().rev() {
            if carry {
                (*b, carry) = b.overflowing_add(1);
            }
        }
        if !carry {
            out.push(Element { end: true, ..Element::new(&next, Data::None) });
        }
    }
    out
}

/// The bytes of a value of these fields, and where it is a range its last ones.
fn joined(v: &Value, kinds: &[Kind]) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
    let parts = match v.get("concat").and_then(Value::as_array) {
        Some(parts) => parts.as_slice(),
        None => std::slice::from_ref(v),
    };
    if parts.len() != kinds.len() {
        return None;
    }
    let (mut from, mut to, mut is_range) = (Vec::new(), Vec::new(), false);
    for (part, kind) in parts.iter().zip(kinds) {
        let len = width(*kind);
        let (a, b) = if let Some([a, b]) = part.get("range").and_then(Value::as_array).map(Vec::as_slice) {
            is_range = true;
            (bytes(a, *kind, len)?, bytes(b, *kind, len)?)
        } else if let Some(p) = part.get("prefix") {
            is_range = true;
            let (mut a, prefix) = (bytes(p.get("addr")?, *kind, len)?, number(p.get("len")?)? as usize);
            let mut b = a.clone();
            for i in prefix..len * 8 {
                a[i / 8] &= !(0x80 >> (i % 8));
                b[i / 8] |= 0x80 >> (i % 8);
            }
            (a, b)
        } else {
            let mut a = bytes(part, *kind, len)?;
            a.resize(len.max(a.len()), 0); // a name that ends in `*`
            (a.clone(), a)
        };
        from.extend(a);
        to.extend(b);
        if kinds.len() > 1 {
            from.resize(from.len().next_multiple_of(4), 0);
            to.resize(to.len().next_multiple_of(4), 0);
        }
    }
    Some((from, is_range.then_some(to)))
}

/// Kinds of a named set's key or data: `"ipv4_addr"` or a list of such.
pub(super) fn kinds_of(v: &Value) -> Option<(u32, u32, Vec<Kind>)> {
    let names: Vec<&str> = match v {
        Value::Array(list) => list.iter().map(Value::as_str).collect::<Option<_>>()?,
        _ => vec![v.as_str()?],
    };
    let types: Vec<(u32, Kind)> = names.iter().map(|n| named_type(n)).collect();
    let id = types.iter().fold(0u32, |n, t| n << 6 | t.0);
    debug_assert!(types.len() < 2 || field_types(id).len() == types.len());
    let len = match types[..] {
        [(_, kind)] => width(kind) as u32,
        _ => types.iter().map(|t| width(t.1).next_multiple_of(4) as u32).sum(),
    };
    Some((id, len, types.into_iter().map(|t| t.1).collect()))
}
