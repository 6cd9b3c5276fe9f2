//! The list on the screen.

use super::Services;
use crate::columns::{self, Column, SERVICES, ServiceRow, lost_share};
use crate::format::{clip_end, plural};
use crate::health::HealthState;
use crate::proxy::Mode;
use crate::rates::History;
use crate::ruleset::IpFamily;
use crate::tui::keys::Action;
use crate::tui::pane::{Clicks, Context};
use crate::tui::panes::widgets::state_style;
use crate::tui::theme::Theme;
use crate::tui::widgets::{columns_that_fit, draw_list, heads, part, put, sparkline};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line;
use ratatui::widgets::{Paragraph, Wrap};

/// Names wider than this are rare: what is left goes to the trend.
const NAME: u16 = 56;

fn style_of(theme: Theme, key: &str, row: &ServiceRow<'_>) -> Style {
    let state = state_style(theme, row.health.state);
    let moving = |rate: Option<f64>| match rate {
        Some(r) if r > 0.0 => theme.text(),
        _ => theme.dim(),
    };
    match key {
        "state" => state,
        "name" if !matches!(row.health.state, HealthState::Healthy | HealthState::Unknown) => state,
        "name" | "held" => theme.text(),
        "flows" => moving(row.rates.and_then(|r| r.flows.ok())),
        "packets" => moving(row.rates.and_then(|r| r.packets.ok())),
        "bytes" => moving(row.rates.and_then(|r| r.bytes.ok())),
        "loss" => match lost_share(row.health) {
            Some(share) if share > 0.0 => state,
            _ => theme.dim(),
        },
        "why" => theme.text(),
        "refused" => match row.rates.and_then(|r| r.refused.ok()) {
            Some(r) if r > 0.0 => theme.bad(),
            _ => theme.dim(),
        },
        "backends" if row.service.backends.is_empty() && row.service.engine.mode() != Mode::Userspace => {
            theme.bad()
        }
        "backends" => theme.text(),
        "trend" => theme.busy(),
        _ => theme.dim(),
    }
}

impl Services {
    pub(super) fn draw_list(&mut self, frame: &mut Frame<'_>, area: Rect, cx: &Context, clicks: &mut Clicks) {
        let theme = cx.theme;
        let focus = !self.lower;
        let total = cx.update.as_ref().map_or(0, |u| u.model.services.len());
        // The line above, and the heads.
        let list = Rect { y: area.y + 2, height: area.height.saturating_sub(2), ..area };
        self.list.fit(self.rows.len(), list);
        let position = self.list.position();
        let mut title = match self.rows.len() == total {
            true => format!("Services {position}"),
            false if position.contains('-') => format!("Services {position}, {total} in all"),
            false => format!("Services {position} of {total}"),
        };
        if let Some(filters) = self.filters(cx.searching) {
            title.push_str(&format!(" · {filters}"));
        }
        let order = if self.problems_first { "problems first, then " } else { "" };
        let by = &SERVICES[self.sort];
        let note = match by.head.is_empty() {
            true => by.meaning(),
            // What one reading had would make rows jump.
            false if by.key == "flows" => format!("{order}{}, mean of 10 readings", by.head),
            false => format!("{order}{}: {}", by.head, by.meaning()),
        };
        let inner = part(frame, theme, area, &title, &note, focus);
        if let (true, false, Some(update)) = (self.heat, self.rows.is_empty(), &cx.update) {
            self.draw_heat(frame, inner, cx, update);
            return;
        }
        let place = Rect { x: inner.x + 1, width: inner.width.saturating_sub(2), ..inner };
        let columns: Vec<&'static Column<columns::Services>> =
            self.shown_columns(cx, place.width).into_iter().map(|i| &SERVICES[i]).collect();
        let places = columns_that_fit(&columns, place, "name", self.widest.min(NAME));
        heads(frame, theme, &places, Some((SERVICES[self.sort].key, self.reversed)));
        self.heads.clear();
        for (column, place) in &places {
            if let Some(i) = SERVICES.iter().position(|c| c.key == column.key) {
                self.heads.push(i);
                clicks.push((*place, Action::SortBy(i)));
            }
        }
        let Some(update) = &cx.update else {
            frame.render_widget(Paragraph::new(" Reading the kernel …").style(theme.dim()), list);
            return;
        };
        if self.rows.is_empty() {
            let text = Paragraph::new(nothing(cx)).style(theme.dim()).wrap(Wrap { trim: false });
            frame.render_widget(text, list);
            return;
        }
        draw_list(frame, theme, &self.list, Some(focus), |frame, line, place| {
            let Some(row) = self.rows.get(line).and_then(|i| update.row(*i)) else { return };
            draw_row(frame, theme, &row, &places, place.y, &update.history);
        });
    }
}

fn draw_row(
    frame: &mut Frame<'_>,
    theme: Theme,
    row: &ServiceRow<'_>,
    places: &[(&'static Column<columns::Services>, Rect)],
    y: u16,
    history: &History,
) {
    for (column, place) in places {
        let width = usize::from(place.width);
        let text = match column.key {
            "state" => row.health.state.symbol().into(),
            // A Service of both families is listed twice, and nothing else says which is which.
            "name" if row.service.family == IpFamily::V6 && row.service.name.is_some() => {
                column.text(row, width.saturating_sub(3)) + " v6"
            }
            "why" => clip_end(cause_of(&row.health.why), width),
            "trend" => sparkline(&history.service(row.place), width),
            _ => column.text(row, width),
        };
        put(frame, Rect { y, ..*place }, &text, style_of(theme, column.key, row), column.right);
    }
}

/// The cause alone, where the share that is lost and the state are said before it: other columns have these.
fn cause_of(why: &str) -> &str {
    why.split_once(" lost: ").map_or(why, |w| w.1)
}

/// Why the list is empty.
pub(in crate::tui::panes) fn nothing(cx: &Context) -> Vec<Line<'static>> {
    let Some(update) = &cx.update else { return Vec::new() };
    if !update.model.services.is_empty() {
        let held = plural(update.model.services.len() as u64, "Service");
        return vec![Line::from(format!(" None of {held} passes the filters. Esc clears them."))];
    }
    let text = match update.snapshot.rules_read() {
        true => " No Services of kube-proxy found in iptables, nftables or IPVS.",
        false => " Services could not be looked for: what holds them could not be read.",
    };
    let mut lines = vec![Line::from(text), Line::from("")];
    for d in crate::proxy::detect(&update.snapshot, &update.model) {
        let what = if d.serves { "serves Services here" } else { "is on this node" };
        lines.push(Line::from(format!(" {} {what}: {}.", d.proxy.words(), d.evidence.join(", "))));
        if !d.proxy.beside().is_empty() {
            lines.push(Line::from(format!("   -> {}", d.proxy.beside())));
        }
    }
    for u in &update.snapshot.unread {
        lines.push(Line::from(format!(" {}: {}", u.what, u.why)));
        if let Some(hint) = u.hint.as_ref().filter(|h| !u.why.contains(h.as_str())) {
            lines.push(Line::from(format!("   -> {hint}")));
        }
    }
    lines
}
