//! Text in its place, and parts of a pane.

use crate::tui::theme::Theme;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders};
use unicode_width::UnicodeWidthStr;

/// Puts a cell into its place, kept to the left or to the right, never beyond it.
pub(in crate::tui) fn put(frame: &mut Frame<'_>, place: Rect, text: &str, style: Style, right: bool) {
    let pad = usize::from(place.width).saturating_sub(text.width()) as u16;
    let x = place.x + if right { pad } else { 0 };
    frame.buffer_mut().set_stringn(x, place.y, text, usize::from(place.width), style);
}

/// Columns that spans take.
pub(in crate::tui) fn width(spans: &[Span<'_>]) -> usize {
    spans.iter().map(|s| s.content.width()).sum()
}

/// A part of a pane: a line above it with its title, and a note at the right where there is room. Returns what is
/// inside.
pub(in crate::tui) fn part(
    frame: &mut Frame<'_>,
    theme: Theme,
    area: Rect,
    title: &str,
    note: &str,
    focus: bool,
) -> Rect {
    let block = Block::new()
        .borders(Borders::TOP)
        .border_style(theme.frame(focus))
        .title(Line::from(Span::styled(format!(" {title} "), theme.accent())));
    let room = usize::from(area.width).saturating_sub(title.width() + 6);
    let block = if note.is_empty() || room < 16 {
        block
    } else {
        let note = crate::format::clip_end(note, room);
        block.title(Line::from(Span::styled(format!(" {note} "), theme.dim())).right_aligned())
    };
    let inner = block.inner(area);
    frame.render_widget(block, area);
    inner
}
