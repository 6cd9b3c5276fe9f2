//! Values by their kind: addresses, ports, marks, flags, and the types of keys and data of sets.

use super::words::{duration, network, protocol};
use crate::IpNet;
use crate::{data_type, field_types};
use std::fmt::{self, Write as _};
use std::net::IpAddr;

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Ipv4,
    Ipv6,
    Ether,
    Port,
    /// In network order.
    Number,
    /// In host order.
    HostNumber,
    Protocol,
    NfProto,
    EtherType,
    Mark,
    Interface,
    CtState,
    CtStatus,
    CtDirection,
    FibType,
    Present,
    TcpFlags,
    IcmpType,
    Icmp6Type,
    ArpOperation,
    /// Major and minor number of a traffic class.
    TcHandle,
    /// A point in time, in nanoseconds since 1970, host order.
    Time,
    /// A day of the week.
    Day,
    /// A second of the day, in universal time.
    Hour,
    PacketType,
    MobilityType,
    CtLabel,
    CtEvent,
    /// The index of an interface. 1 is `lo` in every namespace; names of others are not known here.
    InterfaceIndex,
    /// A link's kind (`ARPHRD_*`).
    LinkType,
    DeviceGroup,
    /// Milliseconds.
    Duration,
    Dscp,
    Ecn,
    DccpType,
    IgmpType,
    IcmpCode,
    Icmp6Code,
    Bytes,
}

impl Kind {
    /// True for numbers that the kernel keeps in the processor's own order.
    pub(crate) fn is_host(self) -> bool {
        matches!(
            self,
            Kind::HostNumber
                | Kind::Mark
                | Kind::CtState
                | Kind::CtStatus
                | Kind::CtEvent
                | Kind::FibType
                | Kind::Present
                | Kind::TcHandle
                | Kind::Time
                | Kind::Hour
                | Kind::InterfaceIndex
                | Kind::LinkType
                | Kind::DeviceGroup
                | Kind::Duration
        )
    }

    /// True for values that are sets of bits.
    pub(crate) fn is_flags(self) -> bool {
        matches!(self, Kind::CtState | Kind::CtStatus | Kind::CtEvent | Kind::CtLabel | Kind::TcpFlags)
    }
}

pub(crate) const CT_STATE: &[(u32, &str)] =
    &[(1, "invalid"), (2, "established"), (4, "related"), (8, "new"), (64, "untracked")];
pub(crate) const CT_STATUS: &[(u32, &str)] = &[
    (1, "expected"),
    (2, "seen-reply"),
    (4, "assured"),
    (8, "confirmed"),
    (0x10, "snat"),
    (0x20, "dnat"),
    (0x200, "dying"),
];
pub(crate) const TCP_FLAGS: &[(u32, &str)] =
    &[(1, "fin"), (2, "syn"), (4, "rst"), (8, "psh"), (16, "ack"), (32, "urg"), (64, "ecn"), (128, "cwr")];
pub(crate) const FIB_TYPES: [&str; 9] = [
    "unspec",
    "unicast",
    "local",
    "broadcast",
    "anycast",
    "multicast",
    "blackhole",
    "unreachable",
    "prohibit",
];
pub(crate) const ICMP: &[(u8, &str)] = &[
    (0, "echo-reply"),
    (3, "destination-unreachable"),
    (4, "source-quench"),
    (5, "redirect"),
    (8, "echo-request"),
    (9, "router-advertisement"),
    (10, "router-solicitation"),
    (11, "time-exceeded"),
    (12, "parameter-problem"),
    (13, "timestamp-request"),
    (14, "timestamp-reply"),
];
pub(crate) const ICMP6: &[(u8, &str)] = &[
    (1, "destination-unreachable"),
    (2, "packet-too-big"),
    (3, "time-exceeded"),
    (4, "parameter-problem"),
    (128, "echo-request"),
    (129, "echo-reply"),
    (130, "mld-listener-query"),
    (131, "mld-listener-report"),
    (132, "mld-listener-done"),
    (133, "nd-router-solicit"),
    (134, "nd-router-advert"),
    (135, "nd-neighbor-solicit"),
    (136, "nd-neighbor-advert"),
    (137, "nd-redirect"),
    (143, "mld2-listener-report"),
];
/// Codes of ICMP's and ICMPv6's "destination unreachable" (`icmp_code_tbl`, `icmpv6_code_tbl` of nftables).
pub(crate) const ICMP_CODES: &[(u8, &str)] = &[
    (0, "net-unreachable"),
    (1, "host-unreachable"),
    (2, "prot-unreachable"),
    (3, "port-unreachable"),
    (9, "net-prohibited"),
    (10, "host-prohibited"),
    (13, "admin-prohibited"),
];
pub(crate) const ICMP6_CODES: &[(u8, &str)] = &[
    (0, "no-route"),
    (1, "admin-prohibited"),
    (3, "addr-unreachable"),
    (4, "port-unreachable"),
    (5, "policy-fail"),
    (6, "reject-route"),
];
/// Codes of ICMPx (`enum nft_reject_inet_code`).
pub(crate) const ICMPX_CODES: &[(u8, &str)] =
    &[(0, "no-route"), (1, "port-unreachable"), (2, "host-unreachable"), (3, "admin-prohibited")];

