//! What changed since kptop or the recording began, the newest above.

use crate::changes::{About, Change, What};
use crate::format::{clip, clip_end, duration, plural, time_of_day, wrapped};
use crate::rates::service_key;
use crate::tui::keys::Action;
use crate::tui::list::List;
use crate::tui::pane::{Clicks, Context, Effect, Lists, Pane, Search};
use crate::tui::reader::Update;
use crate::tui::request::Request;
use crate::tui::section::Section;
use crate::tui::text_filter::TextFilter;
use crate::tui::theme::Theme;
use crate::tui::widgets::{draw_list, part, put};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;
use std::time::Duration;

fn style(theme: Theme, c: &Change) -> Style {
    match (c.what, c.mark()) {
        (What::Reading, _) => theme.warn(),
        (_, '-') => theme.bad(),
        (_, '+') => theme.good(),
        _ => theme.text(),
    }
}

/// How long ago, for people.
fn ago(now: jiff::Timestamp, at: jiff::Timestamp) -> String {
    let passed = Duration::try_from(now.duration_since(at)).unwrap_or_default();
    match passed.as_secs() {
        s @ ..60 => format!("{s} s"),
        s => duration(Duration::from_secs(s)),
    }
}

#[derive(Debug, Default)]
pub(in crate::tui) struct Changes {
    list: List,
    filter: TextFilter,
}

impl Changes {
    /// Those that pass the search, the newest first.
    fn rows<'a>(&self, u: &'a Update) -> Vec<&'a Change> {
        let line = |c: &Change| format!("{} {} {}", c.what.name(), c.subject, by(c));
        u.changes.all().rev().filter(|c| self.filter.passes(|| line(c))).collect()
    }

    fn chosen<'a>(&self, u: &'a Update) -> Option<&'a Change> {
        self.rows(u).get(self.list.chosen).copied()
    }
}

/// The Service that a change is about, where it is still there.
fn changed_service(u: &Update, change: &Change) -> Option<usize> {
    let About::Service(key) = change.about else { return None };
    u.model.services.iter().position(|s| service_key(s) == key)
}

/// The table that a change is about, where it is still there.
fn changed_table(u: &Update, change: &Change) -> Option<usize> {
    let About::Table(backend, family, name) = &change.about else { return None };
    u.snapshot.tables.iter().position(|t| (t.backend, t.family, &t.table.name) == (*backend, *family, name))
}

/// What changed, and by whom where that is known.
fn by(c: &Change) -> String {
    match &c.by {
        Some(by) => format!("{}  by {by}", c.text()),
        None => c.text(),
    }
}

impl Pane for Changes {
    fn on_action(&mut self, action: Action, cx: &Context) -> Effect {
        if action == Action::Back && self.filter.clear() {
            return Effect::Nothing;
        }
        let Some(u) = cx.update.as_ref().filter(|_| action == Action::Enter) else { return Effect::Ignored };
        let Some(change) = self.chosen(u) else { return Effect::Nothing };
        if let Some(i) = changed_service(u, change) {
            Effect::Go(Request::Service(i, Section::Backends))
        } else if let Some(i) = changed_table(u, change) {
            Effect::Go(Request::Table(i))
        } else {
            Effect::Notice("this is about nothing that is there now".into())
        }
    }

