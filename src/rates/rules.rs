//! Hits a second of single rules and of chains.

use super::{NoRate, Rate, Rise, SHORTEST, TableDelta};
use crate::ruleset::RuleId;
use crate::snapshot::TableState;
use std::sync::Arc;
use std::time::Duration;

/// The last two readings of each table. Both share what did not change with the snapshots.
#[derive(Debug, Default)]
pub struct RuleRates {
    tables: Vec<(TableState, TableState)>,
}

fn newest(t: &TableState) -> Duration {
    t.recent.as_ref().map_or(t.at, |r| r.at.max(t.at))
}

impl RuleRates {
    /// Takes the tables of the next snapshot. A table of another structure begins again.
    pub fn update(&mut self, tables: &[TableState]) {
        self.tables.truncate(tables.len());
        for (i, new) in tables.iter().enumerate() {
            match self.tables.get_mut(i) {
                Some((before, now)) if Arc::ptr_eq(&now.table, &new.table) => {
                    let since = |of: fn(&TableState) -> Duration| of(new).saturating_sub(of(now));
                    if since(newest) >= SHORTEST {
                        *before = std::mem::replace(now, new.clone());
                    }
                }
                Some(pair) => *pair = (new.clone(), new.clone()),
                None => self.tables.push((new.clone(), new.clone())),
            }
        }
    }

    /// Packets a second that a rule took.
    pub fn rule(&self, table: usize, rule: RuleId) -> Rate {
        let (before, now) = self.tables.get(table).ok_or(NoRate::FirstSample)?;
        let delta = TableDelta::new(before, now).ok_or(NoRate::FirstSample)?;
        delta.rule(rule).map(Rise::per_second)
    }

    /// Packets a second that the rules of a chain took together, each packet once for each rule it met. A rule whose
    /// counter began again counts from 0.
    pub fn chain(&self, table: usize, chain: u32) -> Rate {
        let Some((_, now)) = self.tables.get(table) else { return Err(NoRate::FirstSample) };
        let Some(chain) = now.table.chains.get(chain as usize) else { return Err(NoRate::FirstSample) };
        let (mut total, mut why) = (None, NoRate::NotCounted);
        for rule in chain.rules.clone() {
            match self.rule(table, RuleId(rule)) {
                Ok(n) => total = Some(total.unwrap_or(0.0) + n),
                Err(NoRate::NotCounted) => {}
                Err(other) => why = other,
            }
        }
        total.ok_or(why)
    }
}
