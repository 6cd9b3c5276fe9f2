//! How a frame is made.

use super::state::{FleetScreen, Opened, Tab};
use crate::doctor::Severity;
use crate::fleet::{
    Fleet, FleetNode, FleetService, Head, NODE_HEADS, PLACE_HEADS, SERVICE_HEADS, node_cells, place_cells,
    service_cells, totals,
};
use crate::format::{clip, clip_end, duration, wrapped};
use crate::health::HealthState;
use crate::tui::list::List;
use crate::tui::panes::{severity_style, state_style};
use crate::tui::theme::Theme;
use crate::tui::widgets::{draw_list, part, put, width};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Paragraph};
use unicode_width::UnicodeWidthStr;

/// Screens that are smaller show nothing else than this.
const LEAST: (u16, u16) = (40, 10);

/// Draws it.
pub fn draw_fleet(frame: &mut Frame<'_>, screen: &mut FleetScreen) {
    let area = frame.area();
    if area.width < LEAST.0 || area.height < LEAST.1 {
        let text = format!("kptop needs {}x{}", LEAST.0, LEAST.1);
        frame.render_widget(Paragraph::new(clip_end(&text, usize::from(area.width))), area);
        return;
    }
    let [header, tabs, body, footer] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(1),
        Constraint::Min(3),
        Constraint::Length(1),
    ])
    .areas(area);
    draw_header(frame, screen, header);
    draw_tabs(frame, screen, tabs);
    draw_footer(frame, screen, footer);
    let theme = screen.theme;
    let Some(fleet) = screen.fleet.clone() else {
        let inner = part(frame, theme, body, "Services", "", true);
        let (text, style) = match &screen.error {
            Some(why) => (why.clone(), theme.bad()),
            None => (format!("Asking {} …", screen.store), theme.dim()),
        };
        paragraph(frame, inner, &text, style);
        return;
    };
    if screen.opened.is_some() {
        draw_opened(frame, screen, &fleet, body);
    } else {
        let lower = (body.height / 4).clamp(4, 9);
        let [upper, lower] = Layout::vertical([Constraint::Min(3), Constraint::Length(lower)]).areas(body);
        match screen.tab {
            Tab::Services => draw_services(frame, screen, &fleet, upper, lower),
            Tab::Nodes => draw_nodes(frame, screen, &fleet, upper, lower),
        }
    }
    if screen.help {
        draw_help(frame, theme, body);
    }
}

fn paragraph(frame: &mut Frame<'_>, area: Rect, text: &str, style: Style) {
    let room = usize::from(area.width.saturating_sub(2));
    let lines = text.lines().flat_map(|l| wrapped(l, room));
    let lines: Vec<Line<'_>> = lines.map(|l| Line::styled(format!(" {l}"), style)).collect();
    frame.render_widget(Paragraph::new(lines), area);
}

fn draw_header(frame: &mut Frame<'_>, screen: &FleetScreen, area: Rect) {
    let theme = screen.theme;
    let [first, second] = [0, 1].map(|i| Rect { y: area.y + i, height: 1, ..area });
    let age = screen.asked.map(|t| t.elapsed());
    let right = match (age, &screen.error) {
        (Some(age), Some(_)) => {
            vec![Span::styled(format!("old: answered {} ago ", duration(whole(age))), theme.bad())]
        }
        (Some(age), None) => vec![
            Span::styled(format!("answered {} ago in ", duration(whole(age))), theme.dim()),
            Span::raw(duration(screen.took)),
            Span::styled(format!(" · every {} ", duration(screen.every)), theme.dim()),
        ],
        (None, _) => vec![Span::styled("asking … ", theme.dim())],
    };
    let mut left = vec![
        Span::styled(" kptop ", theme.accent().add_modifier(Modifier::REVERSED)),
        Span::styled(" fleet", theme.strong()),
    ];
    let room = usize::from(area.width).saturating_sub(width(&left) + width(&right) + 4);
    if room > 8 {
        left.push(Span::styled(format!(" · {}", clip(&screen.store, room)), theme.dim()));
    }
    let w = (width(&right) as u16).min(area.width.saturating_sub(width(&left) as u16 + 1));
    frame.render_widget(Paragraph::new(Line::from(left)), first);
    let place = Rect { x: first.right() - w, width: w, ..first };
    frame.render_widget(Paragraph::new(Line::from(right)), place);
    if let Some(fleet) = &screen.fleet {
        let text = totals(fleet).join(" · ");
        let style = if fleet.has_findings() { theme.warn() } else { theme.text() };
        put(frame, second, &clip_end(&format!(" {text}"), usize::from(area.width)), style, false);
    }
}

