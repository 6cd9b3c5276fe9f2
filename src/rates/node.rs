//! What the node as a whole does: conntrack, and packets that die, by cause.

use super::{NoRate, Rate, Rates, Rise, SHORTEST, Session};
use crate::proxy::{Mode, Model, RulesState, Service, Services, rule_owner};
use crate::ruleset::{ChainId, Policy, RuleId, Table, Target, Verdict};
use crate::snapshot::facts::{ConntrackStat, Stats};
use crate::snapshot::{Conntrack, Snapshot, TableState};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// A rate of each statistic of conntrack.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StatRates([Rate; ConntrackStat::COUNT]);

impl StatRates {
    const UNKNOWN: StatRates = StatRates([Err(NoRate::FirstSample); ConntrackStat::COUNT]);

    fn between(before: &Stats, now: &Stats, over: Duration) -> StatRates {
        let mut rates = StatRates::UNKNOWN;
        for stat in ConntrackStat::all() {
            let rise = Rise::of(before.get(stat), now.get(stat), over);
            rates.0[stat as usize] = rise.map(Rise::per_second);
        }
        rates
    }

    /// How often it is counted a second.
    pub fn get(&self, stat: ConntrackStat) -> Rate {
        self.0[stat as usize]
    }
}

/// Rates of conntrack.
#[derive(Clone, Debug, PartialEq)]
pub struct ConntrackRates {
    /// Entries that it grows by a second; below 0 where it shrinks.
    pub growth: Rate,
    /// Time until it is full if it goes on like this; `None` where it does not grow.
    pub full_in: Option<Duration>,
    /// Of its statistics, over all CPUs.
    pub stats: StatRates,
    /// The same for each CPU.
    pub cpus: Vec<StatRates>,
}

impl Default for ConntrackRates {
    fn default() -> ConntrackRates {
        let none = Err(NoRate::FirstSample);
        ConntrackRates { growth: none, full_in: None, stats: StatRates::UNKNOWN, cpus: Vec::new() }
    }
}

/// Where packets die.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CauseKind {
    /// Rejected: a Service without endpoints.
    Rejected,
    /// Dropped: a local policy without a local endpoint, or a source outside the ranges.
    Dropped,
    /// DROP rules and policies, by whose they are, that are no Service's.
    Rules,
    /// A statistic of conntrack.
    Conntrack,
}

/// Packets that die of one cause.
#[derive(Clone, Debug, PartialEq)]
pub struct Cause {
    /// Kind.
    pub kind: CauseKind,
    /// For people.
    pub name: String,
    /// Packets (of conntrack: events) a second.
    pub rate: Rate,
    /// Since the counters began.
    pub total: u64,
}

/// What the node as a whole does.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeRates {
    /// Conntrack.
    pub conntrack: ConntrackRates,
    /// Packets that die, the most first.
    pub causes: Vec<Cause>,
    /// New flows a second over all Services active.
    pub flows: Option<f64>,
}

impl NodeRates {
    /// Packets a second that die, of all causes whose rate is known.
    pub fn dying(&self) -> f64 {
        self.causes.iter().filter_map(|c| c.rate.ok()).sum()
    }
}

/// DROP counters of one table.
#[derive(Debug)]
struct Drops {
    table: Arc<Table>,
    services: Arc<Services>,
    at: Duration,
    /// False until they were read once.
    known: bool,
    by: Vec<Dropper>,
}

/// Rules or a policy that drop, and belong together.
#[derive(Debug)]
struct Dropper {
    name: String,
    rules: Vec<RuleId>,
    policy: Option<ChainId>,
    total: u64,
    rate: Rate,
}

#[derive(Debug, Default)]
pub(super) struct NodeTracker {
    pub(super) total: Arc<Session>,
    pub(super) entries: Arc<Session>,
    conntrack: Option<Conntrack>,
    rates: ConntrackRates,
    drops: Vec<Drops>,
    unreachables: Option<(Duration, Cause)>,
    seen: Option<Duration>,
}

/// What the node answered with "destination unreachable" (`net/ipv4/icmp.c`, `net/ipv6/icmp.c`): rules that reject among them.
const UNREACHABLES: [&str; 2] = ["Icmp.OutDestUnreachs", "Icmp6.OutDestUnreachs"];

