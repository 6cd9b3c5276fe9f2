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
        Engine::Ipvs
        | Engine::UserspaceLegacy
        | Engine::UserspaceNft
        | Engine::Cilium
        | Engine::CalicoEbpf
        | Engine::OvnKubernetes
        | Engine::Kernelspace => theme.dim(),
        Engine::Nftables => theme.good(),
    }
}

/// Round figures on a logarithmic scale: 1, 2 and 5 of each decade where there are few, else the decades.
fn ticks(bottom: f64, top: f64) -> Vec<f64> {
    let steps: &[f64] = if top / bottom > 300.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let decades = bottom.log10().floor() as i32..=top.log10().ceil() as i32;
    let all = decades.flat_map(|d| steps.iter().map(move |s| s * 10f64.powi(d)));
    all.filter(|t| (bottom..=top).contains(t)).collect()
}

/// Numbers of Services at which the cursor stops: some ten a decade.
pub(super) fn stops() -> impl Iterator<Item = usize> {
    const STOPS: usize = 34;
    (0..STOPS).map(|i| {
        let n = FEWEST * (MOST / FEWEST).powf(i as f64 / (STOPS - 1) as f64);
        // Round figures are easier to speak of.
        let unit = 10f64.powf(n.log10().floor() - 1.0);
        ((n / unit).round() * unit) as usize
    })
}

/// The lines; names at the right have the figure at `cursor` Services, where there is one, else that of the end.
pub(super) fn draw_chart(
    frame: &mut Frame<'_>,
    theme: Theme,
    area: Rect,
    c: &Comparison,
    prices: &Prices,
    cursor: Option<usize>,
) {
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
    let all = || series.iter().flat_map(|s| &s.1).map(|p| p.1).filter(|n| *n > 0.0);
    let (Some(least), Some(most)) = (all().reduce(f64::min), all().reduce(f64::max)) else { return };
    // A list grows a hundredfold while a map stays: only logarithms show both.
    let (bottom, top) = (least / 1.3, most * 1.2);
    let (y_low, y_high) = (bottom.ln(), top.ln());
    let y = |ns: f64| ns.max(bottom).ln();
    let (low, high) = (FEWEST.ln(), MOST.ln());
    let x = |n: usize| (n.max(1) as f64).ln();
    let here = x(c.services.clamp(FEWEST as usize, MOST as usize));
    let canvas =
        Canvas::default().marker(Marker::Braille).x_bounds([low, high]).y_bounds([y_low, y_high]).paint(
            |ctx| {
                let ink = |style: Style| style.fg.unwrap_or(ratatui::style::Color::Reset);
                ctx.draw(&Stroke { x1: here, y1: y_low, x2: here, y2: y_high, color: ink(theme.dim()) });
                if let Some(n) = cursor {
                    let at = x(n);
                    ctx.draw(&Stroke { x1: at, y1: y_low, x2: at, y2: y_high, color: ink(theme.key()) });
                }
                ctx.layer();
                for (engine, points) in &series {
                    for w in points.windows(2) {
                        let color = ink(series_style(theme, *engine));
                        let (y1, y2) = (y(w[0].1), y(w[1].1));
                        ctx.draw(&Stroke { x1: x(w[0].0), y1, x2: x(w[1].0), y2, color });
                    }
                }
            },
        );
    frame.render_widget(canvas, plot);
    let down = |ns: f64| {
        let part = (y_high - y(ns)) / (y_high - y_low);
        (part * (f64::from(plot.height) - 1.0)).round() as u16
    };
    let mut last = None;
    for tick in ticks(bottom, top).into_iter().rev() {
        let at = down(tick);
        if last.is_none_or(|l| at > l + 1) {
            let place = Rect { x: area.x, y: plot.y + at, width: AXIS, height: 1 };
            put(frame, place, &format!("{} ┤", nanoseconds(tick)), theme.dim(), true);
            last = Some(at);
        }
    }
    // Names at the right, as high as the lines end, and none on another.
    let mut ends: Vec<(u16, Engine, f64)> = series
        .iter()
        .filter_map(|(e, p)| {
            let last = p.last()?.1;
            let read =
                cursor.and_then(|n| p.iter().min_by_key(|at| at.0.abs_diff(n))).map_or(last, |at| at.1);
            Some((down(last), *e, read))
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
