//! Hooks, and the base chains on them.

use crate::Family;
use serde::{Deserialize, Serialize};

/// A netfilter hook of the IP families, numbered as the kernel does (`linux/netfilter.h`, `NF_INET_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[repr(u8)]
pub enum Hook {
    /// `NF_INET_PRE_ROUTING`
    Prerouting = 0,
    /// `NF_INET_LOCAL_IN`
    Input = 1,
    /// `NF_INET_FORWARD`
    Forward = 2,
    /// `NF_INET_LOCAL_OUT`
    Output = 3,
    /// `NF_INET_POST_ROUTING`
    Postrouting = 4,
    /// `NF_INET_INGRESS`, `NF_NETDEV_INGRESS`: before everything else (nf_tables only).
    Ingress = 5,
    /// `NF_NETDEV_EGRESS` (nf_tables only).
    Egress = 6,
}

impl Hook {
    /// The hooks of the IP families, in the kernel's order.
    pub const ALL: [Hook; 5] =
        [Hook::Prerouting, Hook::Input, Hook::Forward, Hook::Output, Hook::Postrouting];

    /// The name of the base chain that iptables hangs on this hook.
    pub fn chain_name(self) -> &'static str {
        match self {
            Hook::Prerouting => "PREROUTING",
            Hook::Input => "INPUT",
            Hook::Forward => "FORWARD",
            Hook::Output => "OUTPUT",
            Hook::Postrouting => "POSTROUTING",
            Hook::Ingress => "INGRESS",
            Hook::Egress => "EGRESS",
        }
    }

    /// The hook with this number in a family (`linux/netfilter.h`, `netfilter_arp.h`, `netfilter_bridge.h`).
    pub fn from_number(family: Family, number: u32) -> Option<Hook> {
        match (family, number) {
            (Family::Arp, 0) => Some(Hook::Input),
            (Family::Arp, 1) => Some(Hook::Output),
            (Family::Arp, 2) => Some(Hook::Forward),
            (Family::Netdev, 0) | (Family::Inet, 5) => Some(Hook::Ingress),
            (Family::Netdev, 1) => Some(Hook::Egress),
            (Family::Ip | Family::Ip6 | Family::Inet | Family::Bridge, 0..=4) => {
                Some(Hook::ALL[number as usize])
            }
            _ => None,
        }
    }

    /// Its number in a family: the other way.
    pub fn number(self, family: Family) -> Option<u32> {
        (0..=5).find(|n| Hook::from_number(family, *n) == Some(self))
    }

    /// As `nft` names it.
    pub fn name(self) -> &'static str {
        match self {
            Hook::Prerouting => "prerouting",
            Hook::Input => "input",
            Hook::Forward => "forward",
            Hook::Output => "output",
            Hook::Postrouting => "postrouting",
            Hook::Ingress => "ingress",
            Hook::Egress => "egress",
        }
    }

    /// The hook whose base chain has this name in iptables.
    pub fn from_chain_name(name: &str) -> Option<Hook> {
        Hook::ALL.into_iter().find(|h| h.chain_name() == name)
    }
}

/// What happens to a packet that leaves a base chain at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Policy {
    /// Goes on.
    Accept,
    /// Dies.
    Drop,
}

impl Policy {
    /// `ACCEPT` or `DROP`.
    pub fn name(self) -> &'static str {
        match self {
            Policy::Accept => "ACCEPT",
            Policy::Drop => "DROP",
        }
    }
}

/// What a base chain may do: `type` in `nft`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ChainKind {
    /// Lets pass or drops.
    Filter,
    /// Translates: sees the first packet of a flow only.
    Nat,
    /// Has the packet routed again where it changed it.
    Route,
}

impl ChainKind {
    /// As `nft` names it.
    pub fn name(self) -> &'static str {
        match self {
            ChainKind::Filter => "filter",
            ChainKind::Nat => "nat",
            ChainKind::Route => "route",
        }
    }

    /// The kind of an iptables chain: tables of x_tables do not say it.
    pub fn of_iptables(table: &str, hook: Hook) -> ChainKind {
        match (table, hook) {
            ("nat", _) => ChainKind::Nat,
            ("mangle", Hook::Output) => ChainKind::Route,
            _ => ChainKind::Filter,
        }
    }
}

/// How a base chain hangs on the packet's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseChain {
    /// Where.
    pub hook: Hook,
    /// What it may do.
    pub kind: ChainKind,
    /// In which order among those on the same hook: lower first.
    pub priority: i32,
    /// What happens at the end of the chain.
    pub policy: Policy,
}

/// Priorities of the base chains that iptables makes (`linux/netfilter_ipv4.h`, `NF_IP_PRI_*`).
pub fn iptables_priority(table: &str, hook: Hook) -> i32 {
    match (table, hook) {
        ("raw", _) => -300,
        ("mangle", _) => -150,
        ("nat", Hook::Prerouting | Hook::Output) => -100,
        ("nat", _) => 100,
        ("security", _) => 50,
        _ => 0,
    }
}
