//! Matches, statements and targets: what a rule is made of.

use crate::{
    AddressMatch, Condition, ConntrackMatch, DnatTo, IpNet, IpvsMatch, Load, MaskedAddress, MultiportMatch,
    NatRange, PhysdevMatch, PortRange, RecentMatch, SetId, StrId, Unknown, Verdict,
};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr};

/// A condition of a rule.
///
/// Those that are in the entry's own header (addresses, interfaces, protocol) come first in a rule, in the
/// order of this enum, then the extensions in the order of the rule. `invert` is the `!` before it.
/// Struct layouts: `linux/netfilter/xt_*.h`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Match {
    /// `-s` or `-d` of IPv4: see [`Match::address`].
    Address4 {
        /// Network address.
        addr: Ipv4Addr,
        /// Length of the prefix.
        prefix: u8,
        /// True for `-d`.
        destination: bool,
        /// `!`
        invert: bool,
    },
    /// The same of IPv6, in a box: a match takes 16 bytes, and most are of IPv4.
    Address6(Box<AddressMatch>),
    /// `-s` or `-d` with a mask that is no prefix.
    MaskedAddress(Box<MaskedAddress>),
    /// `-i`; a trailing `+` represents any ending.
    InInterface {
        /// Name.
        name: StrId,
        /// `!`
        invert: bool,
    },
    /// `-o`
    OutInterface {
        /// Name.
        name: StrId,
        /// `!`
        invert: bool,
    },
    /// `-p`
    Protocol {
        /// IP protocol number.
        number: u16,
        /// `!`
        invert: bool,
    },
    /// `-f`: second and later fragments (IPv4).
    Fragment {
        /// `!`
        invert: bool,
    },
    /// `-m comment`
    Comment(StrId),
    /// `-m tcp`
    Tcp {
        /// Source ports.
        source: PortRange,
        /// Destination ports.
        destination: PortRange,
        /// TCP option that must be there; 0 for none.
        option: u8,
        /// TCP flags that are looked at.
        flag_mask: u8,
        /// Those of them that must be set.
        flag_set: u8,
        /// `XT_TCP_INV_*` bits.
        invert: u8,
    },
    /// `-m udp`
    Udp {
        /// Source ports.
        source: PortRange,
        /// Destination ports.
        destination: PortRange,
        /// `XT_UDP_INV_*` bits.
        invert: u8,
    },
    /// `-m sctp` with ports only.
    Sctp {
        /// Source ports.
        source: PortRange,
        /// Destination ports.
        destination: PortRange,
        /// `XT_SCTP_*` bits: what is matched.
        flags: u8,
        /// `XT_SCTP_*` bits: what is inverted.
        invert: u8,
    },
    /// `-m statistic --mode random`
    StatisticRandom {
        /// Probability times 2^31.
        probability: u32,
        /// `!`
        invert: bool,
    },
    /// `-m statistic --mode nth`
    StatisticNth {
        /// Every how many packets, less one.
        every: u32,
        /// Which of them.
        packet: u32,
        /// `!`
        invert: bool,
    },
    /// `-m recent`
    Recent(Box<RecentMatch>),
    /// `-m mark`
    Mark {
        /// Value.
        mark: u32,
        /// Bits that are looked at.
        mask: u32,
        /// `!`
        invert: bool,
    },
    /// `-m conntrack --ctstate` (or its old name, `-m state`) and nothing else of conntrack.
    Conntrack(ConntrackMatch),
    /// `-m addrtype`
    AddrType {
        /// Types of source, bits of `XT_ADDRTYPE_*`; 0 for any.
        source: u16,
        /// Types of destination.
        destination: u16,
        /// `XT_ADDRTYPE_INVERT_*` and `…_LIMIT_IFACE_*`.
        flags: u8,
        /// Revision in the kernel.
        revision: u8,
    },
    /// `-m nfacct`
    Nfacct {
        /// Name of the accounting object.
        name: StrId,
        /// Revision in the kernel.
        revision: u8,
    },
    /// `-m set --match-set` without counters.
    Set {
        /// Name of the set, where it could be found out.
        name: Option<StrId>,
        /// Index of the set in the kernel.
        index: u16,
        /// How many dimensions are looked at.
        dimensions: u8,
        /// [`set_flags`](crate::set_flags)
        flags: u8,
        /// Revision in the kernel.
        revision: u8,
    },
    /// `-m multiport`
    Multiport(Box<MultiportMatch>),
    /// `-m physdev`
    Physdev(Box<PhysdevMatch>),
    /// `-m ipvs`
    Ipvs(Box<IpvsMatch>),
    /// A condition of nf_tables that iptables has no match for.
    Native(Box<Condition>),
    /// Something that a rule of nf_tables does on the way.
    Does(Box<Statement>),
    /// Where a native rule of nf_tables counts.
    Counter,
    /// A match that kptop does not decode: kept and shown.
    Unknown(Box<Unknown>),
}

