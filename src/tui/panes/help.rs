//! The help, out of the tables of keys and columns.

use crate::tui::app::App;
use crate::tui::columns::COLUMNS;
use crate::tui::keys::KEYS;
use ratatui::Frame;
use ratatui::layout::{Constraint, Flex, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Clear, Paragraph, Wrap};

pub(super) fn draw(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let theme = app.theme;
    let mut lines: Vec<Line<'_>> = KEYS
        .iter()
        .map(|k| Line::from(vec![Span::styled(format!(" {:>7}  ", k.keys), theme.key()), Span::raw(k.help)]))
        .collect();
    let wide = area.width >= 120;
    let mut meanings = vec![Line::from(Span::styled(" Columns", theme.accent()))];
    meanings.extend(COLUMNS.iter().map(|c| {
        let head = if c.head.is_empty() { "●✗▼○" } else { c.head };
        Line::from(vec![Span::styled(format!(" {head:>8}  "), theme.key()), Span::raw(c.help)])
    }));
    meanings.push(Line::from(""));
    meanings.push(Line::from(vec![
        Span::styled("        -  ", theme.key()),
        Span::raw("not counted in this mode (never shown as 0)"),
    ]));
    meanings.push(Line::from(vec![
        Span::styled("    reset  ", theme.key()),
        Span::raw("kube-proxy rewrote the rule: the counter began again"),
    ]));
    let rows = lines.len().max(meanings.len());
    let (width, height) = if wide { (area.width.min(156), rows as u16 + 2) } else { (78, area.height) };
    if !wide && lines.len() + meanings.len() + 3 <= usize::from(area.height) {
        lines.push(Line::from(""));
        lines.extend(meanings.clone());
    }
    let [popup] =
        Layout::horizontal([Constraint::Length(width.min(area.width))]).flex(Flex::Center).areas(area);
    let [popup] =
        Layout::vertical([Constraint::Length(height.min(area.height))]).flex(Flex::Center).areas(popup);
    frame.render_widget(Clear, popup);
    let block = Block::bordered()
        .border_type(BorderType::Rounded)
        .border_style(theme.frame(true))
        .title(Line::from(Span::styled(" Help ", theme.accent())))
        .title_bottom(Line::from(Span::styled(" any key closes ", theme.dim())).right_aligned());
    let inner = block.inner(popup);
    frame.render_widget(block, popup);
    if wide {
        let [left, right] =
            Layout::horizontal([Constraint::Percentage(47), Constraint::Fill(1)]).areas(inner);
        frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: false }), left);
        frame.render_widget(Paragraph::new(meanings).wrap(Wrap { trim: false }), right);
    } else {
        frame.render_widget(Paragraph::new(lines), inner);
    }
}
