//! Text for people: columns that fit, and what could not be read.

use super::{one_line, visible};
use crate::columns::{Column, SERVICES, Services};
use crate::observe::View;
use crate::proxy::{Model, owners};
use crate::snapshot::Snapshot;
use std::io::{self, Write};
use unicode_width::UnicodeWidthStr;

/// Which side of a column the text keeps to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Names.
    Left,
    /// Figures.
    Right,
}

/// A table of text whose columns are as wide as their widest cell.
#[derive(Debug)]
pub struct Columns {
    heads: Vec<(String, Align)>,
    rows: Vec<Vec<String>>,
}

impl Columns {
    /// Columns by head.
    pub fn new(heads: &[(&str, Align)]) -> Columns {
        Columns { heads: heads.iter().map(|(h, a)| ((*h).to_string(), *a)).collect(), rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<String>) {
        // As wide as they are shown.
        self.rows.push(cells.iter().map(|c| visible(&one_line(c)).into_owned()).collect());
    }

    /// Writes them, with their heads.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        self.write_lines(true, out)
    }

    /// Writes the rows alone.
    pub fn write_rows(&self, out: &mut dyn Write) -> io::Result<()> {
        self.write_lines(false, out)
    }

    fn write_lines(&self, with_heads: bool, out: &mut dyn Write) -> io::Result<()> {
        let widths: Vec<usize> = self
            .heads
            .iter()
            .enumerate()
            .map(|(i, (head, _))| {
                self.rows.iter().filter_map(|r| r.get(i)).map(|c| c.width()).chain([head.width()]).max()
            })
            .map(Option::unwrap_or_default)
            .collect();
        let heads: Vec<String> = self.heads.iter().map(|h| h.0.clone()).collect();
        for row in std::iter::once(&heads).filter(|_| with_heads).chain(&self.rows) {
            let mut line = String::new();
            for ((cell, width), (_, align)) in row.iter().zip(&widths).zip(&self.heads) {
                let pad = " ".repeat(width.saturating_sub(cell.width()));
                match align {
                    Align::Left => line.push_str(&format!("{cell}{pad}  ")),
                    Align::Right => line.push_str(&format!("{pad}{cell}  ")),
                }
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// Writes a snapshot for people: with rates where two were read, names cut to fit a terminal of `width` columns.
pub fn write_snapshot(view: &View, rates: bool, width: Option<usize>, out: &mut dyn Write) -> io::Result<()> {
    let (snapshot, model): (&Snapshot, &Model) = (&view.snapshot, &view.model);
    let node = &snapshot.node;
    let of_node = |fact: &Option<String>| one_line(fact.as_deref().unwrap_or("unknown")).into_owned();
    writeln!(
        out,
        "{} · kernel {} · {}",
        of_node(&node.hostname),
        of_node(&node.kernel),
        of_node(&node.distribution)
    )?;
    if let Some(name) = &snapshot.netns.name {
        writeln!(out, "network namespace {}", one_line(name))?;
    }
    if model.services.modes.is_empty() {
        let text = match snapshot.rules_read() {
            true => "No Services of kube-proxy found in iptables, nftables or IPVS.",
            false => "Services could not be looked for: what holds them could not be read.",
        };
        writeln!(out, "\n{text}")?;
    }
    for m in &model.services.modes {
        let variant = m.engine.variant().map(|v| format!(" ({})", v.name())).unwrap_or_default();
        let state = if m.state == crate::proxy::State::Stale { ", stale" } else { "" };
        writeln!(
            out,
            "{}{variant} {}: {} Services, {} rules{state}",
            m.engine.mode().name(),
            m.family,
            m.services,
            m.rules
        )?;
    }
    if let Some(c) = &snapshot.conntrack
        && let (Some(count), Some(max)) = (c.limits.count, c.limits.max)
    {
        let percent = 100.0 * count as f64 / max.max(1) as f64;
        writeln!(out, "conntrack: {count} of {max} flows ({percent:.1} %)")?;
    }
    if !model.services.is_empty() {
        writeln!(out)?;
        services(view, rates, width, out)?;
    }
    if !snapshot.tables.is_empty() {
        writeln!(out)?;
        let mut columns = Columns::new(&[
            ("TABLE", Align::Left),
            ("HELD BY", Align::Left),
            ("CHAINS", Align::Right),
            ("RULES", Align::Right),
            ("SETS", Align::Right),
            ("ELEMENTS", Align::Right),
            ("BYTES", Align::Right),
            ("DROPPED", Align::Right),
            ("OWNER", Align::Left),
        ]);
        let or_dash = |n: Option<u64>| n.map_or("-".into(), |n| n.to_string());
        for t in &snapshot.tables {
            let native = t.table.nf.is_some();
            columns.row(vec![
                format!("{} {}", t.family, t.table.name),
                t.backend.name().into(),
                t.table.chains.len().to_string(),
                t.table.rules.len().to_string(),
                if native { t.table.sets.len().to_string() } else { "-".into() },
                or_dash(t.table.element_count().filter(|_| native)),
                or_dash(t.bytes),
                t.dropped().map_or("not counted".into(), |n| n.to_string()),
                owners(&t.table).join(", "),
            ]);
        }
        columns.write(out)?;
    }
    if let Some(sets) = snapshot.ipsets.as_ref().filter(|s| !s.value.is_empty()) {
        let members: u64 = sets.value.iter().map(|s| s.size).sum();
        writeln!(out, "\nipset: {} sets with {members} members", sets.value.len())?;
    }
    for o in snapshot.accounts.iter().flat_map(|a| a.value.iter()) {
        let name = one_line(&o.name);
        writeln!(out, "nfacct: {name} {} packets, {} bytes", o.counter.packets, o.counter.bytes)?;
    }
    if !snapshot.unread.is_empty() {
        writeln!(out, "\nNot read:")?;
        for u in &snapshot.unread {
            writeln!(out, "  {}: {}", one_line(&u.what), one_line(&u.why))?;
            if let Some(hint) = u.hint.as_ref().filter(|h| !u.why.contains(h.as_str())) {
                writeln!(out, "    -> {}", one_line(hint))?;
            }
        }
    }
    Ok(())
}

/// Columns of Services in text: counters, as one reading says them; with two, what goes by each second, too.
const SHOWN: [&str; 9] =
    ["name", "proto", "frontend", "mode", "backends", "new_total", "held", "refused_total", "state"];
const RATES: [&str; 4] = ["flows", "packets", "bytes", "refused"];

/// The least that a name is cut to.
const NAME: usize = 24;

fn services(view: &View, rates: bool, width: Option<usize>, out: &mut dyn Write) -> io::Result<()> {
    let wanted = |key: &str| SHOWN.contains(&key) || (rates && RATES.contains(&key));
    let mut shown: Vec<&Column<Services>> = SERVICES.iter().filter(|c| wanted(c.key)).collect();
    // The state reads best at the end.
    shown.sort_by_key(|c| c.key == "state");
    let cells = |name: usize| -> Vec<Vec<String>> {
        view.rows()
            .map(|row| {
                let room = |c: &Column<Services>| if c.key == "name" { name } else { usize::MAX };
                shown.iter().map(|c| c.text(&row, room(c))).collect()
            })
            .collect()
    };
    let head = |c: &&Column<Services>| -> (&'static str, Align) {
        (if c.key == "state" { "STATE" } else { c.head }, if c.right { Align::Right } else { Align::Left })
    };
    let heads: Vec<(&str, Align)> = shown.iter().map(head).collect();
    let all = cells(usize::MAX);
    // Long names give way so that lines do not break; without a terminal nothing is cut.
    let widest = |i: usize| all.iter().map(|r| r[i].width()).chain([heads[i].0.width()]).max().unwrap_or(0);
    let total: usize = (0..shown.len()).map(|i| widest(i) + 2).sum();
    let name = shown.iter().position(|c| c.key == "name").map_or(0, widest);
    let all = match width {
        Some(width) if total > width => cells(name.saturating_sub(total - width).max(NAME)),
        _ => all,
    };
    let mut columns = Columns::new(&heads);
    all.into_iter().for_each(|row| columns.row(row));
    columns.write(out)
}
