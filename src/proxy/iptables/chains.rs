//! What one chain of a Service says.

use super::chain;
use crate::proxy::{Protocol, TrafficPolicy};
use crate::ruleset::{
    AddressMatch, ChainId, IpNet, Match, Rule, RuleId, StrId, Table, Target, Verdict, addr_type, recent,
};
use std::collections::HashMap;
use std::net::IpAddr;

/// A table with its chains by name.
pub(super) struct Chains<'a> {
    pub(super) table: &'a Table,
    by_name: HashMap<StrId, ChainId, foldhash::fast::FixedState>,
    /// True for endpoint chains. Looking at their names again for each rule that jumps there would miss the
    /// cache each time.
    is_endpoint: Vec<bool>,
}

/// What a rule asks of a packet, as far as Services are concerned.
#[derive(Debug, Default)]
pub(super) struct RuleCriteria<'a> {
    pub(super) source: Option<IpNet>,
    pub(super) source_inverted: bool,
    pub(super) destination: Option<IpNet>,
    pub(super) protocol: Option<Protocol>,
    pub(super) port: Option<u16>,
    comment: Option<(&'a Table, StrId)>,
    pub(super) destination_is_local: bool,
    pub(super) probability: Option<u32>,
    pub(super) affinity: Option<u32>,
    /// Anything else that narrows the rule.
    pub(super) other: bool,
}

impl<'a> RuleCriteria<'a> {
    /// The rule's comment.
    pub(super) fn comment(&self) -> Option<&'a str> {
        self.comment.map(|(table, id)| table.str(id))
    }

    /// True where the rule takes every packet that reaches it.
    pub(super) fn nothing(&self) -> bool {
        self.source.is_none()
            && self.destination.is_none()
            && self.protocol.is_none()
            && self.port.is_none()
            && !self.destination_is_local
            && self.probability.is_none()
            && self.affinity.is_none()
            && !self.other
    }
}

/// An endpoint's chain.
#[derive(Clone, Copy, Debug)]
pub(super) struct Endpoint {
    pub(super) address: IpAddr,
    pub(super) port: u16,
    pub(super) rule: RuleId,
}

/// What a balancing chain does.
#[derive(Debug, Default)]
pub(super) struct Balance {
    /// Endpoints with their part of new flows.
    pub(super) endpoints: Vec<(Endpoint, f64)>,
    pub(super) affinity: Option<u32>,
}

/// Where an external chain leads.
#[derive(Debug, Default)]
pub(super) struct Lead {
    pub(super) policy: Option<TrafficPolicy>,
    /// Nothing catches the packet at the end: it is dropped in the filter table, or marked to be.
    pub(super) dead_end: bool,
    pub(super) source_ranges: Vec<IpNet>,
    /// The rule that marks what is outside the source ranges to be dropped (until 1.24).
    pub(super) mark_drop: Option<RuleId>,
}

impl<'a> Chains<'a> {
    pub(super) fn new(table: &'a Table) -> Chains<'a> {
        let mut by_name = HashMap::default();
        by_name.reserve(table.chains.len());
        let mut is_endpoint = Vec::with_capacity(table.chains.len());
        for (i, c) in table.chains.iter().enumerate() {
            by_name.insert(c.name, ChainId(i as u32));
            is_endpoint.push(table.str(c.name).starts_with(chain::SEP));
        }
        Chains { table, by_name, is_endpoint }
    }

    pub(super) fn get(&self, name: &str) -> Option<ChainId> {
        self.by_name.get(&self.table.strings.find(name)?).copied()
    }

    pub(super) fn rules(&self, id: ChainId) -> impl Iterator<Item = (RuleId, &'a Rule)> + use<'a> {
        let table = self.table;
        let range = table.chains[id.0 as usize].rules.clone();
        range.map(move |i| (RuleId(i), &table.rules[i as usize]))
    }

    /// Name of the chain that a rule jumps to.
    pub(super) fn jump(&self, rule: &Rule) -> Option<&'a str> {
        match rule.target {
            Target::Verdict(Verdict::Jump(c) | Verdict::Goto(c)) => Some(self.table.chain_name(c)),
            _ => None,
        }
    }

    pub(super) fn asks(&self, rule: &Rule) -> RuleCriteria<'a> {
        let table = self.table;
        let mut a = RuleCriteria::default();
        for m in table.matches_of(rule) {
            match m.address() {
                Some(AddressMatch { net, destination: false, invert }) => {
                    a.source = Some(net);
                    a.source_inverted = invert;
                    continue;
                }
                Some(AddressMatch { net, invert: false, .. }) => {
                    a.destination = Some(net);
                    continue;
                }
                _ => {}
            }
            match m {
                Match::Protocol { number, invert: false } => a.protocol = Protocol::from_number(*number),
                Match::Comment(id) => a.comment = Some((table, *id)),
                Match::Tcp { destination, invert: 0, .. }
                | Match::Udp { destination, invert: 0, .. }
                | Match::Sctp { destination, invert: 0, .. } => {
                    if let Some(port) = destination.single() {
                        a.port = Some(port);
                    }
                }
                Match::AddrType { source: 0, destination: addr_type::LOCAL, flags: 0, .. } => {
                    a.destination_is_local = true;
                }
                Match::StatisticRandom { probability, invert: false } => a.probability = Some(*probability),
                Match::Recent(r) if r.check_set & (recent::CHECK | recent::UPDATE) != 0 => {
                    a.affinity = Some(r.seconds);
                }
                // Counts and lists, but lets every packet through.
                Match::Nfacct { .. } => {}
                Match::Recent(r) if r.check_set & recent::SET != 0 => {}
                _ => a.other = true,
            }
        }
        a
    }

