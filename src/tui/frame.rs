//! Header and footer.

use crate::config::PaneName;
use crate::doctor::Severity;
use crate::format::{clip, clip_end, count, duration};
use crate::health::HealthState;
use crate::proxy::{Engine, State, is_kube_routers};
use crate::tui::app::App;
use crate::tui::keys::{Action, KEYS, Key};
use crate::tui::panes::severity_style;
use crate::tui::widgets::{bar, width};
use ratatui::Frame;
use ratatui::layout::{Alignment, Rect};
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;
use unicode_width::UnicodeWidthStr;

pub(super) fn header(frame: &mut Frame<'_>, app: &mut App, area: Rect) {
    let [first, second, third] = [0, 1, 2].map(|i| Rect { y: area.y + i, height: 1, ..area });
    node_line(frame, app, first);
    totals_line(frame, app, second);
    tabs_line(frame, app, third);
}

fn node_line(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let theme = app.cx.theme;
    // Groups, the most needed first: what does not fit goes from the end.
    let mut right: Vec<Vec<Span<'_>>> = match &app.cx.update {
        Some(u) if u.moment.is_some() => past(app),
        _ if app.paused => {
            vec![vec![Span::styled(" ❚❚ paused ", theme.warn().add_modifier(Modifier::REVERSED))]]
        }
        Some(u) => {
            // What is read less often than asked, and how often.
            let sources = u.snapshot.slowed.iter().map(|(what, spacing)| (&**what, *spacing));
            let slowest = sources.chain([("all", u.spacing)]).max_by_key(|s| s.1);
            let mut groups = Vec::new();
            if let Some((what, spacing)) = slowest.filter(|s| s.1 > app.interval * 3 / 2) {
                let text = format!("{what} every {} to spare the node ", duration(spacing));
                groups.push(vec![Span::styled(text, theme.warn())]);
            }
            let separator = if groups.is_empty() { "" } else { "· " };
            groups.push(vec![
                Span::styled(format!("{separator}every "), theme.dim()),
                Span::raw(duration(app.interval)),
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
    if let Some(u) = &app.cx.update {
        let s = &u.snapshot;
        let mut place = s.node.hostname.clone().unwrap_or_else(|| "?".into());
        if let Some(name) = &s.netns.name {
            place = format!("{place} (netns {name})");
        }
        left.push(Span::styled(
            format!(" {}", clip(&place, 32)),
            app.cx.theme.text().add_modifier(Modifier::BOLD),
        ));
        for m in &u.model.services.modes {
            if m.family == crate::ruleset::IpFamily::V6
                && u.model.services.modes.iter().any(|o| o.engine == m.engine && o.family != m.family)
            {
                continue; // the other family is like it
            }
            let variant = m.engine.variant().map(|v| format!(" {}", v.name())).unwrap_or_default();
            left.push(Span::styled(" · ", theme.dim()));
            left.push(match m.state {
                // Virtual servers alone do not say whose they are.
                State::Active if m.engine == Engine::Ipvs && is_kube_routers(s) => {
                    Span::styled("ipvs of kube-router", theme.good())
                }
                State::Active => Span::styled(format!("{}{variant}", m.engine.mode().name()), theme.good()),
                State::Stale => {
                    Span::styled(format!("{}{variant} stale", m.engine.mode().name()), theme.warn())
                }
            });
        }
        if u.model.services.modes.is_empty() {
            let known = s.rules_read();
            let words = if known { " · no Services" } else { " · Services not known" };
            left.push(Span::styled(words, if known { theme.warn() } else { theme.bad() }));
        }
        // The API is never in the way: what is wrong with it is said here, and changes nothing else.
        if let Some(t) = s.cluster.as_ref().and_then(|c| c.state.trouble.as_ref()) {
            let room = usize::from(area.width / 3);
            left.push(Span::styled(format!(" · API: {}", clip_end(&t.what, room)), theme.warn()));
        }
        let needed: usize = right.iter().map(|g| width(g)).sum();
        if let Some((words, is_well)) = s.kube_proxy.as_ref().and_then(|k| k.words(s.taken_at)) {
            let text = format!(" · kube-proxy {words}");
            // What is wrong with it is a finding, too: the node and the modes come first.
            if width(&left) + needed + text.len() < usize::from(area.width) {
                left.push(Span::styled(text, if is_well { theme.dim() } else { theme.warn() }));
            }
        }
        if let Some(text) = files_words(s)
            && width(&left) + needed + text.len() < usize::from(area.width)
        {
            left.push(Span::styled(text, theme.dim()));
        }
        let kernel = format!(" · kernel {}", s.node.kernel.as_deref().unwrap_or("?"));
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

/// Where one is in time.
fn past(app: &App) -> Vec<Vec<Span<'static>>> {
    let theme = app.cx.theme;
    let (Some(u), Some(m)) = (&app.cx.update, app.cx.moment()) else { return Vec::new() };
    let word = match m.speed {
        Some(1.0) => " ▶ ".to_string(),
        Some(speed) => format!(" ▶ ×{speed} "),
        None if m.count == 1 => " ◼ ".to_string(),
        None => " ❚❚ ".to_string(),
    };
    let at = u.snapshot.taken_at;
    let time = if m.live { crate::format::time_of_day(at) } else { crate::format::date_and_time(at) };
    let mut groups = vec![vec![
        Span::styled(word, theme.warn().add_modifier(Modifier::REVERSED)),
        Span::styled(format!(" {time} "), theme.warn().add_modifier(Modifier::BOLD)),
    ]];
    if m.count > 1 {
        let before = duration(m.last.duration_since(at).try_into().unwrap_or_default());
        let of = if m.live { "ago".to_string() } else { "before its end".to_string() };
        groups.push(vec![Span::styled(format!("· {} of {} ", m.index + 1, m.count), theme.dim())]);
        groups.push(vec![Span::styled(format!("· {before} {of} "), theme.dim())]);
    }
    groups
}

/// Of files: how many texts were found in them, and what was not used.
fn files_words(s: &crate::snapshot::Snapshot) -> Option<String> {
    let used = s.parts.iter().filter(|p| p.lines > 0).count();
    let unused: u64 = s.parts.iter().map(|p| p.unused).sum();
    match (s.parts.is_empty(), unused) {
        (true, _) => None,
        (_, 0) => Some(format!(" · {}", crate::format::plural(used as u64, "text"))),
        (_, n) => Some(format!(
            " · {}, {} not used (kptop files)",
            crate::format::plural(used as u64, "text"),
            crate::format::plural(n, "line")
        )),
    }
}

/// What of new flows is not counted one by one, where notices count them.
fn sample_words(u: &crate::tui::reader::Update) -> String {
    let Some(e) = u.snapshot.new_flows().map(|e| &e.value) else { return String::new() };
    match (e.one_in, e.lost) {
        (..=1, 0) => String::new(),
        (..=1, lost) => format!(" ({} notices lost)", count(lost)),
        (n, 0) => format!(" (1 in {n} counted)"),
        (n, lost) => format!(" (1 in {n} counted, {} notices lost)", count(lost)),
    }
}

fn totals_line(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let theme = app.cx.theme;
    let Some(u) = &app.cx.update else { return };
    // What could not be read is not 0.
    if !u.snapshot.rules_read() {
        let text = " Services, backends, rules: could not be read";
        frame.render_widget(Paragraph::new(Span::styled(text, theme.bad())), area);
        return;
    }
    let services = &u.model.services;
    // What is stale is counted apart: it holds the same Services once more.
    let active = || services.iter().zip(u.rates.iter()).filter(|(s, _)| s.is_used());
    let stale = services.len() - active().count();
    let backends: usize = active().filter_map(|(s, _)| s.backend_count()).sum();
    let rules: usize = u.snapshot.tables.iter().map(|t| t.table.rules.len()).sum();
    let mut counted = active().filter_map(|(_, r)| r.flows.ok()).peekable();
    // Where nothing counts new flows, conntrack still holds those that are.
    let (flows, what) = match counted.peek() {
        Some(_) => (Some(counted.sum::<f64>()), format!(" new flows/s{}", sample_words(u))),
        None if u.model.services.iter().all(|s| s.engine.mode().keeps_no_rules()) => (None, "".into()),
        None => {
            let used = u.model.iter().filter(|(s, _)| s.is_used());
            let tracked = used.flat_map(|(_, f)| f.frontends()).filter_map(|f| f.flows);
            (Some(tracked.sum::<u64>() as f64), " flows to Services".into())
        }
    };
    let bold = theme.text().add_modifier(Modifier::BOLD);
    let mut spans = vec![
        Span::styled(format!(" {}", services.objects()), bold),
        Span::styled(if services.objects() == 1 { " Service" } else { " Services" }, theme.dim()),
    ];
    // As many as `kubectl get services` lists; rows below are their ports.
    if services.len() - stale != services.objects() {
        spans.push(Span::styled(format!(", {} ports", services.len() - stale), theme.dim()));
    }
    for (state, what) in [
        (HealthState::Failing, "failing"),
        (HealthState::NoEndpoints, "no endpoints"),
        (HealthState::Degraded, "degraded"),
    ] {
        let n = u.health.count(state);
        if n > 0 {
            let style = if state == HealthState::Degraded { theme.warn() } else { theme.bad() };
            spans.push(Span::styled(format!(", {n} {what}"), style));
        }
    }
    if stale > 0 {
        spans.push(Span::styled(format!(", {stale} stale"), theme.warn()));
    }
    for (n, what) in [(count(backends as u64), "backends"), (count(rules as u64), "rules")] {
        let figure = [
            Span::styled("  ", theme.dim()),
            Span::styled(n, bold),
            Span::styled(format!(" {what}"), theme.dim()),
        ];
        // Whole, or not at all.
        if width(&spans) + width(&figure) > usize::from(area.width) {
            break;
        }
        spans.extend(figure);
    }
    if let (true, Some(flows)) = (area.width >= 100, flows) {
        spans.push(Span::styled(format!("  {flows:.0}"), bold));
        spans.push(Span::styled(what, theme.dim()));
    }
    let room = usize::from(area.width).saturating_sub(width(&spans));
    let right = [(true, true), (false, true), (false, false)]
        .map(|(numbers, time)| conntrack_gauge(app, area.width, numbers, time))
        .into_iter()
        .find(|g| width(g) < room)
        .unwrap_or_default();
    if width(&right) < room {
        let w = width(&right) as u16;
        let right_area = Rect { x: area.right() - w, width: w, ..area };
        frame.render_widget(Paragraph::new(Line::from(right)), right_area);
    }
    frame.render_widget(Paragraph::new(Line::from(spans)), Rect { width: area.width, ..area });
}

fn conntrack_gauge(app: &App, screen: u16, numbers: bool, time: bool) -> Vec<Span<'static>> {
    let theme = app.cx.theme;
    if app.cx.update.as_ref().is_some_and(|u| u.snapshot.outline) {
        return vec![Span::styled("endpoints and flows are being read ", theme.dim())];
    }
    let limits = app.cx.update.as_ref().and_then(|u| u.snapshot.conntrack.as_ref()).map(|c| c.limits);
    let Some((n, max)) = limits.and_then(|l| l.count.zip(l.max)) else {
        return vec![Span::styled("conntrack: not there ", theme.dim())];
    };
    let part = n as f64 / max.max(1) as f64;
    let style = theme.fill(part);
    let bar_width = if screen >= 120 { 20 } else { 6 };
    vec![
        Span::styled("conntrack ", theme.dim()),
        Span::styled("▕", theme.dim()),
        Span::styled(bar(part, bar_width), style),
        Span::styled("▏", theme.dim()),
        Span::raw(if numbers { format!("{}/{}", count(n), count(max)) } else { String::new() }),
        Span::styled(
            format!(" {:.1}%{} ", part * 100.0, if time { soon_full(app) } else { String::new() }),
            style,
        ),
    ]
}

/// Where conntrack grows so that it will be full within ten minutes: when.
fn soon_full(app: &App) -> String {
    let full_in = app.cx.update.as_ref().and_then(|u| u.node.conntrack.full_in);
    match full_in.filter(|t| t.as_secs() < 600) {
        Some(t) => format!(", full in {}", duration(t)),
        None => String::new(),
    }
}

fn tabs_line(frame: &mut Frame<'_>, app: &mut App, area: Rect) {
    let theme = app.cx.theme;
    let edge = if area.width < 100 { "" } else { " " };
    let mut spans = vec![Span::raw(edge)];
    let mut x = area.x + edge.len() as u16;
    let found = app.cx.update.as_ref().map(|u| u.examination.findings.clone()).unwrap_or_default();
    for (i, pane) in PaneName::ALL.iter().copied().enumerate() {
        let mut label = match area.width {
            ..80 => format!("{} {}", i + 1, pane.short_title()),
            80..100 => format!("{} {}", i + 1, pane.title()),
            _ => format!(" {} {} ", i + 1, pane.title()),
        };
        let mut style = theme.dim();
        if pane == PaneName::Findings && !found.is_empty() {
            // What is worth knowing is no alarm.
            let alarms = found.iter().filter(|f| f.severity != Severity::Info).count();
            match area.width {
                _ if alarms == 0 => {}
                ..100 => label = format!("{} {} {alarms}", i + 1, pane.short_title()),
                _ => label.push_str(&format!("{alarms} ")),
            }
            style = severity_style(theme, found[0].severity);
        }
        if app.tab() == pane {
            style = theme.on();
        }
        let width = label.width() as u16;
        app.clicks.push((Rect { x, y: area.y, width, height: 1 }, Action::Show(pane)));
        spans.push(Span::styled(label, style));
        let gap = if (100..110).contains(&area.width) { "" } else { " " };
        spans.push(Span::raw(gap));
        x += width + gap.len() as u16;
    }
    frame.render_widget(Paragraph::new(Line::from(spans)), area);
}

/// What keys do in the past, as the bottom of the screen shows it while one is there.
const PAST: [(&[Action], &str); 9] = [
    (&[Action::Newest], "newest"),
    (&[Action::StepBack, Action::StepOn], "reading"),
    (&[Action::Pause], "play"),
    (&[Action::Help], "help"),
    (&[Action::Quit], "quit"),
    (&[Action::MinuteBack, Action::MinuteOn], "minute"),
    (&[Action::FindingBack, Action::FindingOn], "finding"),
    (&[Action::GoTo], "to a time"),
    (&[Action::Save], "save"),
];

pub(super) fn footer(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let theme = app.cx.theme;
    let room = usize::from(area.width);
    if let Some(typed) = &app.going_to {
        let hint = "14:03:20, +90s after the beginning, -5m before the end · Enter goes · Esc stays";
        let left = room.saturating_sub(typed.width() + 12);
        let line = Line::from(vec![
            Span::styled(" to time: ", theme.key()),
            Span::raw(clip(typed, room / 2)),
            Span::styled("█", theme.accent()),
            Span::styled(format!("   {}", clip_end(hint, left)), theme.dim()),
        ]);
        frame.render_widget(Paragraph::new(line), area);
        return;
    }
    if app.cx.searching
        && let Some(search) = app.search()
    {
        let (hint, style) = match &search.error {
            Some(why) => (why.clone(), theme.bad()),
            None => {
                let text = format!("{} found · Enter keeps it · Esc clears it{}", search.found, search.hint);
                (text, theme.dim())
            }
        };
        let typed = clip(&search.text, room / 2);
        let left = room.saturating_sub(typed.width() + 14);
        let line = Line::from(vec![
            Span::styled(" search: ", theme.key()),
            Span::raw(typed),
            Span::styled("█", theme.accent()),
            Span::styled(format!("   {}", clip_end(&hint, left)), style),
        ]);
        frame.render_widget(Paragraph::new(line), area);
        return;
    }
    if let Some(message) = &app.message {
        let text = format!(" {}", clip_end(message, room.saturating_sub(2)));
        frame.render_widget(Paragraph::new(Span::styled(text, theme.accent())), area);
        return;
    }
    let mut spans = vec![Span::raw(" ")];
    // What could not be read is never hidden.
    if let Some(u) = app.cx.update.as_ref().and_then(|u| u.snapshot.failed().next()) {
        let text = clip_end(&format!("{}: {}", u.what, u.why), room.saturating_sub(12));
        spans.push(Span::styled(format!("{text}  "), theme.bad()));
    }
    let mut add = |keys: String, word: &str| {
        let hint = [Span::styled(keys, theme.key()), Span::styled(format!(" {word}  "), theme.dim())];
        if width(&spans) + width(&hint) <= room + 2 {
            spans.extend(hint);
        }
    };
    // The first key of each: others do the same.
    let first = |k: &Key| k.keys.split(' ').next().unwrap_or_default();
    if let Some(moment) = app.cx.moment().filter(|m| m.count > 1) {
        for (actions, word) in PAST {
            let word = if moment.live && actions == [Action::Newest] { "live" } else { word };
            let keys = actions.iter().filter_map(|a| KEYS.iter().find(|k| k.action == *a));
            add(keys.map(first).collect::<Vec<_>>().join(" "), word);
        }
        frame.render_widget(Paragraph::new(Line::from(spans)), area);
        return;
    }
    let hints = app.pane().hints();
    let is_shown = |k: &&Key| match k.action {
        Action::BackFromJump => app.has_jumped(),
        action => k.everywhere || hints.contains(&action),
    };
    KEYS.iter().filter(is_shown).for_each(|k| add(first(k).to_string(), k.hint));
    frame.render_widget(Paragraph::new(Line::from(spans)), area);
}
