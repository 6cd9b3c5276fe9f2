//! The same Services under each mode of kube-proxy: what each holds, what a lookup costs, and what it costs as Services
//! become more.

mod chart;

use crate::cost::{Comparison, Difference, ModeFigures, PricesFrom, Spread, compare_modes};
use crate::format::{bytes, count, nanoseconds, plural, wrapped};
use crate::proxy::{Engine, State};
use crate::tui::background::Background;
use crate::tui::keys::Action;
use crate::tui::list::List;
use crate::tui::pane::{Clicks, Context, Effect, Lists, Pane};
use crate::tui::reader::Update;
use crate::tui::theme::Theme;
use crate::tui::widgets::{draw_list, part, put, read_lines};
use chart::{draw_chart, stops};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::Line;
use ratatui::widgets::Paragraph;
use unicode_width::UnicodeWidthStr;

/// The modes side by side.
#[derive(Debug, Default)]
pub(in crate::tui) struct Compare {
    latest: Background<Comparison>,
    /// The modes.
    list: List,
    /// In the order of the table.
    engines: Vec<Engine>,
    /// True once a mode was chosen by the user.
    chosen: bool,
    /// The mode whose move is shown, and what it would change.
    moving: Option<(Engine, Vec<Difference>)>,
    /// Lines of it.
    below: List,
    lower: bool,
    /// Which of the numbers of Services the chart is read at.
    cursor: Option<usize>,
}

impl Compare {
    /// What one most likely asks for: the mode that kube-proxy's default becomes, or another where it runs already.
    fn choose(&mut self, c: &Comparison) {
        self.engines = c.modes.iter().map(|m| m.engine).collect();
        if !self.chosen {
            let idle = |m: &&ModeFigures| !m.running;
            let wanted = c.modes.iter().filter(idle).find(|m| m.engine == Engine::Nftables);
            let wanted = wanted.or_else(|| c.modes.iter().find(idle)).map(|m| m.engine);
            self.list.chosen = wanted.and_then(|w| self.engines.iter().position(|e| *e == w)).unwrap_or(0);
        }
    }

    /// From where this node is, by so many stops.
    fn move_cursor(&mut self, by: isize, cx: &Context) {
        let here = cx.update.as_ref().map_or(0, |u| u.model.services.len());
        let nearest = stops().position(|n| n >= here).unwrap_or(stops().count() - 1);
        let at = self.cursor.map_or(nearest, |at| at.saturating_add_signed(by));
        self.cursor = Some(at.min(stops().count() - 1));
    }

    fn find_moves(&mut self, to: Engine, cx: &Context) {
        let Some(u) = &cx.update else { return };
        self.moving = Some((to, crate::cost::moving(&u.snapshot, &u.model, to.mode())));
    }
}

/// What a move changes, a line for a line.
fn move_lines(theme: Theme, differences: &[Difference], width: usize) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    for d in differences {
        let (mark, style) = if d.blocks { ("✗", theme.bad()) } else { ("▲", theme.strong()) };
        let paragraph = |texts: &str, first: &str, style: Style| -> Vec<Line<'static>> {
            let room = width.saturating_sub(first.width() + 1);
            let all = wrapped(texts, room).into_iter().enumerate();
            let indent = " ".repeat(first.width());
            all.map(|(i, l)| Line::styled(format!("{}{l}", if i == 0 { first } else { &indent }), style))
                .collect()
        };
        lines.extend(paragraph(&d.title, &format!(" {mark} "), style));
        lines.extend(paragraph(d.reason, "   ", theme.text()));
        for e in &d.evidence {
            lines.extend(paragraph(e, "   · ", theme.dim()));
        }
    }
    lines
}

impl Pane for Compare {
    fn on_view(&mut self, cx: &Context, changed: bool) {
        if changed {
            self.latest.outdate();
            if let Some((to, _)) = self.moving {
                self.find_moves(to, cx);
            }
        }
    }

    fn on_action(&mut self, action: Action, cx: &Context) -> Effect {
        match action {
            Action::Enter => {
                let Some(engine) = self.engines.get(self.list.chosen).copied() else {
                    return Effect::Nothing;
                };
                self.find_moves(engine, cx);
                self.below.go_to_top();
                self.lower = true;
                Effect::Nothing
            }
            // ← and → move the cursor in the chart.
            Action::NextSection if self.moving.is_none() && self.below.is_cut() => {
                self.lower = true;
                Effect::Nothing
            }
            Action::LastSection | Action::Back if self.moving.is_none() && self.lower => {
                self.lower = false;
                self.below.go_to_top();
                Effect::Nothing
            }
            Action::Focus if self.moving.is_some() => {
                self.lower = true;
                Effect::Nothing
            }
            Action::Focus | Action::Left if self.moving.is_none() => {
                self.move_cursor(if action == Action::Left { -1 } else { 1 }, cx);
                Effect::Nothing
            }
            Action::Back if self.moving.is_none() && self.cursor.is_some() => {
                self.cursor = None;
                Effect::Nothing
            }
            Action::Back | Action::Left if self.moving.is_some() => {
                (self.moving, self.lower) = (None, false);
                Effect::Nothing
            }
            _ => Effect::Ignored,
        }
    }