impl NodeTracker {
    pub(super) fn update(&mut self, snapshot: &Snapshot, model: &Model, rates: &Rates) -> NodeRates {
        self.conntrack(snapshot);
        let active = || model.services.iter().zip(rates.iter()).filter(|(s, _)| s.is_used());
        let flows = active().filter_map(|(_, r)| r.flows.ok()).reduce(|a, b| a + b);
        let held = || {
            let used = model.iter().filter(|(s, _)| s.is_used());
            let held = used.flat_map(|(_, f)| f.frontends()).filter_map(|f| f.flows);
            held.reduce(|a, b| a + b).map(|n| n as f64)
        };
        let at = newest(snapshot);
        // Where notices count new flows, what conntrack holds is not put among them.
        let held = || held().filter(|_| snapshot.new_flows().is_none());
        if let Some(n) = flows.or_else(held)
            && self.seen != Some(at)
        {
            self.seen = Some(at);
            Arc::make_mut(&mut self.total).push(at, n);
        }
        let mut causes = self.refusals(model, rates);
        causes.extend(self.unreachables(snapshot, model));
        causes.extend(self.table_drops(snapshot, model));
        if let Some(stats) = snapshot.conntrack.as_ref().and_then(|c| c.stats) {
            for stat in ConntrackStat::all().filter(|s| s.loses_packets()) {
                if let Some(total) = stats.get(stat) {
                    let name = format!("conntrack {}", stat.name());
                    let rate = self.rates.stats.get(stat);
                    causes.push(Cause { kind: CauseKind::Conntrack, name, rate, total });
                }
            }
        }
        causes.sort_by(|a, b| {
            let rate = |c: &Cause| c.rate.unwrap_or(-1.0);
            rate(b).total_cmp(&rate(a)).then(b.total.cmp(&a.total))
        });
        NodeRates { conntrack: self.rates.clone(), causes, flows }
    }

    fn conntrack(&mut self, snapshot: &Snapshot) {
        let Some(c) = &snapshot.conntrack else {
            self.conntrack = None;
            self.rates = ConntrackRates::default();
            return;
        };
        if let Some(before) = &self.conntrack {
            let elapsed = c.at.saturating_sub(before.at);
            if elapsed < SHORTEST {
                return;
            }
            let growth = match (before.limits.count, c.limits.count) {
                (Some(before), Some(now)) => Ok((now as f64 - before as f64) / elapsed.as_secs_f64()),
                _ => Err(NoRate::NotCounted),
            };
            // A second's growth is noise: the mean of the last few counts.
            let growth = match (self.rates.growth, growth) {
                (Ok(old), Ok(new)) => Ok(old * 0.7 + new * 0.3),
                (_, new) => new,
            };
            let room = c.limits.max.zip(c.limits.count).map(|(max, n)| max.saturating_sub(n) as f64);
            // Nearly empty, it grows until as many flows end as begin: that says nothing.
            let filled =
                c.limits.count.zip(c.limits.max).map_or(0.0, |(n, max)| n as f64 / max.max(1) as f64);
            let full_in = match (growth, room) {
                (Ok(g), Some(room)) if g > 0.05 && room / g < 1e7 && filled > 0.25 => {
                    Some(Duration::from_secs_f64(room / g))
                }
                _ => None,
            };
            let stats = match (&before.stats, &c.stats) {
                (Some(before), Some(now)) => StatRates::between(before, now, elapsed),
                _ => StatRates::UNKNOWN,
            };
            let cpus = match before.cpus.len() == c.cpus.len() {
                true => {
                    before.cpus.iter().zip(&c.cpus).map(|(b, n)| StatRates::between(b, n, elapsed)).collect()
                }
                false => Vec::new(),
            };
            self.rates = ConntrackRates { growth, full_in, stats, cpus };
        }
        if let Some(n) = c.limits.count {
            Arc::make_mut(&mut self.entries).push(c.at, n as f64);
        }
        self.conntrack = Some(Conntrack { flows: None, ..c.clone() });
    }

    fn refusals(&self, model: &Model, rates: &Rates) -> Vec<Cause> {
        let name = |state: RulesState| match state {
            RulesState::NoEndpoints | RulesState::Some => (CauseKind::Rejected, "rejected: no endpoints"),
            RulesState::NoneHere => (CauseKind::Dropped, "dropped: no endpoint on this node"),
            _ => (CauseKind::Dropped, "dropped: source not in the ranges"),
        };
        let mut causes: Vec<Cause> = Vec::new();
        for ((s, figures), r) in model.iter().zip(rates.iter()) {
            let Some(total) = figures.refused() else {
                continue;
            };
            if !s.is_used() {
                continue;
            }
            let (kind, name) = name(s.rules_state());
            match causes.iter_mut().find(|c| c.name == name) {
                Some(c) => {
                    c.total += total;
                    c.rate = match (c.rate, r.refused) {
                        (Ok(a), Ok(b)) => Ok(a + b),
                        (Ok(a), Err(_)) | (Err(_), Ok(a)) => Ok(a),
                        (Err(why), Err(_)) => Err(why),
                    };
                }
                None => causes.push(Cause { kind, name: name.into(), rate: r.refused, total }),
            }
        }
        causes
    }