/// Types of Mobility Headers (`mh_type_tbl` of nftables).
const MOBILITY: &[(u8, &str)] = &[
    (0, "binding-refresh-request"),
    (1, "home-test-init"),
    (2, "careof-test-init"),
    (3, "home-test"),
    (4, "careof-test"),
    (5, "binding-update"),
    (6, "binding-acknowledgement"),
    (7, "binding-error"),
    (8, "fast-binding-update"),
    (9, "fast-binding-acknowledgement"),
    (10, "fast-binding-advertisement"),
    (11, "experimental-mobility-header"),
    (12, "home-agent-switch-message"),
];
/// Differentiated services (`dscp_type_tbl` of nftables) and congestion (`ecn_type_tbl`).
const DSCP: &[(u8, &str)] = &[
    (0, "cs0"),
    (8, "cs1"),
    (16, "cs2"),
    (24, "cs3"),
    (32, "cs4"),
    (40, "cs5"),
    (48, "cs6"),
    (56, "cs7"),
    (1, "lephb"),
    (10, "af11"),
    (12, "af12"),
    (14, "af13"),
    (18, "af21"),
    (20, "af22"),
    (22, "af23"),
    (26, "af31"),
    (28, "af32"),
    (30, "af33"),
    (34, "af41"),
    (36, "af42"),
    (38, "af43"),
    (44, "va"),
    (46, "ef"),
];
const ECN: &[(u8, &str)] = &[(0, "not-ect"), (1, "ect1"), (2, "ect0"), (3, "ce")];
const DCCP_TYPES: &[(u8, &str)] = &[
    (0, "request"),
    (1, "response"),
    (2, "data"),
    (3, "ack"),
    (4, "dataack"),
    (5, "closereq"),
    (6, "close"),
    (7, "reset"),
    (8, "sync"),
    (9, "syncack"),
];
const IGMP_TYPES: &[(u8, &str)] = &[
    (0x11, "membership-query"),
    (0x12, "membership-report-v1"),
    (0x16, "membership-report-v2"),
    (0x22, "membership-report-v3"),
    (0x17, "leave-group"),
];
/// `ARPHRD_*` (`arphrd_tbl` of nftables).
const LINK_TYPES: &[(u64, &str)] = &[
    (1, "ether"),
    (512, "ppp"),
    (768, "ipip"),
    (769, "ipip6"),
    (772, "loopback"),
    (776, "sit"),
    (778, "ipgre"),
];
const PACKET_TYPES: [&str; 4] = ["host", "broadcast", "multicast", "other"];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
/// Events of conntrack (`enum ip_conntrack_events`, `ct_events_tbl` of nftables).
const CT_EVENTS: &[(u32, &str)] = &[
    (1 << 0, "new"),
    (1 << 1, "related"),
    (1 << 2, "destroy"),
    (1 << 3, "reply"),
    (1 << 4, "assured"),
    (1 << 5, "protoinfo"),
    (1 << 6, "helper"),
    (1 << 7, "mark"),
    (1 << 8, "seqadj"),
    (1 << 9, "secmark"),
    (1 << 10, "label"),
];

/// `1:2`, as tc writes it (`tchandle_type_print` of nftables).
fn traffic_class(out: &mut String, n: u32) -> fmt::Result {
    match (n >> 16, n & 0xffff) {
        (0, 0) => out.write_str("none"),
        (0xffff, 0xffff) => out.write_str("root"),
        (0, minor) => write!(out, ":{minor:x}"),
        (major, 0) => write!(out, "{major:x}:"),
        (major, minor) => write!(out, "{major:x}:{minor:x}"),
    }
}

pub(crate) fn flag_list(out: &mut String, names: &[(u32, &str)], bits: u32) {
    let mut first = true;
    let mut left = bits;
    for (bit, name) in names.iter().filter(|n| bits & n.0 != 0) {
        let _ = write!(out, "{}{name}", if first { "" } else { "," });
        first = false;
        left &= !bit;
    }
    if left != 0 || first {
        let _ = write!(out, "{}{left:#x}", if first { "" } else { "," });
    }
}

