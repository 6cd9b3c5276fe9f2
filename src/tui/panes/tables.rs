//! Tables and chains with what they counted, and the rules of the chosen chain as the kernel has them.

use crate::ruleset::{ChainId, Counter};
use crate::snapshot::TableState;
use crate::tui::app::{App, TableRow};
use crate::tui::widgets::{bytes, clip, clip_end, count};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Paragraph};
use unicode_width::UnicodeWidthStr;

fn sum(state: &TableState, chain: u32) -> Counter {
    let mut total = Counter::default();
    for i in state.table.chains[chain as usize].rules.clone() {
        let c = state.counter(crate::ruleset::RuleId(i));
        total.packets += c.packets;
        total.bytes += c.bytes;
    }
    total
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
                let size = t.bytes.map(|b| format!(" · {}", bytes(b))).unwrap_or_default();
                Line::from(vec![
                    Span::styled(format!("▾ {} {}", t.family, t.table.name), theme.accent()),
                    Span::styled(
                        format!(
                            "  {} · {} chains · {} rules{size}",
                            t.backend.name(),
                            count(t.table.chains.len() as u64),
                            count(t.table.rules.len() as u64)
                        ),
                        theme.dim(),
                    ),
                ])
            }
            TableRow::Chain(i, c) => {
                let Some(t) = update.snapshot.tables.get(*i) else { continue };
                let chain = &t.table.chains[*c as usize];
                let seen = sum(t, *c);
                let style = if seen.packets > 0 { theme.text() } else { theme.dim() };
                let base = chain.base.map_or(String::new(), |b| {
                    let id = ChainId(*c);
                    let policy = t.counters.policies.iter().find(|p| p.0 == id).map_or(0, |p| p.1.packets);
                    format!("{} {}, prio {}", b.policy.name(), count(policy), b.priority)
                });
                let name = clip(t.table.str(chain.name), name_width);
                Line::from(vec![
                    Span::styled(
                        format!(
                            "  {name:<name_width$} {:>7} {:>10} {:>9}  ",
                            count(chain.rules.len() as u64),
                            // No rules, nothing that could count.
                            if chain.rules.is_empty() { "-".into() } else { count(seen.packets) },
                            if chain.rules.is_empty() { "-".into() } else { bytes(seen.bytes) }
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

pub(super) fn draw_rules(frame: &mut Frame<'_>, app: &mut App, area: Rect) {
    let theme = app.theme;
    let focus = app.lower;
    let chosen = app.table_rows.get(app.tables.chosen).copied();
    let update = app.update.clone();
    let found = update.as_ref().and_then(|u| match chosen? {
        TableRow::Chain(i, c) => Some((u.snapshot.tables.get(i)?, ChainId(c))),
        TableRow::Table(_) => None,
    });
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
        let text = " Choose a chain to see its rules.";
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
        let style = if seen.packets > 0 { theme.text() } else { theme.dim() };
        // The target stands at the end: of a long rule the comment gives way.
        let room = usize::from(inner.width).saturating_sub(23);
        let spans = vec![
            Span::styled(format!(" {:>8} {:>10}  ", count(seen.packets), bytes(seen.bytes)), theme.busy()),
            Span::styled(clip_rule(&text, room), style),
        ];
        frame.render_widget(Paragraph::new(Line::from(spans)), place);
        if focus && app.rules.top + line == app.rules.chosen {
            frame.buffer_mut().set_style(place, theme.selected());
        }
    }
}
