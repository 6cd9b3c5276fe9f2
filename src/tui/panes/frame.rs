//! Header and footer.

use crate::proxy::{Health, Service, State};
use crate::tui::app::{App, Pane, TableRow};
use crate::tui::keys::KEYS;
use crate::tui::widgets::{bar, clip, count};
use ratatui::Frame;
use ratatui::layout::{Alignment, Rect};
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;
use std::time::Duration;
use unicode_width::UnicodeWidthStr;

fn duration(d: Duration) -> String {
    let ms = d.as_secs_f64() * 1000.0;
    match ms {
        ms if ms < 10.0 => format!("{ms:.1} ms"),
        ms if ms < 1000.0 => format!("{ms:.0} ms"),
        ms => format!("{:.1} s", ms / 1000.0),
    }
}

fn seconds(d: Duration) -> String {
    let s = d.as_secs_f64();
    if s < 1.0 { format!("{} ms", d.as_millis()) } else { format!("{s:.0} s") }
}

fn width(spans: &[Span<'_>]) -> usize {
    spans.iter().map(|s| s.content.width()).sum()
}

pub(super) fn header(frame: &mut Frame<'_>, app: &mut App, area: Rect) {
    let [first, second, third] = [0, 1, 2].map(|i| Rect { y: area.y + i, height: 1, ..area });
    node_line(frame, app, first);
    totals_line(frame, app, second);
    tabs_line(frame, app, third);
}

fn node_line(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let theme = app.theme;
    // Groups, the most needed first: what does not fit goes from the end.
    let mut right: Vec<Vec<Span<'_>>> = match &app.update {
        _ if app.paused => {
            vec![vec![Span::styled(" ❚❚ paused ", theme.warn().add_modifier(Modifier::REVERSED))]]
        }
        Some(u) => {
            // What is read less often than asked, and how often.
            let sources = u.snapshot.slowed.iter().map(|(what, spacing)| (*what, *spacing));
            let slowest = sources.chain([("all", u.spacing)]).max_by_key(|s| s.1);
            let mut groups = Vec::new();
            if let Some((what, spacing)) = slowest.filter(|s| s.1 > app.interval * 3 / 2) {
                let text = format!("{what} every {} to spare the node ", seconds(spacing));
                groups.push(vec![Span::styled(text, theme.warn())]);
            }
            let separator = if groups.is_empty() { "" } else { "· " };
            groups.push(vec![
                Span::styled(format!("{separator}every "), theme.dim()),
                Span::raw(seconds(app.interval)),
                Span::raw(" "),
            ]);
            groups.push(vec![
                Span::styled("· read in ", theme.dim()),
                Span::raw(duration(u.took)),
                Span::raw(" "),
            ]);
            groups
        }
        None => vec![vec![Span::styled("reading … ", theme.dim())]],
    };
    let mut left = vec![Span::styled(" kptop ", theme.accent().add_modifier(Modifier::REVERSED))];
    if let Some(u) = &app.update {
        let s = &u.snapshot;
        let mut place = s.node.hostname.clone().unwrap_or_else(|| "?".into());
        if let Some(name) = &s.netns.name {
            place = format!("{place} (netns {name})");
        }
        left.push(Span::styled(
            format!(" {}", clip(&place, 32)),
            app.theme.text().add_modifier(Modifier::BOLD),
        ));
        for m in &u.model.modes {
            if m.family == crate::ruleset::IpFamily::V6
                && u.model
                    .modes
                    .iter()
                    .any(|o| o.mode == m.mode && o.variant == m.variant && o.family != m.family)
            {
                continue; // the other family is like it
            }
            let variant = m.variant.map(|v| format!(" {}", v.name())).unwrap_or_default();
            left.push(Span::styled(" · ", theme.dim()));
            left.push(match m.state {
                State::Active => Span::styled(format!("{}{variant}", m.mode.name()), theme.good()),
                State::Leftover => {
                    Span::styled(format!("{}{variant} left over", m.mode.name()), theme.warn())
                }
            });
        }
        if u.model.modes.is_empty() {
            left.push(Span::styled(" · no Services", theme.warn()));
        }
        let kernel = format!(" · kernel {}", s.node.kernel.as_deref().unwrap_or("?"));
        let needed: usize = right.iter().map(|g| width(g)).sum();
        if width(&left) + needed + kernel.len() < usize::from(area.width) {
            left.push(Span::styled(kernel, theme.dim()));
        }
    }
    // The node is never hidden.
    while right.len() > 1 && width(&left) + width(&right.concat()) + 1 >= usize::from(area.width) {
        right.pop();
    }
    let right = right.concat();
    let w = (width(&right) as u16).min(area.width.saturating_sub(width(&left) as u16 + 1));
    frame.render_widget(Paragraph::new(Line::from(left)), area);
    let right_area = Rect { x: area.right() - w, width: w, ..area };
    frame.render_widget(Paragraph::new(Line::from(right)).alignment(Alignment::Right), right_area);
}

