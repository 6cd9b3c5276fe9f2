//! Packets that die: by reason, place and Service while the drop monitor is on, the last ones live, and what counters
//! report since the screen began.

use crate::drops::{Counted, Drops, Role, counted, packet_text, service_of};
use crate::explain::Sender;
use crate::format::{clip, clip_end, count, duration, wrapped};
use crate::rates::NodeRates;
use crate::snapshot::Snapshot;
use crate::snapshot::facts::DroppedPacket;
use crate::tui::keys::Action;
use crate::tui::list::List;
use crate::tui::pane::{Clicks, Context, Effect, Lists, MonitorEvent, Pane};
use crate::tui::request::Request;
use crate::tui::widgets::{draw_list, part, put, read_lines};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;
use std::sync::Arc;

/// The drop monitor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum DropMonitorState {
    #[default]
    Off,
    On,
    /// It could not be switched on.
    Failed(String),
}

#[derive(Debug, Default)]
pub(in crate::tui) struct DropsPane {
    list: List,
    /// Lines of what counters report.
    below: List,
    lower: bool,
    state: DropMonitorState,
    drops: Drops,
    counted: Vec<Counted>,
    first: Option<(Arc<Snapshot>, Arc<NodeRates>)>,
}

impl DropsPane {
    /// Switches the drop monitor on or off.
    fn switch(&mut self, cx: &Context) -> Effect {
        if cx.moment().is_some_and(|m| !m.live) {
            return Effect::Notice("packets die on a live node: this is a recording, or files".into());
        }
        let on = self.state != DropMonitorState::On;
        if on {
            self.drops = Drops::default();
        } else {
            self.state = DropMonitorState::Off;
        }
        Effect::Monitor(on)
    }

    /// Leads to the path of a packet like the chosen ones.
    fn explain(&self, cx: &Context) -> Effect {
        match self.drops.groups().get(self.list.chosen) {
            Some((_, tally)) => explain_packet(&tally.example, cx),
            None => Effect::Notice("w switches the drop monitor on and off".into()),
        }
    }
}

fn explain_packet(d: &DroppedPacket, cx: &Context) -> Effect {
    let Some(u) = &cx.update else { return Effect::Nothing };
    let services = &u.model.services;
    let found = d.packet.as_ref().and_then(|h| Some((h, service_of(h, &u.snapshot, services)?)));
    let Some((h, (i, role))) = found else {
        let text = "this packet is of no Service: kptop explain ADDRESS:PORT shows its path";
        return Effect::Notice(text.into());
    };
    // An answer goes back the path that its question came.
    let sender = if role == Role::Answer { h.destination } else { h.source };
    let frontend = services[i].frontends.iter().position(|f| {
        role == Role::ToService
            && h.ports.is_some_and(|p| p.1 == f.port)
            && f.address.is_none_or(|a| a == h.destination)
    });
    Effect::Go(Request::Path(i, Sender::Address(sender), frontend.unwrap_or(0)))
}

impl Pane for DropsPane {
    fn on_view(&mut self, cx: &Context, _changed: bool) {
        let Some(u) = &cx.update else { return };
        let (snapshot, node) = self.first.get_or_insert_with(|| (u.snapshot.clone(), u.node.clone())).clone();
        self.counted = counted((&snapshot, &node), (&u.snapshot, &u.node));
    }

    fn on_action(&mut self, action: Action, cx: &Context) -> Effect {
        match action {
            Action::Monitor => self.switch(cx),
            Action::Focus if self.below.is_cut() => {
                self.lower = true;
                Effect::Nothing
            }
            Action::Back | Action::Left if self.lower => {
                self.lower = false;
                self.below.go_to_top();
                Effect::Nothing
            }
            Action::Enter | Action::Explain => self.explain(cx),
            _ => Effect::Ignored,
        }
    }

    fn on_monitor(&mut self, event: MonitorEvent, cx: &Context) {
        match (event, &cx.update) {
            (MonitorEvent::Switched(Ok(())), _) => self.state = DropMonitorState::On,
            (MonitorEvent::Switched(Err(why)), _) => self.state = DropMonitorState::Failed(why),
            (MonitorEvent::Dropped(batch), Some(u)) => {
                // The chosen line stays chosen while others overtake it.
                let chosen = self.drops.groups().get(self.list.chosen).map(|(g, _)| (*g).clone());
                self.drops.add(batch, &u.snapshot, &u.model.services);
                let now = chosen.and_then(|c| self.drops.groups().iter().position(|(g, _)| **g == c));
                self.list.chosen = now.unwrap_or(self.list.chosen);
            }
            (MonitorEvent::Dropped(_), None) => {}
        }
    }

