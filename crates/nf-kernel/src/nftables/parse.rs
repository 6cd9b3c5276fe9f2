//! Messages about tables, chains, sets and elements.

use super::Index;
use super::data::{self, RawData, raw_data};
use crate::netlink::{attrs, be_uint, str_of};
use nf_ruleset::{ChainId, ChainKind, Counter, Data, Element, Family, Policy, Set, Strings, set_flag};

/// The family in a `struct nfgenmsg` (`NFPROTO_*`).
pub(super) fn family_of(payload: &[u8]) -> Option<Family> {
    family_from(*payload.first()?)
}

pub(super) fn family_from(number: u8) -> Option<Family> {
    Some(match number {
        1 => Family::Inet,
        2 => Family::Ip,
        3 => Family::Arp,
        5 => Family::Netdev,
        7 => Family::Bridge,
        10 => Family::Ip6,
        _ => return None,
    })
}

pub(super) fn family_number(family: Family) -> u8 {
    match family {
        Family::Inet => 1,
        Family::Ip => 2,
        Family::Arp => 3,
        Family::Netdev => 5,
        Family::Bridge => 7,
        Family::Ip6 => 10,
    }
}

/// Low 16 bits of the generation in a `struct nfgenmsg`.
pub(super) fn generation_of(payload: &[u8]) -> u16 {
    payload.get(2..4).map_or(0, |b| u16::from_be_bytes([b[0], b[1]]))
}

/// A comment in user data (`NFTNL_UDATA_*_COMMENT` is type 0 everywhere): type, length, text, NUL.
pub(super) fn comment(user_data: &[u8], kind: u8) -> Option<&str> {
    let mut rest = user_data;
    while let [t, len, after @ ..] = rest {
        let value = after.get(..usize::from(*len))?;
        if *t == kind {
            return str_of(value);
        }
        rest = &after[usize::from(*len)..];
    }
    None
}

#[derive(Debug, Default)]
pub(super) struct TableHead {
    pub(super) name: String,
    pub(super) flags: u32,
    pub(super) handle: u64,
    pub(super) comment: Option<String>,
}

pub(super) fn table(bytes: &[u8]) -> Option<TableHead> {
    let mut t = TableHead::default();
    for (kind, v) in attrs(bytes) {
        match kind {
            1 => t.name = str_of(v)?.to_string(),
            2 => t.flags = be_uint(v)? as u32,
            4 => t.handle = be_uint(v)?,
            6 => t.comment = comment(v, 0).map(str::to_string),
            _ => {}
        }
    }
    (!t.name.is_empty()).then_some(t)
}

#[derive(Debug)]
pub(super) struct ChainHead<'a> {
    pub(super) table: &'a str,
    pub(super) name: &'a str,
    /// Number of the hook, priority and policy.
    pub(super) hook: Option<(u32, i32)>,
    pub(super) policy: Policy,
    pub(super) kind: ChainKind,
    pub(super) counter: Option<Counter>,
    /// Rules, and jumps to it.
    pub(super) uses: u32,
    pub(super) comment: Option<&'a str>,
}

pub(super) fn chain(bytes: &[u8]) -> Option<ChainHead<'_>> {
    let mut c = ChainHead {
        table: "",
        name: "",
        hook: None,
        policy: Policy::Accept,
        kind: ChainKind::Filter,
        counter: None,
        uses: 0,
        comment: None,
    };
    for (kind, v) in attrs(bytes) {
        match kind {
            1 => c.table = str_of(v)?,
            3 => c.name = str_of(v)?,
            4 => {
                let (mut number, mut priority) = (0, 0);
                for (kind, v) in attrs(v) {
                    match kind {
                        1 => number = be_uint(v)? as u32,
                        2 => priority = be_uint(v)? as i32,
                        _ => {}
                    }
                }
                c.hook = Some((number, priority));
            }
            5 if be_uint(v)? == 0 => c.policy = Policy::Drop,
            6 => c.uses = be_uint(v)? as u32,
            7 => {
                c.kind = match str_of(v)? {
                    "nat" => ChainKind::Nat,
                    "route" => ChainKind::Route,
                    _ => ChainKind::Filter,
                }
            }
            8 => c.counter = Some(data::counter(v)),
            12 => c.comment = comment(v, 0),
            _ => {}
        }
    }
    (!c.name.is_empty()).then_some(c)
}

