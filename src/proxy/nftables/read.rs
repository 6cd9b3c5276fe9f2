//! Table `kube-proxy` -> Services.

use super::{name, parse_base};
use crate::proxy::{
    Action, Affinity, Backend, CounterSource, Engine, Frontend, FrontendKind, NamedBy, Protocol, Service,
    ServiceName, TrafficPolicy, UnknownBackends,
};
use crate::ruleset::{
    ChainId, Data, Element, Field, IpFamily, IpNet, Load, Match, Rule, Set, SetId, Statement, Table, Target,
    Terminal, Test, Verdict, address, address_number, with_last_keys,
};
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Reads the Services of one family. Flows are not filled in: see [`crate::proxy::Model`].
pub fn read(family: IpFamily, table: &Table) -> Vec<Service> {
    let chains =
        table.chains.iter().enumerate().map(|(i, c)| (table.str(c.name), ChainId(i as u32))).collect();
    let mut r = Reader {
        family,
        table,
        chains,
        services: Vec::new(),
        index: HashMap::default(),
        places: HashMap::default(),
    };
    r.frontends();
    r.refusals();
    r.firewalls();
    r.find_stale();
    for i in 0..r.services.len() {
        r.backends(i);
    }
    // Maps keep no order.
    for (s, _) in &mut r.services {
        s.frontends.shrink_to_fit();
        s.frontends.sort_by_key(|f| (f.kind.map_or(1, place_of), f.address, f.port));
    }
    r.services.into_iter().map(|(s, _)| s).collect()
}

/// The order of frontends; those of which the kind is not known come behind cluster IPs.
fn place_of(kind: FrontendKind) -> u8 {
    match kind {
        FrontendKind::ClusterIp => 0,
        FrontendKind::ExternalIp => 2,
        FrontendKind::LoadBalancerIp => 4,
        FrontendKind::NodePort => 6,
        FrontendKind::FirewallMark(_) => 8,
    }
}

/// Bytes to which kube-proxy cuts comments (from 1.37 on, by its release notes): what is so long may be a part of a name.
const CUT_COMMENT: usize = 128;

struct Reader<'a> {
    family: IpFamily,
    table: &'a Table,
    chains: Map<&'a str, ChainId>,
    /// With the name of its chains behind their prefix.
    services: Vec<(Service, Option<String>)>,
    index: Map<(ServiceName, Protocol), usize>,
    /// Where each frontend is: among `services`, and among the Service's frontends.
    places: Map<Place, Vec<(usize, usize)>>,
}

type Map<K, V> = HashMap<K, V, foldhash::fast::FixedState>;

/// What a frontend listens on; no address: a port on all of the node's.
type Place = (Option<IpAddr>, Protocol, u16);

/// Where an external chain leads.
struct ExternalChain {
    policy: TrafficPolicy,
    /// Nothing catches what comes from outside.
    dead_end: bool,
}

fn port(bytes: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.first_chunk::<2>()?))
}

impl<'a> Reader<'a> {
    fn width(&self) -> usize {
        usize::from(self.family.bits() / 8)
    }

