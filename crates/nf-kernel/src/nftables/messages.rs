//! Numbers of messages, and an index by name.

use nf_ruleset::StrId;

/// What a table names.
pub(super) type Index<T> = hashbrown::HashMap<StrId, T, foldhash::fast::FixedState>;

/// `NFNL_SUBSYS_NFTABLES` (`linux/netfilter/nfnetlink.h`)
pub(super) const SUBSYSTEM: u8 = 10;

/// Messages (`enum nf_tables_msg_types`).
pub(super) mod message {
    pub(in crate::nftables) const GETTABLE: u8 = 1;
    pub(in crate::nftables) const GETCHAIN: u8 = 4;
    pub(in crate::nftables) const GETRULE: u8 = 7;
    pub(in crate::nftables) const GETSET: u8 = 10;
    pub(in crate::nftables) const GETSETELEM: u8 = 13;
    pub(in crate::nftables) const GETGEN: u8 = 16;
    pub(in crate::nftables) const GETFLOWTABLE: u8 = 23;
}
