//! What keys do.

use super::commands::{Command, matching};
use super::rows::{TableRow, table_key};
use super::{App, AppEvent, List, Origin, Overlay, Section};
use crate::columns::SERVICES;
use crate::config::PaneName;
use crate::proxy::{Mode, Part};
use crate::replay::Travel;
use crate::ruleset::RuleId;
use crate::tui::keys::{Ask, ask};
use crate::tui::reader::Order;
use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use std::time::Duration;

/// Intervals that `+` and `-` walk through, in milliseconds.
const INTERVALS: [u64; 8] = [250, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000];

impl App {
    /// A key.
    pub fn on_key(&mut self, event: KeyEvent) -> AppEvent {
        if event.kind == KeyEventKind::Release {
            return AppEvent::Nothing;
        }
        self.message = None;
        let asked = ask(event);
        let ctrl = event.modifiers.contains(KeyModifiers::CONTROL);
        if ctrl && asked == Some(Ask::Quit) {
            return AppEvent::Quit;
        }
        if asked == Some(Ask::Stop) {
            return AppEvent::Stop;
        }
        if let Some(overlay) = self.overlay.take() {
            return self.on_overlay_key(overlay, event, asked);
        }
        if let Some(typed) = self.going_to.take() {
            return self.on_time_key(typed, event);
        }
        if self.searching
            && let Some(flow) = self.on_search_key(event)
        {
            return flow;
        }
        let Some(ask) = asked else { return AppEvent::Nothing };
        self.do_it(ask)
    }

    fn on_search_key(&mut self, event: KeyEvent) -> Option<AppEvent> {
        let mut text = self.typed().to_string();
        match event.code {
            KeyCode::Char(c) if !event.modifiers.contains(KeyModifiers::CONTROL) => text.push(c),
            KeyCode::Char('w' | 'u') => text.clear(),
            KeyCode::Backspace => {
                text.pop();
            }
            KeyCode::Enter => self.searching = false,
            KeyCode::Esc => {
                self.searching = false;
                text.clear();
            }
            _ => return None, // arrows and the rest work as ever
        }
        self.type_search(text);
        Some(AppEvent::Draw)
    }

    /// What is typed as a search in this pane.
    pub(in crate::tui) fn typed(&self) -> &str {
        if self.pane == PaneName::Rules { &self.rules_search } else { &self.search }
    }

    fn type_search(&mut self, text: String) {
        if self.pane == PaneName::Rules {
            self.rules_search = text;
        } else {
            self.set_search(text);
            self.services.top = 0;
        }
        self.arrange();
    }

    fn on_overlay_key(&mut self, overlay: Overlay, event: KeyEvent, asked: Option<Ask>) -> AppEvent {
        let step = match event.code {
            KeyCode::Down => Some(1),
            KeyCode::Up => Some(-1),
            KeyCode::PageDown => Some(10),
            KeyCode::PageUp => Some(-10),
            _ => None,
        };
        match overlay {
            Overlay::Help(page) => {
                let more = asked == Some(Ask::Help) && page + 1 < self.help_pages;
                self.overlay = more.then_some(Overlay::Help(page + 1));
            }
            Overlay::Palette { mut typed, mut list } => {
                list.len = matching(&typed).len();
                match event.code {
                    KeyCode::Esc => return AppEvent::Draw,
                    KeyCode::Enter => {
                        let found = matching(&typed);
                        return match found.get(list.chosen) {
                            Some(command) => self.run(*command),
                            None => AppEvent::Draw,
                        };
                    }
                    KeyCode::Backspace => {
                        typed.pop();
                        list.go_to_top();
                    }
                    KeyCode::Char(c) if !event.modifiers.contains(KeyModifiers::CONTROL) => {
                        typed.push(c);
                        list.go_to_top();
                    }
                    _ => list.step(step.unwrap_or(0)),
                }
                self.overlay = Some(Overlay::Palette { typed, list });
            }
            Overlay::Columns { mut all, mut list } => {
                list.len = all.len();
                let at = list.chosen;
                match (event.code, asked) {
                    (KeyCode::Esc | KeyCode::Enter | KeyCode::Char('q' | 'c'), _) => return AppEvent::Draw,
                    (KeyCode::Char(' '), _) => all[at].1 = !all[at].1,
                    (KeyCode::Char('J') | KeyCode::Right, _) if at + 1 < all.len() => {
                        all.swap(at, at + 1);
                        list.step(1);
                    }
                    (KeyCode::Char('K') | KeyCode::Left, _) if at > 0 => {
                        all.swap(at, at - 1);
                        list.step(-1);
                    }
                    (KeyCode::Char('d'), _) => {
                        self.columns = None;
                        self.overlay = Some(self.column_choice());
                        return AppEvent::Draw;
                    }
                    (_, Some(Ask::Down)) => list.step(1),
                    (_, Some(Ask::Up)) => list.step(-1),
                    _ => list.step(step.unwrap_or(0)),
                }
                if matches!(event.code, KeyCode::Char(_) | KeyCode::Left | KeyCode::Right) {
                    self.take_columns(&all);
                }
                self.overlay = Some(Overlay::Columns { all, list });
            }
        }
        AppEvent::Draw
    }

