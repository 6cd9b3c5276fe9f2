//! The list of Services, and the backends of the chosen one below it.

mod draw;
mod heat;
mod menus;
mod rows;
mod tree;

pub(super) use draw::nothing;

use super::service::backends;
use crate::columns::{Filter, NEVER, SERVICES};
use crate::config::{Fold, ServicesConfig};
use crate::health::HealthState;
use crate::proxy::{Mode, RuleRef, Service, endpoint_text, frontend_text};
use crate::rates::service_key;
use crate::tui::keys::Action;
use crate::tui::list::{List, neighbour};
use crate::tui::overlays::{Columns, Overlay};
use crate::tui::pane::{Clicks, Context, Effect, Lists, MOST_WATCHED, Pane, Search, Subscriptions};
use crate::tui::reader::Update;
use crate::tui::request::Request;
use crate::tui::section::Section;
use ratatui::Frame;
use ratatui::layout::Rect;
use std::collections::HashSet;
use tree::{Kind, Line, Tree};

#[derive(Debug)]
pub(in crate::tui) struct Services {
    list: List,
    /// Backends of the chosen Service.
    below: List,
    lower: bool,
    /// What is shown, line by line.
    tree: Tree,
    fold: Fold,
    /// Services that are shown, as `kubectl get services` counts them.
    objects: usize,
    /// Which Service port is chosen, whatever line it is on.
    chosen_key: Option<u64>,
    /// The line above it and its like is chosen.
    chosen_sum: bool,
    /// Services that stay on top, by key.
    pinned: HashSet<u64>,
    search: String,
    filter: Filter,
    /// What is wrong with the search as a filter.
    error: Option<String>,
    /// What a search looks through, one text for each Service.
    texts: Vec<String>,
    /// The most columns that a name takes.
    widest: u16,
    /// Column that sorts, its index in [`SERVICES`].
    sort: usize,
    reversed: bool,
    problems: bool,
    problems_first: bool,
    namespace: Option<String>,
    mode: Option<Mode>,
    /// The map over time is shown instead of columns.
    heat: bool,
    /// Columns that the user chose, in order.
    columns: Option<Vec<usize>>,
    /// Columns that are on the screen, in order.
    heads: Vec<usize>,
    /// Columns that would say the same of every Service.
    idle: Vec<&'static str>,
}

impl Services {
    pub(in crate::tui) fn new(config: &ServicesConfig) -> Services {
        let mut pane = Services {
            list: List::default(),
            below: List::default(),
            lower: false,
            tree: Tree::default(),
            fold: config.fold.unwrap_or_default(),
            objects: 0,
            chosen_key: None,
            chosen_sum: false,
            pinned: HashSet::new(),
            search: String::new(),
            filter: Filter::default(),
            error: None,
            texts: Vec::new(),
            widest: 0,
            sort: config.sort.map_or_else(rows::by_traffic, |c| c.0),
            reversed: config.reverse,
            problems: false,
            problems_first: config.problems_first.unwrap_or(true),
            namespace: None,
            mode: None,
            heat: false,
            columns: config.columns.as_ref().map(|c| c.iter().map(|c| c.0).collect()),
            heads: Vec::new(),
            idle: Vec::new(),
        };
        if let Some(filter) = &config.filter {
            pane.take_search(filter.0.clone());
        }
        pane
    }

    fn chosen_line(&self) -> Option<&Line> {
        self.tree.line(self.list.chosen)
    }

    /// The chosen Service's index in the model.
    fn chosen(&self) -> Option<usize> {
        self.chosen_line().map(|l| l.of)
    }

    /// The map over time has a row for each port.
    fn fold(&self) -> Fold {
        if self.heat { Fold::Ports } else { self.fold }
    }

    /// Folds or unfolds what is chosen; false where there is nothing to fold.
    fn set_open(&mut self, open: bool, cx: &Context) -> bool {
        let changed = !self.lower && self.tree.set_open(self.list.chosen, open);
        if changed {
            // What was below is now in the line above, and the other way round.
            self.chosen_sum = true;
            self.arrange(cx);
        }
        changed
    }

