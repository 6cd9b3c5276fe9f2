//! The rules that make up a Service, as the kernel has them, in the order in which a packet meets them.

use super::{Mode, RuleRef, Service, endpoint_text, frontend_text, nftables};
use crate::ruleset::{
    ChainId, Data, Match, RuleId, Statement, Table, TableBackend, Target, Terminal, Verdict, octets,
};
use crate::snapshot::facts::{Ipvs, VirtualAddress};
use crate::snapshot::{MemoryList, Snapshot};
use std::collections::HashSet;

/// A line of what makes up a Service.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// Where the next ones are: table and chain, or set.
    Place(String),
    /// A rule.
    Rule(RuleRef),
    /// An element of a map, or a server of IPVS: text as the kernel's own tools write it.
    Text(String),
}

/// Lines beyond which nobody reads on; a Service of 1,000 endpoints has 4,000.
const MOST_PARTS: usize = 5000;

/// The rules (elements, virtual servers) of a Service.
pub fn parts(snapshot: &Snapshot, service: &Service) -> Vec<Part> {
    let mut parts = match service.engine.mode() {
        Mode::Nftables => of_nftables(snapshot, service),
        Mode::Ipvs => of_ipvs(snapshot, service),
        Mode::Iptables | Mode::Userspace => of_iptables(snapshot, service),
        Mode::Cilium | Mode::Calico | Mode::Ovn | Mode::Kernelspace => of_maps(snapshot, service),
    };
    if parts.len() > MOST_PARTS {
        let more = parts.len() - MOST_PARTS;
        parts.truncate(MOST_PARTS);
        parts.push(Part::Place(format!("… and {more} lines more")));
    }
    parts
}

/// What eBPF maps hold of a Service, in words: their entries are numbers.
fn of_maps(snapshot: &Snapshot, service: &Service) -> Vec<Part> {
    let stem = match service.engine.mode() {
        Mode::Cilium => "cilium_lb",
        _ => "cali_",
    };
    let maps = snapshot.maps.iter().flat_map(|m| m.iter()).filter(|m| m.name.starts_with(stem));
    let mut parts: Vec<Part> = service
        .frontends
        .iter()
        .map(|f| {
            let kind = f.kind.map_or("address", |k| k.words());
            Part::Text(format!(
                "{}/{} ({kind}): {}",
                frontend_text(f),
                service.protocol.lower(),
                f.action.name()
            ))
        })
        .collect();
    parts.extend(
        service.backends.iter().map(|b| Part::Text(format!("-> {}", endpoint_text(b.address, b.port)))),
    );
    let where_ = match service.engine.mode() {
        Mode::Ovn => Some("These are elements of the nftables table inet ovn-kubernetes."),
        Mode::Kernelspace => Some("This is a load balancer of the node's Host Networking Service."),
        _ => None,
    };
    if let Some(text) = where_ {
        parts.push(Part::Place(text.into()));
        return parts;
    }
    parts.push(Part::Place("These are entries of the pinned eBPF maps:".into()));
    parts.extend(maps.map(|m| Part::Text(format!("{}: {} of {} entries", m.name, m.len(), m.max_entries))));
    parts
}

/// Chains and rules of one table, in order.
struct Walk<'a> {
    index: usize,
    table: &'a Table,
    seen: HashSet<ChainId>,
    parts: Vec<Part>,
}