pub(crate) fn host_number(bytes: &[u8]) -> u64 {
    match *bytes {
        [a] => u64::from(a),
        [a, b] => u64::from(u16::from_ne_bytes([a, b])),
        [a, b, c, d] => u64::from(u32::from_ne_bytes([a, b, c, d])),
        _ => bytes.first_chunk::<8>().map_or(0, |b| u64::from_ne_bytes(*b)),
    }
}

pub(crate) fn net_number(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).fold(0, |n, b| n << 8 | u64::from(*b))
}

/// A number by its name, where it has one.
pub(crate) fn named(out: &mut String, names: &[(u8, &str)], n: u8) -> fmt::Result {
    match names.iter().find(|x| x.0 == n) {
        Some((_, name)) => out.write_str(name),
        None => write!(out, "{n}"),
    }
}

pub(crate) fn value(out: &mut String, kind: Kind, bytes: &[u8]) {
    let first = bytes.first().copied().unwrap_or(0);
    let _ = match kind {
        Kind::Ipv4 | Kind::Ipv6 => {
            let width = if kind == Kind::Ipv4 { 4 } else { 16 };
            let mut whole = [0u8; 16];
            let n = bytes.len().min(width);
            whole[..n].copy_from_slice(&bytes[..n]);
            let addr = match kind {
                Kind::Ipv4 => IpAddr::from([whole[0], whole[1], whole[2], whole[3]]),
                _ => IpAddr::from(whole),
            };
            // A shorter value is a network: only its bytes are compared.
            network(out, IpNet { addr, prefix: (n * 8) as u8 })
        }
        Kind::Ether => {
            for (i, b) in bytes.iter().enumerate() {
                let _ = write!(out, "{}{b:02x}", if i > 0 { ":" } else { "" });
            }
            Ok(())
        }
        Kind::Port | Kind::Number => write!(out, "{}", net_number(bytes)),
        Kind::HostNumber => write!(out, "{}", host_number(bytes)),
        Kind::Protocol => protocol(out, u16::from(first)),
        Kind::NfProto => match first {
            2 => out.write_str("ipv4"),
            10 => out.write_str("ipv6"),
            n => write!(out, "{n}"),
        },
        Kind::EtherType => match net_number(bytes) {
            0x0800 => out.write_str("ip"),
            0x0806 => out.write_str("arp"),
            0x86dd => out.write_str("ip6"),
            0x8100 => out.write_str("8021q"),
            0x88a8 => out.write_str("8021ad"),
            n => write!(out, "{n:#06x}"),
        },
        Kind::Mark => write!(out, "{:#010x}", host_number(bytes)),
        Kind::Interface => {
            let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
            write!(out, "\"{}\"", String::from_utf8_lossy(&bytes[..end]))
        }
        Kind::CtState => {
            flag_list(out, CT_STATE, host_number(bytes) as u32);
            Ok(())
        }
        Kind::CtStatus => {
            flag_list(out, CT_STATUS, host_number(bytes) as u32);
            Ok(())
        }
        Kind::CtDirection => out.write_str(if first == 0 { "original" } else { "reply" }),
        Kind::FibType => match FIB_TYPES.get(host_number(bytes) as usize) {
            Some(name) => out.write_str(name),
            None => write!(out, "{}", host_number(bytes)),
        },
        Kind::Present => out.write_str(if first == 0 { "missing" } else { "exists" }),
        Kind::TcpFlags => {
            flag_list(out, TCP_FLAGS, u32::from(first));
            Ok(())
        }
        Kind::IcmpType => named(out, ICMP, first),
        Kind::Icmp6Type => named(out, ICMP6, first),
        Kind::ArpOperation => match net_number(bytes) {
            1 => out.write_str("request"),
            2 => out.write_str("reply"),
            n => write!(out, "{n}"),
        },
        Kind::TcHandle => traffic_class(out, host_number(bytes) as u32),
        Kind::Time => match jiff::Timestamp::from_nanosecond(i128::from(host_number(bytes))) {
            Ok(t) => write!(out, "\"{}\"", t.strftime("%Y-%m-%d %H:%M:%S")),
            Err(_) => write!(out, "{}", host_number(bytes)),
        },
        Kind::Day => match DAYS.get(usize::from(first)) {
            Some(day) => write!(out, "\"{day}\""),
            None => write!(out, "{first}"),
        },
        Kind::Hour => {
            let s = host_number(bytes);
            let _ = write!(out, "\"{:02}:{:02}", s / 3600, s / 60 % 60);
            if !s.is_multiple_of(60) {
                let _ = write!(out, ":{:02}", s % 60);
            }
            out.write_char('"')
        }
        Kind::PacketType => match PACKET_TYPES.get(usize::from(first)) {
            Some(name) => out.write_str(name),
            None => write!(out, "{first}"),
        },
        Kind::MobilityType => named(out, MOBILITY, first),
        Kind::Dscp => match DSCP.iter().find(|d| u64::from(d.0) == net_number(bytes)) {
            Some((_, name)) => out.write_str(name),
            None => write!(out, "{:#04x}", net_number(bytes)),
        },
        Kind::Ecn => named(out, ECN, net_number(bytes) as u8),
        Kind::DccpType => named(out, DCCP_TYPES, net_number(bytes) as u8),
        Kind::IgmpType => named(out, IGMP_TYPES, first),
        Kind::IcmpCode => named(out, ICMP_CODES, first),
        Kind::Icmp6Code => named(out, ICMP6_CODES, first),
        Kind::InterfaceIndex => match host_number(bytes) {
            1 => out.write_str("\"lo\""),
            n => write!(out, "{n}"),
        },
        Kind::LinkType => match LINK_TYPES.iter().find(|l| l.0 == host_number(bytes)) {
            Some((_, name)) => out.write_str(name),
            None => write!(out, "{}", host_number(bytes)),
        },
        Kind::DeviceGroup => match host_number(bytes) {
            0 => out.write_str("\"default\""),
            n => write!(out, "{n}"),
        },
        Kind::Duration => {
            duration(out, host_number(bytes));
            Ok(())
        }
        Kind::CtLabel => {
            let bit = (0..bytes.len() * 8).find(|i| bytes[i / 8] >> (i % 8) & 1 == 1);
            write!(out, "{}", bit.unwrap_or(0))
        }
        Kind::CtEvent => {
            flag_list(out, CT_EVENTS, host_number(bytes) as u32);
            Ok(())
        }
        Kind::Bytes => {
            out.push_str("0x");
            let mut rest = bytes.iter().skip_while(|b| **b == 0);
            let _ = write!(out, "{:x}", rest.next().copied().unwrap_or(0));
            for b in rest {
                let _ = write!(out, "{b:02x}");
            }
            Ok(())
        }
    };
}