    /// Keeps what is chosen on top, or no longer.
    fn pin(&mut self, cx: &Context) {
        let (Some(line), Some(u)) = (self.chosen_line(), &cx.update) else { return };
        let members = self.tree.members_of(line).iter().filter_map(|i| u.model.services.get(*i));
        let keys: Vec<u64> = members.map(service_key).collect();
        if keys.iter().any(|k| self.pinned.remove(k)) {
            keys.iter().for_each(|k| _ = self.pinned.remove(k));
        } else {
            self.pinned.extend(keys);
        }
    }

    fn chosen_service<'a>(&self, cx: &'a Context) -> Option<&'a Service> {
        cx.update.as_ref()?.model.services.get(self.chosen()?)
    }

    fn take_search(&mut self, text: String) {
        let (filter, error) = Filter::parse(&text);
        self.search = text;
        self.filter = filter;
        self.error = error;
    }

    fn clear_filters(&mut self) {
        self.take_search(String::new());
        self.problems = false;
        self.namespace = None;
        self.mode = None;
    }

    /// The filters that hold Services back, in words.
    fn filters(&self, searching: bool) -> Option<String> {
        let mut filters = Vec::new();
        if self.problems {
            filters.push("problems".to_string());
        }
        filters.extend(self.namespace.iter().map(|n| format!("namespace {n}")));
        filters.extend(self.mode.iter().map(|m| format!("mode {}", m.name())));
        if !self.search.is_empty() && !searching {
            filters.push(format!("\"{}\"", self.search));
        }
        let wrong = match &self.error {
            Some(why) if !searching => format!(", {}", why.split(": words").next().unwrap_or_default()),
            _ => String::new(),
        };
        (!filters.is_empty()).then(|| format!("only {}{wrong} (Esc clears)", filters.join(", ")))
    }

    /// Columns on a screen of this width, by index.
    fn shown_columns(&self, cx: &Context, width: u16) -> Vec<usize> {
        self.columns.clone().unwrap_or_else(|| self.default_columns(cx, width))
    }

    /// Columns that are shown where the user chose none.
    fn default_columns(&self, cx: &Context, width: u16) -> Vec<usize> {
        let idle = |key: &str| cx.update.is_some() && self.idle.contains(&key);
        let is_shown = |i: &usize| {
            let c = &SERVICES[*i];
            c.from != NEVER && c.from <= width && !idle(c.key)
        };
        (0..SERVICES.len()).filter(is_shown).collect()
    }

    fn sort_by(&mut self, column: usize) {
        if self.sort == column {
            self.reversed = !self.reversed;
        } else {
            self.sort = column;
            self.reversed = false;
        }
    }

    fn sort_by_neighbour(&mut self, by: isize) {
        let shown: Vec<usize> = match self.heads.is_empty() {
            true => (0..SERVICES.len()).collect(),
            false => self.heads.clone(),
        };
        self.sort = neighbour(&shown, self.sort, by);
        self.reversed = false;
    }

    fn back(&mut self) {
        if std::mem::take(&mut self.lower) {
            self.below.go_to_top();
        } else {
            self.clear_filters();
        }
    }
}

/// Columns that would say the same of every Service.
fn idle_columns(u: &Update) -> Vec<&'static str> {
    let mut modes: Vec<Mode> = u.model.services.modes.iter().map(|m| m.engine.mode()).collect();
    modes.sort_unstable();
    modes.dedup();
    let mut idle = Vec::new();
    if !modes.contains(&Mode::Ipvs) {
        idle.extend(["packets", "bytes"]);
    }
    if modes.len() < 2 {
        idle.push("mode");
    }
    if u.snapshot.new_flows().is_none() {
        idle.push("latency_ns");
    }
    if !differ(u.lookups.iter().flatten().filter_map(|l| l.ns)) {
        idle.push("lookup_ns");
    }
    if u.health.count(HealthState::Healthy) == u.model.services.len() {
        idle.push("why");
    }
    idle
}