    fn lists(&mut self) -> Lists<'_> {
        Lists { upper: Some(&mut self.list), lower: Some(&mut self.below), in_lower: Some(&mut self.lower) }
    }

    fn hints(&self) -> &'static [Action] {
        &[Action::Enter, Action::Monitor]
    }

    fn draw(&mut self, frame: &mut Frame<'_>, area: Rect, cx: &Context, _clicks: &mut Clicks) {
        let lines = self.counter_lines(cx, usize::from(area.width));
        // Without packets above they have all the room that the words there leave.
        let most = match self.drops.groups().is_empty() {
            true => area.height.saturating_sub(self.words(usize::from(area.width)).len() as u16 + 1),
            false => area.height / 3,
        };
        let counters = (lines.len() as u16 + 2).clamp(4, most.max(4));
        let [upper, lower] = Layout::vertical([Constraint::Min(5), Constraint::Length(counters)]).areas(area);
        if self.state == DropMonitorState::On && upper.height >= 14 {
            let [groups, live] =
                Layout::vertical([Constraint::Percentage(60), Constraint::Percentage(40)]).areas(upper);
            self.draw_groups(frame, cx, groups);
            self.draw_live(frame, cx, live);
        } else {
            self.draw_groups(frame, cx, upper);
        }
        self.draw_counters(frame, cx, lower, &lines);
    }
}

impl DropsPane {
    /// What is said where no packet was dropped.
    fn words(&self, width: usize) -> Vec<String> {
        let text = match &self.state {
            DropMonitorState::On => "No packet was dropped so far.".to_string(),
            DropMonitorState::Off => "The kernel's drop monitor is off. w switches it on: every packet that dies on this machine is \
                             then reported with the kernel's reason, until w is pressed again or kptop ends. It costs \
                             something for each packet that is dropped, and nothing for others."
                .to_string(),
            DropMonitorState::Failed(why) => format!("{why}. What counters report is below."),
        };
        wrapped(&text, width.saturating_sub(2))
    }

    fn draw_groups(&mut self, frame: &mut Frame<'_>, cx: &Context, area: Rect) {
        let theme = cx.theme;
        let drops = &self.drops;
        let title = match self.state {
            DropMonitorState::On => {
                format!("Dropped packets {} in {}", count(drops.total), duration(drops.span))
            }
            _ => "Dropped packets".to_string(),
        };
        let mut notes = Vec::new();
        if self.state == DropMonitorState::On {
            notes.push(
                if drops.shared { "monitor on, by another program" } else { "monitor on: w off" }.to_string(),
            );
            if drops.lost > 0 {
                notes.push(format!("{} not reported", count(drops.lost)));
            }
            if drops.freed > 0 {
                notes.push(format!("{} freed, no losses", count(drops.freed)));
            }
        }
        let inner = part(frame, theme, area, &title, &notes.join(", "), true);
        let groups = drops.groups();
        if groups.is_empty() {
            self.list.fit(0, inner);
            let lines = self.words(usize::from(inner.width));
            let style =
                if matches!(self.state, DropMonitorState::Failed(_)) { theme.warn() } else { theme.dim() };
            let lines: Vec<Line<'_>> =
                lines.into_iter().map(|l| Line::styled(format!(" {l}"), style)).collect();
            frame.render_widget(Paragraph::new(lines), inner);
            return;
        }
        let width = usize::from(inner.width);
        let (reason, place) = (18, if width >= 110 { 20 } else { 0 });
        let owner = (width / 3).clamp(18, 44);
        let mut head = format!(" {:>8}  {:<reason$} ", "PACKETS", "REASON");
        if place > 0 {
            head.push_str(&format!("{:<place$} ", "IN"));
        }
        head.push_str(&format!("{:<owner$} {}", "SERVICE", "LIKE THIS (Enter explains)"));
        put(frame, Rect { height: 1, ..inner }, &head, theme.head(), false);
        let list = Rect { y: inner.y + 1, height: inner.height.saturating_sub(1), ..inner };
        let rows: Vec<(String, bool)> = groups
            .iter()
            .map(|(g, t)| {
                let whose = g.owner.as_ref().map_or("-".into(), |(n, role)| format!("{n}, {}", role.words()));
                let mut text = format!(" {:>8}  {:<reason$} ", count(t.packets), clip(&g.reason, reason));
                if place > 0 {
                    text.push_str(&format!("{:<place$} ", clip(&g.place, place)));
                }
                text.push_str(&format!("{:<owner$} {}", clip(&whose, owner), packet_text(&t.example)));
                (text, g.owner.is_some())
            })
            .collect();
        self.list.fit(rows.len(), list);
        draw_list(frame, theme, &self.list, Some(true), |frame, i, at| {
            let (text, of_service) = &rows[i];
            let style = if *of_service { theme.text() } else { theme.dim() };
            put(frame, at, &clip_end(text, usize::from(at.width)), style, false);
        });
    }

