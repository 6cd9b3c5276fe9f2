//! `kptop calibrate`: what a lookup costs in this kernel on this CPU.

use super::demo_of::become_root;
use super::execute::Execute;
use super::globals::Globals;
use super::prices::default_file;
use super::print::{TextOrJson, print_as, say, with_hint};
use crate::cost::{Calibration, EnginePrices, Sample, VERSION, fit};
use crate::format::nanoseconds;
use crate::lab::measure::{Course, median, stay_on_this_cpu};
use crate::output::{Align, Columns};
use crate::proxy::Engine;
use crate::snapshot::facts::node_identity;
use clap::Args;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

#[derive(Debug, Args)]
pub(super) struct CalibrateArgs {
    /// Also measure sizes and places that the prices were not made from (300, 3,000 and 7,000 Services), and print what was
    /// predicted beside what was measured. Takes some minutes.
    #[arg(long)]
    verify: bool,
    /// Print only; keep nothing.
    #[arg(long)]
    dry_run: bool,
    /// Where the prices are kept [default: ~/.local/state/kptop/calibration.json].
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// How to print.
    #[arg(short, long, value_enum, default_value = "text")]
    output: TextOrJson,
}

/// Seconds that building and measuring may take in all, without --verify.
const LIMIT: Duration = Duration::from_secs(55);
/// Packets of each kind a round and stop, and rounds.
const PER_ROUND: u16 = 40;
const ROUNDS: usize = 15;

/// Sizes that the prices are made from. In nftables mode the way is the same at each, and the kernel takes long to load
/// many: a few sizes are enough.
fn sizes(engine: Engine) -> &'static [usize] {
    match engine {
        Engine::IptablesLegacy => &[100, 1_000, 2_000, 5_000, 10_000],
        Engine::IptablesNft => &[100, 1_000, 5_000],
        Engine::Ipvs => &[100, 1_000],
        Engine::Nftables => &[100, 1_000],
        // Nothing writes it.
        Engine::UserspaceLegacy
        | Engine::UserspaceNft
        | Engine::Cilium
        | Engine::CalicoEbpf
        | Engine::OvnKubernetes
        | Engine::Kernelspace => &[],
    }
}

/// Sizes that --verify adds.
const UNSEEN: [usize; 3] = [300, 3_000, 7_000];

/// A measured course, without what it was measured with.
struct Measured {
    engine: Engine,
    services: usize,
    rules: u64,
    /// Position, rules met, first packet in ns.
    stops: Vec<(usize, f64, f64)>,
    later_ns: f64,
}

