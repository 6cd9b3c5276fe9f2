//! The help, out of the tables of keys and columns.

use crate::tui::app::App;
use crate::tui::columns::COLUMNS;
use crate::tui::keys::KEYS;
use crate::tui::theme::Theme;
use ratatui::Frame;
use ratatui::layout::{Constraint, Flex, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Clear, Paragraph};

fn keys(theme: Theme) -> Vec<Line<'static>> {
    let mut lines: Vec<(String, &'static str)> = Vec::new();
    for k in KEYS {
        match lines.last_mut() {
            Some(last) if k.help.is_empty() => last.0 = format!("{} {}", last.0, k.keys),
            _ => lines.push((k.keys.to_string(), k.help)),
        }
    }
    let line =
        |(keys, help)| Line::from(vec![Span::styled(format!(" {keys:>12}  "), theme.key()), Span::raw(help)]);
    lines.into_iter().map(line).collect()
}

fn columns(theme: Theme) -> Vec<Line<'static>> {
    let line = |head: &str, help: &'static str| {
        Line::from(vec![Span::styled(format!(" {head:>9}  "), theme.key()), Span::raw(help)])
    };
    let mut lines = vec![Line::from(Span::styled(" What the columns mean", theme.accent()))];
    lines.extend(COLUMNS.iter().map(|c| line(if c.head.is_empty() { "●✗▼○" } else { c.head }, c.help)));
    lines.push(line("EXPECT", "part of new flows that a backend should get, by the rules"));
    lines.push(line("REAL", "part that it got, since kube-proxy wrote its rule"));
    lines.push(line("-", "not counted in this mode (never shown as 0)"));
    lines.push(line("reset", "kube-proxy rewrote the rule: its counter began again"));
    lines.push(line("…", "one reading so far: a rate needs two"));
    lines
}

pub(super) fn draw(frame: &mut Frame<'_>, app: &mut App, area: Rect) {
    let theme = app.theme;
    let (left, right) = (keys(theme), columns(theme));
    let wide = area.width >= 150;
    let (width, height) = if wide {
        (154, left.len().max(right.len()) as u16 + 2)
    } else {
        (78.min(area.width), (left.len() + right.len() + 3) as u16)
    };
    let [popup] = Layout::horizontal([Constraint::Length(width)]).flex(Flex::Center).areas(area);
    let [popup] =
        Layout::vertical([Constraint::Length(height.min(area.height))]).flex(Flex::Center).areas(popup);
    frame.render_widget(Clear, popup);
    let per_page = usize::from(popup.height.saturating_sub(2)).max(1);
    // On a low screen the help has pages.
    let mut all = left.clone();
    all.push(Line::from(""));
    all.extend(right.clone());
    app.help_pages = if wide { 1 } else { all.len().div_ceil(per_page) };
    let page = app.help.unwrap_or(0).min(app.help_pages - 1);
    let bottom = if app.help_pages > 1 {
        format!(" page {} of {} · ? next · any other key closes ", page + 1, app.help_pages)
    } else {
        " any key closes ".into()
    };
    let block = Block::bordered()
        .border_type(BorderType::Rounded)
        .border_style(theme.frame(true))
        .title(Line::from(Span::styled(" Help ", theme.accent())))
        .title_bottom(Line::from(Span::styled(bottom, theme.dim())).right_aligned());
    let inner = block.inner(popup);
    frame.render_widget(block, popup);
    if wide {
        let [a, b] = Layout::horizontal([Constraint::Length(72), Constraint::Fill(1)]).areas(inner);
        frame.render_widget(Paragraph::new(left), a);
        frame.render_widget(Paragraph::new(right), b);
    } else {
        let shown: Vec<Line<'_>> = all.into_iter().skip(page * per_page).take(per_page).collect();
        frame.render_widget(Paragraph::new(shown), inner);
    }
}
