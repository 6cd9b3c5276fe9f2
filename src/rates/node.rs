//! What the node as a whole does: conntrack, and packets that die, by cause.

use super::{NoRate, Rate, SHORTEST, ServiceRates, Session, rate};
use crate::proxy::{Health, Model, owners};
use crate::ruleset::{Table, Target, Verdict};
use crate::snapshot::facts::Stats;
use crate::snapshot::{Conntrack, Snapshot};
use std::sync::Arc;
use std::time::Duration;

/// A statistic of conntrack: its name as `conntrack -S` prints it, whether a rise means lost packets, and what it
/// counts (`nf_conntrack_core.c`).
pub const STATS: [(&str, bool, &str); 10] = [
    ("found", false, "lookups that found an entry"),
    ("invalid", false, "packets that fit no flow"),
    ("insert", false, "entries that programs made (on older kernels: all)"),
    ("insert_failed", true, "entries that could not be inserted: two packets raced, or translation clashed"),
    ("drop", true, "packets dropped as no entry could be made"),
    ("early_drop", true, "entries dropped to make room in a full table"),
    ("error", false, "packets with errors"),
    ("search_restart", false, "lookups begun anew as the table was resized"),
    ("clash_resolve", false, "insertions that clashed and were resolved"),
    ("chain_toolong", true, "insertions that failed as a bucket was too long"),
];

/// The statistics in the order of [`STATS`].
pub fn stat_values(s: &Stats) -> [Option<u64>; 10] {
    [
        s.found,
        s.invalid,
        s.insert,
        s.insert_failed,
        s.drop,
        s.early_drop,
        s.error,
        s.search_restart,
        s.clash_resolve,
        s.chain_toolong,
    ]
}

/// Rates of conntrack.
#[derive(Clone, Debug, PartialEq)]
pub struct ConntrackRates {
    /// Entries that it grows by a second; below 0 where it shrinks.
    pub growth: Rate,
    /// Time until it is full if it goes on like this; `None` where it does not grow.
    pub full_in: Option<Duration>,
    /// In the order of [`STATS`], over all CPUs.
    pub stats: [Rate; 10],
    /// The same for each CPU.
    pub cpus: Vec<[Rate; 10]>,
}

impl Default for ConntrackRates {
    fn default() -> ConntrackRates {
        let none = Err(NoRate::FirstSample);
        ConntrackRates { growth: none, full_in: None, stats: [none; 10], cpus: Vec::new() }
    }
}

/// Where packets die.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CauseKind {
    /// Rejected: a Service without endpoints.
    Rejected,
    /// Dropped: a local policy without a local endpoint, or a source outside the ranges.
    Dropped,
    /// DROP rules and policies of a table that no Service's.
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
    /// New flows a second over all Services at work.
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
    at: Duration,
    total: u64,
    rate: Rate,
    name: String,
}

#[derive(Debug, Default)]
pub(super) struct NodeTracker {
    pub(super) total: Session,
    pub(super) entries: Session,
    conntrack: Option<Conntrack>,
    rates: ConntrackRates,
    drops: Vec<Drops>,
    seen: Option<Duration>,
}

fn stat_rates(before: &Stats, now: &Stats, elapsed: Duration) -> [Rate; 10] {
    let (before, now) = (stat_values(before), stat_values(now));
    std::array::from_fn(|i| match (before[i], now[i]) {
        (Some(b), Some(n)) => rate(b, n, elapsed),
        (_, None) => Err(NoRate::NotCounted),
        (None, _) => Err(NoRate::FirstSample),
    })
}

