//! `kptop compare` as text and as JSON (`kptop.compare/1`).

use super::{Align, Columns};
use crate::cost::{Comparison, Difference, ModeFigures, Prices, Spread};
use crate::format::{bytes, count, nanoseconds, plural, wrapped};
use serde::Serialize;
use std::io::{self, Write};

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    services: usize,
    backends: usize,
    modes: Vec<ModeOut>,
    gains: Vec<GainOut<'a>>,
    notes: Vec<String>,
    verdict: Vec<String>,
    prices: &'a str,
    /// With `--to`: what a move would change.
    moving: Option<Vec<DifferenceOut<'a>>>,
}

#[derive(Serialize)]
struct ModeOut {
    mode: &'static str,
    variant: Option<&'static str>,
    running: bool,
    rules: u64,
    elements: u64,
    virtual_servers: Option<u64>,
    real_servers: Option<u64>,
    kernel_bytes: Option<u64>,
    kernel_bytes_unknown: Option<&'static str>,
    lookup: LookupOut,
    change: ChangeOut,
    estimate_from: &'static str,
}

#[derive(Serialize)]
struct LookupOut {
    rules: Option<SpreadOut>,
    first_packet_ns: Option<SpreadOut>,
    per_packet_ns: Option<f64>,
}

#[derive(Serialize)]
struct SpreadOut {
    min: f64,
    mean: f64,
    p95: f64,
    max: f64,
}

#[derive(Serialize)]
struct ChangeOut {
    /// Rules that the kernel is given again when one endpoint changes.
    rules: u64,
    /// Elements, or real servers.
    elements: u64,
}

#[derive(Serialize)]
struct GainOut<'a> {
    service: &'a str,
    now_ns: f64,
    best_ns: f64,
}

#[derive(Serialize)]
struct DifferenceOut<'a> {
    id: &'static str,
    blocks: bool,
    title: &'a str,
    evidence: &'a [String],
    reason: &'static str,
    source: &'static str,
}

fn spread(s: Spread) -> SpreadOut {
    SpreadOut { min: s.min, mean: s.mean, p95: s.p95, max: s.max }
}

const NO_BYTES: &str = "nf_tables and IPVS do not report how much memory they take";

/// Gains that are shown.
const GAINS: usize = 5;

/// Writes the contract.
pub fn write_comparison_json(
    c: &Comparison,
    prices: &Prices,
    flows_per_s: Option<f64>,
    moving: Option<&[Difference]>,
    indented: bool,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mode = |m: &ModeFigures| ModeOut {
        mode: m.engine.mode().name(),
        variant: m.engine.variant().map(|v| v.name()),
        running: m.running,
        rules: m.rules,
        elements: m.elements,
        virtual_servers: m.servers.map(|s| s.0),
        real_servers: m.servers.map(|s| s.1),
        kernel_bytes: m.kernel_bytes,
        kernel_bytes_unknown: m.kernel_bytes.is_none().then_some(NO_BYTES),
        lookup: LookupOut {
            rules: m.evaluated.map(spread),
            first_packet_ns: m.first_packet_ns.map(spread),
            per_packet_ns: m.per_packet_ns,
        },
        change: ChangeOut { rules: m.change.0, elements: m.change.1 },
        estimate_from: m.from.name(),
    };
    let document = Document {
        schema: "kptop.compare/1",
        services: c.services,
        backends: c.backends,
        modes: c.modes.iter().map(mode).collect(),
        gains: c
            .gains
            .iter()
            .take(20)
            .map(|g| GainOut { service: &g.service, now_ns: g.now_ns, best_ns: g.best_ns })
            .collect(),
        notes: c.notes.clone(),
        verdict: c.verdict(flows_per_s),
        prices: &prices.about,
        moving: moving.map(|all| {
            all.iter()
                .map(|d| DifferenceOut {
                    id: d.id,
                    blocks: d.blocks,
                    title: &d.title,
                    evidence: &d.evidence,
                    reason: d.reason,
                    source: d.source,
                })
                .collect()
        }),
    };
    super::json::write_json(&document, indented, out)
}

