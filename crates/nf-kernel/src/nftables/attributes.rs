//! Attributes that messages and expressions share.

use crate::netlink::Request;
use nf_ruleset::{Counter, Set, Table, Verdict, set_flag};

/// A number for the sets of a batch: rules name their set by it, as sets without a name are named by the
/// kernel.
pub(super) fn set_number(i: usize) -> [u8; 4] {
    (i as u32 + 1).to_be_bytes()
}

pub(super) fn set_name<'a>(table: &'a Table, set: &Set) -> &'a str {
    if set.flags & set_flag::ANONYMOUS == 0 {
        table.str(set.name)
    } else if set.is_map() {
        "__map%d"
    } else {
        "__set%d"
    }
}

pub(super) fn counter(r: Request, c: Counter) -> Request {
    r.attr(1, &c.bytes.to_be_bytes()).attr(2, &c.packets.to_be_bytes())
}

/// `NFTA_DATA_VERDICT`
pub(super) fn verdict(r: Request, table: &Table, v: Verdict) -> Request {
    let (code, chain): (i32, _) = match v {
        Verdict::Drop => (0, None),
        Verdict::Accept => (1, None),
        Verdict::Queue => (3, None),
        Verdict::Continue => (-1, None),
        Verdict::Jump(c) => (-3, Some(c)),
        Verdict::Goto(c) => (-4, Some(c)),
        Verdict::Return => (-5, None),
    };
    r.nest(2, |r| {
        let r = r.attr(1, &code.to_be_bytes());
        match chain {
            Some(c) => r.attr_str(2, table.chain_name(c)),
            None => r,
        }
    })
}
