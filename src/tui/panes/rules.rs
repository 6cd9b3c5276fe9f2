//! Tables, chains and sets as a tree, and what the chosen one holds.

mod contents;
mod rows;
mod tree;

use crate::proxy::{ChainNames, RuleRef};
use crate::ruleset::RuleId;
use crate::tui::keys::Action;
use crate::tui::list::List;
use crate::tui::pane::{Clicks, Context, Effect, Lists, Pane, Search, Subscriptions};
use crate::tui::reader::Update;
use crate::tui::request::Request;
use ratatui::Frame;
use ratatui::layout::Rect;
use rows::{TableRow, row_name, table_key};
use std::cell::OnceCell;
use std::collections::HashSet;

#[derive(Debug, Default)]
pub(in crate::tui) struct Rules {
    /// The tree, as shown.
    rows: Vec<TableRow>,
    tables: List,
    rules: List,
    lower: bool,
    search: String,
    /// Tables that are folded, by their key.
    folded: HashSet<String>,
    /// Name of the chosen row, while the structure changes under it.
    chosen_name: Option<String>,
    /// Which Services and backends chains belong to; found for the first who asks, as there may be very many.
    names: OnceCell<ChainNames>,
}

impl Rules {
    fn chosen(&self) -> Option<TableRow> {
        self.rows.get(self.tables.chosen).copied()
    }

    fn names(&self, u: &Update) -> &ChainNames {
        self.names.get_or_init(|| ChainNames::of(&u.snapshot, &u.model.services))
    }

    fn arrange(&mut self, cx: &Context) {
        let Some(update) = &cx.update else { return };
        let chosen = self.chosen();
        let wanted = self.search.to_lowercase();
        // Sets are shown as `@name`.
        let names = (!wanted.is_empty()).then(|| self.names(update));
        self.rows = rows::tree(update, wanted.trim_start_matches('@'), &self.folded, names);
        self.tables.len = self.rows.len();
        // What was chosen stays chosen, also when a search that found it ends, or chains came and went.
        let Some(chosen) = chosen else { return };
        let found = match self.chosen_name.take() {
            Some(name) => self.rows.iter().position(|r| row_name(update, *r).as_ref() == Some(&name)),
            None => self.rows.iter().position(|r| *r == chosen),
        };
        if let Some(at) = found {
            self.tables.chosen = at;
        }
    }

    fn fold(&mut self, key: Option<String>, cx: &Context) {
        let Some(key) = key else { return };
        if !self.folded.remove(&key) {
            self.folded.insert(key);
        }
        self.arrange(cx);
    }

    /// Chooses a row, whatever a search or a fold hides.
    fn choose_row(&mut self, row: TableRow, cx: &Context) {
        if !self.rows.contains(&row) {
            self.search.clear();
            if let (TableRow::Chain(i, _) | TableRow::Table(i), Some(u)) = (row, &cx.update) {
                let key = u.snapshot.tables.get(i).map(table_key);
                key.map(|k| self.folded.remove(&k));
            }
            self.arrange(cx);
        }
        if let Some(at) = self.rows.iter().position(|r| *r == row) {
            self.tables.chosen = at;
            self.rules.go_to_top();
        }
    }

    /// The rule that is chosen in the chosen chain.
    fn chosen_rule(&self, u: &Update) -> Option<RuleRef> {
        let TableRow::Chain(table, chain) = self.chosen()? else { return None };
        let range = &u.snapshot.tables.get(table)?.table.chains.get(chain as usize)?.rules;
        let rule = range.start + self.rules.chosen as u32;
        range.contains(&rule).then_some(RuleRef { table, rule: RuleId(rule) })
    }

    fn follow_jump(&self, cx: &Context) -> Effect {
        let Some(u) = &cx.update else { return Effect::Nothing };
        let (Some(TableRow::Chain(i, c)), Some(r)) = (self.chosen(), self.chosen_rule(u)) else {
            return Effect::Nothing;
        };
        let table = &u.snapshot.tables[i].table;
        match table.jump_of(table.rule(r.rule)) {
            Some(to) => {
                let back = Request::TableRow(i, c, self.rules.chosen);
                Effect::Jump { back, to: Request::TableRow(i, to.0, 0) }
            }
            None => Effect::Notice("this rule jumps nowhere".into()),
        }
    }

