//! The rules that make up a Service.

use crate::proxy::{Mode, Part, Service};
use crate::tui::list::List;
use crate::tui::pane::Context;
use crate::tui::panes::widgets::{draw_lines, hit_texts};
use crate::tui::reader::Update;
use crate::tui::widgets::put;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::widgets::Paragraph;

pub(super) fn draw(
    frame: &mut Frame<'_>,
    area: Rect,
    cx: &Context,
    update: &Update,
    service: &Service,
    parts: &[Part],
    list: &mut List,
) {
    let theme = cx.theme;
    let lines: Vec<(String, String, Style)> = parts
        .iter()
        .map(|p| match p {
            Part::Place(name) => (String::new(), name.clone(), theme.accent()),
            Part::Text(text) => (format!("{:>17}  ", ""), text.clone(), theme.text()),
            Part::Rule(r) => {
                let Some(t) = update.snapshot.tables.get(r.table) else { return Default::default() };
                let Some(rule) = t.table.rules.get(r.rule.0 as usize) else { return Default::default() };
                let seen = t.counter(r.rule);
                let (hits, rate) = hit_texts(&cx.rule_rates, r.table, r.rule, rule.counted, seen.packets);
                let style = if seen.packets > 0 || !rule.counted { theme.text() } else { theme.dim() };
                (format!("{hits:>9} {rate:>7}  "), t.table.rule_text(rule).to_string(), style)
            }
        })
        .collect();
    if lines.is_empty() {
        list.fit(0, area);
        let text = match service.engine.mode() {
            Mode::Ipvs => " IPVS could not be read.",
            _ => " No rules of its own were found.",
        };
        frame.render_widget(Paragraph::new(text).style(theme.dim()), area);
        return;
    }
    let head = format!(" {:>9} {:>7}  {}", "HITS", "HITS/s", "RULE (Enter goes there)");
    put(frame, Rect { height: 1, ..area }, &head, theme.head(), false);
    let rest = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
    draw_lines(frame, theme, list, rest, true, &lines);
}
