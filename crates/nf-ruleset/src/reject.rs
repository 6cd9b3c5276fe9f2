//! What REJECT answers: iptables has a number for each answer, nf_tables a type and the code of the protocol.

use crate::Family;

/// `NFT_REJECT_ICMP_UNREACH` (`enum nft_reject_types`)
pub const ICMP: u32 = 0;
/// `NFT_REJECT_TCP_RST`
pub const TCP_RESET: u32 = 1;
/// `NFT_REJECT_ICMPX_UNREACH`
pub const ICMPX: u32 = 2;

/// Type, code, and number of iptables (`enum ipt_reject_with`, `enum ip6t_reject_with`).
fn known(family: Family) -> &'static [(u32, u8, u8)] {
    match family {
        Family::Ip => &[
            (ICMP, 0, 0),
            (ICMP, 1, 1),
            (ICMP, 2, 2),
            (ICMP, 3, 3),
            (ICMP, 9, 5),
            (ICMP, 10, 6),
            (TCP_RESET, 0, 7),
            (ICMP, 13, 8),
        ],
        Family::Ip6 => &[
            (ICMP, 0, 0),
            (ICMP, 1, 1),
            (ICMP, 3, 3),
            (ICMP, 4, 4),
            (TCP_RESET, 0, 6),
            (ICMP, 5, 7),
            (ICMP, 6, 8),
        ],
        _ => &[],
    }
}

/// The answer of iptables for one of nf_tables.
pub fn to_iptables(family: Family, kind: u32, code: u8) -> Option<u8> {
    known(family).iter().find(|k| (k.0, k.1) == (kind, code)).map(|k| k.2)
}

/// The other way: type and code of nf_tables for an answer of iptables.
pub fn from_iptables(family: Family, with: u8) -> (u32, u8) {
    known(family).iter().find(|k| k.2 == with).map_or((ICMP, with), |k| (k.0, k.1))
}
