//! `kptop bench` as text, Markdown, CSV and JSON (`kptop.bench/1`).

use super::{Align, Columns};
use crate::bench::{Connections, Percentiles, Run, STUDY};
use crate::format::{bytes, plural};
use crate::snapshot::facts::Node;
use serde::Serialize;
use std::io::{self, Write};

/// What was measured on, and how.
#[derive(Clone, Debug)]
pub struct BenchSetup {
    /// The node.
    pub node: Node,
    /// IPVS, where the kernel has it.
    pub ipvs_version: Option<String>,
    /// Clients at once.
    pub clients: usize,
    /// Rounds, and seconds of each run in them.
    pub rounds: usize,
    /// Seconds.
    pub seconds: f64,
    /// True where the CPU is an emulated one.
    pub emulated: bool,
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    setup: SetupOut<'a>,
    runs: Vec<RunOut<'a>>,
    study: Vec<StudyOut>,
}

#[derive(Serialize)]
struct SetupOut<'a> {
    hostname: Option<&'a str>,
    cpus: Option<usize>,
    cpu_model: Option<&'a str>,
    memory_bytes: Option<u64>,
    distribution: Option<&'a str>,
    kernel: Option<&'a str>,
    ipvs_version: Option<&'a str>,
    iptables_version: Option<&'a str>,
    clients: usize,
    rounds: usize,
    seconds_per_run: f64,
    emulated_cpu: bool,
}

#[derive(Serialize)]
struct RunOut<'a> {
    mode: &'static str,
    variant: Option<&'static str>,
    services: usize,
    connections: &'static str,
    http_req_duration_us: Option<PercentilesOut>,
    http_req_waiting_us: Option<PercentilesOut>,
    http_req_connecting_us: Option<PercentilesOut>,
    http_reqs_per_s: Option<f64>,
    http_reqs_per_s_min: Option<f64>,
    http_reqs_per_s_max: Option<f64>,
    requests: u64,
    errors: Option<u64>,
    missing: Option<&'a str>,
}

#[derive(Serialize)]
struct PercentilesOut {
    p50: f64,
    p95: f64,
    p99: f64,
}

#[derive(Serialize)]
struct StudyOut {
    mode: &'static str,
    http_req_duration_us_p95: f64,
    http_req_waiting_us_p95: f64,
    http_reqs_per_s: f64,
}

/// Writes the contract.
pub fn write_bench_json(
    setup: &BenchSetup,
    runs: &[Run],
    indented: bool,
    out: &mut dyn Write,
) -> io::Result<()> {
    let node = &setup.node;
    let percentiles =
        |p: Option<Percentiles>| p.map(|p| PercentilesOut { p50: p.p50, p95: p.p95, p99: p.p99 });
    let run = |r: &'_ Run| {
        let rate = r.rate();
        RunOut {
            mode: r.engine.mode().name(),
            variant: r.engine.variant().map(|v| v.name()),
            services: r.services,
            connections: r.connections.name(),
            http_req_duration_us: percentiles(Percentiles::of(&r.times.duration)),
            http_req_waiting_us: percentiles(Percentiles::of(&r.times.waiting)),
            http_req_connecting_us: percentiles(Percentiles::of(&r.times.connecting)),
            http_reqs_per_s: rate.map(|r| r.0),
            http_reqs_per_s_min: rate.map(|r| r.1),
            http_reqs_per_s_max: rate.map(|r| r.2),
            requests: r.times.answered(),
            errors: r.missing.is_none().then_some(r.times.errors),
            missing: None,
        }
    };
    let document = Document {
        schema: "kptop.bench/1",
        setup: SetupOut {
            hostname: node.hostname.as_deref(),
            cpus: node.cpus,
            cpu_model: node.cpu_model.as_deref(),
            memory_bytes: node.memory_bytes,
            distribution: node.distribution.as_deref(),
            kernel: node.kernel.as_deref(),
            ipvs_version: setup.ipvs_version.as_deref(),
            iptables_version: node.iptables_version.as_deref(),
            clients: setup.clients,
            rounds: setup.rounds,
            seconds_per_run: setup.seconds,
            emulated_cpu: setup.emulated,
        },
        runs: runs.iter().map(|r| RunOut { missing: r.missing.as_deref(), ..run(r) }).collect(),
        study: STUDY
            .iter()
            .map(|s| StudyOut {
                mode: s.mode,
                http_req_duration_us_p95: s.duration_p95,
                http_req_waiting_us_p95: s.waiting_p95,
                http_reqs_per_s: s.per_second,
            })
            .collect(),
    };
    super::json::write_json(&document, indented, out)
}

