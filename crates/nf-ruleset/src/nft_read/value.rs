//! Types and values as nft names them -> bytes as the kernel holds them.

use crate::data_type;
use crate::nft_text::values::{self as names, Kind};
use crate::{octets, protocol_number};
use serde_json::Value;
use std::net::IpAddr;

/// A text of an object.
pub(super) fn arg<'a>(v: &'a Value, name: &str) -> Option<&'a str> {
    v.get(name)?.as_str()
}

/// The names that [`named_type`] knows.
const TYPE_NAMES: [&str; 17] = [
    "ipv4_addr",
    "ipv6_addr",
    "ether_addr",
    "ether_type",
    "inet_proto",
    "inet_service",
    "icmp_type",
    "icmpv6_type",
    "tcp_flag",
    "mark",
    "iface_index",
    "ifname",
    "ct_state",
    "ct_status",
    "uid",
    "gid",
    "arp_op",
];

/// The name of a type; `integer` for one that has none here.
pub(crate) fn type_name(id: u32) -> &'static str {
    TYPE_NAMES.into_iter().find(|n| named_type(n).0 == id).unwrap_or("integer")
}

/// Type of a field, as nft names it (`src/datatype.c` of nftables): number and kind.
pub(super) fn named_type(name: &str) -> (u32, Kind) {
    use data_type::*;
    match name {
        "ipv4_addr" => (IPV4_ADDR, Kind::Ipv4),
        "ipv6_addr" => (IPV6_ADDR, Kind::Ipv6),
        "ether_addr" => (ETHER_ADDR, Kind::Ether),
        "ether_type" => (ETHER_TYPE, Kind::EtherType),
        "inet_proto" => (INET_PROTO, Kind::Protocol),
        "inet_service" => (INET_SERVICE, Kind::Port),
        "icmp_type" => (ICMP_TYPE, Kind::IcmpType),
        "icmpv6_type" => (ICMP6_TYPE, Kind::Icmp6Type),
        "tcp_flag" => (TCP_FLAG, Kind::TcpFlags),
        "mark" => (MARK, Kind::Mark),
        "iface_index" => (IFINDEX, Kind::InterfaceIndex),
        "ifname" => (IFNAME, Kind::Interface),
        "ct_state" => (CT_STATE, Kind::CtState),
        "ct_status" => (CT_STATUS, Kind::CtStatus),
        "uid" => (UID, Kind::HostNumber),
        "gid" => (GID, Kind::HostNumber),
        "arp_op" => (ARP_OP, Kind::ArpOperation),
        _ => (INTEGER, Kind::HostNumber),
    }
}

/// Type of a kind of field.
pub(super) fn type_of(kind: Kind) -> u32 {
    use data_type::*;
    match kind {
        Kind::Ipv4 => IPV4_ADDR,
        Kind::Ipv6 => IPV6_ADDR,
        Kind::Ether => ETHER_ADDR,
        Kind::EtherType => ETHER_TYPE,
        Kind::Protocol => INET_PROTO,
        Kind::Port => INET_SERVICE,
        Kind::IcmpType => ICMP_TYPE,
        Kind::Icmp6Type => ICMP6_TYPE,
        Kind::TcpFlags => TCP_FLAG,
        Kind::Mark => MARK,
        Kind::Interface => IFNAME,
        Kind::CtState => CT_STATE,
        Kind::CtStatus => CT_STATUS,
        Kind::ArpOperation => ARP_OP,
        Kind::NfProto => NFPROTO,
        Kind::InterfaceIndex => IFINDEX,
        Kind::FibType => FIB_TYPE,
        Kind::PacketType => PACKET_TYPE,
        Kind::CtDirection => CT_DIRECTION,
        _ => INTEGER,
    }
}

/// True for kinds whose values are sets of bits.
pub(super) fn is_flags(kind: Kind) -> bool {
    kind.is_flags() && kind != Kind::CtLabel
}

/// A number: JSON's own, `80`, `0x4000`.
pub(super) fn number(v: &Value) -> Option<u64> {
    match v {
        Value::Number(n) => n.as_u64(),
        Value::String(s) => match s.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16).ok(),
            None => s.parse().ok(),
        },
        Value::Bool(b) => Some(u64::from(*b)),
        _ => None,
    }
}

