//! An opened Service: where it is reached, its backends, flows, rules, remembered clients, and the path to it.

mod affinity;
pub(super) mod backends;
mod flows;
mod modes;
mod path;
mod picture;
mod rules;

use super::services::{line_of, watched_of};
use super::widgets::section_strip;
use crate::cost::{OnePacket, one_packet};
use crate::explain::{self, Line, LineKind, Sender, frontend_destination};
use crate::format::{clip, count};
use crate::health::HealthState;
use crate::proxy::{Frontend, Mode, Part, Service as ServicePort, endpoint_text, screen_label};
use crate::rates::service_key;
use crate::ruleset::IpFamily;
use crate::snapshot::Followed;
use crate::tui::background::Background;
use crate::tui::keys::Action;
use crate::tui::list::List;
use crate::tui::pane::{Clicks, Context, Effect, Lists, Pane, Subscriptions, section_after};
use crate::tui::reader::Update;
use crate::tui::request::Request;
use crate::tui::section::Section;
use crate::tui::widgets::{chart, part, put};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::widgets::Paragraph;

/// Who sends the packet whose path is shown, to which frontend, and the end whose path is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Asked {
    sender: Sender,
    frontend: usize,
    ending: usize,
}

#[derive(Debug)]
pub(in crate::tui) struct Service {
    /// Which Service it is, whatever its index.
    key: Option<u64>,
    /// Its index in the model: filters do not hide it.
    index: Option<usize>,
    section: Section,
    list: List,
    /// What it is made of, in the section Rules.
    parts: Vec<Part>,
    asked: Asked,
    path: Vec<Line>,
    /// What a packet to it costs in each mode; `None` where it has no address.
    modes: Background<Option<OnePacket>>,
}

impl Service {
    pub(in crate::tui) fn new() -> Service {
        Service {
            key: None,
            index: None,
            section: Section::OF_SERVICE[0],
            list: List::default(),
            parts: Vec::new(),
            asked: Asked { sender: Sender::Pod, frontend: 0, ending: 0 },
            path: Vec::new(),
            modes: Background::default(),
        }
    }

    /// What it is called.
    pub(in crate::tui) fn label(&self, cx: &Context) -> Option<String> {
        self.found(cx).map(|(_, _, s)| screen_label(s))
    }

    /// Whether the Service is still there.
    pub(in crate::tui) fn is_there(&self) -> bool {
        self.index.is_some()
    }

    fn found<'a>(&self, cx: &'a Context) -> Option<(&'a Update, usize, &'a ServicePort)> {
        let (u, i) = cx.update.as_ref().zip(self.index)?;
        Some((u, i, u.model.services.get(i)?))
    }

    fn show(&mut self, section: Section, cx: &Context) {
        self.section = section;
        self.list.go_to_top();
        self.find_parts(cx);
        self.find_path(cx);
    }

    fn find_parts(&mut self, cx: &Context) {
        self.parts = match (self.section, self.found(cx)) {
            (Section::Rules, Some((u, _, s))) => crate::proxy::parts(&u.snapshot, s),
            _ => Vec::new(),
        };
    }

    /// Follows the packet that is asked for, where its path is on the screen.
    fn find_path(&mut self, cx: &Context) {
        self.path.clear();
        let Some((u, i, s)) = self.found(cx).filter(|_| self.section == Section::Path) else { return };
        let frontend = self.asked.frontend.min(s.frontends.len().saturating_sub(1));
        let note = |text: String| Line {
            kind: LineKind::Note,
            place: String::new(),
            text,
            figure: String::new(),
            rule: None,
            ending: None,
        };
        self.path = match frontend_destination(&u.snapshot, &u.model, i, frontend) {
            None => vec![note(
                "There is no address to ask: the Service has none, or the node's own were not read.".into(),
            )],
            Some(to) => match explain::explain(&u.snapshot, &u.model, &to, self.asked.sender, None) {
                Ok(answer) => answer.lines(&u.snapshot, &u.model, self.asked.ending),
                Err(why) => vec![note(why)],
            },
        };
    }

    /// Shows the path; where it is shown already, that of the next sender.
    fn explain(&mut self, cx: &Context) {
        if self.section != Section::Path {
            self.asked.ending = 0;
            return self.show(Section::Path, cx);
        }
        self.asked.sender = match self.asked.sender {
            Sender::Pod => Sender::Outside,
            Sender::Outside => Sender::Node,
            _ => Sender::Pod,
        };
        self.asked.ending = 0;
        self.list.go_to_top();
        self.find_path(cx);
    }

    fn next_frontend(&mut self, cx: &Context) -> Effect {
        if self.section != Section::Path {
            return Effect::Ignored;
        }
        let count = self.found(cx).map_or(1, |(_, _, s)| s.frontends.len());
        self.asked.frontend = (self.asked.frontend + 1) % count.max(1);
        self.asked.ending = 0;
        self.list.go_to_top();
        self.find_path(cx);
        Effect::Nothing
    }

    fn enter(&mut self, cx: &Context) -> Effect {
        let back = Request::SameService(self.section, self.list.chosen);
        match self.section {
            Section::Path => {
                let Some(line) = self.path.get(self.list.chosen) else { return Effect::Nothing };
                match (line.rule, line.ending) {
                    (Some(rule), _) => Effect::Jump { back, to: Request::Rule(rule) },
                    (None, Some(end)) => {
                        self.asked.ending = end;
                        self.find_path(cx);
                        Effect::Nothing
                    }
                    (None, None) => {
                        Effect::Notice("Enter on an end shows its path, on a rule goes there".into())
                    }
                }
            }
            Section::Rules => {
                // On the name of a chain: to its first rule.
                let rule = self.parts.iter().skip(self.list.chosen).find_map(|p| match p {
                    Part::Rule(r) => Some(*r),
                    _ => None,
                });
                match rule {
                    Some(rule) => Effect::Jump { back, to: Request::Rule(rule) },
                    None => Effect::Notice("there is no rule to go to".into()),
                }
            }
            Section::Picture | Section::Backends => self.enter_backend(cx, back),
            _ => Effect::Nothing,
        }
    }

    /// To the rule that takes what goes to the chosen backend; where nothing does, the path to it.
    fn enter_backend(&mut self, cx: &Context, back: Request) -> Effect {
        let Some((u, i, s)) = self.found(cx) else { return Effect::Nothing };
        let Some(b) = s.backends.get(self.list.chosen) else { return Effect::Nothing };
        let health = u.health.get(i);
        if let Some(rule) = health.and_then(|h| h.lost_backend(self.list.chosen)?.rule) {
            return Effect::Jump { back, to: Request::Rule(rule) };
        }
        let to = endpoint_text(b.address, b.port);
        self.show(Section::Path, cx);
        let ends_there = |l: &&Line| l.ending.is_some() && l.text.contains(&to);
        if let Some(end) = self.path.iter().find(ends_there).and_then(|l| l.ending) {
            self.asked.ending = end;
            self.find_path(cx);
        }
        Effect::Nothing
    }
}

