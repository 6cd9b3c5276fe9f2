//! Tables -> batches: the way back, for the lab and for the tests' round trips.
//!
//! Rules of iptables' dialect become the expressions that iptables-nft 1.8.9 writes, so that it can read them.

use super::SUBSYSTEM;
use super::attributes::{counter, set_name, set_number, verdict};
use super::expressions::Encoder;
use super::parse::family_number;
use crate::netlink::{CREATE, NETLINK_NETFILTER, Request, Socket};
use crate::{Error, Result};
use nf_ruleset::{
    BaseChain, ChainId, ChainKind, Data, Dialect, Element, Family, Match, Policy, Set, Table, TableCounters,
    set_flag,
};

/// `NFNL_MSG_BATCH_BEGIN`, `NFNL_MSG_BATCH_END` (`linux/netfilter/nfnetlink.h`)
/// Messages that make (`enum nf_tables_msg_types`).
pub(super) mod message {
    pub(crate) const NEWTABLE: u8 = 0;
    pub(crate) const NEWCHAIN: u8 = 3;
    pub(crate) const NEWRULE: u8 = 6;
    pub(crate) const NEWSET: u8 = 9;
    pub(crate) const NEWSETELEM: u8 = 12;
}

const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
/// `NLM_F_APPEND`
const APPEND: u16 = 0x800;
/// `NLM_F_CREATE` alone
const CREATE_ONLY: u16 = 0x400;
/// Bytes of elements in one message; an attribute's length has 16 bits.
const ELEMENTS_AT_ONCE: usize = 16 * 1024;

/// Bytes of a piece of a table; `net.core.wmem_max` is 212,992 unless set.
const PIECE: usize = 64 * 1024;

/// Adds a table with everything in it. For tests and demos in namespaces of their own (feature `write`).
///
/// All of it is one batch: it is there as a whole or not at all. Where an ordinary user may not send so much at
/// once (`net.core.wmem_max`), a table without sets goes in pieces. `counters` may be empty.
pub fn create(table: &Table, counters: &TableCounters) -> Result<()> {
    let what = format!("writing the table {} {}", table.family, table.name);
    let messages = messages(table, counters).map_err(|why| Error::protocol(&what, why))?;
    let mut socket = Socket::open(NETLINK_NETFILTER)?;
    match socket.batch(&what, messages.clone()) {
        Err(e) if e.errno() == Some(libc::EMSGSIZE) => {}
        other => return other,
    }
    // Rules name the sets of their own batch only.
    if !table.sets.is_empty() {
        let why = "it is more than an ordinary user may send at once (net.core.wmem_max)";
        return Err(Error::missing(what, why, Some("run as root, or write less at once")));
    }
    let inner = &messages[1..messages.len() - 1];
    let mut piece = vec![begin()];
    let mut size = 0;
    for (i, m) in inner.iter().enumerate() {
        size += m.len();
        piece.push(m.clone());
        if size > PIECE || i + 1 == inner.len() {
            piece.push(end());
            socket.batch(&what, std::mem::replace(&mut piece, vec![begin()]))?;
            size = 0;
        }
    }
    Ok(())
}

/// Removes a table. For tests and demos in namespaces of their own (feature `write`).
pub fn delete(family: Family, name: &str) -> Result<()> {
    let what = format!("removing the table {family} {name}");
    let request = Request::nfnetlink(SUBSYSTEM, 2, 0, family_number(family)).attr_str(1, name);
    Socket::open(NETLINK_NETFILTER)?.batch(&what, vec![begin(), request, end()])
}

/// A message of a batch's edge carries the subsystem where others carry the generation.
fn edge(kind: u16) -> Request {
    Request::new(kind, 0).raw(&[0, 0, 0, SUBSYSTEM])
}

fn begin() -> Request {
    edge(BATCH_BEGIN)
}

fn end() -> Request {
    edge(BATCH_END)
}

pub(super) fn messages(table: &Table, counters: &TableCounters) -> std::result::Result<Vec<Request>, String> {
    let family = family_number(table.family);
    let new = |message: u8, flags: u16| Request::nfnetlink(SUBSYSTEM, message, flags, family);
    let mut out = vec![begin()];
    let flags = table.nf.as_ref().map_or(0, |n| n.flags & 1);
    let mut request = new(message::NEWTABLE, CREATE).attr_str(1, &table.name).attr(2, &flags.to_be_bytes());
    if let Some(comment) = table.nf.as_ref().and_then(|n| n.comment.as_ref()) {
        request = request.attr(6, &user_comment(0, comment));
    }
    out.push(request);
    for (i, chain) in table.chains.iter().enumerate() {
        let mut r =
            new(message::NEWCHAIN, CREATE_ONLY).attr_str(1, &table.name).attr_str(3, table.str(chain.name));
        let comments = table.nf.as_ref().map_or(&[][..], |n| &n.chain_comments);
        if let Some((_, comment)) = comments.iter().find(|c| c.0 == ChainId(i as u32)) {
            r = r.attr(12, &user_comment(0, comment));
        }
        if let Some(base) = chain.base {
            r = base_chain(r, table, base)?;
            let counted = counters.policies.iter().find(|p| p.0 == ChainId(i as u32));
            if table.dialect == Dialect::Iptables {
                let c = counted.map(|p| p.1).unwrap_or_default();
                r = r.nest(8, |r| counter(r, c));
            }
        }
        out.push(r);
    }
    for (i, set) in table.sets.iter().enumerate() {
        out.push(set_message(new(message::NEWSET, CREATE_ONLY), table, i, set));
    }
    for (i, set) in table.sets.iter().enumerate() {
        elements(&mut out, table, i, set);
    }
    let mut encoder = Encoder::new(table);
    for chain in &table.chains {
        for i in chain.rules.clone() {
            let rule = &table.rules[i as usize];
            let c = counters.rules.get(i as usize).copied().unwrap_or_default();
            let list = encoder.rule(rule, c)?;
            let mut r = new(message::NEWRULE, CREATE_ONLY | APPEND)
                .attr_str(1, &table.name)
                .attr_str(2, table.str(chain.name))
                .nest(4, |r| r.append(&list));
            // Extensions of x_tables ask which protocol the rule is for.
            let protocol = table.matches_of(rule).iter().find_map(|m| match m {
                Match::Protocol { number, invert } => Some((u32::from(*number), *invert)),
                _ => None,
            });
            if let (Some((number, invert)), Dialect::Iptables) = (protocol, table.dialect) {
                let flags: u32 = if invert { 2 } else { 0 }; // NFT_RULE_COMPAT_F_INV
                r = r.nest(5, |r| r.attr(1, &number.to_be_bytes()).attr(2, &flags.to_be_bytes()));
            }
            if let (Some(text), Dialect::Nft) = (table.comment_of(rule), table.dialect) {
                r = r.attr(7, &user_comment(0, text));
            }
            out.push(r);
        }
    }
    out.push(end());
    Ok(out)
}

