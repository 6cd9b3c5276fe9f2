//! State of the screen, and what a key does to it. Nothing here reads or draws.

mod act;
mod commands;
mod compared;
mod dying;
mod follow;
mod list;
mod mouse;
mod path;
mod rows;
mod travel;

pub(super) use commands::matching;
pub(super) use compared::Compared;
pub(super) use dying::{Dying, Monitor};
pub(super) use follow::{changed_service, changed_table};
pub(super) use list::List;
pub(super) use path::Asked;
pub(super) use rows::{TableRow, table_key};

use super::reader::{Order, Update};
use super::theme::Theme;
use crate::columns::{Filter, NEVER, SERVICES};
use crate::config::{Config, PaneName};
use crate::proxy::{Mode, Part, RuleRef, Service};
use crate::rates::{RuleRates, service_key};
use crate::ruleset::{IpFamily, RuleId};
use crate::snapshot::Followed;
use crate::snapshot::live::LookedAt;
use ratatui::layout::Rect;
use std::collections::HashSet;
use std::time::Duration;

/// What the loop should do after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppEvent {
    /// Leave.
    Quit,
    /// Draw a frame.
    Draw,
    /// Draw everything anew.
    Redraw,
    /// Stop until the shell continues the job, and draw everything then.
    Stop,
    /// Nothing changed.
    Nothing,
}

/// What lies over the panes and has the keys.
#[derive(Clone, Debug)]
pub(super) enum Overlay {
    /// The help, at a page.
    Help(usize),
    /// Commands by name: what was typed, and those that match.
    Palette { typed: String, list: List },
    /// The columns of the list of Services: index in [`SERVICES`], and whether it is shown.
    Columns { all: Vec<(usize, bool)>, list: List },
}

/// Parts of a pane of which one is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Backends,
    Flows,
    Rules,
    Clients,
    Path,
    Summary,
    Cpus,
    Sources,
    Services,
}

impl Section {
    pub(super) const OF_SERVICE: [Section; 5] =
        [Section::Backends, Section::Flows, Section::Rules, Section::Clients, Section::Path];
    pub(super) const OF_CONNTRACK: [Section; 4] =
        [Section::Summary, Section::Cpus, Section::Sources, Section::Services];

    pub(super) fn title(self) -> &'static str {
        match self {
            Section::Backends => "Backends",
            Section::Flows => "Flows",
            Section::Rules => "Rules",
            Section::Clients => "Affinity",
            Section::Path => "Path",
            Section::Summary => "Summary",
            Section::Cpus => "CPUs",
            Section::Sources => "Sources",
            Section::Services => "Services",
        }
    }
}

/// What a click on a place of the screen does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Click {
    Pane(PaneName),
    Section(Section),
    /// A head of the list of Services.
    Sort(usize),
}

/// Where a jump began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A chain, and the rule that was chosen.
    Rule(TableRow, usize),
    /// The rules of the chosen Service, and the line.
    Service(usize),
    /// The path to the chosen Service, and the line.
    Path(usize),
}

