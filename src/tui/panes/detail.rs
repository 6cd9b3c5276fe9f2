//! One Service: where it is reached, its backends with what each should get and gets, its flows, the rules that make
//! it up, and the clients that these remember.

use crate::columns::{
    API_ONLY, BACKENDS, BackendRow, Backends, Column, expected_share, screen_label, state_word,
};
use crate::format::{clip, clip_rule, count, duration, plural};
use crate::proxy::{
    Action, Frontend, FrontendKind, Mode, Part, Service, TrafficPolicy, endpoint_text, frontend_text,
};
use crate::ruleset::IpFamily;
use crate::snapshot::{MemoryList, RememberedClient, Snapshot};
use crate::tui::app::{App, Click, Section};
use crate::tui::reader::Update;
use crate::tui::theme::Theme;
use crate::tui::widgets::{chart, columns_that_fit, draw_list, heads, marked_bar, part, put, sparkline};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Wrap};
use std::time::Duration;
use unicode_width::UnicodeWidthStr;

/// What the figures count, and what they leave out.
fn meaning(service: &Service) -> &'static str {
    match service.engine.mode() {
        _ if service.leftover => "left over: another mode is at work, and these rules get no new flows",
        Mode::Ipvs => "IPVS counts every connection, packet and byte; its figures lag by up to 2 s",
        Mode::Iptables => "nat rules count new flows only: this mode counts no packets or bytes a backend",
        Mode::Nftables => "nftables rules count nothing: figures come from conntrack",
        Mode::Userspace => "the kube-proxy process counts nothing",
    }
}

/// Lines that the lower part of the list of Services needs for one of them.
pub(super) fn needed_height(service: &Service) -> u16 {
    (service.backends.len() as u16).saturating_add(4).max(5)
}

/// The lower part of the list of Services.
pub(super) fn draw_short(frame: &mut Frame<'_>, app: &mut App, area: Rect) {
    let theme = app.theme;
    let focus = app.lower;
    let Some((update, i)) = app.update.clone().zip(app.chosen()) else {
        part(frame, theme, area, "Backends", "", focus);
        app.below.hide();
        return;
    };
    let service = &update.model.services[i];
    let room = usize::from(area.width.saturating_sub(24));
    let title = format!("{} {}", clip(&screen_label(service), room), service.protocol.name());
    let note = if area.width >= 110 { meaning(service) } else { "Enter opens it" };
    let inner = part(frame, theme, area, &title, note, focus);
    let lines = frontends(theme, service, inner.width);
    let used = (lines.len() as u16).min(inner.height.saturating_sub(3).max(1));
    frame.render_widget(Paragraph::new(lines), Rect { height: used.min(inner.height), ..inner });
    let rest = Rect { y: inner.y + used, height: inner.height.saturating_sub(used), ..inner };
    draw_backends(frame, app, &update, i, rest, focus.then_some(true));
}

/// The whole pane.
pub(super) fn draw(frame: &mut Frame<'_>, app: &mut App, area: Rect) {
    let theme = app.theme;
    let Some((update, i)) = app.update.clone().zip(app.chosen()) else { return };
    let Some(section) = app.opened else { return };
    let service = &update.model.services[i];
    let title = format!(
        "{} {} · {} · {}",
        clip(&screen_label(service), usize::from(area.width / 2)),
        service.protocol.name(),
        service.engine.mode().name(),
        state_word(service.health())
    );
    let inner = part(frame, theme, area, &title, "Esc goes back", true);
    let lines = frontends(theme, service, inner.width);
    let chart_height = match inner.height {
        // A path is read from its begin to its end.
        _ if section == Section::Path => 0,
        0..16 => 0,
        16..26 => 5,
        _ => 9,
    };
    let [places, plot, strip, list] = Layout::vertical([
        Constraint::Length(lines.len() as u16),
        Constraint::Length(chart_height),
        Constraint::Length(1),
        Constraint::Min(2),
    ])
    .areas(inner);
    frame.render_widget(Paragraph::new(lines), places);
    if plot.height > 0 {
        let words = match service.engine.mode() {
            Mode::Nftables => "flows that conntrack held, over the session",
            _ => "new flows a second, over the session",
        };
        put(frame, Rect { x: plot.x + 1, height: 1, ..plot }, words, theme.dim(), false);
        let below = Rect { y: plot.y + 1, height: plot.height - 1, ..plot };
        chart(frame, theme, below, &update.history.session(i));
    }
    let label = |s: Section| match s {
        Section::Backends => format!(" Backends {} ", service.backends.len()),
        Section::Flows => format!(" Flows {} ", update.model.figures(i).held().map_or("-".into(), count)),
        other => format!(" {} ", other.title()),
    };
    section_strip(frame, app, strip, &Section::OF_SERVICE, section, &label);
    match section {
        Section::Flows => super::flows::draw(frame, app, &update, i, list),
        Section::Rules => draw_parts(frame, app, &update, service, list),
        Section::Path => super::path::draw(frame, app, service, list),
        Section::Clients => draw_clients(frame, app, &update, service, list),
        _ => draw_backends(frame, app, &update, i, list, Some(true)),
    }
}