/// True where figures are far enough from each other to be worth a column.
fn differ(figures: impl Iterator<Item = f64>) -> bool {
    let (least, most) = figures.fold((f64::MAX, 0.0f64), |(least, most), n| (least.min(n), most.max(n)));
    most > 1.25 * least
}

/// A Service and where it is reached, as text.
pub(super) fn line_of(s: &Service) -> String {
    let places: Vec<String> = s.frontends.iter().map(frontend_text).collect();
    format!("{} {} {}", s.label(), s.protocol.name(), places.join(" "))
}

/// The rules of a Service whose counters are read one by one.
pub(super) fn watched_of(s: &Service, rules: &mut Vec<RuleRef>) {
    rules.extend(s.backends.iter().filter_map(|b| b.rule));
    rules.extend(s.frontends.iter().filter_map(|f| f.refusal));
}

/// The same of several, up to what one reading can bear.
pub(super) fn watched_of_all(cx: &Context, shown: impl Iterator<Item = usize>) -> Vec<RuleRef> {
    let Some(u) = &cx.update else { return Vec::new() };
    let mut rules = Vec::new();
    for s in shown.filter_map(|i| u.model.services.get(i)) {
        watched_of(s, &mut rules);
        if rules.len() > MOST_WATCHED {
            break;
        }
    }
    rules
}

impl Pane for Services {
    fn on_view(&mut self, cx: &Context, changed: bool) {
        if changed {
            self.find_texts(cx);
            self.find_groups(cx);
        }
        self.idle = cx.update.as_ref().map(idle_columns).unwrap_or_default();
        self.arrange(cx);
    }

    fn on_action(&mut self, action: Action, cx: &Context) -> Effect {
        match action {
            Action::Enter if self.chosen_line().is_some_and(Line::is_sum) && !self.lower => {
                let is_folded = self.chosen_line().is_some_and(|l| l.kind == Kind::Folded);
                self.set_open(is_folded, cx);
                return Effect::Nothing;
            }
            Action::Enter | Action::Explain | Action::Section(_) => {
                self.remember(cx);
                let section = match action {
                    Action::Section(section) => section,
                    Action::Explain => Section::Path,
                    _ => Section::OF_SERVICE[0],
                };
                return match self.chosen_service(cx).and(self.chosen()) {
                    Some(i) => Effect::Go(Request::Service(i, section)),
                    None => Effect::Nothing,
                };
            }
            Action::Focus if self.set_open(true, cx) => return Effect::Nothing,
            Action::Left if self.set_open(false, cx) => return Effect::Nothing,
            Action::Focus => {
                // What has no rows takes no keys.
                self.lower = self.chosen_service(cx).is_some_and(|s| !s.backends.is_empty());
                return Effect::Nothing;
            }
            Action::Columns => {
                const WIDEST: u16 = u16::MAX - 1;
                let shown = self.shown_columns(cx, WIDEST);
                return Effect::Overlay(Overlay::Columns(Columns::new(
                    &shown,
                    self.default_columns(cx, WIDEST),
                )));
            }
            Action::Back => self.back(),
            Action::Sort => return Effect::Overlay(Overlay::Menu(self.sorts())),
            Action::SortNext => self.sort_by_neighbour(1),
            Action::SortBack => self.sort_by_neighbour(-1),
            Action::SortBy(column) => self.sort_by(column),
            Action::Reverse => self.reversed = !self.reversed,
            Action::Problems => self.problems = !self.problems,
            Action::ProblemsFirst => self.problems_first = !self.problems_first,
            Action::Namespace => return Effect::Overlay(Overlay::Menu(self.namespaces(cx))),
            Action::Mode => return Effect::Overlay(Overlay::Menu(self.modes(cx))),
            Action::Heat => {
                self.heat = !self.heat;
                self.find_groups(cx);
            }
            Action::Fold if self.heat => {
                return Effect::Notice("z folds the list: Z goes back to it".into());
            }
            Action::Fold => {
                self.fold = self.fold.next();
                self.find_groups(cx);
            }
            Action::Pin => self.pin(cx),
            Action::Filter(text) => self.take_search(text.into()),
            _ => return Effect::Ignored,
        }
        self.arrange(cx);
        Effect::Nothing
    }

