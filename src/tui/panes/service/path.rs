//! The path of a packet to a Service: the outcome, and each rule that it meets.

use crate::explain::{Line, LineKind, Sender};
use crate::format::{clip, clip_end, clip_rule};
use crate::proxy::{Frontend, Service, chain_of_service, frontend_text};
use crate::tui::list::List;
use crate::tui::pane::Context;
use crate::tui::reader::Update;
use crate::tui::theme::Theme;
use crate::tui::widgets::{draw_list, put};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use unicode_width::UnicodeWidthStr;

fn style(theme: Theme, kind: LineKind) -> Style {
    match kind {
        LineKind::Head => theme.accent(),
        LineKind::Answer => theme.good(),
        LineKind::Bad => theme.bad(),
        LineKind::Step | LineKind::Ending => theme.text(),
        LineKind::Passed | LineKind::Note | LineKind::Command => theme.dim(),
    }
}

/// Draws the section.
pub(super) fn draw(
    frame: &mut Frame<'_>,
    area: Rect,
    cx: &Context,
    (update, service): (&Update, &Service),
    (sender, to): (Sender, Option<&Frontend>),
    lines: &[Line],
    list: &mut List,
) {
    let theme = cx.theme;
    let to = to.map_or("-".into(), frontend_text);
    let more = match service.frontends.len() {
        0 | 1 => String::new(),
        n => format!(" · f: the next of {n} frontends"),
    };
    let head = format!(" From {sender} to {to} · e: from another{more} · Enter: its way, its rule");
    let text = clip_end(&head, usize::from(area.width));
    put(frame, Rect { height: 1, ..area }, &text, theme.head(), false);
    let rest = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
    list.fit(lines.len(), rest);
    let is_ending = |l: &Line| matches!(l.kind, LineKind::Ending | LineKind::Answer | LineKind::Bad);
    // Names of chains take what they need, up to a third.
    let places = lines.iter().filter(|l| !is_ending(l)).map(|l| l.place.width()).max().unwrap_or(0);
    let places = places.min(usize::from(area.width) / 3);
    // Beside a hash whose chain it is, where there is room for both.
    let names: Vec<Option<String>> = match area.width >= 110 {
        true => lines.iter().map(|l| chain_of_service(&update.snapshot, service, l.rule?)).collect(),
        false => Vec::new(),
    };
    let widest = names.iter().flatten().map(|n| n.width()).max().unwrap_or(0).min(26);
    draw_list(frame, theme, list, Some(true), |frame, i, at| {
        let l = &lines[i];
        let width = usize::from(at.width);
        let figure = l.figure.width() + usize::from(!l.figure.is_empty());
        let place = match (l.place.is_empty(), is_ending(l)) {
            (true, _) => String::new(),
            (false, true) => format!("{:>8}  ", l.place),
            (false, false) => {
                let name = clip(&l.place, places);
                let known = clip(names.get(i).and_then(Option::as_deref).unwrap_or_default(), widest);
                let beside = if widest > 0 { 2 } else { 0 };
                let gap = " ".repeat(places - name.width() + beside);
                format!("{name}{gap}{known}{}  ", " ".repeat(widest - known.width()))
            }
        };
        let indent = if l.kind == LineKind::Head { " " } else { "   " };
        let room = width.saturating_sub(indent.len() + place.width() + figure + 1);
        let text = if l.kind == LineKind::Step { clip_rule(&l.text, room) } else { clip_end(&l.text, room) };
        put(frame, at, &format!("{indent}{place}{text}"), style(theme, l.kind), false);
        if !l.figure.is_empty() {
            let at = Rect { width: at.width.saturating_sub(1), ..at };
            put(frame, at, &l.figure, theme.dim(), true);
        }
    });
}