    /// Shows the columns that are chosen; without any there would be nothing to look at.
    pub(super) fn take_columns(&mut self, all: &[(usize, bool)]) {
        let chosen: Vec<usize> = all.iter().filter(|c| c.1).map(|c| c.0).collect();
        if !chosen.is_empty() && chosen != self.shown_columns(u16::MAX - 1) {
            self.columns = Some(chosen);
        }
    }

    /// The columns as they are: those that are shown, in their order, then the others.
    fn column_choice(&self) -> Overlay {
        let shown = self.shown_columns(u16::MAX - 1);
        let rest = (0..SERVICES.len()).filter(|i| !shown.contains(i)).map(|i| (i, false));
        let all = shown.iter().map(|i| (*i, true)).chain(rest).collect();
        Overlay::Columns { all, list: List::default() }
    }

    pub(super) fn run(&mut self, command: Command) -> AppEvent {
        match command {
            Command::Ask(ask) => self.do_it(ask),
            Command::Theme(name) => {
                self.theme.name = name;
                AppEvent::Redraw
            }
            Command::Sort(column) => {
                self.show(PaneName::Services);
                self.sort_by(column);
                AppEvent::Draw
            }
            Command::Filter(text) => {
                self.show(PaneName::Services);
                self.set_search(text.into());
                self.arrange();
                AppEvent::Draw
            }
            Command::Section(section) => {
                self.show_section(section);
                AppEvent::Draw
            }
        }
    }

