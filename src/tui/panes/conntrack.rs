//! Conntrack: how full, what it holds, what it loses, and who fills it.

mod matrix;

use super::widgets::section_strip;
use crate::format::{clip, clip_end, count, duration, plural, short};
use crate::proxy::{endpoint_text, screen_label};
use crate::rates::rate_text;
use crate::ruleset::L4Endpoint;
use crate::snapshot::facts::{ConntrackStat, Stats};
use crate::snapshot::{Conntrack, Flows, TCP_STATES};
use crate::tui::keys::Action;
use crate::tui::list::List;
use crate::tui::pane::{Clicks, Context, Effect, Lists, Pane, Subscriptions, section_after};
use crate::tui::reader::Update;
use crate::tui::request::Request;
use crate::tui::section::Section;
use crate::tui::theme::Theme;
use crate::tui::widgets::{bar, chart, draw_list, part, put, read_lines};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::Line;
use ratatui::widgets::Paragraph;
use std::collections::HashMap;
use std::net::IpAddr;

/// Conntrack, in sections.
#[derive(Debug)]
pub(in crate::tui) struct ConntrackPane {
    section: Section,
    list: List,
    /// Sources, as shown.
    sources: Vec<(IpAddr, u32)>,
    /// Sources of the matrix.
    watched: Vec<IpAddr>,
    /// The chosen source, whatever line it is on.
    chosen: Option<IpAddr>,
    /// The last reading in which all sources of the matrix were counted, and these sources.
    matrix: Option<(Update, Vec<(IpAddr, u32)>)>,
}

impl ConntrackPane {
    fn chosen_source(&self) -> Option<IpAddr> {
        self.sources.get(self.list.chosen).map(|s| s.0)
    }

    pub(in crate::tui) fn new() -> ConntrackPane {
        ConntrackPane {
            section: Section::Summary,
            list: List::default(),
            sources: Vec::new(),
            watched: Vec::new(),
            chosen: None,
            matrix: None,
        }
    }
}

/// Services with flows, those with the most first.
fn by_flows(u: &Update) -> Vec<(usize, u64)> {
    let rows = u.rows().filter_map(|r| Some((r.place, r.figures.held().filter(|n| *n > 0)?)));
    let mut all: Vec<(usize, u64)> = rows.collect();
    all.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    all
}

impl Pane for ConntrackPane {
    fn on_action(&mut self, action: Action, cx: &Context) -> Effect {
        if let Some(section) = section_after(&Section::OF_CONNTRACK, self.section, action) {
            self.section = section;
            self.list.go_to_top();
            self.chosen = None;
            return Effect::Nothing;
        }
        match (action, &cx.update) {
            (Action::Enter, Some(u)) if matches!(self.section, Section::Sources | Section::Matrix) => {
                // What it asks most, of the Services.
                let asked = asked(u, self.chosen_source());
                let most = asked.iter().find_map(|(_, service, _)| *service);
                match most {
                    None if asked.is_empty() => Effect::Notice(
                        "where its flows go is not counted yet: the next reading says it".into(),
                    ),
                    Some(i) => Effect::Go(Request::Service(i, Section::Flows)),
                    None => Effect::Notice("it asks no Service right now".into()),
                }
            }
            (Action::Enter, Some(u)) if self.section == Section::Services => {
                let chosen = by_flows(u).get(self.list.chosen).copied();
                chosen.map_or(Effect::Nothing, |(i, _)| Effect::Go(Request::Service(i, Section::Flows)))
            }
            _ => Effect::Ignored,
        }
    }

