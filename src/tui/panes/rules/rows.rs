//! Which rows the tree of tables has.

use crate::proxy::ChainNames;
use crate::ruleset::set_flag;
use crate::snapshot::TableState;
use crate::tui::reader::Update;
use std::collections::HashSet;

/// A row of the Rules pane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TableRow {
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

/// A name for a table that stays the same while its structure changes.
pub(super) fn table_key(t: &TableState) -> String {
    format!("{} {} {}", t.backend.name(), t.family, t.table.name)
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

/// The rows of a reading: what a search looks for is found also in tables that are folded.
pub(super) fn tree(
    u: &Update,
    wanted: &str,
    folds: &HashSet<String>,
    names: Option<&ChainNames>,
) -> Vec<TableRow> {
    let found = |name: &str| wanted.is_empty() || name.to_lowercase().contains(wanted);
    let mut rows = Vec::new();
    for (i, t) in u.snapshot.tables.iter().enumerate() {
        rows.push(TableRow::Table(i));
        // A search looks into what is folded, too.
        if wanted.is_empty() && folds.contains(&table_key(t)) {
            continue;
        }
        for (c, chain) in t.table.chains.iter().enumerate() {
            let of_service = || {
                let words = names.and_then(|n| n.words(&u.model.services, i, c as u32));
                words.is_some_and(|w| w.to_lowercase().contains(wanted))
            };
            if found(t.table.str(chain.name)) || of_service() {
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
        if !(wanted.is_empty() && folds.contains("ipset")) {
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
