//! `kptop explain` as text and as JSON (`kptop.explain/1`).

use super::{one_line, visible};
use crate::explain::{Explanation, Line, LineKind, verdict};
use crate::format::{clip_end, clip_rule, plural};
use crate::proxy::{Mode, Model};
use crate::ruleset::protocol_name;
use crate::snapshot::Snapshot;
use crate::walk::{CtState, Ingress, Outcome, Step, StepKind};
use serde::Serialize;
use std::io::{self, Write};
use std::net::IpAddr;
use unicode_width::UnicodeWidthStr;

/// Writes the lines of an answer; cut to a terminal of `width` columns, whole without.
pub fn write_explanation(lines: &[Line], width: Option<usize>, out: &mut dyn Write) -> io::Result<()> {
    // Probability and places are columns of their own.
    let widest = |ending: bool| {
        let of = lines.iter().filter(|l| is_ending(l) == ending);
        of.map(|l| l.place.width()).max().unwrap_or(0)
    };
    let widths = (widest(true), widest(false));
    let figures = lines.iter().map(|l| l.figure.width()).max().unwrap_or(0);
    for l in lines {
        let indent = if l.kind == LineKind::Head { 0 } else { 2 };
        let place = match l.place.is_empty() {
            true => String::new(),
            false if is_ending(l) => format!("{}{}  ", " ".repeat(widths.0 - l.place.width()), l.place),
            false => format!("{}{}  ", l.place, " ".repeat(widths.1 - l.place.width())),
        };
        let mut text = format!("{}{place}{}", " ".repeat(indent), l.text);
        text = visible(&one_line(&text)).into_owned();
        // Commands are copied: they are never cut.
        if let Some(width) = width.filter(|w| *w > 40 && l.kind != LineKind::Command) {
            let room = width - figures - 2;
            text = if l.kind == LineKind::Step { clip_rule(&text, room) } else { clip_end(&text, room) };
            if !l.figure.is_empty() {
                text.push_str(&" ".repeat(room.saturating_sub(text.width())));
                text = format!("{text}  {}{}", " ".repeat(figures - l.figure.width()), l.figure);
            }
        } else if !l.figure.is_empty() {
            text = format!("{text}  ({})", l.figure);
        }
        writeln!(out, "{}", text.trim_end())?;
    }
    Ok(())
}

fn is_ending(l: &Line) -> bool {
    matches!(l.kind, LineKind::Ending | LineKind::Answer | LineKind::Bad)
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    packet: PacketOut,
    mode: Option<&'static str>,
    variant: Option<&'static str>,
    service: Option<String>,
    /// The way of the likeliest outcome.
    steps: Vec<StepOut<'a>>,
    outcomes: Vec<OutcomeOut<'a>>,
    /// True where there were more outcomes than could be followed.
    cut: bool,
    notes: &'a [String],
    /// Commands that show it by other means.
    commands: Vec<String>,
}

#[derive(Serialize)]
struct PacketOut {
    source: IpAddr,
    source_port: u16,
    destination: IpAddr,
    destination_port: u16,
    protocol: String,
    from: String,
    interface: Option<String>,
    state: &'static str,
    mark: u32,
}

#[derive(Serialize)]
struct StepOut<'a> {
    hook: &'static str,
    table: Option<&'a str>,
    family: Option<&'static str>,
    backend: Option<&'static str>,
    chain: Option<&'a str>,
    /// Position in its chain, from 1; of rules that did not match the first one's.
    rule: Option<u32>,
    text: String,
    matched: bool,
    /// Rules evaluated in this step: 1, or as many as did not match.
    evaluated: u32,
    packets: Option<u64>,
    probability: Option<f64>,
}

#[derive(Serialize)]
struct OutcomeOut<'a> {
    verdict: &'static str,
    end: String,
    backend: Option<BackendOut>,
    masquerade: bool,
    /// Given what it assumes.
    probability: f64,
    assuming: Vec<String>,
    rules_evaluated: u32,
    text: String,
    steps: Vec<StepOut<'a>>,
}

