//! The vocabulary that every packet filter shares: tables of chains of rules, and their counters.
//!
//! One shape serves x_tables and nf_tables. A [`Table`] is an arena: chains are ranges into one vector of
//! rules, rules are ranges into one vector of matches, and strings are interned, so that 100,000 rules take
//! few allocations. Counters live beside the structure ([`TableCounters`]), as they change at every packet
//! and the structure seldom does.

mod build;
mod endpoint;
pub(crate) mod lower;
mod matches;
mod native;
mod nft_read;
mod nft_text;
mod recorded;
pub(crate) mod reject;
mod rewrite;
mod save;
mod strings;
mod text;

pub use build::{RuleSpec, TableBuilder};
pub use endpoint::L4Endpoint;
pub use matches::{
    AddressMatch, ConntrackMatch, DnatTo, IpvsMatch, MaskedAddress, Match, MultiportMatch, NatRange,
    PhysdevMatch, PortRange, RecentMatch, Target, Unknown, Verdict, addr_type, ct_state, nat_flags, recent,
    set_flags,
};
pub use native::{
    Comparison, Condition, Data, Dialect, Element, Field, Load, Mapped, NfTable, Op, Set, SetId, Statement,
    TABLE_DORMANT, Terminal, Test, VERDICT_DATA, ct, data_type, meta, payload_base, set_flag,
};
pub(crate) use native::{field_types, with_last_keys};
pub(crate) use nft_read::UNREAD;
pub use nft_read::{parse_nft, parse_nft_json};
pub use rewrite::Rewrite;
pub(crate) use save::iptables_priority;
pub use save::{ParseError, SavedTable, parse_save};
pub use strings::{StrId, Strings};
pub(crate) use text::mask_prefix;
pub use text::{protocol_name, protocol_number};

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

/// Address family of a table, as `nft` names it (`linux/netfilter.h`, `NFPROTO_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Family {
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
    /// IPv4 and IPv6 together (nf_tables only).
    Inet,
    /// ARP.
    Arp,
    /// Frames that cross a bridge.
    Bridge,
    /// Ingress and egress of one device (nf_tables only).
    Netdev,
}

impl Family {
    /// The name that `nft` and kptop's JSON use.
    pub fn name(self) -> &'static str {
        match self {
            Family::Ip => "ip",
            Family::Ip6 => "ip6",
            Family::Inet => "inet",
            Family::Arp => "arp",
            Family::Bridge => "bridge",
            Family::Netdev => "netdev",
        }
    }

    /// The IP family of the packets, where the table sees only one.
    pub fn ip(self) -> Option<IpFamily> {
        match self {
            Family::Ip => Some(IpFamily::V4),
            Family::Ip6 => Some(IpFamily::V6),
            _ => None,
        }
    }
}

impl From<IpFamily> for Family {
    fn from(family: IpFamily) -> Family {
        match family {
            IpFamily::V4 => Family::Ip,
            IpFamily::V6 => Family::Ip6,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum IpFamily {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl IpFamily {
    /// `ipv4` or `ipv6`, as in kptop's JSON.
    pub fn name(self) -> &'static str {
        match self {
            IpFamily::V4 => "ipv4",
            IpFamily::V6 => "ipv6",
        }
    }

    /// Bits of an address: 32 or 128.
    pub fn bits(self) -> u8 {
        match self {
            IpFamily::V4 => 32,
            IpFamily::V6 => 128,
        }
    }

    /// The family of an address.
    pub fn of(addr: IpAddr) -> IpFamily {
        match addr {
            IpAddr::V4(_) => IpFamily::V4,
            IpAddr::V6(_) => IpFamily::V6,
        }
    }
}

impl fmt::Display for IpFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The kernel interface that holds a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TableBackend {
    /// x_tables: what `iptables-legacy` writes.
    XTables,
    /// nf_tables: what `nft` and `iptables-nft` write.
    NfTables,
}

impl TableBackend {
    /// `x_tables` or `nf_tables`, as in kptop's JSON.
    pub fn name(self) -> &'static str {
        match self {
            TableBackend::XTables => "x_tables",
            TableBackend::NfTables => "nf_tables",
        }
    }
}

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

/// An address with a prefix length. The address keeps the bits that the mask clears, as the kernel does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct IpNet {
    /// Network address.
    pub addr: IpAddr,
    /// Length of the prefix in bits.
    pub prefix: u8,
}

impl IpNet {
    /// The network of this one address alone.
    pub fn host(addr: IpAddr) -> IpNet {
        IpNet { addr, prefix: IpFamily::of(addr).bits() }
    }

    /// True where the network is one address.
    pub fn is_host(self) -> bool {
        self.prefix == IpFamily::of(self.addr).bits()
    }

    /// True where `addr` lies inside.
    pub fn contains(self, addr: IpAddr) -> bool {
        match (self.addr, addr) {
            (IpAddr::V4(n), IpAddr::V4(a)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix.min(32))).unwrap_or(0);
                u32::from(n) & mask == u32::from(a) & mask
            }
            (IpAddr::V6(n), IpAddr::V6(a)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix.min(128))).unwrap_or(0);
                u128::from(n) & mask == u128::from(a) & mask
            }
            _ => false,
        }
    }
}

