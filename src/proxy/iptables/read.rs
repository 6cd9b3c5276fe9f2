//! Rules -> Services.

use super::chain;
use super::chains::{Chains, RuleCriteria};
use crate::proxy::{
    Action, Affinity, Backend, CounterSource, Engine, Frontend, FrontendKind, NamedBy, Names, Protocol,
    RuleRef, Service, ServiceName, TrafficPolicy, Variant,
};
use crate::ruleset::{IpFamily, IpNet, RuleId, Table, Target, Verdict};
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

/// Which Service a rule is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Named(ServiceName, Protocol),
    Hashed(String, Protocol),
}

/// A table of a snapshot with its index there.
pub type Indexed<'a> = (usize, &'a Table);

/// Reads the Services of one family and variant from its `nat` and `filter` tables.
///
/// Counters and flows are not filled in: see [`crate::proxy::Model`].
pub fn read(
    family: IpFamily,
    variant: Variant,
    nat: Option<Indexed<'_>>,
    filter: Option<Indexed<'_>>,
    names: &Names,
) -> Vec<Service> {
    let mut reader = Reader { family, variant, names, services: Vec::new(), index: HashMap::default() };
    if let Some((i, table)) = nat {
        reader.nat(i, &Chains::new(table));
    }
    if let Some((i, table)) = filter {
        reader.filter(i, &Chains::new(table));
    }
    reader.services.iter_mut().for_each(tell_local);
    reader.services
}

struct Reader<'a> {
    family: IpFamily,
    variant: Variant,
    names: &'a Names,
    services: Vec<Service>,
    index: HashMap<Key, usize, foldhash::fast::FixedState>,
}

/// Kinds of frontends by the end of a comment in `KUBE-SERVICES` (nat).
const KINDS: [(&str, FrontendKind); 3] = [
    (" cluster IP", FrontendKind::ClusterIp),
    (" external IP", FrontendKind::ExternalIp),
    (" loadbalancer IP", FrontendKind::LoadBalancerIp),
];

/// The hash behind a chain's prefix.
fn hash_of(target: &str) -> Option<&str> {
    [chain::SVC, chain::SVL, chain::EXT, chain::XLB, chain::FW].iter().find_map(|p| target.strip_prefix(p))
}

