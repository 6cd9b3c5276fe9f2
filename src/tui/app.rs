//! State of the screen: which pane is shown, and what is asked of the reader. Nothing here reads or draws.

mod input;
mod navigate;
mod time;

use super::overlays::Overlay;
use super::pane::{Clicks, Context, MonitorEvent, Pane, Search, Subscriptions};
use super::panes::{self, Service};
use super::reader::{ReaderCommand, Update};
use super::request::Request;
use super::strip::Strip;
use super::theme::Theme;
use crate::config::{Config, PaneName};
use crate::rates::RuleRates;
use crate::snapshot::DropBatch;
use std::collections::HashSet;
use std::time::Duration;

/// What the loop should do after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppEvent {
    /// Leave.
    Quit,
    /// Draw a frame.
    Draw,
    /// Draw every cell again.
    Redraw,
    /// Stop until the shell continues the job, and draw everything then.
    Stop,
    /// Nothing changed.
    Nothing,
}

/// What is on the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Pane(PaneName),
    /// The opened Service, which belongs to the pane Services.
    Service,
}

/// The whole state.
#[derive(Debug)]
pub struct App {
    pub(super) cx: Context,
    pub(super) interval: Duration,
    pub(super) overlay: Option<Overlay>,
    pub(super) paused: bool,
    /// A time to go to, as it is typed.
    pub(super) going_to: Option<String>,
    /// A line for the user, until the next key.
    pub(super) message: Option<String>,
    pub(super) clicks: Clicks,
    place: Place,
    /// In the order of [`PaneName::ALL`].
    panes: Vec<Box<dyn Pane>>,
    service: Service,
    /// The Service was open when another pane was gone to: the way around the panes leads back to it.
    kept_open: bool,
    /// The pane from whose list a Service, rule or table was opened: Esc goes back there.
    came_from: Option<PaneName>,
    /// Where jumps were followed from.
    jumps: Vec<Request>,
    /// How fast a recording plays.
    speed: f64,
    commands: Vec<ReaderCommand>,
    /// The drop monitor should be on or off.
    monitor: Option<bool>,
    subscribed: Subscriptions,
    clipboard: Option<String>,
    /// A place that is opened once Services are known.
    opens: Option<String>,
    /// The first line of help was shown.
    greeted: bool,
    /// The first minute's line, as long as it is the one that is shown.
    greeting: Option<String>,
    pub(super) strip: Strip,
}

impl App {
    /// A screen that has seen nothing yet.
    pub fn new(theme: Theme, interval: Duration, config: &Config) -> App {
        let cx = Context {
            theme,
            update: None,
            rule_rates: RuleRates::default(),
            owners: Vec::new(),
            searching: false,
            trail: String::new(),
        };
        App {
            cx,
            interval,
            overlay: None,
            paused: false,
            going_to: None,
            message: None,
            clicks: Vec::new(),
            place: Place::Pane(config.pane.unwrap_or(PaneName::Services)),
            panes: PaneName::ALL.iter().map(|&name| panes::make(name, &config.services)).collect(),
            service: Service::new(),
            kept_open: false,
            came_from: None,
            jumps: Vec::new(),
            speed: 1.0,
            commands: Vec::new(),
            monitor: None,
            subscribed: Subscriptions::default(),
            clipboard: None,
            opens: None,
            greeted: false,
            greeting: None,
            strip: Strip::default(),
        }
    }

    /// Opens a place once Services are known: one by name, an address, a port.
    pub fn open(&mut self, place: Option<String>) {
        self.opens = place;
    }

    /// The first minute: what is wrong and where that is explained, or where the keys are. The next key takes it away; until then
    /// it says what is so now.
    fn greet(&mut self) {
        if self.greeting.is_some() && self.message == self.greeting {
            self.greeting = self.cx.update.as_ref().and_then(greeting);
            self.message.clone_from(&self.greeting);
            return;
        }
        let Some(u) = self.cx.update.as_ref().filter(|u| !u.model.services.is_empty()) else { return };
        if u.snapshot.outline || std::mem::replace(&mut self.greeted, true) {
            return;
        }
        // What could not be read is said in this place, and is never hidden.
        if self.message.is_some() || u.moment.is_some() || u.snapshot.failed().next().is_some() {
            return;
        }
        self.greeting = greeting(u);
        self.message.clone_from(&self.greeting);
    }

    /// The first reading with Services is there.
    fn open_place(&mut self) {
        let Some(u) = self.cx.update.as_ref().filter(|u| !u.model.services.is_empty()) else { return };
        let Some(place) = self.opens.take() else { return };
        match super::places::matching(&u.view, &place).into_iter().next() {
            Some(target) => self.go(&target.request),
            None => self.message = Some(format!("there is no `{place}` here: all Services are below")),
        }
    }

    /// The pane whose tab is lit.
    pub(super) fn tab(&self) -> PaneName {
        match self.place {
            Place::Pane(name) => name,
            Place::Service => PaneName::Services,
        }
    }

    /// Where Esc and Backspace lead back to, in words, before what is shown.
    pub(super) fn find_trail(&mut self) {
        let opened =
            || Some(format!("{} › {} › ", PaneName::Services.title(), self.service.label(&self.cx)?));
        self.cx.trail = match self.place {
            Place::Service => format!("{} › ", self.came_from.unwrap_or(PaneName::Services).title()),
            Place::Pane(PaneName::Rules) => match (self.jumps.last(), self.came_from) {
                (Some(Request::SameService(..)), _) => opened().unwrap_or_default(),
                (_, Some(from)) => format!("{} › ", from.title()),
                _ => String::new(),
            },
            Place::Pane(_) => String::new(),
        };
    }

