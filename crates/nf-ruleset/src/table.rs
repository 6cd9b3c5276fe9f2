//! Tables: chains, rules and matches as arenas.

use crate::Counter;
use crate::recorded_ids;
use crate::{
    BaseChain, ChainId, Family, Match, RuleId, Set, SetId, StrId, Strings, TableBackend, Target, Verdict,
};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// How the rules of a table are written: as text, and as matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Dialect {
    /// As `iptables -S` prints them. All tables of x_tables, and those that iptables-nft keeps in nf_tables.
    Iptables,
    /// As `nft list` prints them.
    Nft,
}

/// Facts of a table that only nf_tables has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NfTable {
    /// `NFT_TABLE_F_*`: 1 dormant, 2 owned by a program that runs.
    pub flags: u32,
    /// Comment.
    pub comment: Option<String>,
    /// Its number in the kernel.
    pub handle: u64,
    /// Comments of chains.
    pub chain_comments: Vec<(ChainId, String)>,
    /// Number of each rule in the kernel.
    pub rule_handles: Vec<u64>,
    /// Names of its flowtables.
    pub flowtables: Vec<String>,
}

/// `NFT_TABLE_F_DORMANT`
pub const TABLE_DORMANT: u32 = 1;

/// A chain: a name and a range of rules.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Chain {
    /// Its name, in the table's [`Strings`].
    pub name: StrId,
    /// Where it hangs on the packet's way; `None` for a chain that is only jumped to.
    pub base: Option<BaseChain>,
    /// Its rules in the table's arena.
    pub rules: Range<u32>,
}

/// A rule: matches that all must hold, then a target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// Where its matches begin in the table's arena.
    pub first_match: u32,
    /// How many there are.
    pub match_count: u16,
    /// False where the kernel keeps no counter for it: native rules of nf_tables count only where they say so.
    pub counted: bool,
    /// What is done with a packet that matched.
    pub target: Target,
}

/// Counters of one table at one instant, in the order of its structure.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableCounters {
    /// One for each rule, by [`RuleId`].
    pub rules: Vec<Counter>,
    /// One for each base chain's policy.
    #[serde(deserialize_with = "recorded_ids::policies")]
    pub policies: Vec<(ChainId, Counter)>,
}

/// One table: chains, rules and matches as arenas.
#[derive(Clone, Debug)]
pub struct Table {
    /// Which packets it sees.
    pub family: Family,
    /// Which kernel interface holds it.
    pub backend: TableBackend,
    /// Its name: `nat`, `filter`, …
    pub name: String,
    /// Its chains, in the kernel's order.
    pub chains: Vec<Chain>,
    /// Rules of all chains.
    pub rules: Vec<Rule>,
    /// Matches of all rules.
    pub matches: Vec<Match>,
    /// How its rules are written.
    pub dialect: Dialect,
    /// Its sets and maps (nf_tables only).
    pub sets: Vec<Set>,
    /// What only nf_tables has.
    pub nf: Option<Box<NfTable>>,
    /// Names and comments.
    pub strings: Strings,
}

impl Table {
    /// A table without anything in it.
    pub fn new(family: Family, backend: TableBackend, name: &str) -> Table {
        Table {
            family,
            backend,
            name: name.to_string(),
            chains: Vec::new(),
            rules: Vec::new(),
            matches: Vec::new(),
            dialect: Dialect::Iptables,
            sets: Vec::new(),
            nf: None,
            strings: Strings::default(),
        }
    }

    /// A set.
    pub fn set(&self, id: SetId) -> &Set {
        &self.sets[id.0 as usize]
    }

    /// The set with this name.
    pub fn find_set(&self, name: &str) -> Option<SetId> {
        let id = self.strings.find(name)?;
        self.sets.iter().position(|s| s.name == id).map(|i| SetId(i as u32))
    }

    /// Elements of all its sets; `None` where those of one are not known.
    pub fn element_count(&self) -> Option<u64> {
        self.sets.iter().map(|s| s.count).sum()
    }

    /// The chain with this name.
    pub fn chain(&self, name: &str) -> Option<ChainId> {
        let id = self.strings.find(name)?;
        self.chains.iter().position(|c| c.name == id).map(|i| ChainId(i as u32))
    }

    /// Name of a chain.
    pub fn chain_name(&self, id: ChainId) -> &str {
        self.str(self.chains[id.0 as usize].name)
    }

    /// An interned string.
    pub fn str(&self, id: StrId) -> &str {
        self.strings.get(id)
    }

    /// Rules of a chain with their ids, in the order in which a packet meets them.
    pub fn rules_of(&self, id: ChainId) -> impl Iterator<Item = (RuleId, &Rule)> {
        let range = self.chains[id.0 as usize].rules.clone();
        range.map(|i| (RuleId(i), &self.rules[i as usize]))
    }

    /// The chain in which a rule is.
    pub fn chain_of(&self, rule: RuleId) -> Option<ChainId> {
        // Chains lie in the arena one behind the other, in their own order or, after a change, not quite.
        let at = self.chains.partition_point(|c| c.rules.end <= rule.0);
        let here = |c: &Chain| c.rules.contains(&rule.0);
        if self.chains.get(at).is_some_and(here) {
            return Some(ChainId(at as u32));
        }
        self.chains.iter().position(here).map(|i| ChainId(i as u32))
    }

    /// Matches of a rule.
    pub fn matches_of(&self, rule: &Rule) -> &[Match] {
        let first = rule.first_match as usize;
        &self.matches[first..first + usize::from(rule.match_count)]
    }

    /// One rule.
    pub fn rule(&self, id: RuleId) -> &Rule {
        &self.rules[id.0 as usize]
    }

    /// The chain that a rule jumps or goes to, if it does.
    pub fn jump_of(&self, rule: &Rule) -> Option<ChainId> {
        match rule.target {
            Target::Verdict(Verdict::Jump(c) | Verdict::Goto(c)) => Some(c),
            _ => None,
        }
    }

    /// The comment of a rule, where it has one.
    pub fn comment_of(&self, rule: &Rule) -> Option<&str> {
        self.matches_of(rule).iter().find_map(|m| match m {
            Match::Comment(id) => Some(self.str(*id)),
            _ => None,
        })
    }

    /// Bytes that the structure takes in memory, without counters.
    pub fn memory(&self) -> usize {
        self.chains.capacity() * size_of::<Chain>()
            + self.rules.capacity() * size_of::<Rule>()
            + self.matches.capacity() * size_of::<Match>()
            + self.nf.as_ref().map_or(0, |n| n.rule_handles.capacity() * 8)
            + self.strings.memory()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arena_stays_small() {
        // Under 150 bytes a rule: kube-proxy's rules have under three matches on average.
        assert!(size_of::<Match>() <= 16, "Match is {} bytes", size_of::<Match>());
        assert!(size_of::<Rule>() <= 24, "Rule is {} bytes", size_of::<Rule>());
    }
}