impl Reader<'_> {
    fn service(&mut self, name: Option<ServiceName>, hash: Option<&str>, protocol: Protocol) -> usize {
        let (name, named_by) = match (name, hash) {
            (Some(name), _) => (Some(name), Some(NamedBy::Comment)),
            (None, Some(h)) => match self.names.get(h) {
                Some(name) => (Some(name.clone()), Some(NamedBy::Chain)),
                None => (None, None),
            },
            (None, None) => (None, None),
        };
        let key = match &name {
            Some(name) => Key::Named(name.clone(), protocol),
            None => Key::Hashed(hash.unwrap_or_default().to_string(), protocol),
        };
        let next = self.services.len();
        let i = *self.index.entry(key).or_insert(next);
        if i == next {
            self.services.push(Service {
                name,
                named_by,
                ..Service::new(protocol, self.family, Engine::iptables(self.variant))
            });
        }
        if let Some(h) = hash {
            self.services[i].chain_hash.get_or_insert_with(|| h.to_string());
        }
        i
    }

    /// Adds a frontend, or finds the one that represents the same address, port and kind.
    fn frontend(&mut self, service: usize, new: Frontend) {
        let frontends = &mut self.services[service].frontends;
        let same =
            frontends.iter().any(|f| f.kind == new.kind && f.address == new.address && f.port == new.port);
        if !same {
            frontends.push(new);
        }
    }

    fn nat(&mut self, table: usize, chains: &Chains<'_>) {
        let mut node_addresses: Vec<Option<IpAddr>> = Vec::new();
        if let Some(services) = chains.get(chain::SERVICES) {
            for (id, rule) in chains.rules(services) {
                let Some(target) = chains.jump(rule) else { continue };
                let asks = chains.asks(rule);
                if target == chain::NODEPORTS {
                    node_addresses.push(asks.destination.filter(|d| d.is_host()).map(|d| d.addr));
                } else if let Some(hash) = hash_of(target) {
                    self.nat_frontend(table, chains, id, target, hash, &asks);
                }
            }
        }
        if node_addresses.is_empty() || node_addresses.contains(&None) {
            node_addresses = vec![None];
        }
        if let Some(nodeports) = chains.get(chain::NODEPORTS) {
            for (id, rule) in chains.rules(nodeports) {
                let Some(target) = chains.jump(rule) else { continue };
                let Some(hash) = hash_of(target) else { continue };
                let asks = chains.asks(rule);
                // The same port once more, for addresses of the loopback network: counted by nfacct.
                let loopback = asks.destination.is_some_and(|d| d.addr.is_loopback());
                let (Some(protocol), Some(port), false) = (asks.protocol, asks.port, loopback) else {
                    continue;
                };
                let name = asks.comment().and_then(ServiceName::parse);
                let service = self.service(name, Some(hash), protocol);
                for address in &node_addresses {
                    let lead = chains.lead(target);
                    self.frontend(
                        service,
                        Frontend {
                            traffic_policy: lead.policy,
                            rule: Some(RuleRef { table, rule: id }),
                            ..Frontend::new(
                                Some(FrontendKind::NodePort),
                                *address,
                                port,
                                if lead.dead_end { Action::Drop } else { Action::Balance },
                            )
                        },
                    );
                }
            }
        }
        self.backends(table, chains);
        self.find_stale(table, chains);
    }

    fn nat_frontend(
        &mut self,
        table: usize,
        chains: &Chains<'_>,
        id: RuleId,
        target: &str,
        hash: &str,
        asks: &RuleCriteria<'_>,
    ) {
        let Some(destination) = asks.destination.filter(|d| d.is_host()) else { return };
        let (Some(protocol), Some(port)) = (asks.protocol, asks.port) else { return };
        let (name, kind) = match asks.comment() {
            Some(comment) => KINDS
                .iter()
                .find_map(|(end, kind)| Some((ServiceName::parse(comment.strip_suffix(end)?), Some(*kind))))
                .unwrap_or((ServiceName::parse(comment), None)),
            None => (None, None),
        };
        let lead = chains.lead(target);
        // Without its comment, a jump past the source ranges still is a load balancer's.
        let kind = kind.or(target.starts_with(chain::FW).then_some(FrontendKind::LoadBalancerIp));
        let service = self.service(name, Some(hash), protocol);
        // kube-proxy lets the load balancer's own address in where the node is among the ranges: no range of
        // the Service's.
        let own = IpNet::host(destination.addr);
        let mark_drop = lead.mark_drop;
        let ranges: Vec<IpNet> = lead.source_ranges.into_iter().filter(|r| *r != own).collect();
        self.frontend(
            service,
            Frontend {
                traffic_policy: lead.policy,
                refusal: mark_drop.filter(|_| !ranges.is_empty()).map(|rule| RuleRef { table, rule }),
                source_ranges: (!ranges.is_empty()).then_some(ranges),
                rule: Some(RuleRef { table, rule: id }),
                ..Frontend::new(
                    kind,
                    Some(destination.addr),
                    port,
                    if lead.dead_end { Action::Drop } else { Action::Balance },
                )
            },
        );
    }

    /// Endpoints of every Service found so far, from the chains of its hash.
    fn backends(&mut self, table: usize, chains: &Chains<'_>) {
        for service in &mut self.services {
            if let Some(hash) = service.chain_hash.clone() {
                fill_backends(service, &hash, table, chains);
            }
        }
    }

    /// Service chains that nothing leads to: what a mode left behind.
    fn find_stale(&mut self, table: usize, chains: &Chains<'_>) {
        let known: HashSet<String, foldhash::fast::FixedState> =
            self.services.iter().filter_map(|s| s.chain_hash.clone()).collect();
        let t = chains.table;
        for c in &t.chains {
            let Some(hash) = t.str(c.name).strip_prefix(chain::SVC).filter(|h| !known.contains(*h)) else {
                continue;
            };
            let Some(id) = chains.get(t.str(c.name)) else { continue };
            let mut found = None;
            for (_, rule) in chains.rules(id) {
                let Some(comment) = t.comment_of(rule) else { continue };
                // "ns/name:port", "ns/name:port -> 10.0.0.1:80" or "ns/name:port cluster IP"
                let name = ServiceName::parse(comment.split(' ').next().unwrap_or(""));
                found = found.or(name);
            }
            let protocol = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp].into_iter().find(|p| {
                let named = found.as_ref().or_else(|| self.names.get(hash));
                named.is_some_and(|n| crate::proxy::service_hash(n, *p) == hash)
            });
            let Some(protocol) = protocol else { continue };
            let i = self.service(found, Some(hash), protocol);
            fill_backends(&mut self.services[i], hash, table, chains);
        }
    }

    fn filter(&mut self, table: usize, chains: &Chains<'_>) {
        // Load balancer addresses with source ranges have a drop of their own: it says their kind.
        let mut firewalled = Vec::new();
        if let Some(id) = chains.get(chain::PROXY_FIREWALL) {
            for (rule_id, rule) in chains.rules(id) {
                let asks = chains.asks(rule);
                if let (Some(d), Some(port)) = (asks.destination, asks.port) {
                    firewalled.push((d.addr, port, asks.protocol));
                    self.firewall(d.addr, port, asks.protocol, RuleRef { table, rule: rule_id });
                }
            }
        }
        for (name, internal) in [(chain::SERVICES, true), (chain::EXTERNAL_SERVICES, false)] {
            let Some(id) = chains.get(name) else { continue };
            for (rule_id, rule) in chains.rules(id) {
                let asks = chains.asks(rule);
                let policy = match asks.comment() {
                    Some(c) if c.ends_with(NO_LOCAL_ENDPOINTS) => Some(TrafficPolicy::Local),
                    Some(c) if c.ends_with(NO_ENDPOINTS) => None,
                    _ => continue,
                };
                let action = match rule.target {
                    Target::Reject { .. } => Action::Reject,
                    Target::Verdict(Verdict::Drop) => Action::Drop,
                    _ => continue,
                };
                let (Some(protocol), Some(port)) = (asks.protocol, asks.port) else { continue };
                let comment = asks.comment().unwrap_or_default();
                let named = comment.strip_suffix(NO_LOCAL_ENDPOINTS).or(comment.strip_suffix(NO_ENDPOINTS));
                let Some(named) = named.and_then(ServiceName::parse) else { continue };
                let address = asks.destination.map(|d| d.addr);
                let kind = match address {
                    None if asks.destination_is_local => Some(FrontendKind::NodePort),
                    Some(_) if internal => Some(FrontendKind::ClusterIp),
                    Some(a) if firewalled.contains(&(a, port, Some(protocol))) => {
                        Some(FrontendKind::LoadBalancerIp)
                    }
                    _ => None,
                };
                let service = self.service(Some(named), None, protocol);
                let rule = Some(RuleRef { table, rule: rule_id });
                self.refuse(service, kind, address, port, action, policy, rule);
            }
        }
        if let Some(id) = chains.get(chain::NODEPORTS) {
            for (_, rule) in chains.rules(id) {
                let asks = chains.asks(rule);
                let name = asks.comment().and_then(|c| c.strip_suffix(" health check node port"));
                if let (Some(name), Some(port)) = (name.and_then(ServiceName::parse), asks.port) {
                    // The check is TCP whatever the Service's protocol.
                    for s in self.services.iter_mut().filter(|s| s.name.as_ref() == Some(&name)) {
                        s.health_check_node_port = Some(port);
                    }
                }
            }
        }
    }

    /// A rule that drops what comes from outside a frontend's source ranges.
    fn firewall(&mut self, address: IpAddr, port: u16, protocol: Option<Protocol>, rule: RuleRef) {
        let services = self.services.iter_mut().filter(|s| Some(s.protocol) == protocol);
        for f in services.flat_map(|s| &mut s.frontends) {
            if f.address == Some(address) && f.port == port {
                f.refusal = Some(rule);
            }
        }
    }

    #[allow(clippy::too_many_arguments)] // one frontend's facts
    fn refuse(
        &mut self,
        service: usize,
        kind: Option<FrontendKind>,
        address: Option<IpAddr>,
        port: u16,
        action: Action,
        traffic_policy: Option<TrafficPolicy>,
        rule: Option<RuleRef>,
    ) {
        // The nat table may hold the frontend too, for the pods' and the node's own traffic.
        let found = self.services[service].frontends.iter_mut().find(|f| {
            f.address == address && f.port == port && (kind.is_none() || f.kind.is_none() || f.kind == kind)
        });
        match found {
            Some(f) => {
                f.action = action;
                f.traffic_policy = traffic_policy.or(f.traffic_policy);
                f.rule = rule;
                f.refusal = rule;
                f.kind = f.kind.or(kind);
            }
            None => self.services[service].frontends.push(Frontend {
                traffic_policy,
                rule,
                refusal: rule,
                ..Frontend::new(kind, address, port, action)
            }),
        }
    }
}

