//! One frame: header, the pane, footer, and what lies over them.

use super::app::App;
use super::frame::{footer, header};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;
use ratatui::widgets::Paragraph;

/// The smallest screen on which something sensible fits.
const SMALLEST: (u16, u16) = (60, 15);

/// Lines from which on the last minutes have one of them.
const ROOMY: u16 = 36;

/// Draws one frame.
pub fn draw(frame: &mut Frame<'_>, app: &mut App) {
    let area = frame.area();
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        too_small(frame, area);
        return;
    }
    // Time has a line of its own in the past, and where there is room.
    let in_past = app.cx.moment().is_some_and(|m| m.count > 1);
    let strip = u16::from(app.cx.update.is_some() && (in_past || area.height >= ROOMY));
    let [top, body, time, bottom] = Layout::vertical([
        Constraint::Length(3),
        Constraint::Min(8),
        Constraint::Length(strip),
        Constraint::Length(1),
    ])
    .areas(area);
    app.clicks.clear();
    header(frame, app, top);
    app.find_trail();
    let (pane, cx, clicks) = app.pane_mut();
    pane.draw(frame, body, cx, clicks);
    let theme = app.cx.theme;
    if let (1, Some(u)) = (strip, &app.cx.update) {
        app.strip.draw(frame, theme, time, u, &mut app.clicks);
    }
    footer(frame, app, bottom);
    if let Some(overlay) = &mut app.overlay {
        overlay.draw(frame, theme, area);
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
