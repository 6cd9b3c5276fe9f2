//! A box over the panes.

use crate::tui::theme::Theme;
use ratatui::Frame;
use ratatui::layout::{Constraint, Flex, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Clear};

/// A box in the middle of the screen; returns what is inside.
pub(super) fn popup(
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