    fn lists(&mut self) -> Lists<'_> {
        Lists::one(&mut self.list)
    }

    fn on_chosen(&mut self, _cx: &Context) {
        self.chosen = self.chosen_source();
    }

    fn subscriptions(&self, _cx: &Context) -> Subscriptions {
        let mut wanted = Subscriptions::default();
        wanted.looked_at.sources = match self.section {
            Section::Sources => self.chosen_source().into_iter().collect(),
            Section::Matrix => self.watched.clone(),
            _ => Vec::new(),
        };
        wanted
    }

    fn hints(&self) -> &'static [Action] {
        &[Action::NextSection]
    }

    fn draw(&mut self, frame: &mut Frame<'_>, area: Rect, cx: &Context, clicks: &mut Clicks) {
        let theme = cx.theme;
        let update = cx.update.as_ref();
        let Some((update, c)) = update.and_then(|u| Some((u, u.snapshot.conntrack.as_ref()?))) else {
            let inner = part(frame, theme, area, "Conntrack", "", true);
            self.list.fit(0, inner);
            let text = match update {
                Some(_) => {
                    " The kernel tracks no connections here (module nf_conntrack not loaded, or not readable)."
                }
                None => " Reading the kernel …",
            };
            frame.render_widget(Paragraph::new(text).style(theme.dim()), inner);
            return;
        };
        let (n, max) = (c.limits.count, c.limits.max);
        let title = match n.zip(max) {
            Some((n, max)) => format!("Conntrack {} of {}", count(n), count(max)),
            None => "Conntrack".into(),
        };
        let note = match (update.node.conntrack.growth, update.node.conntrack.full_in) {
            (_, Some(t)) => format!("full in {} at this growth", duration(t)),
            (Ok(g), None) if g.abs() >= 0.05 => {
                format!("{}{}/s", if g < 0.0 { "-" } else { "+" }, short(g.abs()))
            }
            _ => "steady".into(),
        };
        let inner = part(frame, theme, area, &title, &note, true);
        let part_full = n.zip(max).map_or(0.0, |(n, max)| n as f64 / max.max(1) as f64);
        let style = theme.fill(part_full);
        let width = usize::from(inner.width).saturating_sub(10);
        put(frame, Rect { x: inner.x + 1, height: 1, ..inner }, &bar(part_full, width), style, false);
        let percent = format!("{:.1}% ", part_full * 100.0);
        put(frame, Rect { height: 1, ..inner }, &percent, style, true);
        let [_, strip, rest] =
            Layout::vertical([Constraint::Length(1), Constraint::Length(1), Constraint::Min(1)]).areas(inner);
        let now = self.section;
        let label = |s: Section| format!(" {} ", s.title());
        section_strip(frame, theme, strip, &Section::OF_CONNTRACK, now, &label, clicks);
        let flows = c.flows.as_ref().map(|f| f.value.clone());
        if now != Section::Matrix {
            self.matrix = None;
        }
        let list = &mut self.list;
        match now {
            Section::Cpus => draw_cpus(frame, theme, update, c, rest, list),
            Section::Sources => {
                self.sources = sources(flows.as_deref());
                choose(list, &self.sources, self.chosen);
                draw_sources(frame, theme, update, (flows.as_deref(), &self.sources), rest, list);
            }
            Section::Services => draw_services(frame, theme, update, rest, list),
            Section::Matrix => {
                let all = sources(flows.as_deref());
                self.watched = matrix::watched(&self.watched, &all);
                let now: Vec<(IpAddr, u32)> =
                    all.into_iter().filter(|s| self.watched.contains(&s.0)).collect();
                // Sources that came up are counted with the next reading: until then the table stays what it was.
                let is_whole = flows.as_ref().is_some_and(|f| matrix::is_whole(f, &now));
                if is_whole || self.matrix.is_none() || update.moment.is_some() {
                    self.matrix = Some((update.clone(), now));
                }
                let Some((of, sources)) = &self.matrix else { return };
                self.sources.clone_from(sources);
                choose(list, sources, self.chosen);
                let flows = of.snapshot.conntrack.as_ref().and_then(|c| c.flows.as_ref()).map(|f| &*f.value);
                matrix::draw(frame, theme, of, (flows, sources), rest, list);
                if !flows.is_some_and(|f| matrix::is_whole(f, sources)) {
                    self.matrix = None;
                }
            }
            _ => draw_summary(frame, theme, update, c, flows.as_deref(), rest, list),
        }
    }
}

/// A source stays chosen where the order of sources is another.
fn choose(list: &mut List, sources: &[(IpAddr, u32)], chosen: Option<IpAddr>) {
    if let Some(at) = chosen.and_then(|c| sources.iter().position(|s| s.0 == c)) {
        list.chosen = at;
    }
}

fn protocol_name(number: u8) -> String {
    match number {
        1 => "ICMP".into(),
        6 => "TCP".into(),
        17 => "UDP".into(),
        33 => "DCCP".into(),
        47 => "GRE".into(),
        58 => "ICMPv6".into(),
        132 => "SCTP".into(),
        n => format!("protocol {n}"),
    }
}