/// Whole seconds: tenths would only flicker.
fn whole(t: std::time::Duration) -> std::time::Duration {
    std::time::Duration::from_secs(t.as_secs().max(1))
}

fn draw_tabs(frame: &mut Frame<'_>, screen: &mut FleetScreen, area: Rect) {
    let theme = screen.theme;
    screen.tabs.clear();
    let mut x = area.x + 1;
    for (tab, label) in [(Tab::Services, " 1 Services "), (Tab::Nodes, " 2 Nodes ")] {
        let place = Rect { x, y: area.y, width: label.len() as u16, height: 1 };
        put(frame, place, label, if screen.tab == tab { theme.on() } else { theme.dim() }, false);
        screen.tabs.push((place, tab));
        x += place.width + 1;
    }
}

fn draw_footer(frame: &mut Frame<'_>, screen: &FleetScreen, area: Rect) {
    let theme = screen.theme;
    let room = usize::from(area.width);
    if screen.searching {
        let line = Line::from(vec![
            Span::styled(" search: ", theme.key()),
            Span::raw(clip(&screen.filter.search(0).text, room / 2)),
            Span::styled("█", theme.accent()),
            Span::styled("   Enter keeps it · Esc clears it", theme.dim()),
        ]);
        frame.render_widget(Paragraph::new(line), area);
        return;
    }
    if let Some(message) = &screen.message {
        put(frame, area, &clip_end(&format!(" {message}"), room), theme.accent(), false);
        return;
    }
    let mut spans = vec![Span::raw(" ")];
    if let Some(why) = screen.error.as_ref().filter(|_| screen.fleet.is_some()) {
        let why = why.lines().next().unwrap_or_default();
        spans.push(Span::styled(format!("{}  ", clip_end(why, room.saturating_sub(12))), theme.bad()));
    }
    let enter = match (&screen.opened, screen.tab) {
        (None, Tab::Services) => "its nodes",
        _ => "leave for this node",
    };
    let hints = [
        ("q", "quit"),
        ("?", "help"),
        ("Enter", enter),
        ("/", "search"),
        ("Tab", "next list"),
        ("o", "ask now"),
        ("y", "copy"),
    ];
    for (key, word) in hints {
        let hint = [Span::styled(key, theme.key()), Span::styled(format!(" {word}  "), theme.dim())];
        if width(&spans) + width(&hint) <= room + 2 {
            spans.extend(hint);
        }
    }
    frame.render_widget(Paragraph::new(Line::from(spans)), area);
}

/// A row of a table: cells with a style each.
type Row = Vec<(String, Style)>;

/// Columns that fit, each as wide as what is in it; names are cut before a column goes.
fn places(heads: &[Head], rows: &[Row], area: Rect) -> Vec<(usize, Rect)> {
    const NAME: usize = 24;
    let mut widths: Vec<usize> = heads.iter().map(|h| h.text.width()).collect();
    for row in rows {
        for (w, (text, _)) in widths.iter_mut().zip(row) {
            *w = (*w).max(text.width());
        }
    }
    let room = usize::from(area.width).saturating_sub(2);
    let mut shown: Vec<usize> = (0..heads.len()).collect();
    let needed = |shown: &[usize], widths: &[usize]| -> usize {
        shown.iter().map(|i| widths[*i] + 2).sum::<usize>().saturating_sub(2)
    };
    // Long words first, as far as they can still be read; then columns, the least needed first.
    while needed(&shown, &widths) > room {
        let long = shown.iter().copied().filter(|i| !heads[*i].right).max_by_key(|i| widths[*i]);
        match long.filter(|i| widths[*i] > NAME) {
            Some(i) => widths[i] -= 1,
            None => match shown.iter().copied().max_by_key(|i| heads[*i].rank).filter(|_| shown.len() > 2) {
                Some(last) => shown.retain(|i| *i != last),
                None => break,
            },
        }
    }
    let mut x = area.x + 1;
    let mut places = Vec::new();
    for i in shown {
        let width = (widths[i] as u16).min(area.right().saturating_sub(x));
        places.push((i, Rect { x, y: area.y, width, height: 1 }));
        x += width + 2;
    }
    places
}