/// The study's table of what was measured on.
fn setup_lines(s: &BenchSetup) -> Vec<(&'static str, String)> {
    let known = |t: &Option<String>| t.clone().unwrap_or_else(|| "unknown".into());
    let cpus = s.node.cpus.map_or("?".into(), |n| n.to_string());
    vec![
        ("Host", known(&s.node.hostname)),
        ("CPUs", format!("{cpus} x {}", known(&s.node.cpu_model))),
        ("Memory", s.node.memory_bytes.map_or("unknown".into(), bytes)),
        ("Distribution", known(&s.node.distribution)),
        ("Kernel", known(&s.node.kernel)),
        ("IPVS", s.ipvs_version.clone().unwrap_or_else(|| "not in this kernel".into())),
        ("iptables", known(&s.node.iptables_version)),
        (
            "Load",
            format!(
                "{} clients, {} of {} s a run, modes in turns; one Service among many, the one in the middle",
                s.clients,
                plural(s.rounds as u64, "round"),
                s.seconds
            ),
        ),
    ]
}

const HEADS: [(&str, Align); 9] = [
    ("MODE", Align::Left),
    ("SERVICES", Align::Right),
    ("CONNECTIONS", Align::Left),
    ("DURATION µs", Align::Right),
    ("WAITING µs", Align::Right),
    ("CONNECTING µs", Align::Right),
    ("REQ/s", Align::Right),
    ("ROUNDS", Align::Right),
    ("ERRORS", Align::Right),
];

fn cells(r: &Run) -> Vec<String> {
    let three =
        |p: Option<Percentiles>| p.map_or("-".into(), |p| format!("{:.0}/{:.0}/{:.0}", p.p50, p.p95, p.p99));
    let rate = r.rate();
    vec![
        r.engine.words().into(),
        r.services.to_string(),
        r.connections.words().into(),
        three(Percentiles::of(&r.times.duration)),
        three(Percentiles::of(&r.times.waiting)),
        // A connection for each client is too few for percentiles.
        three(Percentiles::of(&r.times.connecting).filter(|_| r.connections == Connections::New)),
        rate.map_or("-".into(), |r| format!("{:.0}", r.0)),
        rate.map_or("-".into(), |r| format!("{:.0}-{:.0}", r.1, r.2)),
        if r.missing.is_some() { "-".into() } else { r.times.errors.to_string() },
    ]
}

/// Remarks below a table.
fn remarks(s: &BenchSetup, runs: &[Run]) -> Vec<String> {
    let mut said = vec![
        "Times are p50/p95/p99. Duration is sending, waiting and receiving, as in k6; a new connection's first packet, which pays the lookup, is in \
         connecting. ROUNDS: requests a second of the slowest and the quickest round."
            .to_string(),
        format!(
            "The study, one small node: iptables duration p95 {} µs, waiting p95 {} µs, {} requests a second; ipvs {}, {}, {}.",
            STUDY[0].duration_p95,
            STUDY[0].waiting_p95,
            STUDY[0].per_second,
            STUDY[1].duration_p95,
            STUDY[1].waiting_p95,
            STUDY[1].per_second
        ),
    ];
    if s.rounds as f64 * s.seconds < 3.0 {
        said.push(
            "So short a run says little: take more --rounds or --seconds before you believe an order.".into(),
        );
    }
    if s.emulated {
        said.push(
            "This CPU is an emulated one and no clock: compare rows, and take no figure for itself.".into(),
        );
    }
    let mut missing: Vec<String> = Vec::new();
    for r in runs {
        if let Some(why) = &r.missing {
            let line = format!("{} with {} Services: {why}", r.engine.words(), r.services);
            if !missing.contains(&line) {
                missing.push(line);
            }
        }
    }
    said.extend(missing);
    said
}

