//! What a rule looks at, and what it does: matches and targets of iptables, decoded.

use super::native::{Condition, Statement, Terminal};
use super::{ChainId, IpNet, StrId};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr};

/// An inclusive range of ports; `0..=65535` means any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PortRange {
    /// First port.
    pub first: u16,
    /// Last port.
    pub last: u16,
}

impl PortRange {
    /// Every port.
    pub const ANY: PortRange = PortRange { first: 0, last: u16::MAX };

    /// One port.
    pub fn one(port: u16) -> PortRange {
        PortRange { first: port, last: port }
    }

    /// The port, where the range holds just one.
    pub fn single(self) -> Option<u16> {
        (self.first == self.last).then_some(self.first)
    }
}

/// A condition of a rule.
///
/// Those that stand in the entry's own header (addresses, interfaces, protocol) come first in a rule, in the
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
    /// `-i`; a trailing `+` stands for any ending.
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
        /// [`set_flags`]
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

/// `-s` or `-d`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AddressMatch {
    /// Network.
    pub net: IpNet,
    /// True for `-d`.
    pub destination: bool,
    /// `!`
    pub invert: bool,
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

/// `-s` or `-d` with a mask that is no prefix.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MaskedAddress {
    /// True for `-d`.
    pub destination: bool,
    /// Address.
    pub addr: IpAddr,
    /// Mask.
    pub mask: IpAddr,
    /// `!`
    pub invert: bool,
}

/// `-m recent` (`linux/netfilter/xt_recent.h`, revision 0 or 1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecentMatch {
    /// Name of the list.
    pub name: StrId,
    /// `--seconds`, 0 for none.
    pub seconds: u32,
    /// `--hitcount`, 0 for none.
    pub hit_count: u32,
    /// `XT_RECENT_*` bits, see [`recent`].
    pub check_set: u8,
    /// `!`
    pub invert: bool,
    /// 0 for `--rsource`, 1 for `--rdest`.
    pub side: u8,
    /// `--mask` (revision 1).
    pub mask: IpAddr,
    /// Revision in the kernel.
    pub revision: u8,
}

/// Bits of [`RecentMatch::check_set`] (`linux/netfilter/xt_recent.h`).
pub mod recent {
    /// `--rcheck`
    pub const CHECK: u8 = 1 << 0;
    /// `--set`
    pub const SET: u8 = 1 << 1;
    /// `--update`
    pub const UPDATE: u8 = 1 << 2;
    /// `--remove`
    pub const REMOVE: u8 = 1 << 3;
    /// `--rttl`
    pub const TTL: u8 = 1 << 4;
    /// `--reap`
    pub const REAP: u8 = 1 << 5;
}

/// `-m conntrack --ctstate` (`linux/netfilter/xt_conntrack.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConntrackMatch {
    /// Bits of [`ct_state`].
    pub states: u16,
    /// `!`
    pub invert: bool,
    /// Written as `-m state --state`.
    pub state_alias: bool,
    /// Revision in the kernel.
    pub revision: u8,
}

/// Bits of [`ConntrackMatch::states`] (`XT_CONNTRACK_STATE_*`).
pub mod ct_state {
    /// `INVALID`
    pub const INVALID: u16 = 1 << 0;
    /// `ESTABLISHED`
    pub const ESTABLISHED: u16 = 1 << 1;
    /// `RELATED`
    pub const RELATED: u16 = 1 << 2;
    /// `NEW`
    pub const NEW: u16 = 1 << 3;
    /// `SNAT`
    pub const SNAT: u16 = 1 << 6;
    /// `DNAT`
    pub const DNAT: u16 = 1 << 7;
    /// `UNTRACKED`
    pub const UNTRACKED: u16 = 1 << 8;
}

/// Bits of `AddrType` (`linux/netfilter/xt_addrtype.h`).
pub mod addr_type {
    /// `LOCAL`: an address of this node.
    pub const LOCAL: u16 = 1 << 2;
    /// Inverts the source's types.
    pub const INVERT_SOURCE: u8 = 1;
    /// Inverts the destination's types.
    pub const INVERT_DEST: u8 = 2;
    /// `--limit-iface-in`
    pub const LIMIT_IFACE_IN: u8 = 4;
    /// `--limit-iface-out`
    pub const LIMIT_IFACE_OUT: u8 = 8;
}

