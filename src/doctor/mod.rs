//! What is wrong, with proof: one file per cause. Evidence in, findings out; pure.
//!
//! What rises is measured against an earlier snapshot, some seconds ago: a counter that stands still is history.

mod causes;
mod context;
mod dead_ends;

pub use dead_ends::{DeadEnd, dead_ends};

use crate::proxy::{Model, RuleRef};
use crate::rates::{NodeRates, Rates};
use crate::snapshot::{Snapshot, SourceId};
use context::{CheckContext, NotChecked};

/// What a cause of lost traffic may look at.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Facts of the instant.
    pub snapshot: &'a Snapshot,
    /// Services.
    pub model: &'a Model,
    /// Rates of each Service, in the model's order.
    pub rates: &'a Rates,
    /// Rates of the node.
    pub node: &'a NodeRates,
    /// How it was some seconds ago.
    pub before: Option<Before<'a>>,
    /// How it was at the reading before: for tables whose rules are others since `before`.
    pub last: Option<Before<'a>>,
    /// Services whose packets die on their way though kube-proxy's rules would let them through.
    pub dead_ends: &'a [DeadEnd],
}

/// Facts of an earlier instant.
#[derive(Clone, Copy, Debug)]
pub struct Before<'a> {
    /// Facts.
    pub snapshot: &'a Snapshot,
    /// Services.
    pub model: &'a Model,
}

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Traffic dies now.
    Critical,
    /// It will, or some of it does.
    Warning,
    /// Worth knowing.
    Info,
}

impl Severity {
    /// As in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Critical => "critical",
            Severity::Warning => "warning",
            Severity::Info => "info",
        }
    }

    /// For people, with a symbol: colour is never alone.
    pub fn mark(self) -> &'static str {
        match self {
            Severity::Critical => "✗ critical",
            Severity::Warning => "▲ warning",
            Severity::Info => "· info",
        }
    }
}

/// What a finding is about.
#[derive(Clone, Debug, PartialEq)]
pub enum Subject {
    /// The node as a whole.
    Node,
    /// A Service, by its place in the model.
    Service(usize),
    /// A rule.
    Rule(RuleRef),
    /// A table, by its place in the snapshot.
    Table(usize),
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// Of the cause: the name of its file.
    pub id: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// One line.
    pub title: String,
    /// What it is about.
    pub subject: Subject,
    /// The subject for people.
    pub about: String,
    /// The very counters, rules and flows that show it.
    pub evidence: Vec<String>,
    /// What to do next.
    pub advice: Vec<String>,
}

impl Finding {
    /// Of the node as a whole.
    fn node(id: &'static str, severity: Severity, about: &str, title: impl Into<String>) -> Finding {
        Finding {
            id,
            severity,
            title: title.into(),
            subject: Subject::Node,
            about: about.into(),
            evidence: Vec::new(),
            advice: Vec::new(),
        }
    }

    fn proved_by(mut self, evidence: impl Into<String>) -> Finding {
        self.evidence.push(evidence.into());
        self
    }

    fn advise(mut self, advice: impl Into<String>) -> Finding {
        self.advice.push(advice.into());
        self
    }
}

/// How a cause of lost traffic is looked for.
pub(in crate::doctor) struct Check {
    /// The name of its file.
    id: &'static str,
    /// Sources without which nothing can be said.
    needs: &'static [SourceId],
    /// Sources of which some must have been read. Where another was not, that nothing was found rules nothing out.
    looks_at: &'static [SourceId],
    /// How many readings it compares: 1, or 2 for what rises or stays.
    readings: u8,
    /// Finds the cause. `Err` says why it could not be looked for after all.
    run: fn(&CheckContext<'_>, &mut Vec<Finding>) -> Result<(), NotChecked>,
}

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

    /// Causes that were looked for.
    pub fn checked(&self) -> impl Iterator<Item = &'static str> {
        causes().filter(|id| !self.unchecked.iter().any(|u| u.id == *id))
    }
}

/// The causes that are looked for.
pub fn causes() -> impl Iterator<Item = &'static str> {
    causes::ALL.iter().map(|c| c.id)
}

/// Looks for every cause; the worst first.
pub fn examine(facts: &Facts<'_>) -> Examination {
    let cx = CheckContext::new(*facts);
    let mut done = Examination::default();
    for check in causes::ALL {
        let known = done.findings.len();
        let looked = cx.may(&check).and_then(|()| (check.run)(&cx, &mut done.findings));
        let inconclusive = || cx.inconclusive(&check).filter(|_| done.findings.len() == known);
        if let Some(n) = looked.err().or_else(inconclusive) {
            done.unchecked.push(Unchecked { id: check.id, source: n.source, why: n.why.into() });
        }
    }
    done.findings.sort_by_key(|f| f.severity);
    done
}
