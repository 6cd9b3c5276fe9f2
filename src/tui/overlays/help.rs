//! The help, out of the tables of keys and columns.

use super::outcome::Outcome;
use super::popup::popup;
use crate::columns::{BACKENDS, SERVICES, filter_help};
use crate::format::wrapped;
use crate::tui::keys::{Action, KEYS};
use crate::tui::theme::Theme;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;
use unicode_width::UnicodeWidthStr;

/// A word with its meaning, on as many lines as that needs.
fn entry(theme: Theme, word: &str, meaning: &str, column: usize, width: usize) -> Vec<Line<'static>> {
    // A long list of keys moves its meaning to the right.
    let room = width.saturating_sub(column.max(word.width()) + 4).max(16);
    let head = |i: usize| if i == 0 { format!(" {word:>column$}  ") } else { " ".repeat(column + 3) };
    let line =
        |(i, text): (usize, String)| Line::from(vec![Span::styled(head(i), theme.key()), Span::raw(text)]);
    wrapped(meaning, room).into_iter().enumerate().map(line).collect()
}

fn title(theme: Theme, text: &'static str) -> Line<'static> {
    Line::from(Span::styled(format!(" {text}"), theme.accent()))
}

/// What a key does: its action, its names, and its help.
type Meaning = (Action, String, &'static str);

/// The keys of the pane one is in, and all others.
fn keys(theme: Theme, of_pane: &[Action], width: usize) -> Vec<Line<'static>> {
    let mut all: Vec<Meaning> = Vec::new();
    for k in KEYS {
        match all.last_mut() {
            Some(last) if k.help.is_empty() => last.1 = format!("{} {}", last.1, k.keys),
            _ => all.push((k.action, k.keys.to_string(), k.help)),
        }
    }
    let (here, rest): (Vec<&Meaning>, Vec<&Meaning>) = all.iter().partition(|m| of_pane.contains(&m.0));
    let mut lines = Vec::new();
    for (name, keys) in [("In this pane", here), ("Everywhere", rest)] {
        if !keys.is_empty() {
            lines.push(title(theme, name));
            lines.extend(keys.iter().flat_map(|(_, keys, help)| entry(theme, keys, help, 12, width)));
        }
    }
    lines.extend(entry(
        theme,
        "mouse",
        "click chooses, again opens; heads sort, tabs and sections show; the wheel moves",
        12,
        width,
    ));
    lines
}

fn columns(theme: Theme, width: usize) -> Vec<Line<'static>> {
    let mut lines = vec![title(theme, "Columns of Services (names in filters)")];
    lines.extend(SERVICES.iter().flat_map(|c| entry(theme, c.key, &c.meaning(), 13, width)));
    lines.push(title(theme, "Columns of backends"));
    lines.extend(BACKENDS.iter().flat_map(|c| {
        let head = if c.head.is_empty() { "▇▇│" } else { c.head };
        entry(theme, head, &c.meaning(), 13, width)
    }));
    lines.push(title(theme, "In the place of a figure"));
    for (word, meaning) in [
        ("-", "not counted in this mode (never shown as 0)"),
        ("reset", "kube-proxy rewrote the rule: its counter began again"),
        ("…", "one reading so far: a rate needs two"),
        ("acct off", "nf_conntrack_acct = 0: conntrack counts no packets and bytes"),
        ("ended", "flows ended, and took with them what they had counted"),
    ] {
        lines.extend(entry(theme, word, meaning, 13, width));
    }
    lines.push(title(theme, "Filters"));
    lines.extend(entry(theme, "/", &filter_help(), 13, width));
    lines
}

/// The help, which scrolls.
#[derive(Debug)]
pub(in crate::tui) struct Help {
    /// What keys of the pane do that it was opened in.
    of_pane: &'static [Action],
    /// The first line that is shown.
    top: usize,
    /// Lines that there are, and that fit; known when it was drawn.
    lines: usize,
    height: usize,
}

impl Help {
    pub(in crate::tui) fn new(of_pane: &'static [Action]) -> Help {
        Help { of_pane, top: 0, lines: 0, height: 0 }
    }

    pub(super) fn scroll(&mut self, by: isize) -> Outcome {
        let last = self.lines.saturating_sub(self.height);
        self.top = self.top.saturating_add_signed(by).min(last);
        Outcome::Stay
    }

    pub(super) fn on_key(&mut self, action: Option<Action>) -> Outcome {
        let page = self.height.max(2) as isize - 1;
        match action {
            Some(Action::Down) => self.scroll(1),
            Some(Action::Up) => self.scroll(-1),
            // The key that opened it reads on, and closes it at its end.
            Some(Action::Help) if self.top + self.height >= self.lines => Outcome::Close,
            Some(Action::PageDown | Action::Pause | Action::Help) => self.scroll(page),
            Some(Action::PageUp) => self.scroll(-page),
            Some(Action::First) => self.scroll(isize::MIN / 2),
            Some(Action::Last) => self.scroll(isize::MAX / 2),
            _ => Outcome::Close,
        }
    }

    pub(super) fn draw(&mut self, frame: &mut Frame<'_>, theme: Theme, area: Rect) {
        let wide = area.width >= 150;
        let outer = if wide { 156 } else { 90 };
        let inner_width = usize::from(outer.min(area.width.saturating_sub(2)).saturating_sub(2));
        // On a wide screen keys are beside columns; on a narrow one columns are below them.
        let (left, right) = match wide {
            true => (keys(theme, self.of_pane, 74), columns(theme, inner_width - 76)),
            false => {
                let mut all = keys(theme, self.of_pane, inner_width);
                all.push(Line::from(""));
                all.extend(columns(theme, inner_width));
                (all, Vec::new())
            }
        };
        self.lines = left.len().max(right.len());
        self.height = usize::from(area.height.saturating_sub(4)).max(1).min(self.lines);
        self.scroll(0);
        let bottom = match self.lines > self.height {
            false => "any key closes".to_string(),
            true => format!(
                "{}-{} of {} · j k PgDn scroll · Esc closes",
                self.top + 1,
                self.top + self.height,
                self.lines
            ),
        };
        let inner = popup(frame, theme, area, outer, self.height as u16 + 2, "Help", &bottom);
        let shown = |lines: Vec<Line<'static>>| -> Vec<Line<'static>> {
            lines.into_iter().skip(self.top).take(self.height).collect()
        };
        if wide {
            let [a, b] = Layout::horizontal([Constraint::Length(76), Constraint::Fill(1)]).areas(inner);
            frame.render_widget(Paragraph::new(shown(left)), a);
            frame.render_widget(Paragraph::new(shown(right)), b);
        } else {
            frame.render_widget(Paragraph::new(shown(left)), inner);
        }
    }
}