/// A set: the table's name and what it is.
pub(super) fn set<'a>(bytes: &'a [u8], strings: &mut Strings) -> Option<Set> {
    let mut s = Set::new(strings.intern(""), 0);
    let mut name: Option<&'a str> = None;
    for (kind, v) in attrs(bytes) {
        let number = || be_uint(v).unwrap_or(0);
        match kind {
            2 => name = str_of(v),
            3 => s.flags = number() as u32,
            4 => s.key_type = number() as u32,
            5 => s.key_len = number() as u32,
            6 => s.data_type = number() as u32,
            7 => s.data_len = number() as u32,
            9 => {
                for (kind, v) in attrs(v) {
                    match kind {
                        1 => s.size = be_uint(v).map(|n| n as u32),
                        2 => s.fields = v.into(),
                        _ => {}
                    }
                }
            }
            11 => s.timeout_ms = Some(number()),
            13 => {
                s.comment = comment(v, 7).map(|c| strings.intern(c));
                s.user_data = v.into();
            }
            17 => s.carries = v.into(),
            16 => s.handle = number(),
            20 => s.count = Some(number()),
            _ => {}
        }
    }
    s.name = strings.intern(name?);
    Some(s)
}

/// Name of the table and of the set, of a message about a set or its elements.
pub(super) fn set_names(bytes: &[u8]) -> Option<(&str, &str)> {
    let (mut table, mut name) = (None, None);
    for (kind, v) in attrs(bytes) {
        match kind {
            1 => table = str_of(v),
            2 => name = str_of(v),
            _ => {}
        }
    }
    Some((table?, name?))
}

/// The elements in a message.
pub(super) fn elements(
    bytes: &[u8],
    set: &Set,
    strings: &mut Strings,
    chains: &Index<ChainId>,
    out: &mut Vec<Element>,
) {
    for (_, list) in attrs(bytes).filter(|a| a.0 == 3) {
        for (_, e) in attrs(list).filter(|a| a.0 == 1) {
            if let Some(e) = element(e, set, strings, chains) {
                out.push(e);
            }
        }
    }
}

fn element(bytes: &[u8], set: &Set, strings: &mut Strings, chains: &Index<ChainId>) -> Option<Element> {
    let mut e = Element::new(&[], Data::None);
    let value = |v| match raw_data(v)? {
        RawData::Value(v) => Some(Box::from(v)),
        RawData::Verdict(_) => None,
    };
    for (kind, v) in attrs(bytes) {
        match kind {
            1 => e.key = value(v)?,
            2 => {
                e.data = match raw_data(v)? {
                    RawData::Value(v) => Data::Value(v.into()),
                    RawData::Verdict(_) => Data::Verdict(data::data_verdict(v, strings, chains)?),
                }
            }
            3 => {
                let flags = be_uint(v)?;
                e.end = flags & 1 != 0;
                e.catch_all = flags & 2 != 0;
            }
            4 => e.timeout_ms = be_uint(v),
            5 => e.expires_ms = be_uint(v),
            6 => e.comment = comment(v, 0).map(|c| strings.intern(c)),
            7 => e.counter = data::counter_of_one(v),
            9 if set.flags & set_flag::OBJECT != 0 => e.data = Data::Object(strings.intern(str_of(v)?)),
            10 => e.key_end = Some(value(v)?),
            11 => e.counter = e.counter.or(data::counter_of(v)),
            _ => {}
        }
    }
    Some(e)
}
