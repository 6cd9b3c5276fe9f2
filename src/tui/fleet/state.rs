//! What is shown of a fleet, and what a key does.

use super::ask::{FleetAnswer, FleetQuestion};
use crate::fleet::{
    Fleet, FleetService, ServiceKey, ServiceOnNode, node_cells, place_cells, service_cells, state_text,
};
use crate::tui::keys::{Action, action};
use crate::tui::list::List;
use crate::tui::text_filter::TextFilter;
use crate::tui::theme::Theme;
use crossterm::event::{
    KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};
use ratatui::layout::Rect;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What the loop does after a key or an answer.
#[derive(Clone, Debug)]
pub enum FleetEvent {
    /// Nothing changed.
    Nothing,
    /// Draw.
    Draw,
    /// Draw all of it.
    Redraw,
    /// Leave.
    Quit,
    /// Stop, back to the shell.
    Stop,
    /// Copy this text.
    Copy(String),
    /// Leave, and print this command.
    GoTo(String),
    /// Ask the store.
    Ask(FleetQuestion),
}

/// Which list is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Tab {
    #[default]
    Services,
    Nodes,
}

/// A Service on each node, and the fleet that it was asked of.
type OnNodes = (Arc<Fleet>, Result<Vec<ServiceOnNode>, String>);

/// A Service that was opened.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) key: ServiceKey,
    /// How it is on each node.
    pub(super) on: Option<OnNodes>,
    pub(super) list: List,
}

/// The screen of a fleet.
#[derive(Debug)]
pub struct FleetScreen {
    pub(super) theme: Theme,
    pub(super) store: String,
    pub(super) every: Duration,
    pub(super) fleet: Option<Arc<Fleet>>,
    /// Why there is no newer answer.
    pub(super) error: Option<String>,
    pub(super) took: Duration,
    pub(super) asked: Option<Instant>,
    pub(super) tab: Tab,
    pub(super) services: List,
    pub(super) nodes: List,
    pub(super) filter: TextFilter,
    pub(super) searching: bool,
    pub(super) opened: Option<Opened>,
    pub(super) help: bool,
    pub(super) message: Option<String>,
    pub(super) tabs: Vec<(Rect, Tab)>,
}

/// The command that goes to a node, and to a Service on it. Names come from the store: none is more than a word to a shell.
fn command(node: &str, place: Option<String>) -> String {
    let word = |text: &str| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "._:/-".contains(c);
        match !text.is_empty() && text.chars().all(is_plain) {
            true => text.to_string(),
            false => format!("'{}'", text.replace('\'', r"'\''")),
        }
    };
    let words: Vec<String> = std::iter::once(word(node)).chain(place.as_deref().map(word)).collect();
    format!("kubectl kptop {}", words.join(" "))
}

impl FleetScreen {
    /// Without an answer yet.
    pub fn new(theme: Theme, store: String, every: Duration) -> FleetScreen {
        FleetScreen {
            theme,
            store,
            every,
            fleet: None,
            error: None,
            took: Duration::ZERO,
            asked: None,
            tab: Tab::Services,
            services: List::default(),
            nodes: List::default(),
            filter: TextFilter::default(),
            searching: false,
            opened: None,
            help: false,
            message: None,
            tabs: Vec::new(),
        }
    }

    /// Services that pass the search, by their places.
    pub(super) fn shown_services(&self, fleet: &Fleet) -> Vec<usize> {
        let line = |s: &FleetService| {
            format!(
                "{} {}",
                service_cells(fleet, s).join(" "),
                s.states.keys().map(|s| s.words()).collect::<String>()
            )
        };
        (0..fleet.services.len()).filter(|i| self.filter.passes(|| line(&fleet.services[*i]))).collect()
    }

    /// Nodes that pass the search, by their places.
    pub(super) fn shown_nodes(&self, fleet: &Fleet) -> Vec<usize> {
        let line = |i: usize| {
            let n = &fleet.nodes[i];
            let found: Vec<&str> = n.findings.iter().map(|f| f.id.as_str()).collect();
            let differs: Vec<String> = n.differs.iter().map(|d| fleet.difference(d)).collect();
            format!("{} {} {}", node_cells(n).join(" "), found.join(" "), differs.join(" "))
        };
        (0..fleet.nodes.len()).filter(|i| self.filter.passes(|| line(*i))).collect()
    }