    fn pane_of(&mut self, name: PaneName) -> (&mut dyn Pane, &Context) {
        (&mut *self.panes[name as usize], &self.cx)
    }

    /// The pane on the screen.
    pub(super) fn pane(&self) -> &dyn Pane {
        match self.place {
            Place::Pane(name) => &*self.panes[name as usize],
            Place::Service => &self.service,
        }
    }

    /// The pane on the screen, what it sees, and where clicks are kept.
    pub(super) fn pane_mut(&mut self) -> (&mut dyn Pane, &Context, &mut Clicks) {
        let pane: &mut dyn Pane = match self.place {
            Place::Pane(name) => &mut *self.panes[name as usize],
            Place::Service => &mut self.service,
        };
        (pane, &self.cx, &mut self.clicks)
    }

    /// What is searched for on the screen.
    pub(super) fn search(&self) -> Option<Search> {
        self.pane().search()
    }

    /// Asks the reader for what is on the screen, where it is something else than before: rules whose counters are
    /// read one by one, and what is read for an opened Service alone. To be called when a frame was drawn.
    pub fn subscribe(&mut self) {
        let mut wanted = self.pane().subscriptions(&self.cx);
        wanted.rules.truncate(super::pane::MOST_WATCHED);
        if wanted.rules != self.subscribed.rules {
            self.commands.push(ReaderCommand::Watch(wanted.rules.clone()));
        }
        if wanted.looked_at != self.subscribed.looked_at {
            self.commands.push(ReaderCommand::LookAt(wanted.looked_at.clone()));
        }
        self.subscribed = wanted;
    }

    /// What the reader should do, since the last call.
    pub fn take_commands(&mut self) -> Vec<ReaderCommand> {
        std::mem::take(&mut self.commands)
    }

    /// Whether the drop monitor should be switched on or off, since the last call.
    pub fn take_monitor(&mut self) -> Option<bool> {
        self.monitor.take()
    }

    /// What the terminal should put into the clipboard.
    pub fn take_clipboard(&mut self) -> Option<String> {
        self.clipboard.take()
    }

    /// Takes a reading.
    pub fn on_update(&mut self, update: Update) {
        if update.notice.is_some() {
            self.message.clone_from(&update.notice);
        }
        let was = self.cx.update.as_ref().map(|u| u.moment.is_some());
        let jumped = update.moment.as_ref().is_some_and(|m| m.jumped) || was == Some(update.moment.is_none());
        if was == Some(true) && update.moment.is_none() {
            // What was asked for in the past was not for what is now.
            self.subscribed = Subscriptions::default();
        }
        let rates = &mut self.cx.rule_rates;
        if jumped {
            *rates = RuleRates::default();
            if let Some(before) = &update.before {
                rates.update(&before.tables);
            }
        }
        rates.update(&update.snapshot.tables);
        let changed = update.changed || jumped || self.cx.update.is_none();
        if changed {
            for pane in &mut self.panes {
                pane.before_change(&self.cx);
            }
            // Rules have other numbers now.
            self.jumps.clear();
            self.cx.owners = update.snapshot.tables.iter().map(|t| crate::proxy::owners(&t.table)).collect();
        }
        if let Some(Overlay::Palette(palette)) = &mut self.overlay {
            palette.look_at(&update.view);
        }
        self.strip.on_update(&update);
        self.cx.update = Some(update);
        for pane in &mut self.panes {
            pane.on_view(&self.cx, changed);
        }
        if self.place == Place::Service {
            self.service.on_view(&self.cx, changed);
            if !self.service.is_there() {
                self.close();
                self.message = Some("the Service that was open is gone".into());
            }
        }
        self.open_place();
        self.greet();
    }

    /// Whether the drop monitor could be switched on.
    pub fn monitor_is(&mut self, result: Result<(), String>) {
        self.on_monitor(MonitorEvent::Switched(result));
    }

    /// Takes dropped packets.
    pub fn on_drops(&mut self, batch: DropBatch) {
        self.on_monitor(MonitorEvent::Dropped(batch));
    }

    fn on_monitor(&mut self, event: MonitorEvent) {
        let (pane, cx) = self.pane_of(PaneName::Drops);
        pane.on_monitor(event, cx);
    }

    fn copy(&mut self) {
        match self.pane().copied(&self.cx) {
            Some(line) => {
                let first = line.lines().next().unwrap_or_default();
                self.message = Some(match line.lines().count() {
                    0 | 1 => format!("copied: {first}"),
                    n => format!("copied {n} lines: {first}"),
                });
                self.clipboard = Some(line);
            }
            None => self.message = Some("there is no line to copy".into()),
        }
    }
}

/// The first minute's line; `None` where no Service is left to speak of.
fn greeting(u: &Update) -> Option<String> {
    if u.model.services.is_empty() {
        return None;
    }
    // As `kubectl get services` counts them.
    let bad = u.rows().filter(|r| r.health.state.is_bad()).map(|r| match &r.service.name {
        Some(n) => format!("{}/{}", n.namespace, n.name),
        None => r.service.label(),
    });
    Some(match bad.collect::<HashSet<_>>().len() as u64 {
        0 => "? has the keys · : goes to a Service, an address, a port".into(),
        n => format!(
            "{} {} new flows: ! lists them · ? has the keys · : goes to a Service",
            crate::format::plural(n, "Service"),
            if n == 1 { "loses or refuses" } else { "lose or refuse" }
        ),
    })
}
