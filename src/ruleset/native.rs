//! What native rules of nf_tables look at and do, with their sets.
//!
//! nf_tables runs rules on a register machine: a packet's field is loaded, perhaps masked, and compared or
//! looked up. Here the registers are gone: a condition names the fields that it looks at. Numbers of keys,
//! operators and flags are those of `linux/netfilter/nf_tables.h`.

use super::{ChainId, Counter, IpFamily, StrId, Target, Unknown, Verdict};
use serde::{Deserialize, Serialize};

/// How the rules of a table are written: as text, and as matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Dialect {
    /// As `iptables -S` prints them. All tables of x_tables, and those that iptables-nft keeps in nf_tables.
    Iptables,
    /// As `nft list` prints them.
    Nft,
}

/// Index of a set in its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct SetId(pub u32);

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
    pub(crate) fn learn(&self, network: &mut Option<IpFamily>, transport: &mut Option<u8>) {
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

/// What a native rule does while the packet goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Statement {
    /// `meta … set …`
    SetMeta {
        /// See [`meta`].
        key: u32,
        /// Value.
        value: Load,
    },
    /// `ct … set …`
    SetCt {
        /// See [`ct`].
        key: u32,
        /// 0 original, 1 reply.
        direction: Option<u8>,
        /// Value.
        value: Load,
    },
    /// `add @set { … }`, `update @set { … }`, `delete @set { … }`
    Dynset {
        /// 0 add, 1 update, 2 delete (`enum nft_dynset_ops`).
        op: u32,
        /// Which.
        set: SetId,
        /// Key.
        key: Vec<Load>,
        /// Data, for a map.
        data: Vec<Load>,
        /// Lifetime in milliseconds, where it is not the set's.
        timeout_ms: Option<u64>,
        /// `NFT_DYNSET_F_*`
        flags: u32,
        /// What each element carries: their names (`counter`, `limit`, …) and data.
        carries: Vec<Unknown>,
        /// The same, as far as it is understood.
        #[serde(default)]
        does: Vec<Statement>,
    },
    /// `limit rate`
    Limit {
        /// How many.
        rate: u64,
        /// In how many seconds.
        seconds: u64,
        /// At once.
        burst: u32,
        /// Bytes, else packets.
        bytes: bool,
        /// Holds beyond it.
        over: bool,
    },
    /// `quota`
    Quota {
        /// Bytes.
        bytes: u64,
        /// Holds beyond it.
        over: bool,
    },
    /// `ct count`
    Connlimit {
        /// Connections.
        count: u32,
        /// Holds beyond it.
        over: bool,
    },
    /// `log`
    Log {
        /// Prefix.
        prefix: Option<StrId>,
        /// Group of nfnetlink_log.
        group: Option<u16>,
        /// Level of syslog.
        level: Option<u32>,
        /// `snaplen`, `queue-threshold`, `flags` as they are (`NFTA_LOG_*` 3, 4 and 6).
        rest: [Option<u32>; 3],
    },
    /// A named object: `counter name "…"` and its kin (`NFT_OBJECT_*`).
    Object {
        /// Kind.
        kind: u32,
        /// Name.
        name: StrId,
    },
    /// `notrack`
    Notrack,
    /// `ip daddr set …`: bytes of a header are written.
    SetPayload {
        /// Header, see [`payload_base`].
        base: u8,
        /// Where, in bytes.
        offset: u32,
        /// How many bytes.
        len: u32,
        /// Kind of the checksum that changes with it, where it stands, and flags (`NFTA_PAYLOAD_CSUM_*`).
        checksum: (u32, u32, u32),
        /// Value.
        value: Load,
    },
    /// `tcp option … set …`: a part of an option is written.
    SetExthdr {
        /// As in [`Field::Exthdr`].
        op: u8,
        /// Number.
        kind: u8,
        /// Where in it, in bytes.
        offset: u32,
        /// How many bytes.
        len: u32,
        /// Value.
        value: Load,
    },
    /// `reset tcp option …`: an option is taken out.
    ResetExthdr {
        /// As in [`Field::Exthdr`].
        op: u8,
        /// Number.
        kind: u8,
    },
    /// A named object that a map holds for a key.
    ObjectMap {
        /// Key.
        key: Vec<Load>,
        /// Map.
        set: SetId,
    },
    /// `tproxy to …`: the packet is given to a local socket, or the rule does not match.
    Tproxy {
        /// `NFPROTO_*`
        family: u8,
        /// Address, else the one of the interface by which it came.
        addr: Option<Load>,
        /// Port, else the packet's own.
        port: Option<Load>,
    },
    /// `dup to …`: a copy is sent elsewhere.
    Dup {
        /// To which address.
        addr: Option<Load>,
        /// By which device.
        device: Option<Load>,
    },
    /// `flow add @…`: the flow may go around the rules from now on.
    FlowAdd(StrId),
    /// `last`: keeps the time.
    Last,
    /// Something that kptop does not decode.
    Unknown(Unknown),
    /// A verdict or translation that is not the last thing in the rule.
    Target(Target),
}

