//! Keys, ranges and expressions of which kube-proxy's rules of nftables mode are made.

use crate::proxy::Protocol;
use crate::ruleset::{
    Condition, Field, IpFamily, IpNet, Load, Match, NatRange, Op, Statement, Target, Test, address_number,
    data_type, meta, nat_flags, octets, payload_base,
};
use std::net::IpAddr;

/// The mark that asks for masquerading (`masqueradeBit` 14).
pub(super) const MASQUERADE_MARK: u32 = 0x4000;

/// The bits of a type made of several.
pub(super) fn concat(types: &[u32]) -> u32 {
    types.iter().fold(0, |n, t| n << 6 | t)
}

/// The type of an address, and its bytes.
pub(super) fn address_type(family: IpFamily) -> (u32, u32) {
    match family {
        IpFamily::V4 => (data_type::IPV4_ADDR, 4),
        IpFamily::V6 => (data_type::IPV6_ADDR, 16),
    }
}

/// `NFTNL_UDATA_SET_KEYBYTEORDER`: 1 host, 2 network.
pub(super) fn byte_order(order: u8) -> Vec<u8> {
    vec![0, 4, order, 0, 0, 0]
}

pub(super) fn native(key: Vec<Load>, test: Test) -> Match {
    Match::Native(Box::new(Condition { key, test }))
}

pub(super) fn l4proto() -> Load {
    Load::new(Field::Meta(meta::L4PROTO), 1)
}

/// `th dport`
pub(super) fn dport() -> Load {
    Load::new(Field::Payload { base: payload_base::TRANSPORT, offset: 2, len: 2 }, 2)
}

/// `masquerade fully-random`
pub(super) fn masquerade() -> Target {
    let flags = nat_flags::PROTO_RANDOM_FULLY;
    Target::Masquerade(Box::new(NatRange { flags, addrs: None, ports: (0, 0, 0), revision: 0 }))
}

/// `meta mark set meta mark ^ 0x4000`
pub(super) fn unmark() -> Match {
    let mut value = Load::new(Field::Meta(meta::MARK), 4);
    let xor = Box::new(MASQUERADE_MARK.to_ne_bytes());
    value.ops.push(Op::Bitwise { mask: Box::new([0xff; 4]), xor });
    Match::Does(Box::new(Statement::SetMeta { key: meta::MARK, value }))
}

/// `meta mark set meta mark | 0x4000`
pub(super) fn mark() -> Match {
    let mut value = Load::new(Field::Meta(meta::MARK), 4);
    value.ops.push(Op::Bitwise {
        mask: Box::new((!MASQUERADE_MARK).to_ne_bytes()),
        xor: Box::new(MASQUERADE_MARK.to_ne_bytes()),
    });
    Match::Does(Box::new(Statement::SetMeta { key: meta::MARK, value }))
}

/// A port on its four bytes.
pub(super) fn padded(port: u16) -> [u8; 4] {
    let [a, b] = port.to_be_bytes();
    [a, b, 0, 0]
}

pub(super) fn port_key(protocol: Protocol, port: u16) -> Vec<u8> {
    [&[protocol.number(), 0, 0, 0][..], &padded(port)].concat()
}

pub(super) fn destination_key(address: IpAddr, protocol: Protocol, port: u16) -> Vec<u8> {
    [octets(address), port_key(protocol, port)].concat()
}

/// First address of a network and the first behind it; `None` where it reaches the end of all addresses.
pub(super) fn ends(net: IpNet) -> (u128, Option<u128>) {
    let bits = u32::from(IpFamily::of(net.addr).bits());
    let size = bits - u32::from(net.prefix);
    if size >= 128 {
        return (0, None);
    }
    let first = address_number(net.addr) >> size << size;
    let next = first.checked_add(1 << size).filter(|n| bits == 128 || *n <= u128::from(u32::MAX));
    (first, next)
}

/// Networks as ranges, those that overlap as one.
pub(super) fn merged(networks: &[IpNet]) -> Vec<(u128, Option<u128>)> {
    let mut ranges: Vec<(u128, Option<u128>)> = networks.iter().map(|n| ends(*n)).collect();
    ranges.sort_by_key(|r| (r.0, r.1.is_none(), r.1));
    let mut done: Vec<(u128, Option<u128>)> = Vec::new();
    for (from, next) in ranges {
        match done.last_mut() {
            Some((_, None)) => break, // everything behind is in already
            Some((_, until)) if until.is_some_and(|u| from < u) => {
                *until = match (*until, next) {
                    (Some(u), Some(n)) => Some(u.max(n)),
                    _ => None,
                };
            }
            _ => done.push((from, next)),
        }
    }
    done
}
