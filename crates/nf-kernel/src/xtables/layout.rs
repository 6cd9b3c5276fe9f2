//! Where things are in the blobs.

use crate::linux;
use nf_ruleset::{Hook, IpFamily};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Offsets in `struct ipt_entry` and `struct ip6t_entry`, in bytes. Integers are in host order, ports and
/// addresses in network order.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) family: IpFamily,
    /// Size of the entry without matches and target.
    pub(crate) entry: usize,
    /// Bytes of one address.
    pub(crate) address: usize,
    /// `iniface`; `outiface` and both masks follow.
    pub(crate) interfaces: usize,
    /// `proto` (u16), then flags.
    pub(crate) protocol: usize,
    pub(crate) flags: usize,
    pub(crate) invert: usize,
    /// `target_offset` (u16), then `next_offset` (u16), then `comefrom` (u32).
    pub(crate) target_offset: usize,
    /// Two u64: packets, bytes.
    pub(crate) counters: usize,
    /// Flag bit that turns a jump into a goto: `IPT_F_GOTO`, `IP6T_F_GOTO`.
    pub(crate) goto: u8,
    /// Level and options of the socket calls.
    pub(crate) level: i32,
}

static V4: Layout = Layout {
    family: IpFamily::V4,
    entry: 112,
    address: 4,
    interfaces: 16,
    protocol: 80,
    flags: 82,
    invert: 83,
    target_offset: 88,
    counters: 96,
    goto: 0x02,
    level: linux::SOL_IP,
};

static V6: Layout = Layout {
    family: IpFamily::V6,
    entry: 168,
    address: 16,
    interfaces: 64,
    protocol: 128,
    flags: 131, // a traffic class is between
    invert: 132,
    target_offset: 140,
    counters: 152,
    goto: 0x04,
    level: linux::SOL_IPV6,
};

impl Layout {
    pub(crate) fn of(family: IpFamily) -> &'static Layout {
        match family {
            IpFamily::V4 => &V4,
            IpFamily::V6 => &V6,
        }
    }
}

/// `IPT_F_FRAG`
pub(crate) const FLAG_FRAGMENT: u8 = 0x01;
/// `IP6T_F_PROTO`
pub(crate) const FLAG_PROTO_V6: u8 = 0x01;
/// `IPT_INV_*`
pub(crate) const INV_VIA_IN: u8 = 0x01;
pub(crate) const INV_VIA_OUT: u8 = 0x02;
pub(crate) const INV_SRCIP: u8 = 0x08;
pub(crate) const INV_DSTIP: u8 = 0x10;
pub(crate) const INV_FRAG: u8 = 0x20;
pub(crate) const INV_PROTO: u8 = 0x40;

/// `struct xt_entry_match` and `xt_entry_target`: size (u16), name (29), revision (u8).
pub(crate) const EXT_HEADER: usize = 32;
pub(crate) const EXT_NAME: usize = 29;
/// `XT_EXTENSION_MAXNAMELEN`-wide name of the error target that begins a chain and ends the table.
pub(crate) const ERROR_TARGET: &str = "ERROR";
/// Chain names have at most `XT_FUNCTION_MAXNAMELEN` - 1 bytes.
pub(crate) const ERROR_NAME: usize = 30;

/// Verdicts of the standard target: `-NF_DROP - 1` and so on.
pub(crate) const VERDICT_DROP: i32 = -1;
pub(crate) const VERDICT_ACCEPT: i32 = -2;
pub(crate) const VERDICT_QUEUE: i32 = -4;
/// `XT_RETURN`
pub(crate) const VERDICT_RETURN: i32 = -5;

/// `struct ipt_getinfo`: what the kernel says of a table before its entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableInfo {
    /// Table.
    pub name: String,
    /// Bit for each hook on which the table hangs.
    pub valid_hooks: u32,
    /// Offset of each hook's first entry.
    pub hook_entry: [u32; 5],
    /// Offset of each hook's policy.
    pub underflow: [u32; 5],
    /// Number of entries.
    pub num_entries: u32,
    /// Bytes of all entries.
    pub size: u32,
}

impl TableInfo {
    /// The hooks of the table.
    pub fn hooks(&self) -> impl Iterator<Item = Hook> + '_ {
        Hook::ALL.into_iter().filter(|h| self.valid_hooks & (1 << *h as u32) != 0)
    }
}

#[inline]
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).map_or(0, |b| u16::from_ne_bytes([b[0], b[1]]))
}

#[inline]
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |b| u32::from_ne_bytes([b[0], b[1], b[2], b[3]]))
}

#[inline]
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|b| b.first_chunk::<8>()).map_or(0, |b| u64::from_ne_bytes(*b))
}

/// A C string in a fixed field; `None` where it is no UTF-8.
#[inline]
pub(crate) fn c_str(bytes: &[u8]) -> Option<&str> {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    std::str::from_utf8(&bytes[..end]).ok()
}

/// `XT_ALIGN`
pub(crate) fn align(n: usize) -> usize {
    n.next_multiple_of(8)
}

/// An address of 4 or 16 bytes.
pub(super) fn ip(bytes: &[u8]) -> IpAddr {
    match (bytes.len(), bytes.first_chunk::<16>(), bytes.first_chunk::<4>()) {
        (16, Some(b), _) => Ipv6Addr::from(*b).into(),
        (_, _, Some(b)) => Ipv4Addr::from(*b).into(),
        _ => Ipv4Addr::UNSPECIFIED.into(),
    }
}

/// What the kernel says of a table before its entries (`struct arpt_getinfo`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ArpInfo {
    pub(super) valid_hooks: u32,
    pub(super) hook_entry: [u32; 3],
    pub(super) underflow: [u32; 3],
    pub(super) num_entries: u32,
    pub(super) size: u32,
}

/// A table's size (`struct ebt_replace` as `EBT_SO_GET_INFO` fills it).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct BridgeInfo {
    pub(super) entries: u32,
    pub(super) size: u32,
}
