//! The objects of a rule set -> tables.

use super::elements::{elements, kinds_of};
use super::rule::RuleReader;
use super::value::number;
use crate::set_flag;
use crate::{
    BaseChain, ChainKind, Counter, Dialect, Family, Hook, Policy, Set, SetId, TableBackend, TableBuilder,
    VERDICT_DATA,
};
use crate::{ParseError, SavedTable};
use serde_json::Value;

/// Reads what `nft -j list ruleset` prints.
///
/// # Errors
/// What is no such JSON. A rule of which something is not understood is kept with that part as it is.
pub fn parse_nft_json(text: &str) -> Result<Vec<SavedTable>, ParseError> {
    let wrong = |what: String, line: usize| ParseError { line, what };
    let value: Value = serde_json::from_str(text).map_err(|e| wrong(e.to_string(), e.line()))?;
    let Some(list) = value.get("nftables").and_then(Value::as_array) else {
        return Err(wrong("no list `nftables`: this is not what nft -j list ruleset prints".into(), 1));
    };
    Ok(tables(list))
}

/// Reads what `nft list ruleset` prints, with or without handles (`-a`).
///
/// # Errors
/// The line that is no such text. A rule of which something is not understood is kept with that part as it is.
pub fn parse_nft(text: &str) -> Result<Vec<SavedTable>, ParseError> {
    let read = parse_nft_lenient(text);
    match read.errors.into_iter().chain(read.cut).next() {
        Some(first) => Err(first),
        None => Ok(read.tables),
    }
}

/// What [`parse_nft_lenient`] made of a text.
#[derive(Debug, Default)]
pub struct LenientNft {
    /// Tables, the last one perhaps not whole.
    pub tables: Vec<SavedTable>,
    /// Lines that were left out: each costs itself.
    pub errors: Vec<ParseError>,
    /// Rules of which nothing was understood: they are there, as text. Such a line may be none of the ruleset.
    pub kept: Vec<ParseError>,
    /// That the text ends inside a table: it was cut off.
    pub cut: Option<ParseError>,
}

/// The same, where one line costs one line. Elements of a set of which one is not understood are not known.
pub fn parse_nft_lenient(text: &str) -> LenientNft {
    let read = super::text::objects(text);
    LenientNft { tables: tables(&read.list), errors: read.errors, kept: read.kept, cut: read.cut }
}

fn text_of<'a>(v: &'a Value, key: &str) -> Option<&'a str> {
    v.get(key)?.as_str()
}

fn family(name: &str) -> Option<Family> {
    [Family::Ip, Family::Ip6, Family::Inet, Family::Arp, Family::Bridge, Family::Netdev]
        .into_iter()
        .find(|f| f.name() == name)
}

/// The table that an object belongs to.
fn owner(v: &Value) -> Option<(Family, &str)> {
    Some((family(text_of(v, "family")?)?, text_of(v, "table")?))
}

fn tables(list: &[Value]) -> Vec<SavedTable> {
    let of = |kind: &'static str| list.iter().filter_map(move |o| o.get(kind));
    let mut done = Vec::new();
    for t in of("table") {
        let (Some(family), Some(name)) = (text_of(t, "family").and_then(family), text_of(t, "name")) else {
            continue;
        };
        let mine = |v: &&Value| owner(v) == Some((family, name));
        let mut b = TableBuilder::new(family, TableBackend::NfTables, name);
        b.dialect = Dialect::Nft;
        b.comment = text_of(t, "comment").map(str::to_string);
        for c in of("chain").filter(mine) {
            chain(&mut b, family, c);
        }
        // Elements may lead to any chain, and rules name any set.
        for (kind, map) in [("set", false), ("map", true)] {
            of(kind).filter(mine).for_each(|s| set(&mut b, s, map));
        }
        for r in of("rule").filter(mine) {
            let Some(to) = text_of(r, "chain") else { continue };
            let to = b.chain(to);
            let statements = r.get("expr").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            let spec = RuleReader::new(&mut b).rule(statements, text_of(r, "comment"));
            b.push(to, spec);
        }
        let (table, counters) = b.finish();
        done.push(SavedTable { table, counters });
    }
    done
}

fn chain(b: &mut TableBuilder, family: Family, c: &Value) {
    let Some(name) = text_of(c, "name") else { return };
    let id = b.chain(name);
    if let Some(comment) = text_of(c, "comment") {
        b.chain_comments.push((id, comment.to_string()));
    }
    let hooks = [
        Hook::Prerouting,
        Hook::Input,
        Hook::Forward,
        Hook::Output,
        Hook::Postrouting,
        Hook::Ingress,
        Hook::Egress,
    ];
    let hook = text_of(c, "hook").and_then(|h| hooks.into_iter().find(|x| x.name() == h));
    if let Some(hook) = hook {
        let kind = match text_of(c, "type") {
            Some("nat") => ChainKind::Nat,
            Some("route") => ChainKind::Route,
            _ => ChainKind::Filter,
        };
        let priority = c.get("prio").and_then(Value::as_i64).unwrap_or(0) as i32;
        let policy = if text_of(c, "policy") == Some("drop") { Policy::Drop } else { Policy::Accept };
        let _ = family;
        b.base(id, BaseChain { hook, kind, priority, policy }, Counter::default());
    }
}

fn set(b: &mut TableBuilder, s: &Value, map: bool) {
    let Some(name) = text_of(s, "name") else { return };
    let name = b.strings.intern(name);
    let mut set = Set::new(name, if map { set_flag::MAP } else { 0 });
    let listed = s.get("flags").map(|f| match f {
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
        other => other.as_str().into_iter().collect::<Vec<_>>(),
    });
    for flag in listed.unwrap_or_default() {
        set.flags |= match flag {
            "constant" => set_flag::CONSTANT,
            "interval" => set_flag::INTERVAL,
            "timeout" => set_flag::TIMEOUT,
            "dynamic" => set_flag::EVAL,
            _ => 0,
        };
    }
    let Some((key_type, key_len, kinds)) = s.get("type").and_then(kinds_of) else { return };
    (set.key_type, set.key_len) = (key_type, key_len);
    if kinds.len() > 1 {
        set.flags |= set_flag::CONCAT;
    }
    if map {
        match s.get("map") {
            Some(Value::String(v)) if v == "verdict" => (set.data_type, set.data_len) = (VERDICT_DATA, 16),
            Some(Value::String(v)) if ["counter", "quota", "limit"].contains(&v.as_str()) => {
                set.flags = set.flags & !set_flag::MAP | set_flag::OBJECT;
            }
            Some(v) => {
                if let Some((data_type, len, _)) = kinds_of(v) {
                    (set.data_type, set.data_len) = (data_type, len.next_multiple_of(4));
                }
            }
            None => {}
        }
    }
    set.timeout_ms = s.get("timeout").and_then(number).map(|t| t * 1000);
    set.size = s.get("size").and_then(number).map(|n| n as u32);
    set.comment = text_of(s, "comment").map(|c| b.strings.intern(c));
    set.count = Some(0);
    set.elements = Some(Vec::new());
    if s.get("elem").is_some_and(Value::is_string) {
        // Text that was not read.
        (set.count, set.elements) = (None, None);
    }
    let id: SetId = b.set(set);
    if let Some(list) = s.get("elem").and_then(Value::as_array)
        && elements(b, id, list, &kinds).is_none()
    {
        // Not guessed at: how many there are is known, what they are is not.
        b.sets[id.0 as usize].elements = None;
        b.sets[id.0 as usize].count = Some(list.len() as u64);
    }
}