/// The end of a native rule, where it is none that iptables has too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(clippy::large_enum_variant)] // it lives in a box of its own
pub enum Terminal {
    /// The verdict that a map holds for a key.
    VerdictMap {
        /// Key.
        key: Vec<Load>,
        /// Map.
        set: SetId,
    },
    /// A translation to what is only known when the packet comes.
    Nat {
        /// `dnat`, else `snat`.
        destination: bool,
        /// Family of the address (`NFPROTO_*`).
        family: u8,
        /// First and last address.
        addr: Option<(Load, Load)>,
        /// First and last port.
        port: Option<(Load, Load)>,
        /// `NF_NAT_RANGE_*`
        flags: u32,
    },
    /// `reject` in a family that iptables has no answer for.
    Reject {
        /// 0 ICMP, 1 TCP reset, 2 ICMPx (`enum nft_reject_types`).
        kind: u32,
        /// Code of the answer.
        code: u8,
    },
    /// `queue`
    Queue {
        /// First.
        from: u16,
        /// How many.
        total: u16,
        /// `NFT_QUEUE_FLAG_*`
        flags: u16,
    },
    /// `queue to` a number that is only known when the packet comes.
    QueueBy {
        /// The number.
        value: Load,
        /// `NFT_QUEUE_FLAG_*`
        flags: u16,
    },
    /// `fwd to`: the packet leaves by another device (family netdev only).
    Forward {
        /// Device.
        device: Load,
        /// Neighbour's address.
        addr: Option<Load>,
        /// `NFPROTO_*` of that address; 0 without.
        family: u8,
    },
    /// `synproxy`: the node answers for the server first.
    Synproxy {
        /// Maximum segment size.
        mss: u16,
        /// Window scale.
        wscale: u8,
        /// `NF_SYNPROXY_OPT_*`
        flags: u32,
    },
}

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
pub(crate) fn field_types(data_type: u32) -> Vec<u32> {
    if !(0x40..1 << 30).contains(&data_type) {
        return vec![data_type];
    }
    (0..5).rev().map(|i| data_type >> (6 * i) & 0x3f).skip_while(|t| *t == 0).collect()
}

/// Elements that begin a range, in order, each with the last key of it: the one before the next element begins
/// or ends. Of elements by key, at the same key the end first (see [`Set::holds_ranges`]).
pub(crate) fn with_last_keys<'a>(sorted: &[&'a Element]) -> impl Iterator<Item = (&'a Element, Vec<u8>)> {
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
    /// How many it holds, where the kernel or a dump told.
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
    /// Key; fields stand on multiples of 4 bytes.
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

/// Facts of a table that only nf_tables has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NfTable {
    /// `NFT_TABLE_F_*`: 1 dormant, 2 owned by a program that runs.
    pub flags: u32,
    /// Comment.
    pub comment: Option<String>,
    /// Its number in the kernel.
    pub handle: u64,
    /// Comments of chains.
    pub chain_comments: Vec<(ChainId, String)>,
    /// Number of each rule in the kernel.
    pub rule_handles: Vec<u64>,
    /// Names of its flowtables.
    pub flowtables: Vec<String>,
}

/// `NFT_TABLE_F_DORMANT`
pub const TABLE_DORMANT: u32 = 1;