/// Bits of `Set::flags` (`linux/netfilter/ipset/ip_set.h`, `IPSET_DIM_*_SRC` and `IPSET_INV_MATCH`).
pub mod set_flags {
    /// `!`
    pub const INVERT: u8 = 1 << 0;
    /// The first dimension is taken from the source; two and three follow in the next bits.
    pub const DIM_ONE_SRC: u8 = 1 << 1;
}

/// `-m multiport` (`linux/netfilter/xt_multiport.h`, revision 1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MultiportMatch {
    /// 0 source, 1 destination, 2 either.
    pub side: u8,
    /// Ports; `true` where it begins a range that the next one ends.
    pub ports: Vec<(u16, bool)>,
    /// `!`
    pub invert: bool,
}

/// `-m physdev` (`linux/netfilter/xt_physdev.h`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PhysdevMatch {
    /// `--physdev-in`
    pub input: Option<StrId>,
    /// `--physdev-out`
    pub output: Option<StrId>,
    /// `XT_PHYSDEV_OP_*` bits that are inverted.
    pub invert: u8,
    /// `XT_PHYSDEV_OP_*` bits that are looked at: in 1, out 2, bridged 4, is-in 8, is-out 16.
    pub operations: u8,
}

/// `-m ipvs` (`linux/netfilter/xt_ipvs.h`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IpvsMatch {
    /// `--vaddr`
    pub address: IpAddr,
    /// Its mask.
    pub mask: IpAddr,
    /// `--vport`
    pub port: u16,
    /// `--vproto`
    pub protocol: u8,
    /// `--vmethod`
    pub method: u8,
    /// `--vportctl`
    pub control_port: u16,
    /// `XT_IPVS_*` bits that are inverted.
    pub invert: u8,
    /// `XT_IPVS_*` bits that are looked at: ipvs 1, protocol 2, address 4, port 8, direction 16, method 32, control port 64.
    pub operations: u8,
}

/// An extension that kptop does not decode: what the kernel said, whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unknown {
    /// Its name.
    pub name: StrId,
    /// Its revision.
    pub revision: u8,
    /// Its data as the kernel gave it.
    pub bytes: Box<[u8]>,
}

/// Where a packet goes after a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Verdict {
    /// `ACCEPT`
    Accept,
    /// `DROP`
    Drop,
    /// `QUEUE`
    Queue,
    /// `RETURN`
    Return,
    /// `continue` (nf_tables): nothing.
    Continue,
    /// `-j CHAIN`
    Jump(ChainId),
    /// `-g CHAIN`
    Goto(ChainId),
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

/// `DNAT --to-destination ADDRESS:PORT`
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DnatTo {
    /// Address.
    pub addr: IpAddr,
    /// Port.
    pub port: u16,
    /// Revision in the kernel.
    pub revision: u8,
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

/// Addresses and ports of a NAT target (`linux/netfilter/nf_nat.h`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NatRange {
    /// [`nat_flags`]
    pub flags: u32,
    /// First and last address.
    pub addrs: Option<(IpAddr, IpAddr)>,
    /// First, last and base port, host order.
    pub ports: (u16, u16, u16),
    /// Revision in the kernel.
    pub revision: u8,
}

/// Bits of [`NatRange::flags`] (`NF_NAT_RANGE_*`).
pub mod nat_flags {
    /// Addresses are given.
    pub const MAP_IPS: u32 = 1 << 0;
    /// Ports are given.
    pub const PROTO_SPECIFIED: u32 = 1 << 1;
    /// `--random`
    pub const PROTO_RANDOM: u32 = 1 << 2;
    /// `--persistent`
    pub const PERSISTENT: u32 = 1 << 3;
    /// `--random-fully`
    pub const PROTO_RANDOM_FULLY: u32 = 1 << 4;
    /// `snat prefix to`: networks for networks (`NF_NAT_RANGE_NETMAP`).
    pub const NETMAP: u32 = 1 << 6;
}
