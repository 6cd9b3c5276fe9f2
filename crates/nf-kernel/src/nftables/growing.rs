//! A table while it is read: what messages reported so far.

use super::Index;
use super::decode::{Decoded, RuleDecoder, Scope, SetNames};
use super::parse::{self, TableHead};
use crate::netlink::{attrs, be_uint, str_of};
use crate::xtables;
use hashbrown::HashMap;
use nf_ruleset::{
    Chain, ChainId, Dialect, Element, Family, Hook, IpFamily, Rule, Set, SetId, Table, TableCounters,
    set_flag,
};
use std::sync::Arc;

/// Flags of a set whose elements stay as they are.
const NEVER_CHANGES: u32 = set_flag::ANONYMOUS | set_flag::CONSTANT;

/// True for a set whose elements stay as they are.
pub(super) fn never_changes(set: &Set) -> bool {
    set.flags & NEVER_CHANGES == NEVER_CHANGES
}

/// Family, number of the table, and number of the set in it.
pub(super) type ConstantKey = (Family, u64, u64);

/// One table of a picture.
#[derive(Clone, Debug)]
pub struct Reading {
    /// Structure: the same `Arc` as in the reading before, while the generation stays.
    pub table: Arc<Table>,
    /// Counters.
    pub counters: Arc<TableCounters>,
}

/// Names of ipsets, asked once each.
#[derive(Debug, Default)]
pub(super) struct Ipsets {
    socket: Option<xtables::Socket>,
    names: HashMap<u16, Option<String>>,
}

impl SetNames for Ipsets {
    fn name(&mut self, index: u16) -> Option<String> {
        if let Some(known) = self.names.get(&index) {
            return known.clone();
        }
        if self.socket.is_none() {
            self.socket = xtables::Socket::open(IpFamily::V4).ok();
        }
        let name = self.socket.as_ref().and_then(|s| s.set_name(index).ok());
        self.names.insert(index, name.clone());
        name
    }
}

/// A table while it is read.
#[derive(Debug)]
pub(super) struct Growing {
    pub(super) head: TableHead,
    pub(super) table: Table,
    pub(super) counters: TableCounters,
    pub(super) chains: Index<ChainId>,
    pub(super) sets: Index<SetId>,
    /// Rules at most: each chain counts its rules and the jumps to it.
    pub(super) uses: Vec<u32>,
    pub(super) handles: Vec<u64>,
}

impl Growing {
    pub(super) fn new(head: TableHead, table: Table) -> Growing {
        Growing {
            head,
            table,
            counters: TableCounters::default(),
            chains: Index::default(),
            sets: Index::default(),
            uses: Vec::new(),
            handles: Vec::new(),
        }
    }

    /// Takes a rule. Without a chain it says itself where it is.
    pub(super) fn rule(
        &mut self,
        decoder: &mut RuleDecoder,
        ipsets: &mut Ipsets,
        bytes: &[u8],
        chain: Option<ChainId>,
    ) {
        let (mut name, mut handle, mut list, mut user_data) = (None, 0, &[][..], &[][..]);
        for (kind, v) in attrs(bytes) {
            match kind {
                2 => name = Some(v),
                3 => handle = be_uint(v).unwrap_or(0),
                4 => list = v,
                7 => user_data = v,
                _ => {}
            }
        }
        let chain = chain.or_else(|| {
            let name = self.table.strings.find(str_of(name?)?)?;
            self.chains.get(&name).copied()
        });
        let Some(chain) = chain else { return };
        let Table { strings, sets, matches, family, dialect, .. } = &mut self.table;
        let first_match = matches.len() as u32;
        let mut scope = Scope {
            family: *family,
            dialect: *dialect,
            strings,
            chains: &self.chains,
            set_index: &self.sets,
            sets,
            set_names: ipsets,
        };
        let Decoded { target, counter } =
            decoder.rule(&mut scope, list, parse::comment(user_data, 0), matches);
        let match_count = (matches.len() as u32 - first_match).min(u32::from(u16::MAX)) as u16;
        let at = self.table.rules.len() as u32;
        let range = &mut self.table.chains[chain.0 as usize].rules;
        if range.start == range.end {
            *range = at..at;
        }
        range.end = at + 1;
        self.table.rules.push(Rule { first_match, match_count, counted: counter.is_some(), target });
        self.counters.rules.push(counter.unwrap_or_default());
        self.handles.push(handle);
    }