impl Match {
    /// `-s`
    pub fn source(net: IpNet, invert: bool) -> Match {
        AddressMatch { net, destination: false, invert }.into()
    }

    /// `-d`
    pub fn destination(net: IpNet, invert: bool) -> Match {
        AddressMatch { net, destination: true, invert }.into()
    }

    /// The network that a packet's address must lie in, where it is that.
    pub fn address(&self) -> Option<AddressMatch> {
        match self {
            Match::Address4 { addr, prefix, destination, invert } => Some(AddressMatch {
                net: IpNet { addr: (*addr).into(), prefix: *prefix },
                destination: *destination,
                invert: *invert,
            }),
            Match::Address6(a) => Some(**a),
            _ => None,
        }
    }
}

impl From<AddressMatch> for Match {
    fn from(a: AddressMatch) -> Match {
        match a.net.addr {
            IpAddr::V4(addr) => {
                Match::Address4 { addr, prefix: a.net.prefix, destination: a.destination, invert: a.invert }
            }
            IpAddr::V6(_) => Match::Address6(Box::new(a)),
        }
    }
}

/// What a rule does with a packet that matched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Target {
    /// No `-j`: counts and goes on.
    None,
    /// A standard verdict.
    Verdict(Verdict),
    /// `DNAT --to-destination ADDRESS:PORT` of IPv4, as kube-proxy writes it: see [`Target::as_dnat_to`].
    DnatTo4 {
        /// Address.
        addr: Ipv4Addr,
        /// Port.
        port: u16,
        /// Revision in the kernel.
        revision: u8,
    },
    /// The same of IPv6.
    DnatTo6(Box<DnatTo>),
    /// `DNAT` of any other form.
    Dnat(Box<NatRange>),
    /// `SNAT`
    Snat(Box<NatRange>),
    /// `MASQUERADE`
    Masquerade(Box<NatRange>),
    /// `REDIRECT`
    Redirect(Box<NatRange>),
    /// `MARK --set-xmark`
    Mark {
        /// Value that is put in by XOR.
        mark: u32,
        /// Bits that are cleared before.
        mask: u32,
    },
    /// `REJECT`; the number means another answer in each IP family.
    Reject {
        /// `enum ipt_reject_with` or `enum ip6t_reject_with`.
        with: u8,
    },
    /// An end that only nf_tables has.
    Native(Box<Terminal>),
    /// A target that kptop does not decode: kept and shown.
    Unknown(Box<Unknown>),
}

impl Target {
    /// A translation to one address and port.
    pub fn dnat_to(addr: IpAddr, port: u16, revision: u8) -> Target {
        match addr {
            IpAddr::V4(addr) => Target::DnatTo4 { addr, port, revision },
            IpAddr::V6(_) => Target::DnatTo6(Box::new(DnatTo { addr, port, revision })),
        }
    }

    /// The one address and port to which it translates, where it is that.
    pub fn as_dnat_to(&self) -> Option<DnatTo> {
        match self {
            Target::DnatTo4 { addr, port, revision } => {
                Some(DnatTo { addr: (*addr).into(), port: *port, revision: *revision })
            }
            Target::DnatTo6(to) => Some(**to),
            _ => None,
        }
    }
}

/// What a native rule does while the packet goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Statement {
    /// `meta … set …`
    SetMeta {
        /// See [`meta`](crate::meta).
        key: u32,
        /// Value.
        value: Load,
    },
    /// `ct … set …`
    SetCt {
        /// See [`ct`](crate::ct).
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
        /// Header, see [`payload_base`](crate::payload_base).
        base: u8,
        /// Where, in bytes.
        offset: u32,
        /// How many bytes.
        len: u32,
        /// Kind of the checksum that changes with it, where it is, and flags (`NFTA_PAYLOAD_CSUM_*`).
        checksum: (u32, u32, u32),
        /// Value.
        value: Load,
    },
    /// `tcp option … set …`: a part of an option is written.
    SetExthdr {
        /// As in [`Field::Exthdr`](crate::Field::Exthdr).
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
        /// As in [`Field::Exthdr`](crate::Field::Exthdr).
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
