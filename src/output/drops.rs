//! `kptop drops` as text and as JSON (`kptop.drops/1`).

use super::{Align, Columns, one_line};
use crate::drops::{Counted, Drops, Seen, packet_text};
use crate::format::{count, duration};
use serde::Serialize;
use std::io::{self, Write};
use std::time::Duration;

/// Writes what is about to happen.
pub fn write_drops_head(why_not: Option<&str>, span: Duration, out: &mut dyn Write) -> io::Result<()> {
    match why_not {
        None => {
            writeln!(out, "The drop monitor is on for {}; packets of Services as they die:", duration(span))?;
        }
        Some(why) => writeln!(out, "No drop monitor: {why}.\nCounters, for {}:", duration(span))?,
    }
    out.flush()
}

/// Writes a line for each packet.
pub fn write_drops_lines(seen: &[&Seen], out: &mut dyn Write) -> io::Result<()> {
    for s in seen {
        let owner =
            s.owner.as_ref().map_or(String::new(), |(name, role)| format!("{name}, {}", role.words()));
        let reason = s.dropped.reason.as_deref().unwrap_or("?");
        let (owner, reason) = (one_line(&owner), one_line(reason));
        writeln!(out, "  {:>7}  {:<24} {}  ({owner})", duration(s.at), reason, packet_text(&s.dropped))?;
    }
    out.flush()
}

/// Writes the sums: by reason, place and Service, and what counters report.
pub fn write_drops(
    drops: &Drops,
    monitored: bool,
    counters: &[Counted],
    out: &mut dyn Write,
) -> io::Result<()> {
    if monitored {
        writeln!(
            out,
            "\n{} dropped packets in {}, {} of them of Services{}{}",
            count(drops.total),
            duration(drops.span),
            count(drops.of_services),
            match drops.lost {
                0 => String::new(),
                n => format!("; {} more could not be reported", count(n)),
            },
            match drops.freed {
                0 => String::new(),
                n => format!(
                    "\n(and {} freed without a reason at the end of connections: no losses)",
                    count(n)
                ),
            }
        )?;
        let mut table = Columns::new(&[
            ("PACKETS", Align::Right),
            ("REASON", Align::Left),
            ("IN", Align::Left),
            ("SERVICE", Align::Left),
            ("AN EXAMPLE", Align::Left),
        ]);
        for (g, t) in drops.groups().into_iter().take(40) {
            let owner =
                g.owner.as_ref().map_or("-".into(), |(name, role)| format!("{name} ({})", role.words()));
            table.row(vec![
                count(t.packets),
                g.reason.clone(),
                g.place.clone(),
                owner,
                packet_text(&t.example),
            ]);
        }
        if drops.total > 0 {
            table.write(out)?;
        }
        if let Some((_, t)) = drops.groups().into_iter().find(|(g, _)| g.owner.is_some())
            && let Some(question) = follow(&t.example)
        {
            writeln!(out, "\nWhat becomes of such a packet, step by step: {question}")?;
        }
    }
    writeln!(out, "\nWhat counters report (in this time, and since they began):")?;
    let mut table =
        Columns::new(&[("NOW", Align::Right), ("IN ALL", Align::Right), ("COUNTER", Align::Left)]);
    for c in counters.iter().take(20) {
        table.row(vec![count(c.by), count(c.total), c.name.clone()]);
    }
    match counters.is_empty() {
        true => writeln!(out, "  none has counted anything"),
        false => table.write(out),
    }
}

/// The question that explains a packet.
fn follow(d: &crate::snapshot::facts::DroppedPacket) -> Option<String> {
    let h = d.packet.as_ref()?;
    let (_, port) = h.ports?;
    let to = crate::proxy::endpoint_text(h.destination, port);
    let protocol = crate::proxy::Protocol::from_number(u16::from(h.protocol))?.lower();
    Some(format!("kptop explain {to}/{protocol} --client {}", h.source))
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    /// `drop_monitor` or `counters`.
    source: &'static str,
    /// Why there is no drop monitor.
    why: Option<&'a str>,
    span_s: f64,
    packets: u64,
    packets_of_services: u64,
    lost: u64,
    /// Freed without a reason at the end of connections: no losses, and in no other figure.
    freed: u64,
    groups: Vec<GroupOut<'a>>,
    counters: Vec<CounterOut<'a>>,
}

#[derive(Serialize)]
struct GroupOut<'a> {
    reason: &'a str,
    place: &'a str,
    service: Option<&'a str>,
    /// `to_service`, `to_backend`, `answer`.
    role: Option<&'static str>,
    packets: u64,
    example: String,
}

#[derive(Serialize)]
struct CounterOut<'a> {
    name: &'a str,
    packets: u64,
    total: u64,
}

/// Writes the contract for scripts.
pub fn write_drops_json(
    drops: &Drops,
    why: Option<&str>,
    counters: &[Counted],
    indented: bool,
    out: &mut dyn Write,
) -> io::Result<()> {
    let document = Document {
        schema: "kptop.drops/1",
        source: if why.is_none() { "drop_monitor" } else { "counters" },
        why,
        span_s: drops.span.as_secs_f64(),
        packets: drops.total,
        packets_of_services: drops.of_services,
        lost: drops.lost,
        freed: drops.freed,
        groups: drops
            .groups()
            .into_iter()
            .map(|(g, t)| GroupOut {
                reason: &g.reason,
                place: &g.place,
                service: g.owner.as_ref().map(|o| o.0.as_str()),
                role: g.owner.as_ref().map(|o| o.1.name()),
                packets: t.packets,
                example: packet_text(&t.example),
            })
            .collect(),
        counters: counters
            .iter()
            .map(|c| CounterOut { name: &c.name, packets: c.by, total: c.total })
            .collect(),
    };
    super::json::write_json(&document, indented, out)
}