fn wide(n: u64, len: usize, host: bool) -> Option<Vec<u8>> {
    if len < 8 && n >> (8 * len) != 0 {
        return None;
    }
    let mut bytes = n.to_be_bytes()[8usize.checked_sub(len)?..].to_vec();
    if host && cfg!(target_endian = "little") {
        bytes.reverse();
    }
    Some(bytes)
}

fn flag(list: &[(u32, &str)], name: &str) -> Option<u64> {
    list.iter().find(|f| f.1 == name).map(|f| u64::from(f.0))
}

fn code(list: &[(u8, &str)], name: &str) -> Option<u64> {
    list.iter().find(|f| f.1 == name).map(|f| u64::from(f.0))
}

/// The bytes of one value, `len` of them; `None` where it is not understood.
pub(super) fn bytes(v: &Value, kind: Kind, len: usize) -> Option<Vec<u8>> {
    // Several flags are one value.
    let parts = match v {
        Value::Array(parts) => Some(parts),
        Value::Object(o) => o.get("|").and_then(Value::as_array),
        _ => None,
    };
    if let Some(parts) = parts {
        let mut all = vec![0; len];
        for p in parts {
            for (a, b) in all.iter_mut().zip(bytes(p, kind, len)?) {
                *a |= b;
            }
        }
        return is_flags(kind).then_some(all);
    }
    let text = v.as_str();
    // Labels are bits by their number, times depend on the zone of the machine that printed them.
    if matches!(kind, Kind::CtLabel | Kind::Time | Kind::Hour | Kind::Day) {
        return None;
    }
    let host = kind.is_host();
    let named = match (kind, text) {
        (Kind::Ipv4 | Kind::Ipv6, Some(t)) => {
            let addr: IpAddr = t.parse().ok()?;
            let bytes = octets(addr);
            return (bytes.len() == len).then_some(bytes);
        }
        (Kind::Interface, Some(t)) => {
            let mut bytes = vec![0; 16];
            match t.strip_suffix('*').filter(|t| !t.ends_with('\\')) {
                Some(prefix) => return (prefix.len() < 16).then(|| prefix.as_bytes().to_vec()),
                None => bytes.get_mut(..t.len()).filter(|b| b.len() < 16)?.copy_from_slice(t.as_bytes()),
            }
            return Some(bytes);
        }
        (Kind::Ether, Some(t)) => {
            let parts: Vec<u8> = t.split(':').filter_map(|p| u8::from_str_radix(p, 16).ok()).collect();
            return (parts.len() == len).then_some(parts);
        }
        // Of other interfaces the number is not reported.
        (Kind::HostNumber | Kind::InterfaceIndex, Some("lo")) => Some(1),
        (Kind::DeviceGroup, Some("default")) => Some(0),
        (Kind::Protocol, Some(t)) => protocol_number(t).map(u64::from),
        (Kind::Port, Some(t)) => t.parse().ok(),
        (Kind::NfProto, Some("ipv4")) => Some(2),
        (Kind::NfProto, Some("ipv6")) => Some(10),
        (Kind::EtherType, Some("ip")) => Some(0x0800),
        (Kind::EtherType, Some("arp")) => Some(0x0806),
        (Kind::EtherType, Some("ip6")) => Some(0x86dd),
        (Kind::EtherType, Some("8021q" | "vlan")) => Some(0x8100),
        (Kind::EtherType, Some("8021ad")) => Some(0x88a8),
        (Kind::CtState, Some(t)) => flag(names::CT_STATE, t),
        (Kind::CtStatus, Some(t)) => flag(names::CT_STATUS, t),
        (Kind::TcpFlags, Some(t)) => flag(names::TCP_FLAGS, t),
        (Kind::CtDirection, Some("original")) => Some(0),
        (Kind::CtDirection, Some("reply")) => Some(1),
        (Kind::FibType, Some(t)) => names::FIB_TYPES.iter().position(|n| *n == t).map(|i| i as u64),
        (Kind::Present, Some("missing")) => Some(0),
        (Kind::Present, Some("exists")) => Some(1),
        (Kind::IcmpType, Some(t)) => code(names::ICMP, t),
        (Kind::Icmp6Type, Some(t)) => code(names::ICMP6, t),
        (Kind::ArpOperation, Some("request")) => Some(1),
        (Kind::ArpOperation, Some("reply")) => Some(2),
        _ => None,
    };
    wide(named.or_else(|| number(v))?, len, host)
}
