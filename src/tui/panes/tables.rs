//! Tables and chains with what they counted, and the rules of the chosen chain as the kernel has them.

use crate::proxy::owners;
use crate::ruleset::{ChainId, Counter, Dialect, TABLE_DORMANT};
use crate::snapshot::{Snapshot, TableState};
use crate::tui::app::{App, TableRow};
use crate::tui::widgets::{bytes, clip, clip_end, count};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Paragraph};
use unicode_width::UnicodeWidthStr;

/// What the rules of a chain counted; `None` where none of them counts.
fn sum(state: &TableState, chain: u32) -> Option<Counter> {
    let mut total = None;
    for i in state.table.chains[chain as usize].rules.clone() {
        if state.table.rules[i as usize].counted {
            let c = state.counter(crate::ruleset::RuleId(i));
            let total: &mut Counter = total.get_or_insert_default();
            total.packets += c.packets;
            total.bytes += c.bytes;
        }
    }
    total
}

fn plural(n: usize, what: &str) -> String {
    format!("{} {what}{}", count(n as u64), if n == 1 { "" } else { "s" })
}

/// What a table is, in a few words: size, what it took, whose it is.
fn table_words(t: &TableState) -> String {
    let table = &t.table;
    let mut text = format!(
        "  {} · {} · {}",
        t.backend.name(),
        plural(table.chains.len(), "chain"),
        plural(table.rules.len(), "rule")
    );
    if !table.sets.is_empty() {
        let elements = table.element_count().map_or("?".into(), count);
        text.push_str(&format!(" · {} of {elements}", plural(table.sets.len(), "set")));
    }
    if let Some(b) = t.bytes {
        text.push_str(&format!(" · {}", bytes(b)));
    }
    match t.dropped() {
        Some(n) if n > 0 => text.push_str(&format!(" · dropped {}", count(n))),
        None => text.push_str(" · drops not counted"),
        _ => {}
    }
    let owners = owners(table);
    if !owners.is_empty() {
        text.push_str(&format!(" · {}", owners.join(", ")));
    }
    if table.nf.as_ref().is_some_and(|n| n.flags & TABLE_DORMANT != 0) {
        text.push_str(" · dormant");
    }
    text
}

/// Cuts a rule's text: its target stays whole.
fn clip_rule(text: &str, room: usize) -> String {
    match text.rfind(" -j ").map(|at| text.split_at(at)) {
        Some((head, target)) if text.width() > room && target.width() + 8 < room => {
            clip_end(head, room - target.width()) + target
        }
        _ => clip(text, room),
    }
}

