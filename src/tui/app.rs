//! State of the screen, and what a key does to it. Nothing here reads or draws.

use super::columns::{self, COLUMNS, Id, Row};
use super::keys::{Ask, ask};
use super::reader::{Order, Update};
use super::theme::Theme;
use crate::proxy::{Health, Mode, RuleRef, frontend_text};
use crate::rates::service_key;
use crate::ruleset::{RuleId, set_flag};
use crossterm::event::{
    KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};
use ratatui::layout::Rect;
use std::time::Duration;

/// What the loop should do after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Leave.
    Quit,
    /// Draw a frame.
    Draw,
    /// Draw everything anew.
    Redraw,
    /// Nothing changed.
    Nothing,
}

/// The screens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pane {
    /// Services and their backends.
    Services,
    /// Tables, chains and rules.
    Tables,
}

/// A list with a chosen row that stays in view.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct List {
    pub(super) chosen: usize,
    pub(super) top: usize,
    pub(super) len: usize,
    /// Rows that fit; set while drawing.
    pub(super) height: usize,
    /// Where its rows are on the screen.
    pub(super) area: Rect,
}

impl List {
    fn step(&mut self, by: isize) {
        let last = self.len.saturating_sub(1);
        self.chosen = self.chosen.saturating_add_signed(by).min(last);
    }

    /// Brings the chosen row into view.
    pub(super) fn fit(&mut self, len: usize, area: Rect) {
        self.len = len;
        self.area = area;
        self.height = usize::from(area.height);
        self.chosen = self.chosen.min(len.saturating_sub(1));
        if self.chosen < self.top {
            self.top = self.chosen;
        }
        if self.height > 0 && self.chosen >= self.top + self.height {
            self.top = self.chosen + 1 - self.height;
        }
        self.top = self.top.min(len.saturating_sub(self.height.max(1)));
    }

    /// The row at a place of the screen.
    fn at(&self, x: u16, y: u16) -> Option<usize> {
        let inside = self.area.contains((x, y).into());
        let row = self.top + usize::from(y.saturating_sub(self.area.y));
        (inside && row < self.len).then_some(row)
    }
}

/// A row of the tables screen.
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

/// The whole state.
#[derive(Debug)]
pub struct App {
    pub(super) theme: Theme,
    pub(super) interval: Duration,
    pub(super) update: Option<Update>,
    pub(super) pane: Pane,
    /// The lower pane has the keys.
    pub(super) lower: bool,
    /// Page of the help, while it is shown.
    pub(super) help: Option<usize>,
    pub(super) help_pages: usize,
    pub(super) paused: bool,
    pub(super) searching: bool,
    pub(super) search: String,
    pub(super) sort: Id,
    pub(super) reversed: bool,
    pub(super) problems: bool,
    pub(super) namespace: Option<String>,
    pub(super) mode: Option<Mode>,
    /// Indices into the model's Services, as shown.
    pub(super) rows: Vec<usize>,
    /// Rows of the tables screen, as shown.
    pub(super) table_rows: Vec<TableRow>,
    pub(super) services: List,
    pub(super) backends: List,
    pub(super) tables: List,
    pub(super) rules: List,
    /// Where the heads of columns are, for the mouse.
    pub(super) heads: Vec<(Rect, Id)>,
    pub(super) tabs: Vec<(Rect, Pane)>,
    /// Which Service is chosen, whatever row it is on.
    chosen_key: Option<u64>,
    /// What a search looks through, one text for each Service.
    search_texts: Vec<String>,
    orders: Vec<Order>,
    watching: Vec<RuleRef>,
}

/// Rules whose counters are read one by one: a screen of Services with many backends each.
const MOST_WATCHED: usize = 1000;

/// Intervals that `+` and `-` walk through, in milliseconds.
const INTERVALS: [u64; 8] = [250, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000];

impl App {
    /// A screen that has seen nothing yet.
    pub fn new(theme: Theme, interval: Duration) -> App {
        App {
            theme,
            interval,
            update: None,
            pane: Pane::Services,
            lower: false,
            help: None,
            help_pages: 1,
            paused: false,
            searching: false,
            search: String::new(),
            sort: Id::Name,
            reversed: false,
            problems: false,
            namespace: None,
            mode: None,
            rows: Vec::new(),
            table_rows: Vec::new(),
            services: List::default(),
            backends: List::default(),
            tables: List::default(),
            rules: List::default(),
            heads: Vec::new(),
            tabs: Vec::new(),
            chosen_key: None,
            search_texts: Vec::new(),
            orders: Vec::new(),
            watching: Vec::new(),
        }
    }

