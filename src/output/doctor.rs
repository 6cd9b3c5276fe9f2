//! `kptop doctor` as text and as JSON (`kptop.doctor/1`).

use super::one_line;
use crate::doctor::{Examination, Finding, SHOWN, Severity, Subject, causes};
use crate::format::{plural, time_of_day, wrapped};
use crate::proxy::{Model, Service, detect, screen_label};
use crate::ruleset::IpFamily;
use crate::snapshot::Snapshot;
use serde::Serialize;
use std::io::{self, Write};

/// Writes what was found, its proof and what to do; then what was ruled out, and what could not be looked for.
pub fn write_examination(
    done: &Examination,
    (snapshot, model): (&Snapshot, &Model),
    all: bool,
    width: Option<usize>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let of = |s: Severity| done.findings.iter().filter(|f| f.severity == s).count();
    let (critical, warning, info) = (of(Severity::Critical), of(Severity::Warning), of(Severity::Info));
    match done.findings.len() {
        0 => writeln!(out, "Nothing wrong was found.")?,
        _ => writeln!(
            out,
            "{critical} critical, {}, {info} worth knowing.",
            plural(warning as u64, "warning")
        )?,
    }
    // What is known of a kube-proxy without Services is a finding.
    let told = done.findings.iter().any(|f| matches!(f.id, "no_services" | "wiped"));
    if model.services.is_empty() && !told {
        writeln!(
            out,
            "Nothing that kptop reads holds a Service here: kube-proxy does not run on this node, or another program does its work."
        )?;
        for d in detect(snapshot, model) {
            writeln!(out, "{} is on this node ({}).", d.proxy.words(), d.evidence.join(", "))?;
            if !d.proxy.beside().is_empty() {
                writeln!(out, "  {}", d.proxy.beside())?;
            }
        }
    }
    for f in &done.findings {
        writeln!(out)?;
        write_finding(f, width, out)?;
        if all {
            write_services(f, model, width, out)?;
        }
    }
    let hidden = done.findings.iter().any(|f| f.count() > SHOWN);
    if hidden && !all {
        writeln!(out, "\n--all names every Service of these findings.")?;
    }
    let wide = width.unwrap_or(120).clamp(40, 140);
    let ruled_out: Vec<&str> = done.ruled_out().collect();
    writeln!(out, "\nRuled out:")?;
    for line in wrapped(&ruled_out.join(", "), wide - 2) {
        writeln!(out, "  {line}")?;
    }
    if !done.unchecked.is_empty() {
        writeln!(out, "Not looked for:")?;
        // What misses the same is told once.
        let mut missing: Vec<(&str, Vec<&str>)> = Vec::new();
        for u in &done.unchecked {
            match missing.iter_mut().find(|m| m.0 == u.why) {
                Some(m) => m.1.push(u.id),
                None => missing.push((&u.why, vec![u.id])),
            }
        }
        for (why, ids) in missing {
            let text = format!("{}: {why}", ids.join(", "));
            for (i, line) in wrapped(&one_line(&text), wide - 4).into_iter().enumerate() {
                writeln!(out, "  {}{line}", if i == 0 { "" } else { "  " })?;
            }
        }
    }
    Ok(())
}

/// Writes the names of all Services of a finding.
/// What was found in one line of at most so many bytes, the worst first: `1 critical, 2 warnings: shop/cart TCP: 25% of new …`.
pub fn examination_line(done: &Examination, most: usize) -> String {
    let of = |s: Severity| done.findings.iter().filter(move |f| f.severity == s);
    let (critical, warnings) = (of(Severity::Critical).count(), of(Severity::Warning).count());
    let mut counts = Vec::new();
    if critical > 0 {
        counts.push(format!("{critical} critical"));
    }
    if warnings > 0 {
        counts.push(plural(warnings as u64, "warning"));
    }
    let worst = of(Severity::Critical).chain(of(Severity::Warning)).next();
    let text = match worst {
        Some(f) => format!("{}: {}: {}", counts.join(", "), f.about, f.title),
        None => format!("nothing wrong, {} checked", plural(done.checked().count() as u64, "cause")),
    };
    let text = one_line(&text);
    if text.len() <= most {
        return text.into_owned();
    }
    // By bytes, between characters, with room for the mark.
    let mark = "…";
    let room = most.saturating_sub(mark.len());
    let end = text.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= room).last();
    format!("{}{mark}", &text[..end.unwrap_or(0)])
}

fn write_services(f: &Finding, model: &Model, width: Option<usize>, out: &mut dyn Write) -> io::Result<()> {
    if f.count() <= SHOWN {
        return Ok(());
    }
    let wide = width.unwrap_or(160).clamp(40, 160);
    let names = f.services.iter().filter_map(|i| model.services.get(*i));
    let names = names.map(|s| format!("{} {}", screen_label(s), s.protocol.name()));
    let names: Vec<String> = names.chain(f.absent.iter().cloned()).collect();
    for line in wrapped(&one_line(&names.join(", ")), wide - 8) {
        writeln!(out, "      {line}")?;
    }
    Ok(())
}