    fn list(&mut self) -> &mut List {
        match (&mut self.opened, self.tab) {
            (Some(opened), _) => &mut opened.list,
            (None, Tab::Services) => &mut self.services,
            (None, Tab::Nodes) => &mut self.nodes,
        }
    }

    /// An answer of the store.
    pub fn on_answer(&mut self, answer: FleetAnswer) -> FleetEvent {
        match answer {
            FleetAnswer::All(Ok(fleet), took) => {
                self.keep_choices(&fleet);
                self.fleet = Some(fleet.clone());
                (self.error, self.took, self.asked) = (None, took, Some(Instant::now()));
                match &self.opened {
                    Some(o) => FleetEvent::Ask(FleetQuestion::Service(fleet, o.key.clone())),
                    None => FleetEvent::Draw,
                }
            }
            // What was there stays, and is said to be old.
            FleetAnswer::All(Err(why), _) => {
                self.error = Some(why);
                FleetEvent::Draw
            }
            FleetAnswer::Service(fleet, key, rows) => {
                if let Some(o) = self.opened.as_mut().filter(|o| o.key == key) {
                    o.on = Some((fleet, rows));
                }
                FleetEvent::Draw
            }
        }
    }

    /// What was chosen stays chosen where it is now.
    fn keep_choices(&mut self, new: &Fleet) {
        let Some(old) = self.fleet.clone() else { return };
        let service =
            self.shown_services(&old).get(self.services.chosen).map(|i| old.services[*i].key.clone());
        let node = self.shown_nodes(&old).get(self.nodes.chosen).map(|i| old.nodes[*i].key.clone());
        let at = |rows: Vec<usize>, is: &dyn Fn(usize) -> bool| rows.into_iter().position(is);
        // At the top the worst one is what is looked at.
        if let Some(key) = service.filter(|_| self.services.chosen > 0) {
            let at = at(self.shown_services(new), &|i| new.services[i].key == key);
            self.services.chosen = at.unwrap_or(self.services.chosen);
        }
        if let Some(key) = node.filter(|_| self.nodes.chosen > 0) {
            let at = at(self.shown_nodes(new), &|i| new.nodes[i].key == key);
            self.nodes.chosen = at.unwrap_or(self.nodes.chosen);
        }
    }

    /// A key.
    pub fn on_key(&mut self, event: KeyEvent) -> FleetEvent {
        if event.kind == KeyEventKind::Release {
            return FleetEvent::Nothing;
        }
        self.message = None;
        let asked = action(event);
        let ctrl = event.modifiers.contains(KeyModifiers::CONTROL);
        if ctrl && asked == Some(Action::Quit) {
            return FleetEvent::Quit;
        }
        if asked == Some(Action::Stop) {
            return FleetEvent::Stop;
        }
        if self.searching && self.on_search_key(event) {
            return FleetEvent::Draw;
        }
        if self.help {
            self.help = false;
            return FleetEvent::Draw;
        }
        match (event.code, asked) {
            (KeyCode::Char('1'), _) => self.show(Tab::Services),
            (KeyCode::Char('2'), _) => self.show(Tab::Nodes),
            (KeyCode::Char('o'), _) => return FleetEvent::Ask(FleetQuestion::All),
            (_, Some(Action::NextPane | Action::LastPane)) => {
                self.show(if self.tab == Tab::Services { Tab::Nodes } else { Tab::Services });
            }
            (_, Some(action)) => return self.apply(action),
            _ => return FleetEvent::Nothing,
        }
        FleetEvent::Draw
    }

