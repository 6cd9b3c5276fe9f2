//! Sets and maps of nf_tables.

use crate::{Counter, StrId, Verdict};
use serde::{Deserialize, Serialize};

/// Flags of a set (`enum nft_set_flags`).
pub mod set_flag {
    /// Made for one rule, without a name of its own.
    pub const ANONYMOUS: u32 = 1;
    /// Its elements do not change.
    pub const CONSTANT: u32 = 2;
    /// Elements may be ranges.
    pub const INTERVAL: u32 = 4;
    /// It maps keys to data.
    pub const MAP: u32 = 8;
    /// Elements may end by themselves.
    pub const TIMEOUT: u32 = 16;
    /// Rules may change it while packets come.
    pub const EVAL: u32 = 32;
    /// It maps keys to objects.
    pub const OBJECT: u32 = 64;
    /// Its key is made of several fields.
    pub const CONCAT: u32 = 128;
}

/// Types of keys and data, as nft numbers them (`enum datatypes` in `include/datatype.h` of nftables).
pub mod data_type {
    #![allow(missing_docs)] // nft's names
    pub const NFPROTO: u32 = 2;
    pub const INTEGER: u32 = 4;
    pub const IPV4_ADDR: u32 = 7;
    pub const IPV6_ADDR: u32 = 8;
    pub const ETHER_ADDR: u32 = 9;
    pub const ETHER_TYPE: u32 = 10;
    pub const ARP_OP: u32 = 11;
    pub const INET_PROTO: u32 = 12;
    pub const INET_SERVICE: u32 = 13;
    pub const ICMP_TYPE: u32 = 14;
    pub const TCP_FLAG: u32 = 15;
    pub const DCCP_TYPE: u32 = 16;
    pub const MH_TYPE: u32 = 17;
    pub const TIME: u32 = 18;
    pub const MARK: u32 = 19;
    pub const IFINDEX: u32 = 20;
    pub const LINK_TYPE: u32 = 21;
    pub const UID: u32 = 24;
    pub const GID: u32 = 25;
    pub const CT_STATE: u32 = 26;
    pub const CT_DIRECTION: u32 = 27;
    pub const CT_STATUS: u32 = 28;
    pub const ICMP6_TYPE: u32 = 29;
    pub const CT_LABEL: u32 = 30;
    pub const PACKET_TYPE: u32 = 31;
    pub const DEVICE_GROUP: u32 = 35;
    pub const DSCP: u32 = 36;
    pub const ECN: u32 = 37;
    pub const FIB_TYPE: u32 = 38;
    pub const CT_EVENT: u32 = 40;
    pub const IFNAME: u32 = 41;
    pub const IGMP_TYPE: u32 = 42;
    pub const TIME_DATE: u32 = 43;
    pub const TIME_HOUR: u32 = 44;
    pub const TIME_DAY: u32 = 45;
}

/// The types of the fields of a (concatenated) type: six bits each, the first in the upper ones.
pub fn field_types(data_type: u32) -> Vec<u32> {
    if !(0x40..1 << 30).contains(&data_type) {
        return vec![data_type];
    }
    (0..5).rev().map(|i| data_type >> (6 * i) & 0x3f).skip_while(|t| *t == 0).collect()
}

/// Elements that begin a range, in order, each with the last key of it: the one before the next element begins
/// or ends. Of elements by key, at the same key the end first (see [`Set::holds_ranges`]).
pub fn with_last_keys<'a>(sorted: &[&'a Element]) -> impl Iterator<Item = (&'a Element, Vec<u8>)> {
    sorted.iter().enumerate().filter(|(_, e)| !e.end).map(|(i, e)| {
        let next = sorted[i + 1..].iter().find(|n| n.end || n.key != e.key);
        (*e, next.map_or_else(|| vec![0xff; e.key.len()], |n| before(&n.key)))
    })
}

