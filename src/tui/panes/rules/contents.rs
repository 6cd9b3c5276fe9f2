//! The rules of the chosen chain as the kernel has them, or the members of a set.

use super::Rules;
use super::rows::TableRow;
use crate::format::{bytes, plural};
use crate::ruleset::{ChainId, RuleId};
use crate::snapshot::Snapshot;
use crate::tui::pane::Context;
use crate::tui::panes::widgets::{draw_lines, hit_texts};
use crate::tui::widgets::{part, put};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::widgets::Paragraph;

/// Members that are made into text at most: a screen shows fewer.
const MOST_MEMBERS: usize = 2000;

/// Title and members of a set.
fn members(snapshot: &Snapshot, row: TableRow) -> Option<(String, Vec<String>)> {
    match row {
        TableRow::Set(i, set) => {
            let table = &snapshot.tables.get(i)?.table;
            let set = table.sets.get(set as usize)?;
            let title = format!("{} {} @{}", table.family, table.name, table.str(set.name));
            let lines = match &set.elements {
                Some(_) => table.element_texts(set, MOST_MEMBERS),
                None => vec!["not read: it is only counted".into()],
            };
            Some((title, lines))
        }
        TableRow::Ipset(i) => {
            let set = snapshot.ipsets.as_ref()?.value.get(i)?;
            let lines = match &set.members {
                Some(all) => all.iter().take(MOST_MEMBERS).map(ToString::to_string).collect(),
                None => vec!["not read: no rule looks into it, or it is large".into()],
            };
            Some((format!("ipset {}", set.name), lines))
        }
        _ => None,
    }
}

impl Rules {
    /// Lines of what is chosen.
    pub(super) fn contents_length(&self, cx: &Context) -> usize {
        let (Some(u), Some(chosen)) = (&cx.update, self.chosen()) else { return 1 };
        match chosen {
            TableRow::Chain(i, c) => {
                let chain = u.snapshot.tables.get(i).and_then(|t| t.table.chains.get(c as usize));
                chain.map_or(1, |c| c.rules.len().max(1))
            }
            TableRow::Table(_) | TableRow::Ipsets => 1,
            TableRow::Set(i, set) => {
                let set = u.snapshot.tables.get(i).and_then(|t| t.table.sets.get(set as usize));
                set.and_then(|s| s.elements.as_ref()).map_or(1, |e| e.len().max(1))
            }
            _ => members(&u.snapshot, chosen).map_or(1, |m| m.1.len().max(1)),
        }
    }

    pub(super) fn draw_contents(&mut self, frame: &mut Frame<'_>, area: Rect, cx: &Context) {
        let theme = cx.theme;
        let focus = self.lower;
        let chosen = self.chosen();
        let Some(update) = &cx.update else {
            part(frame, theme, area, "Rules", "", focus);
            return;
        };
        if let Some((title, lines)) = chosen.and_then(|c| members(&update.snapshot, c)) {
            let note = plural(lines.len() as u64, "line");
            let inner = part(frame, theme, area, &title, &note, focus);
            if lines.is_empty() {
                frame.render_widget(Paragraph::new(" Nothing is in it.").style(theme.dim()), inner);
            }
            let lines: Vec<(String, String, Style)> =
                lines.into_iter().map(|l| (String::new(), l, theme.text())).collect();
            draw_lines(frame, theme, &mut self.rules, inner, focus, &lines);
            return;
        }
        let found = match chosen {
            Some(TableRow::Chain(i, c)) => update.snapshot.tables.get(i).map(|t| (i, t, ChainId(c))),
            _ => None,
        };
        let Some((table, t, chain)) = found else {
            let inner = part(frame, theme, area, "Rules", "", focus);
            self.rules.fit(0, inner);
            let text = match chosen {
                Some(TableRow::Table(_) | TableRow::Ipsets) => {
                    " Enter folds and unfolds it. Choose a chain or a set."
                }
                _ if self.rows.is_empty() => " There is none to choose.",
                _ => " Choose a chain or a set to see what is in it.",
            };
            frame.render_widget(Paragraph::new(text).style(theme.dim()), inner);
            return;
        };
        let title = format!("{} {} {}", t.family, t.table.name, t.table.chain_name(chain));
        let note = "▲ the most hits, dim: never hit; Enter follows a jump";
        let inner = part(frame, theme, area, &title, note, focus);
        let range = t.table.chains[chain.0 as usize].rules.clone();
        if range.is_empty() {
            self.rules.fit(0, inner);
            frame.render_widget(Paragraph::new(" No rules in this chain.").style(theme.dim()), inner);
            return;
        }
        let wide = area.width >= 100;
        let size = if wide { format!(" {:>10}", "BYTES") } else { String::new() };
        let head = format!(" {:>9} {:>7}{size}   {}", "HITS", "HITS/s", "RULE");
        put(frame, Rect { height: 1, ..inner }, &head, theme.head(), false);
        let hottest =
            range.clone().filter_map(|r| cx.rule_rates.rule(table, RuleId(r)).ok()).fold(0.0, f64::max);
        // Only what is on the screen is made into text.
        let list = Rect { y: inner.y + 1, height: inner.height.saturating_sub(1), ..inner };
        self.rules.fit(range.len(), list);
        let shown = self.rules.top..(self.rules.top + self.rules.height + 1).min(range.len());
        let lines: Vec<(String, String, Style)> = t
            .table
            .rules_of(chain)
            .enumerate()
            .map(|(n, (id, rule))| {
                if !shown.contains(&n) && n != self.rules.chosen {
                    return Default::default();
                }
                let seen = t.counter(id);
                let (hits, rate) = hit_texts(&cx.rule_rates, table, id, rule.counted, seen.packets);
                let size = match (wide, rule.counted) {
                    (false, _) => String::new(),
                    (true, true) => format!(" {:>10}", bytes(seen.bytes)),
                    (true, false) => format!(" {:>10}", "-"),
                };
                let hot = cx.rule_rates.rule(table, id).is_ok_and(|r| r > 0.0 && r >= hottest * 0.8);
                let mark = if hot { '▲' } else { ' ' };
                let style = if seen.packets > 0 || !rule.counted { theme.text() } else { theme.dim() };
                (format!("{hits:>9} {rate:>7}{size} {mark} "), t.table.rule_text(rule).to_string(), style)
            })
            .collect();
        draw_lines(frame, theme, &mut self.rules, list, focus, &lines);
    }
}