    pub(super) fn do_it(&mut self, ask: Ask) -> AppEvent {
        let page = self.list().map_or(1, |l| l.height.max(2) as isize - 1);
        match ask {
            Ask::Quit => return AppEvent::Quit,
            Ask::Stop => return AppEvent::Stop,
            Ask::Redraw => return AppEvent::Redraw,
            Ask::Help => self.overlay = Some(Overlay::Help(0)),
            Ask::Palette => {
                self.overlay = Some(Overlay::Palette { typed: String::new(), list: List::default() });
            }
            Ask::Down => self.move_by(1),
            Ask::Up => self.move_by(-1),
            Ask::PageDown => self.move_by(page),
            Ask::PageUp => self.move_by(-page),
            Ask::First => self.move_by(isize::MIN / 2),
            Ask::Last => self.move_by(isize::MAX / 2),
            Ask::NextPane => self.show(neighbour(&PaneName::ALL, self.pane, 1)),
            Ask::LastPane => self.show(neighbour(&PaneName::ALL, self.pane, -1)),
            Ask::Show(pane) => self.show(pane),
            Ask::Enter => self.enter(),
            Ask::Focus => self.focus(),
            Ask::Back => self.back(),
            Ask::BackFromJump => self.back_from_jump(),
            Ask::NextSection => self.step_section(1),
            Ask::LastSection => self.step_section(-1),
            Ask::Search => {
                // Search where there is something to search; from elsewhere it is for a Service.
                let pane = if self.pane == PaneName::Rules { PaneName::Rules } else { PaneName::Services };
                self.show(pane);
                self.searching = true;
                self.type_search(String::new());
            }
            Ask::Sort => self.sort_by_neighbour(1),
            Ask::SortBack => self.sort_by_neighbour(-1),
            Ask::Reverse => {
                self.reversed = !self.reversed;
                self.arrange();
            }
            Ask::Problems => {
                self.problems = !self.problems;
                self.show(PaneName::Services);
                self.arrange();
            }
            Ask::ProblemsFirst => {
                self.problems_first = !self.problems_first;
                self.show(PaneName::Services);
                self.arrange();
            }
            Ask::Namespace => self.next_namespace(),
            Ask::Mode => self.next_mode(),
            Ask::Explain => self.ask_path(),
            Ask::NextFrontend => self.next_frontend(),
            Ask::Monitor => self.switch_monitor(),
            Ask::Columns => {
                self.show(PaneName::Services);
                self.overlay = Some(self.column_choice());
            }
            Ask::Copy => self.copy(),
            Ask::Theme => {
                self.theme = self.theme.next();
                self.message = Some(format!("theme {}", self.theme.name.name()));
                return AppEvent::Redraw;
            }
            Ask::Pause => self.pause(),
            Ask::StepBack => self.travel(Travel::Step(-1)),
            Ask::StepOn => self.travel(Travel::Step(1)),
            Ask::MinuteBack => self.travel(Travel::Seconds(-60)),
            Ask::MinuteOn => self.travel(Travel::Seconds(60)),
            Ask::FindingBack => self.travel(Travel::Finding(false)),
            Ask::FindingOn => self.travel(Travel::Finding(true)),
            Ask::Newest => self.travel(Travel::Newest),
            Ask::GoTo => self.going_to = Some(String::new()),
            Ask::Save => self.save(),
            Ask::Once => self.orders.push(Order::Once),
            Ask::Faster if self.moment().is_some() => self.change_speed(true),
            Ask::Slower if self.moment().is_some() => self.change_speed(false),
            Ask::Faster => self.change_interval(-1),
            Ask::Slower => self.change_interval(1),
        }
        AppEvent::Draw
    }

    /// The list that has the keys.
    pub(super) fn list(&mut self) -> Option<&mut List> {
        Some(match (self.pane, self.lower) {
            (PaneName::Services, _) if self.opened.is_some() => &mut self.below,
            (PaneName::Services, false) => &mut self.services,
            (PaneName::Services, true) => &mut self.below,
            (PaneName::Rules, false) => &mut self.tables,
            (PaneName::Rules, true) => &mut self.rules,
            (PaneName::Conntrack, _) => &mut self.conntrack,
            (PaneName::Findings, _) => &mut self.findings,
            (PaneName::Changes, _) => &mut self.changes,
            (PaneName::Drops, _) => &mut self.drops,
            (PaneName::Overview | PaneName::Compare, _) => return None,
        })
    }

    pub(super) fn move_by(&mut self, by: isize) {
        let upper = !self.lower && self.opened.is_none();
        let Some(list) = self.list() else { return };
        list.step(by);
        if upper {
            self.chosen_anew();
        }
    }

    /// Another row of the upper list is chosen: what hangs on it begins at its top.
    pub(super) fn chosen_anew(&mut self) {
        self.below.go_to_top();
        self.rules.go_to_top();
        self.remember();
    }

    pub(super) fn show(&mut self, pane: PaneName) {
        self.came_from = None;
        self.pane = pane;
        self.lower = false;
        self.opened = None;
        self.searching = false;
    }

