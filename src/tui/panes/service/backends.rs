//! Where a Service is reached, and its backends with what each should get and gets.

use crate::columns::{API_ONLY, BACKENDS, BackendRow, Backends, Column, expected_share};
use crate::doctor::Spread;
use crate::format::{clip, clip_end, plural, short};
use crate::health::{HealthState, ServiceHealth};
use crate::proxy::screen_label;
use crate::proxy::{Action, Frontend, FrontendKind, Mode, Service, TrafficPolicy, UnusedEndpoint};
use crate::proxy::{endpoint_text, frontend_text, unused_endpoints};
use crate::tui::list::List;
use crate::tui::pane::Context;
use crate::tui::panes::widgets::state_style;
use crate::tui::reader::Update;
use crate::tui::theme::Theme;
use crate::tui::widgets::{
    columns_that_fit, difference_bar, draw_list, heads, part, put, sparkline_to, top_of,
};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Wrap};
use unicode_width::UnicodeWidthStr;

/// What the figures count, and what they leave out.
fn meaning(service: &Service) -> &'static str {
    match service.engine.mode() {
        _ if service.stale => "stale: another mode is active, and these rules get no new flows",
        Mode::Ipvs => "IPVS counts every connection, packet and byte; its figures lag by up to 2 s",
        Mode::Iptables => "nat rules count new flows only: this mode counts no packets or bytes a backend",
        Mode::Nftables => "nftables rules count nothing: figures come from conntrack",
        Mode::Userspace => "the kube-proxy process counts nothing",
        Mode::Cilium => "Cilium's Service maps count nothing: `hubble observe` shows flows",
        Mode::Calico => "Calico's Service maps count nothing",
        Mode::Kernelspace => "load balancers of HNS (Windows) report no counters",
        Mode::Ovn => "endpoints are in Open vSwitch, which kptop does not read",
    }
}

/// Lines that the lower part of the list of Services needs for one of them: its title, where it is reached, heads and backends.
pub(in crate::tui::panes) fn needed_height(cx: &Context, update: &Update, i: usize, width: u16) -> u16 {
    let service = &update.model.services[i];
    let places = frontends(cx.theme, service, update.health.get(i), width).len() as u16;
    let rows = match service.backends.len() {
        0 => 2, // why there are none
        n => n as u16 + 1,
    };
    rows.saturating_add(places + 1)
}

/// The lower part of the list of Services.
pub(in crate::tui::panes) fn draw_short(
    frame: &mut Frame<'_>,
    area: Rect,
    cx: &Context,
    found: Option<(&Update, usize)>,
    list: &mut List,
    focus: bool,
    several: Option<&str>,
) {
    let theme = cx.theme;
    let Some((update, i)) = found else {
        part(frame, theme, area, "Backends", "", focus);
        list.hide();
        return;
    };
    let service = &update.model.services[i];
    let room = usize::from(area.width.saturating_sub(24));
    let title = format!("{} {}", clip(&screen_label(service), room), service.protocol.name());
    let usual = if area.width >= 110 { meaning(service) } else { "Enter opens it" };
    let note = several.unwrap_or(usual);
    let inner = part(frame, theme, area, &title, note, focus);
    let lines = frontends(theme, service, update.health.get(i), inner.width);
    let used = (lines.len() as u16).min(inner.height.saturating_sub(3).max(1));
    frame.render_widget(Paragraph::new(lines), Rect { height: used.min(inner.height), ..inner });
    let rest = Rect { y: inner.y + used, height: inner.height.saturating_sub(used), ..inner };
    draw(frame, rest, cx, (update, i), list, focus.then_some(true));
}

/// A kind of frontend in few columns.
pub(super) fn kind_words(kind: FrontendKind) -> &'static str {
    match kind {
        FrontendKind::LoadBalancerIp => "load balancer",
        kind => kind.words(),
    }
}

fn frontend_words(f: &Frontend) -> String {
    let kind = f.kind.map_or("address", kind_words);
    let mut text = format!("{} {kind}", frontend_text(f));
    if f.traffic_policy == Some(TrafficPolicy::Local) {
        text.push_str(", local");
    }
    if let Some(ranges) = &f.source_ranges {
        let list: Vec<String> = ranges.iter().map(ToString::to_string).collect();
        text.push_str(&format!(", from {}", list.join(" ")));
    }
    text
}

