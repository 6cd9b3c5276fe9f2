//! Flags, and one small file for each subcommand.

mod bench;
mod calibrate;
mod compare;
mod config;
mod demo;
mod doctor;
mod drops;
mod explain;
mod http;
mod modes;
mod pages;
mod record;
mod serve;
mod shot;
mod snapshot;
mod source;
mod top;
mod values;
mod watch;

use clap::{Args, Parser, Subcommand, ValueEnum};
use source::{Source, SourceArgs, need_rules};
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use crate::config::{PaneName, ThemeName};
use crate::cost::{Calibration, Prices};
use crate::observe::Observer;
use crate::output::{self, Form};
use crate::proxy::Names;
use crate::snapshot::facts::{keep_reading, run_no_program};
use crate::snapshot::live::Wanted;
use crate::tui::Options;
use std::sync::Arc;
use std::time::Duration;

/// Could not do it.
pub const FAILED: u8 = 2;
/// Something was found: a fault, a difference.
pub const FINDINGS: u8 = 1;

/// `0.1.0 (96aa12b3c4, x86_64-unknown-linux-gnu, static)`: version, commit, for what it was built.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("KPTOP_BUILD"), ")");

/// top for Kubernetes Services on one node.
///
/// Reads what kube-proxy left in the kernel and shows every Service, its backends and their traffic. Runs no
/// other program and writes nothing to the node. Needs root (CAP_NET_ADMIN) to see rules and flows.
#[derive(Debug, Parser)]
#[command(name = "kptop", version = VERSION, max_term_width = 100, subcommand_precedence_over_arg = true)]
pub struct Cli {
    #[command(flatten)]
    source: SourceArgs,
    /// Seconds between readings [default: 1, or the config file's].
    #[arg(long, short = 'd', global = true, value_name = "SECONDS", value_parser = values::parse_interval)]
    interval: Option<Duration>,
    /// Colours [default: dark, or the config file's]; NO_COLOR wins.
    #[arg(long, global = true, value_enum, value_name = "THEME")]
    theme: Option<ThemeName>,
    /// The pane that is shown first [default: services, or the config file's].
    #[arg(long, global = true, value_enum, value_name = "PANE")]
    pane: Option<PaneName>,
    /// Config file [default: ~/.config/kptop/config.toml].
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Read everything once and print it.
    Snapshot(snapshot::SnapshotArgs),
    /// Tell what becomes of a packet to a Service or address: its way through the rules, step by step, and its ends.
    Explain(explain::ExplainArgs),
    /// Set the modes of kube-proxy side by side for the Services of this node: rules, memory, what a lookup costs; and what
    /// a move would change.
    Compare(compare::CompareArgs),
    /// Look for what makes traffic die, with proof: every known cause is found or ruled out. Exit code 1 on warnings or worse.
    Doctor(doctor::DoctorArgs),
    /// Tell what changes, a line a change: Services, frontends, backends, weights, modes, rules, counters, sysctls, limits.
    Watch(watch::WatchArgs),
    /// Watch packets die: the kernel's drop monitor with its reasons, by Service; and what counters tell. Switches the monitor
    /// on for that time, and off again. Exit code 1 where packets of Services died.
    Drops(drops::DropsArgs),
    #[command(name = crate::snapshot::GUARD, hide = true)]
    Guard(GuardArgs),
    /// Record readings into a file: to look at later, or elsewhere, with replay and every other command.
    Record(record::RecordArgs),
    /// Show a recording: the whole screen, with time travel.
    Replay(record::ReplayArgs),
    /// Serve what is read as metrics for Prometheus: http://ADDRESS:PORT/metrics.
    Serve(serve::ServeArgs),
    /// Measure what a lookup costs in this kernel, in private network namespaces, and keep it.
    Calibrate(calibrate::CalibrateArgs),
    /// Load an HTTP server behind a Service under each mode, in private network namespaces, and print what clients see.
    Bench(bench::BenchArgs),
    /// Show a believable shop in private network namespaces: needs no cluster and no root.
    Demo(demo::DemoArgs),
    /// Draw one frame of the screen into an SVG file.
    Shot(shot::ShotArgs),
    /// Print the commented default of the config file.
    Config(config::ConfigArgs),
    /// Print completions of the command line for a shell.
    Completions(pages::CompletionsArgs),
    /// Print the man page, or write all of them into a directory.
    Man(pages::ManArgs),
}

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Columns for people.
    Table,
    /// The contract for scripts.
    Json,
    /// Services with every column, for spreadsheets.
    Csv,
}

/// How to print what is not a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum TextOrJson {
    /// For people.
    Text,
    /// The contract for scripts.
    Json,
}

impl TextOrJson {
    fn form(self) -> Form {
        match self {
            TextOrJson::Text => Form::Text,
            TextOrJson::Json => Form::Json,
        }
    }
}

/// Flags over the config file.
fn options(cli: &Cli) -> Result<Options, String> {
    let mut config = config::load(cli.config.as_deref())?;
    config.theme = cli.theme.or(config.theme);
    config.pane = cli.pane.or(config.pane);
    let interval = cli.interval.or(config.interval).unwrap_or(Duration::from_secs(1));
    Ok(Options { interval, config, prices: prices() })
}

