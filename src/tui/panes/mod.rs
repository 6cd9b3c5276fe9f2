//! One file a pane, and how they share the screen.

mod backends;
mod frame;
mod help;
mod services;
mod tables;

use super::app::{App, Pane};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;
use ratatui::widgets::Paragraph;

/// The smallest screen on which something sensible fits.
const SMALLEST: (u16, u16) = (60, 15);

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, app: &mut App) {
    let area = frame.area();
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        too_small(frame, area);
        return;
    }
    let [top, body, bottom] =
        Layout::vertical([Constraint::Length(3), Constraint::Min(8), Constraint::Length(1)]).areas(area);
    frame::header(frame, app, top);
    let share = if area.height < 20 { 55 } else { 60 };
    let [upper, lower] = Layout::vertical([Constraint::Percentage(share), Constraint::Min(5)]).areas(body);
    app.heads.clear();
    match app.pane {
        Pane::Services => {
            services::draw(frame, app, upper);
            backends::draw(frame, app, lower);
        }
        Pane::Tables => {
            tables::draw(frame, app, upper);
            tables::draw_rules(frame, app, lower);
        }
    }
    frame::footer(frame, app, bottom);
    if app.help.is_some() {
        help::draw(frame, app, area);
    }
}

fn too_small(frame: &mut Frame<'_>, area: Rect) {
    let lines = vec![
        Line::from(format!("This terminal is too small: {}x{}.", area.width, area.height)),
        Line::from(format!("kptop needs {}x{}; it goes on when", SMALLEST.0, SMALLEST.1)),
        Line::from("the window grows. q leaves."),
    ];
    frame.render_widget(Paragraph::new(lines), area);
}
