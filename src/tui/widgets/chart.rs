//! A figure over the session, with axes; what was lost of it hangs below.

use super::put;
use super::spark::LEVELS;
use crate::format::{duration, short};
use crate::rates::Session;
use crate::tui::theme::Theme;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Modifier;

/// Width of the figures at the left.
const AXIS: u16 = 6;

/// The points that share a cell: their number from the newest on, and how many. One each where there is room.
fn cells(points: usize, width: usize) -> Vec<(usize, usize)> {
    let shown = points.min(width);
    let cell = |c: usize| {
        let (from, to) = (c * points / shown, (c + 1) * points / shown);
        (from, to - from)
    };
    (0..shown).map(cell).collect()
}

/// The highest of some points, by their number from the newest on.
fn highest(points: &[f32], (from, n): (usize, usize)) -> Option<f32> {
    let newest_first = points.iter().rev().skip(from).take(n);
    newest_first.copied().filter(|v| !v.is_nan()).reduce(f32::max)
}

/// How many eighths of a row a figure fills, of rows that begin `before` rows from the base.
fn eighths(value: f32, unit: f32, before: u16) -> usize {
    let rows = f64::from(value / unit) - f64::from(before);
    (rows * 8.0).round().clamp(0.0, 8.0) as usize
}

/// Draws a session: the highest value and 0 at the left, the newest value at the right, time below, which ends at `end`: `now`,
/// or a time. `lost` is the part of it that was lost, on the same scale. On less than three lines, nothing.
pub(in crate::tui) fn chart(
    frame: &mut Frame<'_>,
    theme: Theme,
    area: Rect,
    session: &Session,
    lost: Option<&Session>,
    end: &str,
) {
    if area.height < 3 || area.width < 24 {
        return;
    }
    let plot = Rect { x: area.x + AXIS + 1, width: area.width - AXIS - 2, height: area.height - 1, ..area };
    let points = session.points();
    let lost_points = lost.map_or(&[][..], Session::points);
    let most = |points: &[f32]| points.iter().copied().filter(|v| !v.is_nan()).fold(0.0f32, f32::max);
    let (top, lost_top) = (most(points), most(lost_points));
    // Both halves have one scale.
    let lower = match lost_top > 0.0 {
        true => {
            let part = lost_top / (top + lost_top).max(f32::EPSILON);
            ((f32::from(plot.height) * part).round() as u16).clamp(1, plot.height / 2)
        }
        false => 0,
    };
    let upper = plot.height - lower;
    let unit = (top / f32::from(upper)).max(if lower > 0 { lost_top / f32::from(lower) } else { 0.0 });
    let unit = if unit > 0.0 { unit } else { 1.0 };
    let base = plot.y + upper - 1;
    let shown = cells(points.len(), usize::from(plot.width));
    for (n, cell) in shown.iter().enumerate() {
        let x = plot.right() - 1 - n as u16;
        let at = |y: u16| Rect { x, y, width: 1, height: 1 };
        match highest(points, *cell) {
            // Nothing was read.
            None => put(frame, at(base), "░", theme.dim(), false),
            Some(value) => {
                for row in 0..upper {
                    match eighths(value, unit, row) {
                        0 if row > 0 || value <= 0.0 => break,
                        // What is there is seen, however little.
                        level => put(frame, at(base - row), LEVELS[level.max(1) - 1], theme.busy(), false),
                    }
                }
            }
        }
        let value = highest(lost_points, *cell).unwrap_or(0.0);
        for row in 0..lower {
            let place = at(base + 1 + row);
            match eighths(value, unit, row) {
                0 if row > 0 || value <= 0.0 => break,
                8 => put(frame, place, LEVELS[7], theme.bad(), false),
                // A block that fills a cell from above is one that fills the rest of it, reversed.
                level => {
                    let style = theme.bad().add_modifier(Modifier::REVERSED);
                    put(frame, place, LEVELS[7 - level.max(1)], style, false);
                }
            }
        }
    }
    let label = |y: u16| Rect { x: area.x, y, width: AXIS, height: 1 };
    put(frame, label(base), "0", theme.dim(), true);
    put(frame, label(plot.y), &short(f64::from(unit * f32::from(upper))), theme.dim(), true);
    if lower > 0 {
        put(frame, label(plot.bottom() - 1), "lost", theme.bad(), true);
    }
    let buffer = frame.buffer_mut();
    for y in plot.y..plot.bottom() {
        buffer.set_string(plot.x - 1, y, "│", theme.dim());
    }
    let axis = Rect { y: plot.bottom(), height: 1, ..plot };
    let ago = if end == "now" { "ago" } else { "before" };
    let begin = format!("{} {ago}", duration(session.length()));
    let last = (axis.right() as usize).saturating_sub(begin.len() + end.len() + 2) as u16;
    let first = (plot.right() - shown.len() as u16).min(last).max(plot.x);
    put(frame, Rect { x: first, width: axis.right() - first, ..axis }, &begin, theme.dim(), false);
    if usize::from(axis.right() - first) >= begin.len() + end.len() + 2 {
        put(frame, axis, end, theme.dim(), true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ThemeName;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use std::time::Duration;

    fn drawn(values: &[f64], lost: &[f64], width: u16, height: u16) -> Vec<String> {
        let session = |values: &[f64]| {
            let mut s = Session::default();
            (0..).zip(values).for_each(|(i, v)| s.push(Duration::from_secs(i), *v));
            s
        };
        let (all, lost) = (session(values), session(lost));
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let theme = Theme::new(ThemeName::None);
        terminal.draw(|f| chart(f, theme, f.area(), &all, Some(&lost), "now")).unwrap();
        let buffer = terminal.backend().buffer().clone();
        let line = |y: u16| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
        (0..height).map(line).collect()
    }

    #[test]
    fn a_cell_is_a_reading_and_the_newest_is_at_the_right() {
        let lines = drawn(&[1.0, 2.0, 4.0], &[], 30, 3);
        assert_eq!(lines[0], "   4.0│                     █ ", "{lines:#?}");
        assert_eq!(lines[1], "     0│                   ▄██ ", "{lines:#?}");
        assert!(lines[2].ends_with("3 s ago  now "), "{lines:#?}");
    }

    #[test]
    fn what_is_lost_hangs_below() {
        let lines = drawn(&[4.0, 4.0, 4.0], &[0.0, 2.0, 2.0], 30, 5);
        // 4 rows: 3 up, 1 down, two a row.
        assert_eq!(lines[1], "      │                   ███ ", "{lines:#?}");
        assert_eq!(lines[3], "  lost│                    ██ ", "{lines:#?}");
    }

    #[test]
    fn more_points_than_cells_share_them() {
        for (points, width) in (1..300).flat_map(|p| [1usize, 7, 80].map(|w| (p, w))) {
            let all = cells(points, width);
            assert_eq!(all.len(), points.min(width));
            assert_eq!(all.iter().map(|c| c.1).sum::<usize>(), points);
            assert!(all.iter().all(|c| c.1 > 0));
        }
        assert!(cells(0, 10).is_empty());
    }
}
