//! What packets walk on: the base chains of a snapshot by hook, the node's addresses, and where to look things up fast.

use super::assumption::Question;
use super::interfaces::Interfaces;
use crate::ruleset::{
    ChainId, ChainKind, Element, Family, Hook, IpFamily, Match, RuleId, Set, SetId, TABLE_DORMANT, Table,
};
use crate::snapshot::Snapshot;
use crate::snapshot::facts::{ANY_ROUTE_LOCALNET, AS_TEXT, Ipset, VirtualAddress, VirtualServer};
use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashSet};
use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;

/// Where translation happens, whatever priority a nat chain has (`nf_nat_ipv4_ops`: `NF_IP_PRI_NAT_DST`, `…_SRC`).
const NAT_DESTINATION: i32 = -100;
const NAT_SOURCE: i32 = 100;
/// Where conntrack begins (`NF_IP_PRI_CONNTRACK`): chains before see packets that are of no flow yet.
const CONNTRACK: i32 = -200;
/// Where IPVS takes packets (`ip_vs_ops4`, `net/netfilter/ipvs/ip_vs_core.c`).
const IPVS_INPUT: i32 = NAT_SOURCE - 1;
const IPVS_OUTPUT: i32 = NAT_DESTINATION + 2;

/// Types of addresses (`RTN_*`, `linux/rtnetlink.h`), as bits of `addrtype` and as numbers of `fib`.
const RTN_UNICAST: u8 = 1;
pub(super) const RTN_LOCAL: u8 = 2;
const RTN_BROADCAST: u8 = 3;
const RTN_MULTICAST: u8 = 5;

/// Something that hangs on a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// Flows are known from here on.
    Conntrack,
    /// A base chain: table and chain.
    Chain { table: usize, chain: ChainId, kind: ChainKind },
    /// IPVS.
    Ipvs,
}

/// Rules of a chain by the one address that they want; a packet for another only passes them over.
#[derive(Debug, Default)]
pub(super) struct ChainIndex {
    by_destination: HashMap<IpAddr, Vec<u32>, FixedState>,
    others: Vec<u32>,
}

impl ChainIndex {
    /// The next rule, from this one on, that a packet to this address could match.
    pub(super) fn next(&self, destination: IpAddr, from: u32) -> Option<u32> {
        let after = |rules: &[u32]| rules.get(rules.partition_point(|r| *r < from)).copied();
        let own = self.by_destination.get(&destination).and_then(|r| after(r));
        match (own, after(&self.others)) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }
}

/// First and last key of a range, and its element.
type Range<'a> = (&'a [u8], Box<[u8]>, &'a Element);

/// Elements of a set by key.
#[derive(Debug)]
pub(super) enum SetIndex<'a> {
    /// Single keys, and what holds where nothing else does.
    Keys(HashMap<&'a [u8], &'a Element, FixedState>, Option<&'a Element>),
    /// Ranges, from first to last key of a field or of each field.
    Ranges(Vec<Range<'a>>, Vec<usize>, Option<&'a Element>),
}

/// An index, or that there is none.
type Found<T> = Option<Rc<T>>;

/// What is asked of an ipset's members.
#[derive(Debug, Default)]
pub(super) struct Members {
    /// Their places by their first address.
    pub(super) by_address: HashMap<IpAddr, Vec<u32>, FixedState>,
    /// True where one was not understood: it may be the packet's.
    pub(super) in_doubt: bool,
}

type ChainCache = RefCell<HashMap<(usize, ChainId), Rc<ChainIndex>, FixedState>>;

/// A snapshot that packets can walk through.
pub struct RulesetIndex<'a> {
    snapshot: &'a Snapshot,
    hooks: [[Vec<Entry>; 5]; 2],
    local: HashSet<IpAddr, FixedState>,
    in_doubt: Option<IpAddr>,
    servers: HashMap<(u16, IpAddr, u16), &'a VirtualServer, FixedState>,
    marked: HashMap<u32, &'a VirtualServer, FixedState>,
    chains: ChainCache,
    sets: RefCell<HashMap<(usize, SetId), Found<SetIndex<'a>>, FixedState>>,
    ipsets: RefCell<HashMap<usize, Rc<Members>, FixedState>>,
    pub(super) interfaces: Interfaces,
}

