//! What lies over the panes: help, commands by name, the choice of columns.

mod help;

use super::app::{App, Overlay, matching};
use super::theme::Theme;
use super::widgets::{draw_list, put};
use crate::columns::SERVICES;
use crate::format::clip_end;
use ratatui::Frame;
use ratatui::layout::{Constraint, Flex, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Clear};
use unicode_width::UnicodeWidthStr;

/// Draws the overlay that is shown, if any.
pub(super) fn draw(frame: &mut Frame<'_>, app: &mut App, area: Rect) {
    match app.overlay.take() {
        Some(Overlay::Help(page)) => {
            help::draw(frame, app, area, page);
            app.overlay = Some(Overlay::Help(page));
        }
        Some(Overlay::Palette { typed, mut list }) => {
            let found = matching(&typed);
            let inner = popup(
                frame,
                app.theme,
                area,
                96,
                found.len() as u16 + 3,
                "Commands",
                "Enter runs · Esc closes",
            );
            let theme = app.theme;
            put(frame, Rect { height: 1, ..inner }, &format!(" : {typed}█"), theme.accent(), false);
            let rows = Rect { y: inner.y + 1, height: inner.height.saturating_sub(1), ..inner };
            list.fit(found.len(), rows);
            draw_list(frame, theme, &list, Some(true), |frame, i, place| {
                let (name, keys) = found[i].words();
                let room = usize::from(place.width).saturating_sub(keys.width() + 4);
                put(frame, place, &format!(" {}", clip_end(&name, room)), theme.text(), false);
                let at = Rect { width: place.width.saturating_sub(1), ..place };
                put(frame, at, keys, theme.key(), true);
            });
            if found.is_empty() {
                put(frame, rows, " no such command", theme.dim(), false);
            }
            app.overlay = Some(Overlay::Palette { typed, list });
        }
        Some(Overlay::Columns { all, mut list }) => {
            let theme = app.theme;
            let keys = "space shows or hides · J K move · d default · Esc closes";
            let inner = popup(frame, theme, area, 100, all.len() as u16 + 2, "Columns of Services", keys);
            list.fit(all.len(), inner);
            draw_list(frame, theme, &list, Some(true), |frame, i, place| {
                let (column, shown) = all[i];
                let c = &SERVICES[column];
                let mark = if shown { "[x]" } else { "[ ]" };
                let text = format!(" {mark} {:<13} {}", c.key, c.meaning());
                let style = if shown { theme.text() } else { theme.dim() };
                put(frame, place, &clip_end(&text, usize::from(place.width)), style, false);
            });
            app.overlay = Some(Overlay::Columns { all, list });
        }
        None => {}
    }
}

/// A box in the middle of the screen; returns what is inside.
fn popup(
    frame: &mut Frame<'_>,
    theme: Theme,
    area: Rect,
    width: u16,
    height: u16,
    title: &str,
    bottom: &str,
) -> Rect {
    let [place] = Layout::horizontal([Constraint::Length(width.min(area.width.saturating_sub(2)))])
        .flex(Flex::Center)
        .areas(area);
    let [place] = Layout::vertical([Constraint::Length(height.min(area.height.saturating_sub(2)))])
        .flex(Flex::Center)
        .areas(place);
    // A letter of what lies below beside the frame looks like one of its own.
    let around = Rect { x: place.x.saturating_sub(1), width: place.width + 2, ..place }.intersection(area);
    frame.render_widget(Clear, around);
    let block = Block::bordered()
        .border_type(BorderType::Rounded)
        .border_style(theme.frame(true))
        .title(Line::from(Span::styled(format!(" {title} "), theme.accent())))
        .title_bottom(Line::from(Span::styled(format!(" {bottom} "), theme.dim())).right_aligned());
    let inner = block.inner(place);
    frame.render_widget(block, place);
    inner
}