/// Draws a table with its chosen row. `row` makes the rows that are on the screen.
fn table(
    frame: &mut Frame<'_>,
    theme: Theme,
    list: &mut List,
    inner: Rect,
    len: usize,
    heads: &[Head],
    row: &dyn Fn(usize) -> Row,
) {
    list.fit(len, Rect { y: inner.y + 1, height: inner.height.saturating_sub(1), ..inner });
    let rows: Vec<Row> = list.shown().map(|(i, _)| row(i)).collect();
    let places = places(heads, &rows, inner);
    for (i, place) in &places {
        put(frame, *place, heads[*i].text, theme.head(), heads[*i].right);
    }
    let top = list.top;
    draw_list(frame, theme, list, Some(true), |frame, i, at| {
        for (column, place) in &places {
            let (text, style) = &rows[i - top][*column];
            let place = Rect { y: at.y, ..*place };
            put(frame, place, &clip(text, usize::from(place.width)), *style, heads[*column].right);
        }
    });
}

fn lost_style(theme: Theme, lost: Option<f64>) -> Style {
    if lost.is_some_and(|l| l > 0.0) { theme.bad() } else { theme.text() }
}

fn service_row(theme: Theme, fleet: &Fleet, s: &FleetService) -> Row {
    let state = state_style(theme, s.worst());
    let odd = if s.differs.is_empty() { theme.text() } else { theme.warn() };
    let lost = lost_style(theme, s.lost.map(|l| l.0));
    let text = theme.text();
    let styles = [text, state, text, lost, theme.busy(), text, theme.dim(), odd];
    service_cells(fleet, s).into_iter().zip(styles).collect()
}

fn node_style(theme: Theme, n: &FleetNode) -> Style {
    match n.findings.iter().map(|f| f.severity).min() {
        _ if n.is_silent => theme.bad(),
        Some(s) if s != Severity::Info => severity_style(theme, s),
        _ => theme.good(),
    }
}

fn node_row(theme: Theme, n: &FleetNode) -> Row {
    let odd = if n.differs.is_empty() { theme.text() } else { theme.warn() };
    let bad = if n.bad() > 0 { theme.bad() } else { theme.text() };
    let text = theme.text();
    let styles = [text, node_style(theme, n), odd, text, bad, theme.busy(), theme.dim(), theme.dim()];
    node_cells(n).into_iter().zip(styles).collect()
}

fn title(what: &str, list: &List, filter: &str) -> String {
    format!("{what} {}{filter}", list.position())
}

