//! Conditions that iptables has a match for become that match: one vocabulary for both, and little memory.

use super::decode::Scope;
use crate::ruleset::{
    AddressMatch, Dialect, Field, IpFamily, IpNet, Load, MaskedAddress, Match, Op, PortRange, data_type,
    field_types, mask_prefix, meta, payload_base,
};
use std::net::IpAddr;

/// Where a match that was found belongs.
pub(super) enum Lowered {
    /// Among those that iptables prints first.
    Head(Match),
    /// Behind the others.
    Rest(Match),
    /// It became part of a match that was there.
    Merged,
}

/// Order in which iptables prints what stands in a rule's header.
pub(super) fn rank(m: &Match) -> u8 {
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
pub(super) fn compare(
    load: &Load,
    invert: bool,
    value: &[u8],
    scope: &mut Scope<'_>,
    l3: Option<IpFamily>,
    l4: Option<u8>,
    rest: &mut [Match],
) -> Option<Lowered> {
    let dialect = scope.dialect;
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
            // A `*` that stands for itself, and a wildcard of iptables inside nft's text, are not guessed at.
            if text.is_empty() || text.contains(['*', '+', '\\', '"']) {
                return None;
            }
            let name = if end.is_some() || value.len() == 16 {
                scope.strings.intern(text)
            } else {
                scope.strings.intern(&format!("{text}+"))
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
pub(super) fn range(
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
        // As many as the rule has, each where it stands.
        Dialect::Nft => merge(&mut [], protocol, put),
    }
}

/// Bytes of a data type of nft (`src/datatype.c` of nftables), for those that stand in maps.
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
pub(super) fn field_lens(data_type: u32, len: u32) -> Vec<u32> {
    let types = field_types(data_type);
    if types.len() > 1
        && let Some(lens) = types.iter().map(|t| type_len(*t)).collect::<Option<Vec<u32>>>()
        && lens.iter().map(|l| l.next_multiple_of(4)).sum::<u32>() == len
    {
        return lens;
    }
    vec![len]
}
