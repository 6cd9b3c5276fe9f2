//! The picture of a Service: who sends, where it is reached, and which backends get it, with what is lost on the way.

use super::backends::kind_words;
use super::flows::{followed, is_to};
use crate::columns::lost_share;
use crate::doctor::{Spread, Taken, taken};
use crate::format::{clip, clip_end, count, nanoseconds, plural, share_text};
use crate::health::HealthState;
use crate::proxy::{
    CounterSource, Frontend, Service, endpoint_text, frontend_text, pod_network, pod_networks,
};
use crate::reach::{ALL, SenderKind, taker_words};
use crate::snapshot::{FlowKey, Latencies, Snapshot};
use crate::tui::list::List;
use crate::tui::pane::Context;
use crate::tui::reader::Update;
use crate::tui::theme::Theme;
use crate::tui::widgets::{bar, draw_list, histogram, put};
use crate::walk::End;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use std::net::IpAddr;
use unicode_width::UnicodeWidthStr;

/// Where the parts of a line begin, and how wide they are.
#[derive(Clone, Copy, Debug)]
struct Places {
    left: u16,
    /// Columns of a sender with its connections.
    sender: u16,
    /// Columns of a stretch of line on each side of a trunk.
    stretch: u16,
    /// The line from senders down to frontends.
    first: u16,
    middle: u16,
    middle_width: u16,
    second: u16,
    right: u16,
    address: u16,
    bar: u16,
    share: bool,
    latency: bool,
}

/// Columns of ` NEW/s`, ` REAL`, ` LATENCY`.
const RATE: u16 = 7;
const SHARE: u16 = 7;
const LATENCY: u16 = 8;

fn places(width: u16, frontends: u16, backends: u16, latency: bool) -> Places {
    const LEAST: u16 = 14;
    let narrow = width < 72;
    let (sender, stretch) = if narrow { (13, 2) } else { (16, 3) };
    let left = 1;
    let first = left + sender + stretch;
    let middle = first + stretch;
    let (share, latency) = (!narrow, latency && width >= 100);
    let figures = RATE + if share { SHARE } else { 0 } + if latency { LATENCY } else { 0 };
    // Backends are told apart by their addresses: these are cut last.
    let room = width.saturating_sub(middle + 2 * stretch + figures + 1);
    let address = backends.min(room.saturating_sub(LEAST));
    let middle_width = frontends.min(room.saturating_sub(address)).min(40);
    let second = middle + middle_width + stretch;
    let right = second + stretch;
    let bar = room.saturating_sub(middle_width + address + 1).min(30);
    Places { left, sender, stretch, first, middle, middle_width, second, right, address, bar, share, latency }
}

/// One who sends: how many connections conntrack holds of it, and what is lost.
struct From {
    name: &'static str,
    held: Option<u64>,
    lost: f64,
}

/// How much goes over a stretch of line.
fn stroke(part: f64) -> char {
    match part {
        p if p <= 0.0 => '╌',
        p if p < 0.34 => '─',
        _ => '━',
    }
}

/// A cell of a trunk: what is at its left and right, above and below.
fn joint(left: bool, right: bool, up: bool, down: bool) -> char {
    match (left, right, up, down) {
        (true, true, false, false) => '─',
        (true, true, false, true) => '┬',
        (true, true, true, true) => '┼',
        (true, true, true, false) => '┴',
        (true, false, false, true) => '┐',
        (true, false, true, true) => '┤',
        (true, false, true, false) => '┘',
        (false, true, false, true) => '┌',
        (false, true, true, true) => '├',
        (false, true, true, false) => '└',
        (false, false, true, true) => '│',
        (true, false, false, false) => '╴',
        (false, true, false, false) => '╶',
        _ => ' ',
    }
}

/// Connections by who sends them, where the flows of this Service are read one by one.
fn held_by_sender(update: &Update, service: &Service) -> Option<[u64; 3]> {
    let s: &Snapshot = &update.snapshot;
    let flows = followed(s, service)?;
    let mut pods = pod_networks(s, service.family);
    pods.extend(pod_network(s, service.family));
    let own = |a: IpAddr| s.addresses.iter().any(|x| x.address == a);
    let mut by = [0; 3];
    for f in flows.followed.iter().filter(|f| is_to(service, s, &FlowKey::of(f))) {
        let source = f.original.source;
        let kind = match () {
            () if own(source) => 1,
            () if pods.iter().any(|n| n.contains(source)) => 0,
            () => 2,
        };
        by[kind] += 1;
    }
    // So many are read one by one at most; the rest is as they are.
    let (all, read) = (flows.followed_count, flows.followed.len() as u64);
    Some(by.map(|n| if read > 0 && all > read { n * all / read } else { n }))
}

