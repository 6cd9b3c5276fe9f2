//! What changed between two snapshots: the first question of every incident. Pure.

mod services;
mod tables;

use crate::proxy::{Model, State};
use crate::rates::service_key;
use crate::ruleset::{Family, TableBackend};
use crate::snapshot::Snapshot;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum What {
    /// A Service came or went, or its affinity or scheduler is another.
    Service,
    /// An address where it is reached.
    Frontend,
    /// An endpoint, its weight or its policy.
    Backend,
    /// A mode of kube-proxy.
    Mode,
    /// A table, a base chain's policy, or rules of other programs.
    Rules,
    /// Counters that began again.
    Counters,
    /// A sysctl.
    Sysctl,
    /// Limits of conntrack.
    Conntrack,
    /// An address of the node.
    Address,
    /// An interface.
    Link,
    /// Something that could be read before and cannot now, or the other way round.
    Reading,
}

impl What {
    /// As in JSON.
    pub fn name(self) -> &'static str {
        match self {
            What::Service => "service",
            What::Frontend => "frontend",
            What::Backend => "backend",
            What::Mode => "mode",
            What::Rules => "rules",
            What::Counters => "counters",
            What::Sysctl => "sysctl",
            What::Conntrack => "conntrack",
            What::Address => "address",
            What::Link => "link",
            What::Reading => "reading",
        }
    }
}

/// What a change is about, where it is something that can be gone to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// A Service, by [`service_key`].
    Service(u64),
    /// A table.
    Table(TableBackend, Family, String),
    /// The node, or what is gone by now.
    Node,
}

/// One change.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// When it was seen.
    pub seen_at: jiff::Timestamp,
    /// What kind of thing.
    pub what: What,
    /// Which: a Service with its protocol, a table, a sysctl.
    pub subject: String,
    /// The same, to go there.
    pub about: About,
    /// How it was; `None` where it was not there.
    pub before: Option<String>,
    /// How it is; `None` where it is gone.
    pub now: Option<String>,
    /// When the same thing changed last, as far back as changes are kept.
    pub changed_before: Option<jiff::Timestamp>,
}

impl Change {
    /// How it was and is: `weight 1 -> weight 0`.
    pub fn text(&self) -> String {
        match (&self.before, &self.now) {
            (Some(before), Some(now)) if before.is_empty() => now.clone(),
            (Some(before), Some(now)) => format!("{before} -> {now}"),
            (None, Some(now)) => now.clone(),
            (Some(before), None) => format!("was {before}"),
            (None, None) => String::new(),
        }
    }

    /// Came, went, or changed.
    pub fn mark(&self) -> char {
        match (&self.before, &self.now) {
            (None, _) => '+',
            (_, None) => '-',
            _ => '~',
        }
    }
}

/// Changes that are kept.
const KEPT: usize = 2_000;

/// Changes of one reading beyond which the rest is told as a number: a full sync rewrites everything.
const MOST_AT_ONCE: usize = 400;

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

/// Collects changes of one pair of snapshots.
struct Found {
    at: jiff::Timestamp,
    /// What the changes that are being looked for are about.
    about: About,
    all: Vec<Change>,
}

impl Found {
    fn push(&mut self, what: What, subject: impl Into<String>, before: Option<String>, now: Option<String>) {
        if before == now {
            return;
        }
        let (seen_at, subject) = (self.at, subject.into());
        let about = self.about.clone();
        self.all.push(Change { seen_at, what, subject, about, before, now, changed_before: None });
    }
}

/// What changed from one snapshot to the next: the most telling first.
pub fn compare(before: (&Snapshot, &Model), now: (&Snapshot, &Model)) -> Vec<Change> {
    let mut found = Found { at: now.0.taken_at, about: About::Node, all: Vec::new() };
    readings(before.0, now.0, &mut found);
    modes(before.1, now.1, &mut found);
    if !Arc::ptr_eq(&before.1.services, &now.1.services) {
        services::compare(before.1, now.1, &mut found);
    }
    tables::compare(before, now, &mut found);
    sysctls(before.0, now.0, &mut found);
    limits(before.0, now.0, &mut found);
    links(before.0, now.0, &mut found);
    addresses(before.0, now.0, &mut found);
    found.all
}

fn readings(before: &Snapshot, now: &Snapshot, found: &mut Found) {
    let failed = |s: &Snapshot| -> BTreeMap<String, String> {
        s.failed().map(|u| (u.what.clone(), u.why.clone())).collect()
    };
    pairs(&failed(before), &failed(now), |what, b, n| {
        let text = |why: Option<&String>| Some(why.map_or("read".to_string(), |w| format!("not read: {w}")));
        found.push(What::Reading, what, text(b), text(n));
    });
}

fn modes(before: &Model, now: &Model, found: &mut Found) {
    let of = |m: &Model| -> BTreeMap<String, String> {
        m.services
            .modes
            .iter()
            .map(|m| {
                let variant = m.engine.variant().map(|v| format!(" ({})", v.name())).unwrap_or_default();
                let state = if m.state == State::Active { "at work" } else { "left over" };
                (format!("{} mode{variant} {}", m.engine.mode().name(), m.family), state.to_string())
            })
            .collect()
    };
    pairs(&of(before), &of(now), |what, b, n| found.push(What::Mode, what, b.cloned(), n.cloned()));
}

fn sysctls(before: &Snapshot, now: &Snapshot, found: &mut Found) {
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

fn limits(before: &Snapshot, now: &Snapshot, found: &mut Found) {
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
fn links(before: &Snapshot, now: &Snapshot, found: &mut Found) {
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

fn addresses(before: &Snapshot, now: &Snapshot, found: &mut Found) {
    if before.addresses == now.addresses {
        return;
    }
    let of = |s: &Snapshot| -> BTreeMap<String, String> {
        // Those of Services come and go with them.
        let own = s.addresses.iter().filter(|a| a.interface != crate::proxy::ipvs::DUMMY);
        own.map(|a| (format!("{} on {}", a.address, a.interface), "there".to_string())).collect()
    };
    pairs(&of(before), &of(now), |what, b, n| found.push(What::Address, what, b.cloned(), n.cloned()));
}

/// Calls `each` with everything that is in one of both, or differs.
fn pairs<'a, V: PartialEq>(
    before: &'a BTreeMap<String, V>,
    now: &'a BTreeMap<String, V>,
    mut each: impl FnMut(&str, Option<&'a V>, Option<&'a V>),
) {
    for (key, b) in before {
        match now.get(key) {
            Some(n) if n == b => {}
            n => each(key, Some(b), n),
        }
    }
    for (key, n) in now.iter().filter(|(k, _)| !before.contains_key(*k)) {
        each(key, None, Some(n));
    }
}
