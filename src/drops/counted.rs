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
            let was = old.get(&name).copied().unwrap_or(total);
            Counted { by: Rise::by(was, total).unwrap_or(0), name, total }
        })
        .filter(|c| c.total > 0)
        .collect();
    all.sort_by(|a, b| b.by.cmp(&a.by).then(b.total.cmp(&a.total)).then(a.name.cmp(&b.name)));
    all
}
