//! What changed between two readings, and the log of it.

use super::change::{About, Change, Found, What, pairs};
use crate::proxy::{Model, State};
use crate::ruleset::{Table, TableBackend};
use crate::snapshot::Snapshot;
use crate::snapshot::facts::Writer;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Changes that are kept.
pub(super) const KEPT: usize = 2_000;

/// Changes of one reading beyond which the rest is reported as a number: a full sync rewrites everything.
pub(super) const MOST_AT_ONCE: usize = 400;

/// The changes of a session: bounded, the newest last.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    all: std::collections::VecDeque<Change>,
    /// When a subject changed last.
    last: HashMap<(What, String), jiff::Timestamp>,
    /// All that were seen, also those that are not kept any more.
    seen: u64,
}

impl Changes {
    /// Keeps what [`compare`] found in a reading.
    pub fn add(&mut self, mut found: Vec<Change>, seen_at: jiff::Timestamp) {
        let n = found.len();
        if found.len() > MOST_AT_ONCE {
            let rest = found.split_off(MOST_AT_ONCE);
            found.push(Change {
                seen_at,
                what: What::Rules,
                subject: "…".into(),
                about: About::Node,
                before: None,
                now: Some(format!("{} more changes in this reading", rest.len())),
                by: None,
                changed_before: None,
            });
        }
        for mut change in found {
            let key = (change.what, change.subject.clone());
            change.changed_before = self.last.insert(key, change.seen_at);
            self.all.push_back(change);
        }
        while self.all.len() > KEPT {
            self.all.pop_front();
        }
        if self.last.len() > 4 * KEPT {
            self.last.clear();
        }
        self.seen += n as u64;
    }

    /// Those that are kept, the newest last.
    pub fn all(&self) -> impl DoubleEndedIterator<Item = &Change> + ExactSizeIterator {
        self.all.iter()
    }

    /// The last so many.
    pub fn newest(&self, n: usize) -> impl Iterator<Item = &Change> {
        self.all.iter().skip(self.all.len().saturating_sub(n))
    }

    /// How many were seen in all.
    pub fn seen(&self) -> u64 {
        self.seen
    }
}

/// What changed from one snapshot to the next: the most telling first.
pub fn compare(before: (&Snapshot, &Model), now: (&Snapshot, &Model)) -> Vec<Change> {
    let mut found = Found { at: now.0.taken_at, about: About::Node, all: Vec::new() };
    readings(before.0, now.0, &mut found);
    modes(before.1, now.1, &mut found);
    if !Arc::ptr_eq(&before.1.services, &now.1.services) {
        super::services::compare(before.1, now.1, &mut found);
    }
    super::tables::compare(before, now, &mut found);
    sysctls(before.0, now.0, &mut found);
    limits(before.0, now.0, &mut found);
    links(before.0, now.0, &mut found);
    addresses(before.0, now.0, &mut found);
    if let Some(by) = writers(before.0, now.0) {
        let of_rules = |c: &&mut Change| {
            matches!(c.what, What::Service | What::Frontend | What::Backend | What::Mode | What::Rules)
        };
        // Legacy tables say nothing of who wrote them.
        let named = |c: &Change| !matches!(c.about, About::Table(TableBackend::XTables, ..));
        for c in found.all.iter_mut().filter(of_rules).filter(|c| named(c)) {
            c.by = Some(by.clone());
        }
    }
    found.all
}

/// Who changed nf_tables between two snapshots, where its tables alone changed.
fn writers(before: &Snapshot, now: &Snapshot) -> Option<String> {
    let is_new = |w: &&Writer| !before.writers.contains(w);
    let mut names: Vec<String> =
        now.writers.iter().filter(is_new).map(|w| format!("{} ({})", w.name, w.pid)).collect();
    names.dedup();
    let legacy = |s: &Snapshot| -> Vec<*const Table> {
        s.tables
            .iter()
            .filter(|t| t.backend == TableBackend::XTables)
            .map(|t| Arc::as_ptr(&t.table))
            .collect()
    };
    let known = !names.is_empty() && legacy(before) == legacy(now);
    known.then(|| match names.len() {
        ..=3 => names.join(", "),
        n => format!("{} and {} more", names[..2].join(", "), n - 2),
    })
}

