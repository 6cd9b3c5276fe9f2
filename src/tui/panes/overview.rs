//! The node at a glance: what is wrong, and how much of everything there is.

use super::services::{nothing, watched_of_all};
use super::widgets::{counts_new_flows, severity_style, state_style};
use crate::config::PaneName;
use crate::doctor::Severity;
use crate::format::{clip, clip_end, count, duration, plural, short};
use crate::health::HealthState;
use crate::proxy::{Service, chain_families, screen_label};
use crate::rates::{CauseKind, rate_text};
use crate::tui::keys::Action;
use crate::tui::pane::{Clicks, Context, Effect, Pane, Subscriptions};
use crate::tui::reader::Update;
use crate::tui::theme::Theme;
use crate::tui::widgets::{bar, chart, part, put, sparkline};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Wrap};
use unicode_width::UnicodeWidthStr;

/// The node at a glance.
#[derive(Debug, Default)]
pub(in crate::tui) struct Overview {
    /// Services with the most new flows, by index in the model.
    movers: Vec<usize>,
}

/// Services with the most new flows; in nftables mode, with the most flows that conntrack holds.
fn movers(u: &Update) -> Vec<usize> {
    let figure = |i: usize| -> f64 {
        match u.rates.get(i).map(|r| r.flows) {
            Some(Ok(n)) => n,
            _ => u.model.figures(i).held().unwrap_or(0) as f64 / 1e6,
        }
    };
    let mut all: Vec<(f64, usize)> = (0..u.model.services.len())
        .filter(|i| u.model.services[*i].is_used())
        .map(|i| (figure(i), i))
        .filter(|m| m.0 > 0.0)
        .collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    all.into_iter().take(20).map(|m| m.1).collect()
}

impl Pane for Overview {
    fn on_view(&mut self, cx: &Context, _changed: bool) {
        self.movers = cx.update.as_ref().map(movers).unwrap_or_default();
    }

    fn on_action(&mut self, action: Action, cx: &Context) -> Effect {
        let bad = cx.update.as_ref().is_some_and(|u| !u.examination.findings.is_empty());
        match action {
            Action::Enter => Effect::Show(if bad { PaneName::Findings } else { PaneName::Services }),
            _ => Effect::Ignored,
        }
    }

    fn subscriptions(&self, cx: &Context) -> Subscriptions {
        let rules = watched_of_all(cx, self.movers.iter().copied());
        Subscriptions { rules, ..Subscriptions::default() }
    }

    fn draw(&mut self, frame: &mut Frame<'_>, area: Rect, cx: &Context, _clicks: &mut Clicks) {
        let theme = cx.theme;
        let Some(update) = &cx.update else {
            frame.render_widget(Paragraph::new(" Reading the kernel …").style(theme.dim()), area);
            return;
        };
        let (chart_height, states) = match area.height {
            ..30 => (0, if area.height < 14 { 4 } else { 6 }),
            _ => ((area.height / 4).clamp(7, 14), 7),
        };
        // Each state has its row: they add up.
        let states = states.max(state_rows(update, 0).len() as u16 + 1);
        let rest = area.height.saturating_sub(1 + states + chart_height);
        let lists = if rest > 10 { rest * 55 / 100 } else { rest };
        let [verdict, first, plot, second, third] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(states),
            Constraint::Length(chart_height),
            Constraint::Length(lists),
            Constraint::Min(0),
        ])
        .areas(area);
        draw_verdict(frame, theme, update, verdict);
        // Figures of what could not be read would be a false all-clear.
        if !update.snapshot.rules_read() {
            let rest = Rect { y: area.y + 2, height: area.height.saturating_sub(2), ..area };
            let text = Paragraph::new(nothing(cx)).style(theme.dim()).wrap(Wrap { trim: false });
            frame.render_widget(text, rest);
            return;
        }
        let [left, right] = columns(first);
        draw_states(frame, theme, update, left);
        draw_conntrack(frame, theme, update, right);
        if plot.height > 0 {
            let what = match counts_new_flows(update) {
                true => "New flows a second to all Services",
                false => "Flows to all Services that conntrack held",
            };
            let inner = part(frame, theme, plot, what, "over the session", false);
            let lost = counts_new_flows(update).then(|| update.losses.total());
            chart(frame, theme, inner, update.history.total(), lost, &update.end_words());
        }
        let [left, right] = columns(second);
        draw_movers(frame, theme, update, &self.movers, left);
        draw_causes(frame, theme, update, right);
        if third.height > 1 {
            draw_tables(frame, cx, update, third);
        }
    }
}