    fn draw_live(&self, frame: &mut Frame<'_>, cx: &Context, area: Rect) {
        let theme = cx.theme;
        let inner = part(frame, theme, area, "The last ones", "newest above", false);
        let recent = self.drops.recent.iter().rev().take(usize::from(inner.height));
        for (i, s) in recent.enumerate() {
            let owner =
                s.owner.as_ref().map_or(String::new(), |(n, role)| format!("  {n}, {}", role.words()));
            let reason = s.dropped.reason.as_deref().unwrap_or("?");
            let text = format!(
                " {:>8}  {:<18} {}{owner}",
                duration(s.at),
                clip(reason, 18),
                packet_text(&s.dropped)
            );
            let at = Rect { y: inner.y + i as u16, height: 1, ..inner };
            let style = if s.owner.is_some() { theme.warn() } else { theme.dim() };
            put(frame, at, &clip_end(&text, usize::from(inner.width)), style, false);
        }
    }

    /// What counters report; names that are long go on in the next line.
    fn counter_lines(&self, cx: &Context, width: usize) -> Vec<Line<'static>> {
        const FIGURES: usize = 26;
        let theme = cx.theme;
        if self.counted.is_empty() {
            let of_maps = |u: &crate::tui::reader::Update| {
                u.model.services.iter().all(|s| s.engine.mode().keeps_no_rules())
                    && !u.model.services.is_empty()
            };
            let text = match cx.update.as_ref().is_some_and(of_maps) {
                true => {
                    "refusals and drops of these Services are not counted where kptop reads; other counters are at 0"
                }
                false => "no counter has counted a lost packet",
            };
            let lines = wrapped(text, width.saturating_sub(2));
            return lines.into_iter().map(|l| Line::styled(format!(" {l}"), theme.dim())).collect();
        }
        let line = |c: &Counted| {
            let style = if c.by > 0 { theme.warn() } else { theme.dim() };
            let figures = format!(" {:>10} {:>12}  ", count(c.by), count(c.total));
            let name = wrapped(&c.name, width.saturating_sub(FIGURES + 2));
            let all = name.into_iter().enumerate();
            all.map(|(i, part)| {
                let figures = if i == 0 { figures.clone() } else { " ".repeat(FIGURES) };
                Line::from(vec![Span::styled(figures, style), Span::styled(part, style)])
            })
            .collect::<Vec<_>>()
        };
        self.counted.iter().flat_map(line).collect()
    }

    fn draw_counters(&mut self, frame: &mut Frame<'_>, cx: &Context, area: Rect, lines: &[Line<'_>]) {
        let theme = cx.theme;
        let cut = lines.len() + 2 > usize::from(area.height);
        let note = format!("{}{}, and in all", if cut { "→ scrolls · " } else { "" }, cx.beginning());
        let inner = part(frame, theme, area, "What counters report", &note, self.lower);
        let head = format!(" {:>10} {:>12}  COUNTER", "SINCE", "IN ALL");
        put(frame, Rect { height: 1, ..inner }, &head, theme.head(), false);
        let rest = Rect { y: inner.y + 1, height: inner.height.saturating_sub(1), ..inner };
        read_lines(frame, theme, &mut self.below, rest, lines);
    }
}