/// The number before this one, in network order.
fn before(bytes: &[u8]) -> Vec<u8> {
    let mut b = bytes.to_vec();
    for x in b.iter_mut().rev() {
        let (less, borrow) = x.overflowing_sub(1);
        *x = less;
        if !borrow {
            break;
        }
    }
    b
}

/// Data type of a set's data that are verdicts (`NFT_DATA_VERDICT`).
pub const VERDICT_DATA: u32 = 0xffff_ff00;
/// A set or map.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Set {
    /// Its name.
    pub name: StrId,
    /// Its number in the kernel; none is given twice.
    pub handle: u64,
    /// [`set_flag`]
    pub flags: u32,
    /// Type of its key, as nft numbers it (`include/datatype.h` of nftables); six bits for each field.
    pub key_type: u32,
    /// Bytes of a key.
    pub key_len: u32,
    /// Type of its data, [`VERDICT_DATA`] for verdicts; 0 without.
    pub data_type: u32,
    /// Bytes of the data.
    pub data_len: u32,
    /// Lifetime of an element in milliseconds.
    pub timeout_ms: Option<u64>,
    /// How many elements it may hold.
    pub size: Option<u32>,
    /// How many it holds, where the kernel or a dump reported.
    pub count: Option<u64>,
    /// Comment.
    pub comment: Option<StrId>,
    /// What the kernel keeps of the program that made it (`NFTA_SET_USERDATA`).
    pub user_data: Box<[u8]>,
    /// Lengths of the fields of a key of ranges (`NFTA_SET_DESC_CONCAT`), as the kernel gave them.
    pub fields: Box<[u8]>,
    /// What each element carries, a counter perhaps (`NFTA_SET_EXPR`), as the kernel gave it.
    pub carries: Box<[u8]>,
    /// Its elements; `None` where they were not read.
    pub elements: Option<Vec<Element>>,
}

impl Set {
    /// A set that nothing is known of but its name and flags.
    pub fn new(name: StrId, flags: u32) -> Set {
        Set {
            name,
            handle: 0,
            flags,
            key_type: 0,
            key_len: 0,
            data_type: 0,
            data_len: 0,
            timeout_ms: None,
            size: None,
            count: None,
            comment: None,
            user_data: Box::default(),
            fields: Box::default(),
            carries: Box::default(),
            elements: None,
        }
    }

    /// True for a map.
    pub fn is_map(&self) -> bool {
        self.flags & (set_flag::MAP | set_flag::OBJECT) != 0
    }

    /// True where its elements are the ends of ranges of one field.
    pub fn holds_ranges(&self) -> bool {
        self.flags & set_flag::INTERVAL != 0 && self.flags & set_flag::CONCAT == 0
    }

    /// True where rules fill it while packets come.
    pub fn is_dynamic(&self) -> bool {
        self.flags & set_flag::EVAL != 0
    }
}

/// What a map holds for a key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Data {
    /// Nothing: a set.
    None,
    /// Bytes.
    Value(Box<[u8]>),
    /// A verdict.
    Verdict(Verdict),
    /// The name of an object.
    Object(StrId),
}

/// An element of a set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Element {
    /// Key; fields are on multiples of 4 bytes.
    pub key: Box<[u8]>,
    /// Last key of a range, in sets of several fields.
    pub key_end: Option<Box<[u8]>>,
    /// True where a range of a set of one field ends (before this key).
    pub end: bool,
    /// True for what is in the set where nothing else is.
    pub catch_all: bool,
    /// Data.
    pub data: Data,
    /// Comment.
    pub comment: Option<StrId>,
    /// Lifetime in milliseconds.
    pub timeout_ms: Option<u64>,
    /// What is left of it.
    pub expires_ms: Option<u64>,
    /// What it counted, where it counts.
    pub counter: Option<Counter>,
}

impl Element {
    /// A key with its data.
    pub fn new(key: &[u8], data: Data) -> Element {
        Element {
            key: key.into(),
            key_end: None,
            end: false,
            catch_all: false,
            data,
            comment: None,
            timeout_ms: None,
            expires_ms: None,
            counter: None,
        }
    }
}
