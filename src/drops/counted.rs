//! What counters report of dropped packets: always there, without reasons of single packets.

use crate::rates::{NodeRates, Rise};
use crate::snapshot::Snapshot;
use std::collections::BTreeMap;

/// Packets that a counter saw die.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Which counter, for people.
    pub name: String,
    /// Packets since the earlier reading.
    pub by: u64,
    /// Packets in all.
    pub total: u64,
}

/// Counters of the stack that mean lost packets, with what they mean.
const LOST: [(&str, &str); 9] = [
    ("TcpExt.IPReversePathFilter", "reverse path filter"),
    ("TcpExt.ListenOverflows", "listen queues that are full"),
    ("TcpExt.TCPBacklogDrop", "sockets whose backlog is full"),
    ("TcpExt.TCPReqQFullDrop", "queues of half-open connections that are full"),
    ("Ip.InDiscards", "IP, no memory"),
    ("Ip.OutDiscards", "IP, out"),
    ("Ip.OutNoRoutes", "no route"),
    ("Ip.InAddrErrors", "wrong addresses, or forwarding off"),
    ("Udp.RcvbufErrors", "UDP sockets whose buffer is full"),
];

/// What rose between two readings, the most first; and what does not change, if there is any.
pub fn counted(before: (&Snapshot, &NodeRates), now: (&Snapshot, &NodeRates)) -> Vec<Counted> {
    // A rule that was not there in the earlier reading has counted since then, all of it.
    let complete = before.0.rules_read() && !before.0.outline;
    let is_rule = |name: &str| now.1.causes.iter().any(|c| c.name == name);
    let of = |(snapshot, node): (&Snapshot, &NodeRates)| -> BTreeMap<String, u64> {
        let mut all: BTreeMap<String, u64> = node.causes.iter().map(|c| (c.name.clone(), c.total)).collect();
        if let Some(c) = &snapshot.counters {
            for (name, means) in LOST {
                if let Some(n) = c.value.named.get(name) {
                    let short = name.split('.').nth(1).unwrap_or(name);
                    all.insert(format!("{means} ({short})"), *n);
                }
            }
            let softnet = c.value.softnet.iter().map(|s| s.dropped).sum();
            all.insert("receive queues of CPUs that are full (softnet)".into(), softnet);
        }
        all
    };
    let old = of(before);
    let mut all: Vec<Counted> = of(now)
        .into_iter()
        .map(|(name, total)| {
            let unknown = if complete && is_rule(&name) { 0 } else { total };
            let was = old.get(&name).copied().unwrap_or(unknown);
            Counted { by: Rise::by(was, total).unwrap_or(0), name, total }
        })
        .filter(|c| c.total > 0)
        .collect();
    all.sort_by(|a, b| b.by.cmp(&a.by).then(b.total.cmp(&a.total)).then(a.name.cmp(&b.name)));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rates::{Cause, CauseKind, NoRate};

    fn node(causes: &[(&str, u64)]) -> NodeRates {
        let cause = |(name, total): &(&str, u64)| Cause {
            kind: CauseKind::Rules,
            name: (*name).into(),
            rate: Err(NoRate::FirstSample),
            total: *total,
        };
        NodeRates { causes: causes.iter().map(cause).collect(), ..NodeRates::default() }
    }

    #[test]
    fn a_rule_that_came_later_has_counted_since() {
        let s = Snapshot::default();
        let (before, now) = (node(&[("old", 100)]), node(&[("old", 103), ("new", 7)]));
        let rose = |first: &Snapshot| -> Vec<(String, u64)> {
            let all = counted((first, &before), (&s, &now));
            all.into_iter().filter(|c| c.total > 0 && !c.name.contains('(')).map(|c| (c.name, c.by)).collect()
        };
        assert_eq!(rose(&s), [("new".into(), 7), ("old".into(), 3)]);
        // Of an earlier reading that was not whole nobody knows what was there.
        let outline = Snapshot { outline: true, ..Snapshot::default() };
        assert_eq!(rose(&outline), [("old".into(), 3), ("new".into(), 0)]);
    }
}