fn totals_line(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let theme = app.theme;
    let Some(u) = &app.update else { return };
    let services = &u.model.services;
    // What is left over is counted apart: it holds the same Services once more.
    let at_work = || services.iter().zip(u.rates.iter()).filter(|(s, _)| s.health() != Health::Leftover);
    let left_over = services.len() - at_work().count();
    let refuses = |s: &Service| matches!(s.health(), Health::Rejecting | Health::Dropping);
    let refusing = at_work().filter(|(s, _)| refuses(s)).count();
    let backends: usize = at_work().map(|(s, _)| s.backends.len()).sum();
    let rules: usize = u.snapshot.tables.iter().map(|t| t.table.rules.len()).sum();
    let mut counted = at_work().filter_map(|(_, r)| r.flows.ok()).peekable();
    // Where nothing counts new flows, conntrack still holds those that are.
    let (flows, what) = match counted.peek() {
        Some(_) => (counted.sum::<f64>(), " new flows/s"),
        None => {
            let tracked = at_work().flat_map(|(s, _)| &s.frontends).filter_map(|f| f.flows);
            (tracked.sum::<u64>() as f64, " flows to Services")
        }
    };
    let bold = theme.text().add_modifier(Modifier::BOLD);
    let mut spans = vec![
        Span::styled(format!(" {}", services.len() - left_over), bold),
        Span::styled(" Services", theme.dim()),
    ];
    if refusing > 0 {
        spans.push(Span::styled(format!(", {refusing} refuse"), theme.bad()));
    }
    if left_over > 0 {
        spans.push(Span::styled(format!(", {left_over} left over"), theme.warn()));
    }
    for (n, what) in [(count(backends as u64), "backends"), (count(rules as u64), "rules")] {
        spans.push(Span::styled("  ", theme.dim()));
        spans.push(Span::styled(n, bold));
        spans.push(Span::styled(format!(" {what}"), theme.dim()));
    }
    if area.width >= 100 {
        spans.push(Span::styled(format!("  {flows:.0}"), bold));
        spans.push(Span::styled(what, theme.dim()));
    }
    let room = usize::from(area.width).saturating_sub(width(&spans));
    let long = conntrack_gauge(app, area.width, true);
    let right = if width(&long) < room { long } else { conntrack_gauge(app, area.width, false) };
    if width(&right) < room {
        let w = width(&right) as u16;
        let right_area = Rect { x: area.right() - w, width: w, ..area };
        frame.render_widget(Paragraph::new(Line::from(right)), right_area);
    }
    frame.render_widget(Paragraph::new(Line::from(spans)), Rect { width: area.width, ..area });
}

