//! What is wrong, and how much it matters.

use crate::proxy::RuleRef;
use jiff::Timestamp;

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
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
        self.into()
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
    /// Services that it is about, by their places in the model, those that lose most first; empty where it is not about
    /// certain ones.
    pub services: Vec<usize>,
    /// Services that it is about, too, and that the kernel does not hold: `shop/cart:http TCP`.
    pub absent: Vec<String>,
    /// The part of new flows that the rules lose for certain, 0 to 1: the most over its Services. `None` where that is
    /// not known.
    pub lost_share: Option<f64>,
    /// Packets a second that die of it now, where something counts them.
    pub lost_rate: Option<f64>,
    /// When it was seen first; `None` where it was there at the first look.
    pub since: Option<Timestamp>,
    /// When its cause was seen last, where it is not there now: what is wrong stays for a while.
    pub quiet_since: Option<Timestamp>,
    /// The very counters, rules and flows that show it.
    pub evidence: Vec<String>,
    /// What to do next.
    pub advice: Vec<String>,
    /// Commands that show it by other means, for a shell on the node.
    pub commands: Vec<String>,
}

impl Finding {
    /// Of the node as a whole.
    pub(in crate::doctor) fn node(
        id: &'static str,
        severity: Severity,
        about: &str,
        title: impl Into<String>,
    ) -> Finding {
        Finding {
            id,
            severity,
            title: title.into(),
            subject: Subject::Node,
            about: about.into(),
            services: Vec::new(),
            absent: Vec::new(),
            lost_share: None,
            lost_rate: None,
            since: None,
            quiet_since: None,
            evidence: Vec::new(),
            advice: Vec::new(),
            commands: Vec::new(),
        }
    }

    /// How many Services it is about.
    pub fn count(&self) -> usize {
        self.services.len() + self.absent.len()
    }

    pub(in crate::doctor) fn proved_by(mut self, evidence: impl Into<String>) -> Finding {
        self.evidence.push(evidence.into());
        self
    }

    pub(in crate::doctor) fn advise(mut self, advice: impl Into<String>) -> Finding {
        self.advice.push(advice.into());
        self
    }
}
