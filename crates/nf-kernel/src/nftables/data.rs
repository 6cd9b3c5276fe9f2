//! Values, verdicts and counters, as they are in rules, elements and chains (`NFTA_DATA_*`, `NFTA_EXPR_*`).

use super::Index;
use crate::netlink::{attrs, be_uint, str_of};
use nf_ruleset::{ChainId, Counter, IpFamily, Strings, Verdict, address};
use std::net::IpAddr;

/// A verdict (`NFTA_VERDICT_*`).
fn verdict(value: &[u8], strings: &Strings, chains: &Index<ChainId>) -> Option<Verdict> {
    let (mut code, mut chain) = (0, None);
    for (kind, v) in attrs(value) {
        match kind {
            1 => code = be_uint(v)? as i32,
            2 => chain = str_of(v),
            _ => {}
        }
    }
    let to = || chains.get(&strings.find(chain?)?).copied();
    Some(match code {
        0 => Verdict::Drop,
        1 => Verdict::Accept,
        3 => Verdict::Queue,
        -1 => Verdict::Continue,
        -3 => Verdict::Jump(to()?),
        -4 => Verdict::Goto(to()?),
        -5 => Verdict::Return,
        _ => return None,
    })
}

/// Data of an immediate or an element: a value or a verdict (`NFTA_DATA_*`).
pub(super) enum RawData<'a> {
    Value(&'a [u8]),
    Verdict(&'a [u8]),
}

pub(super) fn raw_data(value: &[u8]) -> Option<RawData<'_>> {
    attrs(value).find_map(|(kind, v)| match kind {
        1 => Some(RawData::Value(v)),
        2 => Some(RawData::Verdict(v)),
        _ => None,
    })
}

pub(super) fn data_value(value: &[u8]) -> Option<&[u8]> {
    match raw_data(value)? {
        RawData::Value(v) => Some(v),
        RawData::Verdict(_) => None,
    }
}

/// The verdict of an element or immediate.
pub(super) fn data_verdict(value: &[u8], strings: &Strings, chains: &Index<ChainId>) -> Option<Verdict> {
    match raw_data(value)? {
        RawData::Verdict(v) => verdict(v, strings, chains),
        RawData::Value(_) => None,
    }
}

/// A counter (`NFTA_COUNTER_*`).
pub(super) fn counter(value: &[u8]) -> Counter {
    let mut c = Counter::default();
    for (kind, v) in attrs(value) {
        match kind {
            1 => c.bytes = be_uint(v).unwrap_or(0),
            2 => c.packets = be_uint(v).unwrap_or(0),
            _ => {}
        }
    }
    c
}

/// Name and data of each expression in a list (`NFTA_LIST_ELEM`, `NFTA_EXPR_*`).
pub(super) fn expressions(list: &[u8]) -> impl Iterator<Item = (&str, &[u8])> {
    attrs(list).filter(|a| a.0 == 1).map(|(_, e)| expression(e))
}

pub(super) fn expression(e: &[u8]) -> (&str, &[u8]) {
    let (mut name, mut data) = ("?", &[][..]);
    for (kind, v) in attrs(e) {
        match kind {
            1 => name = str_of(v).unwrap_or("?"),
            2 => data = v,
            _ => {}
        }
    }
    (name, data)
}

/// The counter among the expressions of a rule, if there is one.
pub(super) fn counter_of(list: &[u8]) -> Option<Counter> {
    expressions(list).find(|e| e.0 == "counter").map(|e| counter(e.1))
}

/// The same of a single expression (an element's).
pub(super) fn counter_of_one(e: &[u8]) -> Option<Counter> {
    let (name, data) = expression(e);
    (name == "counter").then(|| counter(data))
}

/// An address of a family (`NFPROTO_IPV4` 2, `NFPROTO_IPV6` 10).
pub(super) fn ip_of(bytes: &[u8], family: u8) -> Option<IpAddr> {
    match family {
        2 => address(IpFamily::V4, bytes),
        10 => address(IpFamily::V6, bytes),
        _ => None,
    }
}
