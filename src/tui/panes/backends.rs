//! The backends of the chosen Service: what each should get and what it gets.

use crate::proxy::{Action, Frontend, Mode, Service, endpoint_text, frontend_text};
use crate::rates::{Rate, real_share};
use crate::tui::app::App;
use crate::tui::widgets::{bar, clip, count, put, rate_text, share_text, sparkline};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Paragraph, Wrap};
use unicode_width::UnicodeWidthStr;

/// A column: head, width, right-aligned, from which screen width on.
const COLUMNS: &[(&str, u16, bool, u16)] = &[
    ("BACKEND", 24, false, 0),
    ("EXPECT", 6, true, 0),
    ("REAL", 5, true, 0),
    ("", 10, false, 66),
    ("NEW/s", 6, true, 0),
    ("PKT/s", 6, true, 100),
    ("B/s", 6, true, 108),
    ("ACTIVE", 6, true, 92),
    ("INACT", 6, true, 116),
    ("FLOWS", 6, true, 72),
    ("TREND", 0, false, 80),
];

fn frontend_words(f: &Frontend) -> String {
    let kind = f.kind.map_or("address", |k| match k.name() {
        "cluster_ip" => "cluster IP",
        "external_ip" => "external IP",
        "load_balancer_ip" => "load balancer",
        _ => "node port",
    });
    let mut text = format!("{} {kind}", frontend_text(f));
    if f.traffic_policy.is_some_and(|p| p.name() == "local") {
        text.push_str(", local");
    }
    if let Some(ranges) = &f.source_ranges {
        let list: Vec<String> = ranges.iter().map(ToString::to_string).collect();
        text.push_str(&format!(", from {}", list.join(" ")));
    }
    text
}

/// What the figures count, and what they leave out.
fn meaning(service: &Service) -> &'static str {
    match service.mode {
        _ if service.leftover => "left over: another mode is at work, and these rules get no new flows",
        Mode::Ipvs => "IPVS counts every connection, packet and byte; its figures lag by up to 2 s",
        Mode::Iptables => "nat rules count new flows only: this mode counts no packets or bytes a backend",
        Mode::Nftables => "nftables rules count nothing: figures come from conntrack",
        Mode::Userspace => "the kube-proxy process counts nothing",
    }
}

pub(super) fn draw(frame: &mut Frame<'_>, app: &mut App, area: Rect) {
    let theme = app.theme;
    let focus = app.lower;
    let update = app.update.clone();
    let chosen = app.chosen();
    let row = update.as_ref().zip(chosen).and_then(|(u, i)| App::row(u, i));
    let title = row.as_ref().map_or(" Backends ".into(), |r| {
        let room = usize::from(area.width.saturating_sub(24));
        format!(" {} {} ", clip(&r.service.label(), room), r.service.protocol.name())
    });
    let note = row.as_ref().map_or("", |r| meaning(r.service));
    let block = Block::new()
        .borders(Borders::TOP)
        .border_style(theme.frame(focus))
        .title(Line::from(Span::styled(title, theme.accent())));
    let block = if usize::from(area.width) > note.width() + 40 {
        block.title(Line::from(Span::styled(format!(" {note} "), theme.dim())).right_aligned())
    } else {
        block
    };
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let (Some(row), Some(update)) = (row, update.as_ref()) else {
        app.backends.fit(0, inner);
        return;
    };
    let service = row.service;
    let lines = frontends(app, service, inner.width);
    let used = (lines.len() as u16).min(inner.height.saturating_sub(3).max(1));
    frame.render_widget(Paragraph::new(lines), Rect { height: used.min(inner.height), ..inner });
    let rest = Rect { y: inner.y + used, height: inner.height.saturating_sub(used), ..inner };
    if rest.height < 2 {
        return;
    }
    if service.backends.is_empty() {
        app.backends.fit(0, rest);
        let text = match (service.frontends.first().map(|f| f.action), service.proxy_port) {
            (_, Some(port)) => {
                format!(
                    " kube-proxy's process takes this traffic on port {port}; it alone knows the endpoints."
                )
            }
            (Some(Action::Drop), _) => {
                " No endpoint on this node, and the traffic policy is local: packets are dropped.".into()
            }
            (Some(Action::Reject), _) => " No endpoints: new flows are refused.".into(),
            _ => " No backends.".into(),
        };
        let style = if service.proxy_port.is_some() { theme.text() } else { theme.bad() };
        let text = Paragraph::new(text).style(style).wrap(Wrap { trim: false });
        frame.render_widget(text, Rect { height: rest.height.min(3), ..rest });
        return;
    }
    let list = Rect { y: rest.y + 1, height: rest.height - 1, ..rest };
    app.backends.fit(service.backends.len(), list);
    let place = Rect { x: rest.x + 1, width: rest.width.saturating_sub(2), ..rest };
    let places = layout(place, service.mode == Mode::Ipvs);
    for (i, place) in &places {
        let (head, _, right, _) = COLUMNS[*i];
        put(frame, *place, head, theme.head(), right);
    }
    let few = service.backends.iter().filter_map(|b| b.counters.flows).sum::<u64>() < 30;
    let tracker = update.tracker.lock().ok();
    for (line, i) in (app.backends.top..service.backends.len()).take(app.backends.height).enumerate() {
        let backend = &service.backends[i];
        let y = list.y + line as u16;
        if focus && i == app.backends.chosen {
            frame.buffer_mut().set_style(Rect { y, height: 1, ..list }, theme.selected());
        }
        let rates = row.rates.and_then(|r| r.backends.get(i));
        let rate =
            |of: fn(&crate::rates::BackendRates) -> Rate| rates.map_or("…".into(), |r| rate_text(of(r)));
        let expected = backend.share.or(backend.local_share);
        let real = real_share(service, backend);
        for (column, place) in &places {
            let (head, _, right, _) = COLUMNS[*column];
            let place = Rect { y, ..*place };
            let width = usize::from(place.width);
            let (text, style): (String, Style) = match head {
                "BACKEND" => {
                    let mut text = endpoint_text(backend.address, backend.port);
                    if let Some(weight) = backend.weight.filter(|w| *w != 1) {
                        text.push_str(&format!(" w{weight}"));
                    } else if backend.local == Some(true) {
                        text.push_str(" local");
                    }
                    (clip(&text, width), theme.text())
                }
                "EXPECT" => (share_text(expected), theme.dim()),
                // Few flows say little of the balance.
                "REAL" => (share_text(real), if few { theme.dim() } else { theme.text() }),
                "" => (bar(real.unwrap_or(0.0), width), if few { theme.dim() } else { theme.busy() }),
                "NEW/s" => (rate(|r| r.flows), theme.text()),
                "PKT/s" => (rate(|r| r.packets), theme.text()),
                "B/s" => (rate(|r| r.bytes), theme.text()),
                "ACTIVE" => (backend.counters.active.map_or("-".into(), count), theme.text()),
                "INACT" => (backend.counters.inactive.map_or("-".into(), count), theme.dim()),
                "FLOWS" => (backend.conntrack_flows.map_or("-".into(), count), theme.text()),
                _ => {
                    let history =
                        tracker.as_ref().map(|t| t.backend_history(service, backend)).unwrap_or_default();
                    (sparkline(&history, width), theme.busy())
                }
            };
            put(frame, place, &text, style, right);
        }
    }
}

