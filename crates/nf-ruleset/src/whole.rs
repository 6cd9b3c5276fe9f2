//! Whole tables as text: what `iptables-save` and `nft list table` print.

use crate::nft_read::type_name;
use crate::{
    ChainId, ChainKind, Counter, Dialect, Policy, Set, Table, TableCounters, VERDICT_DATA, field_types,
    set_flag,
};
use std::fmt::Write;

impl Table {
    /// The table as its tool prints it: `iptables-save -c`, or `nft list table`. [`crate::parse_save`] and [`crate::parse_nft`] read
    /// it back, but for what neither tool prints.
    pub fn text(&self, counters: &TableCounters) -> String {
        let mut out = String::new();
        // Writing to a String does not fail.
        let _ = match self.dialect {
            Dialect::Iptables => self.save(counters, &mut out),
            Dialect::Nft => self.list(&mut out),
        };
        out
    }

    fn chains_in_order(&self) -> impl Iterator<Item = ChainId> {
        (0..self.chains.len() as u32).map(ChainId)
    }

    fn save(&self, counters: &TableCounters, out: &mut String) -> std::fmt::Result {
        writeln!(out, "*{}", self.name)?;
        for id in self.chains_in_order() {
            let policy = match self.chains[id.0 as usize].base.map(|b| b.policy) {
                Some(Policy::Drop) => "DROP",
                Some(_) => "ACCEPT",
                None => "-",
            };
            let counted = counters.policies.iter().find(|p| p.0 == id).map_or(Counter::default(), |p| p.1);
            writeln!(out, ":{} {policy} [{}:{}]", self.chain_name(id), counted.packets, counted.bytes)?;
        }
        for id in self.chains_in_order() {
            for (rule_id, rule) in self.rules_of(id) {
                let c = counters.rules.get(rule_id.0 as usize).copied().unwrap_or_default();
                let text = self.rule_text(rule).to_string();
                let front = format!("[{}:{}] -A {}", c.packets, c.bytes, self.chain_name(id));
                writeln!(out, "{}", format!("{front} {text}").trim_end())?;
            }
        }
        writeln!(out, "COMMIT")
    }

    fn list(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "table {} {} {{", self.family, self.name)?;
        if let Some(comment) = self.nf.as_ref().and_then(|n| n.comment.as_ref()) {
            writeln!(out, "\tcomment \"{comment}\"")?;
        }
        for set in self.sets.iter().filter(|s| s.flags & set_flag::ANONYMOUS == 0) {
            self.list_set(set, out)?;
        }
        for id in self.chains_in_order() {
            writeln!(out, "\tchain {} {{", self.chain_name(id))?;
            let comments = self.nf.iter().flat_map(|n| &n.chain_comments);
            if let Some((_, comment)) = comments.into_iter().find(|c| c.0 == id) {
                writeln!(out, "\t\tcomment \"{comment}\"")?;
            }
            if let Some(b) = self.chains[id.0 as usize].base {
                let kind = match b.kind {
                    ChainKind::Nat => "nat",
                    ChainKind::Route => "route",
                    ChainKind::Filter => "filter",
                };
                let policy = if b.policy == Policy::Drop { "drop" } else { "accept" };
                writeln!(
                    out,
                    "\t\ttype {kind} hook {} priority {}; policy {policy};",
                    b.hook.name(),
                    b.priority
                )?;
            }
            for (_, rule) in self.rules_of(id) {
                writeln!(out, "\t\t{}", self.rule_text(rule))?;
            }
            writeln!(out, "\t}}")?;
        }
        writeln!(out, "}}")
    }

    fn list_set(&self, set: &Set, out: &mut String) -> std::fmt::Result {
        let types = |id: u32| field_types(id).into_iter().map(type_name).collect::<Vec<_>>().join(" . ");
        let kind = if set.is_map() { "map" } else { "set" };
        writeln!(out, "\t{kind} {} {{", self.str(set.name))?;
        write!(out, "\t\ttype {}", types(set.key_type))?;
        match set.data_type {
            _ if !set.is_map() => {}
            VERDICT_DATA => out.push_str(" : verdict"),
            // Objects are counters in what kube-proxy and its kin write.
            _ if set.flags & set_flag::OBJECT != 0 => out.push_str(" : counter"),
            data => write!(out, " : {}", types(data))?,
        }
        out.push('\n');
        if let Some(size) = set.size {
            writeln!(out, "\t\tsize {size}")?;
        }
        let flags: Vec<&str> = [
            (set_flag::CONSTANT, "constant"),
            (set_flag::INTERVAL, "interval"),
            (set_flag::TIMEOUT, "timeout"),
            (set_flag::EVAL, "dynamic"),
        ]
        .into_iter()
        .filter(|f| set.flags & f.0 != 0)
        .map(|f| f.1)
        .collect();
        if !flags.is_empty() {
            writeln!(out, "\t\tflags {}", flags.join(","))?;
        }
        if let Some(ms) = set.timeout_ms {
            writeln!(out, "\t\ttimeout {}s", ms / 1000)?;
        }
        if let Some(comment) = set.comment {
            writeln!(out, "\t\tcomment \"{}\"", self.str(comment))?;
        }
        let elements = self.element_texts(set, usize::MAX);
        if !elements.is_empty() {
            writeln!(out, "\t\telements = {{ {} }}", elements.join(",\n\t\t\t     "))?;
        }
        writeln!(out, "\t}}")
    }
}
