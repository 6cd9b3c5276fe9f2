//! Who asks what: a row a source, a column a Service, a cell the flows that conntrack holds between them.

use super::asked;
use crate::format::{clip, clip_end, count, plural, wrapped};
use crate::proxy::Service;
use crate::snapshot::Flows;
use crate::tui::list::List;
use crate::tui::reader::Update;
use crate::tui::theme::Theme;
use crate::tui::widgets::{draw_list, put, shade};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::Paragraph;
use std::collections::HashMap;
use std::net::IpAddr;

/// Sources whose flows are counted by destination.
pub(super) const SOURCES: usize = 24;
/// Columns of a cell, with a blank, and on a screen on which few would fit.
const CELL: u16 = 11;
const NARROW: u16 = 9;
/// Columns of the figures of a source.
const FLOWS: u16 = 9;

/// Flows of sources by Service: `shop/cart`; those to no Service, and to Services without a column, are left out.
#[derive(Debug, Default, PartialEq)]
struct Matrix {
    /// Services, those with the most flows first.
    columns: Vec<String>,
    /// For each source its flows to each of them.
    rows: Vec<Vec<u64>>,
}

impl Matrix {
    fn of(asked: Vec<Vec<(String, u64)>>) -> Matrix {
        let mut sums: HashMap<&str, u64> = HashMap::new();
        for (name, n) in asked.iter().flatten() {
            *sums.entry(name).or_default() += n;
        }
        let mut columns: Vec<(&str, u64)> = sums.into_iter().collect();
        columns.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        let columns: Vec<String> = columns.into_iter().map(|c| c.0.to_string()).collect();
        let place: HashMap<&str, usize> = columns.iter().enumerate().map(|(i, c)| (c.as_str(), i)).collect();
        let row = |of: &Vec<(String, u64)>| {
            let mut row = vec![0; columns.len()];
            of.iter().for_each(|(name, n)| row[place[name.as_str()]] += n);
            row
        };
        let rows = asked.iter().map(row).collect();
        Matrix { columns, rows }
    }
}

fn name_of(s: &Service) -> String {
    s.name.as_ref().map_or_else(|| s.label(), |n| format!("{}/{}", n.namespace, n.name))
}

/// Which sources are to be counted: those that were, as long as the first half of all is among them. Each change costs a reading.
pub(super) fn watched(before: &[IpAddr], all: &[(IpAddr, u32)]) -> Vec<IpAddr> {
    match all.iter().take(SOURCES / 2).all(|(a, _)| before.contains(a)) {
        true => before.to_vec(),
        false => all.iter().take(SOURCES).map(|a| a.0).collect(),
    }
}

/// True where each of these sources was counted by destination.
pub(super) fn is_whole(flows: &Flows, sources: &[(IpAddr, u32)]) -> bool {
    !sources.is_empty() && (flows.all_kept || sources.iter().all(|s| flows.of_sources.contains_key(&s.0)))
}