fn draw_services(frame: &mut Frame<'_>, screen: &mut FleetScreen, fleet: &Fleet, upper: Rect, lower: Rect) {
    let theme = screen.theme;
    let shown = screen.shown_services(fleet);
    let height = upper.height.saturating_sub(2);
    screen.services.fit(shown.len(), Rect { y: upper.y + 2, height, ..upper });
    let name = title("Services", &screen.services, &screen.filter.note());
    let inner = part(frame, theme, upper, &name, "problems first, then new flows", true);
    if shown.is_empty() {
        let text = match fleet.services.len() {
            0 => "No node reports a Service.".to_string(),
            n => format!("None of {n} Services passes the search. Esc clears it."),
        };
        paragraph(frame, inner, &text, theme.dim());
    } else {
        let row = |i: usize| service_row(theme, fleet, &fleet.services[shown[i]]);
        table(frame, theme, &mut screen.services, inner, shown.len(), &SERVICE_HEADS, &row);
    }
    let Some(s) = shown.get(screen.services.chosen).map(|i| &fleet.services[*i]) else {
        part(frame, theme, lower, "Over the nodes", "", false);
        return;
    };
    let inner = part(frame, theme, lower, &s.key.label(), "Enter: its nodes", false);
    let mut lines = vec![(FleetScreen::states_text(s), state_style(theme, s.worst()))];
    if let Some((part, node)) = s.lost {
        let name = fleet.nodes.get(node).map_or("?", |n| n.name.as_str());
        let part = crate::format::share_text(Some(part));
        lines.push((
            format!("the rules of {name} lose {part} of its new flows, for the worst of the senders"),
            theme.bad(),
        ));
    }
    let name = |n: &usize| fleet.nodes.get(*n).map_or("?", |n| n.name.as_str());
    if !s.differs.is_empty() {
        let names: Vec<&str> = s.differs.iter().take(8).map(name).collect();
        let more = s.differs.len().saturating_sub(8);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        lines.push((format!("differs from the most on {}{more}", names.join(", ")), theme.warn()));
    }
    lines.extend(fleet.notes.iter().map(|n| (n.clone(), theme.dim())));
    let room = usize::from(inner.width.saturating_sub(2));
    let lines: Vec<Line<'_>> = lines
        .iter()
        .flat_map(|(text, style)| {
            wrapped(text, room).into_iter().map(|l| Line::styled(format!(" {l}"), *style))
        })
        .collect();
    frame.render_widget(Paragraph::new(lines), inner);
}

fn draw_nodes(frame: &mut Frame<'_>, screen: &mut FleetScreen, fleet: &Fleet, upper: Rect, lower: Rect) {
    let theme = screen.theme;
    let shown = screen.shown_nodes(fleet);
    let height = upper.height.saturating_sub(2);
    screen.nodes.fit(shown.len(), Rect { y: upper.y + 2, height, ..upper });
    let name = title("Nodes", &screen.nodes, &screen.filter.note());
    let inner = part(frame, theme, upper, &name, "silent and odd ones first", true);
    if shown.is_empty() {
        let text = format!("None of {} nodes passes the search. Esc clears it.", fleet.nodes.len());
        paragraph(frame, inner, &text, theme.dim());
    } else {
        let row = |i: usize| node_row(theme, &fleet.nodes[shown[i]]);
        table(frame, theme, &mut screen.nodes, inner, shown.len(), &NODE_HEADS, &row);
    }
    let Some(n) = shown.get(screen.nodes.chosen).map(|i| &fleet.nodes[*i]) else {
        part(frame, theme, lower, "The node", "", false);
        return;
    };
    let note = format!("Enter: kubectl kptop {}", n.name);
    let inner = part(frame, theme, lower, &n.name, &note, false);
    let room = usize::from(inner.width.saturating_sub(2));
    let mut lines: Vec<(String, Style)> = Vec::new();
    if n.is_silent {
        let text = "nothing newer than some minutes: does kptop serve run there, and is it scraped?";
        lines.push((text.into(), theme.bad()));
    }
    lines.extend(n.differs.iter().map(|d| (fleet.difference(d), theme.warn())));
    for f in n.findings.iter().filter(|f| f.severity != Severity::Info) {
        let times = if f.count > 1 { format!(" {} times", f.count) } else { String::new() };
        lines.push((format!("{} {}{times}", f.severity.mark(), f.id), severity_style(theme, f.severity)));
    }
    if lines.is_empty() {
        lines.push((
            "it is as the others, and its doctor finds nothing that kills traffic".into(),
            theme.dim(),
        ));
    }
    // Two columns where they fit: a node that is behind differs in many Services.
    let rows = usize::from(inner.height);
    let wide = room >= 100 && lines.len() > rows;
    let columns = if wide { 2 } else { 1 };
    let each = room / columns;
    let fit = rows * columns;
    for (i, (text, style)) in lines.iter().take(fit).enumerate() {
        let is_last = i + 1 == fit && lines.len() > fit;
        let text = match is_last {
            true => format!("… and {} more: kptop fleet -o text --all", lines.len() - i),
            false => text.clone(),
        };
        let place = Rect {
            x: inner.x + 1 + (each * (i / rows.max(1))) as u16,
            y: inner.y + (i % rows.max(1)) as u16,
            width: each.saturating_sub(usize::from(wide)) as u16,
            height: 1,
        };
        put(frame, place, &clip_end(&text, usize::from(place.width)), *style, false);
    }
}

