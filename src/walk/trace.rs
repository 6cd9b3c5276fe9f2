//! What happened to a packet: every path that it may take, with its end.

use super::assumption::Assumption;
use crate::ruleset::{ChainId, Hook, RuleId};
use std::net::IpAddr;

/// Where a step was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Index of the table in the snapshot.
    pub table: usize,
    /// Chain.
    pub chain: ChainId,
}

/// What a step is.
#[derive(Clone, Debug, PartialEq)]
pub enum StepKind {
    /// A rule whose conditions all held.
    Matched(RuleId),
    /// A rule that counted the packet, and of which a later condition did not hold (nf_tables).
    Counted(RuleId),
    /// Rules that were evaluated and did not match: the first, and how many.
    Passed(RuleId, u32),
    /// The end of a base chain: its policy.
    Policy,
    /// IPVS took the packet: which virtual server, and to where.
    Ipvs(String),
    /// Something that happened between rules: routing, or why the packet was lost.
    Note(String),
}

/// A step on the way.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The step before, by index in [`Trace::steps`].
    pub before: Option<u32>,
    /// Hook.
    pub hook: Hook,
    /// Table and chain; `None` where it is no rule's.
    pub place: Option<Place>,
    /// What.
    pub kind: StepKind,
    /// True where a counter of the rule went up.
    pub counted: bool,
    /// Probability that this branch was taken, where chance decided here.
    pub probability: Option<f64>,
}

/// How a packet ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// A process of the node gets it.
    Delivered,
    /// It leaves the node.
    Sent,
    /// A rule or a policy took it.
    Dropped,
    /// A rule refused it with an answer.
    Rejected,
    /// A program in user space decides (`NFQUEUE`).
    Queued,
    /// The kernel cannot route it.
    Lost,
    /// Not decided: by a target or expression that kptop does not know, or as the walk was given up.
    Undecided,
}

/// Rules evaluated, by who holds them: each kind has a price of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Rules of x_tables.
    pub xtables: u32,
    /// Rules of iptables-nft.
    pub compat: u32,
    /// Native rules of nf_tables.
    pub native: u32,
    /// Sets, maps and ipsets that were asked.
    pub lookups: u32,
    /// Virtual servers that were found.
    pub ipvs: u32,
    /// Base chains that were entered.
    pub chains: u32,
}

impl Tally {
    /// All rules evaluated, matched or not.
    pub fn rules(&self) -> u32 {
        self.xtables + self.compat + self.native
    }
}

/// One possible end.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// How it ends.
    pub end: End,
    /// Where it was sent on to, if it was translated.
    pub backend: Option<(IpAddr, u16)>,
    /// True where its source is masqueraded (or translated otherwise).
    pub masquerade: bool,
    /// How likely it is, 0 to 1, given what it assumes.
    pub probability: f64,
    /// What had to be assumed, where the snapshot does not say.
    pub assuming: Vec<Assumption>,
    /// Rules evaluated.
    pub tally: Tally,
    /// Its last step.
    pub last: Option<u32>,
}

/// Every way that a packet may go.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    /// Steps of all ways; each knows the one before.
    pub steps: Vec<Step>,
    /// Ends, the likeliest first.
    pub outcomes: Vec<Outcome>,
    /// True where there were too many ends, and some are not here.
    pub cut: bool,
}

impl Trace {
    /// The steps to an end, from the first.
    pub fn path(&self, outcome: &Outcome) -> Vec<&Step> {
        let mut path = Vec::new();
        let mut at = outcome.last;
        while let Some(step) = at.and_then(|i| self.steps.get(i as usize)) {
            path.push(step);
            at = step.before;
        }
        path.reverse();
        path
    }

    /// Rules evaluated until the end, in the mean over what may happen; `None` without any end.
    pub fn mean_rules(&self) -> Option<f64> {
        self.mean(|t| f64::from(t.rules()))
    }

    /// The mean of a figure over the ends, by their probability.
    pub fn mean(&self, of: impl Fn(&Tally) -> f64) -> Option<f64> {
        let weight: f64 = self.outcomes.iter().map(|o| o.probability).sum();
        let sum: f64 = self.outcomes.iter().map(|o| o.probability * of(&o.tally)).sum();
        (weight > 0.0).then(|| sum / weight)
    }
}
