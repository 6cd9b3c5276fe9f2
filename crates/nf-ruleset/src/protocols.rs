//! Names of IP protocols.

/// Protocols that iptables and nft print by name (`xtables_chain_protos` in `libxtables/xtables.c`, 1.8.9, then
/// `getprotobynumber`).
const PROTOCOLS: &[(u16, &str)] = &[
    (6, "tcp"),
    (132, "sctp"),
    (17, "udp"),
    (136, "udplite"),
    (1, "icmp"),
    (58, "ipv6-icmp"),
    (50, "esp"),
    (51, "ah"),
    (135, "ipv6-mh"),
    (47, "gre"),
    (2, "igmp"),
    (33, "dccp"),
    (4, "ipencap"),
    (41, "ipv6"),
    // The others of /etc/protocols (IANA's names, as Debian's netbase 6.4 has them).
    (3, "ggp"),
    (5, "st"),
    (8, "egp"),
    (9, "igp"),
    (12, "pup"),
    (20, "hmp"),
    (22, "xns-idp"),
    (27, "rdp"),
    (29, "iso-tp4"),
    (36, "xtp"),
    (37, "ddp"),
    (38, "idpr-cmtp"),
    (43, "ipv6-route"),
    (44, "ipv6-frag"),
    (45, "idrp"),
    (46, "rsvp"),
    (57, "skip"),
    (59, "ipv6-nonxt"),
    (60, "ipv6-opts"),
    (73, "rspf"),
    (81, "vmtp"),
    (88, "eigrp"),
    (89, "ospf"),
    (93, "ax.25"),
    (94, "ipip"),
    (97, "etherip"),
    (98, "encap"),
    (103, "pim"),
    (108, "ipcomp"),
    (112, "vrrp"),
    (115, "l2tp"),
    (124, "isis"),
    (133, "fc"),
    (137, "mpls-in-ip"),
    (138, "manet"),
    (139, "hip"),
    (140, "shim6"),
    (141, "wesp"),
    (142, "rohc"),
    (143, "ethernet"),
    (262, "mptcp"),
];
/// Name of an IP protocol, where it has a common one.
pub fn protocol_name(number: u16) -> Option<&'static str> {
    PROTOCOLS.iter().find(|p| p.0 == number).map(|p| p.1)
}

/// Number of an IP protocol, from its name or digits.
pub fn protocol_number(name: &str) -> Option<u16> {
    match name {
        "all" => Some(0),
        "icmpv6" => Some(58),
        _ => PROTOCOLS.iter().find(|p| p.1 == name).map(|p| p.0).or_else(|| name.parse().ok()),
    }
}
