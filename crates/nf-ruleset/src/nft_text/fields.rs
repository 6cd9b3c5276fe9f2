//! Names of the fields that native rules look at: keys of `meta` and `ct`, and parts of headers, as nftables'
//! `src/meta.c`, `src/ct.c` and `src/proto.c` name them.

use super::values::Kind;
use crate::{ct, meta};

pub(crate) const META: &[(u32, &str, Kind)] = &[
    (meta::LEN, "meta length", Kind::HostNumber),
    (meta::PROTOCOL, "meta protocol", Kind::EtherType),
    (2, "meta priority", Kind::TcHandle),
    (meta::MARK, "meta mark", Kind::Mark),
    (meta::IIF, "iif", Kind::InterfaceIndex),
    (meta::OIF, "oif", Kind::InterfaceIndex),
    (meta::IIFNAME, "iifname", Kind::Interface),
    (meta::OIFNAME, "oifname", Kind::Interface),
    (8, "meta iiftype", Kind::LinkType),
    (9, "meta oiftype", Kind::LinkType),
    (meta::SKUID, "meta skuid", Kind::HostNumber),
    (meta::SKGID, "meta skgid", Kind::HostNumber),
    (12, "meta nftrace", Kind::HostNumber),
    (13, "meta rtclassid", Kind::HostNumber),
    (meta::NFPROTO, "meta nfproto", Kind::NfProto),
    (meta::L4PROTO, "meta l4proto", Kind::Protocol),
    (17, "meta ibrname", Kind::Interface),
    (18, "meta obrname", Kind::Interface),
    (19, "meta pkttype", Kind::PacketType),
    (20, "meta cpu", Kind::HostNumber),
    (21, "iifgroup", Kind::DeviceGroup),
    (22, "oifgroup", Kind::DeviceGroup),
    (23, "meta cgroup", Kind::HostNumber),
    (24, "meta random", Kind::Number),
    (26, "meta iifkind", Kind::Interface),
    (27, "meta oifkind", Kind::Interface),
    (14, "meta secmark", Kind::HostNumber),
    (25, "meta ipsec", Kind::Present),
    (28, "meta ibrpvid", Kind::HostNumber),
    (29, "meta ibrvproto", Kind::EtherType),
    (30, "meta time", Kind::Time),
    (31, "meta day", Kind::Day),
    (32, "meta hour", Kind::Hour),
    (33, "sdif", Kind::InterfaceIndex),
    (34, "meta sdifname", Kind::Interface),
];

pub(crate) const CT: &[(u32, &str, Kind)] = &[
    (ct::STATE, "state", Kind::CtState),
    (ct::DIRECTION, "direction", Kind::CtDirection),
    (ct::STATUS, "status", Kind::CtStatus),
    (ct::MARK, "mark", Kind::Mark),
    (4, "secmark", Kind::HostNumber),
    (5, "expiration", Kind::Duration),
    (6, "helper", Kind::Interface),
    (7, "l3proto", Kind::NfProto),
    (8, "saddr", Kind::Bytes),
    (9, "daddr", Kind::Bytes),
    (10, "protocol", Kind::Protocol),
    (11, "proto-src", Kind::Port),
    (12, "proto-dst", Kind::Port),
    (13, "label", Kind::CtLabel),
    (14, "packets", Kind::HostNumber),
    (15, "bytes", Kind::HostNumber),
    (16, "avgpkt", Kind::HostNumber),
    (17, "zone", Kind::HostNumber),
    (18, "event", Kind::CtEvent),
    (19, "ip saddr", Kind::Ipv4),
    (20, "ip daddr", Kind::Ipv4),
    (21, "ip6 saddr", Kind::Ipv6),
    (22, "ip6 daddr", Kind::Ipv6),
    (23, "id", Kind::HostNumber),
];

/// `enum nft_rt_keys`
pub(crate) const RT: &[(u32, &str, Kind)] = &[
    (0, "rt classid", Kind::HostNumber),
    (1, "rt ip nexthop", Kind::Ipv4),
    (2, "rt ip6 nexthop", Kind::Ipv6),
    (3, "rt mtu", Kind::HostNumber),
    (4, "rt ipsec", Kind::Present),
];

/// `enum nft_xfrm_keys`
pub(crate) const XFRM: &[(u32, &str, Kind)] = &[
    (1, "ip daddr", Kind::Ipv4),
    (2, "ip6 daddr", Kind::Ipv6),
    (3, "ip saddr", Kind::Ipv4),
    (4, "ip6 saddr", Kind::Ipv6),
    (5, "reqid", Kind::HostNumber),
    (6, "spi", Kind::Number),
];