impl fmt::Display for IpNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.prefix)
    }
}

impl std::str::FromStr for IpNet {
    type Err = String;

    /// Reads `10.0.0.0/8` or a bare address.
    fn from_str(s: &str) -> Result<IpNet, String> {
        let (addr, prefix) = match s.split_once('/') {
            Some((a, p)) => (a, Some(p)),
            None => (s, None),
        };
        let addr: IpAddr = addr.parse().map_err(|_| format!("not an IP address: {addr}"))?;
        let bits = IpFamily::of(addr).bits();
        let prefix = match prefix {
            None => bits,
            Some(p) => p
                .parse::<u8>()
                .ok()
                .filter(|&p| p <= bits)
                .ok_or_else(|| format!("not a prefix length between 0 and {bits}: {p}"))?,
        };
        Ok(IpNet { addr, prefix })
    }
}

/// The bytes of an address, in network order.
pub(crate) fn octets(addr: IpAddr) -> Vec<u8> {
    match addr {
        IpAddr::V4(a) => a.octets().to_vec(),
        IpAddr::V6(a) => a.octets().to_vec(),
    }
}

/// The address at the front of these bytes, in network order.
pub(crate) fn address(family: IpFamily, bytes: &[u8]) -> Option<IpAddr> {
    Some(match family {
        IpFamily::V4 => Ipv4Addr::from(*bytes.first_chunk::<4>()?).into(),
        IpFamily::V6 => Ipv6Addr::from(*bytes.first_chunk::<16>()?).into(),
    })
}

/// An address as a number.
pub(crate) fn address_number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(a) => u128::from(u32::from(a)),
        IpAddr::V6(a) => a.into(),
    }
}

/// Index of a chain in its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct ChainId(pub u32);

/// Index of a rule in its table, over all chains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RuleId(pub u32);

/// A chain: a name and a range of rules.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Chain {
    /// Its name, in the table's [`Strings`].
    pub name: StrId,
    /// Where it hangs on the packet's way; `None` for a chain that is only jumped to.
    pub base: Option<BaseChain>,
    /// Its rules in the table's arena.
    pub rules: Range<u32>,
}

/// A rule: matches that all must hold, then a target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// Where its matches begin in the table's arena.
    pub(crate) first_match: u32,
    /// How many there are.
    pub(crate) match_count: u16,
    /// False where the kernel keeps no counter for it: native rules of nf_tables count only where they say so.
    pub counted: bool,
    /// What is done with a packet that matched.
    pub target: Target,
}

/// Packets and bytes that a rule or a policy has seen.
///
/// What that means depends on the table: a rule in `nat` sees the first packet of each flow only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Counter {
    /// Packets.
    pub packets: u64,
    /// Bytes, IP header included.
    pub bytes: u64,
}

/// Counters of one table at one instant, in the order of its structure.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableCounters {
    /// One for each rule, by [`RuleId`].
    pub rules: Vec<Counter>,
    /// One for each base chain's policy.
    #[serde(deserialize_with = "recorded::policies")]
    pub policies: Vec<(ChainId, Counter)>,
}

/// One table: chains, rules and matches as arenas.
#[derive(Clone, Debug)]
pub struct Table {
    /// Which packets it sees.
    pub family: Family,
    /// Which kernel interface holds it.
    pub backend: TableBackend,
    /// Its name: `nat`, `filter`, …
    pub name: String,
    /// Its chains, in the kernel's order.
    pub chains: Vec<Chain>,
    /// Rules of all chains.
    pub rules: Vec<Rule>,
    /// Matches of all rules.
    pub(crate) matches: Vec<Match>,
    /// How its rules are written.
    pub dialect: Dialect,
    /// Its sets and maps (nf_tables only).
    pub sets: Vec<Set>,
    /// What only nf_tables has.
    pub nf: Option<Box<NfTable>>,
    /// Names and comments.
    pub strings: Strings,
}

impl Table {
    /// A table without anything in it.
    pub fn new(family: Family, backend: TableBackend, name: &str) -> Table {
        Table {
            family,
            backend,
            name: name.to_string(),
            chains: Vec::new(),
            rules: Vec::new(),
            matches: Vec::new(),
            dialect: Dialect::Iptables,
            sets: Vec::new(),
            nf: None,
            strings: Strings::default(),
        }
    }

    /// A set.
    pub fn set(&self, id: SetId) -> &Set {
        &self.sets[id.0 as usize]
    }

    /// The set with this name.
    pub fn find_set(&self, name: &str) -> Option<SetId> {
        let id = self.strings.find(name)?;
        self.sets.iter().position(|s| s.name == id).map(|i| SetId(i as u32))
    }

    /// Elements of all its sets; `None` where those of one are not known.
    pub fn element_count(&self) -> Option<u64> {
        self.sets.iter().map(|s| s.count).sum()
    }