impl std::fmt::Debug for RulesetIndex<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RulesetIndex").field("hooks", &self.hooks).finish_non_exhaustive()
    }
}

/// Chains shorter than this are gone through rule by rule.
const WORTH_AN_INDEX: usize = 8;

impl<'a> RulesetIndex<'a> {
    /// Finds what hangs on each hook.
    pub fn new(snapshot: &'a Snapshot) -> RulesetIndex<'a> {
        let mut ruleset = RulesetIndex {
            snapshot,
            hooks: Default::default(),
            local: snapshot.addresses.iter().map(|a| a.address).collect(),
            in_doubt: None,
            servers: HashMap::default(),
            marked: HashMap::default(),
            chains: RefCell::default(),
            sets: RefCell::default(),
            ipsets: RefCell::default(),
            interfaces: Interfaces::new(snapshot),
        };
        for server in snapshot.ipvs.iter().flat_map(|i| &i.value.servers) {
            match server.address {
                VirtualAddress::Socket { protocol, address, port } => {
                    // Where the node's addresses are not known: kube-proxy puts these on an interface of its own.
                    if snapshot.addresses.is_empty() {
                        ruleset.local.insert(address);
                    }
                    ruleset.servers.insert((protocol, address, port), server);
                }
                VirtualAddress::Mark(mark) => {
                    ruleset.marked.insert(mark, server);
                }
            }
        }
        for family in [IpFamily::V4, IpFamily::V6] {
            for hook in Hook::ALL {
                ruleset.hooks[family as usize][hook as usize] = ruleset.entries(family, hook);
            }
        }
        ruleset
    }

    /// With an address of which nobody knows whether it is the node's: both are followed.
    pub fn doubting(mut self, address: Option<IpAddr>) -> Self {
        self.in_doubt = address.filter(|a| !self.is_local(*a));
        self
    }

    /// With an address that is taken for the node's.
    pub fn with_local(mut self, address: IpAddr) -> Self {
        self.local.insert(address);
        self
    }

    /// The question whether this is the node's address, where that is open.
    pub(super) fn in_doubt(&self, address: IpAddr) -> Option<Question> {
        (self.in_doubt == Some(address)).then_some(Question::Local(address))
    }

    pub(super) fn snapshot(&self) -> &'a Snapshot {
        self.snapshot
    }

    /// A sysctl, where it was read.
    pub(super) fn sysctl(&self, name: &str) -> Option<&str> {
        self.snapshot.sysctls.get(name).map(String::as_str)
    }

    /// False where the node is known not to forward packets of a family.
    pub(super) fn forwards(&self, family: IpFamily) -> bool {
        let name = match family {
            IpFamily::V4 => "net/ipv4/ip_forward",
            IpFamily::V6 => "net/ipv6/conf/all/forwarding",
        };
        self.sysctl(name) != Some("0")
    }

    /// True where loopback addresses of IPv4 are known to stay within the node.
    pub(super) fn keeps_loopback(&self, packet: &super::Packet) -> bool {
        packet.family() == IpFamily::V4 && self.sysctl(ANY_ROUTE_LOCALNET) == Some("0")
    }

