//! The first packet of a flow over the number of Services, a line for each mode.

use crate::cost::{Comparison, Prices, cost_over_services};
use crate::format::{count, nanoseconds, short};
use crate::proxy::Engine;
use crate::tui::theme::Theme;
use crate::tui::widgets::put;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::symbols::Marker;
use ratatui::widgets::canvas::{Canvas, Line as Stroke};

/// Width of the figures at the left, and of the names at the right.
const AXIS: u16 = 8;
const NAMES: u16 = 28;
/// Numbers of Services that the chart goes through, on a logarithmic scale.
const FEWEST: f64 = 10.0;
const MOST: f64 = 20_000.0;

fn series_style(theme: Theme, engine: Engine) -> Style {
    match engine {
        Engine::IptablesLegacy => theme.accent(),
        Engine::IptablesNft => theme.warn(),
        Engine::Ipvs | Engine::UserspaceLegacy | Engine::UserspaceNft => theme.dim(),
        Engine::Nftables => theme.good(),
    }
}

pub(super) fn draw_chart(frame: &mut Frame<'_>, theme: Theme, area: Rect, c: &Comparison, prices: &Prices) {
    if area.height < 5 || area.width < AXIS + NAMES + 20 {
        return;
    }
    let plot = Rect { x: area.x + AXIS, width: area.width - AXIS - NAMES, height: area.height - 1, ..area };
    let steps = usize::from(plot.width) * 2;
    let counts: Vec<usize> = (0..=steps)
        .map(|i| (FEWEST * (MOST / FEWEST).powf(i as f64 / steps as f64)).round() as usize)
        .collect();
    let series: Vec<(Engine, Vec<(usize, f64)>)> = c
        .modes
        .iter()
        .map(|m| (m.engine, cost_over_services(m, c.services, prices, &counts)))
        .filter(|s| !s.1.is_empty())
        .collect();
    let top = series.iter().flat_map(|s| &s.1).map(|p| p.1).fold(1_000.0, f64::max);
    let (low, high) = (FEWEST.ln(), MOST.ln());
    let x = |n: usize| (n.max(1) as f64).ln();
    let here = x(c.services.clamp(FEWEST as usize, MOST as usize));
    let canvas =
        Canvas::default().marker(Marker::Braille).x_bounds([low, high]).y_bounds([0.0, top * 1.02]).paint(
            |ctx| {
                let ink = |style: Style| style.fg.unwrap_or(ratatui::style::Color::Reset);
                ctx.draw(&Stroke { x1: here, y1: 0.0, x2: here, y2: top * 1.02, color: ink(theme.dim()) });
                ctx.layer();
                for (engine, points) in &series {
                    for w in points.windows(2) {
                        let color = ink(series_style(theme, *engine));
                        ctx.draw(&Stroke { x1: x(w[0].0), y1: w[0].1, x2: x(w[1].0), y2: w[1].1, color });
                    }
                }
            },
        );
    frame.render_widget(canvas, plot);
    let label = |y: u16| Rect { x: area.x, y, width: AXIS - 1, height: 1 };
    put(frame, label(plot.y), &nanoseconds(top), theme.dim(), true);
    put(frame, label(plot.bottom() - 1), "0", theme.dim(), true);
    // Names at the right, as high as the lines end, and none on another.
    let mut ends: Vec<(u16, Engine, f64)> = series
        .iter()
        .filter_map(|(e, p)| {
            let last = p.last()?.1;
            let down = (f64::from(plot.height) - 1.0) * (1.0 - last / (top * 1.02));
            Some((down.round() as u16, *e, last))
        })
        .collect();
    ends.sort_by_key(|e| (e.0, std::cmp::Reverse(e.2 as u64)));
    let mut free = 0;
    let n = ends.len() as u16;
    for (i, (down, engine, last)) in ends.into_iter().enumerate() {
        let lowest = plot.height.saturating_sub(n - i as u16);
        let at = down.clamp(free, lowest.max(free));
        free = at + 1;
        if at < plot.height {
            let text = format!(" {:<18} {}", engine.words(), nanoseconds(last));
            let place = Rect { x: plot.right(), y: plot.y + at, width: NAMES, height: 1 };
            put(frame, place, &text, series_style(theme, engine), false);
        }
    }
    // The axis below: round numbers, and where this node is.
    let axis = Rect { y: plot.bottom(), height: 1, ..plot };
    let column = |v: f64| {
        let part = (v - low) / (high - low);
        axis.x + (part * f64::from(axis.width - 1)).round() as u16
    };
    let mine = format!("▲ here: {}", count(c.services as u64));
    let mine_at = column(here).min(axis.right().saturating_sub(mine.chars().count() as u16));
    let end = mine_at + mine.chars().count() as u16 + 1;
    let mut free = axis.x;
    for n in [10usize, 100, 1_000, 10_000, MOST as usize] {
        let text = short(n as f64);
        let width = text.len() as u16;
        let at = column(x(n)).min(axis.right() - width);
        if at >= free && (at + width < mine_at || at > end) {
            put(frame, Rect { x: at, width: 6, ..axis }, &text, theme.dim(), false);
            free = at + width + 1;
        }
    }
    put(frame, Rect { x: mine_at, width: axis.right() - mine_at, ..axis }, &mine, theme.strong(), false);
}