    fn lists(&mut self) -> Lists<'_> {
        Lists::one(&mut self.list)
    }

    fn search(&self) -> Option<Search> {
        Some(self.filter.search(self.list.len))
    }

    fn set_search(&mut self, text: String, _cx: &Context) {
        self.filter.set(text);
        self.list.go_to_top();
    }

    fn copied(&self, cx: &Context) -> Option<String> {
        let c = self.chosen(cx.update.as_ref()?)?;
        let (before, now) = (c.before.as_deref().unwrap_or("-"), c.now.as_deref().unwrap_or("-"));
        Some(format!("{} {}: {before} -> {now}", c.seen_at, c.subject))
    }

    fn hints(&self) -> &'static [Action] {
        &[Action::Enter]
    }

    fn draw(&mut self, frame: &mut Frame<'_>, area: Rect, cx: &Context, _clicks: &mut Clicks) {
        let theme = cx.theme;
        let Some(u) = &cx.update else {
            part(frame, theme, area, "Changes", "", true);
            return;
        };
        let changes = self.rows(u);
        let lower = (area.height / 4).clamp(4, 8);
        let [upper, lower] = Layout::vertical([Constraint::Min(4), Constraint::Length(lower)]).areas(area);
        let note = match u.changes.all().len() as u64 {
            n if n < u.changes.seen() => format!("the last {n} of {}", u.changes.seen()),
            _ => cx.beginning().into(),
        };
        let title = format!("Changes {}{}", changes.len(), self.filter.note());
        let inner = part(frame, theme, upper, &title, &note, true);
        self.list
            .fit(changes.len(), Rect { y: inner.y + 1, height: inner.height.saturating_sub(1), ..inner });
        let Some(chosen) = changes.get(self.list.chosen) else {
            let text = match u.changes.all().len() {
                0 => format!(
                    " Nothing changed {}: no Service, frontend, backend, rule, mode, sysctl or limit.",
                    cx.beginning()
                ),
                n => format!(" None of {} passes the search. Esc clears it.", plural(n as u64, "change")),
            };
            let lines: Vec<Line<'_>> = wrapped(&text, usize::from(inner.width.saturating_sub(2)))
                .into_iter()
                .map(|l| Line::styled(format!(" {l}"), theme.dim()))
                .collect();
            frame.render_widget(Paragraph::new(lines), inner);
            part(frame, theme, lower, "Before and now", "", false);
            return;
        };
        let width = usize::from(inner.width);
        // On a narrow screen how long ago says when; the time of day is in the part below.
        let seen = if width < 80 { 0 } else { 9 };
        let subject = (width * 9 / 20).clamp(20, 64).min(width.saturating_sub(seen + 38)).max(18);
        let time = |text: &str| format!("{text:<seen$}").chars().take(seen).collect::<String>();
        let head = format!(
            " {}{:>7}    {:<9} {:<subject$} {}",
            time("SEEN"),
            "AGO",
            "WHAT",
            "WHICH",
            "BEFORE -> NOW"
        );
        put(frame, Rect { height: 1, ..inner }, &clip_end(&head, width), theme.head(), false);
        draw_list(frame, theme, &self.list, Some(true), |frame, i, at| {
            let c = changes[i];
            let left =
                format!(" {}{:>7}  ", time(&time_of_day(c.seen_at)), ago(u.snapshot.taken_at, c.seen_at));
            let line = Line::from(vec![
                Span::styled(left, theme.dim()),
                Span::styled(format!("{} {:<9} ", c.mark(), c.what.name()), style(theme, c)),
                Span::styled(format!("{:<subject$} ", clip(&c.subject, subject)), theme.text()),
                Span::styled(clip_end(&by(c), width.saturating_sub(subject + seen + 23)), theme.dim()),
            ]);
            frame.render_widget(Paragraph::new(line), at);
        });
        let title = clip_end(&chosen.subject, width.saturating_sub(30));
        let note = match () {
            () if changed_service(u, chosen).is_some() => "Enter goes to the Service",
            () if changed_table(u, chosen).is_some() => "Enter goes to the table",
            () => "",
        };
        let inner = part(frame, theme, lower, &title, note, false);
        let mut lines = Vec::new();
        let room = width.saturating_sub(12);
        for (name, text) in [("before", &chosen.before), ("now", &chosen.now)] {
            let text = text.as_deref().unwrap_or(if name == "before" { "not there" } else { "gone" });
            for (i, l) in wrapped(text, room).into_iter().enumerate() {
                let name = if i == 0 { name } else { "" };
                lines.push(Line::from(vec![Span::styled(format!(" {name:<8} "), theme.dim()), Span::raw(l)]));
            }
        }
        if let Some(by) = &chosen.by {
            lines.push(Line::from(vec![Span::styled(" by       ", theme.dim()), Span::raw(by.clone())]));
        }
        if let Some(at) = chosen.changed_before {
            let passed = ago(chosen.seen_at, at);
            lines.push(Line::styled(format!(" it changed {passed} before, too"), theme.dim()));
        }
        frame.render_widget(Paragraph::new(lines), inner);
    }
}