/// The names of sections in a line; the one that is shown stands out.
pub(super) fn section_strip(
    frame: &mut Frame<'_>,
    app: &mut App,
    area: Rect,
    all: &[Section],
    now: Section,
    label: &dyn Fn(Section) -> String,
) {
    let theme = app.theme;
    let mut x = area.x + 1;
    for section in all {
        let text = label(*section);
        let width = (text.width() as u16).min(area.right().saturating_sub(x));
        let place = Rect { x, y: area.y, width, height: 1 };
        put(frame, place, &text, if *section == now { theme.on() } else { theme.head() }, false);
        app.clicks.push((place, Click::Section(*section)));
        x += width + 1;
    }
    let hint = "] [ next, last section";
    let rest = Rect { x, y: area.y, width: area.right().saturating_sub(x + 1), height: 1 };
    if usize::from(rest.width) > hint.len() {
        put(frame, rest, hint, theme.dim(), true);
    }
}

fn frontend_words(f: &Frontend) -> String {
    let kind = match f.kind {
        Some(FrontendKind::ClusterIp) => "cluster IP",
        Some(FrontendKind::ExternalIp) => "external IP",
        Some(FrontendKind::LoadBalancerIp) => "load balancer",
        Some(FrontendKind::NodePort) => "node port",
        None => "address",
    };
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

/// Frontends in as few lines as they need, at most three.
fn frontends(theme: Theme, service: &Service, width: u16) -> Vec<Line<'static>> {
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
    let more = lines.len().saturating_sub(3);
    lines.truncate(3);
    if let (true, Some(line)) = (more > 0, lines.last_mut()) {
        line.push(Span::styled(format!(" … {} more", plural(more as u64, "line")), theme.dim()));
    }
    lines.into_iter().map(Line::from).collect()
}