/// How the values beside a field are to be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Side {
    pub(crate) kind: Kind,
    /// Bits that are shifted out on the right first: a field that is not made of whole bytes.
    pub(crate) shift: u32,
    /// True where numbers of the host are in network order.
    pub(crate) swapped: bool,
}

impl From<Kind> for Side {
    fn from(kind: Kind) -> Side {
        Side { kind, shift: 0, swapped: false }
    }
}

impl Side {
    /// The bytes of a value as [`value`] reads them.
    pub(crate) fn plain(self, bytes: &[u8]) -> Vec<u8> {
        let mut plain = bytes.to_vec();
        if self.shift > 0 {
            let n = bytes.iter().take(16).fold(0u128, |n, b| n << 8 | u128::from(*b)) >> self.shift;
            let all = n.to_be_bytes();
            plain = all[16 - bytes.len().min(16)..].to_vec();
        }
        if self.swapped && self.kind.is_host() && cfg!(target_endian = "little") {
            plain.reverse();
        }
        plain
    }
}

/// A value as a field's side says.
pub(crate) fn side_value(out: &mut String, side: Side, bytes: &[u8]) {
    value(out, side.kind, &side.plain(bytes));
}

/// The kinds of a (concatenated) type, the first field first.
pub(crate) fn kinds(of: u32) -> Vec<Kind> {
    use data_type::*;
    let one = |t: u32| match t {
        NFPROTO => Kind::NfProto,
        DCCP_TYPE => Kind::DccpType,
        MH_TYPE => Kind::MobilityType,
        TIME => Kind::Duration,
        LINK_TYPE => Kind::LinkType,
        CT_DIRECTION => Kind::CtDirection,
        CT_LABEL => Kind::CtLabel,
        PACKET_TYPE => Kind::PacketType,
        DEVICE_GROUP => Kind::DeviceGroup,
        DSCP => Kind::Dscp,
        ECN => Kind::Ecn,
        FIB_TYPE => Kind::FibType,
        CT_EVENT => Kind::CtEvent,
        IGMP_TYPE => Kind::IgmpType,
        TIME_DATE => Kind::Time,
        TIME_HOUR => Kind::Hour,
        TIME_DAY => Kind::Day,
        IPV4_ADDR => Kind::Ipv4,
        IPV6_ADDR => Kind::Ipv6,
        ETHER_ADDR => Kind::Ether,
        ETHER_TYPE => Kind::EtherType,
        ARP_OP => Kind::ArpOperation,
        INET_PROTO => Kind::Protocol,
        INET_SERVICE => Kind::Port,
        ICMP_TYPE => Kind::IcmpType,
        TCP_FLAG => Kind::TcpFlags,
        MARK => Kind::Mark,
        IFINDEX => Kind::InterfaceIndex,
        UID | GID => Kind::HostNumber,
        CT_STATE => Kind::CtState,
        CT_STATUS => Kind::CtStatus,
        ICMP6_TYPE => Kind::Icmp6Type,
        INTEGER => Kind::Number,
        IFNAME => Kind::Interface,
        _ => Kind::Bytes,
    };
    field_types(of).into_iter().map(one).collect()
}