pub(super) fn draw(frame: &mut Frame<'_>, app: &mut App, area: Rect) {
    let theme = app.theme;
    let focus = !app.lower;
    let note = if area.width >= 110 {
        " hits: packets, once for each rule they match; nat sees the first of each flow "
    } else {
        " hits: packets a rule matched "
    };
    let block = Block::new()
        .borders(Borders::TOP)
        .border_style(theme.frame(focus))
        .title(Line::from(Span::styled(" Tables and chains ", theme.accent())))
        .title(Line::from(Span::styled(note, theme.dim())).right_aligned());
    let inner = block.inner(area);
    frame.render_widget(block, area);
    if inner.height < 2 {
        return;
    }
    let width = usize::from(inner.width);
    let name_width = width.saturating_sub(62).clamp(16, 60);
    let head = format!(
        "  {:<name_width$} {:>7} {:>10} {:>9}  {}",
        "CHAIN", "RULES", "RULE HITS", "BYTES", "POLICY, PRIORITY"
    );
    let head_area = Rect { height: 1, ..inner };
    frame.render_widget(Paragraph::new(Span::styled(clip_end(&head, width), theme.head())), head_area);
    let list = Rect { y: inner.y + 1, height: inner.height - 1, ..inner };
    app.tables.fit(app.table_rows.len(), list);
    let Some(update) = &app.update else { return };
    if app.table_rows.is_empty() {
        let text = " No packet filter tables here (or not permitted to see them).";
        frame.render_widget(Paragraph::new(Span::styled(text, theme.dim())), list);
        return;
    }
    for (line, row) in app.table_rows.iter().skip(app.tables.top).take(app.tables.height).enumerate() {
        let place = Rect { y: list.y + line as u16, height: 1, ..list };
        let chosen = app.tables.top + line == app.tables.chosen;
        let text = match row {
            TableRow::Table(i) => {
                let Some(t) = update.snapshot.tables.get(*i) else { continue };
                let name = format!("▾ {} {}", t.family, t.table.name);
                let words = clip_end(&table_words(t), width.saturating_sub(name.width()));
                Line::from(vec![Span::styled(name, theme.accent()), Span::styled(words, theme.dim())])
            }
            TableRow::Set(i, set) => {
                let Some(t) = update.snapshot.tables.get(*i) else { continue };
                let set = &t.table.sets[*set as usize];
                let kind = if set.is_map() { "map" } else { "set" };
                let filled = if set.is_dynamic() { ", filled by packets" } else { "" };
                let name = clip(&format!("@{}", t.table.str(set.name)), name_width);
                let elements = set.count.map_or("?".into(), count);
                Line::from(Span::styled(
                    format!("  {name:<name_width$} {elements:>7}  {kind}{filled}"),
                    theme.dim(),
                ))
            }
            TableRow::Ipsets => {
                let n = update.snapshot.ipsets.as_ref().map_or(0, |s| s.value.len());
                Line::from(vec![
                    Span::styled("▾ ipset", theme.accent()),
                    Span::styled(format!("  {} for rules of iptables", plural(n, "set")), theme.dim()),
                ])
            }
            TableRow::Ipset(i) => {
                let Some(set) = update.snapshot.ipsets.as_ref().and_then(|s| s.value.get(*i)) else {
                    continue;
                };
                let name = clip(&set.name, name_width);
                Line::from(Span::styled(
                    format!("  {name:<name_width$} {:>7}  {}", count(set.size), set.kind),
                    if set.size > 0 { theme.text() } else { theme.dim() },
                ))
            }
            TableRow::Accounts => Line::from(vec![
                Span::styled("▾ nfacct", theme.accent()),
                Span::styled("  named counters that rules raise", theme.dim()),
            ]),
            TableRow::Account(i) => {
                let Some(o) = update.snapshot.accounts.as_ref().and_then(|s| s.value.get(*i)) else {
                    continue;
                };
                let name = clip(&o.name, name_width);
                Line::from(Span::styled(
                    format!(
                        "  {name:<name_width$} {:>7} {:>10} {:>9}",
                        "",
                        count(o.counter.packets),
                        bytes(o.counter.bytes)
                    ),
                    if o.counter.packets > 0 { theme.text() } else { theme.dim() },
                ))
            }
            TableRow::Chain(i, c) => {
                let Some(t) = update.snapshot.tables.get(*i) else { continue };
                let chain = &t.table.chains[*c as usize];
                let seen = sum(t, *c);
                let style = match seen {
                    Some(c) if c.packets > 0 => theme.text(),
                    _ => theme.dim(),
                };
                let base = chain.base.map_or(String::new(), |b| {
                    let id = ChainId(*c);
                    let counted = t.counters.policies.iter().find(|p| p.0 == id);
                    let taken = counted.map_or(String::new(), |p| format!(" {}", count(p.1.packets)));
                    // The name of an iptables chain says where it hangs.
                    let hook = match t.table.dialect {
                        Dialect::Iptables => String::new(),
                        Dialect::Nft => format!("{} ", b.hook.name()),
                    };
                    format!("{hook}{}{taken}, prio {}", b.policy.name(), b.priority)
                });
                let name = clip(t.table.str(chain.name), name_width);
                // A number that is cut reads as another one.
                let base = clip_end(&base, width.saturating_sub(name_width + 33));
                Line::from(vec![
                    Span::styled(
                        format!(
                            "  {name:<name_width$} {:>7} {:>10} {:>9}  ",
                            count(chain.rules.len() as u64),
                            // No rules that count: no figure.
                            seen.map_or("-".into(), |c| count(c.packets)),
                            seen.map_or("-".into(), |c| bytes(c.bytes))
                        ),
                        style,
                    ),
                    Span::styled(base, theme.dim()),
                ])
            }
        };
        frame.render_widget(Paragraph::new(text), place);
        if chosen {
            let style = if focus { theme.selected() } else { theme.selected_elsewhere() };
            frame.buffer_mut().set_style(place, style);
        }
    }
}

/// Members that are made into text at most: a screen shows fewer.
const MOST_MEMBERS: usize = 2000;

