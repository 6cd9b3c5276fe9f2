//! Conditions that iptables has a match for become that match: one vocabulary for both, and little memory.

use crate::field_types;
use crate::mask_prefix;
use crate::{
    AddressMatch, Dialect, Field, IpFamily, IpNet, Load, MaskedAddress, Match, NatRange, Op, PortRange,
    Strings, Target, ct, data_type, meta, nat_flags, payload_base,
};
use std::net::IpAddr;

/// Where a match that was found belongs.
pub enum Lowered {
    /// Among those that iptables prints first.
    Head(Match),
    /// Behind the others.
    Rest(Match),
    /// It became part of a match that was there.
    Merged,
}

/// Order in which iptables prints what is in a rule's header.
pub fn rank(m: &Match) -> u8 {
    match m {
        Match::Address4 { destination: false, .. } => 0,
        Match::Address6(a) if !a.destination => 0,
        Match::MaskedAddress(a) if !a.destination => 0,
        Match::Address4 { .. } | Match::Address6(_) | Match::MaskedAddress(_) => 1,
        Match::InInterface { .. } => 2,
        Match::OutInterface { .. } => 3,
        Match::Protocol { .. } => 4,
        _ => 5,
    }
}

fn place(dialect: Dialect, m: Match) -> Lowered {
    match dialect {
        Dialect::Iptables => Lowered::Head(m),
        Dialect::Nft => Lowered::Rest(m),
    }
}

/// `==` and `!=`.
pub fn compare(
    load: &Load,
    invert: bool,
    value: &[u8],
    (dialect, strings): (Dialect, &mut Strings),
    l3: Option<IpFamily>,
    l4: Option<u8>,
    rest: &mut [Match],
) -> Option<Lowered> {
    match (&load.field, load.ops.as_slice()) {
        (Field::Payload { base: payload_base::NETWORK, offset, len }, ops) => {
            let m = network(*offset, *len, ops, invert, value, dialect, l3?)?;
            Some(place(dialect, m))
        }
        (Field::Payload { base: payload_base::TRANSPORT, offset, len: 2 }, []) => {
            let port = u16::from_be_bytes(*value.first_chunk::<2>()?);
            ports(*offset, PortRange::one(port), invert, dialect, l4?, rest)
        }
        (
            Field::Payload { base: payload_base::TRANSPORT, offset: 13, len: 1 },
            [Op::Bitwise { mask, xor }],
        ) if dialect == Dialect::Iptables && l4? == 6 && xor.first() == Some(&0) => {
            let (mask, set) = (*mask.first()?, *value.first()?);
            merge(rest, 6, |m| match m {
                Match::Tcp { flag_mask, flag_set, invert: inv, .. } if *flag_mask == 0 => {
                    (*flag_mask, *flag_set) = (mask, set);
                    *inv |= if invert { 4 } else { 0 };
                    true
                }
                _ => false,
            })
        }
        (Field::Meta(meta::L4PROTO), []) => {
            let number = u16::from(*value.first()?);
            Some(place(dialect, Match::Protocol { number, invert }))
        }
        (Field::Meta(key @ (meta::IIFNAME | meta::OIFNAME)), []) => {
            let end = value.iter().position(|b| *b == 0);
            let text = std::str::from_utf8(&value[..end.unwrap_or(value.len())]).ok()?;
            // A `*` that represents itself, and a wildcard of iptables inside nft's text, are not guessed at.
            if text.is_empty() || text.contains(['*', '+', '\\', '"']) {
                return None;
            }
            let name = if end.is_some() || value.len() == 16 {
                strings.intern(text)
            } else {
                strings.intern(&format!("{text}+"))
            };
            Some(place(
                dialect,
                match *key {
                    meta::IIFNAME => Match::InInterface { name, invert },
                    _ => Match::OutInterface { name, invert },
                },
            ))
        }
        (Field::Meta(meta::MARK), ops) => {
            let mark = u32::from_ne_bytes(*value.first_chunk::<4>()?);
            let mask = match ops {
                [] => u32::MAX,
                [Op::Bitwise { mask, xor }] if xor.iter().all(|b| *b == 0) => {
                    u32::from_ne_bytes(*mask.first_chunk::<4>()?)
                }
                _ => return None,
            };
            Some(Lowered::Rest(Match::Mark { mark, mask, invert }))
        }
        _ => None,
    }
}

