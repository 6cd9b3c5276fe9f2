//! Which rows are shown, and in which order.

use super::App;
use crate::columns::{Filter, SERVICES, Value};
use crate::proxy::Health;
use crate::rates::service_key;
use crate::ruleset::set_flag;
use crate::snapshot::TableState;
use crate::tui::reader::Update;

/// A row of the Rules pane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tui) enum TableRow {
    Table(usize),
    Chain(usize, u32),
    /// A set of nf_tables: table and index.
    Set(usize, u32),
    /// The head of the ipsets, and one of them.
    Ipsets,
    Ipset(usize),
    /// The head of nfacct's objects, and one of them.
    Accounts,
    Account(usize),
}

/// The column of names.
pub(super) fn by_name() -> usize {
    SERVICES.iter().position(|c| c.key == "name").unwrap_or(0)
}

/// A number for a state: problems above all others.
fn problem_rank(health: Health) -> u8 {
    match health {
        Health::Rejecting => 0,
        Health::Dropping => 1,
        Health::Leftover => 2,
        Health::Fine => 3,
    }
}

/// A name for a table that stays the same while its structure changes.
pub(in crate::tui) fn table_key(t: &TableState) -> String {
    format!("{} {} {}", t.backend.name(), t.family, t.table.name)
}

impl App {
    pub(super) fn set_search(&mut self, text: String) {
        let (filter, error) = Filter::parse(&text);
        self.search = text;
        self.filter = filter;
        self.search_error = error;
    }

    /// Filters and sorts anew; what was chosen stays chosen.
    pub(super) fn arrange(&mut self) {
        let Some(update) = self.update.clone() else { return };
        self.arrange_services(&update);
        self.arrange_tables(&update);
    }

    fn arrange_services(&mut self, update: &Update) {
        let services = &update.model.services;
        let passes = |i: &usize| {
            let s = &services[*i];
            let of_namespace = |n: &String| s.name.as_ref().is_some_and(|name| name.namespace == *n);
            (!self.problems || s.health() != Health::Fine)
                && self.mode.is_none_or(|m| s.engine.mode() == m)
                && self.namespace.as_ref().is_none_or(of_namespace)
                && (self.filter.is_empty()
                    || update
                        .row(*i)
                        .zip(self.search_texts.get(*i))
                        .is_some_and(|(row, text)| self.filter.matches(&row, text)))
        };
        let mut rows: Vec<usize> = (0..services.len()).filter(passes).collect();
        if self.sort != by_name() {
            let value = SERVICES[self.sort].value;
            let mut keyed: Vec<(Value, usize)> = rows
                .into_iter()
                .map(|i| (update.row(i).map_or(Value::AsListed(String::new()), |r| value(&r)), i))
                .collect();
            keyed.sort_by(|a, b| a.0.order(&b.0).then(a.1.cmp(&b.1)));
            rows = keyed.into_iter().map(|k| k.1).collect();
        }
        if self.reversed {
            rows.reverse();
        }
        if self.problems_first {
            rows.sort_by_key(|i| problem_rank(services[*i].health()));
        }
        self.rows = rows;
        if self.opened.is_some() {
            let of_key = |s: &crate::proxy::Service| self.chosen_key == Some(service_key(s));
            self.opened_index = services.iter().position(of_key);
            if self.opened_index.is_none() {
                self.opened = None;
                self.message = Some("the Service that was open is gone".into());
            }
        }
        if let Some(key) = self.chosen_key
            && let Some(row) = self.rows.iter().position(|i| service_key(&services[*i]) == key)
        {
            self.services.chosen = row;
        }
        self.services.len = self.rows.len();
        self.services.chosen = self.services.chosen.min(self.rows.len().saturating_sub(1));
    }

    /// What a row of the Rules pane is called, for as long as that lasts: numbers change with the structure.
    pub(super) fn row_name(update: &Update, row: TableRow) -> Option<String> {
        let table = |i: usize| update.snapshot.tables.get(i);
        Some(match row {
            TableRow::Table(i) => table_key(table(i)?),
            TableRow::Chain(i, c) => {
                let t = table(i)?;
                format!("{} {}", table_key(t), t.table.str(t.table.chains.get(c as usize)?.name))
            }
            TableRow::Set(i, s) => {
                let t = table(i)?;
                format!("{} @{}", table_key(t), t.table.str(t.table.sets.get(s as usize)?.name))
            }
            other => format!("{other:?}"),
        })
    }

    fn arrange_tables(&mut self, update: &Update) {
        let chosen = self.table_rows.get(self.tables.chosen).copied();
        let wanted = self.rules_search.to_lowercase();
        // Sets are shown as `@name`.
        self.table_rows = self.tree(update, wanted.trim_start_matches('@'));
        self.tables.len = self.table_rows.len();
        // What was chosen stays chosen, also when a search that found it ends, or chains came and went.
        let Some(chosen) = chosen else { return };
        let found = match self.chosen_row_name.take() {
            Some(name) => {
                let rows = self.table_rows.iter();
                rows.enumerate()
                    .find(|(_, r)| Self::row_name(update, **r).as_ref() == Some(&name))
                    .map(|r| r.0)
            }
            None => self.table_rows.iter().position(|r| *r == chosen),
        };
        if let Some(at) = found {
            self.tables.chosen = at;
        }
    }

    fn tree(&self, u: &Update, wanted: &str) -> Vec<TableRow> {
        let found = |name: &str| wanted.is_empty() || name.to_lowercase().contains(wanted);
        let mut rows = Vec::new();
        for (i, t) in u.snapshot.tables.iter().enumerate() {
            rows.push(TableRow::Table(i));
            // A search looks into what is folded, too.
            if wanted.is_empty() && self.folded.contains(&table_key(t)) {
                continue;
            }
            for (c, chain) in t.table.chains.iter().enumerate() {
                if found(t.table.str(chain.name)) {
                    rows.push(TableRow::Chain(i, c as u32));
                }
            }
            // Sets without a name of their own are part of a rule.
            for (s, set) in t.table.sets.iter().enumerate() {
                if set.flags & set_flag::ANONYMOUS == 0 && found(t.table.str(set.name)) {
                    rows.push(TableRow::Set(i, s as u32));
                }
            }
        }
        if let Some(sets) = u.snapshot.ipsets.as_ref().filter(|s| !s.value.is_empty()) {
            rows.push(TableRow::Ipsets);
            if !(wanted.is_empty() && self.folded.contains("ipset")) {
                let known = sets.value.iter().enumerate().filter(|(_, s)| found(&s.name));
                rows.extend(known.map(|(i, _)| TableRow::Ipset(i)));
            }
        }
        if let Some(accounts) = u.snapshot.accounts.as_ref().filter(|a| !a.value.is_empty()) {
            rows.push(TableRow::Accounts);
            rows.extend((0..accounts.value.len()).map(TableRow::Account));
        }
        rows
    }

    /// Services with the most new flows; in nftables mode, with the most flows that conntrack holds.
    pub(super) fn find_movers(&mut self) {
        let Some(u) = &self.update else { return };
        let figure = |i: usize| -> f64 {
            match u.rates.get(i).map(|r| r.flows) {
                Some(Ok(n)) => n,
                _ => u.model.figures(i).held().unwrap_or(0) as f64 / 1e6,
            }
        };
        let mut all: Vec<(f64, usize)> = (0..u.model.services.len())
            .filter(|i| u.model.services[*i].health() != Health::Leftover)
            .map(|i| (figure(i), i))
            .filter(|m| m.0 > 0.0)
            .collect();
        all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        self.movers = all.into_iter().take(20).map(|m| m.1).collect();
    }
}
