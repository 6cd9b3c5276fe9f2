//! The flows of an opened Service: in figures, as they begin and end, and one by one.

use crate::format::{bytes, clip_end, count, duration, plural, short};
use crate::proxy::{Frontend, Service, endpoint_text};
use crate::ruleset::IpFamily;
use crate::snapshot::facts::{Flow as ConntrackFlow, SEEN_REPLY};
use crate::snapshot::{FlowEvents, FlowFigures, FlowKey, FlowTurnover, Flows, Snapshot, TCP_STATES};
use crate::tui::list::List;
use crate::tui::pane::Context;
use crate::tui::reader::Update;
use crate::tui::widgets::{draw_list, put};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::widgets::Paragraph;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

fn state_of(flow: &ConntrackFlow) -> &'static str {
    match flow.tcp_state {
        Some(s) => TCP_STATES.get(usize::from(s)).copied().unwrap_or("?"),
        None if flow.status & SEEN_REPLY == 0 => "UNREPLIED",
        None => "REPLIED",
    }
}

/// Flows of a Service in a sentence.
fn flow_words(service: &Service, snapshot: &Snapshot) -> String {
    if service.engine.mode().keeps_no_rules() {
        return "conntrack never sees the Service's address: it is translated before".into();
    }
    let mut sum = FlowFigures::default();
    let flows = snapshot.conntrack.as_ref().and_then(|c| c.flows.as_ref());
    let Some(flows) = flows.map(|f| &f.value) else {
        return "conntrack's flows could not be read".into();
    };
    for (key, figures) in &flows.groups {
        if is_to(service, snapshot, key) {
            sum.add(figures);
        }
    }
    let mut words = vec![plural(u64::from(sum.flows), "flow")];
    for (n, what) in [
        (sum.opening, "opening"),
        (sum.retrying, "sending again"),
        (sum.established, "established"),
        (sum.closing, "closing or closed"),
        (sum.unreplied, "unreplied"),
        (sum.assured, "assured"),
    ] {
        if n > 0 {
            words.push(format!("{n} {what}"));
        }
    }
    let now = snapshot.taken_at.as_nanosecond();
    match sum.oldest_ns {
        Some(ns) => {
            let age = Duration::from_nanos(
                now.saturating_sub(i128::from(ns)).clamp(0, i128::from(u64::MAX)) as u64
            );
            words.push(format!("oldest {}", duration(age)));
        }
        None if sum.flows > 0 => words.push("ages unknown (nf_conntrack_timestamp = 0)".into()),
        None => {}
    }
    words.join(" · ")
}

/// True for a flow that was sent to a Service.
pub(super) fn is_to(service: &Service, snapshot: &Snapshot, key: &FlowKey) -> bool {
    let own = || snapshot.addresses.iter().any(|a| a.address == key.frontend);
    let here =
        |f: &Frontend| f.port == key.frontend_port && f.address.map_or_else(own, |a| a == key.frontend);
    key.protocol == service.protocol.number() && service.frontends.iter().any(here)
}

/// The flows that are kept one by one, where those of this Service are among them.
pub(super) fn followed(snapshot: &Snapshot, service: &Service) -> Option<Arc<Flows>> {
    let wanted = |f: &Arc<Flows>| {
        f.all_kept
            || f.wanted().iter().any(|w| service.frontends.iter().any(|s| (s.address, s.port) == (w.1, w.2)))
    };
    snapshot.followed_flows().cloned().filter(wanted)
}

/// What began and ended while a user looks, in a sentence.
fn turnover_words(service: &Service, snapshot: &Snapshot, events: &FlowEvents) -> String {
    let mine = events.pairs.iter().filter(|(k, _)| is_to(service, snapshot, k));
    let (mut sum, mut by) = (FlowTurnover::default(), BTreeMap::new());
    for (k, t) in mine {
        sum.add(t);
        *by.entry((k.backend, k.backend_port)).or_insert(0) += t.began;
    }
    let seconds = events.span.as_secs_f64().max(0.001);
    let mut words = vec![
        format!(
            "in {}: {} began{}",
            duration(events.span),
            count(sum.began),
            // A rate of less than a second would be a guess.
            if seconds < 1.0 {
                String::new()
            } else {
                format!(" ({} a second)", short(sum.began as f64 / seconds))
            }
        ),
        format!("{} ended", count(sum.ended)),
    ];
    if sum.refused > 0 {
        words.push(format!("{} refused (RST)", count(sum.refused)));
    }
    if sum.ended_unanswered > sum.refused {
        words.push(format!("{} never answered", count(sum.ended_unanswered - sum.refused)));
    }
    if sum.variance > 0 {
        words.push(format!("estimated by a sample, ±{:.0} %", sum.error() * 200.0));
    }
    if events.lost > 0 {
        words.push(format!("{} notices lost", count(events.lost)));
    }
    let mut by: Vec<_> = by.into_iter().collect();
    by.sort_by_key(|b| std::cmp::Reverse(b.1));
    words.extend(by.iter().take(4).map(|((a, p), n)| format!("{} {}", endpoint_text(*a, *p), count(*n))));
    words.join(" · ")
}