/// Lines of text, cut to their place.
fn lines(frame: &mut Frame<'_>, area: Rect, lines: &[(String, Style)]) {
    for (i, (text, style)) in lines.iter().take(usize::from(area.height)).enumerate() {
        let place =
            Rect { y: area.y + i as u16, height: 1, x: area.x + 1, width: area.width.saturating_sub(1) };
        put(frame, place, &clip_end(text, usize::from(place.width)), *style, false);
    }
}

fn flow_lines(theme: Theme, flows: Option<&Flows>) -> Vec<(String, Style)> {
    let Some(flows) = flows else {
        return vec![("flows could not be read".into(), theme.dim())];
    };
    let mut all = vec![(format!("{:<12} {:>9} {:>9}", "PROTOCOL", "FLOWS", "NO REPLY"), theme.head())];
    for (number, p) in &flows.protocols {
        let style = if p.unreplied * 2 > p.flows && p.flows > 20 { theme.warn() } else { theme.text() };
        let text = format!("{:<12} {:>9} {:>9}", protocol_name(*number), count(p.flows), count(p.unreplied));
        all.push((text, style));
    }
    let translated = flows.total.saturating_sub(flows.untranslated);
    all.push((format!("{:<12} {:>9}", "translated", count(translated)), theme.dim()));
    all.push((format!("{:<12} {:>9}", "TCP STATE", "FLOWS"), theme.head()));
    for (state, n) in TCP_STATES.iter().zip(flows.tcp_states).filter(|s| s.1 > 0) {
        all.push((format!("{state:<12} {:>9}", count(n)), theme.text()));
    }
    all
}

fn stat_lines(theme: Theme, update: &Update, stats: Option<Stats>, wide: bool) -> Vec<(String, Style)> {
    let words = |text: &'static str| if wide { text } else { "" };
    let head = format!("{:<15} {:>8} {:>12}  {}", "STATISTIC", "/s", "TOTAL", words("MEANING"));
    let mut all = vec![(head, theme.head())];
    let Some(stats) = stats else {
        all.push(("could not be read".into(), theme.dim()));
        return all;
    };
    for stat in ConntrackStat::all() {
        let (rate, value) = (update.node.conntrack.stats.get(stat), stats.get(stat));
        let style = match (value, rate) {
            (_, Ok(r)) if stat.loses_packets() && r > 0.0 => theme.bad(),
            (Some(0) | None, _) => theme.dim(),
            _ => theme.text(),
        };
        let total = value.map_or("-".into(), |n| n.to_string());
        let (name, rate) = (stat.name(), rate_text(rate));
        all.push((format!("{name:<15} {rate:>8} {total:>12}  {}", words(stat.meaning())), style));
    }
    all
}

fn draw_summary(
    frame: &mut Frame<'_>,
    theme: Theme,
    update: &Update,
    c: &Conntrack,
    flows: Option<&Flows>,
    area: Rect,
    list: &mut List,
) {
    let (left, mut right) = (flow_lines(theme, flows), stat_lines(theme, update, c.stats, area.width >= 100));
    let off = |on: Option<bool>, name: &str, why: &str| match on {
        Some(false) => Some((format!("{name} = 0: {why}"), theme.dim())),
        _ => None,
    };
    right.extend(off(c.limits.accounting, "nf_conntrack_acct", "no packets and bytes of flows"));
    right.extend(off(c.limits.timestamps, "nf_conntrack_timestamp", "no ages of flows"));
    let needed = left.len().max(right.len()) as u16 + 1;
    // Where both have no room beside each other they are one list, which scrolls.
    if area.width < 72 || area.height + 1 < needed {
        let all: Vec<Line<'_>> = left
            .into_iter()
            .chain(right)
            .map(|(text, style)| Line::styled(format!(" {text}"), style))
            .collect();
        return read_lines(frame, theme, list, area, &all);
    }
    list.hide();
    let tall = area.height >= 24;
    let [top, plot] = match tall {
        true => Layout::vertical([Constraint::Length(needed), Constraint::Min(5)]).areas(area),
        false => [area, Rect::default()],
    };
    let [a, b] =
        Layout::horizontal([Constraint::Length(if area.width < 100 { 34 } else { 36 }), Constraint::Min(20)])
            .areas(top);
    lines(frame, a, &left);
    lines(frame, b, &right);
    if plot.height > 4 {
        let plot = Rect { height: plot.height.min(16), ..plot };
        let inner = part(frame, theme, plot, "Entries", "over the session", false);
        chart(frame, theme, inner, update.history.entries(), None, &update.end_words());
    }
}