    pub(super) fn show_section(&mut self, section: Section) {
        if Section::OF_CONNTRACK.contains(&section) {
            if self.pane != PaneName::Conntrack {
                self.show(PaneName::Conntrack);
            }
            self.conntrack_section = section;
            self.conntrack.go_to_top();
        } else {
            if self.opened.is_none() || self.pane != PaneName::Services {
                self.opened = None;
                let Some(chosen) = self.chosen() else { return };
                self.remember();
                self.opened_index = Some(chosen);
            }
            self.pane = PaneName::Services;
            self.lower = false;
            self.opened = Some(section);
            self.below.go_to_top();
            self.find_parts();
            self.find_path();
        }
    }

    fn step_section(&mut self, by: isize) {
        if let Some((all, now)) = self.sections() {
            self.show_section(neighbour(all, now, by));
        }
    }

    fn focus(&mut self) {
        match (self.pane, self.opened) {
            (PaneName::Services, None) if self.chosen_service().is_some() => self.lower = true,
            (PaneName::Rules, _) => self.lower = true,
            (PaneName::Services | PaneName::Conntrack, _) => self.step_section(1),
            _ => {}
        }
    }

    fn enter(&mut self) {
        match (self.pane, self.lower) {
            (PaneName::Services, _) => match self.opened {
                None if self.chosen_service().is_some() => self.show_section(Section::Backends),
                Some(Section::Path) => self.enter_path(),
                Some(Section::Rules) => {
                    // On the name of a chain: to its first rule.
                    let rule = self.parts.iter().skip(self.below.chosen).find_map(|p| match p {
                        Part::Rule(r) => Some(*r),
                        _ => None,
                    });
                    match rule {
                        Some(r) => {
                            self.jumps.push(Origin::Service(self.below.chosen));
                            self.go_to_rule(r.table, r.rule);
                        }
                        None => self.message = Some("there is no rule to go to".into()),
                    }
                }
                _ => {}
            },
            (PaneName::Rules, false) => match self.table_rows.get(self.tables.chosen).copied() {
                Some(TableRow::Table(i)) => {
                    let key = self.update.as_ref().and_then(|u| u.snapshot.tables.get(i)).map(table_key);
                    self.fold(key);
                }
                Some(TableRow::Ipsets) => self.fold(Some("ipset".into())),
                Some(_) => self.lower = true,
                None => {}
            },
            (PaneName::Rules, true) => self.follow_jump(),
            (PaneName::Conntrack, _) if self.conntrack_section == Section::Services => {
                let row = self.conntrack.chosen;
                let by_flows = self.by_flows();
                if let Some((i, _)) = by_flows.get(row) {
                    self.go_to_service(*i, Section::Flows);
                }
            }
            (PaneName::Findings, _) => self.open_finding(),
            (PaneName::Changes, _) => self.open_change(),
            (PaneName::Drops, _) => self.explain_drop(),
            (PaneName::Overview, _) => {
                let bad = self.update.as_ref().is_some_and(|u| !u.examination.findings.is_empty());
                self.show(if bad { PaneName::Findings } else { PaneName::Services });
            }
            _ => {}
        }
    }

    fn fold(&mut self, key: Option<String>) {
        let Some(key) = key else { return };
        if !self.folded.remove(&key) {
            self.folded.insert(key);
        }
        self.arrange();
    }

    pub(super) fn go_to_rule(&mut self, table: usize, rule: RuleId) {
        let Some(u) = self.update.clone() else { return };
        let Some(t) = u.snapshot.tables.get(table) else { return };
        let Some(chain) = t.table.chain_of(rule) else { return };
        self.show(PaneName::Rules);
        self.choose_row(TableRow::Chain(table, chain.0));
        self.lower = true;
        self.rules.chosen = (rule.0 - t.table.chains[chain.0 as usize].rules.start) as usize;
    }