/// Frontends in as few lines as they need, at most three.
fn frontends(app: &App, service: &Service, width: u16) -> Vec<Line<'static>> {
    let theme = app.theme;
    let mut lines: Vec<Vec<Span<'static>>> = vec![Vec::new()];
    let mut used = 1;
    for f in &service.frontends {
        let text = frontend_words(f);
        let action = match f.action {
            Action::Balance => String::new(),
            Action::Reject => " REJECTS".into(),
            Action::Drop => " DROPS".into(),
        };
        let w = text.width() + action.width() + 3;
        if used + w > usize::from(width) && used > 1 {
            lines.push(Vec::new());
            used = 1;
        }
        used += w;
        if let Some(line) = lines.last_mut() {
            line.push(Span::styled(format!(" {text}"), theme.text()));
            line.push(Span::styled(format!("{action}  "), theme.bad()));
        }
    }
    let mut extras = Vec::new();
    if let Some(s) = service.session_affinity_s {
        extras.push(format!("affinity {s} s"));
    }
    if let Some(s) = &service.scheduler {
        extras.push(format!("scheduler {s}"));
    }
    if let Some(p) = service.health_check_node_port {
        extras.push(format!("health check port {p}"));
    }
    if let (false, Some(line)) = (extras.is_empty(), lines.last_mut()) {
        line.push(Span::styled(format!(" {}", extras.join(" · ")), theme.dim()));
    }
    lines.truncate(3);
    lines.into_iter().map(Line::from).collect()
}

/// Columns that only IPVS fills.
const IPVS_ONLY: [&str; 4] = ["PKT/s", "B/s", "ACTIVE", "INACT"];

fn layout(area: Rect, ipvs: bool) -> Vec<(usize, Rect)> {
    let shown: Vec<usize> = (0..COLUMNS.len())
        .filter(|i| COLUMNS[*i].3 <= area.width && (ipvs || !IPVS_ONLY.contains(&COLUMNS[*i].0)))
        .collect();
    let fixed: u16 = shown.iter().map(|i| COLUMNS[*i].1 + 1).sum();
    let spare = area.width.saturating_sub(fixed);
    let mut x = area.x;
    shown
        .into_iter()
        .map(|i| {
            let width = match COLUMNS[i].0 {
                "TREND" => spare.min(60),
                "BACKEND" => 24 + spare.saturating_sub(60).min(24),
                _ => COLUMNS[i].1,
            };
            let place = Rect { x, y: area.y, width, height: 1 };
            x += width + 1;
            (i, place)
        })
        .collect()
}