    /// What the node refused by ICMP, where neither rules nor virtual servers count what each Service refuses.
    fn unreachables(&mut self, snapshot: &Snapshot, model: &Model) -> Option<Cause> {
        let counted = |s: &Service| !matches!(s.engine.mode(), Mode::Nftables | Mode::Ipvs);
        if model.services.iter().any(|s| s.is_used() && counted(s)) {
            self.unreachables = None;
            return None;
        }
        let reading = snapshot.counters.as_ref()?;
        let named = UNREACHABLES.iter().filter_map(|n| reading.value.named.get(*n));
        let total = named.copied().reduce(|a, b| a + b)?;
        let elapsed = self.unreachables.as_ref().map(|u| reading.at.saturating_sub(u.0));
        if elapsed.is_none_or(|e| e >= SHORTEST) {
            let rate = match (&self.unreachables, elapsed) {
                (Some((_, before)), Some(e)) => Rise::between(before.total, total, e).map(Rise::per_second),
                _ => Err(NoRate::FirstSample),
            };
            let name = "refused by this node with ICMP errors: this mode does not count whose".into();
            self.unreachables = Some((reading.at, Cause { kind: CauseKind::Rejected, name, rate, total }));
        }
        self.unreachables.as_ref().map(|u| u.1.clone())
    }

    /// What DROP rules and policies took, by whose they are, apart from those of Services' frontends.
    fn table_drops(&mut self, snapshot: &Snapshot, model: &Model) -> Vec<Cause> {
        let mut kept = std::mem::take(&mut self.drops);
        for (i, t) in snapshot.tables.iter().enumerate() {
            let known = kept
                .iter()
                .position(|d| Arc::ptr_eq(&d.table, &t.table) && Arc::ptr_eq(&d.services, &model.services));
            let mut drops = match known {
                Some(at) => kept.swap_remove(at),
                None => Drops::of(i, t, &model.services),
            };
            let elapsed = t.at.saturating_sub(drops.at);
            if drops.known && elapsed < SHORTEST {
                self.drops.push(drops);
                continue;
            }
            for d in &mut drops.by {
                let total = d.total_now(t);
                let rise = if drops.known {
                    Rise::between(d.total, total, elapsed)
                } else {
                    Err(NoRate::FirstSample)
                };
                (d.rate, d.total) = (rise.map(Rise::per_second), total);
            }
            (drops.at, drops.known) = (t.at, true);
            self.drops.push(drops);
        }
        let taking = self.drops.iter().flat_map(|d| &d.by).filter(|d| d.total > 0);
        let cause = |d: &Dropper| Cause {
            kind: CauseKind::Rules,
            name: d.name.clone(),
            rate: d.rate,
            total: d.total,
        };
        taking.map(cause).collect()
    }
}

impl Drops {
    /// The rules and policies of a table that drop; those of Services' frontends have a cause of their own.
    fn of(index: usize, t: &TableState, services: &Arc<Services>) -> Drops {
        let refusals = services.iter().flat_map(|s| &s.frontends).filter_map(|f| f.refusal);
        let of_services: HashSet<u32> = refusals.filter(|r| r.table == index).map(|r| r.rule.0).collect();
        let mut by: Vec<Dropper> = Vec::new();
        for (c, chain) in (0..).map(ChainId).zip(&t.table.chains) {
            let place = format!("{} {} {}", t.family, t.table.name, t.table.str(chain.name));
            for id in chain.rules.clone().map(RuleId) {
                let rule = t.table.rule(id);
                let drops = rule.target == Target::Verdict(Verdict::Drop) && rule.counted;
                if !drops || of_services.contains(&id.0) {
                    continue;
                }
                let name = match rule_owner(&t.table, id) {
                    Some(owner) => format!("dropped by {owner}: {place}"),
                    None => format!("dropped by a rule of no known program: {place}"),
                };
                match by.iter_mut().find(|d| d.name == name) {
                    Some(d) => d.rules.push(id),
                    None => by.push(Dropper::new(name, vec![id], None)),
                }
            }
            if chain.base.is_some_and(|b| b.policy == Policy::Drop) {
                by.push(Dropper::new(format!("dropped by the policy of {place}"), Vec::new(), Some(c)));
            }
        }
        Drops { table: t.table.clone(), services: services.clone(), at: Duration::ZERO, known: false, by }
    }
}

impl Dropper {
    fn new(name: String, rules: Vec<RuleId>, policy: Option<ChainId>) -> Dropper {
        Dropper { name, rules, policy, total: 0, rate: Err(NoRate::FirstSample) }
    }

    fn total_now(&self, t: &TableState) -> u64 {
        let rules = self.rules.iter().map(|r| t.counter(*r).packets);
        let policies =
            t.counters.policies.iter().filter(|(c, _)| Some(*c) == self.policy).map(|(_, n)| n.packets);
        rules.chain(policies).sum()
    }
}

/// When the newest counter of a snapshot was read.
fn newest(snapshot: &Snapshot) -> Duration {
    let tables = snapshot.tables.iter().map(|t| t.recent.as_ref().map_or(t.at, |r| r.at.max(t.at)));
    let notices = snapshot.new_flows().map(|e| e.at);
    let ipvs = snapshot.ipvs.as_ref().map(|r| r.at);
    let flows = snapshot.conntrack.as_ref().and_then(|c| c.flows.as_ref()).map(|f| f.at);
    tables.chain(ipvs).chain(flows).chain(notices).max().unwrap_or_default()
}