    /// Chooses a row of the Rules pane, whatever a search or a fold hides.
    pub(super) fn choose_row(&mut self, row: TableRow) {
        if !self.table_rows.contains(&row) {
            self.rules_search.clear();
            if let (TableRow::Chain(i, _) | TableRow::Table(i), Some(u)) = (row, &self.update) {
                let key = u.snapshot.tables.get(i).map(table_key);
                key.map(|k| self.folded.remove(&k));
            }
            self.arrange();
        }
        if let Some(at) = self.table_rows.iter().position(|r| *r == row) {
            self.tables.chosen = at;
            self.rules.go_to_top();
        }
    }

    fn follow_jump(&mut self) {
        let Some(from @ TableRow::Chain(i, c)) = self.table_rows.get(self.tables.chosen).copied() else {
            return;
        };
        let Some(u) = self.update.clone() else { return };
        let Some(t) = u.snapshot.tables.get(i) else { return };
        let range = &t.table.chains[c as usize].rules;
        let rule = range.start + self.rules.chosen as u32;
        let Some(rule) = t.table.rules.get(rule as usize).filter(|_| rule < range.end) else { return };
        match t.table.jump_of(rule) {
            Some(to) => {
                self.jumps.push(Origin::Rule(from, self.rules.chosen));
                self.choose_row(TableRow::Chain(i, to.0));
                self.lower = true;
            }
            None => self.message = Some("this rule jumps nowhere".into()),
        }
    }

    fn back_to_section(&mut self, section: Section, line: usize) {
        self.show(PaneName::Services);
        self.arrange();
        self.show_section(section);
        self.below.chosen = line;
    }

    fn back_from_jump(&mut self) {
        match self.jumps.pop() {
            Some(Origin::Service(line)) => self.back_to_section(Section::Rules, line),
            Some(Origin::Path(line)) => self.back_to_section(Section::Path, line),
            Some(Origin::Rule(row, rule)) => {
                self.show(PaneName::Rules);
                self.choose_row(row);
                self.lower = true;
                self.rules.chosen = rule;
            }
            None if self.opened.is_some() || self.came_from.is_some() => self.back(),
            None => self.message = Some("no jump was followed".into()),
        }
    }

    /// One step back: out of what was opened, then the search and all filters off.
    fn back(&mut self) {
        let away = self.opened.is_some() || self.pane == PaneName::Rules;
        if let Some(pane) = self.came_from.take().filter(|_| away) {
            self.show(pane);
            return;
        }
        if self.opened.take().is_some() || std::mem::take(&mut self.lower) {
            self.below.go_to_top();
            return;
        }
        if self.pane == PaneName::Rules {
            self.rules_search.clear();
        } else {
            self.clear_filters();
        }
        self.arrange();
    }

    pub(super) fn clear_filters(&mut self) {
        self.set_search(String::new());
        self.problems = false;
        self.namespace = None;
        self.mode = None;
    }

    pub(super) fn sort_by(&mut self, column: usize) {
        if self.sort == column {
            self.reversed = !self.reversed;
        } else {
            self.sort = column;
            self.reversed = false;
        }
        self.arrange();
    }

    fn sort_by_neighbour(&mut self, by: isize) {
        let shown: Vec<usize> = match self.heads.is_empty() {
            true => (0..SERVICES.len()).collect(),
            false => self.heads.clone(),
        };
        self.sort = neighbour(&shown, self.sort, by);
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
        self.show(PaneName::Services);
        self.arrange();
    }

    fn next_mode(&mut self) {
        let Some(u) = &self.update else { return };
        let mut all: Vec<Mode> = u.model.services.modes.iter().map(|m| m.engine.mode()).collect();
        // Families have their modes each: with two of both, the same come again.
        all.sort_unstable();
        all.dedup();
        self.mode = match self.mode {
            None => all.first().copied(),
            Some(now) => all.iter().position(|m| *m == now).and_then(|i| all.get(i + 1)).copied(),
        };
        self.show(PaneName::Services);
        self.arrange();
    }