    /// Tells the reader which rules' counters are on the screen, where they are others than before. To be
    /// called when a frame was drawn.
    pub(super) fn watch(&mut self) {
        let watched = self.watched();
        if watched != self.watching {
            self.orders.push(Order::Watch(watched.clone()));
            self.watching = watched;
        }
    }

    fn watched(&self) -> Vec<RuleRef> {
        let Some(u) = &self.update else { return Vec::new() };
        let mut rules = Vec::new();
        match self.pane {
            Pane::Services => {
                for i in self.rows.iter().skip(self.services.top).take(self.services.height) {
                    let Some(s) = u.model.services.get(*i) else { continue };
                    rules.extend(s.backends.iter().filter_map(|b| b.rule));
                    rules.extend(s.frontends.iter().filter_map(|f| f.refusal));
                    if rules.len() > MOST_WATCHED {
                        break;
                    }
                }
            }
            Pane::Tables => {
                if let Some(TableRow::Chain(table, chain)) = self.table_rows.get(self.tables.chosen).copied()
                    && let Some(t) = u.snapshot.tables.get(table)
                {
                    let range = t.table.chains[chain as usize].rules.clone();
                    let shown = range.skip(self.rules.top).take(self.rules.height);
                    rules.extend(shown.map(|r| RuleRef { table, rule: RuleId(r) }));
                }
            }
        }
        rules.truncate(MOST_WATCHED);
        rules
    }

    /// What the reader should be told since the last call.
    pub fn take_orders(&mut self) -> Vec<Order> {
        std::mem::take(&mut self.orders)
    }

    /// Takes a reading.
    pub fn on_update(&mut self, update: Update) {
        let changed = update.changed || self.update.is_none();
        self.update = Some(update);
        if changed {
            self.search_texts = self.texts();
        }
        self.arrange();
    }

    fn texts(&self) -> Vec<String> {
        let Some(u) = &self.update else { return Vec::new() };
        u.model
            .services
            .iter()
            .map(|s| {
                let mut text = s.label().to_lowercase();
                for f in &s.frontends {
                    text.push(' ');
                    text.push_str(&frontend_text(f));
                }
                for b in &s.backends {
                    text.push(' ');
                    text.push_str(&crate::proxy::endpoint_text(b.address, b.port));
                }
                text
            })
            .collect()
    }

    /// True where some mode here counts packets and bytes of a backend.
    pub(super) fn counts_packets(&self) -> bool {
        self.update.as_ref().is_some_and(|u| u.model.modes.iter().any(|m| m.mode == Mode::Ipvs))
    }

