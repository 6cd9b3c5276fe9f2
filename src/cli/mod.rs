//! Flags, and one small file for each subcommand.

mod demo;
mod snapshot;
mod top;

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use crate::output;
use crate::proxy::{Model, Names};
use crate::snapshot::Snapshot;

/// Could not do it.
pub const FAILED: u8 = 2;

/// top for Kubernetes Services on one node.
///
/// Reads what kube-proxy left in the kernel and shows every Service, its backends and their traffic. Runs no
/// other program and writes nothing to the node. Needs root (CAP_NET_ADMIN) to see rules and flows.
#[derive(Debug, Parser)]
#[command(name = "kptop", version, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    source: SourceArgs,
    /// Seconds between readings.
    #[arg(long, short = 'd', global = true, value_name = "SECONDS", default_value = "1", value_parser = parse_interval)]
    interval: std::time::Duration,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Clone, Debug, Args)]
struct SourceArgs {
    /// Read this network namespace instead of the node's own: a name of `ip netns`, a path, or a process id.
    #[arg(long, global = true, value_name = "NAME|PATH|PID")]
    netns: Option<String>,
    /// File with one `namespace/name[:port]` a line: names for rules whose comments kube-proxy left off.
    #[arg(long, global = true, value_name = "FILE")]
    names: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Read everything once and print it.
    Snapshot(snapshot::SnapshotArgs),
    /// Show a believable shop in private network namespaces: needs no cluster and no root.
    Demo(demo::DemoArgs),
}

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Columns for people.
    Table,
    /// The contract for scripts.
    Json,
}

fn parse_interval(text: &str) -> Result<std::time::Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("`{text}` is not a number of seconds"))?;
    if !(0.1..=3600.0).contains(&seconds) {
        return Err("choose between 0.1 and 3600 seconds".into());
    }
    Ok(std::time::Duration::from_secs_f64(seconds))
}

/// Runs the program; gives its exit code: 0 fine, 1 findings or differences, 2 could not do it.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Some(Command::Snapshot(args)) => snapshot::run(&cli.source, &args),
        Some(Command::Demo(_)) if cli.source.netns.is_some() || cli.source.names.is_some() => {
            Err("the demo makes its own namespaces and names: --netns and --names do not go with it".into())
        }
        Some(Command::Demo(args)) => demo::run(&args, cli.interval),
        None => top::run(&cli.source, cli.interval),
    };
    match result {
        Ok(code) => code,
        Err(message) => {
            let _ = writeln!(io::stderr(), "kptop: {message}");
            ExitCode::from(FAILED)
        }
    }
}

/// Prints through a closure. A closed pipe is not an error: the reader has seen enough.
fn print(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), String> {
    let mut out = io::BufWriter::with_capacity(64 * 1024, io::stdout().lock());
    match write(&mut out).and_then(|()| out.flush()) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(e) => Err(format!("writing the output: {e}")),
        Ok(()) => Ok(()),
    }
}

/// Prints a snapshot; gives the exit code.
fn print_snapshot(snapshot: Snapshot, names: &Names, format: Format) -> Result<ExitCode, String> {
    let model = Model::read(&snapshot, names);
    let indented = io::stdout().is_terminal();
    print(|out| match format {
        Format::Table => output::write_snapshot_table(&snapshot, &model, out),
        Format::Json => output::write_snapshot_json(&snapshot, &model, indented, out),
    })?;
    let read = snapshot.anything_read();
    // The process ends here: giving back a few hundred thousand pieces of memory one by one would be for nothing.
    std::mem::forget((snapshot, model));
    Ok(if read { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// The list of names that was asked for.
fn names(args: &SourceArgs) -> Result<Names, String> {
    let Some(path) = &args.names else { return Ok(Names::default()) };
    let text = std::fs::read_to_string(path).map_err(|e| format!("reading {}: {e}", path.display()))?;
    Names::parse(&text).map_err(|e| format!("{}: {e}", path.display()))
}

/// An error with what to do next.
fn explain(e: &crate::snapshot::Error) -> String {
    match e.hint() {
        Some(hint) if !e.to_string().contains(&hint) => format!("{e}\n  -> {hint}"),
        _ => e.to_string(),
    }
}
