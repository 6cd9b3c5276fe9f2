//! The rules of the chosen chain as the kernel has them, or the members of a set.

use super::detail::draw_lines;
use crate::format::{bytes, count, plural};
use crate::rates::rate_text;
use crate::ruleset::{ChainId, RuleId};
use crate::snapshot::Snapshot;
use crate::tui::app::{App, TableRow};
use crate::tui::widgets::{part, put};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::widgets::Paragraph;

/// Members that are made into text at most: a screen shows fewer.
const MOST_MEMBERS: usize = 2000;

/// Hits of a rule and hits a second, or what stands for them.
pub(super) fn hit_texts(app: &App, table: usize, rule: RuleId, counted: bool, hits: u64) -> (String, String) {
    match counted {
        true => (count(hits), rate_text(app.rule_rates.rule(table, rule))),
        false => ("-".into(), "-".into()),
    }
}

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

pub(super) fn draw(frame: &mut Frame<'_>, app: &mut App, area: Rect) {
    let theme = app.theme;
    let focus = app.lower;
    let chosen = app.table_rows.get(app.tables.chosen).copied();
    let Some(update) = app.update.clone() else {
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
        draw_lines(frame, theme, &mut app.rules, inner, focus, &lines);
        return;
    }
    let found = match chosen {
        Some(TableRow::Chain(i, c)) => update.snapshot.tables.get(i).map(|t| (i, t, ChainId(c))),
        _ => None,
    };
    let Some((table, t, chain)) = found else {
        let inner = part(frame, theme, area, "Rules", "", focus);
        app.rules.fit(0, inner);
        let text = match chosen {
            Some(TableRow::Table(_) | TableRow::Ipsets) => {
                " Enter folds and unfolds it. Choose a chain or a set."
            }
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
        app.rules.fit(0, inner);
        frame.render_widget(Paragraph::new(" No rules in this chain.").style(theme.dim()), inner);
        return;
    }
    let wide = area.width >= 100;
    let size = if wide { format!(" {:>10}", "BYTES") } else { String::new() };
    let head = format!(" {:>9} {:>7}{size}   {}", "HITS", "HITS/s", "RULE");
    put(frame, Rect { height: 1, ..inner }, &head, theme.head(), false);
    let hottest =
        range.clone().filter_map(|r| app.rule_rates.rule(table, RuleId(r)).ok()).fold(0.0, f64::max);
    // Only what is on the screen is made into text.
    let list = Rect { y: inner.y + 1, height: inner.height.saturating_sub(1), ..inner };
    app.rules.fit(range.len(), list);
    let shown = app.rules.top..(app.rules.top + app.rules.height + 1).min(range.len());
    let lines: Vec<(String, String, Style)> = t
        .table
        .rules_of(chain)
        .enumerate()
        .map(|(n, (id, rule))| {
            if !shown.contains(&n) && n != app.rules.chosen {
                return Default::default();
            }
            let seen = t.counter(id);
            let (hits, rate) = hit_texts(app, table, id, rule.counted, seen.packets);
            let size = match (wide, rule.counted) {
                (false, _) => String::new(),
                (true, true) => format!(" {:>10}", bytes(seen.bytes)),
                (true, false) => format!(" {:>10}", "-"),
            };
            let hot = app.rule_rates.rule(table, id).is_ok_and(|r| r > 0.0 && r >= hottest * 0.8);
            let mark = if hot { '▲' } else { ' ' };
            let style = if seen.packets > 0 || !rule.counted { theme.text() } else { theme.dim() };
            (format!("{hits:>9} {rate:>7}{size} {mark} "), t.table.rule_text(rule).to_string(), style)
        })
        .collect();
    draw_lines(frame, theme, &mut app.rules, list, focus, &lines);
}