/// Prices of lookups: those that `kptop calibrate` kept for this kernel and CPU, else the defaults.
fn prices() -> Arc<Prices> {
    let text = calibrate::default_file().and_then(|f| std::fs::read_to_string(f).ok());
    let kept: Option<Calibration> = text.and_then(|t| serde_json::from_str(&t).ok());
    let (kernel, cpu) = source::identity();
    Arc::new(Prices::choose(kept, kernel.as_deref(), cpu.as_deref()))
}

/// What a command does to the node and its process.
#[derive(Clone, Copy, Debug, Default)]
struct Needs {
    /// The node is read and nothing else: no lab, and no file that is made later.
    reads_only: bool,
    /// The drop monitor is, or can be, asked for.
    monitor: bool,
    /// It may start a second process of itself, as a guard of the drop monitor.
    starts_itself: bool,
}

impl Needs {
    /// To read this node, or to make a demo.
    fn reading(demo: Option<modes::DemoMode>) -> Needs {
        Needs { reads_only: demo.is_none(), ..Needs::default() }
    }
}

/// A command.
trait Execute {
    /// What it needs.
    fn needs(&self) -> Needs {
        Needs::default()
    }

    /// Does it; gives the exit code.
    fn run(&self, cli: &Cli) -> Result<ExitCode, String>;
}

impl Command {
    fn of(&self) -> &dyn Execute {
        match self {
            Command::Snapshot(a) => a,
            Command::Explain(a) => a,
            Command::Compare(a) => a,
            Command::Doctor(a) => a,
            Command::Watch(a) => a,
            Command::Drops(a) => a,
            Command::Guard(a) => a,
            Command::Record(a) => a,
            Command::Replay(a) => a,
            Command::Serve(a) => a,
            Command::Calibrate(a) => a,
            Command::Bench(a) => a,
            Command::Demo(a) => a,
            Command::Shot(a) => a,
            Command::Config(a) => a,
            Command::Completions(a) => a,
            Command::Man(a) => a,
        }
    }
}

/// Switches the drop monitor off for a kptop that was killed.
#[derive(Debug, Args)]
struct GuardArgs {
    before: String,
}

impl Execute for GuardArgs {
    fn run(&self, _: &Cli) -> Result<ExitCode, String> {
        source::give_up(keep_reading(false, false));
        crate::snapshot::guard(&self.before).map(|()| ExitCode::SUCCESS).map_err(|e| with_hint(&e))
    }
}

/// Runs the program; gives its exit code: 0 fine, 1 findings or differences, 2 could not do it.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let command: &dyn Execute = match &cli.command {
        Some(command) => command.of(),
        None => &top::Top,
    };
    let needs = command.needs();
    let monitor = needs.monitor && cli.source.from.is_empty();
    if needs.reads_only {
        source::give_up(keep_reading(cli.source.netns.is_some(), monitor));
    }
    if !monitor && !needs.starts_itself {
        // A kernel without seccomp: there is no program that kptop would run.
        let _ = run_no_program();
    }
    match command.run(&cli) {
        Ok(code) => code,
        Err(message) => {
            say(&message);
            ExitCode::from(FAILED)
        }
    }
}

/// Prints lines for people through a closure. A closed pipe is not an error: the reader has seen enough.
fn print(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), String> {
    print_as(Form::Text, write)
}

/// The same of what has another form. Nothing that comes from outside reaches the terminal unescaped.
fn print_as(form: Form, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), String> {
    let out = io::BufWriter::with_capacity(64 * 1024, io::stdout().lock());
    let mut out = output::Plain::new(out, form);
    match write(&mut out).and_then(|()| out.flush()) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(e) => Err(format!("writing the output: {e}")),
        Ok(()) => Ok(()),
    }
}

/// Says something beside the output, on standard error.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "kptop: {}", output::visible(text));
}

/// Reads once, or twice for rates, and prints; gives the exit code.
fn print_snapshot(
    mut source: Source,
    names: Names,
    format: Format,
    over: Option<Duration>,
) -> Result<ExitCode, String> {
    let mut observer = Observer::new(names).priced(prices()).without_findings();
    let mut snapshot = source.snapshot(Wanted::ALL)?;
    if let Some(over) = over {
        observer.observe(snapshot);
        source.pass_to_end(over);
        snapshot = source.snapshot(Wanted::ALL)?;
    }
    drop(source); // its buffer is as large as the largest table
    let view = observer.observe(snapshot);
    let indented = io::stdout().is_terminal();
    let width = crate::window::width();
    let form = match format {
        Format::Table => Form::Text,
        Format::Json => Form::Json,
        Format::Csv => Form::Csv,
    };
    print_as(form, |out| match format {
        Format::Table => output::write_snapshot_table(&view, over.is_some(), width, out),
        Format::Json => output::write_snapshot_json(&view, indented, out),
        Format::Csv => output::write_snapshot_csv(&view, out),
    })?;
    if format == Format::Csv {
        for u in view.snapshot.failed() {
            say(&output::one_line(&format!("not read: {}: {}", u.what, u.why)));
        }
    }
    let read = view.snapshot.anything_read();
    // The process ends here: giving back a few hundred thousand pieces of memory one by one would be for nothing.
    std::mem::forget((view, observer));
    Ok(if read { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// An error with what to do next.
fn with_hint(e: &crate::snapshot::Error) -> String {
    match e.hint() {
        Some(hint) if !e.to_string().contains(&hint) => format!("{e}\n  -> {hint}"),
        _ => e.to_string(),
    }
}
