//! conntrack's statistics (`enum ctattr_stats_cpu` of `linux/netfilter/nfnetlink_conntrack.h`).

use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::collections::HashMap;

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConntrackStat {
    /// Lookups that found an entry.
    Found,
    /// Packets that fit no flow.
    Invalid,
    /// Entries that programs made; on older kernels all.
    Insert,
    /// Entries that could not be inserted.
    InsertFailed,
    /// Packets dropped as no entry could be made.
    Drop,
    /// Entries dropped to make room.
    EarlyDrop,
    /// Packets with errors.
    Error,
    /// Lookups that began again.
    SearchRestart,
    /// Insertions that clashed and were resolved.
    ClashResolve,
    /// Insertions that failed as a bucket was too long.
    ChainTooLong,
}

/// What is known of a statistic.
struct Row {
    stat: ConntrackStat,
    /// In kptop's output.
    name: &'static str,
    /// `CTA_STATS_*`
    attribute: u16,
    /// Column of `/proc/net/stat/nf_conntrack`.
    column: &'static str,
    /// As `conntrack -S` prints it.
    printed: &'static str,
    /// A rise means lost packets.
    loses: bool,
    /// What it counts (`net/netfilter/nf_conntrack_core.c`).
    meaning: &'static str,
}

use ConntrackStat::{
    ChainTooLong, ClashResolve, Drop, EarlyDrop, Error, Found, Insert, InsertFailed, Invalid, SearchRestart,
};

#[rustfmt::skip]
const ROWS: [Row; ConntrackStat::COUNT] = [
    Row { stat: Found, name: "found", attribute: 2, column: "found", printed: "found", loses: false, meaning: "lookups that found an entry" },
    Row { stat: Invalid, name: "invalid", attribute: 4, column: "invalid", printed: "invalid", loses: false, meaning: "packets that fit no flow" },
    Row { stat: Insert, name: "insert", attribute: 8, column: "insert", printed: "insert", loses: false, meaning: "entries that programs made (on older kernels: all)" },
    Row { stat: InsertFailed, name: "insert_failed", attribute: 9, column: "insert_failed", printed: "insert_failed", loses: true, meaning: "entries that could not be inserted: two packets raced, or translation clashed" },
    Row { stat: Drop, name: "drop", attribute: 10, column: "drop", printed: "drop", loses: true, meaning: "packets dropped as no entry could be made" },
    Row { stat: EarlyDrop, name: "early_drop", attribute: 11, column: "early_drop", printed: "early_drop", loses: true, meaning: "entries dropped to make room in a full table" },
    Row { stat: Error, name: "error", attribute: 12, column: "icmp_error", printed: "error", loses: false, meaning: "packets with errors" },
    Row { stat: SearchRestart, name: "search_restart", attribute: 13, column: "search_restart", printed: "search_restart", loses: false, meaning: "lookups begun again as the table was resized" },
    Row { stat: ClashResolve, name: "clash_resolve", attribute: 14, column: "clashres", printed: "clash_resolve", loses: false, meaning: "insertions that clashed and were resolved" },
    Row { stat: ChainTooLong, name: "chain_toolong", attribute: 15, column: "chaintoolong", printed: "chaintoolong", loses: true, meaning: "insertions that failed as a bucket was too long" },
];

impl ConntrackStat {
    /// How many there are.
    pub const COUNT: usize = 10;

    /// All of them, in the kernel's order.
    pub fn all() -> impl Iterator<Item = ConntrackStat> {
        ROWS.iter().map(|r| r.stat)
    }

    fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }

    /// In kptop's output.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// True where a rise means lost packets.
    pub fn loses_packets(self) -> bool {
        self.row().loses
    }

    /// What it counts, for people.
    pub fn meaning(self) -> &'static str {
        self.row().meaning
    }

    pub(super) fn of_attribute(attribute: u16) -> Option<ConntrackStat> {
        ROWS.iter().find(|r| r.attribute == attribute).map(|r| r.stat)
    }

    pub(super) fn of_column(column: &str) -> Option<ConntrackStat> {
        ROWS.iter().find(|r| r.column == column).map(|r| r.stat)
    }

    /// By the word of `conntrack -S`.
    pub fn of_printed(word: &str) -> Option<ConntrackStat> {
        ROWS.iter().find(|r| r.printed == word).map(|r| r.stat)
    }
}

/// Statistics of one CPU, or summed. `None` is what the kernel does not report. Serialized as a map by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats([Option<u64>; ConntrackStat::COUNT]);

impl Stats {
    /// A statistic.
    pub fn get(&self, stat: ConntrackStat) -> Option<u64> {
        self.0[stat as usize]
    }

    /// The same statistics with one set.
    #[must_use]
    pub fn with(mut self, stat: ConntrackStat, value: u64) -> Stats {
        self.0[stat as usize] = Some(value);
        self
    }

    pub(super) fn add(&mut self, stat: ConntrackStat, value: u64) {
        let field = &mut self.0[stat as usize];
        *field = Some(field.unwrap_or(0) + value);
    }

    /// The sum over CPUs; `None` is what no CPU reports.
    pub fn sum(cpus: &[Stats]) -> Stats {
        let mut sum = Stats::default();
        for (stat, value) in cpus.iter().flat_map(|c| ConntrackStat::all().zip(c.0)) {
            if let Some(n) = value {
                sum.add(stat, n);
            }
        }
        sum
    }
}

impl Serialize for Stats {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(ConntrackStat::COUNT))?;
        for stat in ConntrackStat::all() {
            map.serialize_entry(stat.name(), &self.get(stat))?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Stats {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Stats, D::Error> {
        let named = HashMap::<String, Option<u64>>::deserialize(deserializer)?;
        let mut stats = Stats::default();
        for stat in ConntrackStat::all() {
            stats.0[stat as usize] = named.get(stat.name()).copied().flatten();
        }
        Ok(stats)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_at_their_place() {
        for (i, row) in ROWS.iter().enumerate() {
            assert_eq!(row.stat as usize, i, "{}", row.name);
        }
    }

    #[test]
    fn sums_keep_what_no_cpu_reports() {
        let one = Stats::default().with(Drop, 2);
        let sum = Stats::sum(&[one, one.with(Found, 1)]);
        assert_eq!((sum.get(Drop), sum.get(Found), sum.get(Insert)), (Some(4), Some(1), None));
    }
}