    fn on_search_key(&mut self, event: KeyEvent) -> bool {
        let mut text = self.filter.search(0).text;
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
            _ => return false,
        }
        self.filter.set(text);
        self.services.go_to_top();
        self.nodes.go_to_top();
        true
    }

    fn show(&mut self, tab: Tab) {
        self.tab = tab;
        self.opened = None;
    }

    fn apply(&mut self, action: Action) -> FleetEvent {
        let page = self.list().height.max(1) as isize;
        match action {
            Action::Quit => return FleetEvent::Quit,
            Action::Help => self.help = true,
            Action::Redraw => return FleetEvent::Redraw,
            Action::Theme => {
                self.theme = self.theme.next();
                self.message = Some(format!("theme: {}", self.theme.name.name()));
            }
            // What was opened is not searched.
            Action::Search => {
                self.opened = None;
                self.searching = true;
            }
            Action::Down => self.list().step(1),
            Action::Up => self.list().step(-1),
            Action::PageDown => self.list().step(page),
            Action::PageUp => self.list().step(-page),
            Action::First => self.list().go_to_top(),
            Action::Last => self.list().step(isize::MAX),
            Action::Back => {
                if self.opened.take().is_none() {
                    self.filter.clear();
                }
            }
            Action::Enter => return self.enter(),
            Action::Copy => {
                return match self.chosen_line() {
                    Some(line) => {
                        self.message = Some(format!("copied: {line}"));
                        FleetEvent::Copy(line)
                    }
                    None => FleetEvent::Nothing,
                };
            }
            _ => return FleetEvent::Nothing,
        }
        FleetEvent::Draw
    }

    fn enter(&mut self) -> FleetEvent {
        let Some(fleet) = self.fleet.clone() else { return FleetEvent::Nothing };
        if let Some(opened) = &self.opened {
            let Some((fleet, Ok(rows))) = &opened.on else { return FleetEvent::Nothing };
            let Some(node) = rows.get(opened.list.chosen).and_then(|r| fleet.nodes.get(r.node)) else {
                return FleetEvent::Nothing;
            };
            // An address alone is opened by its address; a Service without a namespace is one.
            return FleetEvent::GoTo(command(&node.name, Some(opened.key.place())));
        }
        match self.tab {
            Tab::Services => {
                let shown = self.shown_services(&fleet);
                let Some(i) = shown.get(self.services.chosen) else { return FleetEvent::Nothing };
                let key = fleet.services[*i].key.clone();
                self.opened = Some(Opened { key: key.clone(), on: None, list: List::default() });
                FleetEvent::Ask(FleetQuestion::Service(fleet, key))
            }
            Tab::Nodes => {
                let shown = self.shown_nodes(&fleet);
                match shown.get(self.nodes.chosen) {
                    Some(i) => FleetEvent::GoTo(command(&fleet.nodes[*i].name, None)),
                    None => FleetEvent::Nothing,
                }
            }
        }
    }

    /// The chosen row as a line.
    fn chosen_line(&self) -> Option<String> {
        let fleet = self.fleet.as_ref()?;
        if let Some(o) = &self.opened {
            let (fleet, rows) = o.on.as_ref()?;
            let row = rows.as_ref().ok()?.get(o.list.chosen)?;
            return Some(format!("{}: {}", o.key.label(), place_cells(fleet, row).join("  ")));
        }
        Some(match self.tab {
            Tab::Services => {
                let i = *self.shown_services(fleet).get(self.services.chosen)?;
                service_cells(fleet, &fleet.services[i]).join("  ")
            }
            Tab::Nodes => {
                let i = *self.shown_nodes(fleet).get(self.nodes.chosen)?;
                node_cells(&fleet.nodes[i]).join("  ")
            }
        })
    }

    /// The mouse.
    pub fn on_mouse(&mut self, event: MouseEvent) -> FleetEvent {
        match event.kind {
            MouseEventKind::ScrollDown => self.list().step(3),
            MouseEventKind::ScrollUp => self.list().step(-3),
            MouseEventKind::Down(MouseButton::Left) => {
                let at = (event.column, event.row);
                if let Some((_, tab)) = self.tabs.iter().find(|t| t.0.contains(at.into())).copied() {
                    self.show(tab);
                    return FleetEvent::Draw;
                }
                // A second click on a row opens it; it never leaves the screen.
                let opens = self.opened.is_none() && self.tab == Tab::Services;
                let list = self.list();
                match list.at(at.0, at.1) {
                    Some(i) if opens && i == list.chosen => {
                        return self.enter();
                    }
                    Some(i) => list.chosen = i,
                    None => return FleetEvent::Nothing,
                }
            }
            _ => return FleetEvent::Nothing,
        }
        FleetEvent::Draw
    }

    /// `failing on 3 nodes, healthy on 97`
    pub(super) fn states_text(s: &FleetService) -> String {
        let of = s
            .states
            .iter()
            .map(|(state, n)| format!("{} on {}", state_text(*state), crate::format::plural(*n, "node")));
        of.collect::<Vec<_>>().join(" · ")
    }
}