/// Frontends in as few lines as they need, at most three; below them what is wrong.
pub(super) fn frontends(
    theme: Theme,
    service: &Service,
    health: Option<&ServiceHealth>,
    width: u16,
) -> Vec<Line<'static>> {
    let mut lines: Vec<Vec<Span<'static>>> = vec![Vec::new()];
    let mut used = 1;
    for f in &service.frontends {
        let text = frontend_words(f);
        let action = match f.action {
            Action::Balance => "",
            Action::Reject => " REJECTS",
            Action::Drop => " DROPS",
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
    if let Some(a) = service.session_affinity {
        extras.push(format!("affinity {a}"));
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
    let more = lines.len().saturating_sub(3);
    lines.truncate(3);
    if let (true, Some(line)) = (more > 0, lines.last_mut()) {
        line.push(Span::styled(format!(" … {} more", plural(more as u64, "line")), theme.dim()));
    }
    let mut lines: Vec<Line<'static>> = lines.into_iter().map(Line::from).collect();
    // That it has no endpoints, its frontends and the list say.
    let told = [HealthState::Healthy, HealthState::NoEndpoints, HealthState::NoLocalEndpoints];
    if let Some(h) = health.filter(|h| !told.contains(&h.state) && !h.why.is_empty()) {
        let text = clip_end(&format!("{} {}", h.state.symbol(), h.why), usize::from(width).saturating_sub(2));
        lines.push(Line::from(Span::styled(format!(" {text}"), state_style(theme, h.state))));
    }
    lines
}

/// Why there are no backends.
pub(super) fn no_backends(service: &Service) -> String {
    if let Some(why) = service.unknown_backends {
        return format!(" Its endpoints are not known: {}.", why.words());
    }
    match (service.frontends.first().map(|f| f.action), service.proxy_port) {
        (_, Some(port)) => {
            format!(" kube-proxy's process takes this traffic on port {port}; it alone knows the endpoints.")
        }
        (Some(Action::Drop), _) => {
            " No endpoint on this node, and the traffic policy is local: packets are dropped.".into()
        }
        (Some(Action::Reject), _) => " No endpoints: new flows are refused.".into(),
        _ => " No backends.".into(),
    }
}

/// Columns that conntrack's notices fill.
const NOTICES_ONLY: [&str; 3] = ["median_ns", "latency_ns", "refused"];

/// Columns of backends that only IPVS fills.
const IPVS_ONLY: [&str; 4] = ["packets", "bytes", "active", "inactive"];

fn backend_style(theme: Theme, key: &str, row: &BackendRow<'_>, few: bool) -> Style {
    match key {
        "backend" if row.lost.is_some() => theme.bad(),
        "expect" | "inactive" => theme.dim(),
        // Few flows say little of the balance.
        "real" | "balance" if few => theme.dim(),
        "balance" | "trend" => theme.busy(),
        "ready" if row.endpoint.is_some_and(|e| !e.ready) => theme.warn(),
        "pod" | "node" | "zone" => theme.dim(),
        // None of its flows was ever answered.
        "unreplied"
            if row
                .figures
                .unreplied_flows
                .is_some_and(|n| n > 0 && Some(n) == row.figures.conntrack_flows) =>
        {
            theme.warn()
        }
        _ => theme.text(),
    }
}

/// Endpoints that are not used here, one a line under a head; in one line where there is room for no more.
fn draw_unused(frame: &mut Frame<'_>, area: Rect, theme: Theme, unused: &[UnusedEndpoint<'_>]) {
    if area.height == 0 || unused.is_empty() {
        return;
    }
    let mut reasons: Vec<(&str, usize)> = Vec::new();
    for u in unused {
        match reasons.iter_mut().find(|r| r.0 == u.why.words()) {
            Some(r) => r.1 += 1,
            None => reasons.push((u.why.words(), 1)),
        }
    }
    let sums: Vec<String> = reasons.iter().map(|(words, n)| format!("{n} {words}")).collect();
    let head = format!(" Not used here: {}", sums.join(", "));
    let width = usize::from(area.width);
    put(frame, Rect { height: 1, ..area }, &clip_end(&head, width), theme.dim(), false);
    let rows = usize::from(area.height - 1);
    // The last line says how many more there are.
    let shown = if unused.len() > rows { rows.saturating_sub(1) } else { unused.len() };
    let at = |i: usize| Rect { y: area.y + 1 + i as u16, height: 1, ..area };
    for (i, u) in unused.iter().take(shown).enumerate() {
        let e = u.endpoint;
        let address = e.address.map_or_else(String::new, |a| endpoint_text(a, e.port));
        let words = [Some(u.why.words()), e.target.as_deref(), e.node.as_deref(), e.zone.as_deref()];
        let words: Vec<&str> = words.into_iter().flatten().collect();
        let text = format!("  {address:<24} {}", words.join(" · "));
        put(frame, at(i), &clip_end(&text, width), theme.dim(), false);
    }
    if shown < unused.len() && rows > 0 {
        put(frame, at(shown), &format!("  and {} more", unused.len() - shown), theme.dim(), false);
    }
}

pub(super) fn draw(
    frame: &mut Frame<'_>,
    rest: Rect,
    cx: &Context,
    (update, i): (&Update, usize),
    rows: &mut List,
    focus: Option<bool>,
) {
    let theme = cx.theme;
    let service = &update.model.services[i];
    if rest.height < 2 {
        rows.hide();
        return;
    }
    let unused =
        update.snapshot.cluster.as_deref().and_then(|c| unused_endpoints(c, service)).unwrap_or_default();
    if service.backends.is_empty() {
        rows.fit(0, rest);
        let known = service.proxy_port.is_some() || service.unknown_backends.is_some();
        let style = if known { theme.text() } else { theme.bad() };
        let text = Paragraph::new(no_backends(service)).style(style).wrap(Wrap { trim: false });
        frame.render_widget(text, Rect { height: rest.height.min(2), ..rest });
        draw_unused(
            frame,
            Rect { y: rest.y + 2, height: rest.height.saturating_sub(2), ..rest },
            theme,
            &unused,
        );
        return;
    }
    // Below the backends, in what they leave; one line at least where the Service is open.
    let left = usize::from(rest.height).saturating_sub(service.backends.len() + 1);
    let least = usize::from(rest.height >= 8);
    let height = left.clamp(least, unused.len() + 1) * usize::from(!unused.is_empty());
    let below = Rect { y: rest.bottom() - height as u16, height: height as u16, ..rest };
    draw_unused(frame, below, theme, &unused);
    let rest = Rect { height: rest.height - height as u16, ..rest };
    // In the line after the backends, where they leave one.
    let judged = usize::from(rest.height) > service.backends.len() + 2;
    let rest = Rect { height: rest.height - u16::from(judged), ..rest };
    if judged {
        let spread = Spread::of(service, update.model.figures(i));
        let style = if spread.is_uneven() { theme.warn() } else { theme.dim() };
        let at = Rect { x: rest.x + 1, y: rest.y + 1 + service.backends.len() as u16, height: 1, ..rest };
        put(frame, at, &clip_end(&spread.words(), usize::from(at.width)), style, false);
    }
    let list = Rect { y: rest.y + 1, height: rest.height - 1, ..rest };
    rows.fit(service.backends.len(), list);
    let place = Rect { x: rest.x + 1, width: rest.width.saturating_sub(2), ..rest };
    let cluster = update.snapshot.cluster.as_deref().filter(|c| !c.services.is_empty());
    let noticed = update.snapshot.new_flows().is_some();
    let is_shown = |c: &&'static Column<Backends>| {
        c.from <= place.width
            && (service.engine.mode() == Mode::Ipvs || !IPVS_ONLY.contains(&c.key))
            && (noticed || !NOTICES_ONLY.contains(&c.key))
            && (cluster.is_some() || !API_ONLY.contains(&c.key))
    };
    let columns: Vec<&'static Column<Backends>> = BACKENDS.iter().filter(is_shown).collect();
    let places = columns_that_fit(&columns, place, "backend", if rest.width >= 140 { 48 } else { 24 });
    heads(frame, theme, &places, None);
    // Backends of a Service are compared with each other: their trends have one scale.
    let trend = |b: usize| update.history.backend(&update.model.services, i, b);
    let top = places.iter().find(|p| p.0.key == "trend").map_or(0.0, |(_, place)| {
        rows.shown().map(|(b, _)| top_of(&trend(b), usize::from(place.width))).fold(0.0, f32::max)
    });
    if let Some((_, place)) = places.iter().find(|p| p.0.key == "trend" && p.1.width >= 14 && top > 0.0) {
        put(frame, *place, &format!("TREND to {}", short(f64::from(top))), theme.head(), false);
    }
    let few = update.model.figures(i).spread().sum::<u64>() < 30;
    draw_list(frame, theme, rows, focus, |frame, line, at| {
        let Some(row) = update.backend_row(i, line) else { return };
        for (column, place) in &places {
            let width = usize::from(place.width);
            let text = match column.key {
                "balance" => {
                    let both = row.real_share.zip(expected_share(service, row.backend));
                    both.map_or(String::new(), |(real, expected)| difference_bar(real, expected, width))
                }
                "trend" => sparkline_to(&trend(line), width, top),
                _ => column.text(&row, width),
            };
            let style = backend_style(theme, column.key, &row, few);
            put(frame, Rect { y: at.y, ..*place }, &text, style, column.right);
        }
    });
}
