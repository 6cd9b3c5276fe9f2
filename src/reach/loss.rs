//! What is lost, and who takes it.

use super::senders::SenderKind;
use crate::proxy::{RuleRef, chain_owner, rule_owner};
use crate::ruleset::{ChainId, RuleId};
use crate::snapshot::Snapshot;
use crate::walk::End;
use std::net::IpAddr;

/// Parts of a whole that are all of it, but for rounding.
pub const ALL: f64 = 0.999;

/// What takes a packet.
#[derive(Clone, Debug, PartialEq)]
pub enum Taker {
    /// A rule drops or rejects it.
    Rule(RuleRef),
    /// The policy of a base chain, by table and chain.
    Policy(usize, ChainId),
    /// It arrives somewhere that is none of the Service's backends; by which rule, where one translated it.
    Elsewhere {
        /// Where.
        to: (IpAddr, u16),
        /// The rule.
        rule: Option<RuleRef>,
    },
    /// A rule takes it out of connection tracking, so no rule translates it.
    Untracked {
        /// The rule.
        rule: RuleRef,
        /// True where a process of this node gets it: it has the Service's address itself.
        here: bool,
    },
    /// No rule translates it.
    Untranslated,
    /// The kernel, by what it does between rules: it does not forward, or finds no route. Why, for people.
    Kernel(String),
}

impl Taker {
    /// The rule, where it is one.
    pub fn rule(&self) -> Option<RuleRef> {
        match self {
            Taker::Rule(rule) | Taker::Untracked { rule, .. } => Some(*rule),
            Taker::Elsewhere { rule, .. } => *rule,
            _ => None,
        }
    }

    /// Its table and chain, where it has one.
    pub fn chain(&self, snapshot: &Snapshot) -> Option<(usize, ChainId)> {
        match self {
            Taker::Policy(table, chain) => Some((*table, *chain)),
            _ => {
                let rule = self.rule()?;
                Some((rule.table, snapshot.tables.get(rule.table)?.table.chain_of(rule.rule)?))
            }
        }
    }

    /// Where it is, for people: `ip filter FORWARD`.
    pub fn place(&self, snapshot: &Snapshot) -> Option<String> {
        let (table, chain) = self.chain(snapshot)?;
        let t = snapshot.tables.get(table)?;
        Some(format!("{} {} {}", t.family, t.table.name, t.table.chain_name(chain)))
    }

    /// Whose it is, as far as names say.
    pub fn owner(&self, snapshot: &Snapshot) -> Option<&'static str> {
        match self.rule() {
            Some(r) => rule_owner(&snapshot.tables.get(r.table)?.table, r.rule),
            None => {
                let (table, chain) = self.chain(snapshot)?;
                chain_owner(&snapshot.tables.get(table)?.table, chain)
            }
        }
    }

    /// Packets that it counted; `None` where it does not count.
    pub fn packets(&self, snapshot: &Snapshot) -> Option<u64> {
        match self {
            Taker::Policy(table, chain) => {
                let t = snapshot.tables.get(*table)?;
                let found = t.counters.policies.iter().find(|(id, _)| id == chain);
                found.map(|(_, c)| c.packets)
            }
            _ => {
                let RuleRef { table, rule: RuleId(at) } = self.rule()?;
                let t = snapshot.tables.get(table)?;
                let counted = t.table.rules.get(at as usize).is_some_and(|r| r.counted);
                counted.then(|| t.counter(RuleId(at)).packets)
            }
        }
    }
}

/// What takes packets, for people: `a rule of Docker`, `the policy of FORWARD`.
pub fn taker_words(snapshot: &Snapshot, taker: &Taker) -> String {
    let chain = || {
        let (table, chain) = taker.chain(snapshot)?;
        Some(snapshot.tables.get(table)?.table.chain_name(chain))
    };
    let of = |what: &str| match (taker.owner(snapshot), chain()) {
        (Some(owner), _) => format!("{what} of {owner}"),
        (None, Some(chain)) => format!("{what} in {chain} that no known program made"),
        (None, None) => what.to_string(),
    };
    match taker {
        Taker::Rule(_) => of("a rule"),
        Taker::Policy(..) => format!("the policy of {}", chain().unwrap_or("a chain")),
        Taker::Elsewhere { .. } => of("a DNAT rule"),
        Taker::Untracked { .. } => of("a rule that takes them out of connection tracking,"),
        Taker::Untranslated => "no rule, as none translates them".into(),
        Taker::Kernel(why) => format!("the kernel: {why}"),
    }
}

/// What one taker takes of the packets of one sender to one frontend.
#[derive(Clone, Debug, PartialEq)]
pub struct LossPart {
    /// What takes them.
    pub taker: Taker,
    /// How they end.
    pub end: End,
    /// The part of all packets, 0 to 1.
    pub share: f64,
    /// The backends, by their places, whose packets it takes; empty where they die before one is chosen.
    pub backends: Vec<usize>,
}

/// Packets of one kind of sender to one frontend that are lost, whatever the answers to open questions are.
#[derive(Clone, Debug, PartialEq)]
pub struct Loss {
    /// Who sends.
    pub sender: SenderKind,
    /// The sender's address that was walked.
    pub source: IpAddr,
    /// The frontend, by its place; `None` for packets that another node translated.
    pub frontend: Option<usize>,
    /// The part of all packets that is lost, 0 to 1.
    pub share: f64,
    /// Who takes them, the most first.
    pub parts: Vec<LossPart>,
}