    fn elements(&self, set: &str) -> &'a [Element] {
        let table = self.table;
        table.find_set(set).and_then(|id| table.set(id).elements.as_deref()).unwrap_or(&[])
    }

    /// `address . protocol . port`
    fn destination(&self, key: &[u8]) -> Option<(IpAddr, Protocol, u16)> {
        let w = self.width();
        let protocol = Protocol::from_number(u16::from(*key.get(w)?))?;
        Some((address(self.family, key)?, protocol, port(key.get(w + 4..)?)?))
    }

    /// `protocol . port`
    fn node_port(&self, key: &[u8]) -> Option<(Protocol, u16)> {
        Some((Protocol::from_number(u16::from(*key.first()?))?, port(key.get(4..)?)?))
    }

    fn service(
        &mut self,
        name: ServiceName,
        protocol: Protocol,
        named_by: NamedBy,
        base: Option<&str>,
    ) -> usize {
        let next = self.services.len();
        let i = *self.index.entry((name.clone(), protocol)).or_insert(next);
        if i == next {
            self.services.push((
                Service {
                    name: Some(name),
                    named_by: Some(named_by),
                    ..Service::new(protocol, self.family, Engine::Nftables)
                },
                None,
            ));
        }
        let (service, known) = &mut self.services[i];
        if let Some(base) = base {
            service.named_by = Some(NamedBy::Chain);
            service.chain_hash = base.split('-').next().map(str::to_string);
            known.get_or_insert_with(|| base.to_string());
        }
        i
    }

    fn add_frontend(&mut self, service: usize, frontend: Frontend) {
        let s = &mut self.services[service].0;
        let place = (frontend.address, s.protocol, frontend.port);
        self.places.entry(place).or_default().push((service, s.frontends.len()));
        s.frontends.push(frontend);
    }

    /// The Service that a chain belongs to, and the chain's name behind its prefix.
    fn owner(&mut self, chain: ChainId, prefixes: &[&str]) -> Option<usize> {
        let table = self.table;
        let full = table.chain_name(chain);
        let base = prefixes.iter().find_map(|p| full.strip_prefix(p))?;
        let (_, name, protocol) = parse_base(base)?;
        Some(self.service(name, protocol, NamedBy::Chain, Some(base)))
    }

    fn frontends(&mut self) {
        for e in self.elements(name::SERVICE_IPS) {
            let (Some((address, _, port)), Data::Verdict(Verdict::Goto(chain) | Verdict::Jump(chain))) =
                (self.destination(&e.key), &e.data)
            else {
                continue;
            };
            let full = self.table.chain_name(*chain);
            let external = full.starts_with(name::EXTERNAL);
            // Internal traffic goes straight to the endpoints; an external address may be any of two kinds.
            let kind = if external { None } else { Some(FrontendKind::ClusterIp) };
            let lead = self.lead(*chain);
            let Some(service) = self.owner(*chain, &[name::SERVICE, name::LOCAL, name::EXTERNAL]) else {
                continue;
            };
            self.add_frontend(service, frontend(kind, Some(address), port, &lead));
        }
        let addresses = self.node_port_addresses();
        for e in self.elements(name::SERVICE_NODEPORTS) {
            let (Some((_, port)), Data::Verdict(Verdict::Goto(chain) | Verdict::Jump(chain))) =
                (self.node_port(&e.key), &e.data)
            else {
                continue;
            };
            let lead = self.lead(*chain);
            let Some(service) = self.owner(*chain, &[name::EXTERNAL, name::SERVICE, name::LOCAL]) else {
                continue;
            };
            for address in &addresses {
                self.add_frontend(service, frontend(Some(FrontendKind::NodePort), *address, port, &lead));
            }
        }
    }

    /// The addresses on which node ports are served: those of the set, or all of the node's.
    fn node_port_addresses(&self) -> Vec<Option<IpAddr>> {
        let table = self.table;
        let set = table.find_set(name::NODEPORT_IPS);
        let asks_set = table.chain(name::SERVICES).is_none_or(|chain| {
            table.rules_of(chain).any(|(_, rule)| {
                table.matches_of(rule).iter().any(|m| match m {
                    Match::Native(c) => matches!(c.test, Test::Set { set: s, .. } if Some(s) == set),
                    _ => false,
                })
            })
        });
        if !asks_set {
            return vec![None];
        }
        let found: Vec<Option<IpAddr>> = self
            .elements(name::NODEPORT_IPS)
            .iter()
            .filter(|e| !e.end)
            .filter_map(|e| address(self.family, &e.key))
            .map(Some)
            .collect();
        // An empty set: the ports are written, and nothing reaches them.
        found
    }

    /// Follows an external chain to where its traffic ends.
    fn lead(&self, chain: ChainId) -> ExternalChain {
        let table = self.table;
        let full = table.chain_name(chain);
        if full.starts_with(name::LOCAL) {
            return ExternalChain { policy: TrafficPolicy::Local, dead_end: false };
        }
        if !full.starts_with(name::EXTERNAL) {
            return ExternalChain { policy: TrafficPolicy::Cluster, dead_end: false };
        }
        for (_, rule) in table.rules_of(chain) {
            let Some(to) = table.jump_of(rule).map(|c| table.chain_name(c)) else { continue };
            if !(to.starts_with(name::SERVICE) || to.starts_with(name::LOCAL)) || !takes_all(table, rule) {
                continue;
            }
            let policy =
                if to.starts_with(name::LOCAL) { TrafficPolicy::Local } else { TrafficPolicy::Cluster };
            return ExternalChain { policy, dead_end: false };
        }
        // Only the short cuts of pods and of the node itself.
        ExternalChain { policy: TrafficPolicy::Local, dead_end: true }
    }

    fn refusals(&mut self) {
        let cluster_ips: HashSet<IpAddr, foldhash::fast::FixedState> =
            self.elements(name::CLUSTER_IPS).iter().filter_map(|e| address(self.family, &e.key)).collect();
        for e in self.elements(name::NO_ENDPOINT_SERVICES) {
            let Some((address, protocol, port)) = self.destination(&e.key) else { continue };
            let kind = cluster_ips.contains(&address).then_some(FrontendKind::ClusterIp);
            self.refuse(e, kind, Some(address), protocol, port);
        }
        let addresses = self.node_port_addresses();
        for e in self.elements(name::NO_ENDPOINT_NODEPORTS) {
            let Some((protocol, port)) = self.node_port(&e.key) else { continue };
            for address in &addresses {
                self.refuse(e, Some(FrontendKind::NodePort), *address, protocol, port);
            }
        }
    }

    fn refuse(
        &mut self,
        e: &Element,
        kind: Option<FrontendKind>,
        address: Option<IpAddr>,
        protocol: Protocol,
        port: u16,
    ) {
        let table = self.table;
        let whole = e.comment.map(|c| table.str(c)).filter(|c| c.len() < CUT_COMMENT);
        let named = whole.and_then(ServiceName::parse);
        let action = match e.data {
            Data::Verdict(Verdict::Drop) => Action::Drop,
            _ => Action::Reject,
        };
        let policy = (action == Action::Drop).then_some(TrafficPolicy::Local);
        // The service maps may hold the frontend too, for the pods' and the node's own traffic.
        if let Some(&(holder, i)) = self.places.get(&(address, protocol, port)).and_then(|held| held.first())
        {
            let f = &mut self.services[holder].0.frontends[i];
            f.action = action;
            f.traffic_policy = policy.or(f.traffic_policy);
            f.kind = f.kind.or(kind);
            return;
        }
        let new = Frontend { traffic_policy: policy, ..Frontend::new(kind, address, port, action) };
        let service = match named {
            Some(name) => self.service(name, protocol, NamedBy::Comment, None),
            None => {
                self.services.push((Service::new(protocol, self.family, Engine::Nftables), None));
                self.services.len() - 1
            }
        };
        self.add_frontend(service, new);
    }

    /// Source ranges of load balancers.
    fn firewalls(&mut self) {
        for e in self.elements(name::FIREWALL_IPS) {
            let (Some((address, protocol, port)), Data::Verdict(Verdict::Goto(chain) | Verdict::Jump(chain))) =
                (self.destination(&e.key), &e.data)
            else {
                continue;
            };
            // kube-proxy lets the load balancer's own address in where the node is among the ranges: no
            // range of the Service's.
            let own = IpNet::host(address);
            let ranges: Vec<IpNet> = self.ranges(*chain).into_iter().filter(|r| *r != own).collect();
            for &(service, i) in self.places.get(&(Some(address), protocol, port)).into_iter().flatten() {
                let f = &mut self.services[service].0.frontends[i];
                f.kind = Some(FrontendKind::LoadBalancerIp);
                if f.action != Action::Reject && !ranges.is_empty() {
                    f.source_ranges = Some(ranges.clone());
                }
            }
        }
    }

    /// What a firewall chain lets through: `ip saddr != { … } drop`.
    fn ranges(&self, chain: ChainId) -> Vec<IpNet> {
        let table = self.table;
        let mut ranges = Vec::new();
        for (_, rule) in table.rules_of(chain) {
            for m in table.matches_of(rule) {
                match (m.address(), m) {
                    (Some(a), _) if a.invert && !a.destination => ranges.push(a.net),
                    (_, Match::Native(c)) => match &c.test {
                        Test::Set { set, invert: true } => {
                            ranges.extend(networks(self.family, table.set(*set)));
                        }
                        Test::Range { invert: true, from, to } => {
                            if let (Some(a), Some(b)) = (address(self.family, from), address(self.family, to))
                            {
                                ranges.extend(cover(address_number(a), address_number(b), self.family));
                            }
                        }
                        _ => {}
                    },
                    _ => {}
                }
            }
        }
        ranges
    }

    /// Service chains that nothing leads to and that still balance: what a mode left behind. kube-proxy
    /// flushes a chain before it removes it a second later: those are no leftovers.
    fn find_stale(&mut self) {
        let table = self.table;
        for (i, c) in table.chains.iter().enumerate() {
            let is_service = table.str(c.name).starts_with(name::SERVICE);
            if is_service && !c.rules.is_empty() {
                self.owner(ChainId(i as u32), &[name::SERVICE]);
            }
        }
    }

    fn backends(&mut self, i: usize) {
        let Some(base) = self.services[i].1.clone() else { return };
        let chain = |prefix: &str| self.chains.get(&*format!("{prefix}{base}")).copied();
        let cluster = chain(name::SERVICE).map(|c| self.balance(c));
        let local = chain(name::LOCAL).map(|c| self.balance(c));
        let service = &mut self.services[i].0;
        for (policy, balance) in [(TrafficPolicy::Cluster, &cluster), (TrafficPolicy::Local, &local)] {
            let Some(balance) = balance else { continue };
            if service.backends.is_empty() {
                service.backends.reserve_exact(balance.endpoints.len());
            }
            service.unknown_backends = service.unknown_backends.or(balance.unknown);
            service.session_affinity = service.session_affinity.or(balance.affinity_s.map(Affinity::For));
            for (address, port, share) in &balance.endpoints {
                let known = service.backends.iter().position(|b| b.address == *address && b.port == *port);
                let at = known.unwrap_or_else(|| {
                    service.backends.push(Backend::new(*address, *port, CounterSource::Conntrack));
                    service.backends.len() - 1
                });
                let b = &mut service.backends[at];
                b.traffic_policies.add(policy);
                let part = match policy {
                    TrafficPolicy::Cluster => &mut b.share,
                    TrafficPolicy::Local => &mut b.local_share,
                };
                *part = Some(part.unwrap_or(0.0) + share);
            }
        }
        if service.unknown_backends == Some(UnknownBackends::Unfamiliar) {
            service.backends.clear();
        }
        if local.is_some() || service.frontends.iter().any(|f| f.traffic_policy == Some(TrafficPolicy::Local))
        {
            for b in &mut service.backends {
                b.local = Some(b.local_share.is_some());
            }
        }
    }

    fn balance(&self, chain: ChainId) -> Balance {
        let table = self.table;
        let mut balance = Balance::default();
        for (_, rule) in table.rules_of(chain) {
            if let Some(to) = table.jump_of(rule)
                && table.chain_name(to).starts_with(name::ENDPOINT)
            {
                balance.affinity_s = balance.affinity_s.or(self.affinity(to));
                if takes_all(table, rule)
                    && let Some((address, port)) = self.endpoint(to)
                {
                    balance.endpoints.push((address, port, 1.0));
                }
                continue;
            }
            match &rule.target {
                Target::Native(t) => match &**t {
                    Terminal::VerdictMap { key, set } => self.spread(key, *set, &mut balance),
                    Terminal::Nat { destination: true, addr: Some((load, _)), .. } => match &load.field {
                        Field::Mapped(m) => self.spread(&m.key, m.set, &mut balance),
                        _ => balance.unknown = Some(UnknownBackends::Unfamiliar),
                    },
                    _ => {}
                },
                // Asking for masquerading comes back; what leads elsewhere may hold endpoints.
                Target::Verdict(Verdict::Goto(to) | Verdict::Jump(to))
                    if table.chain_name(*to) != name::MARK =>
                {
                    balance.unknown = Some(UnknownBackends::Unfamiliar);
                }
                other => {
                    if let Some(to) = other.as_dnat_to() {
                        balance.endpoints.push((to.addr, to.port, 1.0));
                    }
                }
            }
        }
        balance
    }

    /// Endpoints of a map over a random number: to each its part of the numbers.
    fn spread(&self, key: &[Load], set: SetId, balance: &mut Balance) {
        let [Load { field: Field::Numgen { modulus, .. }, .. }] = key else {
            balance.unknown = Some(UnknownBackends::Unfamiliar);
            return;
        };
        if self.table.set(set).elements.is_none() {
            balance.unknown = Some(UnknownBackends::Unread(*modulus));
        }
        let mut elements: Vec<&Element> =
            self.table.set(set).elements.iter().flatten().filter(|e| !e.end).collect();
        elements.sort_by_key(|e| e.key.first_chunk::<4>().map(|b| u32::from_ne_bytes(*b)));
        let share = 1.0 / f64::from((*modulus).max(1));
        let w = self.width();
        for e in elements {
            let found = match &e.data {
                Data::Verdict(Verdict::Goto(to) | Verdict::Jump(to)) => {
                    balance.affinity_s = balance.affinity_s.or(self.affinity(*to));
                    self.endpoint(*to)
                }
                Data::Value(v) => address(self.family, v).zip(v.get(w..).and_then(port)),
                _ => None,
            };
            if let Some((address, port)) = found {
                balance.endpoints.push((address, port, share));
            }
        }
    }

    /// Where an endpoint's chain sends its flows.
    fn endpoint(&self, chain: ChainId) -> Option<(IpAddr, u16)> {
        self.table.rules_of(chain).find_map(|(_, rule)| {
            let to = rule.target.as_dnat_to()?;
            Some((to.addr, to.port))
        })
    }

    /// How long an endpoint's chain keeps its clients: the lifetime of its set.
    fn affinity(&self, chain: ChainId) -> Option<u32> {
        let table = self.table;
        table.rules_of(chain).find_map(|(_, rule)| {
            table.matches_of(rule).iter().find_map(|m| match m {
                Match::Does(s) => match &**s {
                    Statement::Dynset { set, timeout_ms, .. } => {
                        let ms = timeout_ms.or(table.set(*set).timeout_ms)?;
                        Some((ms / 1000) as u32)
                    }
                    _ => None,
                },
                _ => None,
            })
        })
    }
}

