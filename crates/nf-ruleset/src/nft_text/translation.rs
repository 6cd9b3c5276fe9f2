//! The ends of rules that iptables has too, and amounts.

use super::words::family_word;
use crate::Dialect;
use crate::{NatRange, nat_flags};
use std::fmt::{self, Write as _};

pub(super) fn flags_text(out: &mut String, flags: u32) {
    let names = [
        (nat_flags::PROTO_RANDOM, "random"),
        (nat_flags::PROTO_RANDOM_FULLY, "fully-random"),
        (nat_flags::PERSISTENT, "persistent"),
    ];
    for (i, (_, name)) in names.iter().filter(|n| flags & n.0 != 0).enumerate() {
        let _ = write!(out, "{}{name}", if i > 0 { "," } else { " " });
    }
}

pub(super) fn nat(out: &mut String, verb: &str, inet: bool, r: &NatRange) -> fmt::Result {
    write!(out, " {verb}")?;
    if let Some((first, last)) = r.addrs {
        let has_ports = r.flags & nat_flags::PROTO_SPECIFIED != 0;
        let (open, close) = if has_ports && first.is_ipv6() { ("[", "]") } else { ("", "") };
        write!(out, " {}to {open}{first}{close}", if inet { family_word(first) } else { "" })?;
        if last != first {
            write!(out, "-{open}{last}{close}")?;
        }
    } else if r.flags & nat_flags::PROTO_SPECIFIED != 0 {
        out.push_str(" to ");
    }
    if r.flags & nat_flags::PROTO_SPECIFIED != 0 {
        write!(out, ":{}", r.ports.0)?;
        if r.ports.1 != r.ports.0 {
            write!(out, "-{}", r.ports.1)?;
        }
    }
    flags_text(out, r.flags);
    Ok(())
}

pub(super) fn limit(
    out: &mut String,
    dialect: Dialect,
    rate: u64,
    seconds: u64,
    burst: u32,
    bytes: bool,
    over: bool,
) -> fmt::Result {
    let unit = match seconds {
        1 => "second",
        60 => "minute",
        3600 => "hour",
        86_400 => "day",
        _ => "week",
    };
    if dialect == Dialect::Iptables {
        // `print_rate` of libxt_limit.c: the first three letters.
        write!(out, "-m limit --limit {rate}/{}", &unit[..3])?;
        return if burst == 5 { Ok(()) } else { write!(out, " --limit-burst {burst}") };
    }
    write!(out, "limit rate {}", if over { "over " } else { "" })?;
    if bytes {
        amount(out, rate)?;
        write!(out, "/{unit}")?;
        if burst > 0 {
            out.push_str(" burst ");
            amount(out, u64::from(burst))?;
        }
        return Ok(());
    }
    write!(out, "{rate}/{unit}")?;
    if burst != 0 && burst != 5 { write!(out, " burst {burst} packets") } else { Ok(()) }
}

pub(super) fn amount(out: &mut String, bytes: u64) -> fmt::Result {
    for (size, unit) in [(1 << 30, "gbytes"), (1 << 20, "mbytes"), (1 << 10, "kbytes")] {
        if bytes >= size && bytes.is_multiple_of(size) {
            return write!(out, "{} {unit}", bytes / size);
        }
    }
    write!(out, "{bytes} bytes")
}