    /// Reads a `KUBE-SVC-`, `KUBE-SVL-` or `KUBE-XLB-` chain.
    pub(super) fn balance(&self, id: ChainId) -> Balance {
        let mut balance = Balance::default();
        let mut rest = 1.0;
        for (_, rule) in self.rules(id) {
            let Some(target) = self.table.jump_of(rule) else { continue };
            if !self.is_endpoint[target.0 as usize] {
                continue;
            }
            let asks = self.asks(rule);
            if let Some(seconds) = asks.affinity {
                balance.affinity = Some(seconds);
                continue;
            }
            let part = asks.probability.map_or(1.0, probability);
            if let Some(endpoint) = self.endpoint(target) {
                balance.endpoints.push((endpoint, rest * part));
            }
            rest *= 1.0 - part;
        }
        balance
    }

    /// Reads a `KUBE-SEP-` chain.
    fn endpoint(&self, id: ChainId) -> Option<Endpoint> {
        let found = self.rules(id).find_map(|(rule_id, rule)| match &rule.target {
            Target::Dnat(range) => {
                range.addrs.map(|a| Endpoint { address: a.0, port: range.ports.0, rule: rule_id })
            }
            other => {
                let to = other.as_dnat_to()?;
                Some(Endpoint { address: to.addr, port: to.port, rule: rule_id })
            }
        });
        // A rule that lost its target names no endpoint (kubernetes/kubernetes#114537).
        found.filter(|e| !e.address.is_unspecified())
    }

    /// Follows a frontend's jump to where its traffic ends.
    pub(super) fn lead(&self, target: &str) -> Lead {
        let mut lead = Lead::default();
        if target.starts_with(chain::SVC) {
            lead.policy = Some(TrafficPolicy::Cluster);
        } else if target.starts_with(chain::SVL) {
            lead.policy = Some(TrafficPolicy::Local);
        } else if target.starts_with(chain::XLB) {
            lead.policy = Some(TrafficPolicy::Local);
            lead.dead_end = !self.has_endpoint(target);
        } else if target.starts_with(chain::EXT) {
            self.lead_of_ext(target, &mut lead);
        } else if target.starts_with(chain::FW) {
            self.lead_of_fw(target, &mut lead);
        }
        lead
    }

    fn has_endpoint(&self, target: &str) -> bool {
        self.get(target).is_some_and(|id| {
            self.rules(id).any(|(_, r)| self.jump(r).is_some_and(|t| t.starts_with(chain::SEP)))
        })
    }

    fn lead_of_ext(&self, target: &str, lead: &mut Lead) {
        let Some(id) = self.get(target) else { return };
        for (_, rule) in self.rules(id) {
            let Some(next) = self.jump(rule) else { continue };
            if !(next.starts_with(chain::SVC) || next.starts_with(chain::SVL)) {
                continue;
            }
            if self.asks(rule).nothing() {
                lead.policy = self.lead(next).policy;
                return;
            }
        }
        // Only the short cuts of pods and of the node itself: no local endpoint for anybody else.
        lead.policy = Some(TrafficPolicy::Local);
        lead.dead_end = true;
    }

    fn lead_of_fw(&self, target: &str, lead: &mut Lead) {
        let Some(id) = self.get(target) else { return };
        let mut inner = None;
        for (rule_id, rule) in self.rules(id) {
            let Some(next) = self.jump(rule) else { continue };
            if next == chain::MARK_DROP {
                lead.mark_drop = Some(rule_id);
            }
            if next == chain::MARK_MASQ || next == chain::MARK_DROP {
                continue;
            }
            let asks = self.asks(rule);
            if let Some(net) = asks.source.filter(|_| !asks.source_inverted)
                && !lead.source_ranges.contains(&net)
            {
                lead.source_ranges.push(net);
            }
            inner.get_or_insert(next);
        }
        if let Some(next) = inner.filter(|n| !n.starts_with(chain::FW)) {
            let inner = self.lead(next);
            lead.policy = inner.policy;
            lead.dead_end = inner.dead_end;
        }
    }
}

/// The probability of a statistic match. kube-proxy writes 1/n; the kernel keeps it in steps of 2^-31, so the
/// n is taken back where it fits.
fn probability(raw: u32) -> f64 {
    let p = f64::from(raw) / f64::from(0x8000_0000_u32);
    let n = (1.0 / p).round();
    if (p - 1.0 / n).abs() < 1e-9 { 1.0 / n } else { p }
}
