//! Rules, conditions and elements as text, in the words of the tool that shows them.

use crate::{Dialect, Element, Match, Rule, Set, Table, Target, iptables_text, nft_text};
use std::fmt;
use std::fmt::{Display, Formatter};

struct RuleText<'a> {
    table: &'a Table,
    rule: &'a Rule,
}

impl Display for RuleText<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut line = String::new();
        if self.table.dialect == Dialect::Nft {
            nft_text::rule(&mut line, self.table, self.rule)?;
            return f.write_str(line.trim_start());
        }
        for m in self.table.matches_of(self.rule) {
            match m {
                Match::Native(_) | Match::Does(_) => nft_text::single(&mut line, self.table, m)?,
                m => iptables_text::write_match(&mut line, self.table, m)?,
            }
        }
        match &self.rule.target {
            Target::Native(_) => nft_text::terminal(&mut line, self.table, &self.rule.target)?,
            target => iptables_text::write_target(&mut line, self.table, target)?,
        }
        f.write_str(line.trim_start())
    }
}

impl Table {
    /// A rule as `iptables -S` prints it, without the leading `-A CHAIN`, or as `nft list` does.
    pub fn rule_text<'a>(&'a self, rule: &'a Rule) -> impl Display + 'a {
        RuleText { table: self, rule }
    }

    /// A single condition, as it is in the text of a rule.
    pub fn match_text(&self, m: &Match) -> String {
        let mut out = String::new();
        // Writing to a String does not fail.
        let _ = match self.dialect {
            Dialect::Iptables => iptables_text::write_extension(&mut out, self, m),
            Dialect::Nft => nft_text::single(&mut out, self, m),
        };
        out.trim().to_string()
    }

    /// An element of a set as `nft list` prints it.
    pub fn element_text<'a>(&'a self, set: &'a Set, element: &'a Element) -> impl Display + 'a {
        nft_text::ElementText { table: self, set, element }
    }

    /// Elements of a set as `nft list` prints them, at most so many: in order, ranges from their first to their last key.
    pub fn element_texts(&self, set: &Set, most: usize) -> Vec<String> {
        let elements = set.elements.as_deref().unwrap_or_default();
        nft_text::element_texts(self, set, elements, None, most)
    }
}
