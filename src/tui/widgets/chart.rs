//! A figure over the session, with axes.

use super::put;
use crate::format::{duration, short};
use crate::rates::Session;
use crate::tui::theme::Theme;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::symbols;
use ratatui::widgets::{RenderDirection, Sparkline};

/// Width of the figures at the left.
const AXIS: u16 = 6;

/// Draws a session: the highest value and 0 at the left, time below, which ends at `end`: `now`, or a time. On less than three
/// lines, nothing.
pub(in crate::tui) fn chart(frame: &mut Frame<'_>, theme: Theme, area: Rect, session: &Session, end: &str) {
    if area.height < 3 || area.width < 24 {
        return;
    }
    let plot = Rect { x: area.x + AXIS + 1, width: area.width - AXIS - 2, height: area.height - 1, ..area };
    let points = session.points();
    let width = usize::from(plot.width);
    // Fewer columns than points: the highest of those that share a column; more: each point is on several.
    let shown = width.min(points.len().max(1) * width.div_ceil(points.len().max(1)));
    let value = |column: usize| -> Option<f32> {
        let n = points.len();
        let from = column * n / shown;
        let to = ((column + 1) * n / shown).max(from + 1).min(n);
        points.get(from..to)?.iter().copied().filter(|v| !v.is_nan()).reduce(f32::max)
    };
    let top = points.iter().copied().filter(|v| !v.is_nan()).fold(0.0f32, f32::max);
    let scale = |v: f32| (f64::from(v) * 1000.0).round().max(0.0) as u64;
    let data: Vec<Option<u64>> = (0..shown).map(|c| value(c).map(scale)).collect();
    let line = Sparkline::default()
        .data(data)
        .max(scale(top).max(1))
        .direction(RenderDirection::LeftToRight)
        .absent_value_symbol(symbols::shade::EMPTY)
        .style(theme.busy());
    frame.render_widget(line, plot);
    let label = |y: u16| Rect { x: area.x, y, width: AXIS, height: 1 };
    put(frame, label(plot.y), &short(f64::from(top)), theme.dim(), true);
    put(frame, label(plot.bottom() - 1), "0", theme.dim(), true);
    let buffer = frame.buffer_mut();
    for y in plot.y..plot.bottom() {
        buffer.set_string(plot.x - 1, y, "│", theme.dim());
    }
    let axis = Rect { y: plot.bottom(), height: 1, ..plot };
    let ago = if end == "now" { "ago" } else { "before" };
    let begin = format!("{} {ago}", duration(session.length()));
    put(frame, axis, &begin, theme.dim(), false);
    if usize::from(axis.width) > begin.len() + end.len() + 2 {
        put(frame, axis, end, theme.dim(), true);
    }
}