fn columns(area: Rect) -> [Rect; 2] {
    let [left, _, right] =
        Layout::horizontal([Constraint::Fill(1), Constraint::Length(1), Constraint::Fill(1)]).areas(area);
    [left, right]
}

/// A line of a part: one column in from the left.
fn line(area: Rect, n: usize) -> Option<Rect> {
    let y = area.y + n as u16;
    (y < area.bottom()).then(|| Rect { x: area.x + 1, y, width: area.width.saturating_sub(1), height: 1 })
}

fn spans(frame: &mut Frame<'_>, place: Option<Rect>, spans: Vec<Span<'_>>) {
    if let Some(place) = place {
        frame.render_widget(Paragraph::new(Line::from(spans)), place);
    }
}

fn draw_verdict(frame: &mut Frame<'_>, theme: Theme, update: &Update, area: Rect) {
    let of = |s: Severity| update.examination.findings.iter().filter(|f| f.severity == s).count();
    let (critical, warnings) = (of(Severity::Critical), of(Severity::Warning));
    let room = usize::from(area.width).saturating_sub(2);
    let (style, text) = match update.examination.findings.first() {
        _ if !update.snapshot.rules_read() => {
            (theme.bad(), "✗ Nothing can be said: what holds Services could not be read.".to_string())
        }
        Some(first) if critical + warnings > 0 => {
            let mut counts = Vec::new();
            if critical > 0 {
                counts.push(format!("{critical} critical"));
            }
            if warnings > 0 {
                counts.push(plural(warnings as u64, "warning"));
            }
            let mark = if critical > 0 { "✗" } else { "▲" };
            let text = format!("{mark} {}: {}: {} (Enter)", counts.join(", "), first.about, first.title);
            (severity_style(theme, first.severity), text)
        }
        _ if update.model.services.is_empty() => {
            (theme.warn(), "○ No Services of kube-proxy found in iptables, nftables or IPVS.".into())
        }
        _ if update.health.count(HealthState::Unknown) > 0 => {
            let why =
                update.health.iter().find(|h| h.state == HealthState::Unknown).map_or("", |h| h.why.as_str());
            (theme.warn(), format!("? Not everything is known: {why}."))
        }
        // By a policy: where those that serve it are, is no fault.
        _ if update.health.count(HealthState::NoLocalEndpoints) > 0 => {
            let (none, local) = [HealthState::NoEndpoints, HealthState::NoLocalEndpoints]
                .map(|s| update.health.count(s))
                .into();
            let none = if none > 0 { format!("{none} in all, ") } else { String::new() };
            let text =
                format!("● Only Services without endpoints lose new flows: {none}{local} on this node.");
            (theme.warn(), text)
        }
        _ => match update.health.count(HealthState::NoEndpoints) as u64 {
            0 => (theme.good(), "● Healthy: no Service loses new flows, and conntrack loses nothing.".into()),
            1 => (
                theme.warn(),
                "● No Service with endpoints loses new flows; one has none, and refuses them.".into(),
            ),
            n => {
                let n = count(n);
                let text =
                    format!("● No Service with endpoints loses new flows; {n} have none, and refuse them.");
                (theme.warn(), text)
            }
        },
    };
    let place = Rect { x: area.x + 1, width: area.width.saturating_sub(1), ..area };
    put(frame, place, &clip_end(&text, room), style.patch(theme.strong()), false);
}

fn draw_states(frame: &mut Frame<'_>, theme: Theme, update: &Update, area: Rect) {
    let services = &update.model.services;
    let inner = part(frame, theme, area, &plural(services.len() as u64, "Service port"), "", false);
    let states = state_rows(update, usize::from(inner.height));
    for (n, (state, found)) in states.iter().copied().enumerate() {
        let style = match found {
            0 => theme.dim(),
            _ => state_style(theme, state),
        };
        let text = format!("{} {found:>6} {}", state.symbol(), state.words());
        let room = usize::from(inner.width.saturating_sub(1));
        spans(frame, line(inner, n), vec![Span::styled(clip_end(&text, room), style)]);
    }
    let work = services.iter().filter(|s| s.is_used());
    let backends: usize = work.filter_map(Service::backend_count).sum();
    let text = format!("  {:>6} backends", count(backends as u64));
    spans(frame, line(inner, states.len().max(4)), vec![Span::styled(text, theme.dim())]);
}