    /// The row of a Service in the model.
    pub(super) fn row<'a>(update: &'a Update, i: usize) -> Option<Row<'a>> {
        let service = update.model.services.get(i)?;
        Some(Row { service, rates: update.rates.get(i) })
    }

    /// Filters and sorts anew; the chosen Service stays chosen.
    fn arrange(&mut self) {
        let Some(update) = self.update.clone() else { return };
        let wanted = self.search.to_lowercase();
        let services = &update.model.services;
        let mut rows: Vec<usize> = (0..services.len())
            .filter(|i| {
                let s = &services[*i];
                (!self.problems || s.health() != Health::Fine)
                    && self.mode.is_none_or(|m| s.mode == m)
                    && self
                        .namespace
                        .as_ref()
                        .is_none_or(|n| s.name.as_ref().is_some_and(|name| name.namespace == *n))
                    && (wanted.is_empty()
                        || self
                            .search_texts
                            .get(*i)
                            .is_some_and(|t| wanted.split(' ').all(|w| t.contains(w))))
            })
            .collect();
        rows.sort_by(|a, b| {
            let order = match (Self::row(&update, *a), Self::row(&update, *b)) {
                (Some(x), Some(y)) => columns::compare(self.sort, &x, &y),
                _ => std::cmp::Ordering::Equal,
            };
            let order = order.then(a.cmp(b));
            if self.reversed { order.reverse() } else { order }
        });
        self.rows = rows;
        if let Some(key) = self.chosen_key {
            let found = self.rows.iter().position(|i| service_key(&services[*i]) == key);
            if let Some(row) = found {
                self.services.chosen = row;
            }
        }
        self.services.len = self.rows.len();
        self.services.chosen = self.services.chosen.min(self.rows.len().saturating_sub(1));
        let chosen = self.table_rows.get(self.tables.chosen).copied();
        // Sets are shown as `@name`.
        self.table_rows = self.chains(wanted.trim_start_matches('@'));
        self.tables.len = self.table_rows.len();
        // What was chosen stays chosen, also when a search that found it ends.
        if let Some(at) = chosen.and_then(|c| self.table_rows.iter().position(|r| *r == c)) {
            self.tables.chosen = at;
        }
    }

    fn chains(&self, wanted: &str) -> Vec<TableRow> {
        let Some(u) = &self.update else { return Vec::new() };
        let mut rows = Vec::new();
        for (i, t) in u.snapshot.tables.iter().enumerate() {
            rows.push(TableRow::Table(i));
            for (c, chain) in t.table.chains.iter().enumerate() {
                if wanted.is_empty() || t.table.str(chain.name).to_lowercase().contains(wanted) {
                    rows.push(TableRow::Chain(i, c as u32));
                }
            }
            // Sets without a name of their own are part of a rule.
            for (s, set) in t.table.sets.iter().enumerate() {
                let named = set.flags & set_flag::ANONYMOUS == 0;
                if named && (wanted.is_empty() || t.table.str(set.name).to_lowercase().contains(wanted)) {
                    rows.push(TableRow::Set(i, s as u32));
                }
            }
        }
        if let Some(sets) = u.snapshot.ipsets.as_ref().filter(|s| !s.value.is_empty()) {
            rows.push(TableRow::Ipsets);
            let found = |name: &str| wanted.is_empty() || name.to_lowercase().contains(wanted);
            let known = sets.value.iter().enumerate().filter(|(_, s)| found(&s.name));
            rows.extend(known.map(|(i, _)| TableRow::Ipset(i)));
        }
        if let Some(accounts) = u.snapshot.accounts.as_ref().filter(|a| !a.value.is_empty()) {
            rows.push(TableRow::Accounts);
            rows.extend((0..accounts.value.len()).map(TableRow::Account));
        }
        rows
    }

    /// The chosen Service's index in the model.
    pub(super) fn chosen(&self) -> Option<usize> {
        self.rows.get(self.services.chosen).copied()
    }

    fn remember(&mut self) {
        let chosen = self.chosen();
        if let (Some(u), Some(i)) = (&self.update, chosen) {
            self.chosen_key = u.model.services.get(i).map(service_key);
        }
    }

    fn list(&mut self) -> &mut List {
        match (self.pane, self.lower) {
            (Pane::Services, false) => &mut self.services,
            (Pane::Services, true) => &mut self.backends,
            (Pane::Tables, false) => &mut self.tables,
            (Pane::Tables, true) => &mut self.rules,
        }
    }

    fn move_by(&mut self, by: isize) {
        let upper = !self.lower;
        self.list().step(by);
        if upper {
            self.lower_to_top();
            self.remember();
        }
    }

    fn lower_to_top(&mut self) {
        for list in [&mut self.backends, &mut self.rules] {
            list.chosen = 0;
            list.top = 0;
        }
    }

    /// A key.
    pub fn on_key(&mut self, event: KeyEvent) -> Flow {
        if event.kind == KeyEventKind::Release {
            return Flow::Nothing;
        }
        if self.searching
            && let Some(flow) = self.on_search_key(event)
        {
            return flow;
        }
        let asked = ask(event);
        if let Some(page) = self.help {
            if event.modifiers.contains(KeyModifiers::CONTROL) && asked == Some(Ask::Quit) {
                return Flow::Quit;
            }
            let more = asked == Some(Ask::Help) && page + 1 < self.help_pages;
            self.help = more.then_some(page + 1);
            return Flow::Draw;
        }
        let Some(ask) = asked else { return Flow::Nothing };
        self.do_it(ask)
    }

    fn on_search_key(&mut self, event: KeyEvent) -> Option<Flow> {
        match event.code {
            KeyCode::Char(c) if !event.modifiers.contains(KeyModifiers::CONTROL) => self.search.push(c),
            KeyCode::Char('w' | 'u') => self.search.clear(),
            KeyCode::Backspace => {
                self.search.pop();
            }
            KeyCode::Enter => self.searching = false,
            KeyCode::Esc => {
                self.searching = false;
                self.search.clear();
            }
            _ => return None, // arrows and the rest work as ever
        }
        self.services.top = 0;
        self.arrange();
        Some(Flow::Draw)
    }

    fn do_it(&mut self, ask: Ask) -> Flow {
        let page = self.list().height.max(2) as isize - 1;
        match ask {
            Ask::Quit => return Flow::Quit,
            Ask::Redraw => return Flow::Redraw,
            Ask::Help => self.help = Some(0),
            Ask::Down => self.move_by(1),
            Ask::Up => self.move_by(-1),
            Ask::PageDown => self.move_by(page),
            Ask::PageUp => self.move_by(-page),
            Ask::First => self.move_by(isize::MIN / 2),
            Ask::Last => self.move_by(isize::MAX / 2),
            Ask::NextPane => {
                self.show(if self.pane == Pane::Services { Pane::Tables } else { Pane::Services });
            }
            Ask::ShowServices => self.show(Pane::Services),
            Ask::ShowTables => self.show(Pane::Tables),
            Ask::Focus => self.lower = true,
            Ask::Back => self.back(),
            Ask::Search => {
                self.searching = true;
                self.lower = false;
                self.search.clear();
                self.arrange();
            }
            Ask::Sort => self.sort_by_neighbour(1),
            Ask::SortBack => self.sort_by_neighbour(-1),
            Ask::Reverse => {
                self.reversed = !self.reversed;
                self.arrange();
            }
            Ask::Problems => {
                self.problems = !self.problems;
                self.arrange();
            }
            Ask::Namespace => self.next_namespace(),
            Ask::Mode => self.next_mode(),
            Ask::Pause => {
                self.paused = !self.paused;
                self.orders.push(Order::Pause(self.paused));
            }
            Ask::Once => self.orders.push(Order::Once),
            Ask::Faster => self.change_interval(-1),
            Ask::Slower => self.change_interval(1),
        }
        Flow::Draw
    }

    fn show(&mut self, pane: Pane) {
        self.pane = pane;
        self.lower = false;
    }

    /// One step back: out of the lower pane, then the search and all filters off.
    fn back(&mut self) {
        if self.lower {
            self.lower = false;
            return;
        }
        self.search.clear();
        self.problems = false;
        self.namespace = None;
        self.mode = None;
        self.arrange();
    }

    fn sort_by(&mut self, id: Id) {
        if self.sort == id {
            self.reversed = !self.reversed;
        } else {
            self.sort = id;
            self.reversed = false;
        }
        self.arrange();
    }

    fn sort_by_neighbour(&mut self, by: isize) {
        let shown: Vec<Id> = match self.heads.is_empty() {
            true => COLUMNS.iter().map(|c| c.id).collect(),
            false => self.heads.iter().map(|h| h.1).collect(),
        };
        let at = shown.iter().position(|i| *i == self.sort).unwrap_or(0) as isize;
        self.sort = shown[(at + by).rem_euclid(shown.len() as isize) as usize];
        self.reversed = false;
        self.arrange();
    }

    fn next_namespace(&mut self) {
        let Some(u) = &self.update else { return };
        let mut all: Vec<&str> =
            u.model.services.iter().filter_map(|s| s.name.as_ref()).map(|n| n.namespace.as_str()).collect();
        all.dedup();
        let next = match &self.namespace {
            None => all.first().copied(),
            Some(now) => all.iter().position(|n| n == now).and_then(|i| all.get(i + 1)).copied(),
        };
        self.namespace = next.map(str::to_string);
        self.arrange();
    }

    fn next_mode(&mut self) {
        let Some(u) = &self.update else { return };
        let mut all: Vec<Mode> = u.model.modes.iter().map(|m| m.mode).collect();
        all.dedup();
        self.mode = match self.mode {
            None => all.first().copied(),
            Some(now) => all.iter().position(|m| *m == now).and_then(|i| all.get(i + 1)).copied(),
        };
        self.arrange();
    }

    fn change_interval(&mut self, by: isize) {
        let now = self.interval.as_millis() as u64;
        let at = INTERVALS.iter().position(|i| *i >= now).unwrap_or(INTERVALS.len() - 1);
        let next = at.saturating_add_signed(by).min(INTERVALS.len() - 1);
        self.interval = Duration::from_millis(INTERVALS[next]);
        self.orders.push(Order::Interval(self.interval));
    }

    /// The mouse.
    pub fn on_mouse(&mut self, event: MouseEvent) -> Flow {
        if self.help.is_some() {
            if matches!(event.kind, MouseEventKind::Down(_)) {
                self.help = None;
            }
            return Flow::Draw;
        }
        let (x, y) = (event.column, event.row);
        let (upper, below) = match self.pane {
            Pane::Services => (self.services, self.backends),
            Pane::Tables => (self.tables, self.rules),
        };
        match event.kind {
            MouseEventKind::ScrollDown | MouseEventKind::ScrollUp => {
                self.lower = below.area.contains((x, y).into());
                self.move_by(if event.kind == MouseEventKind::ScrollDown { 3 } else { -3 });
            }
            MouseEventKind::Down(MouseButton::Left) => {
                let at = (x, y).into();
                if let Some((_, pane)) = self.tabs.iter().find(|t| t.0.contains(at)) {
                    self.show(*pane);
                } else if let Some((_, id)) = self.heads.iter().find(|h| h.0.contains(at)) {
                    self.sort_by(*id);
                } else if let Some(row) = upper.at(x, y) {
                    self.lower = false;
                    self.list().chosen = row;
                    self.lower_to_top();
                    self.remember();
                } else if let Some(row) = below.at(x, y) {
                    self.lower = true;
                    self.list().chosen = row;
                } else {
                    return Flow::Nothing;
                }
            }
            _ => return Flow::Nothing,
        }
        Flow::Draw
    }
}