/// What a balancing chain does: endpoints with their part of new flows.
#[derive(Default)]
struct Balance {
    endpoints: Vec<(IpAddr, u16, f64)>,
    affinity_s: Option<u32>,
    unknown: Option<UnknownBackends>,
}

fn frontend(
    kind: Option<FrontendKind>,
    address: Option<IpAddr>,
    port: u16,
    lead: &ExternalChain,
) -> Frontend {
    let action = if lead.dead_end { Action::Drop } else { Action::Balance };
    Frontend { traffic_policy: Some(lead.policy), ..Frontend::new(kind, address, port, action) }
}

/// True where a rule asks nothing of a packet.
fn takes_all(table: &Table, rule: &Rule) -> bool {
    table.matches_of(rule).iter().all(|m| matches!(m, Match::Comment(_) | Match::Counter | Match::Does(_)))
}

/// The networks in a set, of ranges or of single addresses.
fn networks(family: IpFamily, set: &Set) -> Vec<IpNet> {
    let mut sorted: Vec<&Element> = set.elements.iter().flatten().filter(|e| !e.catch_all).collect();
    sorted.sort_by(|a, b| a.key.cmp(&b.key).then(b.end.cmp(&a.end)));
    let mut found = Vec::new();
    for (e, last) in with_last_keys(&sorted) {
        let Some(from) = address(family, &e.key) else { continue };
        let last = address(family, &last).filter(|_| set.holds_ranges()).unwrap_or(from);
        if last >= from {
            found.extend(cover(address_number(from), address_number(last), family));
        }
    }
    found
}