/// A local policy says which backends are on this node: those that it uses, and no others.
fn tell_local(service: &mut Service) {
    let policies = service.frontends.iter().any(|f| f.traffic_policy == Some(TrafficPolicy::Local));
    let chains = service.backends.iter().any(|b| b.local_share.is_some());
    if policies || chains {
        for b in &mut service.backends {
            b.local = Some(b.local_share.is_some());
        }
    }
}

const NO_ENDPOINTS: &str = " has no endpoints";
const NO_LOCAL_ENDPOINTS: &str = " has no local endpoints";

fn fill_backends(service: &mut Service, hash: &str, table: usize, chains: &Chains<'_>) {
    let local_chain = chains.get(&format!("{}{hash}", chain::SVL));
    let old_local_chain = chains.get(&format!("{}{hash}", chain::XLB));
    let cluster = chains.get(&format!("{}{hash}", chain::SVC)).map(|c| chains.balance(c));
    let local = local_chain.or(old_local_chain).map(|c| chains.balance(c));
    service.backends.clear();
    for (policy, balance) in [(TrafficPolicy::Cluster, &cluster), (TrafficPolicy::Local, &local)] {
        let Some(balance) = balance else { continue };
        service.session_affinity = service.session_affinity.or(balance.affinity.map(Affinity::For));
        if service.backends.is_empty() {
            service.backends.reserve_exact(balance.endpoints.len());
        }
        // Local endpoints are mostly among the others: look there first.
        let others = service.backends.len();
        for (endpoint, part) in &balance.endpoints {
            let rule = RuleRef { table, rule: endpoint.rule };
            let known = service.backends[..others].iter().position(|b| b.rule == Some(rule));
            let i = match known {
                Some(i) => i,
                None => {
                    let backend = Backend::new(endpoint.address, endpoint.port, CounterSource::NatRule);
                    service.backends.push(Backend { rule: Some(rule), ..backend });
                    service.backends.len() - 1
                }
            };
            let backend = &mut service.backends[i];
            backend.traffic_policies.add(policy);
            match policy {
                TrafficPolicy::Cluster => backend.share = Some(*part),
                TrafficPolicy::Local => backend.local_share = Some(*part),
            }
        }
    }
}
