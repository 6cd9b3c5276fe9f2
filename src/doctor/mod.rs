//! What is wrong, with proof: one file per cause. Evidence in, findings out; pure.

mod conntrack;
mod drops;
mod leftovers;
mod no_endpoints;

use crate::proxy::{Model, RuleRef};
use crate::rates::{NodeRates, ServiceRates};
use crate::snapshot::Snapshot;

/// What a cause of lost traffic may look at.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Facts of the instant.
    pub snapshot: &'a Snapshot,
    /// Services.
    pub model: &'a Model,
    /// Rates of each Service, in the model's order.
    pub rates: &'a [ServiceRates],
    /// Rates of the node.
    pub node: &'a NodeRates,
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

/// A cause of lost traffic: finds it in the facts of one instant, and what they were a moment before.
type Cause = fn(&Facts<'_>, &mut Vec<Finding>);

const CAUSES: [(&str, Cause); 4] = [
    (no_endpoints::ID, no_endpoints::find),
    (conntrack::ID, conntrack::find),
    (drops::ID, drops::find),
    (leftovers::ID, leftovers::find),
];

/// The causes that are looked for.
pub fn causes() -> impl Iterator<Item = &'static str> {
    CAUSES.iter().map(|c| c.0)
}

/// Looks for every cause; the worst first.
pub fn examine(facts: &Facts<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (_, find) in CAUSES {
        find(facts, &mut found);
    }
    found.sort_by_key(|f| f.severity);
    found
}