fn senders(update: &Update, i: usize, service: &Service) -> Vec<From> {
    // Conntrack does not see the address of a Service that no rule translates.
    let held = held_by_sender(update, service).filter(|_| !service.engine.mode().keeps_no_rules());
    let kinds = [SenderKind::Pod, SenderKind::Node, SenderKind::Outside];
    let names = ["pods", "this node", "outside"];
    let lost = |kind: SenderKind| {
        let losses = update.reach.get(i).into_iter().flat_map(|r| &r.losses);
        losses.filter(|l| l.sender == kind).map(|l| l.share).fold(0.0, f64::max)
    };
    let one = |n: usize| From { name: names[n], held: held.map(|h| h[n]), lost: lost(kinds[n]) };
    let mut all: Vec<From> = (0..kinds.len()).map(one).collect();
    let others = lost(SenderKind::OtherNode);
    if others > 0.0 {
        all.push(From { name: "other nodes", held: None, lost: others });
    }
    all
}

/// `10.96.2.9:8080 cluster IP`
fn whole_line(f: &Frontend) -> String {
    let address = frontend_text(f);
    f.kind.map_or(address.clone(), |kind| format!("{address} {}", kind_words(kind)))
}

/// A frontend in so many columns: its kind goes before its address is cut.
fn frontend_line(f: &Frontend, width: usize) -> String {
    let whole = whole_line(f);
    if whole.width() <= width { whole } else { clip(&frontend_text(f), width) }
}

/// What takes new flows of a Service, what takes most first.
fn taken_of(update: &Update, i: usize) -> Vec<Taken<'_>> {
    let mut all = taken(update.reach.get(i).into_iter().map(|r| (i, r)));
    all.sort_by(|a, b| b.share().total_cmp(&a.share()));
    all
}

/// Who loses which part, by what, where, and what it counted.
fn loss_words(s: &Snapshot, t: &Taken<'_>) -> String {
    let verb = match t.losses.first().map(|l| l.part.end) {
        Some(End::Dropped) => "dropped by",
        Some(End::Rejected) => "rejected by",
        _ => "lost by",
    };
    let place = t.taker.place(s).map_or(String::new(), |p| format!(" · {p}"));
    let rule = t.taker.rule().and_then(|r| {
        let table = &s.tables.get(r.table)?.table;
        Some(format!(": {}", table.rule_text(table.rule(r.rule))))
    });
    let packets = t.taker.packets(s).map_or(String::new(), |n| format!(" · {} packets", count(n)));
    format!(
        "✗ {} from {} {verb} {}{place}{}{packets}",
        share_text(Some(t.share())),
        t.senders_text(),
        taker_words(s, t.taker),
        rule.unwrap_or_default()
    )
}

/// Lines that the section needs: heads, the longest of its columns, the verdict, and what is lost.
pub(super) fn needed_height(update: &Update, i: usize) -> u16 {
    let service = &update.model.services[i];
    let rows = service.frontends.len().max(service.backends.len()).max(4);
    (rows + 2 + taken_of(update, i).len()).min(usize::from(u16::MAX)) as u16
}

