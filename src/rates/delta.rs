//! The one place that subtracts counters.

use super::NoRate;
use crate::format::{count, duration};
use crate::proxy::RuleRef;
use crate::ruleset::{ChainId, RuleId};
use crate::snapshot::facts::ConntrackStat;
use crate::snapshot::{Snapshot, TableState};
use std::sync::Arc;
use std::time::Duration;

/// How much a counter rose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rise {
    /// By how much.
    pub by: u64,
    /// In which time; never 0.
    pub over: Duration,
    /// To which value.
    pub total: u64,
}

impl Rise {
    /// By how much a counter rose.
    ///
    /// # Errors
    /// The counter began again.
    pub fn by(before: u64, now: u64) -> Result<u64, NoRate> {
        now.checked_sub(before).ok_or(NoRate::CounterReset)
    }

    /// Between two values of one counter that were read `over` apart.
    ///
    /// # Errors
    /// The counter began again; both values are of one reading.
    pub fn between(before: u64, now: u64, over: Duration) -> Result<Rise, NoRate> {
        let by = Rise::by(before, now)?;
        match over.is_zero() {
            true => Err(NoRate::FirstSample),
            false => Ok(Rise { by, over, total: now }),
        }
    }

    /// The same for values of which one may be missing.
    ///
    /// # Errors
    /// As [`Rise::between`]; it is not counted now, or was not before.
    pub fn of(before: Option<u64>, now: Option<u64>, over: Duration) -> Result<Rise, NoRate> {
        let now = now.ok_or(NoRate::NotCounted)?;
        Rise::between(before.ok_or(NoRate::FirstSample)?, now, over)
    }

    /// For each second.
    pub fn per_second(self) -> f64 {
        self.by as f64 / self.over.as_secs_f64()
    }

    /// `12 in 4 s, 345 in all`
    pub fn text(&self) -> String {
        format!("{} in {}, {} in all", count(self.by), duration(self.over), count(self.total))
    }
}

/// Two readings of a table that holds the same rules.
#[derive(Clone, Copy, Debug)]
pub struct TableDelta<'a> {
    before: &'a TableState,
    now: &'a TableState,
}

impl<'a> TableDelta<'a> {
    /// `None` where the rules are others: what they counted has nothing to do with each other.
    pub fn new(before: &'a TableState, now: &'a TableState) -> Option<TableDelta<'a>> {
        Arc::ptr_eq(&before.table, &now.table).then_some(TableDelta { before, now })
    }

    /// Packets that a rule took.
    ///
    /// # Errors
    /// The rule does not count; its counter began again; it was read once.
    pub fn rule(&self, rule: RuleId) -> Result<Rise, NoRate> {
        if !self.now.table.rules.get(rule.0 as usize).is_some_and(|r| r.counted) {
            return Err(NoRate::NotCounted);
        }
        let over = self.now.counted_at(rule).saturating_sub(self.before.counted_at(rule));
        Rise::between(self.before.counter(rule).packets, self.now.counter(rule).packets, over)
    }

    /// Packets that the policy of a chain took.
    ///
    /// # Errors
    /// The chain has no policy; its counter began again; it was read once.
    pub fn policy(&self, chain: ChainId) -> Result<Rise, NoRate> {
        let of = |t: &TableState| t.counters.policies.iter().find(|p| p.0 == chain).map(|p| p.1.packets);
        Rise::of(of(self.before), of(self.now), self.now.at.saturating_sub(self.before.at))
    }

    /// How many rules count less than before.
    pub fn resets(&self) -> usize {
        if Arc::ptr_eq(&self.before.counters, &self.now.counters) {
            return 0;
        }
        let pairs = self.before.counters.rules.iter().zip(&self.now.counters.rules);
        pairs.filter(|(b, n)| Rise::by(b.packets, n.packets).is_err()).count()
    }
}

/// Two snapshots of one namespace.
#[derive(Clone, Copy, Debug)]
pub struct Delta<'a> {
    /// The earlier.
    pub before: &'a Snapshot,
    /// The later.
    pub now: &'a Snapshot,
}

impl<'a> Delta<'a> {
    /// A table, by its place in the later snapshot.
    ///
    /// # Errors
    /// It held other rules before, or was not read since.
    pub fn table(&self, table: usize) -> Result<TableDelta<'a>, NoRate> {
        let now = self.now.tables.get(table).ok_or(NoRate::FirstSample)?;
        let mut same = self.before.tables.iter().filter(|b| b.at < now.at);
        same.find_map(|b| TableDelta::new(b, now)).ok_or(NoRate::FirstSample)
    }

    /// Packets that a rule took.
    ///
    /// # Errors
    /// As [`Delta::table`] and [`TableDelta::rule`].
    pub fn rule(&self, rule: RuleRef) -> Result<Rise, NoRate> {
        self.table(rule.table)?.rule(rule.rule)
    }

    /// A counter of the network stack, by name: `TcpExt.ListenOverflows`.
    ///
    /// # Errors
    /// The kernel does not count it; it was read once.
    pub fn counter(&self, name: &str) -> Result<Rise, NoRate> {
        let of = |s: &Snapshot| s.counters.as_ref().and_then(|c| c.value.named.get(name).copied());
        Rise::of(of(self.before), of(self.now), self.counters_over())
    }

    /// Packets that each CPU's receive queue dropped: CPU and rise.
    pub fn softnet(self) -> impl Iterator<Item = (u32, Rise)> {
        let queues = |s: &'a Snapshot| s.counters.iter().flat_map(|c| &c.value.softnet);
        let (over, before) = (self.counters_over(), self.before);
        queues(self.now).filter_map(move |now| {
            let was = queues(before).find(|b| b.cpu == now.cpu)?;
            Some((now.cpu, Rise::between(was.dropped, now.dropped, over).ok()?))
        })
    }

    /// A statistic of conntrack, over all CPUs.
    ///
    /// # Errors
    /// The kernel does not report it; it began again; it was read once.
    pub fn stat(&self, stat: ConntrackStat) -> Result<Rise, NoRate> {
        let of = |s: &Snapshot| s.conntrack.as_ref().and_then(|c| c.stats?.get(stat));
        let at = |s: &Snapshot| s.conntrack.as_ref().map_or(Duration::ZERO, |c| c.at);
        Rise::of(of(self.before), of(self.now), at(self.now).saturating_sub(at(self.before)))
    }

    fn counters_over(&self) -> Duration {
        let at = |s: &Snapshot| s.counters.as_ref().map_or(Duration::ZERO, |c| c.at);
        at(self.now).saturating_sub(at(self.before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rises_name_their_reasons() {
        let second = Duration::from_secs(2);
        assert_eq!(Rise::between(10, 30, second).map(Rise::per_second), Ok(10.0));
        assert_eq!(Rise::between(30, 10, second), Err(NoRate::CounterReset));
        assert_eq!(Rise::between(10, 30, Duration::ZERO), Err(NoRate::FirstSample));
        assert_eq!(Rise::of(None, Some(1), second), Err(NoRate::FirstSample));
        assert_eq!(Rise::of(Some(1), None, second), Err(NoRate::NotCounted));
    }
}