/// Statistics of each CPU: those that are worth a column.
const OF_CPUS: [(ConntrackStat, &str); 8] = [
    (ConntrackStat::Found, "FOUND/s"),
    (ConntrackStat::Invalid, "INVALID/s"),
    (ConntrackStat::InsertFailed, "INS FAIL/s"),
    (ConntrackStat::Drop, "DROP/s"),
    (ConntrackStat::EarlyDrop, "EARLY/s"),
    (ConntrackStat::Error, "ERROR/s"),
    (ConntrackStat::SearchRestart, "RESTART/s"),
    (ConntrackStat::ClashResolve, "CLASH/s"),
];

fn draw_cpus(
    frame: &mut Frame<'_>,
    theme: Theme,
    update: &Update,
    c: &Conntrack,
    area: Rect,
    rows: &mut List,
) {
    let fit = usize::from(area.width.saturating_sub(6) / 11).min(OF_CPUS.len());
    let mut head = format!(" {:>4}", "CPU");
    for (_, name) in &OF_CPUS[..fit] {
        head.push_str(&format!(" {name:>10}"));
    }
    put(frame, Rect { height: 1, ..area }, &head, theme.head(), false);
    let list = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
    rows.fit(c.cpus.len(), list);
    draw_list(frame, theme, rows, Some(true), |frame, cpu, place| {
        put(frame, place, &format!(" {cpu:>4}"), theme.text(), false);
        for (n, (stat, _)) in OF_CPUS[..fit].iter().enumerate() {
            let at = Rect { x: place.x + 6 + n as u16 * 11, width: 10, ..place };
            let rate = update.node.conntrack.cpus.get(cpu).map(|c| c.get(*stat));
            let style = match rate {
                Some(Ok(r)) if r > 0.0 && stat.loses_packets() => theme.bad(),
                Some(Ok(r)) if r > 0.0 => theme.text(),
                _ => theme.dim(),
            };
            put(frame, at, &rate.map_or("…".into(), rate_text), style, true);
        }
    });
}

/// Who began flows, those with the most first.
fn sources(flows: Option<&Flows>) -> Vec<(IpAddr, u32)> {
    let mut all: Vec<_> = flows.iter().flat_map(|f| &f.sources).map(|(address, n)| (*address, *n)).collect();
    all.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    all
}

/// Where the flows of a source go: the destination, the Service that it is, and how many; the most first. Empty until they were
/// read.
fn asked(u: &Update, source: Option<IpAddr>) -> Vec<(L4Endpoint, Option<usize>, u32)> {
    let flows = u.snapshot.conntrack.as_ref().and_then(|c| c.flows.as_ref()).map(|f| &f.value);
    let (Some(flows), Some(source)) = (flows, source) else { return Vec::new() };
    let mut to: HashMap<L4Endpoint, u32> = HashMap::new();
    match flows.of_sources.get(&source) {
        Some(of) => to.extend(of.to.iter().map(|(to, n)| (*to, *n))),
        // Of a file all flows are kept.
        _ if flows.all_kept => {
            for f in flows.followed.iter().filter(|f| f.original.source == source) {
                let o = &f.original;
                *to.entry(L4Endpoint::new(o.protocol, o.destination, o.destination_port)).or_default() += 1;
            }
        }
        _ => return Vec::new(),
    }
    let services = &u.model.services;
    let mut all: Vec<(L4Endpoint, Option<usize>, u32)> = Vec::new();
    // A Service is one, by whatever address it is asked.
    let mut known: HashMap<usize, usize> = HashMap::new();
    for (to, n) in to {
        let service = services.reached_at(to, &u.snapshot.addresses);
        match service.map(|s| *known.entry(s).or_insert(all.len())) {
            Some(at) if at < all.len() => all[at].2 += n,
            _ => all.push((to, service, n)),
        }
    }
    all.sort_unstable_by(|a, b| b.2.cmp(&a.2).then(a.0.cmp(&b.0)));
    all
}

