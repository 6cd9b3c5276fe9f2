//! The same Services under each mode of kube-proxy: what each holds, what a lookup costs, and what it costs as Services
//! become more.

use crate::cost::{Comparison, ModeFigures, Prices, cost_over_services};
use crate::format::{bytes, count, nanoseconds, plural, short};
use crate::proxy::Engine;
use crate::proxy::State;
use crate::tui::app::App;
use crate::tui::reader::Update;
use crate::tui::theme::Theme;
use crate::tui::widgets::{part, put};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::canvas::{Canvas, Line as Stroke};
use ratatui::widgets::{Paragraph, Wrap};

pub(super) fn draw(frame: &mut Frame<'_>, app: &mut App, area: Rect) {
    const TITLE: &str = "The same Services under each mode of kube-proxy";
    let theme = app.theme;
    let Some(update) = app.update.clone() else { return };
    let found = match update.model.services.modes.is_empty() {
        true => Err(" No mode holds a Service here.".to_string()),
        false => app
            .compared
            .get(&update.view)
            .ok_or_else(|| format!(" Writing {} Services in each mode …", update.model.services.len())),
    };
    let c = match found {
        Ok(c) => c,
        Err(text) => {
            let inner = part(frame, theme, area, TITLE, "", true);
            frame.render_widget(Paragraph::new(text).style(theme.dim()), inner);
            return;
        }
    };
    let said = sentences(theme, &update, &c);
    let width = usize::from(area.width.saturating_sub(2)).max(20);
    let lines: usize = said.iter().map(|s| (s.width() + 6).div_ceil(width).max(1)).sum();
    let table_height = c.modes.len() as u16 + 2;
    let rest = area.height.saturating_sub(table_height);
    // The chart takes what the sentences leave, but not their first ones' place.
    let said_height = (lines as u16 + 1).min(rest);
    let chart_height = match rest.saturating_sub(said_height) {
        n if n >= 7 => n,
        _ if rest >= 13 => rest - 6,
        _ => 0,
    };
    let [table, plot, words] = Layout::vertical([
        Constraint::Length(table_height),
        Constraint::Length(chart_height),
        Constraint::Min(0),
    ])
    .areas(area);
    let inner = part(frame, theme, table, TITLE, "rules as written by kube-proxy 1.36", true);
    draw_table(frame, theme, inner, &c);
    if plot.height > 0 {
        let title = "First packet of a flow, over the number of Services";
        let inner = part(frame, theme, plot, title, "mean, estimated", false);
        draw_chart(frame, theme, inner, &c, &update.prices);
    }
    let inner = part(frame, theme, words, "What it means here", "", false);
    let inner = Rect { x: inner.x + 1, width: inner.width.saturating_sub(2), ..inner };
    frame.render_widget(Paragraph::new(said).wrap(Wrap { trim: true }), inner);
}

/// The verdict, what is left over, and where the prices come from.
fn sentences(theme: Theme, update: &Update, c: &Comparison) -> Vec<Line<'static>> {
    let line = |text: String, style: Style| Line::from(Span::styled(text, style));
    let flows = update.node.flows;
    let mut said: Vec<Line<'static>> = c.verdict(flows).into_iter().map(|s| line(s, theme.text())).collect();
    for m in update.model.services.modes.iter().filter(|m| m.state == State::Leftover) {
        let variant = m.engine.variant().map_or(String::new(), |v| format!(" ({})", v.name()));
        let rules = plural(m.rules as u64, "rule");
        let text = format!("Left over: {}{variant}, {}: {rules}.", m.engine.mode().name(), m.family);
        said.push(line(text, theme.warn()));
    }
    let hint =
        "kptop compare --to MODE: what a move would change here; kptop calibrate: this node's own prices.";
    said.push(line(hint.into(), theme.dim()));
    said.extend(c.notes.iter().map(|n| line(n.clone(), theme.dim())));
    said.push(line(format!("Prices: {}.", update.prices.about), theme.dim()));
    said
}

/// A column of the table: head, width, first screen width, and what stands in it.
type Cell = (&'static str, usize, u16, fn(&ModeFigures) -> String);

const CELLS: [Cell; 9] = [
    ("RULES", 8, 0, |m| count(m.rules)),
    ("ELEMENTS", 9, 110, |m| count(m.elements + m.servers.map_or(0, |s| s.0 + s.1))),
    ("MEMORY", 9, 120, |m| m.kernel_bytes.map_or("-".into(), bytes)),
    ("ONE CHANGE", 16, 100, ModeFigures::change_text),
    ("MET", 7, 0, |m| m.evaluated.map_or("-".into(), |s| count(s.mean.round() as u64))),
    ("MET MAX", 8, 140, |m| m.evaluated.map_or("-".into(), |s| count(s.max.round() as u64))),
    ("FIRST PKT", 10, 0, |m| m.first_packet_ns.map_or("-".into(), |s| nanoseconds(s.mean))),
    ("P95", 8, 0, |m| m.first_packet_ns.map_or("-".into(), |s| nanoseconds(s.p95))),
    ("LATER", 8, 0, |m| m.per_packet_ns.map_or("-".into(), nanoseconds)),
];

fn draw_table(frame: &mut Frame<'_>, theme: Theme, area: Rect, c: &Comparison) {
    let wide = area.width;
    let shown: Vec<&Cell> = CELLS.iter().filter(|cell| wide >= cell.2).collect();
    let row = |first: &str, state: &str, cells: &dyn Fn(&Cell) -> String| {
        let mut text = format!(" {first:<18} {state:<10}");
        for cell in &shown {
            text.push_str(&format!(" {:>width$}", cells(cell), width = cell.1));
        }
        text
    };
    let head = row("MODE", "", &|cell| cell.0.to_string());
    put(frame, Rect { height: 1, ..area }, &head, theme.head(), false);
    for (i, m) in c.modes.iter().enumerate() {
        let y = area.y + 1 + i as u16;
        if y >= area.bottom() {
            return;
        }
        let state = if m.running { "at work" } else { "as written" };
        let text = row(m.engine.words(), state, &|cell| cell.3(m));
        let style = if m.running { theme.strong() } else { theme.text() };
        put(frame, Rect { y, height: 1, ..area }, &text, style, false);
    }
}

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

fn draw_chart(frame: &mut Frame<'_>, theme: Theme, area: Rect, c: &Comparison, prices: &Prices) {
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
    // The axis below: round numbers, and where this node stands.
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
