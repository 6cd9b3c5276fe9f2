//! The modes that are here, side by side: what each holds, and what it takes to hold it.

use crate::figures::{bytes, count};
use crate::proxy::{Mode, ModeState, State, nftables};
use crate::ruleset::TableBackend;
use crate::snapshot::Snapshot;
use crate::tui::app::App;
use crate::tui::reader::Update;
use crate::tui::widgets::{part, put};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::widgets::{Paragraph, Wrap};

/// What a mode has in the kernel.
#[derive(Default)]
struct Holdings {
    chains: u64,
    sets: Option<u64>,
    elements: Option<u64>,
    /// Bytes of the tables that hold it, whoever else has rules in them.
    bytes: Option<u64>,
}

fn holdings(snapshot: &Snapshot, m: &ModeState) -> Holdings {
    let mut h = Holdings::default();
    let backend = match m.variant {
        Some(crate::proxy::Variant::Legacy) => TableBackend::XTables,
        _ => TableBackend::NfTables,
    };
    match m.mode {
        Mode::Iptables | Mode::Userspace => {
            let tables = snapshot.tables.iter().filter(|t| {
                t.backend == backend && t.family.ip() == Some(m.family) && t.table.name != nftables::TABLE
            });
            for t in tables {
                let own = t.table.chains.iter().filter(|c| t.table.str(c.name).starts_with("KUBE-"));
                h.chains += own.count() as u64;
                if let Some(b) = t.bytes {
                    *h.bytes.get_or_insert(0) += b;
                }
            }
        }
        Mode::Nftables => {
            let table = snapshot.tables.iter().find(|t| {
                t.backend == TableBackend::NfTables
                    && t.family.ip() == Some(m.family)
                    && t.table.name == nftables::TABLE
            });
            if let Some(t) = table {
                h.chains = t.table.chains.len() as u64;
                h.sets = Some(t.table.sets.len() as u64);
                h.elements = t.table.element_count();
            }
        }
        Mode::Ipvs => {
            let own: Vec<u64> = snapshot
                .ipsets
                .iter()
                .flat_map(|s| s.value.iter())
                .filter(|s| s.name.starts_with("KUBE-"))
                .map(|s| s.size)
                .collect();
            h.sets = Some(own.len() as u64);
            h.elements = Some(own.iter().sum());
        }
    }
    h
}

/// How a mode finds the Service of a packet: what its cost grows with.
fn lookup(mode: Mode) -> &'static str {
    match mode {
        Mode::Iptables => "asks KUBE-SERVICES rule by rule, once a flow",
        Mode::Ipvs => "looks up a hash table, each packet; its few rules ask ipsets",
        Mode::Nftables => "looks the address up in a map, once a flow",
        Mode::Userspace => "asks KUBE-PORTALS rule by rule, once a flow; a process copies",
    }
}

pub(super) fn draw(frame: &mut Frame<'_>, app: &mut App, area: Rect) {
    let theme = app.theme;
    let inner = part(frame, theme, area, "Modes of kube-proxy on this node", "", true);
    let Some(update) = app.update.clone() else { return };
    if update.model.modes.is_empty() {
        frame.render_widget(Paragraph::new(" No mode holds a Service here.").style(theme.dim()), inner);
        return;
    }
    let wide = area.width >= 100;
    let line = |cells: [&str; 9]| {
        let [mode, family, state, services, backends, rules, chains, elements, memory] = cells;
        let mut text = format!(" {mode:<17} {family:<5} {state:<9} {services:>8} ");
        if wide {
            text.push_str(&format!("{backends:>8} "));
        }
        text.push_str(&format!("{rules:>8} "));
        if wide {
            text.push_str(&format!("{chains:>8} "));
        }
        text.push_str(&format!("{elements:>8}"));
        if wide {
            text.push_str(&format!(" {memory:>10}"));
        }
        text
    };
    let heads = ["MODE", "IP", "STATE", "SERVICES", "BACKENDS", "RULES", "CHAINS", "ELEMENTS", "MEMORY"];
    put(frame, Rect { height: 1, ..inner }, &line(heads), theme.head(), false);
    let mut y = inner.y + 1;
    let mut say = |frame: &mut Frame<'_>, text: &str, style: Style| {
        if y < inner.bottom() {
            put(frame, Rect { y, height: 1, ..inner }, text, style, false);
            y += 1;
        }
    };
    for m in &update.model.modes {
        let h = holdings(&update.snapshot, m);
        let name = match m.variant {
            Some(v) => format!("{} ({})", m.mode.name(), v.name()),
            None => m.mode.name().into(),
        };
        let or_dash = |n: Option<u64>| n.map_or("-".to_string(), count);
        let state = if m.state == State::Active { "at work" } else { "left over" };
        let style = if m.state == State::Active { theme.text() } else { theme.warn() };
        let cells = [
            &*name,
            m.family.name(),
            state,
            &count(m.services as u64),
            &count(backends(&update, m) as u64),
            &count(m.rules as u64),
            &count(h.chains),
            &or_dash(h.elements),
            &h.bytes.map_or("-".into(), bytes),
        ];
        say(frame, &line(cells), style);
    }
    say(frame, "", theme.text());
    let mut modes: Vec<Mode> = update.model.modes.iter().map(|m| m.mode).collect();
    modes.dedup();
    modes.sort_unstable();
    modes.dedup();
    for mode in modes {
        say(frame, &format!(" {:<9} {}", mode.name(), lookup(mode)), theme.dim());
    }
    let rest = Rect { y, height: inner.bottom().saturating_sub(y), ..inner };
    if rest.height >= 4 {
        let text = "\n Elements are of maps and ipsets; - where a mode has none. Memory is what x_tables tells of the \
                    tables that hold the mode's rules; nf_tables and IPVS tell none. Rules are kube-proxy's own and \
                    those that jump to them.";
        frame.render_widget(Paragraph::new(text).style(theme.dim()).wrap(Wrap { trim: false }), rest);
    }
}

fn backends(update: &Update, m: &ModeState) -> usize {
    let of_mode = |s: &&crate::proxy::Service| (s.mode, s.variant, s.family) == (m.mode, m.variant, m.family);
    update.model.services.iter().filter(of_mode).map(|s| s.backends.len()).sum()
}
