//! Words that several parts of a rule share.

use crate::{Comparison, IpNet, Table, Verdict, protocol_name};
use std::fmt::{self, Write as _};
use std::net::IpAddr;

pub(super) fn family_word(addr: IpAddr) -> &'static str {
    if addr.is_ipv4() { "ip " } else { "ip6 " }
}

pub(super) fn not(invert: bool) -> &'static str {
    if invert { "!= " } else { "" }
}

pub(super) fn operator(op: Comparison) -> &'static str {
    match op {
        Comparison::Equal => "==",
        Comparison::NotEqual => "!=",
        Comparison::Less => "<",
        Comparison::LessOrEqual => "<=",
        Comparison::Greater => ">",
        Comparison::GreaterOrEqual => ">=",
    }
}

pub(super) fn network(out: &mut String, net: IpNet) -> fmt::Result {
    if net.is_host() { write!(out, "{}", net.addr) } else { write!(out, "{net}") }
}

pub(super) fn protocol(out: &mut String, number: u16) -> fmt::Result {
    match protocol_name(number) {
        Some(name) => out.write_str(name),
        None => write!(out, "{number}"),
    }
}

pub(super) fn verdict(out: &mut String, table: &Table, v: Verdict) -> fmt::Result {
    match v {
        Verdict::Accept => out.write_str("accept"),
        Verdict::Drop => out.write_str("drop"),
        Verdict::Queue => out.write_str("queue"),
        Verdict::Return => out.write_str("return"),
        Verdict::Continue => out.write_str("continue"),
        Verdict::Jump(c) => write!(out, "jump {}", table.chain_name(c)),
        Verdict::Goto(c) => write!(out, "goto {}", table.chain_name(c)),
    }
}

/// `1d2h3m4s5ms`
pub(super) fn duration(out: &mut String, ms: u64) {
    let mut left = ms;
    for (size, unit) in [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s"), (1, "ms")] {
        if left >= size {
            let _ = write!(out, "{}{unit}", left / size);
            left %= size;
        }
    }
    if ms == 0 {
        out.push_str("0s");
    }
}
