//! The same Services under each mode of kube-proxy: what each holds, what a lookup costs, and what it costs as Services
//! become more.

mod chart;
mod latest;

use crate::cost::{Comparison, ModeFigures};
use crate::format::{bytes, count, nanoseconds, plural};
use crate::proxy::State;
use crate::tui::pane::{Clicks, Context, Pane};
use crate::tui::reader::Update;
use crate::tui::theme::Theme;
use crate::tui::widgets::{part, put};
use chart::draw_chart;
use latest::Latest;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Wrap};

/// The modes side by side.
#[derive(Debug, Default)]
pub(in crate::tui) struct Compare {
    latest: Latest,
}

impl Pane for Compare {
    fn on_view(&mut self, _cx: &Context, changed: bool) {
        if changed {
            self.latest.outdate();
        }
    }

    fn draw(&mut self, frame: &mut Frame<'_>, area: Rect, cx: &Context, _clicks: &mut Clicks) {
        const TITLE: &str = "The same Services under each mode of kube-proxy";
        let theme = cx.theme;
        let Some(update) = &cx.update else { return };
        let found = match update.model.services.modes.is_empty() {
            true => Err(" No mode holds a Service here.".to_string()),
            false => self
                .latest
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
        let said = sentences(theme, update, &c);
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
        let projected = format!("projected: what kube-proxy {} writes", c.form.version);
        let inner = part(frame, theme, table, TITLE, &projected, true);
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
}

/// The verdict, what is stale, and where the prices come from.
fn sentences(theme: Theme, update: &Update, c: &Comparison) -> Vec<Line<'static>> {
    let line = |text: String, style: Style| Line::from(Span::styled(text, style));
    let flows = update.node.flows;
    let mut said: Vec<Line<'static>> = c.verdict(flows).into_iter().map(|s| line(s, theme.text())).collect();
    for m in update.model.services.modes.iter().filter(|m| m.state == State::Stale) {
        let variant = m.engine.variant().map_or(String::new(), |v| format!(" ({})", v.name()));
        let rules = plural(m.rules as u64, "rule");
        let text = format!("Stale: {}{variant}, {}: {rules}.", m.engine.mode().name(), m.family);
        said.push(line(text, theme.warn()));
    }
    let hint =
        "kptop compare --to MODE: what a move would change here; kptop calibrate: this node's own prices.";
    said.push(line(hint.into(), theme.dim()));
    said.extend(c.notes.iter().map(|n| line(n.clone(), theme.dim())));
    said.push(line(format!("Prices: {}.", update.prices.about), theme.dim()));
    said
}

/// A column of the table: head, width, first screen width, and what is in it.
type Cell = (&'static str, usize, u16, fn(&ModeFigures) -> String);

const CELLS: [Cell; 9] = [
    ("RULES", 8, 0, |m| count(m.rules)),
    ("ELEMENTS", 9, 110, |m| count(m.elements + m.servers.map_or(0, |s| s.0 + s.1))),
    ("MEMORY", 9, 120, |m| m.kernel_bytes.map_or("-".into(), bytes)),
    ("ONE CHANGE", 16, 100, ModeFigures::change_text),
    ("CHECKED", 7, 0, |m| m.evaluated.map_or("-".into(), |s| count(s.mean.round() as u64))),
    ("MAX", 8, 140, |m| m.evaluated.map_or("-".into(), |s| count(s.max.round() as u64))),
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
        let state = if m.running { "active" } else { "projected" };
        let text = row(m.engine.words(), state, &|cell| cell.3(m));
        let style = if m.running { theme.strong() } else { theme.text() };
        put(frame, Rect { y, height: 1, ..area }, &text, style, false);
    }
}