/// Writes modes side by side for people.
pub fn write_comparison(
    c: &Comparison,
    prices: &Prices,
    flows_per_s: Option<f64>,
    out: &mut dyn Write,
) -> io::Result<()> {
    writeln!(
        out,
        "{} with {}, under each mode of kube-proxy\n",
        plural(c.services as u64, "Service port"),
        plural(c.backends as u64, "backend")
    )?;
    let state = |m: &ModeFigures| if m.running { "active" } else { "projected" }.to_string();
    let mut columns = Columns::new(&[
        ("WHAT IT HOLDS", Align::Left),
        ("", Align::Left),
        ("RULES", Align::Right),
        ("ELEMENTS", Align::Right),
        ("MEMORY", Align::Right),
        ("WRITTEN FOR ONE CHANGE", Align::Right),
    ]);
    for m in &c.modes {
        columns.row(vec![
            m.engine.words().into(),
            state(m),
            count(m.rules),
            count(m.elements + m.servers.map_or(0, |s| s.0 + s.1)),
            m.kernel_bytes.map_or("-".into(), bytes),
            m.change_text(),
        ]);
    }
    columns.write(out)?;
    writeln!(out)?;
    let mut columns = Columns::new(&[
        ("WHAT A LOOKUP COSTS", Align::Left),
        ("RULES CHECKED min", Align::Right),
        ("mean", Align::Right),
        ("p95", Align::Right),
        ("max", Align::Right),
        ("FIRST PACKET min", Align::Right),
        ("mean", Align::Right),
        ("p95", Align::Right),
        ("max", Align::Right),
        ("LATER", Align::Right),
    ]);
    for m in &c.modes {
        let mut row = vec![m.engine.words().to_string()];
        let four = |s: Option<Spread>, text: &dyn Fn(f64) -> String| {
            let each = s.map(|s| [s.min, s.mean, s.p95, s.max]);
            each.map_or_else(|| vec!["-".to_string(); 4], |e| e.iter().map(|n| text(*n)).collect())
        };
        row.extend(four(m.evaluated, &|n| count(n.round() as u64)));
        row.extend(four(m.first_packet_ns, &nanoseconds));
        row.push(m.per_packet_ns.map_or("-".into(), nanoseconds));
        columns.row(row);
    }
    columns.write(out)?;
    writeln!(out)?;
    for line in c.verdict(flows_per_s) {
        writeln!(out, "{line}")?;
    }
    if !c.gains.is_empty() {
        writeln!(out, "\nServices that gain most:")?;
        let mut columns = Columns::new(&[
            ("SERVICE", Align::Left),
            ("NOW", Align::Right),
            (c.best.map_or("BEST", |e| e.words()), Align::Right),
        ]);
        for g in c.gains.iter().take(GAINS) {
            columns.row(vec![g.service.clone(), nanoseconds(g.now_ns), nanoseconds(g.best_ns)]);
        }
        columns.write(out)?;
    }
    writeln!(out)?;
    for note in &c.notes {
        writeln!(out, "{note}")?;
    }
    writeln!(
        out,
        "Rules are those that the first packet of a flow from a pod meets, and times are estimated from them; prices: {}.",
        prices.about
    )?;
    writeln!(out, "Elements are of sets and maps, in ipvs mode with virtual and real servers; {NO_BYTES}.")
}

/// Writes what a move would change.
pub fn write_moving(differences: &[Difference], to: &str, out: &mut dyn Write) -> io::Result<()> {
    if differences.is_empty() {
        return writeln!(out, "Nothing would change: {to} mode is active, and alone.");
    }
    writeln!(out, "What would behave differently in {to} mode, found on this node:\n")?;
    for d in differences {
        let mark = if d.blocks { "✗" } else { "•" };
        writeln!(out, "{mark} {}", super::one_line(&d.title))?;
        for e in &d.evidence {
            writeln!(out, "    {}", super::one_line(e))?;
        }
        for line in wrapped(d.reason, 100) {
            writeln!(out, "  {line}")?;
        }
        writeln!(out, "  [{}]\n", d.source)?;
    }
    Ok(())
}
