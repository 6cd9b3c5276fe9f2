//! How the parts of a pane share its place.

use ratatui::layout::{Constraint, Layout, Rect};

/// The upper part of a pane has the most; the lower one no more than it needs, and a third at least where the upper one leaves it:
/// no row is hidden above lines that stay blank.
pub(super) fn halves(body: Rect, upper_needs: u16, needed: u16) -> [Rect; 2] {
    let most = body.height * if body.height < 16 { 45 } else { 40 } / 100;
    let third = (body.height / 3).max(5);
    let least = third.min(body.height.saturating_sub(upper_needs)).max(needed.min(third)).max(3);
    let lower = needed.clamp(least, most.max(least));
    Layout::vertical([Constraint::Min(4), Constraint::Length(lower)]).areas(body)
}