/// Draws the section.
pub(super) fn draw(
    frame: &mut Frame<'_>,
    area: Rect,
    cx: &Context,
    (update, i): (&Update, usize),
    rows: &mut List,
) {
    let theme = cx.theme;
    let service = &update.model.services[i];
    if area.height < 3 {
        rows.hide();
        return;
    }
    let lost = taken_of(update, i);
    let figures = update.model.figures(i);
    let spread = Spread::of(service, figures);
    let by_conntrack = service.backends.iter().any(|b| b.source == CounterSource::Conntrack);
    let bends = by_conntrack && !lost.is_empty();
    let verdict = match service.backends.is_empty() {
        true => super::backends::no_backends(service).trim().to_string(),
        // Conntrack has no flow whose first packet was dropped.
        false if bends => "spread not judged: flows that are lost are not counted in this mode".into(),
        false => spread.words(),
    };
    let widest = |all: &mut dyn Iterator<Item = usize>| all.max().unwrap_or(1) as u16;
    let lines = service.frontends.iter().map(|f| whole_line(f).width());
    let backends = service.backends.iter().map(|b| endpoint_text(b.address, b.port).width()).chain([12]);
    let timed = (0..service.backends.len()).any(|n| figures.latencies(n).is_some());
    let p = places(area.width, widest(&mut { lines }), widest(&mut { backends }), timed);
    let at = |x: u16, width: u16, y: u16| Rect { x: area.x + x, y, width, height: 1 };
    heads(frame, theme, area, p);
    // What is said below: the verdict, and what is lost.
    let below = (1 + lost.len() as u16).min(area.height / 3).max(1);
    let body = Rect { y: area.y + 1, height: area.height - 1 - below, ..area };
    let from = senders(update, i, service);
    let most_held = from.iter().filter_map(|f| f.held).max().unwrap_or(0).max(1) as f64;
    let rates: Vec<Option<f64>> = (0..service.backends.len())
        .map(|b| update.rates.backend(&update.model.services, i, b).and_then(|r| r.flows.ok()))
        .collect();
    let most = rates.iter().flatten().copied().fold(0.0, f64::max);
    rows.fit(
        service.backends.len(),
        Rect { x: area.x + p.right, width: area.width.saturating_sub(p.right), ..body },
    );
    let most_reached = figures.frontends().filter_map(|f| f.flows).max().unwrap_or(0).max(1) as f64;
    let shown_frontends = service.frontends.len().min(usize::from(body.height));
    let lines = from.len().max(shown_frontends);
    for (n, sender) in from.iter().enumerate().take(usize::from(body.height)) {
        let y = body.y + n as u16;
        let held = sender.held.map_or("-".to_string(), count);
        let style = if sender.lost > 0.0 { theme.bad() } else { theme.text() };
        put(frame, at(p.left, p.sender, y), sender.name, style, false);
        put(frame, at(p.left, p.sender, y), &held, theme.text(), true);
        let part = sender.held.map_or(0.0, |h| h as f64 / most_held);
        stretch(frame, theme, at(p.left + p.sender, p.stretch, y), part, sender.lost);
    }
    for (n, f) in service.frontends.iter().enumerate().take(shown_frontends) {
        let y = body.y + n as u16;
        let refuses = f.lack().is_some();
        let held = figures.frontend(n).flows.unwrap_or(0) as f64 / most_reached;
        stretch(frame, theme, at(p.first + 1, p.stretch - 1, y), held, 0.0);
        let style = if refuses { theme.bad() } else { theme.text() };
        let hidden = service.frontends.len() - shown_frontends;
        let text = match hidden > 0 && n + 1 == shown_frontends {
            true => format!("and {} more", hidden + 1),
            false => frontend_line(f, usize::from(p.middle_width)),
        };
        put(frame, at(p.middle, p.middle_width, y), &text, style, false);
        let gap = p.middle_width.saturating_sub(text.width() as u16);
        if gap > 1 {
            let line = stroke(held).to_string().repeat(usize::from(gap - 1));
            let x = p.middle + text.width() as u16 + 1;
            put(frame, at(x, gap - 1, y), &line, theme.dim(), false);
        }
        stretch(
            frame,
            theme,
            at(p.middle + p.middle_width, p.stretch, y),
            held,
            if refuses { 1.0 } else { 0.0 },
        );
    }
    let shown = rows.shown().count();
    trunk(frame, theme, area.x + p.first, body, lines, |n| (n < from.len(), n < shown_frontends));
    let lines = shown_frontends.max(shown);
    trunk(frame, theme, area.x + p.second, body, lines, |n| (n < shown_frontends, n < shown));
    if service.backends.is_empty() {
        let text = if service.unknown_backends.is_some() { "not known" } else { "no endpoints" };
        put(frame, at(p.right, area.width.saturating_sub(p.right), body.y), text, theme.bad(), false);
    }
    let used = from.len().max(lines) as u16 + 1;
    let rest = Rect { y: body.y + used, height: body.height.saturating_sub(used), ..body };
    draw_times(frame, theme, rest, &figures.all_latencies());
    draw_list(frame, theme, rows, Some(true), |frame, n, place| {
        let part = rates[n].map_or(0.0, |r| if most > 0.0 { r / most } else { 0.0 });
        draw_backend(frame, theme, (update, i, n), p, Rect { x: area.x, ..place }, part);
    });
    let verdict = match update.moment.is_some() && from.iter().all(|f| f.held.is_none()) {
        true if !service.engine.mode().keeps_no_rules() => format!("{verdict} · senders were not recorded"),
        _ => verdict,
    };
    // The verdict, then what is lost.
    let text = Rect { x: area.x + 1, y: body.bottom(), width: area.width.saturating_sub(2), height: 1 };
    let style = if spread.is_uneven() && !bends { theme.warn() } else { theme.dim() };
    put(frame, text, &clip_end(&verdict, usize::from(text.width)), style, false);
    for (n, t) in lost.iter().enumerate().take(usize::from(below - 1)) {
        let line = clip_end(&loss_words(&update.snapshot, t), usize::from(text.width));
        put(frame, Rect { y: text.y + 1 + n as u16, ..text }, &line, theme.bad(), false);
    }
}