/// Writes tables for people.
pub fn write_bench(s: &BenchSetup, runs: &[Run], out: &mut dyn Write) -> io::Result<()> {
    for (what, value) in setup_lines(s) {
        writeln!(out, "{what:<13} {value}")?;
    }
    writeln!(out)?;
    let mut columns = Columns::new(&HEADS);
    runs.iter().for_each(|r| columns.row(cells(r)));
    columns.write(out)?;
    writeln!(out)?;
    remarks(s, runs).iter().try_for_each(|line| writeln!(out, "{line}"))
}

/// Writes the same as Markdown.
pub fn write_bench_markdown(s: &BenchSetup, runs: &[Run], out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "| setup | |\n|---|---|")?;
    let escape = |t: &str| t.replace('|', "\\|");
    for (what, value) in setup_lines(s) {
        writeln!(out, "| {what} | {} |", escape(&value))?;
    }
    let heads: Vec<&str> = HEADS.iter().map(|h| h.0).collect();
    writeln!(out, "\n| {} |", heads.join(" | ").to_lowercase())?;
    let lines: Vec<&str> = HEADS.iter().map(|h| if h.1 == Align::Right { "--:" } else { "---" }).collect();
    writeln!(out, "|{}|", lines.join("|"))?;
    for r in runs {
        writeln!(out, "| {} |", cells(r).join(" | "))?;
    }
    writeln!(out)?;
    remarks(s, runs).iter().try_for_each(|line| writeln!(out, "{line}\n"))
}

/// Writes the runs as CSV.
pub fn write_bench_csv(runs: &[Run], out: &mut dyn Write) -> io::Result<()> {
    let kinds = ["http_req_duration_us", "http_req_waiting_us", "http_req_connecting_us"];
    let heads: Vec<String> =
        kinds.iter().flat_map(|k| ["p50", "p95", "p99"].map(|p| format!("{k}_{p}"))).collect();
    writeln!(
        out,
        "mode,variant,services,connections,{},http_reqs_per_s,http_reqs_per_s_min,http_reqs_per_s_max,requests,errors,missing",
        heads.join(",")
    )?;
    for r in runs {
        let mut fields = vec![
            r.engine.mode().name().to_string(),
            r.engine.variant().map_or(String::new(), |v| v.name().into()),
            r.services.to_string(),
            r.connections.name().into(),
        ];
        for times in [&r.times.duration, &r.times.waiting, &r.times.connecting] {
            let p = Percentiles::of(times);
            fields.extend(
                [p.map(|p| p.p50), p.map(|p| p.p95), p.map(|p| p.p99)]
                    .map(|v| v.map_or(String::new(), |v| format!("{v:.2}"))),
            );
        }
        let rate = r.rate();
        fields.extend(
            [rate.map(|r| r.0), rate.map(|r| r.1), rate.map(|r| r.2)]
                .map(|v| v.map_or(String::new(), |v| format!("{v:.2}"))),
        );
        fields.push(r.times.answered().to_string());
        fields.push(if r.missing.is_some() { String::new() } else { r.times.errors.to_string() });
        fields.push(crate::columns::csv_field(r.missing.as_deref().unwrap_or("")));
        writeln!(out, "{}", fields.join(","))?;
    }
    Ok(())
}