pub(super) fn draw(
    frame: &mut Frame<'_>,
    theme: Theme,
    u: &Update,
    (flows, sources): (Option<&Flows>, &[(IpAddr, u32)]),
    area: Rect,
    list: &mut List,
) {
    let say = |frame: &mut Frame<'_>, list: &mut List, text: &str| {
        list.fit(0, area);
        let lines = wrapped(text, usize::from(area.width.saturating_sub(2)));
        let lines: Vec<Line<'_>> =
            lines.into_iter().map(|l| Line::styled(format!(" {l}"), theme.dim())).collect();
        frame.render_widget(Paragraph::new(lines), area);
    };
    let Some(flows) = flows else { return say(frame, list, "Flows could not be read.") };
    let is_counted = |source: &IpAddr| flows.all_kept || flows.of_sources.contains_key(source);
    if !is_whole(flows, sources) && u.moment.is_none() || !sources.iter().any(|(s, _)| is_counted(s)) {
        let text = match &u.moment {
            _ if sources.is_empty() => "No flows right now.",
            None => "The flows of these sources are counted by destination with the next reading …",
            Some(_) => "Not recorded: this is counted only while a user looks at it.",
        };
        return say(frame, list, text);
    }
    let of_source = |(source, _): &(IpAddr, u32)| {
        let asked = asked(u, Some(*source)).into_iter();
        let named = asked.filter_map(|(_, i, n)| Some((name_of(u.model.services.get(i?)?), u64::from(n))));
        named.collect::<Vec<_>>()
    };
    let matrix = Matrix::of(sources.iter().map(of_source).collect());
    let widest = sources.iter().map(|s| s.0.to_string().len()).max().unwrap_or(0).clamp(8, 26) as u16;
    let cell_width = if area.width < 100 { NARROW } else { CELL };
    let room = area.width.saturating_sub(widest + FLOWS + 2 + cell_width) / cell_width;
    let shown = matrix.columns.len().min(usize::from(room));
    let at = |column: usize, y: u16| Rect {
        x: area.x + 1 + widest + FLOWS + column as u16 * cell_width,
        y,
        width: cell_width,
        height: 1,
    };
    put(frame, Rect { x: area.x + 1, width: widest, height: 1, ..area }, "SOURCE", theme.head(), false);
    let figures = Rect { x: area.x + 1 + widest, width: FLOWS, height: 1, ..area };
    put(frame, figures, "FLOWS", theme.head(), true);
    // The name tells columns apart; the namespace is left out first.
    for (i, name) in matrix.columns.iter().take(shown).enumerate() {
        let short = name.rsplit('/').next().unwrap_or(name);
        put(frame, at(i, area.y), &clip_end(short, usize::from(cell_width) - 2), theme.head(), true);
    }
    put(frame, at(shown, area.y), "OTHER", theme.head(), true);
    let most = matrix.rows.iter().flat_map(|r| &r[..shown]).max().copied().unwrap_or(0);
    let below = u16::from(area.height > 6);
    let rows = Rect { y: area.y + 1, height: area.height.saturating_sub(1 + below), ..area };
    list.fit(sources.len(), rows);
    draw_list(frame, theme, list, Some(true), |frame, line, place| {
        let ((source, all), row) = (sources[line], &matrix.rows[line]);
        put(
            frame,
            Rect { x: place.x + 1, width: widest, ..place },
            &clip(&source.to_string(), usize::from(widest)),
            theme.text(),
            false,
        );
        put(frame, Rect { y: place.y, ..figures }, &count(u64::from(all)), theme.text(), true);
        if !is_counted(&source) {
            put(frame, at(0, place.y), "…", theme.dim(), true);
            return;
        }
        let rest = u64::from(all).saturating_sub(row[..shown].iter().sum());
        for (i, n) in row[..shown].iter().chain([&rest]).enumerate() {
            let style = if *n == 0 || i == shown { theme.dim() } else { theme.text() };
            let number = if *n == 0 { "·".to_string() } else { count(*n) };
            let cell = at(i, place.y);
            put(frame, cell, &number, style, true);
            if i < shown && *n > 0 {
                let mark = Rect { x: cell.x + 2, width: 1, ..cell };
                put(frame, mark, shade(*n as f32, most as f32), theme.busy(), false);
            }
        }
    });
    if below > 0 {
        let hidden = matrix.columns.len() - shown;
        let more = if hidden == 0 {
            String::new()
        } else {
            format!(", {} not shown", plural(hidden as u64, "Service"))
        };
        let text = format!(
            "OTHER: flows to no Service, or to one without a column{more} · Enter: flows of a row's first Service"
        );
        let place =
            Rect { x: area.x + 1, y: area.bottom() - 1, width: area.width.saturating_sub(2), height: 1 };
        put(frame, place, &clip_end(&text, usize::from(place.width)), theme.dim(), false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_come_by_their_sums_and_rows_keep_their_places() {
        let of = |list: &[(&str, u64)]| list.iter().map(|(s, n)| (s.to_string(), *n)).collect::<Vec<_>>();
        let asked = vec![of(&[("a/x", 5), ("a/y", 2)]), of(&[]), of(&[("a/y", 9), ("a/y", 1)])];
        let m = Matrix::of(asked);
        assert_eq!(m.columns, ["a/y", "a/x"]);
        assert_eq!(m.rows, [[2, 5], [0, 0], [10, 0]]);
    }

    #[test]
    fn few_changes_of_order_ask_for_no_reading() {
        let address = |n: u8| IpAddr::from([10, 0, 0, n]);
        let mut all: Vec<(IpAddr, u32)> = (0..60).map(|n| (address(n), 100 - u32::from(n))).collect();
        let first = watched(&[], &all);
        assert_eq!(first.len(), SOURCES);
        all.swap(3, 20);
        assert_eq!(watched(&first, &all), first);
        // One that came up from below is counted, too.
        all.swap(5, 40);
        assert!(watched(&first, &all).contains(&address(40)));
    }
}
