//! What the extensions of iptables ask and do.

use crate::{IpNet, StrId};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

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