/// Why there are no backends.
fn no_backends(service: &Service) -> String {
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

/// Columns of backends that only IPVS fills.
const IPVS_ONLY: [&str; 4] = ["packets", "bytes", "active", "inactive"];

fn backend_style(theme: Theme, key: &str, row: &BackendRow<'_>, few: bool) -> Style {
    match key {
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

fn draw_backends(
    frame: &mut Frame<'_>,
    app: &mut App,
    update: &Update,
    i: usize,
    rest: Rect,
    focus: Option<bool>,
) {
    let theme = app.theme;
    let service = &update.model.services[i];
    if rest.height < 2 {
        app.below.hide();
        return;
    }
    if service.backends.is_empty() {
        app.below.fit(0, rest);
        let style = if service.proxy_port.is_some() { theme.text() } else { theme.bad() };
        let text = Paragraph::new(no_backends(service)).style(style).wrap(Wrap { trim: false });
        frame.render_widget(text, Rect { height: rest.height.min(3), ..rest });
        return;
    }
    let list = Rect { y: rest.y + 1, height: rest.height - 1, ..rest };
    app.below.fit(service.backends.len(), list);
    let place = Rect { x: rest.x + 1, width: rest.width.saturating_sub(2), ..rest };
    let cluster = update.snapshot.cluster.as_deref().filter(|c| !c.services.is_empty());
    let is_shown = |c: &&'static Column<Backends>| {
        c.from <= place.width
            && (service.engine.mode() == Mode::Ipvs || !IPVS_ONLY.contains(&c.key))
            && (cluster.is_some() || !API_ONLY.contains(&c.key))
    };
    let columns: Vec<&'static Column<Backends>> = BACKENDS.iter().filter(is_shown).collect();
    let places = columns_that_fit(&columns, place, "backend", if rest.width >= 140 { 48 } else { 24 });
    heads(frame, theme, &places, None);
    let few = update.model.figures(i).flows().unwrap_or(0) < 30;
    draw_list(frame, theme, &app.below, focus, |frame, line, at| {
        let Some(row) = update.backend_row(i, line) else { return };
        for (column, place) in &places {
            let width = usize::from(place.width);
            let text = match column.key {
                "balance" => {
                    let expected = expected_share(service, row.backend);
                    marked_bar(row.real_share.unwrap_or(0.0), expected, width)
                }
                "trend" => sparkline(&update.history.backend(&update.model.services, i, line), width),
                _ => column.text(&row, width),
            };
            let style = backend_style(theme, column.key, &row, few);
            put(frame, Rect { y: at.y, ..*place }, &text, style, column.right);
        }
    });
}

/// A line of text for each row of a list, cut where it is too long; the chosen one is shown whole below, where it
/// was cut and there is room.
pub(super) fn draw_lines(
    frame: &mut Frame<'_>,
    theme: Theme,
    list: &mut crate::tui::app::List,
    area: Rect,
    focus: bool,
    lines: &[(String, String, Style)],
) {
    let room = usize::from(area.width).saturating_sub(2);
    let chosen = lines.get(list.chosen.min(lines.len().saturating_sub(1)));
    let cut = chosen.filter(|l| focus && l.0.width() + l.1.width() > room && area.height > 5);
    let below = cut.map_or(0, |l| (l.1.width().div_ceil(room.max(1)) as u16 + 1).min(area.height / 2));
    let place = Rect { height: area.height - below, ..area };
    list.fit(lines.len(), place);
    draw_list(frame, theme, list, focus.then_some(true), |frame, i, at| {
        let (head, text, style) = &lines[i];
        let width = room.saturating_sub(head.width());
        let spans = vec![
            Span::styled(format!(" {head}"), theme.busy()),
            Span::styled(clip_rule(text, width), *style),
        ];
        frame.render_widget(Paragraph::new(Line::from(spans)), at);
    });
    if let Some((_, text, _)) = cut {
        let at = Rect { y: place.bottom(), height: below, ..area };
        let inner = part(frame, theme, at, "whole", "y copies it", false);
        let inner = Rect { x: inner.x + 1, width: inner.width.saturating_sub(2), ..inner };
        frame.render_widget(Paragraph::new(text.as_str()).wrap(Wrap { trim: false }), inner);
    }
}

fn draw_parts(frame: &mut Frame<'_>, app: &mut App, update: &Update, service: &Service, area: Rect) {
    let theme = app.theme;
    let lines: Vec<(String, String, Style)> = app
        .parts
        .iter()
        .map(|p| match p {
            Part::Place(name) => (String::new(), name.clone(), theme.accent()),
            Part::Text(text) => (format!("{:>17}  ", ""), text.clone(), theme.text()),
            Part::Rule(r) => {
                let Some(t) = update.snapshot.tables.get(r.table) else { return Default::default() };
                let Some(rule) = t.table.rules.get(r.rule.0 as usize) else { return Default::default() };
                let seen = t.counter(r.rule);
                let (hits, rate) = super::rules::hit_texts(app, r.table, r.rule, rule.counted, seen.packets);
                let style = if seen.packets > 0 || !rule.counted { theme.text() } else { theme.dim() };
                (format!("{hits:>9} {rate:>7}  "), t.table.rule_text(rule).to_string(), style)
            }
        })
        .collect();
    if lines.is_empty() {
        app.below.fit(0, area);
        let text = match service.engine.mode() {
            Mode::Ipvs => " IPVS could not be read.",
            _ => " No rules of its own were found.",
        };
        frame.render_widget(Paragraph::new(text).style(theme.dim()), area);
        return;
    }
    let head = format!(" {:>9} {:>7}  {}", "HITS", "HITS/s", "RULE (Enter goes there)");
    put(frame, Rect { height: 1, ..area }, &head, theme.head(), false);
    let rest = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
    draw_lines(frame, theme, &mut app.below, rest, true, &lines);
}

/// The backend that a list of clients belongs to.
fn list_owner(service: &Service, snapshot: &Snapshot, list: &MemoryList) -> String {
    match list {
        MemoryList::Recent(name) => {
            let of_chain = service.backends.iter().find(|b| {
                let Some(r) = b.rule else { return false };
                let Some(t) = snapshot.tables.get(r.table) else { return false };
                t.table.chain_of(r.rule).is_some_and(|c| t.table.chain_name(c) == name)
            });
            of_chain.map_or_else(|| name.clone(), |b| endpoint_text(b.address, b.port))
        }
        // `affinity-HASH-ns/name/tcp/port__10.244.0.3/8080`
        MemoryList::Set(_, _, set) => {
            set.rsplit_once("__").map_or(set.as_str(), |s| s.1).replacen('/', ":", 1)
        }
    }
}

fn draw_clients(frame: &mut Frame<'_>, app: &mut App, update: &Update, service: &Service, area: Rect) {
    let theme = app.theme;
    let say = |frame: &mut Frame<'_>, app: &mut App, text: &str| {
        app.below.fit(0, area);
        let text = Paragraph::new(format!(" {text}")).style(theme.dim()).wrap(Wrap { trim: false });
        frame.render_widget(text, area);
    };
    let Some(seconds) = service.session_affinity_s else {
        say(frame, app, "It has no session affinity: every flow of a client may go to another backend.");
        return;
    };
    if service.engine.mode() == Mode::Ipvs {
        say(
            frame,
            app,
            "IPVS keeps its clients as persistence templates among its connections (ipvsadm -Ln --persistent-conn).",
        );
        return;
    }
    let Some(found) = update.snapshot.remembered.as_ref().map(|r| r.value.clone()) else {
        say(frame, app, "Reading the clients that its rules remember …");
        return;
    };
    let mut rows: Vec<(String, &RememberedClient)> = Vec::new();
    for (list, clients) in &found.lists {
        let owner = list_owner(service, &update.snapshot, list);
        rows.extend(clients.iter().map(|c| (owner.clone(), c)));
    }
    if let (true, Some(why)) = (rows.is_empty(), found.failed.first()) {
        say(frame, app, why);
        return;
    }
    let words = format!(
        "{} remembered, each for {} after its last new flow",
        plural(rows.len() as u64, "client"),
        duration(Duration::from_secs(seconds.into()))
    );
    put(frame, Rect { x: area.x + 1, height: 1, ..area }, &words, theme.text(), false);
    let (client, backend) = if service.family == IpFamily::V6 { (40, 26) } else { (16, 22) };
    let head = format!(" {:<client$} {:<backend$} {:>15} {:>7}", "CLIENT", "BACKEND", "FORGOTTEN", "PACKETS");
    let rest = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
    put(frame, Rect { height: 1, ..rest }, &head, theme.head(), false);
    let list = Rect { y: rest.y + 1, height: rest.height.saturating_sub(1), ..rest };
    app.below.fit(rows.len(), list);
    draw_list(frame, theme, &app.below, Some(true), |frame, i, at| {
        let (owner, c) = &rows[i];
        let left = c.expires.map_or("-".into(), |d| format!("in {}", duration(d)));
        let packets = c.packets.map_or("-".into(), |n| n.to_string());
        let text = format!(
            " {:<client$} {:<backend$} {left:>15} {packets:>7}",
            c.address.to_string(),
            clip(owner, backend)
        );
        put(frame, at, &text, theme.text(), false);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_rule_the_comment_goes_first() {
        let rule = "-d 10.96.2.9/32 -p tcp -m comment --comment \"shop/cart \\\"x\\\" IP\" -m tcp --dport 80 -j KUBE-SVC-X";
        assert_eq!(clip_rule(rule, 200), rule);
        assert_eq!(clip_rule(rule, 60), "-d 10.96.2.9/32 -p tcp -m tcp --dport 80 -j KUBE-SVC-X");
        assert_eq!(clip_rule(rule, 40), "-d 10.96.2.9/32 -p tcp -m… -j KUBE-SVC-X");
        assert_eq!(clip_rule("-m comment --comment short -j DROP", 12), "-j DROP");
        assert!(clip_rule("ip saddr @a-very-long-name goto somewhere", 20).width() <= 20);
        assert!(clip_rule("-m comment --comment \"cut off", 12).width() <= 12);
    }
}