/// Addresses, protocol and fragments of the network header.
fn network(
    offset: u32,
    len: u32,
    ops: &[Op],
    invert: bool,
    value: &[u8],
    dialect: Dialect,
    l3: IpFamily,
) -> Option<Match> {
    let (source, destination, width, protocol) = match l3 {
        IpFamily::V4 => (12, 16, 4u32, 9),
        IpFamily::V6 => (8, 24, 16, 6),
    };
    if offset == source || offset == destination {
        if len > width || value.len() < len as usize {
            return None;
        }
        let addr = address(&value[..len as usize], l3)?;
        let prefix = match ops {
            [] => (len * 8) as u8,
            [Op::Bitwise { mask, xor }] if xor.iter().all(|b| *b == 0) && len == width => {
                let mask = address(mask, l3)?;
                match mask_prefix(mask) {
                    Some(prefix) => prefix,
                    None => {
                        let destination = offset == destination;
                        let masked = MaskedAddress { destination, addr, mask, invert };
                        return Some(Match::MaskedAddress(Box::new(masked)));
                    }
                }
            }
            _ => return None,
        };
        let net = IpNet { addr, prefix };
        return Some(AddressMatch { net, destination: offset == destination, invert }.into());
    }
    if dialect == Dialect::Nft {
        return None;
    }
    match (offset, len, ops) {
        (o, 1, []) if o == protocol => Some(Match::Protocol { number: u16::from(*value.first()?), invert }),
        (6, 2, [Op::Bitwise { mask, .. }])
            if l3 == IpFamily::V4 && mask[..] == [0x1f, 0xff] && value.iter().all(|b| *b == 0) =>
        {
            Some(Match::Fragment { invert: !invert })
        }
        _ => None,
    }
}

/// An address whose last bytes may be missing.
fn address(bytes: &[u8], l3: IpFamily) -> Option<IpAddr> {
    let mut whole = [0u8; 16];
    whole.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(match l3 {
        IpFamily::V4 => IpAddr::from([whole[0], whole[1], whole[2], whole[3]]),
        IpFamily::V6 => IpAddr::from(whole),
    })
}

/// A range of ports.
pub fn range(
    load: &Load,
    invert: bool,
    from: &[u8],
    to: &[u8],
    dialect: Dialect,
    l4: Option<u8>,
    rest: &mut [Match],
) -> Option<Lowered> {
    let Field::Payload { base: payload_base::TRANSPORT, offset, len: 2 } = load.field else { return None };
    if !load.ops.is_empty() {
        return None;
    }
    let first = u16::from_be_bytes(*from.first_chunk::<2>()?);
    let last = u16::from_be_bytes(*to.first_chunk::<2>()?);
    ports(offset, PortRange { first, last }, invert, dialect, l4?, rest)
}

fn bare(protocol: u8) -> Option<Match> {
    let (source, destination) = (PortRange::ANY, PortRange::ANY);
    Some(match protocol {
        6 => Match::Tcp { source, destination, option: 0, flag_mask: 0, flag_set: 0, invert: 0 },
        17 => Match::Udp { source, destination, invert: 0 },
        132 => Match::Sctp { source, destination, flags: 0, invert: 0 },
        _ => return None,
    })
}

/// Puts into the match of the protocol that is there already (`nft_find_or_create_match` of iptables-nft), or
/// into a new one.
fn merge(rest: &mut [Match], protocol: u8, put: impl Fn(&mut Match) -> bool) -> Option<Lowered> {
    if rest.iter_mut().any(&put) {
        return Some(Lowered::Merged);
    }
    let mut m = bare(protocol)?;
    put(&mut m).then_some(Lowered::Rest(m))
}

fn ports(
    offset: u32,
    range: PortRange,
    invert: bool,
    dialect: Dialect,
    protocol: u8,
    rest: &mut [Match],
) -> Option<Lowered> {
    if offset != 0 && offset != 2 {
        return None;
    }
    let is_source = offset == 0;
    let put = |m: &mut Match| {
        let (source, destination, inverted) = match m {
            Match::Tcp { source, destination, invert, .. } if protocol == 6 => (source, destination, invert),
            Match::Udp { source, destination, invert } if protocol == 17 => (source, destination, invert),
            Match::Sctp { source, destination, invert, flags } if protocol == 132 => {
                *flags |= if is_source { 1 } else { 2 };
                (source, destination, invert)
            }
            _ => return false,
        };
        let (slot, bit) = if is_source { (source, 1) } else { (destination, 2) };
        if *slot != PortRange::ANY || *inverted & bit != 0 {
            return false;
        }
        *slot = range;
        *inverted |= if invert { bit } else { 0 };
        true
    };
    match dialect {
        Dialect::Iptables => merge(rest, protocol, put),
        // As many as the rule has, each where it is.
        Dialect::Nft => merge(&mut [], protocol, put),
    }
}