impl Pane for Service {
    fn on_view(&mut self, cx: &Context, changed: bool) {
        let Some(u) = &cx.update else { return };
        self.index = self.key.and_then(|key| u.model.services.iter().position(|s| service_key(s) == key));
        if changed {
            self.find_parts(cx);
            self.modes.outdate();
        }
        self.find_path(cx);
    }

    fn on_action(&mut self, action: Action, cx: &Context) -> Effect {
        if let Some(section) = section_after(&Section::OF_SERVICE, self.section, action) {
            self.show(section, cx);
            return Effect::Nothing;
        }
        match action {
            Action::Enter => self.enter(cx),
            Action::Explain => {
                self.explain(cx);
                Effect::Nothing
            }
            Action::NextFrontend => self.next_frontend(cx),
            Action::Back => Effect::Close,
            _ => Effect::Ignored,
        }
    }

    fn on_request(&mut self, request: &Request, cx: &Context) {
        let (index, section, line) = match *request {
            Request::Service(i, section) => {
                (self.asked.frontend, self.asked.ending) = (0, 0);
                (Some(i), section, 0)
            }
            Request::Frontend(i, sender, frontend) => {
                self.asked = Asked { sender, frontend, ending: 0 };
                (Some(i), Section::OF_SERVICE[0], 0)
            }
            Request::Backend(i, backend) => (Some(i), Section::Backends, backend),
            Request::Path(i, sender, frontend) => {
                self.asked = Asked { sender, frontend, ending: 0 };
                (Some(i), Section::Path, 0)
            }
            Request::SameService(section, line) => (self.index, section, line),
            _ => return,
        };
        self.index = index;
        let key = self.found(cx).map(|(_, _, s)| service_key(s));
        if key != self.key {
            self.modes = Background::default();
        }
        self.key = key;
        self.show(section, cx);
        self.list.chosen = line;
    }

