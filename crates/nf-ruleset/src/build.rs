//! Building a table rule by rule: for what kptop writes, and for text that it reads.

use crate::{
    BaseChain, Chain, ChainId, Counter, Data, Dialect, Family, Match, NfTable, Rule, Set, SetId, StrId,
    Strings, Table, TableBackend, TableCounters, Target, Verdict,
};

/// A rule before it has a place in a table.
#[derive(Clone, Debug)]
pub struct RuleSpec {
    /// Conditions.
    pub matches: Vec<Match>,
    /// What is done.
    pub target: Target,
    /// What it has counted.
    pub counter: Counter,
}

/// Collects chains and rules in any order, then lays them out as a [`Table`].
#[derive(Debug)]
pub struct TableBuilder {
    family: Family,
    backend: TableBackend,
    name: String,
    /// Names and comments of the table to be.
    pub strings: Strings,
    chains: Vec<PendingChain>,
    by_name: std::collections::HashMap<StrId, ChainId>,
    /// How its rules are written.
    pub dialect: Dialect,
    /// Sets and maps.
    pub sets: Vec<Set>,
    /// Comment of the table (nf_tables).
    pub comment: Option<String>,
    /// Comments of chains (nf_tables).
    pub chain_comments: Vec<(ChainId, String)>,
}

#[derive(Debug)]
struct PendingChain {
    name: StrId,
    base: Option<BaseChain>,
    counter: Counter,
    rules: Vec<RuleSpec>,
}

impl TableBuilder {
    /// An empty table.
    pub fn new(family: Family, backend: TableBackend, name: &str) -> TableBuilder {
        TableBuilder {
            family,
            backend,
            name: name.to_string(),
            strings: Strings::default(),
            chains: Vec::new(),
            by_name: std::collections::HashMap::new(),
            dialect: Dialect::Iptables,
            sets: Vec::new(),
            comment: None,
            chain_comments: Vec::new(),
        }
    }

    /// Family of the table to be.
    pub fn family(&self) -> Family {
        self.family
    }

    /// The chain with this name, made where it is not there yet.
    pub fn chain(&mut self, name: &str) -> ChainId {
        let id = self.strings.intern(name);
        let next = ChainId(self.chains.len() as u32);
        *self.by_name.entry(id).or_insert_with(|| {
            self.chains.push(PendingChain {
                name: id,
                base: None,
                counter: Counter::default(),
                rules: Vec::new(),
            });
            next
        })
    }

    /// True where a chain of this name was made.
    pub fn has_chain(&self, name: &str) -> bool {
        self.strings.find(name).is_some_and(|id| self.by_name.contains_key(&id))
    }

    /// Hangs a chain on a hook.
    pub fn base(&mut self, id: ChainId, base: BaseChain, policy_counter: Counter) {
        let chain = &mut self.chains[id.0 as usize];
        chain.base = Some(base);
        chain.counter = policy_counter;
    }

    /// Adds a set.
    pub fn set(&mut self, set: Set) -> SetId {
        self.sets.push(set);
        SetId(self.sets.len() as u32 - 1)
    }

    /// Adds a rule at the end of a chain.
    pub fn push(&mut self, chain: ChainId, rule: RuleSpec) {
        self.chains[chain.0 as usize].rules.push(rule);
    }

    /// Adds a rule without counters.
    pub fn rule(&mut self, chain: ChainId, matches: Vec<Match>, target: Target) {
        self.push(chain, RuleSpec { matches, target, counter: Counter::default() });
    }

    /// Adds a rule that jumps to the chain of this name.
    pub fn jump(&mut self, chain: ChainId, matches: Vec<Match>, to: &str) {
        let to = self.chain(to);
        self.rule(chain, matches, Target::Verdict(Verdict::Jump(to)));
    }

    /// A comment match.
    pub fn comment(&mut self, text: &str) -> Match {
        Match::Comment(self.strings.intern(text))
    }

    /// Orders the chains as libiptc does: base chains first, then the others by name. iptables finds chains
    /// by bisection; in a table of 36,000 unsorted ones `iptables-save` takes minutes.
    pub fn sort_chains(&mut self) {
        let mut order: Vec<usize> = (0..self.chains.len()).collect();
        order.sort_by_key(|i| {
            let c = &self.chains[*i];
            (c.base.is_none(), c.base.map(|b| b.hook), self.strings.get(c.name).to_string())
        });
        let mut new_id = vec![ChainId(0); order.len()];
        for (new, old) in order.iter().enumerate() {
            new_id[*old] = ChainId(new as u32);
        }
        let mut old: Vec<Option<PendingChain>> =
            std::mem::take(&mut self.chains).into_iter().map(Some).collect();
        self.chains = order.iter().filter_map(|i| old[*i].take()).collect();
        for rule in self.chains.iter_mut().flat_map(|c| &mut c.rules) {
            if let Target::Verdict(Verdict::Jump(to) | Verdict::Goto(to)) = &mut rule.target {
                *to = new_id[to.0 as usize];
            }
        }
        for element in self.sets.iter_mut().flat_map(|s| &mut s.elements).flatten() {
            if let Data::Verdict(Verdict::Jump(to) | Verdict::Goto(to)) = &mut element.data {
                *to = new_id[to.0 as usize];
            }
        }
        for (id, _) in &mut self.chain_comments {
            *id = new_id[id.0 as usize];
        }
        for id in self.by_name.values_mut() {
            *id = new_id[id.0 as usize];
        }
    }

    /// Lays the table out.
    pub fn finish(self) -> (Table, TableCounters) {
        let mut table = Table {
            chains: Vec::with_capacity(self.chains.len()),
            dialect: self.dialect,
            sets: self.sets,
            nf: (self.backend == TableBackend::NfTables).then(|| {
                Box::new(NfTable {
                    comment: self.comment,
                    chain_comments: self.chain_comments,
                    ..NfTable::default()
                })
            }),
            strings: self.strings,
            ..Table::new(self.family, self.backend, &self.name)
        };
        let mut counters = TableCounters::default();
        for (i, pending) in self.chains.into_iter().enumerate() {
            let first = table.rules.len() as u32;
            for spec in pending.rules {
                let counted = self.dialect == Dialect::Iptables || spec.matches.contains(&Match::Counter);
                let rule = Rule {
                    first_match: table.matches.len() as u32,
                    match_count: spec.matches.len() as u16,
                    counted,
                    target: spec.target,
                };
                table.matches.extend(spec.matches);
                table.rules.push(rule);
                counters.rules.push(spec.counter);
            }
            if pending.base.is_some() {
                counters.policies.push((ChainId(i as u32), pending.counter));
            }
            table.chains.push(Chain {
                name: pending.name,
                base: pending.base,
                rules: first..table.rules.len() as u32,
            });
        }
        (table, counters)
    }
}
