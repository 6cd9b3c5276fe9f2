//! The map of Services over the session: a row a Service, a cell a span of time, the darker the more new flows.

use super::Services;
use crate::format::{clip_end, duration, short};
use crate::proxy::screen_label;
use crate::rates::{Session, service_key};
use crate::tui::pane::Context;
use crate::tui::panes::widgets::{counts_new_flows, state_style};
use crate::tui::reader::Update;
use crate::tui::widgets::{draw_list, put, shade, shade_tops};
use ratatui::Frame;
use ratatui::layout::Rect;
use unicode_width::UnicodeWidthStr;

/// The newest points of a session, the newest first.
fn newest_first(session: &Session) -> impl Iterator<Item = f32> + '_ {
    session.points().iter().rev().copied()
}

impl Services {
    /// Draws heads and rows.
    pub(super) fn draw_heat(&self, frame: &mut Frame<'_>, area: Rect, cx: &Context, update: &Update) {
        let theme = cx.theme;
        let name = self.widest.clamp(12, 40).min(area.width / 3);
        let cells = area.width.saturating_sub(name + 4);
        let shown: Vec<(usize, Session)> = self
            .list
            .shown()
            .filter_map(|(line, _)| self.tree.line(line))
            .map(|l| (l.of, update.history.session(l.of)))
            .collect();
        let within = shown.iter().flat_map(|s| newest_first(&s.1).take(usize::from(cells)));
        let top = within.filter(|v| !v.is_nan()).fold(0.0, f32::max);
        let head = Rect { height: 1, ..area };
        put(frame, Rect { x: area.x + 3, width: name, ..head }, "SERVICE", theme.head(), false);
        let span = shown.first().map_or_else(Default::default, |s| s.1.span());
        let what = match counts_new_flows(update) {
            true => "new flows/s",
            false => "flows held",
        };
        // Up to what each shade goes; what does not fit goes from the end.
        let shades = shade_tops(top).map(|(mark, n)| format!("{mark} {}", short(f64::from(n)))).join(" ");
        let cell = format!("a cell {}", duration(span));
        let said = [
            format!("{cell} · up to {shades} {what} · ✗ some lost"),
            format!("{cell} · up to {shades} {what}"),
            format!("up to {shades} {what}"),
            shades,
        ];
        let right = Rect { x: area.x + 12, width: area.width.saturating_sub(12), ..head };
        let fits = said.iter().find(|s| s.width() <= usize::from(right.width)).unwrap_or(&said[3]);
        put(frame, right, fits, theme.head(), true);
        draw_list(frame, theme, &self.list, Some(!self.lower), |frame, line, place| {
            let Some(row) = self.tree.line(line).and_then(|l| update.row(l.of)) else { return };
            let state = state_style(theme, row.health.state);
            put(frame, Rect { x: place.x + 1, width: 1, ..place }, row.health.state.symbol(), state, false);
            let label = crate::format::clip(&screen_label(row.service), usize::from(name));
            put(frame, Rect { x: place.x + 3, width: name, ..place }, &label, theme.text(), false);
            let Some((_, session)) = shown.iter().find(|s| s.0 == row.place) else { return };
            let is_blank = newest_first(session).all(|v| v.is_nan() || v <= 0.0);
            if is_blank && !row.health.why.is_empty() {
                let at = Rect { x: place.x + 4 + name, width: cells, ..place };
                put(frame, at, &clip_end(&row.health.why, usize::from(cells)), theme.dim(), false);
                return;
            }
            let lost = update.losses.of(service_key(row.service));
            let mut lost = lost.into_iter().flat_map(newest_first);
            for (n, value) in (0..cells).zip(newest_first(session)) {
                let at = Rect { x: place.x + 3 + name + cells - n, width: 1, ..place };
                let (text, style) = match lost.next() {
                    Some(l) if l > 0.0 => ("✗", theme.bad()),
                    // Nothing was read.
                    _ if value.is_nan() => (" ", theme.dim()),
                    _ if value <= 0.0 => ("·", theme.dim()),
                    _ => (shade(value, top), theme.busy()),
                };
                put(frame, at, text, style, false);
            }
        });
    }
}