    /// The chain with this name.
    pub fn chain(&self, name: &str) -> Option<ChainId> {
        let id = self.strings.find(name)?;
        self.chains.iter().position(|c| c.name == id).map(|i| ChainId(i as u32))
    }

    /// Name of a chain.
    pub fn chain_name(&self, id: ChainId) -> &str {
        self.str(self.chains[id.0 as usize].name)
    }

    /// An interned string.
    pub fn str(&self, id: StrId) -> &str {
        self.strings.get(id)
    }

    /// Rules of a chain with their ids, in the order in which a packet meets them.
    pub fn rules_of(&self, id: ChainId) -> impl Iterator<Item = (RuleId, &Rule)> {
        let range = self.chains[id.0 as usize].rules.clone();
        range.map(|i| (RuleId(i), &self.rules[i as usize]))
    }

    /// The chain in which a rule stands.
    pub fn chain_of(&self, rule: RuleId) -> Option<ChainId> {
        // Chains lie in the arena one behind the other, in their own order or, after a change, not quite.
        let at = self.chains.partition_point(|c| c.rules.end <= rule.0);
        let here = |c: &Chain| c.rules.contains(&rule.0);
        if self.chains.get(at).is_some_and(here) {
            return Some(ChainId(at as u32));
        }
        self.chains.iter().position(here).map(|i| ChainId(i as u32))
    }

    /// Matches of a rule.
    pub fn matches_of(&self, rule: &Rule) -> &[Match] {
        let first = rule.first_match as usize;
        &self.matches[first..first + usize::from(rule.match_count)]
    }

    /// One rule.
    pub fn rule(&self, id: RuleId) -> &Rule {
        &self.rules[id.0 as usize]
    }

    /// A rule as `iptables -S` prints it, without the leading `-A CHAIN`, or as `nft list` does.
    pub fn rule_text<'a>(&'a self, rule: &'a Rule) -> impl fmt::Display + 'a {
        text::RuleText { table: self, rule }
    }

    /// A single condition, as it stands in the text of a rule.
    pub fn match_text(&self, m: &Match) -> String {
        let mut out = String::new();
        // Writing to a String does not fail.
        let _ = match self.dialect {
            Dialect::Iptables => text::write_extension(&mut out, self, m),
            Dialect::Nft => nft_text::single(&mut out, self, m),
        };
        out.trim().to_string()
    }

    /// An element of a set as `nft list` prints it.
    pub fn element_text<'a>(&'a self, set: &'a Set, element: &'a Element) -> impl fmt::Display + 'a {
        nft_text::ElementText { table: self, set, element }
    }

    /// Elements of a set as `nft list` prints them, at most so many: in order, ranges from their first to their last key.
    pub fn element_texts(&self, set: &Set, most: usize) -> Vec<String> {
        let elements = set.elements.as_deref().unwrap_or_default();
        nft_text::element_texts(self, set, elements, None, most)
    }

    /// The chain that a rule jumps or goes to, if it does.
    pub fn jump_of(&self, rule: &Rule) -> Option<ChainId> {
        match rule.target {
            Target::Verdict(Verdict::Jump(c) | Verdict::Goto(c)) => Some(c),
            _ => None,
        }
    }

    /// The comment of a rule, where it has one.
    pub fn comment_of(&self, rule: &Rule) -> Option<&str> {
        self.matches_of(rule).iter().find_map(|m| match m {
            Match::Comment(id) => Some(self.str(*id)),
            _ => None,
        })
    }

    /// Bytes that the structure takes in memory, without counters.
    pub fn memory(&self) -> usize {
        self.chains.capacity() * size_of::<Chain>()
            + self.rules.capacity() * size_of::<Rule>()
            + self.matches.capacity() * size_of::<Match>()
            + self.nf.as_ref().map_or(0, |n| n.rule_handles.capacity() * 8)
            + self.strings.memory()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arena_stays_small() {
        // DESIGN: under 150 bytes a rule; kube-proxy's rules have under three matches on average.
        assert!(size_of::<Match>() <= 16, "Match is {} bytes", size_of::<Match>());
        assert!(size_of::<Rule>() <= 24, "Rule is {} bytes", size_of::<Rule>());
    }

    #[test]
    fn networks_contain_their_addresses() {
        let net: IpNet = "10.244.0.0/16".parse().unwrap();
        assert!(net.contains("10.244.9.1".parse().unwrap()));
        assert!(!net.contains("10.245.0.0".parse().unwrap()));
        assert!(!net.contains("::1".parse().unwrap()));
        let all: IpNet = "0.0.0.0/0".parse().unwrap();
        assert!(all.contains("203.0.113.9".parse().unwrap()));
        let v6: IpNet = "fd00::/8".parse().unwrap();
        assert!(v6.contains("fd12::1".parse().unwrap()));
        assert!("10.0.0.0/33".parse::<IpNet>().is_err());
        assert!("10.0.0/8".parse::<IpNet>().is_err());
    }
}