    fn on_request(&mut self, request: &Request, cx: &Context) {
        match request {
            // Chosen here, whatever the filters hold back, and opened elsewhere.
            Request::Service(i, _)
            | Request::Path(i, ..)
            | Request::Frontend(i, ..)
            | Request::Backend(i, _) => {
                if !self.tree.members().contains(i) {
                    self.clear_filters();
                }
                self.chosen_sum = false;
                self.chosen_key = cx.update.as_ref().and_then(|u| u.model.services.get(*i)).map(service_key);
            }
            Request::Search(text) => {
                self.clear_filters();
                self.take_search(text.clone());
                self.list.go_to_top();
                self.chosen_key = None;
            }
            Request::Namespace(name) => self.namespace.clone_from(name),
            Request::Mode(mode) => self.mode = *mode,
            Request::SortBy(column) => self.sort_by(*column),
            Request::Columns(columns) => self.columns.clone_from(columns),
            Request::ClearFilters => self.clear_filters(),
            _ => return,
        }
        self.arrange(cx);
    }

    fn lists(&mut self) -> Lists<'_> {
        Lists { upper: Some(&mut self.list), lower: Some(&mut self.below), in_lower: Some(&mut self.lower) }
    }

    fn on_chosen(&mut self, cx: &Context) {
        self.below.go_to_top();
        self.remember(cx);
    }

    fn search(&self) -> Option<Search> {
        Some(Search {
            text: self.search.clone(),
            found: self.tree.members().len(),
            error: self.error.clone(),
            hint: " · ns:x state:x NEW/s>9",
        })
    }

    fn set_search(&mut self, text: String, cx: &Context) {
        self.take_search(text);
        self.list.top = 0;
        self.arrange(cx);
    }

    fn subscriptions(&self, cx: &Context) -> Subscriptions {
        let lines = self.list.shown().filter_map(|(i, _)| self.tree.line(i));
        let shown = lines.flat_map(|l| self.tree.members_of(l)).copied();
        Subscriptions { rules: watched_of_all(cx, shown), ..Subscriptions::default() }
    }

    fn copied(&self, cx: &Context) -> Option<String> {
        let s = self.chosen_service(cx)?;
        if self.lower {
            let b = s.backends.get(self.below.chosen)?;
            return Some(endpoint_text(b.address, b.port));
        }
        Some(line_of(s))
    }

    fn hints(&self) -> &'static [Action] {
        &[Action::Sort, Action::Problems, Action::Namespace, Action::Columns, Action::Explain]
    }

    fn draw(&mut self, frame: &mut Frame<'_>, area: Rect, cx: &Context, clicks: &mut Clicks) {
        let found = cx.update.as_ref().zip(self.chosen());
        let needed = found.map_or(0, |(update, i)| backends::needed_height(cx, update, i, area.width));
        // With its title and heads.
        let upper_needs = (self.tree.len() as u16).saturating_add(2);
        let [upper, lower] = super::layout::halves(area, upper_needs, needed);
        self.draw_list(frame, upper, cx, clicks);
        let several = match self.chosen_line().map(|l| l.kind) {
            Some(Kind::Folded) => Some("one of several: Enter lists them"),
            Some(Kind::Head) => Some("one of several: Enter folds them"),
            _ => None,
        };
        backends::draw_short(frame, lower, cx, found, &mut self.below, self.lower, several);
    }
}