impl Execute for CalibrateArgs {
    fn run(&self, globals: &Globals) -> Result<ExitCode, String> {
        globals.source.need_live("measuring")?;
        let args = self;
        become_root()?; // before the first thread
        stay_on_this_cpu().map_err(|e| with_hint(&e))?;
        let (kernel, cpu) = node_identity();
        let began = Instant::now();
        let on_terminal = io::stderr().is_terminal();
        let say = |text: &str| {
            if on_terminal {
                say(text);
            }
        };
        say("measuring in private network namespaces; this node's own rules and traffic are not touched");
        let mut bare = Course::build(None, 1).map_err(|e| with_hint(&e))?;
        let (mut courses, mut left_out) = (Vec::new(), Vec::new());
        for engine in Engine::COMPARED {
            let unseen = if args.verify { &UNSEEN[..] } else { &[] };
            // What would take too long to load is not begun. Maps of nftables mode take the square of their number, rules grow
            // with it.
            let power = if engine == Engine::Nftables { 2 } else { 1 };
            let mut last: Option<(usize, Duration)> = None;
            for (services, is_fit) in
                sizes(engine).iter().map(|n| (*n, true)).chain(unseen.iter().map(|n| (*n, false)))
            {
                let expected = last.map_or(Duration::ZERO, |(n, took)| {
                    took.mul_f64((services as f64 / n as f64).powi(power))
                });
                if !args.verify && began.elapsed() + expected > LIMIT * 3 / 4 {
                    left_out.push(format!("{} with {services} Services: no time left", engine.words()));
                    continue;
                }
                match Course::build(Some(engine), services) {
                    Ok(course) => {
                        say(&format!(
                            "{}: {services} Services installed in {:.1} s",
                            engine.words(),
                            course.installed_in.as_secs_f64()
                        ));
                        last = Some((services, course.installed_in));
                        courses.push((course, is_fit));
                    }
                    Err(e) => {
                        left_out.push(format!("{}: {e}", engine.words()));
                        break;
                    }
                }
            }
        }
        // All courses take turns, so that what else the machine does meets them alike.
        for round in 0..ROUNDS {
            for (course, _) in &mut courses {
                course.round(PER_ROUND).map_err(|e| with_hint(&e))?;
            }
            bare.round(PER_ROUND).map_err(|e| with_hint(&e))?;
            if !args.verify && began.elapsed() > LIMIT {
                left_out.push(format!("rounds {} to {ROUNDS}: no time left", round + 2));
                break;
            }
        }
        let measured: Vec<(Measured, bool)> = courses.iter_mut().map(|(c, fit)| (take(c), *fit)).collect();
        let bare =
            bare.stops.first_mut().map_or((0.0, 0.0), |s| (median(&mut s.first_ns), median(&mut s.later_ns)));
        let calibration = Calibration {
            version: VERSION,
            kernel: kernel.unwrap_or_default(),
            cpu: cpu.unwrap_or_default(),
            measured_at: jiff::Timestamp::now().to_string(),
            bare_ns: bare,
            engines: prices(&measured),
            measured: Vec::new(),
        };
        let kept = keep(args, &calibration)?;
        let errors = predictions(&calibration, &measured);
        print_as(args.output.form(), |out| match args.output {
            TextOrJson::Json => {
                serde_json::to_writer_pretty(&mut *out, &calibration)?;
                writeln!(out)
            }
            TextOrJson::Text => {
                write_prices(&calibration, out)?;
                if args.verify {
                    write_predictions(&errors, out)?;
                }
                for line in &left_out {
                    writeln!(out, "not measured: {line}")?;
                }
                writeln!(out, "{} in all, on one CPU. {kept}", crate::format::duration(began.elapsed()))
            }
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

fn take(course: &mut Course) -> Measured {
    let mut later: Vec<f64> = course.stops.iter().flat_map(|s| s.later_ns.iter().copied()).collect();
    Measured {
        engine: course.engine.unwrap_or(Engine::Nftables),
        services: course.services,
        rules: course.rules,
        stops: course.stops.iter_mut().map(|s| (s.position, s.evaluated, median(&mut s.first_ns))).collect(),
        later_ns: median(&mut later),
    }
}

fn prices(measured: &[(Measured, bool)]) -> Vec<EnginePrices> {
    Engine::COMPARED
        .into_iter()
        .filter_map(|engine| {
            let of: Vec<&Measured> =
                measured.iter().filter(|m| m.1 && m.0.engine == engine).map(|m| &m.0).collect();
            let samples: Vec<Sample> = of
                .iter()
                .flat_map(|m| m.stops.iter().map(|s| Sample { rules: m.rules, evaluated: s.1, ns: s.2 }))
                .collect();
            let mut later: Vec<f64> = of.iter().map(|m| m.later_ns).collect();
            (!samples.is_empty()).then(|| EnginePrices {
                engine,
                curve: fit(&samples),
                later_ns: median(&mut later),
            })
        })
        .collect()
}

/// One prediction beside the measurement.
struct Prediction {
    engine: Engine,
    services: usize,
    position: usize,
    predicted: f64,
    measured: f64,
}

impl Prediction {
    fn error(&self) -> f64 {
        (self.predicted - self.measured).abs() / self.measured.max(1.0)
    }
}

/// For the courses that no price was made from.
fn predictions(calibration: &Calibration, measured: &[(Measured, bool)]) -> Vec<Prediction> {
    let mut all = Vec::new();
    for (m, _) in measured.iter().filter(|m| !m.1) {
        let Some(prices) = calibration.engine(m.engine) else { continue };
        for (position, evaluated, ns) in &m.stops {
            let Some(predicted) = prices.first_packet_ns(m.rules, *evaluated) else { continue };
            all.push(Prediction {
                engine: m.engine,
                services: m.services,
                position: *position,
                predicted,
                measured: *ns,
            });
        }
    }
    all
}

fn keep(args: &CalibrateArgs, calibration: &Calibration) -> Result<String, String> {
    if args.dry_run {
        return Ok("Nothing was kept.".into());
    }
    let Some(file) = args.file.clone().or_else(default_file) else {
        return Ok("Nothing was kept: there is neither HOME nor XDG_STATE_HOME; give --file.".into());
    };
    let fail = |e: io::Error| format!("writing {}: {e}\n  -> give another place with --file", file.display());
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).map_err(fail)?;
    }
    let text = serde_json::to_string_pretty(calibration).map_err(|e| e.to_string())?;
    // Whole or not at all.
    let fresh = file.with_extension("new");
    std::fs::write(&fresh, text + "\n").map_err(fail)?;
    std::fs::rename(&fresh, &file).map_err(fail)?;
    Ok(format!("Kept in {}.", file.display()))
}

fn write_prices(c: &Calibration, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "Kernel {} on {}", c.kernel, c.cpu)?;
    writeln!(
        out,
        "A packet that meets no rule: {} the first of a flow, {} a later one\n",
        nanoseconds(c.bare_ns.0),
        nanoseconds(c.bare_ns.1)
    )?;
    let mut columns = Columns::new(&[
        ("MODE", Align::Left),
        ("RULES IN TABLES", Align::Right),
        ("FIRST PACKET", Align::Right),
        ("+ EACH RULE", Align::Right),
        ("LATER PACKET", Align::Right),
    ]);
    for e in &c.engines {
        for (i, p) in e.curve.iter().enumerate() {
            columns.row(vec![
                if i == 0 { e.engine.words().into() } else { String::new() },
                p.rules.to_string(),
                nanoseconds(p.base_ns),
                if p.rule_ns > 0.0 { format!("{:.2} ns", p.rule_ns) } else { "-".into() },
                if i == 0 { nanoseconds(e.later_ns) } else { String::new() },
            ]);
        }
    }
    columns.write(out)?;
    writeln!(out)
}

fn write_predictions(errors: &[Prediction], out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "First packets at sizes and places that no price was made from:\n")?;
    let mut columns = Columns::new(&[
        ("MODE", Align::Left),
        ("SERVICES", Align::Right),
        ("PLACE", Align::Right),
        ("PREDICTED", Align::Right),
        ("MEASURED", Align::Right),
        ("ERROR", Align::Right),
    ]);
    for p in errors {
        columns.row(vec![
            p.engine.words().into(),
            p.services.to_string(),
            (p.position + 1).to_string(),
            nanoseconds(p.predicted),
            nanoseconds(p.measured),
            format!("{:.1} %", p.error() * 100.0),
        ]);
    }
    columns.write(out)?;
    let mut each: Vec<f64> = errors.iter().map(Prediction::error).collect();
    let worst = each.iter().copied().fold(0.0, f64::max);
    writeln!(
        out,
        "\nerror: median {:.1} %, worst {:.1} %, of {}\n",
        median(&mut each) * 100.0,
        worst * 100.0,
        errors.len()
    )
}