/// Title and members of a set.
fn members(snapshot: &Snapshot, row: TableRow) -> Option<(String, Vec<String>)> {
    match row {
        TableRow::Set(i, set) => {
            let table = &snapshot.tables.get(i)?.table;
            let set = table.sets.get(set as usize)?;
            let title = format!(" {} {} @{} ", table.family, table.name, table.str(set.name));
            let lines = match &set.elements {
                Some(all) => all
                    .iter()
                    .filter(|e| !e.end)
                    .take(MOST_MEMBERS)
                    .map(|e| table.element_text(set, e).to_string())
                    .collect(),
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
            Some((format!(" ipset {} ", set.name), lines))
        }
        _ => None,
    }
}

fn draw_members(frame: &mut Frame<'_>, app: &mut App, area: Rect, title: &str, lines: &[String]) {
    let theme = app.theme;
    let focus = app.lower;
    let block = Block::new()
        .borders(Borders::TOP)
        .border_style(theme.frame(focus))
        .title(Line::from(Span::styled(title.to_string(), theme.accent())));
    let inner = block.inner(area);
    frame.render_widget(block, area);
    app.rules.fit(lines.len(), inner);
    if lines.is_empty() {
        frame.render_widget(Paragraph::new(Span::styled(" Nothing is in it.", theme.dim())), inner);
    }
    let room = usize::from(inner.width).saturating_sub(2);
    for (line, text) in lines.iter().skip(app.rules.top).take(app.rules.height).enumerate() {
        let place = Rect { y: inner.y + line as u16, height: 1, ..inner };
        let text = Span::styled(format!(" {}", clip(text, room)), theme.text());
        frame.render_widget(Paragraph::new(Line::from(text)), place);
        if focus && app.rules.top + line == app.rules.chosen {
            frame.buffer_mut().set_style(place, theme.selected());
        }
    }
}

pub(super) fn draw_rules(frame: &mut Frame<'_>, app: &mut App, area: Rect) {
    let theme = app.theme;
    let focus = app.lower;
    let chosen = app.table_rows.get(app.tables.chosen).copied();
    let update = app.update.clone();
    let found = update.as_ref().and_then(|u| match chosen? {
        TableRow::Chain(i, c) => Some((u.snapshot.tables.get(i)?, ChainId(c))),
        _ => None,
    });
    if let Some((title, lines)) = update.as_ref().and_then(|u| members(&u.snapshot, chosen?)) {
        draw_members(frame, app, area, &title, &lines);
        return;
    }
    let title = match found {
        Some((t, c)) => format!(" {} {} {} ", t.family, t.table.name, t.table.chain_name(c)),
        None => " Rules ".into(),
    };
    let block = Block::new()
        .borders(Borders::TOP)
        .border_style(theme.frame(focus))
        .title(Line::from(Span::styled(title, theme.accent())));
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let Some((t, c)) = found else {
        app.rules.fit(0, inner);
        let text = " Choose a chain or a set to see what is in it.";
        frame.render_widget(Paragraph::new(Span::styled(text, theme.dim())), inner);
        return;
    };
    let range = t.table.chains[c.0 as usize].rules.clone();
    app.rules.fit(range.len(), inner);
    if range.is_empty() {
        frame.render_widget(Paragraph::new(Span::styled(" No rules in this chain.", theme.dim())), inner);
    }
    for (line, (id, rule)) in t.table.rules_of(c).skip(app.rules.top).take(app.rules.height).enumerate() {
        let seen = t.counter(id);
        let text = t.table.rule_text(rule).to_string();
        let place = Rect { y: inner.y + line as u16, height: 1, ..inner };
        let style = if seen.packets > 0 || !rule.counted { theme.text() } else { theme.dim() };
        let (packets, size) = match rule.counted {
            true => (count(seen.packets), bytes(seen.bytes)),
            false => ("-".into(), "-".into()),
        };
        // The target stands at the end: of a long rule the comment gives way.
        let room = usize::from(inner.width).saturating_sub(23);
        let spans = vec![
            Span::styled(format!(" {packets:>8} {size:>10}  "), theme.busy()),
            Span::styled(clip_rule(&text, room), style),
        ];
        frame.render_widget(Paragraph::new(Line::from(spans)), place);
        if focus && app.rules.top + line == app.rules.chosen {
            frame.buffer_mut().set_style(place, theme.selected());
        }
    }
}