pub(super) fn readings(before: &Snapshot, now: &Snapshot, found: &mut Found) {
    let failed = |s: &Snapshot| -> BTreeMap<String, String> {
        s.failed().map(|u| (u.what.clone(), u.why.clone())).collect()
    };
    pairs(&failed(before), &failed(now), |what, b, n| {
        let text = |why: Option<&String>| Some(why.map_or("read".to_string(), |w| format!("not read: {w}")));
        found.push(What::Reading, what, text(b), text(n));
    });
}

pub(super) fn modes(before: &Model, now: &Model, found: &mut Found) {
    let of = |m: &Model| -> BTreeMap<String, String> {
        m.services
            .modes
            .iter()
            .map(|m| {
                let variant = m.engine.variant().map(|v| format!(" ({})", v.name())).unwrap_or_default();
                let state = if m.state == State::Active { "active" } else { "stale" };
                (format!("{} mode{variant} {}", m.engine.mode().name(), m.family), state.to_string())
            })
            .collect()
    };
    pairs(&of(before), &of(now), |what, b, n| found.push(What::Mode, what, b.cloned(), n.cloned()));
}

pub(super) fn sysctls(before: &Snapshot, now: &Snapshot, found: &mut Found) {
    if Arc::ptr_eq(&before.sysctls, &now.sysctls) {
        return;
    }
    let of = |s: &Snapshot| -> BTreeMap<String, String> {
        s.sysctls
            .iter()
            .map(|(k, v)| (k.replace('/', "."), v.split_whitespace().collect::<Vec<_>>().join(" ")))
            .collect()
    };
    pairs(&of(before), &of(now), |what, b, n| found.push(What::Sysctl, what, b.cloned(), n.cloned()));
}

pub(super) fn limits(before: &Snapshot, now: &Snapshot, found: &mut Found) {
    let of = |s: &Snapshot| -> BTreeMap<String, String> {
        let Some(c) = &s.conntrack else { return BTreeMap::new() };
        let number = |n: Option<u64>| n.map(|n| n.to_string());
        let flag = |b: Option<bool>| b.map(|b| u8::from(b).to_string());
        [
            ("nf_conntrack_max", number(c.limits.max)),
            ("nf_conntrack_buckets", number(c.limits.buckets)),
            ("nf_conntrack_acct", flag(c.limits.accounting)),
            ("nf_conntrack_timestamp", flag(c.limits.timestamps)),
        ]
        .into_iter()
        .filter_map(|(k, v)| Some((k.to_string(), v?)))
        .collect()
    };
    if before.conntrack.is_some() && now.conntrack.is_some() {
        pairs(&of(before), &of(now), |what, b, n| found.push(What::Conntrack, what, b.cloned(), n.cloned()));
    }
}

/// Interfaces that went up or down; those of pods come and go all the time.
pub(super) fn links(before: &Snapshot, now: &Snapshot, found: &mut Found) {
    if Arc::ptr_eq(&before.links, &now.links) {
        return;
    }
    let state = |up| Some(if up { "up" } else { "down" }.to_string());
    for l in now.links.iter() {
        if let Some(was) = before.links.iter().find(|b| b.index == l.index) {
            found.push(What::Link, &l.name, state(was.up), state(l.up));
        }
    }
}

pub(super) fn addresses(before: &Snapshot, now: &Snapshot, found: &mut Found) {
    if before.addresses == now.addresses {
        return;
    }
    let of = |s: &Snapshot| -> BTreeMap<String, String> {
        // Those of Services come and go with them.
        let own = s.addresses.iter().filter(|a| !crate::proxy::ipvs::is_dummy(&a.interface));
        own.map(|a| (format!("{} on {}", a.address, a.interface), "there".to_string())).collect()
    };
    pairs(&of(before), &of(now), |what, b, n| found.push(What::Address, what, b.cloned(), n.cloned()));
}
