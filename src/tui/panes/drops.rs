//! Packets that die: by reason, place and Service while the drop monitor is on, the last ones live, and what counters tell.

use crate::drops::packet_text;
use crate::format::{clip, clip_end, count, duration, wrapped};
use crate::tui::app::{App, Monitor};
use crate::tui::widgets::{draw_list, part, put};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;
use ratatui::widgets::Paragraph;

pub(super) fn draw(frame: &mut Frame<'_>, app: &mut App, area: Rect) {
    let counters = (app.dying.counted.len() as u16 + 2).clamp(4, (area.height / 3).max(4));
    let [upper, lower] = Layout::vertical([Constraint::Min(5), Constraint::Length(counters)]).areas(area);
    if app.dying.monitor == Monitor::On && upper.height >= 14 {
        let [groups, live] =
            Layout::vertical([Constraint::Percentage(60), Constraint::Percentage(40)]).areas(upper);
        draw_groups(frame, app, groups);
        draw_live(frame, app, live);
    } else {
        draw_groups(frame, app, upper);
    }
    draw_counters(frame, app, lower);
}

fn draw_groups(frame: &mut Frame<'_>, app: &mut App, area: Rect) {
    let theme = app.theme;
    let drops = &app.dying.drops;
    let title = match app.dying.monitor {
        Monitor::On => format!("Dropped packets {} in {}", count(drops.total), duration(drops.span)),
        _ => "Dropped packets".to_string(),
    };
    let mut notes = Vec::new();
    if app.dying.monitor == Monitor::On {
        notes.push(
            if drops.shared { "monitor on, by somebody else" } else { "monitor on: w off" }.to_string(),
        );
        if drops.lost > 0 {
            notes.push(format!("{} not told of", count(drops.lost)));
        }
        if drops.freed > 0 {
            notes.push(format!("{} freed, no losses", count(drops.freed)));
        }
    }
    let inner = part(frame, theme, area, &title, &notes.join(", "), true);
    let groups = drops.groups();
    if groups.is_empty() {
        app.drops.fit(0, inner);
        let text = match &app.dying.monitor {
            Monitor::On => "No packet was dropped so far.".to_string(),
            Monitor::Off => "The kernel's drop monitor is off. w switches it on: every packet that dies on this machine is \
                             then told of with the kernel's reason, until w is pressed again or kptop ends. It costs \
                             something for each packet that is dropped, and nothing for others."
                .to_string(),
            Monitor::Failed(why) => format!("{why}. What counters tell stands below."),
        };
        let lines = wrapped(&text, usize::from(inner.width.saturating_sub(2)));
        let style = if matches!(app.dying.monitor, Monitor::Failed(_)) { theme.warn() } else { theme.dim() };
        let lines: Vec<Line<'_>> = lines.into_iter().map(|l| Line::styled(format!(" {l}"), style)).collect();
        frame.render_widget(Paragraph::new(lines), inner);
        return;
    }
    let width = usize::from(inner.width);
    let (reason, place) = (18, if width >= 110 { 20 } else { 0 });
    let owner = (width / 3).clamp(18, 44);
    let mut head = format!(" {:>8}  {:<reason$} ", "PACKETS", "REASON");
    if place > 0 {
        head.push_str(&format!("{:<place$} ", "IN"));
    }
    head.push_str(&format!("{:<owner$} {}", "SERVICE", "LIKE THIS (Enter explains)"));
    put(frame, Rect { height: 1, ..inner }, &head, theme.head(), false);
    let list = Rect { y: inner.y + 1, height: inner.height.saturating_sub(1), ..inner };
    let rows: Vec<(String, bool)> = groups
        .iter()
        .map(|(g, t)| {
            let whose = g.owner.as_ref().map_or("-".into(), |(n, role)| format!("{n}, {}", role.words()));
            let mut text = format!(" {:>8}  {:<reason$} ", count(t.packets), clip(&g.reason, reason));
            if place > 0 {
                text.push_str(&format!("{:<place$} ", clip(&g.place, place)));
            }
            text.push_str(&format!("{:<owner$} {}", clip(&whose, owner), packet_text(&t.example)));
            (text, g.owner.is_some())
        })
        .collect();
    app.drops.fit(rows.len(), list);
    draw_list(frame, theme, &app.drops, Some(true), |frame, i, at| {
        let (text, of_service) = &rows[i];
        let style = if *of_service { theme.text() } else { theme.dim() };
        put(frame, at, &clip_end(text, usize::from(at.width)), style, false);
    });
}

fn draw_live(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let theme = app.theme;
    let inner = part(frame, theme, area, "The last ones", "newest above", false);
    let recent = app.dying.drops.recent.iter().rev().take(usize::from(inner.height));
    for (i, s) in recent.enumerate() {
        let owner = s.owner.as_ref().map_or(String::new(), |(n, role)| format!("  {n}, {}", role.words()));
        let reason = s.dropped.reason.as_deref().unwrap_or("?");
        let text =
            format!(" {:>8}  {:<18} {}{owner}", duration(s.at), clip(reason, 18), packet_text(&s.dropped));
        let at = Rect { y: inner.y + i as u16, height: 1, ..inner };
        let style = if s.owner.is_some() { theme.warn() } else { theme.dim() };
        put(frame, at, &clip_end(&text, usize::from(inner.width)), style, false);
    }
}

fn draw_counters(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let theme = app.theme;
    let note = format!("{}, and in all", app.beginning());
    let inner = part(frame, theme, area, "What counters tell", &note, false);
    put(
        frame,
        Rect { height: 1, ..inner },
        &format!(" {:>10} {:>12}  COUNTER", "SINCE", "IN ALL"),
        theme.head(),
        false,
    );
    for (i, c) in app.dying.counted.iter().take(usize::from(inner.height.saturating_sub(1))).enumerate() {
        let text = format!(" {:>10} {:>12}  {}", count(c.by), count(c.total), c.name);
        let at = Rect { y: inner.y + 1 + i as u16, height: 1, ..inner };
        let style = if c.by > 0 { theme.warn() } else { theme.dim() };
        put(frame, at, &clip_end(&text, usize::from(inner.width)), style, false);
    }
}