/// Extension headers of IPv6 by their number, and their fields in bits: offset, length, name, kind (nftables' `src/exthdr.c`).
pub(crate) const EXTENSION_HEADERS: &[(u8, &str)] =
    &[(0, "hbh"), (43, "rt"), (44, "frag"), (60, "dst"), (135, "mh")];
pub(crate) const EXTENSION_FIELDS: &[(u8, u32, u32, &str, Kind)] = &[
    (0, 0, 8, "nexthdr", Kind::Protocol),
    (0, 8, 8, "hdrlength", Kind::Number),
    (43, 0, 8, "nexthdr", Kind::Protocol),
    (43, 8, 8, "hdrlength", Kind::Number),
    (43, 16, 8, "type", Kind::Number),
    (43, 24, 8, "seg-left", Kind::Number),
    (44, 0, 8, "nexthdr", Kind::Protocol),
    (44, 8, 8, "reserved", Kind::Number),
    (44, 16, 13, "frag-off", Kind::Number),
    (44, 29, 2, "reserved2", Kind::Number),
    (44, 31, 1, "more-fragments", Kind::Number),
    (44, 32, 32, "id", Kind::Number),
    (60, 0, 8, "nexthdr", Kind::Protocol),
    (60, 8, 8, "hdrlength", Kind::Number),
    (135, 0, 8, "nexthdr", Kind::Protocol),
    (135, 8, 8, "hdrlength", Kind::Number),
    (135, 16, 8, "type", Kind::MobilityType),
    (135, 24, 8, "reserved", Kind::Number),
    (135, 32, 16, "checksum", Kind::Number),
];
/// Fields of a routing header of segments, which is stored as differences to where they are.
pub(crate) const SEGMENT_FIELDS: &[(u32, u32, &str)] =
    &[(32, 8, "last-entry"), (40, 8, "flags"), (48, 16, "tag")];
/// TCP options (nftables' `src/tcpopt.c`): kind, name; then kind, offset and length in bytes, field.
pub(crate) const TCP_OPTIONS: &[(u8, &str)] = &[
    (0, "eol"),
    (1, "nop"),
    (2, "maxseg"),
    (3, "window"),
    (4, "sack-perm"),
    (5, "sack"),
    (8, "timestamp"),
    (19, "md5sig"),
    (30, "mptcp"),
    (34, "fastopen"),
];
pub(crate) const TCP_OPTION_FIELDS: &[(u8, u32, u32, &str)] = &[
    (2, 2, 2, "size"),
    (3, 2, 1, "count"),
    (5, 2, 4, "left"),
    (5, 6, 4, "right"),
    (8, 2, 4, "tsval"),
    (8, 6, 4, "tsecr"),
];
/// IPv4 options (nftables' `src/ipopt.c`).
pub(crate) const IP_OPTIONS: &[(u8, &str)] = &[(131, "lsrr"), (7, "rr"), (137, "ssrr"), (148, "ra")];
/// Chunks of SCTP (nftables' `src/sctp_chunk.c`).
pub(crate) const SCTP_CHUNKS: &[(u8, &str)] = &[
    (0, "data"),
    (1, "init"),
    (2, "init-ack"),
    (3, "sack"),
    (4, "heartbeat"),
    (5, "heartbeat-ack"),
    (6, "abort"),
    (7, "shutdown"),
    (8, "shutdown-ack"),
    (9, "error"),
    (10, "cookie-echo"),
    (11, "cookie-ack"),
    (12, "ecne"),
    (13, "cwr"),
    (14, "shutdown-complete"),
    (0x80, "asconf-ack"),
    (0xc0, "forward-tsn"),
    (0xc1, "asconf"),
];

/// A header's fields: offset and length in bytes, name, kind.
pub(crate) type Fields = &'static [(u32, u32, &'static str, Kind)];