    fn enter(&mut self, cx: &Context) -> Effect {
        if self.lower {
            return self.follow_jump(cx);
        }
        match self.chosen() {
            Some(TableRow::Table(i)) => {
                let key = cx.update.as_ref().and_then(|u| u.snapshot.tables.get(i)).map(table_key);
                self.fold(key, cx);
            }
            Some(TableRow::Ipsets) => self.fold(Some("ipset".into()), cx),
            Some(_) => self.lower = true,
            None => {}
        }
        Effect::Nothing
    }

    fn show_rule(&mut self, r: RuleRef, cx: &Context) {
        let Some(t) = cx.update.as_ref().and_then(|u| u.snapshot.tables.get(r.table)) else { return };
        let Some(chain) = t.table.chain_of(r.rule) else { return };
        self.choose_row(TableRow::Chain(r.table, chain.0), cx);
        self.lower = true;
        self.rules.chosen = (r.rule.0 - t.table.chains[chain.0 as usize].rules.start) as usize;
    }
}

impl Pane for Rules {
    fn before_change(&mut self, cx: &Context) {
        self.chosen_name = self.chosen().zip(cx.update.as_ref()).and_then(|(row, u)| row_name(u, row));
    }

    fn on_view(&mut self, cx: &Context, changed: bool) {
        if changed {
            self.names = OnceCell::new();
        }
        self.arrange(cx);
    }

    fn on_action(&mut self, action: Action, cx: &Context) -> Effect {
        match action {
            Action::Enter => return self.enter(cx),
            Action::Focus => self.lower = true,
            Action::Back if std::mem::take(&mut self.lower) => {}
            Action::Back => {
                self.search.clear();
                self.arrange(cx);
            }
            _ => return Effect::Ignored,
        }
        Effect::Nothing
    }

    fn on_request(&mut self, request: &Request, cx: &Context) {
        match *request {
            Request::Rule(r) => self.show_rule(r, cx),
            Request::Table(i) => {
                self.lower = false;
                self.choose_row(TableRow::Table(i), cx);
            }
            Request::TableRow(i, chain, rule) => {
                self.choose_row(TableRow::Chain(i, chain), cx);
                self.lower = true;
                self.rules.chosen = rule;
            }
            _ => {}
        }
    }

    fn lists(&mut self) -> Lists<'_> {
        Lists { upper: Some(&mut self.tables), lower: Some(&mut self.rules), in_lower: Some(&mut self.lower) }
    }

    fn on_chosen(&mut self, _cx: &Context) {
        self.rules.go_to_top();
    }

    fn search(&self) -> Option<Search> {
        let is_found = |r: &&TableRow| matches!(r, TableRow::Chain(..) | TableRow::Set(..));
        let found = self.rows.iter().filter(is_found).count();
        Some(Search { text: self.search.clone(), found, ..Search::default() })
    }

    fn set_search(&mut self, text: String, cx: &Context) {
        self.search = text;
        self.arrange(cx);
    }

    fn subscriptions(&self, cx: &Context) -> Subscriptions {
        let mut wanted = Subscriptions::default();
        if let (Some(TableRow::Chain(table, chain)), Some(u)) = (self.chosen(), &cx.update)
            && let Some(t) = u.snapshot.tables.get(table)
        {
            let range = t.table.chains[chain as usize].rules.clone();
            let shown = range.skip(self.rules.top).take(self.rules.height);
            wanted.rules.extend(shown.map(|r| RuleRef { table, rule: RuleId(r) }));
        }
        wanted
    }

    fn copied(&self, cx: &Context) -> Option<String> {
        let u = cx.update.as_ref()?;
        let row = self.chosen()?;
        let TableRow::Chain(i, c) = row else { return row_name(u, row) };
        let t = &u.snapshot.tables.get(i)?.table;
        match self.chosen_rule(u) {
            Some(r) if self.lower => Some(t.rule_text(t.rule(r.rule)).to_string()),
            _ => Some(t.str(t.chains[c as usize].name).to_string()),
        }
    }

    fn draw(&mut self, frame: &mut Frame<'_>, area: Rect, cx: &Context, _clicks: &mut Clicks) {
        let lines = |n: usize| u16::try_from(n).unwrap_or(u16::MAX).saturating_add(2);
        let [upper, lower] =
            super::layout::halves(area, lines(self.rows.len()), lines(self.contents_length(cx)));
        self.draw_tree(frame, upper, cx);
        self.draw_contents(frame, lower, cx);
    }
}