/// Bytes of a kind where it is in a key.
pub(crate) fn width(kind: Kind) -> usize {
    match kind {
        Kind::Ipv6 | Kind::Interface => 16,
        Kind::Ether => 6,
        Kind::Protocol | Kind::IcmpType | Kind::Icmp6Type | Kind::TcpFlags => 1,
        Kind::Port | Kind::EtherType | Kind::ArpOperation => 2,
        _ => 4,
    }
}

/// The fields of a key or of data: each with its kind.
pub(crate) fn split<'a>(kinds: &[Kind], bytes: &'a [u8]) -> Vec<(Kind, &'a [u8])> {
    if let [kind] = kinds {
        return vec![(*kind, bytes)];
    }
    let mut at = 0;
    let mut fields = Vec::new();
    for kind in kinds {
        let w = width(*kind);
        match bytes.get(at..at + w) {
            Some(b) => fields.push((*kind, b)),
            None => return vec![(Kind::Bytes, bytes)],
        }
        at += w.next_multiple_of(4);
    }
    fields
}

pub(crate) fn concat(out: &mut String, sides: &[Side], bytes: &[u8], end: Option<&[u8]>) {
    let kinds: Vec<Kind> = sides.iter().map(|s| s.kind).collect();
    let last = end.map(|e| split(&kinds, e));
    for (i, (kind, b)) in split(&kinds, bytes).into_iter().enumerate() {
        if i > 0 {
            out.push_str(" . ");
        }
        let side = sides.get(i).copied().filter(|s| s.kind == kind).unwrap_or(kind.into());
        match last.as_ref().and_then(|l| l.get(i)) {
            Some((_, e)) if *e != b => range(out, side, b, e),
            _ => side_value(out, side, b),
        }
    }
}

/// A range, as a prefix or the beginning of a name where it is one.
pub(crate) fn range(out: &mut String, side: Side, from: &[u8], to: &[u8]) {
    let kind = side.kind;
    if matches!(kind, Kind::Ipv4 | Kind::Ipv6) {
        let diff: Vec<u8> = from.iter().zip(to).map(|(a, b)| a ^ b).collect();
        let zeros: u32 =
            diff.iter().position(|b| *b != 0).map_or(0, |i| i as u32 * 8 + diff[i].leading_zeros());
        let host = from.len() as u32 * 8 - zeros;
        let low = |bytes: &[u8], bit: u8| {
            (0..host).all(|i| bytes[bytes.len() - 1 - (i / 8) as usize] >> (i % 8) & 1 == bit)
        };
        if low(from, 0) && low(to, 1) {
            let mut text = String::new();
            value(&mut text, kind, from);
            let _ = write!(out, "{text}/{zeros}");
            return;
        }
    }
    if kind == Kind::Interface {
        let same = from.iter().zip(to).take_while(|(a, b)| a == b).count();
        if from[same..].iter().all(|b| *b == 0) && to[same..].iter().all(|b| *b == 0xff) {
            let _ = write!(out, "\"{}*\"", String::from_utf8_lossy(&from[..same]));
            return;
        }
    }
    for (i, bytes) in [from, to].into_iter().enumerate() {
        if i > 0 {
            out.push('-');
        }
        let plain = side.plain(bytes);
        match kind {
            // In ranges nft prints numbers, and times in seconds (`range_expr_print`).
            Kind::Protocol => {
                let _ = write!(out, "{}", net_number(&plain));
            }
            Kind::Duration => {
                let _ = write!(out, "{}s", host_number(&plain) / 1000);
            }
            _ => value(out, kind, &plain),
        }
    }
}