    fn lists(&mut self) -> Lists<'_> {
        Lists { upper: Some(&mut self.list), lower: Some(&mut self.below), in_lower: Some(&mut self.lower) }
    }

    fn on_chosen(&mut self, _cx: &Context) {
        self.chosen = true;
    }

    fn hints(&self) -> &'static [Action] {
        &[Action::Enter]
    }

    fn draw(&mut self, frame: &mut Frame<'_>, area: Rect, cx: &Context, _clicks: &mut Clicks) {
        const TITLE: &str = "The same Services under each mode of kube-proxy";
        let theme = cx.theme;
        let Some(update) = &cx.update else { return };
        let found = match update.model.services.modes.is_empty() {
            true => Err(" No mode holds a Service here.".to_string()),
            false => self
                .latest
                .get(&update.view, |v| compare_modes(&v.snapshot, &v.model, &v.prices))
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
        self.choose(&c);
        let said = sentences(theme, update, &c);
        let width = usize::from(area.width.saturating_sub(2)).max(20);
        let lines: usize = said.iter().map(|s| wrapped(&s.0, width).len()).sum();
        let table_height = c.modes.len() as u16 + 2;
        let rest = area.height.saturating_sub(table_height);
        // The chart takes what the sentences leave, but not their first ones' place.
        let said_height = match self.moving {
            Some(_) => rest,
            None => (lines as u16 + 1).min(rest),
        };
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
        // At any size one sees whose prices these are.
        let whose = match update.prices.from {
            PricesFrom::Defaults => "default prices",
            PricesFrom::Calibration => "prices of this node",
        };
        let projected = format!("{whose} · projected: what kube-proxy {} writes", c.form.version);
        let inner = part(frame, theme, table, TITLE, &projected, true);
        self.list
            .fit(c.modes.len(), Rect { y: inner.y + 1, height: inner.height.saturating_sub(1), ..inner });
        draw_table(frame, theme, inner, &c, &self.list, !self.lower);
        if plot.height > 0 {
            let cursor = self.cursor.and_then(|at| stops().nth(at));
            let title = match cursor {
                Some(n) => format!("First packet of a flow at {} Services", count(n as u64)),
                None => "First packet of a flow, over the number of Services".to_string(),
            };
            let inner = part(frame, theme, plot, &title, "mean, estimated · ← → read it at a number", false);
            draw_chart(frame, theme, inner, &c, &update.prices, cursor);
        }
        if let Some((to, differences)) = &self.moving {
            let n = plural(differences.len() as u64, "difference");
            let runs = c.modes.iter().any(|m| m.running && m.engine == *to);
            let title = match runs {
                true => format!("{} runs here: there is nothing to move", to.words()),
                false => format!("What a move to {} changes: {n}", to.words()),
            };
            let inner = part(frame, theme, words, &title, "j k scroll · Esc closes", self.lower);
            let gain = gain_words(&c, *to);
            let mut all: Vec<Line<'static>> = wrapped(&gain, width)
                .into_iter()
                .map(|l| Line::styled(format!(" {l}"), theme.good()))
                .collect();
            all.extend(move_lines(theme, differences, width));
            read_lines(frame, theme, &mut self.below, inner, &all);
            return;
        }
        let all: Vec<Line<'static>> = said
            .iter()
            .flat_map(|(text, style)| {
                wrapped(text, width).into_iter().map(|l| Line::styled(format!(" {l}"), *style))
            })
            .collect();
        let cut = all.len() + 1 > usize::from(words.height);
        let hint = if cut { "] scrolls · Enter: what a move changes" } else { "Enter: what a move changes" };
        let inner = part(frame, theme, words, "What it means here", hint, self.lower);
        read_lines(frame, theme, &mut self.below, inner, &all);
    }
}

/// What a first packet and one change cost in a mode, against the one that runs.
fn gain_words(c: &Comparison, to: Engine) -> String {
    let of = |engine: &ModeFigures| engine.first_packet_ns.map(|s| s.mean);
    let now = c.modes.iter().find(|m| m.running);
    let then = c.modes.iter().find(|m| m.engine == to && !m.running);
    let (Some(now), Some(then)) = (now, then) else { return String::new() };
    let first = match (of(now), of(then)) {
        (Some(a), Some(b)) => {
            format!("the first packet of a flow {} instead of {}", nanoseconds(b), nanoseconds(a))
        }
        _ => "the first packet of a flow is not known".into(),
    };
    format!(
        "{} instead of {}: {first}; one changed endpoint {} instead of {}; {} instead of {}.",
        then.engine.words(),
        now.engine.words(),
        then.change_text(),
        now.change_text(),
        plural(then.rules, "rule"),
        count(now.rules)
    )
}