/// What the chosen source asks.
fn draw_asked(frame: &mut Frame<'_>, theme: Theme, u: &Update, area: Rect, source: IpAddr) {
    let all = asked(u, Some(source));
    let title = format!("What {source} asks");
    let inner = part(frame, theme, area, &title, "Enter: flows of the first Service", false);
    if all.is_empty() {
        let text = match &u.moment {
            None => " Its flows are counted by destination with the next reading …",
            Some(_) => " Not recorded: this is counted only while a user looks at it.",
        };
        frame.render_widget(Paragraph::new(text).style(theme.dim()), inner);
    }
    let sum: u32 = all.iter().map(|a| a.2).sum();
    for (line, (to, service, n)) in all.iter().enumerate().take(usize::from(inner.height)) {
        let name = match service.and_then(|i| u.model.services.get(i)) {
            Some(s) => format!("{} {}", screen_label(s), s.protocol.name()),
            None => format!("{} {}", endpoint_text(to.address, to.port), protocol_name(to.protocol)),
        };
        let share = f64::from(*n) / f64::from(sum.max(1)) * 100.0;
        let text = format!(" {:<40} {n:>9} {share:>6.1}%", clip(&name, 40));
        let style = if service.is_some() { theme.text() } else { theme.dim() };
        put(frame, Rect { y: inner.y + line as u16, height: 1, ..inner }, &text, style, false);
    }
}

fn draw_sources(
    frame: &mut Frame<'_>,
    theme: Theme,
    update: &Update,
    (flows, all): (Option<&Flows>, &[(IpAddr, u32)]),
    area: Rect,
    rows: &mut List,
) {
    let Some(flows) = flows else {
        rows.fit(0, area);
        frame.render_widget(Paragraph::new(" Flows could not be read.").style(theme.dim()), area);
        return;
    };
    let lower = (area.height * 2 / 5).max(4);
    let [area, below] = Layout::vertical([Constraint::Min(3), Constraint::Length(lower)]).areas(area);
    let beyond = match flows.other_sources {
        0 => String::new(),
        n => format!(", and {} of more sources than are counted", plural(n, "flow")),
    };
    let head = format!(
        " {:<40} {:>9} {:>7}  who began the flows: {}{beyond}",
        "SOURCE",
        "FLOWS",
        "SHARE",
        plural(all.len() as u64, "address")
    );
    put(frame, Rect { height: 1, ..area }, &head.replace("addresss", "addresses"), theme.head(), false);
    let list = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
    rows.fit(all.len(), list);
    match all.get(rows.chosen) {
        Some((source, _)) => draw_asked(frame, theme, update, below, *source),
        None => drop(part(frame, theme, below, "What it asks", "", false)),
    }
    draw_list(frame, theme, rows, Some(true), |frame, i, place| {
        let (address, n) = all[i];
        let share = f64::from(n) / flows.total.max(1) as f64;
        let text = format!(" {:<40} {n:>9} {:>6.1}%  ", address.to_string(), share * 100.0);
        put(frame, place, &text, theme.text(), false);
        let x = place.x + text.chars().count() as u16;
        let room = place.right().saturating_sub(x + 1).min(40);
        put(frame, Rect { x, width: room, ..place }, &bar(share, usize::from(room)), theme.busy(), false);
    });
}

fn draw_services(frame: &mut Frame<'_>, theme: Theme, update: &Update, area: Rect, rows: &mut List) {
    let all = by_flows(update);
    let name = usize::from(area.width).saturating_sub(34).clamp(20, 60);
    let head =
        format!(" {:<name$} {:>9} {:>9} {:>7}", "SERVICE (Enter: flows)", "FLOWS", "NO REPLY", "SHARE");
    put(frame, Rect { height: 1, ..area }, &head, theme.head(), false);
    let list = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
    rows.fit(all.len(), list);
    if all.is_empty() {
        frame.render_widget(Paragraph::new(" No flow to a Service right now.").style(theme.dim()), list);
    }
    let total: u64 = all.iter().map(|a| a.1).sum();
    draw_list(frame, theme, rows, Some(true), |frame, line, place| {
        let (i, n) = all[line];
        let Some(s) = update.model.services.get(i) else { return };
        let unreplied =
            update.model.figures(i).backends().filter_map(|b| b.unreplied_flows).reduce(|a, b| a + b);
        let label = clip(&format!("{} {}", screen_label(s), s.protocol.name()), name);
        let share = n as f64 / total.max(1) as f64 * 100.0;
        let unreplied = unreplied.map_or("-".into(), count);
        let text = format!(" {label:<name$} {:>9} {unreplied:>9} {share:>6.1}%", count(n));
        put(frame, place, &text, theme.text(), false);
    });
}
