//! The tree on the screen, with what chains counted.

use super::Rules;
use super::rows::{TableRow, table_key};
use crate::format::{bytes, clip, clip_end, count, plural};
use crate::rates::rate_text;
use crate::ruleset::{ChainId, Counter, Dialect, RuleId, TABLE_DORMANT};
use crate::snapshot::TableState;
use crate::tui::pane::Context;
use crate::tui::widgets::{draw_list, part, put};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;
use unicode_width::UnicodeWidthStr;

/// What the rules of a chain counted; `None` where none of them counts.
fn sum(state: &TableState, chain: u32) -> Option<Counter> {
    let mut total = None;
    for i in state.table.chains[chain as usize].rules.clone() {
        if state.table.rules[i as usize].counted {
            let c = state.counter(RuleId(i));
            let total: &mut Counter = total.get_or_insert_default();
            total.packets += c.packets;
            total.bytes += c.bytes;
        }
    }
    total
}

/// What a table is, in a few words: size, what it took, whose it is.
fn table_words(t: &TableState, owners: &[&str]) -> String {
    let table = &t.table;
    let mut text = format!(
        "  {} · {} · {}",
        t.backend.name(),
        plural(table.chains.len() as u64, "chain"),
        plural(table.rules.len() as u64, "rule")
    );
    if !table.sets.is_empty() {
        let elements = table.element_count().map_or("?".into(), count);
        text.push_str(&format!(" · {} of {elements}", plural(table.sets.len() as u64, "set")));
    }
    if let Some(b) = t.bytes {
        text.push_str(&format!(" · {}", bytes(b)));
    }
    match t.dropped() {
        Some(n) if n > 0 => text.push_str(&format!(" · dropped {}", count(n))),
        None => text.push_str(" · drops not counted"),
        _ => {}
    }
    if !owners.is_empty() {
        text.push_str(&format!(" · {}", owners.join(", ")));
    }
    if table.nf.as_ref().is_some_and(|n| n.flags & TABLE_DORMANT != 0) {
        text.push_str(" · dormant");
    }
    text
}

/// Hook, policy and priority of a base chain.
fn base_words(t: &TableState, chain: u32) -> String {
    t.table.chains[chain as usize].base.map_or(String::new(), |b| {
        let id = ChainId(chain);
        let counted = t.counters.policies.iter().find(|p| p.0 == id);
        let taken = counted.map_or(String::new(), |p| format!(" {}", count(p.1.packets)));
        // The name of an iptables chain says where it hangs.
        let hook = match t.table.dialect {
            Dialect::Iptables => String::new(),
            Dialect::Nft => format!("{} ", b.hook.name()),
        };
        format!("{hook}{}{taken}, prio {}", b.policy.name(), b.priority)
    })
}

/// Columns of the tree: how wide names are, and whether bytes find room.
#[derive(Clone, Copy)]
struct Widths {
    name: usize,
    bytes: bool,
    all: usize,
}

impl Widths {
    fn new(width: usize) -> Widths {
        let bytes = width >= 100;
        let fixed = 2 + 1 + 6 + 1 + 10 + 1 + 7 + 2 + 24 + if bytes { 10 } else { 0 };
        Widths { name: width.saturating_sub(fixed).clamp(18, 70), bytes, all: width }
    }

    fn line(self, name: &str, rules: &str, hits: &str, rate: &str, size: &str) -> String {
        let size = if self.bytes { format!(" {size:>9}") } else { String::new() };
        let width = self.name;
        format!("  {:<width$} {rules:>6} {hits:>10} {rate:>7}{size}  ", clip(name, width))
    }
}