    pub(super) fn table(&self, index: usize) -> &'a Table {
        &self.snapshot.tables[index].table
    }

    /// What a packet meets at a hook, in order.
    fn entries(&self, family: IpFamily, hook: Hook) -> Vec<Entry> {
        // Priority, then for nat chains their own one, then newer ways first: of hooks with the same priority the
        // kernel gives no order.
        let mut found: Vec<((i32, i32, u8), Entry)> = Vec::new();
        for (index, state) in self.snapshot.tables.iter().enumerate() {
            let table = &*state.table;
            let mine = table.family == Family::from(family) || table.family == Family::Inet;
            if !mine || table.nf.as_ref().is_some_and(|n| n.flags & TABLE_DORMANT != 0) {
                continue;
            }
            for (i, chain) in table.chains.iter().enumerate() {
                let Some(base) = chain.base.filter(|b| b.hook == hook) else { continue };
                let priority = match base.kind {
                    ChainKind::Nat if matches!(hook, Hook::Prerouting | Hook::Output) => NAT_DESTINATION,
                    ChainKind::Nat => NAT_SOURCE,
                    _ => base.priority,
                };
                let age = match (table.backend, table.dialect) {
                    (crate::ruleset::TableBackend::XTables, _) => 2,
                    (_, crate::ruleset::Dialect::Iptables) => 1,
                    _ => 0,
                };
                let entry = Entry::Chain { table: index, chain: ChainId(i as u32), kind: base.kind };
                found.push(((priority, base.priority, age), entry));
            }
        }
        let tracked = !self.snapshot.tables.is_empty() || self.snapshot.conntrack.is_some();
        if matches!(hook, Hook::Prerouting | Hook::Output) && tracked {
            found.push(((CONNTRACK, i32::MIN, 0), Entry::Conntrack));
        }
        if !self.servers.is_empty() || !self.marked.is_empty() {
            match hook {
                Hook::Input => found.push(((IPVS_INPUT, i32::MIN, 0), Entry::Ipvs)),
                Hook::Output => found.push(((IPVS_OUTPUT, i32::MIN, 0), Entry::Ipvs)),
                _ => {}
            }
        }
        found.sort_by_key(|e| e.0);
        found.into_iter().map(|e| e.1).collect()
    }

    pub(super) fn entry(&self, family: IpFamily, hook: Hook, n: usize) -> Option<Entry> {
        self.hooks[family as usize].get(hook as usize)?.get(n).copied()
    }

    /// True for an address of the node itself.
    pub(super) fn is_local(&self, address: IpAddr) -> bool {
        address.is_loopback() || self.local.contains(&address)
    }

    /// `RTN_*` of an address, as far as the node's own addresses say. Broadcast addresses of its networks are not
    /// known.
    pub(super) fn address_type(&self, address: IpAddr) -> u8 {
        match address {
            _ if self.is_local(address) => RTN_LOCAL,
            IpAddr::V4(a) if a.is_broadcast() => RTN_BROADCAST,
            _ if address.is_multicast() => RTN_MULTICAST,
            _ => RTN_UNICAST,
        }
    }

    /// The virtual server that takes a packet (`ip_vs_service_find`): by mark first, then by address and port, then
    /// one for all ports.
    pub(super) fn virtual_server(
        &self,
        mark: u32,
        protocol: u8,
        to: (IpAddr, u16),
    ) -> Option<&'a VirtualServer> {
        let protocol = u16::from(protocol);
        let marked = self.marked.get(&mark).filter(|_| mark != 0);
        let at = |port| self.servers.get(&(protocol, to.0, port));
        marked.or_else(|| at(to.1)).or_else(|| at(0)).copied()
    }

    /// The index of a chain, where one is worth while.
    pub(super) fn chain_index(&self, index: usize, chain: ChainId) -> Option<Rc<ChainIndex>> {
        let table = self.table(index);
        let rules = table.chains[chain.0 as usize].rules.clone();
        if rules.len() < WORTH_AN_INDEX {
            return None;
        }
        let known = self.chains.borrow().get(&(index, chain)).cloned();
        Some(known.unwrap_or_else(|| {
            let mut made = ChainIndex::default();
            for id in rules {
                let matches = table.matches_of(table.rule(RuleId(id)));
                let wanted = matches.iter().find_map(|m| m.address().filter(|a| a.destination));
                // What is before the address may do something.
                let plain =
                    matches.iter().take_while(|m| m.address().is_none_or(|a| !a.destination)).all(|m| {
                        matches!(
                            m,
                            Match::Address4 { .. }
                                | Match::Address6(_)
                                | Match::Comment(_)
                                | Match::Protocol { .. }
                        )
                    });
                match wanted.filter(|a| plain && !a.invert && a.net.is_host()) {
                    Some(a) => made.by_destination.entry(a.net.addr).or_default().push(id),
                    None => made.others.push(id),
                }
            }
            let made = Rc::new(made);
            self.chains.borrow_mut().insert((index, chain), made.clone());
            made
        }))
    }

    /// The elements of a set; `None` where they are not known.
    pub(super) fn elements(&self, index: usize, id: SetId) -> Option<Rc<SetIndex<'a>>> {
        if let Some(known) = self.sets.borrow().get(&(index, id)) {
            return known.clone();
        }
        let made = set_index(self.table(index).set(id)).map(Rc::new);
        self.sets.borrow_mut().insert((index, id), made.clone());
        made
    }

    /// An ipset's members, put in order once.
    pub(super) fn members(&self, set: usize, ipset: &Ipset) -> Rc<Members> {
        if let Some(known) = self.ipsets.borrow().get(&set) {
            return known.clone();
        }
        let mut made = Members::default();
        for (i, m) in ipset.members.iter().flatten().enumerate() {
            if let Some(a) = m.address {
                made.by_address.entry(a).or_default().push(i as u32);
            }
            made.in_doubt |= m.other.first().is_some_and(|o| o.0 == AS_TEXT);
        }
        let made = Rc::new(made);
        self.ipsets.borrow_mut().insert(set, made.clone());
        made
    }
}