/// States and how many Services are in each. What is not there is left out, but where there is room for the two that everybody looks for.
fn state_rows(update: &Update, room: usize) -> Vec<(HealthState, usize)> {
    let always = |s: HealthState| matches!(s, HealthState::Failing | HealthState::Healthy);
    let there = update.health.counts().filter(|c| c.1 > 0).count();
    update.health.counts().filter(|(s, n)| *n > 0 || (always(*s) && there < room)).collect()
}

fn draw_conntrack(frame: &mut Frame<'_>, theme: Theme, update: &Update, area: Rect) {
    let inner = part(frame, theme, area, "Conntrack", "5 shows more", false);
    let Some(c) = &update.snapshot.conntrack else {
        let text = if update.snapshot.outline { "being read" } else { "not there" };
        spans(frame, line(inner, 0), vec![Span::styled(text, theme.dim())]);
        return;
    };
    let rates = &update.node.conntrack;
    if let Some((n, max)) = c.limits.count.zip(c.limits.max) {
        let part = n as f64 / max.max(1) as f64;
        let style = theme.fill(part);
        let words = format!(" {} of {} · {:.1}%", count(n), count(max), part * 100.0);
        let room = usize::from(inner.width).saturating_sub(words.width() + 4).min(30);
        let gauge = vec![
            Span::styled("▕", theme.dim()),
            Span::styled(bar(part, room), style),
            Span::styled("▏", theme.dim()),
            Span::raw(words),
        ];
        spans(frame, line(inner, 0), gauge);
        let growth = match (rates.growth, rates.full_in) {
            (Ok(g), Some(t)) => format!("grows by {}/s: full in {}", short(g), duration(t)),
            (Ok(g), None) if g.abs() < 0.05 => "steady".into(),
            (Ok(g), None) if g < 0.0 => format!("shrinks by {}/s", short(-g)),
            // Below that no time is worked out.
            (Ok(g), None) if part <= 0.25 => format!("grows by {}/s, at most 25% full", short(g)),
            (Ok(g), None) => format!("grows by {}/s: far from full", short(g)),
            (Err(why), _) => format!("growth: {}", why.sentence()),
        };
        let style =
            if rates.full_in.is_some_and(|t| t.as_secs() < 3600) { theme.warn() } else { theme.text() };
        let room = usize::from(inner.width).saturating_sub(2);
        spans(frame, line(inner, 1), vec![Span::styled(clip_end(&growth, room), style)]);
    }
    use crate::snapshot::facts::ConntrackStat::{Drop, EarlyDrop, InsertFailed, Invalid};
    for (n, pair) in
        [[(Drop, "drop"), (EarlyDrop, "early drop")], [(InsertFailed, "insert failed"), (Invalid, "invalid")]]
            .into_iter()
            .enumerate()
    {
        let mut text = Vec::new();
        for (stat, name) in pair {
            let style = match rates.stats.get(stat) {
                Ok(r) if r > 0.0 && stat.loses_packets() => theme.bad(),
                _ => theme.dim(),
            };
            text.push(Span::styled(format!("{name} {}/s  ", rate_text(rates.stats.get(stat))), style));
        }
        spans(frame, line(inner, 2 + n), text);
    }
}

fn draw_movers(frame: &mut Frame<'_>, theme: Theme, update: &Update, movers: &[usize], area: Rect) {
    let counted = counts_new_flows(update);
    let (what, unit) = if counted { ("Most new flows", "/s") } else { ("Most flows held", "") };
    let inner = part(frame, theme, area, what, "2 shows all", false);
    for (n, i) in movers.iter().take(usize::from(inner.height)).enumerate() {
        let Some(s) = update.model.services.get(*i) else { continue };
        let Some(place) = line(inner, n) else { break };
        let figure = match update.rates.get(*i).map(|r| r.flows) {
            Some(Ok(r)) => format!("{}{unit}", short(r)),
            _ => update.model.figures(*i).held().map_or("-".into(), count),
        };
        let trend = if place.width >= 50 { place.width / 3 } else { 8 };
        let name = usize::from(place.width).saturating_sub(usize::from(trend) + 10);
        put(frame, place, &clip(&screen_label(s), name), theme.text(), false);
        let at = Rect { x: place.x + name as u16, width: 8, ..place };
        put(frame, at, &figure, theme.strong(), true);
        let at = Rect { x: place.x + name as u16 + 9, width: trend, ..place };
        put(frame, at, &sparkline(&update.history.service(*i), usize::from(trend)), theme.busy(), false);
    }
    if movers.is_empty() {
        let of_maps = |s: &Service| s.engine.mode().keeps_no_rules();
        let text = match counted {
            _ if update.model.services.iter().all(of_maps) && !update.model.services.is_empty() => {
                "nothing that kptop reads counts flows to these Services"
            }
            true => "no new flows right now",
            false => "no flows to Services",
        };
        let text = clip_end(text, usize::from(inner.width.saturating_sub(1)));
        spans(frame, line(inner, 0), vec![Span::styled(text, theme.dim())]);
    }
}