/// Where there is room: how long the first answers took.
fn draw_times(frame: &mut Frame<'_>, theme: Theme, area: Rect, times: &Latencies) {
    const LEAST: u16 = 6;
    const MOST: u16 = 11;
    let quantile = |part| times.quantile(part).map(|t| nanoseconds(t.as_nanos() as f64));
    let (true, Some((half, most))) = (area.height >= LEAST, quantile(0.5).zip(quantile(0.95))) else {
        return;
    };
    let flows = plural(times.count(), "flow");
    let head = format!(
        "Time to the first answer: {flows} in the last minute, half within {half}, 95% within {most}"
    );
    let line = Rect { x: area.x + 1, width: area.width.saturating_sub(2), height: 1, ..area };
    put(frame, line, &clip_end(&head, usize::from(line.width)), theme.head(), false);
    let plot = Rect { y: area.y + 1, height: area.height.min(MOST) - 1, ..line };
    histogram(frame, theme, plot, &times.classes().collect::<Vec<_>>());
}

fn heads(frame: &mut Frame<'_>, theme: Theme, area: Rect, p: Places) {
    let at = |x: u16, width: u16| Rect { x: area.x + x, y: area.y, width, height: 1 };
    put(frame, at(p.left, p.sender), "SENDERS", theme.head(), false);
    put(frame, at(p.left, p.sender), "CONNS", theme.head(), true);
    put(frame, at(p.middle, p.middle_width), "REACHED AT", theme.head(), false);
    put(frame, at(p.right, p.address), "GOES TO", theme.head(), false);
    let mut x = p.right + p.address;
    for (width, head) in [(RATE, "NEW/s"), (SHARE, "REAL"), (LATENCY, "LATENCY")] {
        if (head != "LATENCY" || p.latency) && (head != "REAL" || p.share) {
            put(frame, at(x, width), head, theme.head(), true);
            x += width;
        }
    }
    if p.bar > 9 {
        put(frame, at(x + 1, p.bar), "NEW FLOWS", theme.head(), false);
    }
}

/// A stretch of line; what is lost on it is red.
fn stretch(frame: &mut Frame<'_>, theme: Theme, place: Rect, part: f64, lost: f64) {
    let mut text: Vec<char> = vec![stroke(part); usize::from(place.width)];
    if lost > 0.0 {
        let middle = text.len() / 2;
        text[middle] = '✗';
    }
    let style = if lost > 0.0 { theme.bad() } else { theme.dim() };
    put(frame, place, &text.into_iter().collect::<String>(), style, false);
}

/// The line from one side to the other; `sides`: what is at the left and right of each of its cells.
fn trunk(
    frame: &mut Frame<'_>,
    theme: Theme,
    x: u16,
    body: Rect,
    lines: usize,
    sides: impl Fn(usize) -> (bool, bool),
) {
    let lines = lines.min(usize::from(body.height));
    for n in 0..lines {
        let (left, right) = sides(n);
        let text = joint(left, right, n > 0, n + 1 < lines).to_string();
        put(frame, Rect { x, y: body.y + n as u16, width: 1, height: 1 }, &text, theme.dim(), false);
    }
}

fn draw_backend(
    frame: &mut Frame<'_>,
    theme: Theme,
    (update, i, n): (&Update, usize, usize),
    p: Places,
    line: Rect,
    part: f64,
) {
    let service = &update.model.services[i];
    let b = &service.backends[n];
    let figures = update.model.figures(i);
    let is_lost = update.health.get(i).is_some_and(|h| {
        let none_answers = h.state == HealthState::Failing && lost_share(h) >= Some(ALL);
        h.lost_backend(n).is_some() || none_answers
    });
    let at = |x: u16, width: u16| Rect { x: line.x + x, width, ..line };
    stretch(frame, theme, at(p.second + 1, p.stretch - 1), part, if is_lost { 1.0 } else { 0.0 });
    let style: Style = if is_lost { theme.bad() } else { theme.text() };
    let address = clip(&endpoint_text(b.address, b.port), usize::from(p.address));
    put(frame, at(p.right, p.address), &address, style, false);
    let rate = update.rates.backend(&update.model.services, i, n);
    let mut x = p.right + p.address;
    let rate = rate.map_or("-".to_string(), |r| crate::rates::rate_text(r.flows));
    put(frame, at(x, RATE), &rate, style, true);
    x += RATE;
    if p.share {
        put(frame, at(x, SHARE), &share_text(figures.real_share(n)), style, true);
        x += SHARE;
    }
    if p.latency {
        let time = figures.latencies(n).and_then(|l| l.quantile(0.95));
        let time = time.map_or("-".to_string(), |t| nanoseconds(t.as_nanos() as f64));
        put(frame, at(x, LATENCY), &time, theme.dim(), true);
        x += LATENCY;
    }
    if p.bar > 3 {
        let style = if is_lost { theme.bad() } else { theme.busy() };
        put(frame, at(x + 1, p.bar), &bar(part, usize::from(p.bar)), style, false);
    }
}