fn conntrack_gauge(app: &App, screen: u16, numbers: bool) -> Vec<Span<'static>> {
    let theme = app.theme;
    let limits = app.update.as_ref().and_then(|u| u.snapshot.conntrack.as_ref()).map(|c| c.limits);
    let Some((n, max)) = limits.and_then(|l| l.count.zip(l.max)) else {
        return vec![Span::styled("conntrack: not there ", theme.dim())];
    };
    let part = n as f64 / max.max(1) as f64;
    let style = match part {
        p if p >= 0.95 => theme.bad(),
        p if p >= 0.8 => theme.warn(),
        _ => theme.good(),
    };
    let bar_width = if screen >= 120 { 20 } else { 6 };
    vec![
        Span::styled("conntrack ", theme.dim()),
        Span::styled("▕", theme.dim()),
        Span::styled(bar(part, bar_width), style),
        Span::styled("▏", theme.dim()),
        Span::raw(if numbers { format!("{}/{}", count(n), count(max)) } else { String::new() }),
        Span::styled(format!(" {:.1}% ", part * 100.0), style),
    ]
}

fn tabs_line(frame: &mut Frame<'_>, app: &mut App, area: Rect) {
    let theme = app.theme;
    app.tabs.clear();
    let mut spans = vec![Span::raw(" ")];
    let mut x = area.x + 1;
    for (pane, label) in [(Pane::Services, " 1 Services "), (Pane::Tables, " 2 Rules ")] {
        let style =
            if app.pane == pane { theme.accent().add_modifier(Modifier::REVERSED) } else { theme.dim() };
        spans.push(Span::styled(label, style));
        spans.push(Span::raw(" "));
        app.tabs.push((Rect { x, y: area.y, width: label.len() as u16, height: 1 }, pane));
        x += label.len() as u16 + 1;
    }
    let mut filters = Vec::new();
    if app.pane == Pane::Services {
        if app.problems {
            filters.push("problems".to_string());
        }
        filters.extend(app.namespace.iter().map(|n| format!("namespace {n}")));
        filters.extend(app.mode.iter().map(|m| format!("mode {}", m.name())));
    }
    if !app.search.is_empty() && !app.searching {
        filters.push(format!("search \"{}\"", app.search));
    }
    if !filters.is_empty() {
        spans.push(Span::styled(format!("  only: {} ", filters.join(", ")), theme.warn()));
        spans.push(Span::styled("(Esc clears)", theme.dim()));
    } else if let Some(u) = app.update.as_ref().and_then(|u| u.snapshot.unread.iter().find(|u| u.failed)) {
        let left = usize::from(area.width).saturating_sub(width(&spans) + 2);
        spans.push(Span::styled(clip(&format!("  {}: {}", u.what, u.why), left), theme.bad()));
    }
    frame.render_widget(Paragraph::new(Line::from(spans)), area);
}

pub(super) fn footer(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let theme = app.theme;
    if app.searching {
        let found = match app.pane {
            Pane::Services => app.rows.len(),
            Pane::Tables => app.table_rows.iter().filter(|r| matches!(r, TableRow::Chain(..))).count(),
        };
        let line = Line::from(vec![
            Span::styled(" search: ", theme.key()),
            Span::raw(app.search.clone()),
            Span::styled("█", theme.accent()),
            Span::styled(format!("   {found} found · Enter keeps it · Esc clears it"), theme.dim()),
        ]);
        frame.render_widget(Paragraph::new(line), area);
        return;
    }
    let mut spans = vec![Span::raw(" ")];
    let tables = app.pane == Pane::Tables;
    for k in KEYS.iter().filter(|k| !(k.hint.is_empty() || tables && k.services_only())) {
        let hint = [
            Span::styled(k.keys.split(' ').next().unwrap_or_default(), theme.key()),
            Span::styled(format!(" {}  ", k.hint), theme.dim()),
        ];
        if width(&spans) + width(&hint) > usize::from(area.width) {
            break;
        }
        spans.extend(hint);
    }
    frame.render_widget(Paragraph::new(Line::from(spans)), area);
}