/// The fewest networks that cover a range of addresses.
fn cover(from: u128, to: u128, family: IpFamily) -> Vec<IpNet> {
    let bits = u32::from(family.bits());
    let mut found = Vec::new();
    let mut at = from;
    loop {
        // As large as the address' low zeros and the end of the range allow.
        let mut size = at.trailing_zeros().min(bits);
        while size > 0
            && (size == 128 || at + ((1u128 << size) - 1) > to)
            && !(size == 128 && to == u128::MAX)
        {
            size -= 1;
        }
        let addr = match family {
            IpFamily::V4 => IpAddr::V4(Ipv4Addr::from(at as u32)),
            IpFamily::V6 => IpAddr::V6(Ipv6Addr::from(at)),
        };
        found.push(IpNet { addr, prefix: (bits - size) as u8 });
        if size == 128 {
            return found;
        }
        match at.checked_add(1u128 << size) {
            Some(next) if next <= to => at = next,
            _ => return found,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges_become_the_networks_that_they_were() {
        let net = |s: &str| s.parse::<IpNet>().unwrap();
        let v4 = |s: &str| address_number(s.parse().unwrap());
        assert_eq!(cover(v4("10.0.0.0"), v4("10.255.255.255"), IpFamily::V4), [net("10.0.0.0/8")]);
        assert_eq!(cover(0, u128::from(u32::MAX), IpFamily::V4), [net("0.0.0.0/0")]);
        assert_eq!(cover(0, u128::MAX, IpFamily::V6), [net("::/0")]);
        assert_eq!(
            cover(v4("10.0.0.1"), v4("10.0.0.4"), IpFamily::V4),
            [net("10.0.0.1/32"), net("10.0.0.2/31"), net("10.0.0.4/32")]
        );
    }

    proptest! {
        #[test]
        fn a_cover_holds_the_range_and_nothing_else(a: u32, len in 0u32..5000) {
            let (from, to) = (u128::from(a), u128::from(a.saturating_add(len)));
            let nets = cover(from, to, IpFamily::V4);
            let mut next = from;
            for n in nets {
                prop_assert_eq!(address_number(n.addr), next);
                next += 1u128 << (32 - u32::from(n.prefix));
            }
            prop_assert_eq!(next, to + 1);
        }
    }
}
