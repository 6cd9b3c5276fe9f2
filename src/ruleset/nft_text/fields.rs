//! Names of the fields that native rules look at: keys of `meta` and `ct`, and parts of headers, as nftables'
//! `src/meta.c`, `src/ct.c` and `src/proto.c` name them.

use super::values::Kind;
use crate::ruleset::native::{ct, meta};

pub(in crate::ruleset) const META: &[(u32, &str, Kind)] = &[
    (meta::LEN, "meta length", Kind::HostNumber),
    (meta::PROTOCOL, "meta protocol", Kind::EtherType),
    (2, "meta priority", Kind::HostNumber),
    (meta::MARK, "meta mark", Kind::Mark),
    (meta::IIF, "iif", Kind::HostNumber),
    (meta::OIF, "oif", Kind::HostNumber),
    (meta::IIFNAME, "iifname", Kind::Interface),
    (meta::OIFNAME, "oifname", Kind::Interface),
    (8, "meta iiftype", Kind::HostNumber),
    (9, "meta oiftype", Kind::HostNumber),
    (meta::SKUID, "meta skuid", Kind::HostNumber),
    (meta::SKGID, "meta skgid", Kind::HostNumber),
    (12, "meta nftrace", Kind::HostNumber),
    (13, "meta rtclassid", Kind::HostNumber),
    (meta::NFPROTO, "meta nfproto", Kind::NfProto),
    (meta::L4PROTO, "meta l4proto", Kind::Protocol),
    (17, "meta ibrname", Kind::Interface),
    (18, "meta obrname", Kind::Interface),
    (19, "meta pkttype", Kind::HostNumber),
    (20, "meta cpu", Kind::HostNumber),
    (21, "iifgroup", Kind::HostNumber),
    (22, "oifgroup", Kind::HostNumber),
    (23, "meta cgroup", Kind::HostNumber),
    (24, "meta random", Kind::HostNumber),
    (26, "meta iifkind", Kind::Interface),
    (27, "meta oifkind", Kind::Interface),
    (34, "meta sdifname", Kind::Interface),
];

pub(in crate::ruleset) const CT: &[(u32, &str, Kind)] = &[
    (ct::STATE, "state", Kind::CtState),
    (ct::DIRECTION, "direction", Kind::CtDirection),
    (ct::STATUS, "status", Kind::CtStatus),
    (ct::MARK, "mark", Kind::Mark),
    (5, "expiration", Kind::HostNumber),
    (6, "helper", Kind::Interface),
    (7, "l3proto", Kind::NfProto),
    (8, "saddr", Kind::Bytes),
    (9, "daddr", Kind::Bytes),
    (10, "protocol", Kind::Protocol),
    (11, "proto-src", Kind::Port),
    (12, "proto-dst", Kind::Port),
    (14, "packets", Kind::HostNumber),
    (15, "bytes", Kind::HostNumber),
    (16, "avgpkt", Kind::HostNumber),
    (17, "zone", Kind::HostNumber),
    (19, "ip saddr", Kind::Ipv4),
    (20, "ip daddr", Kind::Ipv4),
    (21, "ip6 saddr", Kind::Ipv6),
    (22, "ip6 daddr", Kind::Ipv6),
    (23, "id", Kind::HostNumber),
];

/// A header's fields: offset and length in bytes, name, kind.
pub(in crate::ruleset) type Fields = &'static [(u32, u32, &'static str, Kind)];

pub(in crate::ruleset) const ETHER: Fields = &[
    (0, 6, "ether daddr", Kind::Ether),
    (6, 6, "ether saddr", Kind::Ether),
    (12, 2, "ether type", Kind::EtherType),
];
pub(in crate::ruleset) const IP: Fields = &[
    (2, 2, "ip length", Kind::Number),
    (4, 2, "ip id", Kind::Number),
    (6, 2, "ip frag-off", Kind::Number),
    (8, 1, "ip ttl", Kind::Number),
    (9, 1, "ip protocol", Kind::Protocol),
    (10, 2, "ip checksum", Kind::Number),
    (12, 4, "ip saddr", Kind::Ipv4),
    (16, 4, "ip daddr", Kind::Ipv4),
];
pub(in crate::ruleset) const IP6: Fields = &[
    (4, 2, "ip6 length", Kind::Number),
    (6, 1, "ip6 nexthdr", Kind::Protocol),
    (7, 1, "ip6 hoplimit", Kind::Number),
    (8, 16, "ip6 saddr", Kind::Ipv6),
    (24, 16, "ip6 daddr", Kind::Ipv6),
];
pub(in crate::ruleset) const ARP: Fields = &[
    (0, 2, "arp htype", Kind::Number),
    (2, 2, "arp ptype", Kind::EtherType),
    (4, 1, "arp hlen", Kind::Number),
    (5, 1, "arp plen", Kind::Number),
    (6, 2, "arp operation", Kind::ArpOperation),
    (8, 6, "arp saddr ether", Kind::Ether),
    (14, 4, "arp saddr ip", Kind::Ipv4),
    (18, 6, "arp daddr ether", Kind::Ether),
    (24, 4, "arp daddr ip", Kind::Ipv4),
];
pub(in crate::ruleset) const TCP: Fields = &[
    (0, 2, "tcp sport", Kind::Port),
    (2, 2, "tcp dport", Kind::Port),
    (4, 4, "tcp sequence", Kind::Number),
    (8, 4, "tcp ackseq", Kind::Number),
    (13, 1, "tcp flags", Kind::TcpFlags),
    (14, 2, "tcp window", Kind::Number),
];
pub(in crate::ruleset) const UDP: Fields = &[
    (0, 2, "udp sport", Kind::Port),
    (2, 2, "udp dport", Kind::Port),
    (4, 2, "udp length", Kind::Number),
    (6, 2, "udp checksum", Kind::Number),
];
pub(in crate::ruleset) const SCTP: Fields =
    &[(0, 2, "sctp sport", Kind::Port), (2, 2, "sctp dport", Kind::Port), (4, 4, "sctp vtag", Kind::Number)];
pub(in crate::ruleset) const ICMP_FIELDS: Fields =
    &[(0, 1, "icmp type", Kind::IcmpType), (1, 1, "icmp code", Kind::Number)];
pub(in crate::ruleset) const ICMP6_FIELDS: Fields =
    &[(0, 1, "icmpv6 type", Kind::Icmp6Type), (1, 1, "icmpv6 code", Kind::Number)];
pub(in crate::ruleset) const TRANSPORT: Fields =
    &[(0, 2, "th sport", Kind::Port), (2, 2, "th dport", Kind::Port)];
