//! Pieces that several panes share.

use crate::doctor::Severity;
use crate::format::{clip_rule, count};
use crate::health::HealthState;
use crate::proxy::Mode;
use crate::rates::{RuleRates, rate_text};
use crate::ruleset::RuleId;
use crate::tui::keys::Action;
use crate::tui::list::List;
use crate::tui::pane::Clicks;
use crate::tui::reader::Update;
use crate::tui::section::Section;
use crate::tui::theme::Theme;
use crate::tui::widgets::{draw_list, part, put};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Wrap};
use unicode_width::UnicodeWidthStr;

/// Style of a finding.
pub(in crate::tui) fn severity_style(theme: Theme, severity: Severity) -> Style {
    match severity {
        Severity::Critical => theme.bad(),
        Severity::Warning => theme.warn(),
        Severity::Info => theme.text(),
    }
}

/// Hits of a rule and hits a second, or what represents them.
pub(super) fn hit_texts(
    rates: &RuleRates,
    table: usize,
    rule: RuleId,
    counted: bool,
    hits: u64,
) -> (String, String) {
    match counted {
        true => (count(hits), rate_text(rates.rule(table, rule))),
        false => ("-".into(), "-".into()),
    }
}

/// The names of sections in a line; the one that is shown is marked.
pub(super) fn section_strip(
    frame: &mut Frame<'_>,
    theme: Theme,
    area: Rect,
    all: &[Section],
    now: Section,
    label: &dyn Fn(Section) -> String,
    clicks: &mut Clicks,
) {
    // Where not all of them fit, the first ones go until the one that is shown does.
    let width_of = |s: &Section| label(*s).width() + 1;
    let at = all.iter().position(|s| *s == now).unwrap_or(0);
    let room = usize::from(area.width).saturating_sub(1);
    let fits =
        |first: usize, cut: usize| all[first..=at].iter().map(width_of).sum::<usize>() + cut <= room + 1;
    let first = (0..=at).find(|f| fits(*f, if *f > 0 { 2 } else { 0 })).unwrap_or(at);
    let mut x = area.x + 1;
    if first > 0 {
        put(frame, Rect { x, y: area.y, width: 1, height: 1 }, "…", theme.dim(), false);
        x += 2;
    }
    for section in &all[first..] {
        let text = label(*section);
        let width = (text.width() as u16).min(area.right().saturating_sub(x));
        let place = Rect { x, y: area.y, width, height: 1 };
        put(frame, place, &text, if *section == now { theme.on() } else { theme.head() }, false);
        clicks.push((place, Action::Section(*section)));
        x += width + 1;
    }
    let hint = "] [ next, last section";
    let rest = Rect { x, y: area.y, width: area.right().saturating_sub(x + 1), height: 1 };
    if usize::from(rest.width) > hint.len() {
        put(frame, rest, hint, theme.dim(), true);
    }
}

/// A line of text for each row of a list, cut where it is too long; the chosen one is shown whole below, where it
/// was cut and there is room.
pub(super) fn draw_lines(
    frame: &mut Frame<'_>,
    theme: Theme,
    list: &mut List,
    area: Rect,
    focus: bool,
    lines: &[(String, String, Style)],
) {
    let room = usize::from(area.width).saturating_sub(2);
    let chosen = lines.get(list.chosen.min(lines.len().saturating_sub(1)));
    let cut = chosen.filter(|l| focus && l.0.width() + l.1.width() > room && area.height > 5);
    let below = cut.map_or(0, |l| (l.1.width().div_ceil(room.max(1)) as u16 + 1).min(area.height / 2));
    let place = Rect { height: area.height - below, ..area };
    list.fit(lines.len(), place);
    draw_list(frame, theme, list, focus.then_some(true), |frame, i, at| {
        let (head, text, style) = &lines[i];
        let width = room.saturating_sub(head.width());
        let spans = vec![
            Span::styled(format!(" {head}"), theme.busy()),
            Span::styled(clip_rule(text, width), *style),
        ];
        frame.render_widget(Paragraph::new(Line::from(spans)), at);
    });
    if let Some((_, text, _)) = cut {
        let at = Rect { y: place.bottom(), height: below, ..area };
        let inner = part(frame, theme, at, "whole", "y copies it", false);
        let inner = Rect { x: inner.x + 1, width: inner.width.saturating_sub(2), ..inner };
        frame.render_widget(Paragraph::new(text.as_str()).wrap(Wrap { trim: false }), inner);
    }
}

/// Style of a state.
pub(in crate::tui) fn state_style(theme: Theme, state: HealthState) -> Style {
    match state {
        HealthState::Healthy => theme.good(),
        HealthState::Failing | HealthState::NoEndpoints => theme.bad(),
        HealthState::Degraded | HealthState::NoLocalEndpoints => theme.warn(),
        HealthState::Stale | HealthState::Unknown => theme.dim(),
    }
}

/// False where nothing counts new flows: histories are then of the flows that conntrack held.
pub(super) fn counts_new_flows(update: &Update) -> bool {
    update.node.flows.is_some()
        || !update.model.services.modes.iter().any(|m| m.engine.mode() == Mode::Nftables)
}