    /// Under which a set's elements are kept, where they never change.
    pub(super) fn constant_key(&self, set: usize) -> Option<ConstantKey> {
        let set = &self.table.sets[set];
        never_changes(set).then_some((self.table.family, self.head.handle, set.handle))
    }

    /// The elements of a message about a set.
    pub(super) fn parse_elements(&mut self, set: usize, bytes: &[u8], found: &mut Vec<Element>) {
        let Table { sets, strings, .. } = &mut self.table;
        parse::elements(bytes, &sets[set], strings, &self.chains, found);
    }

    pub(super) fn finish(mut self) -> Reading {
        let table = &mut self.table;
        // Chains without rules are where the next rule does.
        let mut at = 0;
        for c in &mut table.chains {
            if c.rules.is_empty() {
                c.rules = at..at;
            }
            at = c.rules.end;
        }
        table.chains.shrink_to_fit();
        table.rules.shrink_to_fit();
        table.matches.shrink_to_fit();
        self.handles.shrink_to_fit();
        table.strings.shrink_to_fit();
        let nf = table.nf.get_or_insert_default();
        nf.flags = self.head.flags;
        nf.comment = self.head.comment;
        nf.handle = self.head.handle;
        nf.rule_handles = self.handles;
        self.counters.rules.shrink_to_fit();
        Reading { table: Arc::new(self.table), counters: Arc::new(self.counters) }
    }
}

/// Tables of iptables-nft have the names of iptables' tables, and its base chains.
pub(super) fn dialect(table: &Table) -> Dialect {
    let names: &[&str] = match table.family {
        Family::Ip | Family::Ip6 => &["filter", "nat", "mangle", "raw", "security"],
        _ => &[],
    };
    let built_in =
        |c: &Chain| c.base.is_none_or(|b| Hook::from_chain_name(table.str(c.name)) == Some(b.hook));
    if names.contains(&table.name.as_str()) && table.chains.iter().all(built_in) {
        Dialect::Iptables
    } else {
        Dialect::Nft
    }
}

/// A table that fuzzing feeds with messages.
#[cfg(feature = "fuzzing")]
pub(super) struct Fed {
    growing: Growing,
    decoder: RuleDecoder,
    ipsets: Ipsets,
}

#[cfg(feature = "fuzzing")]
impl Fed {
    /// Chains and sets of a table, without its rules.
    pub(super) fn new(like: &Table, family: Family, dialect: Dialect) -> Fed {
        let mut table = Table::new(family, nf_ruleset::TableBackend::NfTables, &like.name);
        table.dialect = dialect;
        table.strings = like.strings.clone();
        table.sets.clone_from(&like.sets);
        let mut growing = Growing::new(TableHead::default(), table);
        for (i, c) in like.chains.iter().enumerate() {
            growing.table.chains.push(Chain { rules: 0..0, ..c.clone() });
            growing.chains.insert(c.name, ChainId(i as u32));
        }
        for (i, s) in like.sets.iter().enumerate() {
            growing.sets.insert(s.name, SetId(i as u32));
        }
        // Names of ipsets are a question to the kernel.
        let names = (0..64).map(|i| (i, Some(format!("set{i}")))).collect();
        Fed { growing, decoder: RuleDecoder::default(), ipsets: Ipsets { socket: None, names } }
    }

    pub(super) fn rule(&mut self, bytes: &[u8]) {
        self.growing.rule(&mut self.decoder, &mut self.ipsets, bytes, None);
    }

    /// Puts the elements of a message into a set.
    pub(super) fn elements(&mut self, set: usize, bytes: &[u8]) {
        let i = set % self.growing.table.sets.len();
        let mut found = Vec::new();
        self.growing.parse_elements(i, bytes, &mut found);
        self.growing.table.sets[i].elements = Some(found);
    }

    pub(super) fn finish(self) -> Table {
        Arc::try_unwrap(self.growing.finish().table).expect("nobody else holds it")
    }
}
