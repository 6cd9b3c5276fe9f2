//! What walks found lost, put together by who takes it: one rule that stops many Services is one fault.

use super::finding::Severity;
use crate::proxy::{RuleRef, chain};
use crate::reach::{ALL, Loss, LossPart, SenderKind, ServiceReach, Taker};
use crate::ruleset::{ChainId, Hook};
use crate::snapshot::Snapshot;
use std::collections::HashMap;

/// Losses of one Service that one taker causes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lost<'a> {
    /// The Service, by its place.
    pub(crate) service: usize,
    pub(crate) loss: &'a Loss,
    pub(crate) part: &'a LossPart,
}

/// Everything that one taker takes.
#[derive(Clone, Debug)]
pub(crate) struct Taken<'a> {
    pub(crate) taker: &'a Taker,
    /// Those that lose most first.
    pub(crate) losses: Vec<Lost<'a>>,
}

impl Taken<'_> {
    /// The Services, by their places, each once.
    pub(crate) fn services(&self) -> Vec<usize> {
        let mut found: Vec<usize> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        found.extend(self.losses.iter().map(|l| l.service).filter(|s| seen.insert(*s)));
        found
    }

    /// Kinds of senders that lose something.
    pub(crate) fn senders(&self) -> Vec<SenderKind> {
        let mut found: Vec<SenderKind> = self.losses.iter().map(|l| l.loss.sender).collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Their senders, for people: `pods and other nodes`.
    pub(crate) fn senders_text(&self) -> String {
        let names: Vec<&str> = self.senders().into_iter().map(SenderKind::plural).collect();
        match &names[..] {
            [most @ .., last] if !most.is_empty() => format!("{} and {last}", most.join(", ")),
            _ => names.concat(),
        }
    }

    /// The most that one Service loses of one sender's packets, 0 to 1.
    pub(crate) fn share(&self) -> f64 {
        self.losses.iter().map(|l| l.part.share).fold(0.0, f64::max)
    }

    /// How much it matters: all new flows of anybody but clients outside, which may be shut out on purpose, or less.
    pub(crate) fn severity(&self) -> Severity {
        let outside = self.senders() == [SenderKind::Outside];
        if outside || self.share() < ALL { Severity::Warning } else { Severity::Critical }
    }
}

/// The id of the cause that names what a taker takes.
pub fn cause_of(snapshot: &Snapshot, taker: &Taker) -> &'static str {
    match taker {
        Taker::Policy(table, c) => {
            let base = snapshot.tables.get(*table).and_then(|t| t.table.chains.get(c.0 as usize)?.base);
            if base.is_some_and(|b| b.hook == Hook::Forward) { "forward_policy" } else { "foreign_drop" }
        }
        Taker::Rule(rule) if is_in(snapshot, *rule, chain::FIREWALL) => "iptables_versions",
        Taker::Rule(rule) if is_in(snapshot, *rule, chain::IPVS_FILTER) => "ipvs_sets",
        Taker::Rule(_) => "foreign_drop",
        Taker::Elsewhere { to, .. } if to.0.is_unspecified() => "iptables_versions",
        // Two Services with one address: kube-proxy's own rules of the other take the packets.
        Taker::Elsewhere { .. } if taker.owner(snapshot) == Some("kube-proxy") => "never_hit",
        Taker::Elsewhere { .. } => "foreign_dnat",
        Taker::Untracked { .. } => "untracked",
        Taker::Untranslated => "wiped",
        Taker::Kernel(_) => "ip_forward",
    }
}

/// True for a rule of the chain of this name.
fn is_in(snapshot: &Snapshot, rule: RuleRef, chain: &str) -> bool {
    let Some(t) = snapshot.tables.get(rule.table) else { return false };
    t.table.chain_of(rule.rule).is_some_and(|c| t.table.chain_name(c) == chain)
}

/// Losses of these Services, each with its place, by taker, in the order in which they were found.
pub(crate) fn taken<'a>(of: impl Iterator<Item = (usize, &'a ServiceReach)>) -> Vec<Taken<'a>> {
    let mut places: HashMap<(u8, usize, u32), usize> = HashMap::new();
    let mut all: Vec<Taken<'_>> = Vec::new();
    for (service, r) in of {
        for loss in &r.losses {
            for part in &loss.parts {
                let key = match &part.taker {
                    Taker::Rule(RuleRef { table, rule }) => (0, *table, rule.0),
                    Taker::Policy(table, ChainId(c)) => (1, *table, *c),
                    Taker::Elsewhere { rule: Some(RuleRef { table, rule }), .. } => (2, *table, rule.0),
                    Taker::Elsewhere { .. } => (3, 0, 0),
                    Taker::Untracked { rule, here } => (if *here { 6 } else { 7 }, rule.table, rule.rule.0),
                    Taker::Untranslated => (4, 0, 0),
                    Taker::Kernel(_) => (5, 0, 0),
                };
                let at = *places.entry(key).or_insert_with(|| {
                    all.push(Taken { taker: &part.taker, losses: Vec::new() });
                    all.len() - 1
                });
                all[at].losses.push(Lost { service, loss, part });
            }
        }
    }
    for t in &mut all {
        t.losses.sort_by(|a, b| b.part.share.total_cmp(&a.part.share));
    }
    all
}
