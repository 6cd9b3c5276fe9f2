//! What a change is, and the list of them.

use crate::ruleset::{Family, TableBackend};
use std::collections::BTreeMap;

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum What {
    /// A Service came or went, or its affinity or scheduler is another.
    Service,
    /// An address where it is reached.
    Frontend,
    /// An endpoint, its weight or its policy.
    Backend,
    /// How a Service is.
    Health,
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
    /// Something that could be read before and cannot now, or reversed.
    Reading,
}

impl What {
    /// As in JSON.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// What a change is about, where it is something that can be gone to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// A Service, by [`service_key`](crate::rates::service_key).
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
    /// Who changed it, where nf_tables said so: `nft (4711)`.
    pub by: Option<String>,
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

/// Collects changes of one pair of snapshots.
pub(super) struct Found {
    pub(super) at: jiff::Timestamp,
    /// What the changes that are being looked for are about.
    pub(super) about: About,
    pub(super) all: Vec<Change>,
}

impl Found {
    pub(super) fn push(
        &mut self,
        what: What,
        subject: impl Into<String>,
        before: Option<String>,
        now: Option<String>,
    ) {
        if before == now {
            return;
        }
        let (seen_at, subject) = (self.at, subject.into());
        let about = self.about.clone();
        self.all.push(Change { seen_at, what, subject, about, before, now, by: None, changed_before: None });
    }
}

/// Calls `each` with everything that is in one of both, or differs.
pub(super) fn pairs<'a, V: PartialEq>(
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