    fn lists(&mut self) -> Lists<'_> {
        Lists::one(&mut self.list)
    }

    fn subscriptions(&self, cx: &Context) -> Subscriptions {
        let mut wanted = Subscriptions::default();
        let Some((u, _, s)) = self.found(cx) else { return wanted };
        watched_of(s, &mut wanted.rules);
        let looked = &mut wanted.looked_at;
        match self.section {
            Section::Rules => {
                let shown = self.list.shown().filter_map(|(i, _)| self.parts.get(i));
                wanted.rules.extend(shown.filter_map(|p| match p {
                    Part::Rule(r) => Some(*r),
                    _ => None,
                }));
            }
            Section::Flows | Section::Picture => {
                let of = |f: &Frontend| -> Followed { (s.protocol.number(), f.address, f.port) };
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
        wanted
    }

    fn copied(&self, cx: &Context) -> Option<String> {
        let (u, _, s) = self.found(cx)?;
        match self.section {
            Section::Rules => Some(match self.parts.get(self.list.chosen)? {
                Part::Rule(r) => {
                    let table = &u.snapshot.tables.get(r.table)?.table;
                    table.rule_text(table.rule(r.rule)).to_string()
                }
                Part::Text(t) | Part::Place(t) => t.clone(),
            }),
            Section::Path => {
                // A command by itself is its line; elsewhere all of them are wanted.
                let plain = |l: &'_ Line| l.text.trim_start_matches("$ ").to_string();
                let all: Vec<String> =
                    self.path.iter().filter(|l| l.kind == LineKind::Command).map(plain).collect();
                let chosen = self.path.get(self.list.chosen)?;
                Some(match chosen.kind == LineKind::Command || chosen.rule.is_some() || all.is_empty() {
                    true => plain(chosen),
                    false => all.join("\n"),
                })
            }
            Section::Backends | Section::Picture => {
                let b = s.backends.get(self.list.chosen)?;
                Some(endpoint_text(b.address, b.port))
            }
            _ => Some(line_of(s)),
        }
    }

    fn hints(&self) -> &'static [Action] {
        &[Action::NextSection, Action::Enter]
    }

    fn draw(&mut self, frame: &mut Frame<'_>, area: Rect, cx: &Context, clicks: &mut Clicks) {
        let theme = cx.theme;
        let Some((update, i, service)) = self.found(cx) else { return };
        let title = format!(
            "{}{} {} · {} · {}",
            // How to go back is said at any width.
            if area.width >= 100 { cx.trail.as_str() } else { "" },
            clip(&screen_label(service), usize::from(area.width / 2)),
            service.protocol.name(),
            service.engine.mode().name(),
            update.health.get(i).map_or(HealthState::Unknown, |h| h.state).words()
        );
        let inner = part(frame, theme, area, &title, "Esc goes back", true);
        let lines = backends::frontends(theme, service, update.health.get(i), inner.width);
        let chart_height = match inner.height {
            // A path is read from its begin to its end; the picture has where it is reached itself.
            _ if matches!(self.section, Section::Path | Section::Modes) || service.backends.is_empty() => 0,
            // Nothing counts what it would show.
            _ if service.engine.mode().keeps_no_rules() => 0,
            height if self.section == Section::Picture => {
                let spare = height.saturating_sub(lines.len() as u16 + 1 + picture::needed_height(update, i));
                if spare < 5 { 0 } else { spare.min(12) }
            }
            0..16 => 0,
            16..26 => 5,
            _ => 9,
        };
        let [places, plot, strip, list] = Layout::vertical([
            Constraint::Length(lines.len() as u16),
            Constraint::Length(chart_height),
            Constraint::Length(1),
            Constraint::Min(2),
        ])
        .areas(inner);
        frame.render_widget(Paragraph::new(lines), places);
        if plot.height > 0 {
            let words = match service.engine.mode() {
                Mode::Nftables if update.snapshot.new_flows().is_none() => {
                    "flows that conntrack held, over the session"
                }
                _ => "new flows a second, over the session",
            };
            put(frame, Rect { x: plot.x + 1, height: 1, ..plot }, words, theme.dim(), false);
            let below = Rect { y: plot.y + 1, height: plot.height - 1, ..plot };
            let lost = update.losses.of(service_key(service));
            chart(frame, theme, below, &update.history.session(i), lost, &update.end_words());
        }
        let label = |s: Section| match s {
            Section::Backends => {
                let known = service.backend_count().map_or("-".into(), |n| n.to_string());
                format!(" Backends {known} ")
            }
            Section::Flows => {
                format!(" Flows {} ", update.model.figures(i).held().map_or("-".into(), count))
            }
            other => format!(" {} ", other.title()),
        };
        section_strip(frame, theme, strip, &Section::OF_SERVICE, self.section, &label, clicks);
        match self.section {
            Section::Picture => picture::draw(frame, list, cx, (update, i), &mut self.list),
            Section::Flows => flows::draw(frame, list, cx, update, service, &mut self.list),
            Section::Rules => rules::draw(frame, list, cx, update, service, &self.parts, &mut self.list),
            Section::Path => {
                let to = service.frontends.get(self.asked.frontend);
                path::draw(
                    frame,
                    list,
                    cx,
                    (update, service),
                    (self.asked.sender, to),
                    &self.path,
                    &mut self.list,
                );
            }
            Section::Modes => {
                let found =
                    self.modes.get(&update.view, move |v| one_packet(&v.snapshot, &v.model, i, &v.prices));
                modes::draw(frame, list, cx, update, found.as_deref(), &mut self.list);
            }
            Section::Clients => affinity::draw(frame, list, cx, update, service, &mut self.list),
            _ => backends::draw(frame, list, cx, (update, i), &mut self.list, Some(true)),
        }
    }
}
