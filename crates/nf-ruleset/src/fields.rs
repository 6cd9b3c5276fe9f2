//! What native rules of nf_tables load, and compare it with.

use crate::{IpFamily, SetId, Unknown};
use serde::{Deserialize, Serialize};

/// A header from which payload is taken (`enum nft_payload_bases`).
pub mod payload_base {
    /// Link layer.
    pub const LINK: u8 = 0;
    /// Network layer.
    pub const NETWORK: u8 = 1;
    /// Transport layer.
    pub const TRANSPORT: u8 = 2;
}

/// Keys of `meta` (`enum nft_meta_keys`).
pub mod meta {
    /// `meta length`
    pub const LEN: u32 = 0;
    /// `meta protocol`: the ethertype.
    pub const PROTOCOL: u32 = 1;
    /// `meta mark`
    pub const MARK: u32 = 3;
    /// `iif`: index.
    pub const IIF: u32 = 4;
    /// `oif`: index.
    pub const OIF: u32 = 5;
    /// `iifname`
    pub const IIFNAME: u32 = 6;
    /// `oifname`
    pub const OIFNAME: u32 = 7;
    /// `meta iiftype`: the kind of link by which it came.
    pub const IIFTYPE: u32 = 8;
    /// `meta skuid`
    pub const SKUID: u32 = 10;
    /// `meta skgid`
    pub const SKGID: u32 = 11;
    /// `meta nfproto`
    pub const NFPROTO: u32 = 15;
    /// `meta l4proto`
    pub const L4PROTO: u32 = 16;
}

/// Keys of `ct` (`enum nft_ct_keys`).
pub mod ct {
    /// `ct state`
    pub const STATE: u32 = 0;
    /// `ct direction`
    pub const DIRECTION: u32 = 1;
    /// `ct status`
    pub const STATUS: u32 = 2;
    /// `ct mark`
    pub const MARK: u32 = 3;
}

/// A part of a packet, or of what the kernel knows of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Field {
    /// Bytes of a header, see [`payload_base`]. Offset and length in bytes.
    Payload {
        /// Header.
        base: u8,
        /// Where.
        offset: u32,
        /// How many.
        len: u32,
    },
    /// See [`meta`].
    Meta(u32),
    /// See [`ct`].
    Ct {
        /// Key.
        key: u32,
        /// 0 original, 1 reply.
        direction: Option<u8>,
    },
    /// The routing table's answer (`enum nft_fib_result`, `NFTA_FIB_F_*`).
    Fib {
        /// What is asked: 1 oif, 2 oifname, 3 type.
        result: u32,
        /// About what.
        flags: u32,
    },
    /// A number that the kernel draws or counts.
    Numgen {
        /// Random, else one after the other.
        random: bool,
        /// How many different ones.
        modulus: u32,
        /// The first.
        offset: u32,
    },
    /// An IP option, an IPv6 extension header, a TCP option, a chunk of SCTP, an option of DCCP (`NFTA_EXTHDR_*`).
    Exthdr {
        /// `enum nft_exthdr_op`: 0 IPv6, 1 TCP option, 2 IPv4 option, 3 SCTP chunk, 4 DCCP option.
        op: u8,
        /// Its number: next header, kind of option, type of chunk.
        kind: u8,
        /// Where in it, in bytes.
        offset: u32,
        /// How many bytes.
        len: u32,
        /// True where only its presence is asked: 1 or 0 (`NFT_EXTHDR_F_PRESENT`).
        present: bool,
    },
    /// A hash of the packet (`NFTA_HASH_*`).
    Hash {
        /// What is hashed; empty for the hash of the flow, which is the same in both directions (`symhash`).
        key: Vec<Load>,
        /// How many different numbers.
        modulus: u32,
        /// Seed, where a rule gives one; else the kernel chose it and does not say.
        seed: Option<u32>,
        /// The first number.
        offset: u32,
    },
    /// A fact of the packet's route (`enum nft_rt_keys`).
    Rt(u32),
    /// A fact of the socket that the packet is for (`enum nft_socket_keys`); `level` of the cgroup.
    Socket {
        /// Key.
        key: u32,
        /// Level in the hierarchy of control groups.
        level: u32,
    },
    /// The operating system that a TCP SYN looks like (`NFTA_OSF_*`).
    Osf {
        /// How the TTL is compared: 0 true, 1 loose, 2 skip.
        ttl: u8,
        /// `NFT_OSF_F_VERSION`
        flags: u32,
    },
    /// A fact of the packet's IPsec state (`NFTA_XFRM_*`).
    Xfrm {
        /// `enum nft_xfrm_keys`
        key: u32,
        /// 0 in, 1 out.
        direction: u8,
        /// Which of several transformations.
        number: u32,
    },
    /// A constant.
    Value(Box<[u8]>),
    /// What a map holds for a key.
    Mapped(Box<Mapped>),
    /// Something that kptop does not decode.
    Unknown(Box<Unknown>),
}

