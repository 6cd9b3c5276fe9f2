//! What fuzzing does with the attributes of nf_tables' messages.

use super::encode::message;
use super::growing::Fed;
use super::{encode, parse};
use nf_ruleset::{Dialect, Family, Table};

/// A rule, twice, in a table of the family and dialect that `how` picks, with the chains and sets of `like`.
pub fn rule(like: &Table, how: u8, bytes: &[u8]) -> Table {
    const FAMILIES: [Family; 6] =
        [Family::Ip, Family::Ip6, Family::Inet, Family::Bridge, Family::Arp, Family::Netdev];
    let dialect = if how & 1 == 0 { Dialect::Nft } else { Dialect::Iptables };
    let mut fed = Fed::new(like, FAMILIES[usize::from(how >> 1) % FAMILIES.len()], dialect);
    fed.rule(bytes);
    fed.rule(bytes);
    fed.finish()
}

/// Elements of a set of `like`, by its index, which may be beyond the last.
pub fn elements(like: &Table, set: usize, bytes: &[u8]) -> Table {
    let mut fed = Fed::new(like, Family::Ip, Dialect::Nft);
    fed.elements(set, bytes);
    fed.finish()
}

/// What a table, a chain or a set says of itself.
pub fn head(bytes: &[u8]) {
    let _ = parse::table(bytes);
    let _ = parse::chain(bytes);
    let _ = parse::set(bytes, &mut Default::default());
    let _ = parse::set_names(bytes);
    for kind in 0..8 {
        let _ = parse::comment(bytes, kind);
    }
}

/// The messages that would make a table; nothing is sent.
pub fn encoded(table: &Table) -> usize {
    encode::messages(table, &Default::default()).map_or(0, |m| m.len())
}

/// Kinds of messages that make a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `NFT_MSG_NEWTABLE`, `NFT_MSG_NEWCHAIN`, `NFT_MSG_NEWSET`.
    Head,
    /// `NFT_MSG_NEWRULE`
    Rule,
    /// `NFT_MSG_NEWSETELEM`
    Elements,
}

/// Attributes of the messages of one kind that would make a table.
pub fn attributes(table: &Table, kind: Kind) -> Vec<Vec<u8>> {
    let kinds: &[u8] = match kind {
        Kind::Head => &[message::NEWTABLE, message::NEWCHAIN, message::NEWSET],
        Kind::Rule => &[message::NEWRULE],
        Kind::Elements => &[message::NEWSETELEM],
    };
    let number = |k: &u8| u16::from(super::SUBSYSTEM) << 8 | u16::from(*k);
    let messages = encode::messages(table, &Default::default()).unwrap_or_default();
    let of_kind = messages.iter().filter(|r| kinds.iter().any(|k| number(k) == r.kind()));
    of_kind.map(|m| m.payload()[4..].to_vec()).collect()
}