impl NodeTracker {
    pub(super) fn update(&mut self, snapshot: &Snapshot, model: &Model, rates: &[ServiceRates]) -> NodeRates {
        self.conntrack(snapshot);
        let at_work = || model.services.iter().zip(rates).filter(|(s, _)| s.health() != Health::Leftover);
        let flows = at_work().filter_map(|(_, r)| r.flows.ok()).reduce(|a, b| a + b);
        let held = || {
            let held = at_work().flat_map(|(s, _)| &s.frontends).filter_map(|f| f.flows);
            held.reduce(|a, b| a + b).map(|n| n as f64)
        };
        let at = newest(snapshot);
        if let Some(n) = flows.or_else(held)
            && self.seen != Some(at)
        {
            self.seen = Some(at);
            self.total.push(at, n);
        }
        let mut causes = self.refusals(model, rates);
        causes.extend(self.table_drops(snapshot, model));
        if let Some(stats) = snapshot.conntrack.as_ref().and_then(|c| c.stats) {
            let values = stat_values(&stats);
            for (i, (name, lost, _)) in STATS.iter().enumerate() {
                if let (true, Some(total)) = (*lost, values[i]) {
                    let name = format!("conntrack {name}");
                    let rate = self.rates.stats[i];
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
                (Some(before), Some(now)) => stat_rates(before, now, elapsed),
                _ => [Err(NoRate::FirstSample); 10],
            };
            let cpus = match before.cpus.len() == c.cpus.len() {
                true => before.cpus.iter().zip(&c.cpus).map(|(b, n)| stat_rates(b, n, elapsed)).collect(),
                false => Vec::new(),
            };
            self.rates = ConntrackRates { growth, full_in, stats, cpus };
        }
        if let Some(n) = c.limits.count {
            self.entries.push(c.at, n as f64);
        }
        self.conntrack = Some(Conntrack { flows: None, ..c.clone() });
    }

    fn refusals(&self, model: &Model, rates: &[ServiceRates]) -> Vec<Cause> {
        let name = |h: Health| match h {
            Health::Rejecting => (CauseKind::Rejected, "rejected: no endpoints"),
            Health::Dropping => (CauseKind::Dropped, "dropped: no endpoint on this node"),
            _ => (CauseKind::Dropped, "dropped: source not in the ranges"),
        };
        let mut causes: Vec<Cause> = Vec::new();
        for (s, r) in model.services.iter().zip(rates) {
            let Some(total) = s.refused() else {
                continue;
            };
            if s.health() == Health::Leftover {
                continue;
            }
            let (kind, name) = name(s.health());
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

    /// What DROP rules and policies took, apart from those of Services' frontends.
    fn table_drops(&mut self, snapshot: &Snapshot, model: &Model) -> Vec<Cause> {
        let mut kept = std::mem::take(&mut self.drops);
        let mut of_services = vec![0u64; snapshot.tables.len()];
        for r in model.services.iter().flat_map(|s| &s.frontends).filter_map(|f| f.refusal) {
            if let Some(t) = snapshot.tables.get(r.table)
                && t.table
                    .rules
                    .get(r.rule.0 as usize)
                    .is_some_and(|r| r.target == Target::Verdict(Verdict::Drop))
            {
                of_services[r.table] += t.counter(r.rule).packets;
            }
        }
        for (i, t) in snapshot.tables.iter().enumerate() {
            let known =
                kept.iter().position(|d| Arc::ptr_eq(&d.table, &t.table)).map(|at| kept.swap_remove(at));
            if let Some(same) = known.as_ref().filter(|d| t.at.saturating_sub(d.at) < SHORTEST) {
                let (rate, total, name) = (same.rate, same.total, same.name.clone());
                self.drops.push(Drops { table: t.table.clone(), at: same.at, total, rate, name });
                continue;
            }
            let Some(total) = t.dropped().map(|n| n.saturating_sub(of_services[i])) else { continue };
            let (rate, name) = match known {
                Some(d) => (rate(d.total, total, t.at.saturating_sub(d.at)), d.name),
                None => {
                    let owners = owners(&t.table);
                    let whose =
                        if owners.is_empty() { String::new() } else { format!(" ({})", owners.join(", ")) };
                    (
                        Err(NoRate::FirstSample),
                        format!("DROP rules and policies of {} {}{whose}", t.family, t.table.name),
                    )
                }
            };
            self.drops.push(Drops { table: t.table.clone(), at: t.at, total, rate, name });
        }
        let taking = self.drops.iter().filter(|d| d.total > 0);
        let cause =
            |d: &Drops| Cause { kind: CauseKind::Rules, name: d.name.clone(), rate: d.rate, total: d.total };
        taking.map(cause).collect()
    }
}

/// When the newest counter of a snapshot was read.
fn newest(snapshot: &Snapshot) -> Duration {
    let tables = snapshot.tables.iter().map(|t| t.recent.as_ref().map_or(t.at, |r| r.at.max(t.at)));
    let ipvs = snapshot.ipvs.as_ref().map(|r| r.at);
    let flows = snapshot.conntrack.as_ref().and_then(|c| c.flows.as_ref()).map(|f| f.at);
    tables.chain(ipvs).chain(flows).max().unwrap_or_default()
}
