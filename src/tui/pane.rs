//! What a pane is, what it sees, and what it may ask of the screen.

use super::keys::Action;
use super::list::{List, neighbour};
use super::overlays::Overlay;
use super::reader::Update;
use super::request::Request;
use super::section::Section;
use super::theme::Theme;
use crate::config::PaneName;
use crate::proxy::RuleRef;
use crate::rates::RuleRates;
use crate::replay::Moment;
use crate::snapshot::DropBatch;
use crate::snapshot::live::LookedAt;
use ratatui::Frame;
use ratatui::layout::Rect;

/// What every pane sees.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) theme: Theme,
    /// The reading that is shown.
    pub(super) update: Option<Update>,
    pub(super) rule_rates: RuleRates,
    /// Programs that each table belongs to.
    pub(super) owners: Vec<Vec<&'static str>>,
    /// A search is being typed.
    pub(super) searching: bool,
    /// What was opened on the way here, before what is shown: `Services › `; empty where nothing was.
    pub(super) trail: String,
}

impl Context {
    /// Where one is in time; `None` for now.
    pub(super) fn moment(&self) -> Option<&Moment> {
        self.update.as_ref()?.moment.as_ref()
    }

    /// What figures "since …" and changes go back to.
    pub(super) fn beginning(&self) -> &'static str {
        match self.moment() {
            Some(m) if !m.live => "since the recording began",
            _ => "since kptop began",
        }
    }
}

/// What a pane asks of the screen after an action.
#[derive(Debug)]
pub(super) enum Effect {
    Nothing,
    /// The action means nothing in this pane, or not now.
    Ignored,
    /// A line for the user.
    Notice(String),
    /// Show this pane.
    Show(PaneName),
    /// Show this.
    Go(Request),
    /// Show a rule; `back` leads to where the jump came from.
    Jump {
        back: Request,
        to: Request,
    },
    /// Put this over the panes.
    Overlay(Overlay),
    /// Switch the drop monitor.
    Monitor(bool),
    /// Leave what was opened.
    Close,
}

/// Rules whose counters are read one by one: a screen of Services with many backends each.
pub(super) const MOST_WATCHED: usize = 1000;

/// What is read only for what is on the screen.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Subscriptions {
    /// Rules whose counters are read one by one. They mean the tables of the reading that is shown.
    pub(super) rules: Vec<RuleRef>,
    /// Sources that are read only while a user looks at them.
    pub(super) looked_at: LookedAt,
}

/// The lists of a pane.
#[derive(Default)]
pub(super) struct Lists<'a> {
    pub(super) upper: Option<&'a mut List>,
    pub(super) lower: Option<&'a mut List>,
    /// Whether the lower one has the keys.
    pub(super) in_lower: Option<&'a mut bool>,
}

impl<'a> Lists<'a> {
    /// One list, which always has the keys.
    pub(super) fn one(list: &'a mut List) -> Lists<'a> {
        Lists { upper: Some(list), ..Lists::default() }
    }

    /// Whether the lower list has the keys.
    pub(super) fn is_lower(&self) -> bool {
        self.in_lower.as_ref().is_some_and(|l| **l)
    }

    /// The list that has the keys.
    pub(super) fn with_keys(self) -> Option<&'a mut List> {
        if self.is_lower() { self.lower } else { self.upper }
    }
}

/// A search of a pane.
#[derive(Clone, Debug, Default)]
pub(super) struct Search {
    pub(super) text: String,
    /// How many rows pass.
    pub(super) found: usize,
    /// What is wrong with it.
    pub(super) error: Option<String>,
    /// What else can be typed.
    pub(super) hint: &'static str,
}

/// What the drop monitor reports.
#[derive(Debug)]
pub(super) enum MonitorEvent {
    /// Whether it could be switched on.
    Switched(Result<(), String>),
    Dropped(DropBatch),
}

/// The section that an action leads to, where it leads to one.
pub(super) fn section_after(all: &[Section], now: Section, action: Action) -> Option<Section> {
    match action {
        Action::Section(section) if all.contains(&section) => Some(section),
        Action::NextSection | Action::Focus => Some(neighbour(all, now, 1)),
        Action::LastSection => Some(neighbour(all, now, -1)),
        // From the first one it leads out.
        Action::Left if all.first() != Some(&now) => Some(neighbour(all, now, -1)),
        _ => None,
    }
}

/// Places of the screen, and what a click there does.
pub(super) type Clicks = Vec<(Rect, Action)>;

/// A pane: its state, what keys do to it, and how it is drawn. It keeps nothing of a reading by number beyond
/// [`Pane::on_view`].
pub(super) trait Pane: std::fmt::Debug {
    /// Before a reading with other tables or Services takes the place of the one in `cx`.
    fn before_change(&mut self, _cx: &Context) {}

    /// After a reading. `changed`: tables or Services have other numbers than before.
    fn on_view(&mut self, _cx: &Context, _changed: bool) {}

    /// A key, a click or a command.
    fn on_action(&mut self, _action: Action, _cx: &Context) -> Effect {
        Effect::Ignored
    }

    /// Another pane leads here.
    fn on_request(&mut self, _request: &Request, _cx: &Context) {}

    fn on_monitor(&mut self, _event: MonitorEvent, _cx: &Context) {}

    fn lists(&mut self) -> Lists<'_> {
        Lists::default()
    }

    /// Another row of the upper list was chosen.
    fn on_chosen(&mut self, _cx: &Context) {}

    /// What is searched for here; `None` where there is nothing to search.
    fn search(&self) -> Option<Search> {
        None
    }

    fn set_search(&mut self, _text: String, _cx: &Context) {}

    /// What is read while this pane is on the screen.
    fn subscriptions(&self, _cx: &Context) -> Subscriptions {
        Subscriptions::default()
    }

    /// The chosen line as text that one can use elsewhere.
    fn copied(&self, _cx: &Context) -> Option<String> {
        None
    }

    /// Actions that the bottom of the screen shows here, beside those of every pane.
    fn hints(&self) -> &'static [Action] {
        &[]
    }

    fn draw(&mut self, frame: &mut Frame<'_>, area: Rect, cx: &Context, clicks: &mut Clicks);
}