fn set_index(set: &Set) -> Option<SetIndex<'_>> {
    let elements = set.elements.as_ref()?;
    let catch_all = elements.iter().find(|e| e.catch_all);
    let plain = || elements.iter().filter(|e| !e.catch_all);
    if set.holds_ranges() {
        let mut sorted: Vec<&Element> = plain().collect();
        sorted.sort_by(|a, b| a.key.cmp(&b.key).then(b.end.cmp(&a.end)));
        let ranges =
            crate::ruleset::with_last_keys(&sorted).map(|(e, last)| (&*e.key, last.into(), e)).collect();
        return Some(SetIndex::Ranges(ranges, vec![set.key_len as usize], catch_all));
    }
    if plain().any(|e| e.key_end.is_some()) {
        let ranges =
            plain().map(|e| (&*e.key, e.key_end.clone().unwrap_or_else(|| e.key.clone()), e)).collect();
        return Some(SetIndex::Ranges(ranges, field_widths(set), catch_all));
    }
    Some(SetIndex::Keys(plain().map(|e| (&*e.key, e)).collect(), catch_all))
}

/// Bytes of each field of a concatenated key, on multiples of four.
fn field_widths(set: &Set) -> Vec<usize> {
    use crate::ruleset::data_type;
    let widths: Vec<usize> = crate::ruleset::field_types(set.key_type)
        .into_iter()
        .map(|t| match t {
            data_type::IPV6_ADDR | data_type::IFNAME => 16,
            data_type::ETHER_ADDR => 8,
            _ => 4,
        })
        .collect();
    if widths.iter().sum::<usize>() == set.key_len as usize { widths } else { vec![set.key_len as usize] }
}

impl<'a> SetIndex<'a> {
    /// The element that holds a key.
    pub(super) fn find(&self, key: &[u8]) -> Option<&'a Element> {
        match self {
            SetIndex::Keys(keys, catch_all) => keys.get(key).copied().or(*catch_all),
            SetIndex::Ranges(ranges, widths, catch_all) => {
                let inside = |first: &[u8], last: &[u8]| {
                    let mut at = 0;
                    widths.iter().all(|w| {
                        let end = (at + w).min(key.len());
                        let field = at..end;
                        at = end;
                        match (first.get(field.clone()), key.get(field.clone()), last.get(field)) {
                            (Some(first), Some(key), Some(last)) => first <= key && key <= last,
                            _ => false,
                        }
                    })
                };
                ranges.iter().find(|(first, last, _)| inside(first, last)).map(|r| r.2).or(*catch_all)
            }
        }
    }
}