/// Bytes of a data type of nft (`src/datatype.c` of nftables), for those that are in maps.
fn type_len(of: u32) -> Option<u32> {
    use data_type::*;
    Some(match of {
        IPV4_ADDR | MARK | IFINDEX | UID | GID => 4,
        IPV6_ADDR | IFNAME => 16,
        ETHER_ADDR => 6,
        INET_PROTO => 1,
        INET_SERVICE | ETHER_TYPE => 2,
        _ => return None,
    })
}

/// Lengths of the fields of a (concatenated) type.
pub fn field_lens(data_type: u32, len: u32) -> Vec<u32> {
    let types = field_types(data_type);
    if types.len() > 1
        && let Some(lens) = types.iter().map(|t| type_len(*t)).collect::<Option<Vec<u32>>>()
        && lens.iter().map(|l| l.next_multiple_of(4)).sum::<u32>() == len
    {
        return lens;
    }
    vec![len]
}

/// Bytes that a key of `meta` loads.
pub fn meta_len(key: u32) -> u32 {
    match key {
        meta::IIFNAME | meta::OIFNAME => 16,
        // iiftype, oiftype, bri_iifpvid, bri_iifvproto
        meta::PROTOCOL | 8 | 9 | 28 | 29 => 2,
        // pkttype, secpath, time_day
        meta::NFPROTO | meta::L4PROTO | 19 | 25 | 31 => 1,
        // bri_iifname, bri_oifname, iifkind, oifkind, sdifname
        17 | 18 | 26 | 27 | 34 => 16,
        // time_ns
        30 => 8,
        _ => 4,
    }
}

/// Bytes that a key of `rt` loads (`enum nft_rt_keys`: classid, nexthop4, nexthop6, tcpmss, xfrm).
pub fn rt_len(key: u32) -> u32 {
    match key {
        2 => 16,
        3 => 2,
        4 => 1,
        _ => 4,
    }
}

/// The same of `socket` (`enum nft_socket_keys`: transparent, mark, wildcard, cgroupv2).
pub fn socket_len(key: u32) -> u32 {
    match key {
        0 | 2 => 1,
        3 => 8,
        _ => 4,
    }
}

/// The same of `ipsec` (`enum nft_xfrm_keys`: unspec, daddr_ip4, daddr_ip6, saddr_ip4, saddr_ip6, reqid, spi).
pub fn xfrm_len(key: u32) -> u32 {
    if matches!(key, 2 | 4) { 16 } else { 4 }
}

/// Bytes that a key of `ct` loads; addresses depend on the family.
pub fn ct_len(key: u32, family: Option<IpFamily>) -> u32 {
    match key {
        ct::DIRECTION => 1,
        // l3protocol, protocol
        7 | 10 => 1,
        // src, dst
        8 | 9 => family.map_or(16, |f| u32::from(f.bits() / 8)),
        // proto-src, proto-dst
        11 | 12 => 2,
        // helper, labels
        6 | 13 => 16,
        // packets, bytes, avgpkt
        14..=16 => 8,
        // saddr ip, daddr ip
        19 | 20 => 4,
        21 | 22 => 16,
        _ => 4,
    }
}

/// A translation to what is known beforehand.
pub fn constant_nat(
    destination: bool,
    flags: u32,
    addrs: Option<(IpAddr, IpAddr)>,
    ports: Option<(u16, u16)>,
) -> Target {
    let plain = nat_flags::MAP_IPS | nat_flags::PROTO_SPECIFIED;
    if let (true, Some((a, b)), Some((p, q))) = (destination, addrs, ports)
        && a == b
        && p == q
        && flags & !plain == 0
    {
        return Target::dnat_to(a, p, 2);
    }
    let flags = flags
        | if addrs.is_some() { nat_flags::MAP_IPS } else { 0 }
        | if ports.is_some() { nat_flags::PROTO_SPECIFIED } else { 0 };
    let ports = ports.map_or((0, 0, 0), |(a, b)| (a, b, 0));
    let range = Box::new(NatRange { flags, addrs, ports, revision: 2 });
    if destination { Target::Dnat(range) } else { Target::Snat(range) }
}
