//! One file a pane, and how they share the screen.

mod changes;
mod compare;
mod conntrack;
mod detail;
mod drops;
mod findings;
mod flows;
mod frame;
mod overview;
mod path;
mod rules;
mod services;
mod tables;

use super::app::App;
use super::overlays;
use crate::config::PaneName;
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
    app.clicks.clear();
    app.heads.clear();
    frame::header(frame, app, top);
    match app.pane {
        PaneName::Overview => overview::draw(frame, app, body),
        PaneName::Services if app.opened.is_some() => detail::draw(frame, app, body),
        PaneName::Services => {
            let [upper, lower] = halves(body, app.chosen_service().map_or(0, detail::needed_height));
            services::draw(frame, app, upper);
            detail::draw_short(frame, app, lower);
        }
        PaneName::Rules => {
            let [upper, lower] = halves(body, u16::MAX);
            tables::draw(frame, app, upper);
            rules::draw(frame, app, lower);
        }
        PaneName::Compare => compare::draw(frame, app, body),
        PaneName::Conntrack => conntrack::draw(frame, app, body),
        PaneName::Findings => findings::draw(frame, app, body),
        PaneName::Changes => changes::draw(frame, app, body),
        PaneName::Drops => drops::draw(frame, app, body),
    }
    frame::footer(frame, app, bottom);
    overlays::draw(frame, app, area);
}

/// The upper part of a pane has the most; the lower one no more than it needs, and a third at least.
fn halves(body: Rect, needed: u16) -> [Rect; 2] {
    let most = body.height * if body.height < 16 { 45 } else { 40 } / 100;
    let least = (body.height / 3).max(5);
    let lower = needed.clamp(least, most.max(least));
    Layout::vertical([Constraint::Min(4), Constraint::Length(lower)]).areas(body)
}

fn too_small(frame: &mut Frame<'_>, area: Rect) {
    let lines = vec![
        Line::from(format!("This terminal is too small: {}x{}.", area.width, area.height)),
        Line::from(format!("kptop needs {}x{}; it goes on when", SMALLEST.0, SMALLEST.1)),
        Line::from("the window grows. q leaves."),
    ];
    frame.render_widget(Paragraph::new(lines), area);
}