    fn change_interval(&mut self, by: isize) {
        let now = self.interval.as_millis() as u64;
        let at = INTERVALS.iter().position(|i| *i >= now).unwrap_or(INTERVALS.len() - 1);
        let next = at.saturating_add_signed(by).min(INTERVALS.len() - 1);
        self.interval = Duration::from_millis(INTERVALS[next]);
        self.orders.push(Order::Interval(self.interval));
    }

    fn copy(&mut self) {
        match self.chosen_line() {
            Some(line) => {
                self.message = Some(format!("copied: {line}"));
                self.clipboard = Some(line);
            }
            None => self.message = Some("there is no line to copy".into()),
        }
    }

    /// The chosen line as text that one can use elsewhere.
    fn chosen_line(&self) -> Option<String> {
        let u = self.update.as_ref()?;
        match (self.pane, self.lower, self.opened) {
            (PaneName::Services, _, Some(Section::Rules)) => {
                Some(match self.parts.get(self.below.chosen)? {
                    Part::Rule(r) => {
                        let table = &u.snapshot.tables.get(r.table)?.table;
                        table.rule_text(table.rule(r.rule)).to_string()
                    }
                    Part::Text(t) | Part::Place(t) => t.clone(),
                })
            }
            (PaneName::Services, _, Some(Section::Path)) => {
                Some(self.path.get(self.below.chosen)?.text.clone())
            }
            (PaneName::Services, true, _) | (PaneName::Services, _, Some(Section::Backends)) => {
                let b = self.chosen_service()?.backends.get(self.below.chosen)?;
                Some(crate::proxy::endpoint_text(b.address, b.port))
            }
            (PaneName::Services, ..) => {
                let s = self.chosen_service()?;
                let places: Vec<String> = s.frontends.iter().map(crate::proxy::frontend_text).collect();
                Some(format!("{} {} {}", s.label(), s.protocol.name(), places.join(" ")))
            }
            (PaneName::Rules, lower, _) => {
                let row = self.table_rows.get(self.tables.chosen).copied()?;
                let TableRow::Chain(i, c) = row else { return Self::row_name(u, row) };
                let t = &u.snapshot.tables.get(i)?.table;
                let chain = &t.chains[c as usize];
                match t.rules.get(chain.rules.start as usize + self.rules.chosen) {
                    Some(rule) if lower => Some(t.rule_text(rule).to_string()),
                    _ => Some(t.str(chain.name).to_string()),
                }
            }
            (PaneName::Changes, ..) => {
                let c = u.changes.all().rev().nth(self.changes.chosen)?;
                let (before, now) = (c.before.as_deref(), c.now.as_deref());
                Some(format!(
                    "{} {}: {} -> {}",
                    c.seen_at,
                    c.subject,
                    before.unwrap_or("-"),
                    now.unwrap_or("-")
                ))
            }
            (PaneName::Findings, ..) => {
                let f = u.examination.findings.get(self.findings.chosen)?;
                Some(format!("{}: {}; {}", f.about, f.title, f.evidence.join("; ")))
            }
            _ => None,
        }
    }

    /// Services with flows, those with the most first.
    pub(in crate::tui) fn by_flows(&self) -> Vec<(usize, u64)> {
        let Some(u) = &self.update else { return Vec::new() };
        let rows = u.rows().filter_map(|r| Some((r.place, r.figures.held().filter(|n| *n > 0)?)));
        let mut all: Vec<(usize, u64)> = rows.collect();
        all.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
        all
    }
}

/// The next or the last of a list, round its ends.
fn neighbour<T: Copy + PartialEq>(all: &[T], now: T, by: isize) -> T {
    let at = all.iter().position(|x| *x == now).unwrap_or(0) as isize;
    all.get((at + by).rem_euclid(all.len().max(1) as isize) as usize).copied().unwrap_or(now)
}
