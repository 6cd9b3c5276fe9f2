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

fn keys(theme: Theme, width: usize) -> Vec<Line<'static>> {
    let mut all: Vec<(String, &'static str)> = Vec::new();
    for k in KEYS {
        match all.last_mut() {
            Some(last) if k.help.is_empty() => last.0 = format!("{} {}", last.0, k.keys),
            _ => all.push((k.keys.to_string(), k.help)),
        }
    }
    let mut lines = vec![title(theme, "Keys")];
    lines.extend(all.iter().flat_map(|(keys, help)| entry(theme, keys, help, 12, width)));
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

/// The help, at a page.
#[derive(Debug)]
pub(in crate::tui) struct Help {
    page: usize,
    /// Pages that there are; known when it was drawn.
    pages: usize,
}

impl Help {
    pub(in crate::tui) fn new() -> Help {
        Help { page: 0, pages: 1 }
    }

    pub(super) fn on_key(&mut self, action: Option<Action>) -> Outcome {
        if action != Some(Action::Help) || self.page + 1 >= self.pages {
            return Outcome::Close;
        }
        self.page += 1;
        Outcome::Stay
    }

    pub(super) fn draw(&mut self, frame: &mut Frame<'_>, theme: Theme, area: Rect) {
        let wide = area.width >= 150;
        let outer = if wide { 156 } else { 90 };
        let inner_width = usize::from(outer.min(area.width.saturating_sub(2)).saturating_sub(2));
        let per_page = usize::from(area.height.saturating_sub(4)).max(1);
        // On a wide screen keys are beside columns; on a narrow one behind each other, on pages.
        let (left, right) = match wide {
            true => (keys(theme, 74), columns(theme, inner_width - 76)),
            false => {
                let mut all = keys(theme, inner_width);
                all.push(Line::from(""));
                all.extend(columns(theme, inner_width));
                (all, Vec::new())
            }
        };
        let longest = left.len().max(right.len());
        self.pages = longest.div_ceil(per_page).max(1);
        let page = self.page.min(self.pages - 1);
        let bottom = match self.pages {
            1 => "any key closes".to_string(),
            n => format!("page {} of {n} · ? next · any other key closes", page + 1),
        };
        let inner = popup(frame, theme, area, outer, longest.min(per_page) as u16 + 2, "Help", &bottom);
        let shown = |lines: Vec<Line<'static>>| -> Vec<Line<'static>> {
            lines.into_iter().skip(page * per_page).take(per_page).collect()
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
