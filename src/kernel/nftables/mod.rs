//! nf_tables by nfnetlink: what `nft` and `iptables-nft` read and (in the lab) write
//! (`linux/netfilter/nf_tables.h`, `net/netfilter/nf_tables_api.c`).
//!
//! A picture is consistent when every message carries the same generation (its low 16 bits stand in each
//! `nfgenmsg`), no dump was marked interrupted, and the generation is the same before and after.

mod attributes;
mod data;
mod decode;
mod encode;
mod events;
mod expressions;
mod growing;
mod parse;
mod read;

pub use encode::{create, delete};
pub use events::Events;
pub use growing::Reading;
pub use read::{Client, Ruleset};

use crate::ruleset::StrId;

/// What a table names.
type Index<T> = hashbrown::HashMap<StrId, T, foldhash::fast::FixedState>;

/// `NFNL_SUBSYS_NFTABLES` (`linux/netfilter/nfnetlink.h`)
const SUBSYSTEM: u8 = 10;

/// Messages (`enum nf_tables_msg_types`).
mod message {
    pub(super) const NEWTABLE: u8 = 0;
    pub(super) const GETTABLE: u8 = 1;
    pub(super) const NEWCHAIN: u8 = 3;
    pub(super) const GETCHAIN: u8 = 4;
    pub(super) const NEWRULE: u8 = 6;
    pub(super) const GETRULE: u8 = 7;
    pub(super) const NEWSET: u8 = 9;
    pub(super) const GETSET: u8 = 10;
    pub(super) const NEWSETELEM: u8 = 12;
    pub(super) const GETSETELEM: u8 = 13;
    pub(super) const GETGEN: u8 = 16;
    pub(super) const GETFLOWTABLE: u8 = 23;
}

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzed;
#[cfg(test)]
mod tests;