/// The whole state.
#[derive(Debug)]
pub struct App {
    pub(super) theme: Theme,
    pub(super) interval: Duration,
    pub(super) update: Option<Update>,
    pub(super) pane: PaneName,
    /// The lower part of the pane has the keys.
    pub(super) lower: bool,
    /// A Service is opened, at this section.
    pub(super) opened: Option<Section>,
    pub(super) conntrack_section: Section,
    pub(super) overlay: Option<Overlay>,
    pub(super) help_pages: usize,
    pub(super) paused: bool,
    pub(super) searching: bool,
    /// A time to go to, as it is typed.
    pub(super) going_to: Option<String>,
    /// How fast a recording plays.
    speed: f64,
    pub(super) search: String,
    /// What is wrong with the search as a filter.
    pub(super) search_error: Option<String>,
    /// Column that sorts, its index in [`SERVICES`].
    pub(super) sort: usize,
    pub(super) reversed: bool,
    pub(super) problems: bool,
    pub(super) problems_first: bool,
    pub(super) namespace: Option<String>,
    pub(super) mode: Option<Mode>,
    /// Columns that the user chose, in order.
    pub(super) columns: Option<Vec<usize>>,
    /// Indices into the model's Services, as shown.
    pub(super) rows: Vec<usize>,
    /// Rows of the Rules pane, as shown.
    pub(super) table_rows: Vec<TableRow>,
    /// Tables that are folded: backend, family and name.
    pub(super) folded: HashSet<String>,
    /// Programs that each table belongs to.
    pub(super) owners: Vec<Vec<&'static str>>,
    pub(super) rule_rates: RuleRates,
    pub(super) services: List,
    /// The lower part of Services, and the list of an opened Service.
    pub(super) below: List,
    pub(super) tables: List,
    pub(super) rules: List,
    pub(super) conntrack: List,
    pub(super) findings: List,
    pub(super) changes: List,
    pub(super) drops: List,
    /// Packets that die.
    pub(super) dying: Dying,
    /// What the opened Service is made of.
    pub(super) parts: Vec<Part>,
    /// Who asks for the path of a packet, and to where.
    pub(super) asked: Asked,
    /// That path.
    pub(super) path: Vec<crate::explain::Line>,
    /// The modes side by side.
    pub(super) compared: Compared,
    /// Services with the most new flows, by index in the model.
    pub(super) movers: Vec<usize>,
    pub(super) clicks: Vec<(Rect, Click)>,
    /// Heads of columns that are on the screen, in their order.
    pub(super) heads: Vec<usize>,
    /// A line for the user, until the next key.
    pub(super) message: Option<String>,
    /// The pane from whose list a Service, rule or table was opened: Esc goes back there.
    pub(super) came_from: Option<PaneName>,
    /// Where jumps were followed from.
    pub(super) jumps: Vec<Origin>,
    /// What is searched for in the Rules pane: the filter of Services means nothing there.
    pub(super) rules_search: String,
    filter: Filter,
    /// Which Service is chosen, whatever row it is on.
    chosen_key: Option<u64>,
    /// The opened Service's index in the model: filters do not hide it.
    opened_index: Option<usize>,
    /// Name of the chosen row of the Rules pane, while the structure changes under it.
    chosen_row_name: Option<String>,
    /// What a search looks through, one text for each Service.
    search_texts: Vec<String>,
    orders: Vec<Order>,
    watching: Vec<RuleRef>,
    looking: LookedAt,
    clipboard: Option<String>,
}

/// Rules whose counters are read one by one: a screen of Services with many backends each.
const MOST_WATCHED: usize = 1000;

impl App {
    /// A screen that has seen nothing yet.
    pub fn new(theme: Theme, interval: Duration, config: &Config) -> App {
        let services = &config.services;
        let mut app = App {
            theme,
            interval,
            update: None,
            pane: config.pane.unwrap_or(PaneName::Services),
            lower: false,
            opened: None,
            conntrack_section: Section::Summary,
            overlay: None,
            help_pages: 1,
            paused: false,
            searching: false,
            going_to: None,
            speed: 1.0,
            search: String::new(),
            search_error: None,
            sort: services.sort.map_or_else(rows::by_name, |c| c.0),
            reversed: services.reverse,
            problems: false,
            problems_first: services.problems_first,
            namespace: None,
            mode: None,
            columns: services.columns.as_ref().map(|c| c.iter().map(|c| c.0).collect()),
            rows: Vec::new(),
            table_rows: Vec::new(),
            folded: HashSet::new(),
            owners: Vec::new(),
            rule_rates: RuleRates::default(),
            services: List::default(),
            below: List::default(),
            tables: List::default(),
            rules: List::default(),
            conntrack: List::default(),
            findings: List::default(),
            changes: List::default(),
            drops: List::default(),
            dying: Dying::default(),
            parts: Vec::new(),
            asked: Asked::default(),
            path: Vec::new(),
            compared: Compared::default(),
            movers: Vec::new(),
            clicks: Vec::new(),
            heads: Vec::new(),
            message: None,
            came_from: None,
            jumps: Vec::new(),
            rules_search: String::new(),
            filter: Filter::default(),
            chosen_key: None,
            opened_index: None,
            chosen_row_name: None,
            search_texts: Vec::new(),
            orders: Vec::new(),
            watching: Vec::new(),
            looking: LookedAt::default(),
            clipboard: None,
        };
        if let Some(filter) = &services.filter {
            app.set_search(filter.0.clone());
        }
        app
    }

