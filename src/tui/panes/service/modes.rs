//! One packet in four modes: what the first packet of a flow to the Service meets in each, hook by hook.

use crate::cost::{HOOKS, OnePacket, PacketCost};
use crate::format::{clip_end, nanoseconds, short};
use crate::proxy::{Engine, endpoint_text};
use crate::ruleset::{Hook, protocol_name};
use crate::tui::list::List;
use crate::tui::pane::Context;
use crate::tui::reader::Update;
use crate::tui::theme::Theme;
use crate::tui::widgets::{bar, draw_list, put};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;

/// Columns of the names of rows.
const NAMES: u16 = 14;

/// A row: its name, and a figure of each mode with its text.
struct Row {
    name: String,
    cells: Vec<Option<(f64, String)>>,
    style: fn(Theme) -> Style,
    /// What a full bar is.
    most: f64,
}

impl Row {
    fn of(
        name: &str,
        modes: &[PacketCost],
        style: fn(Theme) -> Style,
        cell: impl Fn(&PacketCost) -> Option<(f64, String)>,
    ) -> Row {
        let cells: Vec<Option<(f64, String)>> = modes.iter().map(cell).collect();
        let most = cells.iter().flatten().map(|c| c.0).fold(0.0, f64::max);
        Row { name: name.into(), cells, style, most }
    }
}

fn rules_text(n: f64) -> String {
    if (n - n.round()).abs() < 0.05 { short(n.round()) } else { format!("{n:.1}") }
}

fn rows(modes: &[PacketCost]) -> Vec<Row> {
    let comes_through = |h: &Hook| modes.iter().any(|m| m.hooks.iter().any(|at| at.0 == *h));
    let hooks = HOOKS.into_iter().filter(comes_through);
    let text: fn(Theme) -> Style = Theme::text;
    let strong: fn(Theme) -> Style = Theme::strong;
    let at = |m: &PacketCost, hook: Hook| {
        let found = m.hooks.iter().find(|h| h.0 == hook);
        found.map(|h| (h.1, rules_text(h.1)))
    };
    let mut rows: Vec<Row> = hooks.map(|h| Row::of(h.chain_name(), modes, text, |m| at(m, h))).collect();
    // Bars of hooks are parts of the sum below them.
    let most = modes.iter().map(|m| m.rules).fold(0.0, f64::max);
    rows.iter_mut().for_each(|r| r.most = most);
    rows.push(Row::of("rules checked", modes, strong, |m| Some((m.rules, rules_text(m.rules)))));
    rows.push(Row::of("lookups", modes, text, |m| Some((m.lookups, rules_text(m.lookups)))));
    let time = |ns: Option<f64>| ns.map(|ns| (ns, nanoseconds(ns)));
    rows.push(Row::of("first packet", modes, strong, |m| time(m.first_packet_ns)));
    rows.push(Row::of("later packets", modes, text, |m| time(m.later_ns)));
    rows
}

/// What fits over a narrow column.
fn short_name(engine: Engine) -> &'static str {
    match engine {
        Engine::IptablesLegacy => "ipt legacy",
        Engine::IptablesNft => "ipt nft",
        other => other.name(),
    }
}

/// Draws the section; `found` is `None` while it is worked out.
pub(super) fn draw(
    frame: &mut Frame<'_>,
    area: Rect,
    cx: &Context,
    update: &Update,
    found: Option<&Option<OnePacket>>,
    list: &mut List,
) {
    let theme = cx.theme;
    let line = |n: u16| Rect { y: area.y + n, height: u16::from(n < area.height), ..area };
    let packet = match found {
        Some(Some(packet)) => packet,
        Some(None) => return put(frame, line(0), " The Service has no address to ask.", theme.dim(), false),
        None => return put(frame, line(0), " Writing the Services in each mode …", theme.dim(), false),
    };
    let protocol = protocol_name(u16::from(packet.to.protocol)).unwrap_or("?");
    let to = endpoint_text(packet.to.address, packet.to.port);
    let head =
        format!(" One packet from a pod to {to}/{protocol}: rules checked at each hook, means over its ends");
    put(frame, line(0), &clip_end(&head, usize::from(area.width)), theme.head(), false);
    let modes = &packet.modes;
    let width = area.width.saturating_sub(NAMES + 2) / (modes.len().max(1) as u16);
    let cell = |n: usize, y: u16| Rect {
        x: area.x + 1 + NAMES + n as u16 * width,
        y,
        width: width.saturating_sub(1),
        height: 1,
    };
    for (n, m) in modes.iter().enumerate() {
        let style = if m.running { theme.strong() } else { theme.dim() };
        if area.height > 1 {
            put(
                frame,
                cell(n, area.y + 1),
                match width {
                    19.. => m.engine.words(),
                    _ => short_name(m.engine),
                },
                style,
                false,
            );
        }
        if area.height > 2 {
            let state = if m.running { "active" } else { "projected" };
            put(frame, cell(n, area.y + 2), state, theme.dim(), false);
        }
    }
    let rows = rows(modes);
    let place = Rect { y: (area.y + 3).min(area.bottom()), height: area.height.saturating_sub(3), ..area };
    list.fit_lines(rows.len(), place);
    draw_list(frame, theme, list, None, |frame, i, at| {
        let (row, y) = (&rows[i], at.y);
        let style = (row.style)(theme);
        put(frame, Rect { x: area.x + 1, y, width: NAMES, height: 1 }, &row.name, style, false);
        for (n, c) in row.cells.iter().enumerate() {
            let at = cell(n, y);
            let figure = at.width.min(8);
            let Some((value, text)) = c else {
                put(frame, Rect { width: figure, ..at }, "-", theme.dim(), true);
                continue;
            };
            put(frame, Rect { width: figure, ..at }, text, style, true);
            let bars = Rect { x: at.x + figure + 1, width: at.width.saturating_sub(figure + 1), ..at };
            if bars.width > 2 && row.most > 0.0 {
                let style = if modes[n].running { theme.busy() } else { theme.dim() };
                put(frame, bars, &bar(value / row.most, usize::from(bars.width)), style, false);
            }
        }
    });
    let y = place.y + (rows.len() as u16).min(place.height);
    let said = [
        format!(" Prices: {}.", update.prices.about),
        " A rule costs what the size of its table costs the caches; Compare (4) has all Services.".into(),
    ];
    for (text, y) in said.iter().zip(y + 1..area.bottom()) {
        let text = clip_end(text, usize::from(area.width));
        put(frame, Rect { y, height: 1, ..area }, &text, theme.dim(), false);
    }
}