impl<'a> Walk<'a> {
    fn new(index: usize, table: &'a Table) -> Walk<'a> {
        Walk { index, table, seen: HashSet::new(), parts: Vec::new() }
    }

    fn place(&mut self, what: &str) {
        self.parts.push(Part::Place(format!("{} {} {what}", self.table.family, self.table.name)));
    }

    fn rules(&mut self, rules: &[RuleId]) {
        let mut last = None;
        for rule in rules {
            let chain = self.table.chain_of(*rule);
            if chain != last
                && let Some(c) = chain
            {
                self.place(self.table.chain_name(c));
            }
            last = chain;
            self.parts.push(Part::Rule(RuleRef { table: self.index, rule: *rule }));
        }
    }

    /// A chain and those that it leads to and that are the Service's own.
    fn chain(&mut self, chain: ChainId, is_own: &dyn Fn(&str) -> bool) {
        if !self.seen.insert(chain) || self.parts.len() > MOST_PARTS {
            return;
        }
        self.place(self.table.chain_name(chain));
        let mut next = Vec::new();
        for (id, rule) in self.table.rules_of(chain) {
            self.parts.push(Part::Rule(RuleRef { table: self.index, rule: id }));
            next.extend(targets(self.table, rule));
        }
        for to in next {
            if is_own(self.table.chain_name(to)) {
                self.chain(to, is_own);
            }
        }
    }
}

/// Where a rule leads: its jump, and those of a map that it looks into.
fn targets(table: &Table, rule: &crate::ruleset::Rule) -> Vec<ChainId> {
    let mut found: Vec<ChainId> = table.jump_of(rule).into_iter().collect();
    if let Target::Native(t) = &rule.target
        && let Terminal::VerdictMap { set, .. } = &**t
    {
        let elements = table.set(*set).elements.iter().flatten();
        found.extend(elements.filter_map(|e| match e.data {
            Data::Verdict(Verdict::Goto(c) | Verdict::Jump(c)) => Some(c),
            _ => None,
        }));
    }
    found
}

/// Prefixes of chains that belong to one Service port or one endpoint (`proxier.go` of 1.20 to 1.36).
use super::chain::OF_ONE as OWN;

fn of_iptables(snapshot: &Snapshot, service: &Service) -> Vec<Part> {
    let mut all = Vec::new();
    let hash = service.chain_hash.as_deref();
    for (index, state) in snapshot.tables.iter().enumerate() {
        let table = &*state.table;
        let backend = match service.engine.variant() {
            Some(super::Variant::Nft) => TableBackend::NfTables,
            _ => TableBackend::XTables,
        };
        if state.backend != backend
            || state.family.ip() != Some(service.family)
            || table.name == nftables::TABLE
        {
            continue;
        }
        let mut walk = Walk::new(index, table);
        // Rules elsewhere that lead here, and those that refuse.
        let is_own = |name: &str| OWN.iter().any(|p| name.starts_with(p));
        let is_mine = |name: &str| hash.is_some_and(|h| is_own(name) && name.ends_with(h));
        let mut heads: Vec<RuleId> = service
            .frontends
            .iter()
            .flat_map(|f| [f.rule, f.refusal])
            .flatten()
            .filter(|r| r.table == index)
            .map(|r| r.rule)
            .collect();
        for (i, rule) in table.rules.iter().enumerate() {
            let Some(to) = table.jump_of(rule) else { continue };
            let id = RuleId(i as u32);
            if is_mine(table.chain_name(to))
                && table.chain_of(id).is_some_and(|c| !is_own(table.chain_name(c)))
            {
                heads.push(id);
            }
        }
        heads.sort_unstable_by_key(|r| r.0);
        heads.dedup();
        walk.rules(&heads);
        for i in 0..table.chains.len() {
            if is_mine(table.str(table.chains[i].name)) {
                walk.chain(ChainId(i as u32), &is_own);
            }
        }
        all.append(&mut walk.parts);
    }
    all
}

fn of_nftables(snapshot: &Snapshot, service: &Service) -> Vec<Part> {
    let found = snapshot.tables.iter().enumerate().find(|(_, t)| {
        t.backend == TableBackend::NfTables
            && t.family.ip() == Some(service.family)
            && t.table.name == nftables::TABLE
    });
    let Some((index, state)) = found else { return Vec::new() };
    let table = &*state.table;
    let mut walk = Walk::new(index, table);
    let base = service.name.as_ref().map(|n| nftables::chain_base(n, service.protocol));
    use nftables::name;
    let is_mine = |chain: &str| {
        let prefixes = [name::SERVICE, name::EXTERNAL, name::LOCAL, name::FIREWALL];
        base.as_deref().is_some_and(|b| prefixes.iter().any(|p| chain.strip_prefix(p) == Some(b)))
    };
    // Elements of the maps that lead here, or refuse.
    let is_frontend = |key: &[u8]| {
        service.frontends.iter().any(|f| {
            let port = f.port.to_be_bytes();
            let with_address = f.address.is_some_and(|a| key.starts_with(&octets(a)));
            let w = usize::from(service.family.bits() / 8);
            (with_address
                && key.get(w) == Some(&service.protocol.number())
                && key.get(w + 4..w + 6) == Some(&port))
                || (key.len() <= 8
                    && key.first() == Some(&service.protocol.number())
                    && key.get(4..6) == Some(&port))
        })
    };
    for map in [
        name::SERVICE_IPS,
        name::SERVICE_NODEPORTS,
        name::FIREWALL_IPS,
        name::NO_ENDPOINT_SERVICES,
        name::NO_ENDPOINT_NODEPORTS,
    ] {
        let Some(id) = table.find_set(map) else { continue };
        let set = table.set(id);
        let mine: Vec<Part> = set
            .elements
            .iter()
            .flatten()
            .filter(|e| match e.data {
                Data::Verdict(Verdict::Goto(c) | Verdict::Jump(c)) => is_mine(table.chain_name(c)),
                _ => is_frontend(&e.key),
            })
            .map(|e| Part::Text(table.element_text(set, e).to_string()))
            .collect();
        if !mine.is_empty() {
            walk.place(&format!("@{map}"));
            walk.parts.extend(mine);
        }
    }
    let is_own = |chain: &str| is_mine(chain) || chain.starts_with(name::ENDPOINT);
    for i in 0..table.chains.len() {
        if is_mine(table.str(table.chains[i].name)) {
            walk.chain(ChainId(i as u32), &is_own);
        }
    }
    walk.parts
}

/// As `ipvsadm -S -n` writes them.
fn of_ipvs(snapshot: &Snapshot, service: &Service) -> Vec<Part> {
    let Some(ipvs) = snapshot.ipvs.as_ref().map(|r| &*r.value) else { return Vec::new() };
    let ipvs: &Ipvs = ipvs;
    let mut parts = Vec::new();
    for v in &ipvs.servers {
        let VirtualAddress::Socket { protocol, address, port } = v.address else { continue };
        let mine = service.frontends.iter().any(|f| f.address.is_none_or(|a| a == address) && f.port == port)
            && protocol == u16::from(service.protocol.number());
        if !mine {
            continue;
        }
        let flag = match service.protocol {
            super::Protocol::Tcp => "-t",
            super::Protocol::Udp => "-u",
            super::Protocol::Sctp | super::Protocol::Any => "--sctp-service",
        };
        let to = endpoint_text(address, port);
        let persistent = match v.flags & crate::snapshot::facts::SVC_PERSISTENT {
            0 => String::new(),
            _ => format!(" -p {}", v.timeout),
        };
        parts.push(Part::Text(format!("-A {flag} {to} -s {}{persistent}", v.scheduler)));
        for r in &v.real_servers {
            let way = match r.forwarding {
                crate::snapshot::facts::Forwarding::Masquerade => "-m",
                crate::snapshot::facts::Forwarding::Tunnel => "-i",
                _ => "-g",
            };
            let at = endpoint_text(r.address, r.port);
            parts.push(Part::Text(format!("-a {flag} {to} -r {at} {way} -w {}", r.weight)));
        }
    }
    if !parts.is_empty() {
        parts.insert(0, Part::Place("IPVS (as ipvsadm -S -n)".into()));
    }
    parts
}

/// Where a Service's rules remember its clients, with the backend that each list belongs to: sessions with affinity.
pub fn memory_lists(snapshot: &Snapshot, service: &Service) -> Vec<MemoryList> {
    let mut lists = Vec::new();
    if service.session_affinity.is_none() {
        return lists;
    }
    for part in parts(snapshot, service) {
        let Part::Rule(r) = part else { continue };
        let Some(state) = snapshot.tables.get(r.table) else { continue };
        let table = &*state.table;
        for m in table.matches_of(table.rule(r.rule)) {
            let list = match m {
                Match::Recent(recent) => MemoryList::Recent(table.str(recent.name).to_string()),
                Match::Does(s) => match &**s {
                    Statement::Dynset { set, .. } => {
                        let set = table.str(table.set(*set).name).to_string();
                        MemoryList::Set(table.family, table.name.to_string(), set)
                    }
                    _ => continue,
                },
                _ => continue,
            };
            if !lists.contains(&list) {
                lists.push(list);
            }
        }
    }
    lists
}
