//! The list on the screen.

use super::Services;
use super::tree::{Kind, Line as TreeLine, part_label};
use crate::columns::{self, Column, SERVICES, ServiceRow, Value, together};
use crate::config::Fold;
use crate::format::{clip, clip_end, plural};
use crate::health::HealthState;
use crate::rates::{History, service_key};
use crate::ruleset::IpFamily;
use crate::tui::keys::Action;
use crate::tui::pane::{Clicks, Context};
use crate::tui::panes::widgets::state_style;
use crate::tui::reader::Update;
use crate::tui::theme::Theme;
use crate::tui::widgets::{columns_that_fit, draw_list, heads, part, put, sparkline};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line;
use ratatui::widgets::{Paragraph, Wrap};
use unicode_width::UnicodeWidthStr;

/// Names wider than this are rare: what is left goes to the trend.
const NAME: u16 = 56;

fn style_of(theme: Theme, key: &str, row: &ServiceRow<'_>, value: &Value) -> Style {
    let state = state_style(theme, row.health.state);
    let moves = matches!(value, Value::Number(n) if *n > 0.0);
    match key {
        "state" => state,
        "name" if !matches!(row.health.state, HealthState::Healthy | HealthState::Unknown) => state,
        "name" | "held" => theme.text(),
        "flows" | "packets" | "bytes" if moves => theme.text(),
        "loss" if moves => state,
        "why" => theme.text(),
        "refused" if moves => theme.bad(),
        "backends" if *value == Value::Number(0.0) => theme.bad(),
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
        self.list.fit(self.tree.len(), list);
        let position = self.list.position();
        let is_cut = position.contains('-');
        let shown = match self.fold() {
            // A line each: where one is among them says how many there are.
            Fold::Services if self.tree.len() == self.objects => format!("Services {position}"),
            Fold::Namespaces => {
                let namespaces = plural(self.tree.groups() as u64, "namespace");
                format!("Services {} in {namespaces}", self.objects)
            }
            _ if is_cut => format!("Services {} · lines {position}", self.objects),
            _ => format!("Services {}", self.objects),
        };
        let passing = self.tree.members().len();
        let mut title = match passing == total {
            true => shown,
            false => format!("{shown} · {passing} of {total} ports"),
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
        if let (true, false, Some(update)) = (self.heat, self.tree.len() == 0, &cx.update) {
            self.draw_heat(frame, inner, cx, update);
            return;
        }
        let place = Rect { x: inner.x + 1, width: inner.width.saturating_sub(2), ..inner };
        let columns: Vec<&'static Column<columns::Services>> =
            self.shown_columns(cx, place.width).into_iter().map(|i| &SERVICES[i]).collect();
        let places = columns_that_fit(&columns, place, "name", self.widest.max(self.tree.widest()).min(NAME));
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
        if self.tree.len() == 0 {
            let text = Paragraph::new(nothing(cx)).style(theme.dim()).wrap(Wrap { trim: false });
            frame.render_widget(text, list);
            return;
        }
        draw_list(frame, theme, &self.list, Some(focus), |frame, line, place| {
            let Some(line) = self.tree.line(line) else { return };
            let members = self.tree.members_of(line);
            let Some(row) = update.row(line.of) else { return };
            if !self.pinned.is_empty() && members.iter().all(|i| self.is_pinned(update, *i)) {
                put(frame, Rect { width: 1, ..place }, "*", theme.key(), false);
            }
            match line.kind {
                Kind::Alone => draw_row(frame, theme, &row, &places, place.y, &update.history, None),
                Kind::Part => {
                    let label = format!("  {}", part_label(self.fold(), row.service));
                    draw_row(frame, theme, &row, &places, place.y, &update.history, Some(label));
                }
                Kind::Folded | Kind::Head => self.draw_sum(frame, cx, update, line, &places, place.y),
            }
        });
    }

    fn is_pinned(&self, update: &Update, service: usize) -> bool {
        update.model.services.get(service).is_some_and(|s| self.pinned.contains(&service_key(s)))
    }

    /// A line of several: figures together, and the state of the worst.
    fn draw_sum(
        &self,
        frame: &mut Frame<'_>,
        cx: &Context,
        update: &Update,
        line: &TreeLine,
        places: &[(&'static Column<columns::Services>, Rect)],
        y: u16,
    ) {
        let theme = cx.theme;
        let members = self.tree.members_of(line);
        let rows: Vec<ServiceRow<'_>> = members.iter().filter_map(|i| update.row(*i)).collect();
        let Some(worst) = update.row(line.of) else { return };
        for (column, place) in places {
            let at = Rect { y, ..*place };
            let width = usize::from(place.width);
            let value = together(column, &rows);
            let style = style_of(theme, column.key, &worst, &value);
            let text = match column.key {
                "state" => worst.health.state.symbol().into(),
                "name" => {
                    let mark = if line.kind == Kind::Folded { "▸" } else { "▾" };
                    let services = rows.iter().map(|r| r.service);
                    let note = format!(" {mark} {}", self.tree.note_of(self.fold(), line, services));
                    let name = clip(self.tree.name_of(line), width.saturating_sub(note.width()));
                    put(frame, at, &name, style, false);
                    let x = at.x + name.width() as u16;
                    put(
                        frame,
                        Rect { x, width: at.right().saturating_sub(x), ..at },
                        &note,
                        theme.dim(),
                        false,
                    );
                    continue;
                }
                "why" => {
                    let like = rows.iter().filter(|r| r.health.state == worst.health.state).count();
                    let why = cause_of(&worst.health.why);
                    let text = match like == rows.len() || why.is_empty() {
                        true => why.to_string(),
                        false => format!("{like} of {}: {why}", rows.len()),
                    };
                    clip_end(&text, width)
                }
                "trend" => sparkline(&update.history.services(members), width),
                _ => column.text_of(&value, width),
            };
            put(frame, at, &text, style, column.right);
        }
    }
}

fn draw_row(
    frame: &mut Frame<'_>,
    theme: Theme,
    row: &ServiceRow<'_>,
    places: &[(&'static Column<columns::Services>, Rect)],
    y: u16,
    history: &History,
    label: Option<String>,
) {
    for (column, place) in places {
        let width = usize::from(place.width);
        let value = (column.value)(row);
        let text = match (column.key, &label) {
            ("name", Some(label)) => clip(label, width),
            ("state", _) => row.health.state.symbol().into(),
            // A Service of both families is listed twice, and nothing else says which is which.
            ("name", None) if row.service.family == IpFamily::V6 && row.service.name.is_some() => {
                column.text_of(&value, width.saturating_sub(3)) + " v6"
            }
            ("why", _) => clip_end(cause_of(&row.health.why), width),
            ("trend", _) => sparkline(&history.service(row.place), width),
            _ => column.text_of(&value, width),
        };
        put(frame, Rect { y, ..*place }, &text, style_of(theme, column.key, row, &value), column.right);
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
    // A node that lost its rules is no node without kube-proxy.
    let wiped = update.examination.findings.iter().find(|f| f.id == "wiped");
    let first = wiped.map(|f| Line::styled(format!(" ✗ {}: 6 says more", f.title), cx.theme.bad()));
    let text = match update.snapshot.rules_read() {
        true => " No Services of kube-proxy found in iptables, nftables or IPVS.",
        false => " Services could not be looked for: what holds them could not be read.",
    };
    let mut lines: Vec<Line<'static>> = first.into_iter().collect();
    lines.extend([Line::from(text), Line::from("")]);
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