pub(super) fn draw(
    frame: &mut Frame<'_>,
    area: Rect,
    cx: &Context,
    update: &Update,
    service: &Service,
    rows: &mut List,
) {
    let theme = cx.theme;
    let words = clip_end(&flow_words(service, &update.snapshot), usize::from(area.width.saturating_sub(2)));
    put(frame, Rect { x: area.x + 1, height: 1, ..area }, &words, theme.text(), false);
    let mut rest = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
    if let Some(events) = &update.snapshot.flow_events {
        let words = turnover_words(service, &update.snapshot, &events.value);
        let words = clip_end(&words, usize::from(area.width.saturating_sub(2)));
        put(frame, Rect { x: rest.x + 1, height: 1, ..rest }, &words, theme.dim(), false);
        rest = Rect { y: rest.y + 1, height: rest.height.saturating_sub(1), ..rest };
    }
    let Some(flows) = followed(&update.snapshot, service) else {
        rows.fit(0, rest);
        let words = match &update.moment {
            None => " Reading its flows one by one …",
            Some(_) => {
                " Not recorded: flows are read one by one only while a user looks at a Service. The backends show how many there are."
            }
        };
        let text = Paragraph::new(words).style(theme.dim()).wrap(ratatui::widgets::Wrap { trim: false });
        frame.render_widget(text, rest);
        return;
    };
    // Of a file all flows are kept: those of this Service are shown.
    let mine: Vec<&ConntrackFlow> = flows
        .followed
        .iter()
        .filter(|f| !flows.all_kept || f.is_dnat() && is_to(service, &update.snapshot, &FlowKey::of(f)))
        .collect();
    let v6 = service.family == IpFamily::V6;
    let address = if v6 { 41 } else { 21 };
    let wide = area.width >= address as u16 * 3 + 34;
    let mut head = format!(" {:<address$} ", "CLIENT");
    if wide {
        head.push_str(&format!("{:<address$} ", "FRONTEND"));
    }
    head.push_str(&format!("{:<address$} {:<12} {:>7}", "BACKEND", "STATE", "LEFT"));
    let counted = flows.accounting && area.width as usize >= head.len() + 22;
    if counted {
        head.push_str(&format!(" {:>9} {:>10}", "PACKETS", "BYTES"));
    }
    put(frame, Rect { height: 1, ..rest }, &head, theme.head(), false);
    let list = Rect { y: rest.y + 1, height: rest.height.saturating_sub(1), ..rest };
    let more = match flows.all_kept {
        true => 0,
        false => flows.followed_count.saturating_sub(mine.len() as u64),
    };
    let extra = usize::from(more > 0);
    rows.fit(mine.len() + extra, list);
    if mine.is_empty() {
        frame.render_widget(Paragraph::new(" No flow to it right now.").style(theme.dim()), list);
    }
    draw_list(frame, theme, rows, Some(true), |frame, line, at| {
        let Some(f) = mine.get(line) else {
            let text = format!(" … and {} more", plural(more, "flow"));
            put(frame, at, &text, theme.dim(), false);
            return;
        };
        let mut text = format!(" {:<address$} ", endpoint_text(f.original.source, f.original.source_port));
        if wide {
            let to = endpoint_text(f.original.destination, f.original.destination_port);
            text.push_str(&format!("{to:<address$} "));
        }
        let backend = endpoint_text(f.reply.source, f.reply.source_port);
        let left = duration(Duration::from_secs(f.timeout.into()));
        text.push_str(&format!("{backend:<address$} {:<12} {left:>7}", state_of(f)));
        if let (true, Some((sent, back))) = (counted, f.traffic) {
            let size = bytes(sent.bytes + back.bytes);
            text.push_str(&format!(" {:>9} {size:>10}", count(sent.packets + back.packets)));
        }
        let style = if f.status & SEEN_REPLY == 0 { theme.warn() } else { theme.text() };
        put(frame, at, &text, style, false);
    });
}