impl Rules {
    pub(super) fn draw_tree(&mut self, frame: &mut Frame<'_>, area: Rect, cx: &Context) {
        let theme = cx.theme;
        let focus = !self.lower;
        let note = if area.width >= 110 {
            "hits: packets, once for each rule they match; nat sees the first of each flow"
        } else {
            "hits: packets a rule matched"
        };
        let title = match self.search.is_empty() || cx.searching {
            true => format!("{}Tables and chains", cx.trail),
            false => format!("Tables and chains · only \"{}\" (Esc clears)", self.search),
        };
        let inner = part(frame, theme, area, &title, note, focus);
        if inner.height < 2 {
            return;
        }
        let widths = Widths::new(usize::from(inner.width));
        let head = widths.line("CHAIN", "RULES", "HITS", "HITS/s", "BYTES") + "POLICY, SERVICE";
        put(frame, Rect { height: 1, ..inner }, &clip_end(&head, widths.all), theme.head(), false);
        let list = Rect { y: inner.y + 1, height: inner.height - 1, ..inner };
        self.tables.fit(self.rows.len(), list);
        if self.rows.is_empty() {
            let text = " No packet filter tables here (or not permitted to see them).";
            frame.render_widget(Paragraph::new(Span::styled(text, theme.dim())), list);
            return;
        }
        draw_list(frame, theme, &self.tables, Some(focus), |frame, i, place| {
            if let Some(line) = self.rows.get(i).and_then(|row| self.row_line(cx, widths, *row)) {
                frame.render_widget(Paragraph::new(line), place);
            }
        });
    }

    fn row_line(&self, cx: &Context, widths: Widths, row: TableRow) -> Option<Line<'static>> {
        let theme = cx.theme;
        let snapshot = &cx.update.as_ref()?.snapshot;
        let brightness = |busy: bool| -> Style { if busy { theme.text() } else { theme.dim() } };
        let folded = |key: &str| if self.folded.contains(key) { "▸" } else { "▾" };
        let head = |mark: &str, name: String, words: String| {
            let name = format!("{mark} {name}");
            let words = clip_end(&words, widths.all.saturating_sub(name.width()));
            Line::from(vec![Span::styled(name, theme.accent()), Span::styled(words, theme.dim())])
        };
        Some(match row {
            TableRow::Table(i) => {
                let t = snapshot.tables.get(i)?;
                let mark = folded(&table_key(t));
                let owners = cx.owners.get(i).map_or(&[][..], Vec::as_slice);
                head(mark, format!("{} {}", t.family, t.table.name), table_words(t, owners))
            }
            TableRow::Set(i, set) => {
                let t = snapshot.tables.get(i)?;
                let set = t.table.sets.get(set as usize)?;
                let kind = if set.is_map() { "map" } else { "set" };
                let filled = if set.is_dynamic() { ", filled by packets" } else { "" };
                let elements = set.count.map_or("?".into(), count);
                let name = format!("@{}", t.table.str(set.name));
                let text = widths.line(&name, &elements, "", "", "");
                Line::styled(clip_end(&format!("{text}{kind}{filled}"), widths.all), theme.dim())
            }
            TableRow::Ipsets => {
                let n = snapshot.ipsets.as_ref().map_or(0, |s| s.value.len());
                head(
                    folded("ipset"),
                    "ipset".into(),
                    format!("  {} for rules of iptables", plural(n as u64, "set")),
                )
            }
            TableRow::Ipset(i) => {
                let set = snapshot.ipsets.as_ref()?.value.get(i)?;
                let text = widths.line(&set.name, &count(set.size), "", "", "");
                Line::styled(clip_end(&format!("{text}{}", set.kind), widths.all), brightness(set.size > 0))
            }
            TableRow::Accounts => head("▾", "nfacct".into(), "  named counters that rules raise".into()),
            TableRow::Account(i) => {
                let o = snapshot.accounts.as_ref()?.value.get(i)?;
                let text = widths.line(&o.name, "", &count(o.counter.packets), "", &bytes(o.counter.bytes));
                Line::styled(text, brightness(o.counter.packets > 0))
            }
            TableRow::Chain(i, c) => {
                let t = snapshot.tables.get(i)?;
                let chain = t.table.chains.get(c as usize)?;
                let seen = sum(t, c);
                let text = widths.line(
                    t.table.str(chain.name),
                    &count(chain.rules.len() as u64),
                    // No rules that count: no figure.
                    &seen.map_or("-".into(), |c| count(c.packets)),
                    &rate_text(cx.rule_rates.chain(i, c)),
                    &seen.map_or("-".into(), |c| bytes(c.bytes)),
                );
                // A number that is cut reads as another one.
                let of = cx.update.as_ref().and_then(|u| self.names(u).words(&u.model.services, i, c));
                let words = of.unwrap_or_else(|| base_words(t, c));
                let base = clip_end(&words, widths.all.saturating_sub(text.width()));
                Line::from(vec![
                    Span::styled(text, brightness(seen.is_some_and(|c| c.packets > 0))),
                    Span::styled(base, theme.dim()),
                ])
            }
        })
    }
}