fn base_chain(r: Request, table: &Table, base: BaseChain) -> std::result::Result<Request, String> {
    let number = base
        .hook
        .number(table.family)
        .ok_or_else(|| format!("the family {} has no hook {}", table.family, base.hook.name()))?;
    if table.family == Family::Netdev {
        return Err("chains of devices are read, not written".into());
    }
    let policy: u32 = match base.policy {
        Policy::Accept => 1,
        Policy::Drop => 0,
    };
    let kind = match base.kind {
        ChainKind::Filter => "filter",
        ChainKind::Nat => "nat",
        ChainKind::Route => "route",
    };
    Ok(r.nest(4, |r| r.attr(1, &number.to_be_bytes()).attr(2, &base.priority.to_be_bytes()))
        .attr(5, &policy.to_be_bytes())
        .attr_str(7, kind))
}

fn user_comment(kind: u8, text: &str) -> Vec<u8> {
    let text = &text.as_bytes()[..text.len().min(127)];
    let mut bytes = vec![kind, text.len() as u8 + 1];
    bytes.extend_from_slice(text);
    bytes.push(0);
    bytes
}

fn set_message(r: Request, table: &Table, i: usize, set: &Set) -> Request {
    let mut r = r
        .attr_str(1, &table.name)
        .attr_str(2, set_name(table, set))
        .attr(3, &set.flags.to_be_bytes())
        .attr(4, &set.key_type.to_be_bytes())
        .attr(5, &set.key_len.to_be_bytes());
    if set.is_map() {
        r = r.attr(6, &set.data_type.to_be_bytes()).attr(7, &set.data_len.to_be_bytes());
    }
    if set.size.is_some() || !set.fields.is_empty() {
        r = r.nest(9, |r| {
            let r = match set.size {
                Some(size) if set.flags & set_flag::ANONYMOUS == 0 => r.attr(1, &size.to_be_bytes()),
                _ => r,
            };
            if set.fields.is_empty() { r } else { r.nest(2, |r| r.append_bytes(&set.fields)) }
        });
    }
    if !set.carries.is_empty() {
        r = r.nest(17, |r| r.append_bytes(&set.carries));
    }
    r = r.attr(10, &set_number(i));
    if let Some(ms) = set.timeout_ms {
        r = r.attr(11, &ms.to_be_bytes());
    }
    let mut user_data = set.user_data.to_vec();
    if let (Some(comment), true) = (set.comment, user_data.is_empty()) {
        user_data = user_comment(7, table.str(comment));
    }
    if user_data.is_empty() { r } else { r.attr(13, &user_data) }
}

fn elements(out: &mut Vec<Request>, table: &Table, i: usize, set: &Set) {
    let Some(all) = &set.elements else { return };
    // What rules put in while packets come is theirs.
    if set.is_dynamic() {
        return;
    }
    let mut list = Request::part();
    let flush = |list: &mut Request, out: &mut Vec<Request>| {
        let full = std::mem::replace(list, Request::part());
        if full.is_empty() {
            return;
        }
        let request =
            Request::nfnetlink(SUBSYSTEM, message::NEWSETELEM, CREATE_ONLY, family_number(table.family))
                .attr_str(1, &table.name)
                .attr_str(2, set_name(table, set))
                .attr(4, &set_number(i))
                .nest(3, |r| r.append(&full));
        out.push(request);
    };
    for e in all {
        list = list.nest(1, |r| element(r, table, e));
        if list.len() > ELEMENTS_AT_ONCE {
            flush(&mut list, out);
        }
    }
    flush(&mut list, out);
}

fn element(mut r: Request, table: &Table, e: &Element) -> Request {
    let flags = u32::from(e.end) | u32::from(e.catch_all) << 1;
    if flags != 0 {
        r = r.attr(3, &flags.to_be_bytes());
    }
    if !e.catch_all {
        r = r.nest(1, |r| r.attr(1, &e.key));
    }
    if let Some(end) = &e.key_end {
        r = r.nest(10, |r| r.attr(1, end));
    }
    match &e.data {
        Data::None => {}
        Data::Value(v) => r = r.nest(2, |r| r.attr(1, v)),
        Data::Verdict(v) => r = r.nest(2, |r| verdict(r, table, *v)),
        Data::Object(name) => r = r.attr_str(9, table.str(*name)),
    }
    if let Some(ms) = e.timeout_ms {
        r = r.attr(4, &ms.to_be_bytes());
    }
    match e.comment {
        Some(comment) => r.attr(6, &user_comment(0, table.str(comment))),
        None => r,
    }
}
