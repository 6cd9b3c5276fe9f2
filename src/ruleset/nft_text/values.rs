//! Values by their kind: addresses, ports, marks, flags, and the types of keys and data of sets.

use super::{network, protocol};
use crate::ruleset::IpNet;
use crate::ruleset::native::{data_type, field_types};
use std::fmt::{self, Write as _};
use std::net::IpAddr;

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ruleset) enum Kind {
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
    Bytes,
}

pub(in crate::ruleset) const CT_STATE: &[(u32, &str)] =
    &[(1, "invalid"), (2, "established"), (4, "related"), (8, "new"), (64, "untracked")];
pub(in crate::ruleset) const CT_STATUS: &[(u32, &str)] = &[
    (1, "expected"),
    (2, "seen-reply"),
    (4, "assured"),
    (8, "confirmed"),
    (0x10, "snat"),
    (0x20, "dnat"),
    (0x200, "dying"),
];
pub(in crate::ruleset) const TCP_FLAGS: &[(u32, &str)] =
    &[(1, "fin"), (2, "syn"), (4, "rst"), (8, "psh"), (16, "ack"), (32, "urg"), (64, "ecn"), (128, "cwr")];
pub(in crate::ruleset) const FIB_TYPES: [&str; 9] = [
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
pub(in crate::ruleset) const ICMP: &[(u8, &str)] = &[
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
pub(in crate::ruleset) const ICMP6: &[(u8, &str)] = &[
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
pub(in crate::ruleset) const ICMP_CODES: &[(u8, &str)] = &[
    (0, "net-unreachable"),
    (1, "host-unreachable"),
    (2, "prot-unreachable"),
    (3, "port-unreachable"),
    (9, "net-prohibited"),
    (10, "host-prohibited"),
    (13, "admin-prohibited"),
];
pub(in crate::ruleset) const ICMP6_CODES: &[(u8, &str)] = &[
    (0, "no-route"),
    (1, "admin-prohibited"),
    (3, "addr-unreachable"),
    (4, "port-unreachable"),
    (5, "policy-fail"),
    (6, "reject-route"),
];
/// Codes of ICMPx (`enum nft_reject_inet_code`).
pub(in crate::ruleset) const ICMPX_CODES: &[(u8, &str)] =
    &[(0, "no-route"), (1, "port-unreachable"), (2, "host-unreachable"), (3, "admin-prohibited")];

pub(in crate::ruleset) fn flag_list(out: &mut String, names: &[(u32, &str)], bits: u32) {
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

pub(in crate::ruleset) fn host_number(bytes: &[u8]) -> u64 {
    match *bytes {
        [a] => u64::from(a),
        [a, b] => u64::from(u16::from_ne_bytes([a, b])),
        [a, b, c, d] => u64::from(u32::from_ne_bytes([a, b, c, d])),
        _ => bytes.first_chunk::<8>().map_or(0, |b| u64::from_ne_bytes(*b)),
    }
}

pub(in crate::ruleset) fn net_number(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).fold(0, |n, b| n << 8 | u64::from(*b))
}

/// A number by its name, where it has one.
pub(in crate::ruleset) fn named(out: &mut String, names: &[(u8, &str)], n: u8) -> fmt::Result {
    match names.iter().find(|x| x.0 == n) {
        Some((_, name)) => out.write_str(name),
        None => write!(out, "{n}"),
    }
}

pub(in crate::ruleset) fn value(out: &mut String, kind: Kind, bytes: &[u8]) {
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
        Kind::Bytes => {
            out.push_str("0x");
            for b in bytes {
                let _ = write!(out, "{b:02x}");
            }
            Ok(())
        }
    };
}

/// The kinds of a (concatenated) type, the first field first.
pub(in crate::ruleset) fn kinds(of: u32) -> Vec<Kind> {
    use data_type::*;
    let one = |t: u32| match t {
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
        IFINDEX | UID | GID => Kind::HostNumber,
        CT_STATE => Kind::CtState,
        CT_STATUS => Kind::CtStatus,
        ICMP6_TYPE => Kind::Icmp6Type,
        INTEGER => Kind::Number,
        IFNAME => Kind::Interface,
        _ => Kind::Bytes,
    };
    field_types(of).into_iter().map(one).collect()
}

/// Bytes of a kind where it stands in a key.
pub(in crate::ruleset) fn width(kind: Kind) -> usize {
    match kind {
        Kind::Ipv6 | Kind::Interface => 16,
        Kind::Ether => 6,
        Kind::Protocol | Kind::IcmpType | Kind::Icmp6Type | Kind::TcpFlags => 1,
        Kind::Port | Kind::EtherType | Kind::ArpOperation => 2,
        _ => 4,
    }
}

/// The fields of a key or of data: each with its kind.
pub(in crate::ruleset) fn split<'a>(kinds: &[Kind], bytes: &'a [u8]) -> Vec<(Kind, &'a [u8])> {
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

pub(in crate::ruleset) fn concat(out: &mut String, kinds: &[Kind], bytes: &[u8], end: Option<&[u8]>) {
    let last = end.map(|e| split(kinds, e));
    for (i, (kind, b)) in split(kinds, bytes).into_iter().enumerate() {
        if i > 0 {
            out.push_str(" . ");
        }
        match last.as_ref().and_then(|l| l.get(i)) {
            Some((_, e)) if *e != b => range(out, kind, b, e),
            _ => value(out, kind, b),
        }
    }
}

/// A range, as a prefix where it is one.
pub(in crate::ruleset) fn range(out: &mut String, kind: Kind, from: &[u8], to: &[u8]) {
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
    value(out, kind, from);
    out.push('-');
    value(out, kind, to);
}
