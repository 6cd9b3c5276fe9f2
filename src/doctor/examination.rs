//! Looking for every cause.

use super::causes::ALL;
use super::context::CheckContext;
use super::facts::Facts;
use super::finding::{Finding, Severity, Subject};
use super::group::grouped;
use crate::by_hand;
use crate::proxy::Model;
use crate::snapshot::{Snapshot, SourceId};

/// A cause that could not be looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unchecked {
    /// The check.
    pub id: &'static str,
    /// The source that was not read, where that is why.
    pub source: Option<SourceId>,
    /// Why, for people.
    pub why: String,
}

/// What an examination gave.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Examination {
    /// What is wrong, the worst first.
    pub findings: Vec<Finding>,
    /// What could not be looked for.
    pub unchecked: Vec<Unchecked>,
}

impl Examination {
    /// True where something is a warning or worse.
    pub fn is_alarming(&self) -> bool {
        self.findings.iter().any(|f| f.severity <= Severity::Warning)
    }

    /// With findings that differ only in the Service put together; the worst first, and of those the ones that lose most.
    pub fn ordered(mut self, model: &Model) -> Examination {
        self.findings = grouped(std::mem::take(&mut self.findings), model);
        self.findings.sort_by(|a, b| {
            let all = |f: &Finding| f.lost_share.unwrap_or(0.0) * f.count().max(1) as f64;
            let lost = |f: &Finding| (f.lost_rate.unwrap_or(0.0), all(f));
            let by_loss = || lost(b).partial_cmp(&lost(a)).unwrap_or(std::cmp::Ordering::Equal);
            let key = |f: &Finding| (f.severity, f.quiet_since.is_some());
            key(a).cmp(&key(b)).then_with(by_loss)
        });
        self
    }

    /// With commands for each finding.
    pub fn with_commands(mut self, snapshot: &Snapshot, model: &Model) -> Examination {
        for f in &mut self.findings {
            let mut all = match &f.subject {
                Subject::Rule(r) => by_hand::of_rule(snapshot, *r),
                Subject::Table(t) => by_hand::of_table(snapshot, *t),
                Subject::Node => by_hand::of_check(f.id).iter().map(|c| (*c).to_string()).collect(),
                Subject::Service(_) => Vec::new(),
            };
            // Of many Services the one that loses most is the example.
            let first = f.services.first().and_then(|i| model.services.get(*i));
            all.extend(first.into_iter().flat_map(|s| by_hand::of_service(snapshot, s, None)));
            f.commands = all;
        }
        self
    }

    /// Causes that were looked for.
    pub fn checked(&self) -> impl Iterator<Item = &'static str> {
        causes().filter(|id| !self.unchecked.iter().any(|u| u.id == *id))
    }

    /// Causes that were looked for and not found.
    pub fn ruled_out(&self) -> impl Iterator<Item = &'static str> {
        self.checked().filter(|id| !self.findings.iter().any(|f| f.id == *id))
    }
}

/// The causes that are looked for.
pub fn causes() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|c| c.id)
}

/// What is wrong where a cause is found, in a few words; empty for a name that is none.
pub fn about(cause: &str) -> &'static str {
    ALL.iter().find(|c| c.id == cause).map_or("", |c| c.about)
}

/// Looks for every cause. Findings are as the checks give them: [`Examination::ordered`] puts them together.
pub fn examine(facts: &Facts<'_>) -> Examination {
    let cx = CheckContext::new(*facts);
    let mut done = Examination::default();
    for check in ALL {
        let known = done.findings.len();
        let looked = cx.may(&check).and_then(|()| (check.run)(&cx, &mut done.findings));
        let inconclusive = || cx.inconclusive(&check).filter(|_| done.findings.len() == known);
        if let Some(n) = looked.err().or_else(inconclusive) {
            done.unchecked.push(Unchecked { id: check.id, source: n.source, why: n.why.into() });
        }
    }
    done
}