    /// Tells the reader what is on the screen, where it is something else than before: rules whose counters are
    /// read one by one, and what is read for an opened Service alone. To be called when a frame was drawn.
    pub fn watch(&mut self) {
        let watched = self.watched();
        if watched != self.watching {
            self.orders.push(Order::Watch(watched.clone()));
            self.watching = watched;
        }
        let looking = self.looked_at();
        if looking != self.looking {
            self.orders.push(Order::LookAt(looking.clone()));
            self.looking = looking;
        }
    }

    fn watched(&self) -> Vec<RuleRef> {
        let Some(u) = &self.update else { return Vec::new() };
        let mut rules = Vec::new();
        let of_service = |s: &Service, rules: &mut Vec<RuleRef>| {
            rules.extend(s.backends.iter().filter_map(|b| b.rule));
            rules.extend(s.frontends.iter().filter_map(|f| f.refusal));
        };
        match (self.pane, self.opened) {
            (PaneName::Services, Some(section)) => {
                if let Some(s) = self.chosen_service() {
                    of_service(s, &mut rules);
                }
                if section == Section::Rules {
                    let shown = self.below.shown().filter_map(|(i, _)| self.parts.get(i));
                    rules.extend(shown.filter_map(|p| match p {
                        Part::Rule(r) => Some(*r),
                        _ => None,
                    }));
                }
            }
            (PaneName::Services | PaneName::Overview, _) => {
                let shown: Vec<usize> = match self.pane {
                    PaneName::Overview => self.movers.clone(),
                    _ => self.services.shown().filter_map(|(i, _)| self.rows.get(i).copied()).collect(),
                };
                for i in shown {
                    let Some(s) = u.model.services.get(i) else { continue };
                    of_service(s, &mut rules);
                    if rules.len() > MOST_WATCHED {
                        break;
                    }
                }
            }
            (PaneName::Rules, _) => {
                if let Some(TableRow::Chain(table, chain)) = self.table_rows.get(self.tables.chosen).copied()
                    && let Some(t) = u.snapshot.tables.get(table)
                {
                    let range = t.table.chains[chain as usize].rules.clone();
                    let shown = range.skip(self.rules.top).take(self.rules.height);
                    rules.extend(shown.map(|r| RuleRef { table, rule: RuleId(r) }));
                }
            }
            _ => {}
        }
        rules.truncate(MOST_WATCHED);
        rules
    }

    /// What is read only while somebody looks at it.
    fn looked_at(&self) -> LookedAt {
        let mut looked = LookedAt::default();
        if self.pane != PaneName::Services {
            return looked;
        }
        let (Some(section), Some(u), Some(s)) = (self.opened, &self.update, self.chosen_service()) else {
            return looked;
        };
        match section {
            Section::Flows => {
                let of =
                    |f: &crate::proxy::Frontend| -> Followed { (s.protocol.number(), f.address, f.port) };
                looked.flows = s.frontends.iter().map(of).collect();
                let own = u.snapshot.addresses.iter().map(|a| a.address);
                let node_ports = s.frontends.iter().any(|f| f.address.is_none());
                looked.events = s.frontends.iter().filter_map(|f| f.address).collect();
                looked.events.extend(own.filter(|a| node_ports && a.is_ipv4() == (s.family == IpFamily::V4)));
                looked.events.sort_unstable();
                looked.events.dedup();
            }
            Section::Clients | Section::Path => looked.memory = crate::proxy::memory_lists(&u.snapshot, s),
            _ => {}
        }
        looked
    }

    /// What the reader should be told since the last call.
    pub fn take_orders(&mut self) -> Vec<Order> {
        std::mem::take(&mut self.orders)
    }