/// The verdict, what is stale, and where the prices come from.
fn sentences(theme: Theme, update: &Update, c: &Comparison) -> Vec<(String, Style)> {
    let flows = update.node.flows;
    let mut said: Vec<(String, Style)> = c.verdict(flows).into_iter().map(|s| (s, theme.text())).collect();
    for m in update.model.services.modes.iter().filter(|m| m.state == State::Stale) {
        let variant = m.engine.variant().map_or(String::new(), |v| format!(" ({})", v.name()));
        let rules = plural(m.rules as u64, "rule");
        let text = format!("Stale: {}{variant}, {}: {rules}.", m.engine.mode().name(), m.family);
        said.push((text, theme.warn()));
    }
    said.push(("kptop calibrate measures this node's own prices.".into(), theme.dim()));
    said.extend(c.notes.iter().map(|n| (n.clone(), theme.dim())));
    said.push((format!("Prices: {}.", update.prices.about), theme.dim()));
    said
}

/// A column of the table: head, width, first screen width, and what is in it.
type Cell = (&'static str, usize, u16, fn(&ModeFigures) -> String);

const CELLS: [Cell; 9] = [
    ("RULES", 8, 0, |m| count(m.rules)),
    ("ELEMENTS", 9, 110, |m| count(m.elements + m.servers.map_or(0, |s| s.0 + s.1))),
    ("MEMORY", 9, 120, |m| m.kernel_bytes.map_or("-".into(), bytes)),
    ("ONE CHANGE", 16, 100, ModeFigures::change_text),
    ("CHECKED", 9, 0, |m| m.evaluated.map_or("-".into(), |s| count(s.mean.round() as u64))),
    ("MAX", 8, 140, |m| m.evaluated.map_or("-".into(), |s| count(s.max.round() as u64))),
    ("FIRST PKT", 10, 0, |m| m.first_packet_ns.map_or("-".into(), |s| nanoseconds(s.mean))),
    ("P95", 8, 0, |m| m.first_packet_ns.map_or("-".into(), |s| nanoseconds(s.p95))),
    ("LATER", 8, 0, |m| m.per_packet_ns.map_or("-".into(), nanoseconds)),
];

/// Columns that a spread over Services needs to show anything.
const SPREAD: u16 = 16;

/// Least, mean, 95th percentile and most of a figure, between `least` and `most` of all.
fn spread_strip(s: &Spread, least: f64, most: f64, width: usize) -> String {
    let at = |v: f64| {
        let part = if most > least { (v - least) / (most - least) } else { 0.0 };
        (part * (width - 1) as f64).round() as usize
    };
    let mut cells = vec![' '; width];
    let (from, p95, to) = (at(s.min), at(s.p95), at(s.max));
    cells[from..=p95].fill('─');
    cells[p95..=to].fill('╴');
    for (place, mark) in [(to, '╴'), (p95, '┤'), (from, '├'), (at(s.mean), '●')] {
        cells[place] = mark;
    }
    cells.into_iter().collect()
}

fn draw_table(frame: &mut Frame<'_>, theme: Theme, area: Rect, c: &Comparison, list: &List, focus: bool) {
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
    // What Services differ by, on one scale for all modes.
    let used = head.width() as u16 + 2;
    let strip =
        Rect { x: area.x + used, width: area.width.saturating_sub(used + 1).min(40), height: 1, ..area };
    let spreads = || c.modes.iter().filter_map(|m| m.first_packet_ns);
    let least = spreads().map(|s| s.min).fold(f64::MAX, f64::min);
    let most = spreads().map(|s| s.max).fold(0.0, f64::max);
    if strip.width >= SPREAD {
        const LEGENDS: [&str; 3] = [
            "FIRST PKT BY SERVICE: ├ least ● mean ┤ p95 ╴ most",
            "├ least ● mean ┤ p95 ╴ most",
            "├ least ● mean",
        ];
        let fits = LEGENDS.into_iter().find(|l| usize::from(strip.width) >= l.width());
        put(frame, strip, fits.unwrap_or_default(), theme.head(), false);
    }
    draw_list(frame, theme, list, Some(focus), |frame, i, at| {
        let m = &c.modes[i];
        let state = if m.running { "active" } else { "projected" };
        let text = row(m.engine.words(), state, &|cell| cell.3(m));
        let style = if m.running { theme.strong() } else { theme.text() };
        put(frame, at, &text, style, false);
        if let Some(s) = m.first_packet_ns.filter(|_| strip.width >= SPREAD) {
            let text = spread_strip(&s, least, most, usize::from(strip.width));
            put(frame, Rect { y: at.y, ..strip }, &text, style, false);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_has_its_marks_in_order() {
        let s = Spread { min: 10.0, mean: 14.0, p95: 18.0, max: 20.0 };
        assert_eq!(spread_strip(&s, 10.0, 30.0, 21), "├───●───┤╴╴          ");
        let s = Spread { min: 5.0, mean: 5.0, p95: 5.0, max: 5.0 };
        assert_eq!(spread_strip(&s, 5.0, 5.0, 4), "●   ");
    }

    #[test]
    fn the_cursor_stops_at_round_numbers_and_at_both_ends() {
        let all: Vec<usize> = stops().collect();
        assert_eq!((all[0], *all.last().unwrap()), (10, 20_000));
        assert!(all.windows(2).all(|w| w[0] < w[1]), "{all:?}");
    }
}
