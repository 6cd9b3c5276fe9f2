//! The list of Services.

use crate::proxy::{Health, Mode};
use crate::rates::Tracker;
use crate::tui::app::App;
use crate::tui::columns::{self, COLUMNS, Column, Id, Row};
use crate::tui::theme::Theme;
use crate::tui::widgets::{clip_end, put};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Paragraph, Wrap};

/// The columns that fit, with their places.
fn layout(area: Rect, packets: bool) -> Vec<(&'static Column, Rect)> {
    let shown: Vec<&Column> = COLUMNS
        .iter()
        .filter(|c| c.from <= area.width && (packets || !columns::needs_packet_counts(c.id)))
        .collect();
    let fixed: u16 = shown.iter().map(|c| c.width + 1).sum();
    let name = area.width.saturating_sub(fixed).max(10);
    // A very wide screen gives room to addresses and trends too.
    let (mut name, spare) = if name > 56 { (56, name - 56) } else { (name, 0) };
    let trend = spare.min(60);
    name += spare - trend;
    let mut x = area.x;
    shown
        .into_iter()
        .map(|c| {
            let width = match c.id {
                Id::Name => name,
                Id::Trend => c.width + trend,
                _ => c.width,
            };
            let place = Rect { x, y: area.y, width, height: 1 };
            x += width + 1;
            (c, place)
        })
        .collect()
}

fn style_of(theme: Theme, id: Id, row: &Row<'_>) -> Style {
    let health = row.service.health();
    let state = match health {
        Health::Fine => theme.good(),
        Health::Rejecting => theme.bad(),
        Health::Dropping => theme.warn(),
        Health::Leftover => theme.dim(),
    };
    let moving = |rate: Option<f64>| match rate {
        Some(r) if r > 0.0 => theme.text(),
        _ => theme.dim(),
    };
    match id {
        Id::State => state,
        Id::Name if health != Health::Fine => state,
        Id::Protocol | Id::Mode | Id::Frontend => theme.dim(),
        Id::Flows => moving(row.rates.and_then(|r| r.flows.ok())),
        Id::Packets => moving(row.rates.and_then(|r| r.packets.ok())),
        Id::Bytes => moving(row.rates.and_then(|r| r.bytes.ok())),
        Id::Refused => match row.rates.and_then(|r| r.refused.ok()) {
            Some(r) if r > 0.0 => theme.bad(),
            _ => theme.dim(),
        },
        Id::Backends if row.service.backends.is_empty() && row.service.mode != Mode::Userspace => theme.bad(),
        Id::Trend => theme.busy(),
        _ => theme.text(),
    }
}

pub(super) fn draw(frame: &mut Frame<'_>, app: &mut App, area: Rect) {
    let theme = app.theme;
    let focus = !app.lower;
    let total = app.update.as_ref().map_or(0, |u| u.model.services.len());
    let title = if app.rows.len() == total {
        format!(" Services {total} ")
    } else {
        format!(" Services {} of {total} ", app.rows.len())
    };
    let sorted = COLUMNS.iter().find(|c| c.id == app.sort);
    let help = sorted.map_or("", |c| c.help);
    let help = clip_end(help, usize::from(area.width.saturating_sub(28)));
    let block = Block::new()
        .borders(Borders::TOP)
        .border_style(theme.frame(focus))
        .title(Line::from(Span::styled(title, theme.accent())))
        .title(Line::from(Span::styled(format!(" {help} "), theme.dim())).right_aligned());
    let inner = block.inner(area);
    frame.render_widget(block, area);
    if inner.height < 2 {
        return;
    }
    let place = Rect { x: inner.x + 1, width: inner.width.saturating_sub(2), ..inner };
    let columns = layout(place, app.counts_packets());
    for (column, place) in &columns {
        let is_sorted = column.id == app.sort;
        let arrow = match (is_sorted, app.reversed, place.width) {
            (false, ..) | (_, _, ..=1) => "",
            (true, false, _) => "▾",
            (true, true, _) => "▴",
        };
        let style = if is_sorted { theme.sorted() } else { theme.head() };
        put(frame, *place, &format!("{}{arrow}", column.head), style, column.right);
        app.heads.push((*place, column.id));
    }
    let list_area = Rect { y: inner.y + 1, height: inner.height - 1, ..inner };
    app.services.fit(app.rows.len(), list_area);
    let Some(update) = app.update.clone() else {
        frame.render_widget(Paragraph::new(" Reading the kernel …").style(theme.dim()), list_area);
        return;
    };
    if app.rows.is_empty() {
        let text = Paragraph::new(nothing(app)).style(theme.dim()).wrap(Wrap { trim: false });
        frame.render_widget(text, list_area);
        return;
    }
    let tracker = update.tracker.lock().ok();
    for (line, i) in app.rows.iter().skip(app.services.top).take(app.services.height).enumerate() {
        let Some(row) = App::row(&update, *i) else { continue };
        let y = list_area.y + line as u16;
        let chosen = app.services.top + line == app.services.chosen;
        if chosen {
            let style = if focus { theme.selected() } else { theme.selected_elsewhere() };
            frame.buffer_mut().set_style(Rect { y, height: 1, ..list_area }, style);
        }
        draw_row(frame, theme, &row, &columns, y, tracker.as_deref());
    }
}

fn draw_row(
    frame: &mut Frame<'_>,
    theme: Theme,
    row: &Row<'_>,
    columns: &[(&'static Column, Rect)],
    y: u16,
    tracker: Option<&Tracker>,
) {
    let history = || tracker.map(|t| t.history(row.service)).unwrap_or_default();
    for (column, place) in columns {
        let text = columns::text(column.id, row, &history, usize::from(place.width));
        let place = Rect { y, ..*place };
        put(frame, place, &text, style_of(theme, column.id, row), column.right);
    }
}

/// Why the list is empty.
fn nothing(app: &App) -> Vec<Line<'static>> {
    let Some(update) = &app.update else { return Vec::new() };
    if !update.model.services.is_empty() {
        return vec![Line::from(" No Service passes the filters. Esc clears them.")];
    }
    let text = match update.snapshot.rules_read() {
        true => " No Services of kube-proxy found in iptables, nftables or IPVS.",
        false => " Services could not be looked for: what holds them could not be read.",
    };
    let mut lines = vec![Line::from(text), Line::from("")];
    for u in &update.snapshot.unread {
        lines.push(Line::from(format!(" {}: {}", u.what, u.why)));
        if let Some(hint) = u.hint.as_ref().filter(|h| !u.why.contains(h.as_str())) {
            lines.push(Line::from(format!("   -> {hint}")));
        }
    }
    lines
}