pub(crate) const ETHER: Fields = &[
    (0, 6, "ether daddr", Kind::Ether),
    (6, 6, "ether saddr", Kind::Ether),
    (12, 2, "ether type", Kind::EtherType),
];
pub(crate) const IP: Fields = &[
    (2, 2, "ip length", Kind::Number),
    (4, 2, "ip id", Kind::Number),
    (6, 2, "ip frag-off", Kind::Number),
    (8, 1, "ip ttl", Kind::Number),
    (9, 1, "ip protocol", Kind::Protocol),
    (10, 2, "ip checksum", Kind::Number),
    (12, 4, "ip saddr", Kind::Ipv4),
    (16, 4, "ip daddr", Kind::Ipv4),
];
pub(crate) const IP6: Fields = &[
    (4, 2, "ip6 length", Kind::Number),
    (6, 1, "ip6 nexthdr", Kind::Protocol),
    (7, 1, "ip6 hoplimit", Kind::Number),
    (8, 16, "ip6 saddr", Kind::Ipv6),
    (24, 16, "ip6 daddr", Kind::Ipv6),
];
pub(crate) const ARP: Fields = &[
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
pub(crate) const TCP: Fields = &[
    (0, 2, "tcp sport", Kind::Port),
    (2, 2, "tcp dport", Kind::Port),
    (4, 4, "tcp sequence", Kind::Number),
    (8, 4, "tcp ackseq", Kind::Number),
    (13, 1, "tcp flags", Kind::TcpFlags),
    (14, 2, "tcp window", Kind::Number),
    (16, 2, "tcp checksum", Kind::Number),
    (18, 2, "tcp urgptr", Kind::Number),
];
pub(crate) const UDP: Fields = &[
    (0, 2, "udp sport", Kind::Port),
    (2, 2, "udp dport", Kind::Port),
    (4, 2, "udp length", Kind::Number),
    (6, 2, "udp checksum", Kind::Number),
];
pub(crate) const SCTP: Fields =
    &[(0, 2, "sctp sport", Kind::Port), (2, 2, "sctp dport", Kind::Port), (4, 4, "sctp vtag", Kind::Number)];
pub(crate) const ICMP_FIELDS: Fields =
    &[(0, 1, "icmp type", Kind::IcmpType), (1, 1, "icmp code", Kind::IcmpCode)];
pub(crate) const ICMP6_FIELDS: Fields =
    &[(0, 1, "icmpv6 type", Kind::Icmp6Type), (1, 1, "icmpv6 code", Kind::Icmp6Code)];
pub(crate) const TRANSPORT: Fields = &[(0, 2, "th sport", Kind::Port), (2, 2, "th dport", Kind::Port)];
pub(crate) const UDPLITE: Fields = &[
    (0, 2, "udplite sport", Kind::Port),
    (2, 2, "udplite dport", Kind::Port),
    (4, 2, "udplite csumcov", Kind::Number),
    (6, 2, "udplite checksum", Kind::Number),
];
pub(crate) const DCCP: Fields = &[(0, 2, "dccp sport", Kind::Port), (2, 2, "dccp dport", Kind::Port)];
pub(crate) const IGMP: Fields = &[
    (0, 1, "igmp type", Kind::IgmpType),
    (1, 1, "igmp mrt", Kind::Number),
    (2, 2, "igmp checksum", Kind::Number),
    (4, 4, "igmp group", Kind::Ipv4),
];
pub(crate) const AH: Fields = &[
    (0, 1, "ah nexthdr", Kind::Protocol),
    (1, 1, "ah hdrlength", Kind::Number),
    (2, 2, "ah reserved", Kind::Number),
    (4, 4, "ah spi", Kind::Number),
    (8, 4, "ah sequence", Kind::Number),
];
pub(crate) const ESP: Fields = &[(0, 4, "esp spi", Kind::Number), (4, 4, "esp sequence", Kind::Number)];
pub(crate) const COMP: Fields = &[
    (0, 1, "comp nexthdr", Kind::Protocol),
    (1, 1, "comp flags", Kind::Number),
    (2, 2, "comp cpi", Kind::Number),
];

/// Fields that are not made of whole bytes: offset and length in bits, name, kind (nftables' `src/proto.c`).
pub(crate) type BitFields = &'static [(u32, u32, &'static str, Kind)];

pub(crate) const IP_BITS: BitFields = &[
    (0, 4, "ip version", Kind::Number),
    (4, 4, "ip hdrlength", Kind::Number),
    (8, 6, "ip dscp", Kind::Dscp),
    (14, 2, "ip ecn", Kind::Ecn),
    (64, 8, "ip ttl", Kind::Number),
];
pub(crate) const IP6_BITS: BitFields = &[
    (0, 4, "ip6 version", Kind::Number),
    (4, 6, "ip6 dscp", Kind::Dscp),
    (10, 2, "ip6 ecn", Kind::Ecn),
    (12, 20, "ip6 flowlabel", Kind::Number),
    (56, 8, "ip6 hoplimit", Kind::Number),
];
pub(crate) const TCP_BITS: BitFields =
    &[(96, 4, "tcp doff", Kind::Number), (100, 4, "tcp reserved", Kind::Number)];
pub(crate) const DCCP_BITS: BitFields = &[(67, 4, "dccp type", Kind::DccpType)];
pub(crate) const VLAN_BITS: BitFields = &[
    (112, 3, "vlan pcp", Kind::Number),
    (115, 1, "vlan dei", Kind::Number),
    (116, 12, "vlan id", Kind::Number),
];
