//! How the parts of a pane share its place.

use ratatui::layout::{Constraint, Layout, Rect};

/// The upper part of a pane has the most; the lower one no more than it needs, and a third at least.
pub(super) fn halves(body: Rect, needed: u16) -> [Rect; 2] {
    let most = body.height * if body.height < 16 { 45 } else { 40 } / 100;
    let least = (body.height / 3).max(5);
    let lower = needed.clamp(least, most.max(least));
    Layout::vertical([Constraint::Min(4), Constraint::Length(lower)]).areas(body)
}
