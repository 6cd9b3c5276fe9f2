//! Conntrack that is full or soon will be, or that loses packets.

use super::{Facts, Finding, Severity, Subject};
use crate::figures::{count, duration, short};
use crate::rates::{STATS, stat_values};
use std::time::Duration;

pub(super) const ID: &str = "conntrack";

/// Part of the table from which on it is nearly full.
const NEARLY: f64 = 0.9;

/// Full so soon is a warning at any fill.
const SOON: Duration = Duration::from_secs(600);

pub(super) fn find(facts: &Facts<'_>, found: &mut Vec<Finding>) {
    let Some(c) = &facts.snapshot.conntrack else { return };
    let rates = &facts.node.conntrack;
    let finding = |severity, title: String, evidence, advice: &str| Finding {
        id: ID,
        severity,
        title,
        subject: Subject::Node,
        about: "conntrack".into(),
        evidence,
        advice: vec![advice.into()],
    };
    if let (Some(n), Some(max)) = (c.limits.count, c.limits.max.filter(|m| *m > 0)) {
        let part = n as f64 / max as f64;
        let soon = rates.full_in.filter(|t| *t < SOON && part > 0.3);
        if part >= NEARLY || soon.is_some() {
            let mut evidence = vec![format!("{} of {} entries: {:.1} %", count(n), count(max), part * 100.0)];
            evidence.extend(rates.full_in.map(|t| format!("full in {} at this growth", duration(t))));
            let severity = if part >= 0.98 { Severity::Critical } else { Severity::Warning };
            let title = if part >= 0.98 { "the table is full" } else { "the table will be full" };
            found.push(finding(
                severity,
                title.into(),
                evidence,
                "raise net.netfilter.nf_conntrack_max, or find who opens so many flows (pane Conntrack, Sources)",
            ));
        }
    }
    let Some(stats) = c.stats else { return };
    for (i, (name, lost, meaning)) in STATS.iter().enumerate() {
        if let (true, Ok(rate)) = (*lost, rates.stats[i])
            && rate > 0.0
        {
            let total = stat_values(&stats)[i].unwrap_or(0);
            found.push(finding(
                Severity::Warning,
                format!("{name} rises: {meaning}"),
                vec![format!("{name}: {} a second, {} since the node started", short(rate), count(total))],
                match *name {
                    "insert_failed" => {
                        "UDP clients that ask from one port at once race here (the 5-second DNS delay)"
                    }
                    _ => "compare the number of entries with nf_conntrack_max and nf_conntrack_buckets",
                },
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Observer;
    use crate::proxy::Names;
    use crate::snapshot::facts::{Limits, Stats};
    use crate::snapshot::{Conntrack, Snapshot};

    fn found(counts: [u64; 2], failed: [u64; 2]) -> Vec<String> {
        let mut observer = Observer::new(Names::default());
        let mut last = Vec::new();
        for i in 0..2 {
            let limits = Limits { count: Some(counts[i]), max: Some(1000), ..Limits::default() };
            let stats = Some(Stats { insert_failed: Some(failed[i]), ..Stats::default() });
            let at = Duration::from_secs(10 + 2 * i as u64);
            let conntrack = Some(Conntrack { at, limits, stats, ..Conntrack::default() });
            let view = observer.observe(Snapshot { conntrack, ..Snapshot::default() });
            last = view.findings.iter().map(|f| f.title.clone()).collect();
        }
        last
    }

    #[test]
    fn a_full_table_is_found_and_a_healthy_one_is_not() {
        assert_eq!(found([100, 100], [7, 7]), [""; 0]);
        assert_eq!(found([990, 990], [0, 0]), ["the table is full"]);
        assert_eq!(found([900, 920], [0, 0]), ["the table will be full"]);
        assert_eq!(found([400, 420], [0, 0]), ["the table will be full"]); // in 58 s
        assert_eq!(found([100, 101], [0, 0]), [""; 0]);
        assert!(found([1, 1], [7, 9])[0].starts_with("insert_failed rises"));
    }
}
