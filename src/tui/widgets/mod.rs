//! Small pieces of a screen.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use unicode_width::UnicodeWidthStr;

mod figures;
mod spark;

pub(super) use figures::{bytes, clip, clip_end, count, rate_text, share_text};
pub(super) use spark::{bar, sparkline};

/// Puts a cell into its place, kept to the left or to the right, never beyond it.
pub(super) fn put(frame: &mut Frame<'_>, place: Rect, text: &str, style: Style, right: bool) {
    let pad = usize::from(place.width).saturating_sub(text.width()) as u16;
    let x = place.x + if right { pad } else { 0 };
    frame.buffer_mut().set_stringn(x, place.y, text, usize::from(place.width), style);
}
