//! Lists in columns, out of the table of columns.

use super::put;
use crate::columns::{Column, Rows};
use crate::tui::list::List;
use crate::tui::theme::Theme;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::Paragraph;
use unicode_width::UnicodeWidthStr;

/// Width that a flexible column has at least.
const LEAST: u16 = 10;

/// The most that a trend needs: it moves as a whole each time that a column is full, the seldomer the narrower.
const TREND: u16 = 20;

/// Places of columns in a line: those of a fixed width have it, `flexible` takes what is left, up to `most`, and the
/// last one the rest. Columns that find no room are left out, from the end.
pub(in crate::tui) fn columns_that_fit<R: Rows>(
    columns: &[&'static Column<R>],
    area: Rect,
    flexible: &str,
    most: u16,
) -> Vec<(&'static Column<R>, Rect)> {
    let is_flexible = |c: &Column<R>| c.key == flexible;
    let least = |c: &Column<R>| if c.width == 0 || is_flexible(c) { LEAST.max(c.width) } else { c.width };
    let mut shown: Vec<&'static Column<R>> = Vec::new();
    let mut used = 0;
    for c in columns {
        if used + least(c) > area.width {
            break;
        }
        used += least(c) + 1;
        shown.push(c);
    }
    let mut spare = area.width.saturating_sub(used.saturating_sub(1));
    let mut widths: Vec<u16> = shown.iter().map(|c| least(c)).collect();
    if let Some(at) = shown.iter().position(|c| is_flexible(c)) {
        let more = spare.min(most.saturating_sub(widths[at]));
        widths[at] += more;
        spare -= more;
    }
    // A wide screen gives room to trends, too; what then is left stays blank at the right.
    if let Some(at) = shown.iter().position(|c| c.key == "trend") {
        match shown.iter().position(|c| c.key == "why") {
            // Words say more than a longer trend.
            Some(why) => widths[why] += spare,
            None => widths[at] += spare.min(TREND.saturating_sub(widths[at])),
        }
    } else if let Some(at) = shown.iter().position(|c| is_flexible(c)) {
        widths[at] += spare;
    }
    let mut x = area.x;
    let mut places = Vec::with_capacity(shown.len());
    for (c, width) in shown.into_iter().zip(widths) {
        places.push((c, Rect { x, y: area.y, width, height: 1 }));
        x += width + 1;
    }
    places
}

/// Draws the heads of columns; `sorted` has an arrow.
pub(in crate::tui) fn heads<R: Rows>(
    frame: &mut Frame<'_>,
    theme: Theme,
    places: &[(&'static Column<R>, Rect)],
    sorted: Option<(&str, bool)>,
) {
    for (column, place) in places {
        let (style, arrow) = match sorted {
            Some((key, reversed)) if key == column.key && place.width > 1 => {
                (theme.sorted(), if reversed { "▴" } else { "▾" })
            }
            _ => (theme.head(), ""),
        };
        let text = format!("{}{arrow}", column.head);
        // The mark may take the blank before a head that fills its column.
        let wide = (text.width() as u16).saturating_sub(place.width).min(u16::from(place.x > 0));
        let place = match column.right {
            true => Rect { x: place.x - wide, width: place.width + wide, ..*place },
            false => Rect { width: place.width + wide, ..*place },
        };
        put(frame, place, &text, style, column.right);
    }
}

/// Draws the rows of a list that are on the screen: the chosen one is marked, where the list has the keys more so.
pub(in crate::tui) fn draw_list(
    frame: &mut Frame<'_>,
    theme: Theme,
    list: &List,
    focus: Option<bool>,
    mut row: impl FnMut(&mut Frame<'_>, usize, Rect),
) {
    let above = list.top > 0;
    let below = list.top + list.height < list.len;
    for (i, place) in list.shown() {
        row(frame, i, place);
        if i == list.chosen
            && let Some(focus) = focus
        {
            let style = if focus { theme.selected() } else { theme.selected_elsewhere() };
            let buffer = frame.buffer_mut();
            buffer.set_style(place, style);
            for x in place.left()..place.right() {
                if let Some(cell) = buffer.cell_mut((x, place.y)) {
                    cell.fg = theme.on_chosen(cell.fg);
                }
            }
        }
    }
    // There is more than is on the screen.
    let right = list.area.right().saturating_sub(1);
    for (is_more, y, mark) in [(above, list.area.y, "▲"), (below, list.area.bottom().saturating_sub(1), "▼")]
    {
        if is_more && list.area.height > 0 {
            put(frame, Rect { x: right, y, width: 1, height: 1 }, mark, theme.dim(), false);
        }
    }
}

/// Lines that are read, not chosen: where they do not fit, the keys of a list scroll them.
pub(in crate::tui) fn read_lines(
    frame: &mut Frame<'_>,
    theme: Theme,
    list: &mut List,
    area: Rect,
    lines: &[Line<'_>],
) {
    list.fit_lines(lines.len(), area);
    draw_list(frame, theme, list, None, |frame, i, at| {
        frame.render_widget(Paragraph::new(lines[i].clone()), at);
    });
}