fn draw_opened(frame: &mut Frame<'_>, screen: &mut FleetScreen, fleet: &Fleet, area: Rect) {
    let theme = screen.theme;
    let Some(Opened { key, on, list }) = &mut screen.opened else { return };
    let name = format!("Services › {}", key.label());
    let service = fleet.services.iter().find(|s| s.key == *key);
    let note = "Enter: leave for this node · Esc goes back";
    let (fleet, rows) = match on {
        None => {
            let inner = part(frame, theme, area, &name, note, true);
            paragraph(frame, inner, "Asking for its nodes …", theme.dim());
            return;
        }
        Some((_, Err(why))) => {
            let inner = part(frame, theme, area, &name, note, true);
            paragraph(frame, inner, why, theme.bad());
            return;
        }
        Some((fleet, Ok(rows))) => (fleet, rows),
    };
    list.fit(rows.len(), Rect { y: area.y + 3, height: area.height.saturating_sub(3), ..area });
    let inner = part(frame, theme, area, &format!("{name} · {}", title("nodes", list, "")), note, true);
    if let Some(s) = service {
        let line = Rect { height: 1, ..inner };
        let text = format!(" {}", FleetScreen::states_text(s));
        put(frame, line, &clip_end(&text, usize::from(line.width)), state_style(theme, s.worst()), false);
    }
    let inner = Rect { y: inner.y + 1, height: inner.height.saturating_sub(1), ..inner };
    let row = |i: usize| -> Row {
        let p = &rows[i];
        let text = theme.text();
        let odd = if p.differs { theme.warn() } else { text };
        let state = if p.state == HealthState::Unknown { theme.dim() } else { state_style(theme, p.state) };
        let styles = [text, state, lost_style(theme, p.lost), theme.busy(), text, text, odd];
        place_cells(fleet, p).into_iter().zip(styles).collect()
    };
    table(frame, theme, list, inner, rows.len(), &PLACE_HEADS, &row);
}

const HELP: &[(&str, &str)] = &[
    ("1 2 Tab", "Services over all nodes; nodes"),
    ("Enter", "a Service: how it is on each node; a node: leave, and print the command that goes there"),
    ("Esc", "back; the search off"),
    ("/", "search: words that must be in a row, also names of findings"),
    ("o", "ask the store now"),
    ("y", "copy the chosen row"),
    ("T", "the next theme"),
    ("q", "leave"),
    ("", ""),
    ("STATE", "the worst of all nodes; ON: where it is bad, the node that loses most first"),
    ("LOST", "part of new flows that the rules of the worst node lose"),
    ("P99", "time to the first answer of 99 of 100 flows, on the slowest node"),
    (
        "DIFFERS",
        "other endpoints than most nodes, a Service that is missing or there alone, another mode or version",
    ),
    ("READ", "how long ago the node was read, when it was scraped"),
];

fn draw_help(frame: &mut Frame<'_>, theme: Theme, area: Rect) {
    frame.render_widget(Clear, area);
    let inner = part(frame, theme, area, "Help", "any key closes it", true);
    let room = usize::from(inner.width).saturating_sub(12);
    let mut lines = Vec::new();
    for (key, text) in HELP {
        for (i, part) in wrapped(text, room).into_iter().enumerate() {
            let key = if i == 0 { *key } else { "" };
            lines.push(Line::from(vec![Span::styled(format!(" {key:<9} "), theme.key()), Span::raw(part)]));
        }
    }
    frame.render_widget(Paragraph::new(lines), inner);
}