/// A value out of a map.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mapped {
    /// Key.
    pub key: Vec<Load>,
    /// Map.
    pub set: SetId,
    /// Where in its data the value begins, in bytes.
    pub offset: u32,
}

/// What is done to a loaded field before it is used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Op {
    /// `(field & mask) ^ xor`
    Bitwise {
        /// Mask.
        mask: Box<[u8]>,
        /// What is put in by XOR.
        xor: Box<[u8]>,
    },
    /// `field << bits`
    ShiftLeft(u32),
    /// `field >> bits`
    ShiftRight(u32),
    /// Between host and network order.
    Byteorder,
}

/// A field as it is used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Field.
    pub field: Field,
    /// Its length in bytes.
    pub len: u32,
    /// In order.
    pub ops: Vec<Op>,
}

impl Load {
    /// A field as it is.
    pub fn new(field: Field, len: u32) -> Load {
        Load { field, len, ops: Vec::new() }
    }

    /// A constant.
    pub fn value(bytes: &[u8]) -> Load {
        Load::new(Field::Value(bytes.into()), bytes.len() as u32)
    }

    /// The constant that it is.
    pub fn constant(&self) -> Option<&[u8]> {
        match &self.field {
            Field::Value(v) if self.ops.is_empty() => Some(v),
            _ => None,
        }
    }
}

/// Operators of a comparison (`enum nft_cmp_ops`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum Comparison {
    /// `==`
    Equal = 0,
    /// `!=`
    NotEqual = 1,
    /// `<`
    Less = 2,
    /// `<=`
    LessOrEqual = 3,
    /// `>`
    Greater = 4,
    /// `>=`
    GreaterOrEqual = 5,
}

/// A condition of a native rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Condition {
    /// What is looked at; several fields make one key.
    pub key: Vec<Load>,
    /// What it must be.
    pub test: Test,
}

impl Condition {
    /// Remembers what it says of a packet's layers: later offsets mean nothing without it.
    pub fn learn(&self, network: &mut Option<IpFamily>, transport: &mut Option<u8>) {
        let ([load], Test::Compare { op: Comparison::Equal, value }) = (&self.key[..], &self.test) else {
            return;
        };
        match (&load.field, &value[..]) {
            (Field::Meta(meta::NFPROTO), [2, ..]) | (Field::Meta(meta::PROTOCOL), [0x08, 0x00, ..]) => {
                *network = Some(IpFamily::V4);
            }
            (Field::Meta(meta::NFPROTO), [10, ..]) | (Field::Meta(meta::PROTOCOL), [0x86, 0xdd, ..]) => {
                *network = Some(IpFamily::V6);
            }
            (Field::Payload { base: payload_base::NETWORK, offset, len: 1 }, [protocol]) => {
                // Where the header of the family holds its protocol.
                if matches!((*network, offset), (Some(IpFamily::V4), 9) | (Some(IpFamily::V6), 6)) {
                    *transport = Some(*protocol);
                }
            }
            _ => {}
        }
    }
}

/// See [`Condition`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Test {
    /// Compared with a value.
    Compare {
        /// How.
        op: Comparison,
        /// With what.
        value: Box<[u8]>,
    },
    /// Between two values, ends included.
    Range {
        /// `!=`
        invert: bool,
        /// First.
        from: Box<[u8]>,
        /// Last.
        to: Box<[u8]>,
    },
    /// In a set.
    Set {
        /// Which.
        set: SetId,
        /// `!=`
        invert: bool,
    },
}