    /// What the terminal should put into the clipboard.
    pub fn take_clipboard(&mut self) -> Option<String> {
        self.clipboard.take()
    }

    /// Takes a reading.
    pub fn on_update(&mut self, update: Update) {
        if update.told.is_some() {
            self.message.clone_from(&update.told);
        }
        let was = self.update.as_ref().map(|u| u.moment.is_some());
        let jumped = update.moment.as_ref().is_some_and(|m| m.jumped) || was == Some(update.moment.is_none());
        if was == Some(true) && update.moment.is_none() {
            // What was asked for in the past was not for what is now.
            (self.watching, self.looking) = (Vec::new(), LookedAt::default());
        }
        if jumped {
            self.rule_rates = RuleRates::default();
            if let Some(before) = &update.before {
                self.rule_rates.update(&before.tables);
            }
        }
        let changed = update.changed || jumped || self.update.is_none();
        self.rule_rates.update(&update.snapshot.tables);
        if let (true, Some(before)) = (changed, &self.update) {
            let row = self.table_rows.get(self.tables.chosen).copied();
            self.chosen_row_name = row.and_then(|r| Self::row_name(before, r));
            // Rules have other numbers now.
            self.jumps.clear();
        }
        self.update = Some(update);
        if changed {
            self.search_texts = self.texts();
            self.owners = self.find_owners();
        }
        self.arrange();
        if changed {
            self.find_parts();
            self.compared.outdate();
        }
        self.find_path();
        self.find_movers();
        self.find_dying();
    }

    fn find_owners(&self) -> Vec<Vec<&'static str>> {
        let tables = self.update.iter().flat_map(|u| &u.snapshot.tables);
        tables.map(|t| crate::proxy::owners(&t.table)).collect()
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
                    text.push_str(&crate::proxy::frontend_text(f));
                }
                for b in &s.backends {
                    text.push(' ');
                    text.push_str(&crate::proxy::endpoint_text(b.address, b.port));
                }
                text
            })
            .collect()
    }

    /// What the opened Service is made of.
    fn find_parts(&mut self) {
        self.parts = match (self.opened, &self.update, self.chosen_service()) {
            (Some(Section::Rules), Some(u), Some(s)) => crate::proxy::parts(&u.snapshot, s),
            _ => Vec::new(),
        };
    }

    /// True where some mode here counts packets and bytes of a backend.
    pub(super) fn counts_packets(&self) -> bool {
        self.update
            .as_ref()
            .is_some_and(|u| u.model.services.modes.iter().any(|m| m.engine.mode() == Mode::Ipvs))
    }

    /// Columns of Services on a screen of this width, by index.
    pub(super) fn shown_columns(&self, width: u16) -> Vec<usize> {
        if let Some(chosen) = &self.columns {
            return chosen.clone();
        }
        let packets = self.counts_packets();
        let is_shown = |i: &usize| {
            let c = &SERVICES[*i];
            c.from != NEVER && c.from <= width && (packets || !["packets", "bytes"].contains(&c.key))
        };
        (0..SERVICES.len()).filter(is_shown).collect()
    }

    /// The chosen Service's index in the model.
    pub(super) fn chosen(&self) -> Option<usize> {
        match self.opened {
            Some(_) => self.opened_index,
            None => self.rows.get(self.services.chosen).copied(),
        }
    }

    pub(super) fn chosen_service(&self) -> Option<&Service> {
        self.update.as_ref()?.model.services.get(self.chosen()?)
    }

    fn remember(&mut self) {
        self.chosen_key = self.chosen_service().map(service_key).or(self.chosen_key);
    }

    /// The sections of what is on the screen, and the one that is shown.
    pub(super) fn sections(&self) -> Option<(&'static [Section], Section)> {
        match (self.pane, self.opened) {
            (PaneName::Services, Some(now)) => Some((&Section::OF_SERVICE, now)),
            (PaneName::Conntrack, _) => Some((&Section::OF_CONNTRACK, self.conntrack_section)),
            _ => None,
        }
    }
}