#[derive(Serialize)]
struct BackendOut {
    address: IpAddr,
    port: u16,
}

fn step<'a>(snapshot: &'a Snapshot, s: &Step) -> StepOut<'a> {
    let state = s.place.map(|p| &snapshot.tables[p.table]);
    let chain = s.place.map(|p| &snapshot.tables[p.table].table.chains[p.chain.0 as usize]);
    let (id, evaluated, matched) = match s.kind {
        StepKind::Matched(id) => (Some(id), 1, true),
        StepKind::Counted(id) => (Some(id), 1, false),
        StepKind::Passed(id, n) => (Some(id), n, false),
        StepKind::Policy | StepKind::Ipvs(_) => (None, 0, true),
        StepKind::Note(_) => (None, 0, false),
    };
    let rule = id.zip(state).map(|(id, t)| t.table.rule(id));
    let text = match (&s.kind, rule, state) {
        (StepKind::Passed(_, n), ..) => format!("{} checked, no match", plural(u64::from(*n), "rule")),
        (StepKind::Policy, ..) => "policy DROP".into(),
        (StepKind::Ipvs(text) | StepKind::Note(text), ..) => text.clone(),
        (_, Some(rule), Some(t)) => t.table.rule_text(rule).to_string(),
        _ => String::new(),
    };
    StepOut {
        hook: s.hook.chain_name(),
        table: state.map(|t| t.table.name.as_str()),
        family: state.map(|t| t.table.family.name()),
        backend: state.map(|t| t.backend.name()),
        chain: state.zip(s.place).map(|(t, p)| t.table.chain_name(p.chain)),
        rule: id.zip(chain).map(|(id, c)| id.0 - c.rules.start + 1),
        text,
        matched,
        evaluated,
        packets: id
            .zip(state)
            .filter(|(id, t)| matched && t.table.rule(*id).counted)
            .map(|(id, t)| t.counter(id).packets),
        probability: s.probability,
    }
}

/// Writes the contract.
pub fn write_explanation_json(
    e: &Explanation,
    snapshot: &Snapshot,
    model: &Model,
    indented: bool,
    out: &mut dyn Write,
) -> io::Result<()> {
    let steps = |o: &Outcome| e.walk.path(o).into_iter().map(|s| step(snapshot, s)).collect::<Vec<_>>();
    let p = &e.packet;
    let service = e.service(model).map(|s| s.0);
    let document = Document {
        schema: "kptop.explain/1",
        packet: PacketOut {
            source: p.source,
            source_port: p.source_port,
            destination: p.destination,
            destination_port: p.destination_port,
            protocol: protocol_name(u16::from(p.protocol))
                .map_or_else(|| p.protocol.to_string(), str::to_string),
            from: e.sender.to_string(),
            interface: match &p.entrance {
                Ingress::Interface(name) => name.clone(),
                Ingress::Node => None,
            },
            state: match p.state {
                CtState::New => "new",
                CtState::Established => "established",
                CtState::Related => "related",
                CtState::Invalid => "invalid",
                CtState::Untracked => "untracked",
            },
            mark: p.mark,
        },
        mode: e.mode(model).map(Mode::name),
        variant: service.and_then(|s| s.engine.variant()).map(|v| v.name()),
        service: service.map(|s| s.label()),
        steps: e.walk.outcomes.first().map(&steps).unwrap_or_default(),
        outcomes: e
            .endings()
            .into_iter()
            .map(|ending| (ending.outcome, ending.probability))
            .map(|(o, probability)| OutcomeOut {
                verdict: verdict(o),
                end: format!("{:?}", o.end).to_lowercase(),
                backend: o.backend.map(|(address, port)| BackendOut { address, port }),
                masquerade: o.masquerade,
                probability,
                assuming: o.assuming.iter().map(ToString::to_string).collect(),
                rules_evaluated: o.tally.rules(),
                text: e.ending_text(snapshot, o),
                steps: steps(o),
            })
            .collect(),
        cut: e.walk.cut,
        notes: &e.notes,
        commands: e.commands(snapshot, model),
    };
    super::json::write_json(&document, indented, out)
}