/// Writes one finding with its proof.
pub fn write_finding(f: &Finding, width: Option<usize>, out: &mut dyn Write) -> io::Result<()> {
    let wide = width.unwrap_or(160).clamp(40, 160);
    let head = format!("{:<11} {}: {} [{}]", f.severity.mark(), f.about, f.title, f.id);
    let head = one_line(&head);
    for (i, line) in wrapped(&head, wide).into_iter().enumerate() {
        writeln!(out, "{}{line}", if i == 0 { "" } else { "            " })?;
    }
    if let Some(quiet) = f.quiet_since {
        writeln!(out, "    · not seen since {}: it stays here for a minute", time_of_day(quiet))?;
    }
    for (mark, texts) in [("·", &f.evidence), ("→", &f.advice)] {
        for text in texts.iter().map(|t| one_line(t)) {
            for (i, line) in wrapped(&text, wide - 6).into_iter().enumerate() {
                writeln!(out, "    {} {line}", if i == 0 { mark } else { " " })?;
            }
        }
    }
    // They are copied: never wrapped. Of what is only worth knowing JSON and the screen have them.
    if f.severity < Severity::Info {
        for command in &f.commands {
            writeln!(out, "    $ {}", one_line(command))?;
        }
    }
    Ok(())
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    taken_at: String,
    findings: Vec<FindingOut<'a>>,
    /// Causes that were looked for.
    checked: Vec<&'static str>,
    unchecked: Vec<UncheckedOut<'a>>,
}

/// A finding, as scripts read it.
#[derive(Serialize)]
struct FindingOut<'a> {
    id: &'static str,
    severity: &'static str,
    title: &'a str,
    /// What it is about, for people: a Service, a table, a part of the node.
    subject: &'a str,
    /// The Service that it is about, where it is about one.
    service: Option<ServiceOut<'a>>,
    /// All Services that it is about, those that lose most first: `shop/cart:http TCP`.
    services: Vec<String>,
    count: usize,
    /// The part of their new flows that the rules lose for certain, 0 to 1: the most of them.
    lost_share: Option<f64>,
    /// Packets a second that die of it now.
    lost_per_second: Option<f64>,
    /// When it was seen first, and when its cause was seen last where it is not there now.
    since: Option<String>,
    quiet_since: Option<String>,
    evidence: &'a [String],
    advice: &'a [String],
    /// Commands that show it by other means.
    commands: &'a [String],
}

/// A Service by what scripts know it by.
#[derive(Serialize)]
struct ServiceOut<'a> {
    namespace: Option<&'a str>,
    name: Option<&'a str>,
    port_name: Option<&'a str>,
    protocol: &'static str,
    family: &'static str,
}

fn service<'a>(f: &Finding, model: &'a Model) -> Option<ServiceOut<'a>> {
    let Subject::Service(i) = f.subject else { return None };
    if f.services.len() > 1 {
        return None;
    }
    let s = model.services.get(i)?;
    Some(ServiceOut {
        namespace: s.name.as_ref().map(|n| n.namespace.as_str()),
        name: s.name.as_ref().map(|n| n.name.as_str()),
        port_name: s.name.as_ref().map(|n| n.port.as_str()),
        protocol: s.protocol.lower(),
        family: s.family.name(),
    })
}

/// `shop/cart:http TCP`, and its family where it is not the usual one.
fn service_text(s: &Service) -> String {
    let family = if s.family == IpFamily::V6 { " (ipv6)" } else { "" };
    format!("{} {}{family}", s.label(), s.protocol.name())
}

#[derive(Serialize)]
struct UncheckedOut<'a> {
    id: &'static str,
    why: &'a str,
}

/// Writes the contract for scripts.
pub fn write_examination_json(
    done: &Examination,
    model: &Model,
    taken_at: jiff::Timestamp,
    indented: bool,
    out: &mut dyn Write,
) -> io::Result<()> {
    debug_assert_eq!(done.checked().count() + done.unchecked.len(), causes().count());
    let document = Document {
        schema: "kptop.doctor/1",
        taken_at: format!("{taken_at:.3}"),
        findings: done
            .findings
            .iter()
            .map(|f| FindingOut {
                id: f.id,
                severity: f.severity.name(),
                title: &f.title,
                subject: &f.about,
                service: service(f, model),
                services: f
                    .services
                    .iter()
                    .filter_map(|i| model.services.get(*i))
                    .map(service_text)
                    .chain(f.absent.iter().cloned())
                    .collect(),
                count: f.count(),
                lost_share: f.lost_share,
                lost_per_second: f.lost_rate,
                since: f.since.map(|t| format!("{t:.3}")),
                quiet_since: f.quiet_since.map(|t| format!("{t:.3}")),
                evidence: &f.evidence,
                advice: &f.advice,
                commands: &f.commands,
            })
            .collect(),
        checked: done.checked().collect(),
        unchecked: done.unchecked.iter().map(|u| UncheckedOut { id: u.id, why: &u.why }).collect(),
    };
    super::json::write_json(&document, indented, out)
}