fn draw_causes(frame: &mut Frame<'_>, theme: Theme, update: &Update, area: Rect) {
    let dying = update.node.dying();
    let refuses = |s: &Service| s.is_used() && s.frontends.iter().any(|f| f.lack().is_some());
    let uncounted = update.model.iter().any(|(s, f)| refuses(s) && f.refused().is_none());
    let title = match uncounted && dying == 0.0 {
        true => "Dropped and refused -".to_string(),
        false => format!("Dropped and refused {}/s", short(dying)),
    };
    let inner = part(frame, theme, area, &title, "packets, by cause", false);
    let mut n = 0;
    for cause in update.node.causes.iter().filter(|c| c.total > 0) {
        let Some(place) = line(inner, n) else { break };
        n += 1;
        let moving = cause.rate.is_ok_and(|r| r > 0.0);
        let style = if moving { theme.bad() } else { theme.dim() };
        let at = Rect { width: 7, ..place };
        put(frame, at, &format!("{}/s", rate_text(cause.rate)), style, true);
        let total = format!(" {}", count(cause.total));
        let room = usize::from(place.width).saturating_sub(9 + total.width());
        let at = Rect { x: place.x + 8, width: place.width.saturating_sub(9), ..place };
        put(frame, at, &clip_end(&cause.name, room), if moving { theme.text() } else { theme.dim() }, false);
        put(frame, at, &total, theme.dim(), true);
    }
    let by_node = update.node.causes.iter().any(|c| c.kind == CauseKind::Rejected);
    let (text, style) = match (n, uncounted) {
        (_, true) if by_node => ("whose they are is not counted in this mode", theme.dim()),
        (_, true) => ("refusals are not counted in this mode", theme.warn()),
        (0, false) => ("nothing was dropped or refused so far", theme.good()),
        _ => return,
    };
    let text = clip_end(text, usize::from(inner.width.saturating_sub(1)));
    spans(frame, line(inner, n), vec![Span::styled(text, style)]);
}

fn draw_tables(frame: &mut Frame<'_>, cx: &Context, update: &Update, area: Rect) {
    let theme = cx.theme;
    let costs: Vec<String> =
        update.snapshot.costs.iter().map(|c| format!("{} {}", c.what, duration(c.cost.wall))).collect();
    let inner = part(frame, theme, area, "Rules by table and family of chains", &costs.join(" · "), false);
    let dim = |n: usize| if n > 0 { theme.text() } else { theme.dim() };
    let mut at = 0;
    for (i, t) in update.snapshot.tables.iter().enumerate() {
        let rules = t.table.rules.len();
        let Some(place) = line(inner, at) else { break };
        // Where there is little room, empty tables are the first to go.
        if rules == 0 && update.snapshot.tables.len() > usize::from(inner.height) {
            continue;
        }
        at += 1;
        let families: Vec<String> = chain_families(&t.table)
            .into_iter()
            .map(|(name, n)| format!("{name} {}", count(n as u64)))
            .collect();
        let owners = cx.owners.get(i).map(|o| o.join(", ")).unwrap_or_default();
        let name = format!("{} {}", t.family, t.table.name);
        let mut text = vec![
            Span::styled(format!("{name:<16}"), dim(rules)),
            Span::styled(
                format!("{:>8} {}  ", count(rules as u64), if rules == 1 { "rule " } else { "rules" }),
                dim(rules),
            ),
        ];
        let used: usize = crate::tui::widgets::width(&text);
        let words = match families.is_empty() {
            true => owners,
            false => families.join("  "),
        };
        let room = usize::from(place.width).saturating_sub(used + 1);
        text.push(Span::styled(clip_end(&words, room), theme.dim()));
        spans(frame, Some(place), text);
    }
    if at == 0 {
        let text = "no table of packet filters (or not permitted to see them)";
        spans(frame, line(inner, 0), vec![Span::styled(text, theme.dim())]);
    }
}
