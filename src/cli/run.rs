//! The command line as a whole.

use super::execute::Execute;
use super::globals::Globals;
use super::print::{say, with_hint};
#[cfg(feature = "lab")]
use super::{bench, calibrate, demo};
use super::{
    collect, compare, config, diff, doctor, drops, explain, files, fleet, pages, record, serve, shot,
    snapshot, source, top, watch,
};
use crate::exit::FAILED;
use crate::snapshot::facts::{keep_reading, learn_names, run_no_program};
use clap::{Args, CommandFactory, Parser, Subcommand};
use std::process::ExitCode;

/// `0.1.0 (96aa12b3c4, x86_64-unknown-linux-gnu, static)`: version, commit, for what it was built.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("KPTOP_BUILD"), ")");

/// top for Kubernetes Services on one node.
///
/// Reads what kube-proxy left in the kernel and shows every Service, its backends and their traffic. Runs no
/// other program and writes nothing to the node. Needs root (CAP_NET_ADMIN) to see rules and flows.
#[derive(Debug, Parser)]
#[command(name = "kptop", version = VERSION, max_term_width = 100, subcommand_precedence_over_arg = true)]
struct Cli {
    #[command(flatten)]
    globals: Globals,
    /// Open this first: a Service (shop/cart), an address (10.96.2.9), with a port or a port alone (30443).
    #[arg(value_name = "PLACE", value_parser = place)]
    place: Option<String>,
    #[command(subcommand)]
    command: Option<Command>,
}

/// What may be a place; a word alone is a command that was not typed well.
fn place(text: &str) -> Result<String, String> {
    let is_place = text.contains(['/', '.', ':']) || text.parse::<u16>().is_ok();
    if is_place {
        return Ok(text.to_string());
    }
    let command = Cli::command();
    let near = command.get_subcommands().map(clap::Command::get_name).filter(|n| !n.starts_with("--"));
    let near = near.max_by_key(|n| n.chars().zip(text.chars()).take_while(|(a, b)| a == b).count());
    Err(format!(
        "neither a command{} nor a place (shop/cart, 10.96.2.9, 30443); `kptop --help` has all commands",
        near.filter(|n| n.chars().next() == text.chars().next())
            .map_or(String::new(), |n| format!(" (is it `{n}`?)"))
    ))
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Read everything once and print it.
    Snapshot(snapshot::SnapshotArgs),
    /// Show what happens to a packet to a Service or address: its way through the rules, step by step, and its ends.
    Explain(explain::ExplainArgs),
    /// Set the modes of kube-proxy side by side for the Services of this node: rules, memory, what a lookup costs; and what
    /// a move would change.
    Compare(compare::CompareArgs),
    /// Look for what makes traffic die, with proof: every known cause is found or ruled out. Exit code 1 on warnings or worse.
    Doctor(doctor::DoctorArgs),
    /// Print what changes, a line a change: Services, frontends, backends, weights, modes, rules, counters, sysctls, limits.
    Watch(watch::WatchArgs),
    /// Watch packets die: the kernel's drop monitor with its reasons, by Service; and what counters report. Switches the monitor
    /// on for that time, and off again. Exit code 1 where packets of Services died.
    Drops(drops::DropsArgs),
    #[command(name = crate::snapshot::GUARD, hide = true)]
    Guard(GuardArgs),
    /// Record readings into a file: to look at later, or elsewhere, with replay and every other command.
    Record(record::RecordArgs),
    /// Gather all that kptop reads of this node into one archive, to give to who helps: `kptop --from FILE` shows it.
    Collect(collect::CollectArgs),
    /// Say what each of the files of --from was taken for, what was used of it, and what is still missing.
    Files(files::FilesArgs),
    /// Set nodes side by side: Services, endpoints, rules and settings that differ, and which node is the odd one. Exit code 1
    /// where they differ.
    Diff(diff::DiffArgs),
    /// Show the Services of all nodes in one screen, out of what Prometheus gathered of `kptop serve`: which lose traffic, on which
    /// node, and which node differs from the others. In print: exit code 1 where one does.
    Fleet(fleet::FleetArgs),
    /// Show a recording: the whole screen, with time travel.
    Replay(record::ReplayArgs),
    /// Serve what is read as metrics for Prometheus: http://ADDRESS:PORT/metrics.
    Serve(serve::ServeArgs),
    /// Measure what a lookup costs in this kernel, in private network namespaces, and keep it.
    #[cfg(feature = "lab")]
    Calibrate(calibrate::CalibrateArgs),
    /// Load an HTTP server behind a Service under each mode, in private network namespaces, and print what clients see.
    #[cfg(feature = "lab")]
    Bench(bench::BenchArgs),
    /// Show a believable shop in private network namespaces: needs no cluster and no root.
    #[cfg(feature = "lab")]
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
            Command::Collect(a) => a,
            Command::Files(a) => a,
            Command::Diff(a) => a,
            Command::Fleet(a) => a,
            Command::Replay(a) => a,
            Command::Serve(a) => a,
            #[cfg(feature = "lab")]
            Command::Calibrate(a) => a,
            #[cfg(feature = "lab")]
            Command::Bench(a) => a,
            #[cfg(feature = "lab")]
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
    fn run(&self, _: &Globals) -> Result<ExitCode, String> {
        source::give_up(keep_reading(false, false));
        crate::snapshot::guard(&self.before).map(|()| ExitCode::SUCCESS).map_err(|e| with_hint(&e))
    }
}

/// Runs the program; gives its exit code: 0 fine, 1 findings or differences, 2 could not do it.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    if let (Some(place), Some(_)) = (&cli.place, &cli.command) {
        say(&format!("`{place}` is opened on the screen only: leave out the place, or the command"));
        return ExitCode::from(FAILED);
    }
    let command: &dyn Execute = match &cli.command {
        Some(command) => command.of(),
        None => &top::Top { open: cli.place.clone() },
    };
    let needs = command.needs();
    let monitor = needs.monitor && cli.globals.source.from.is_empty();
    if needs.reads_only {
        if cli.globals.source.from.is_empty() {
            // Names of eBPF programs need what is given up next.
            learn_names();
        }
        source::give_up(keep_reading(cli.globals.source.netns.is_some(), monitor));
    }
    if !monitor && !needs.starts_itself {
        // A kernel without seccomp: there is no program that kptop would run.
        let _ = run_no_program();
    }
    match command.run(&cli.globals) {
        Ok(code) => code,
        Err(message) => {
            say(&message);
            ExitCode::from(FAILED)
        }
    }
}

impl Execute for pages::CompletionsArgs {
    fn run(&self, _: &Globals) -> Result<ExitCode, String> {
        self.print(Cli::command()).map(|()| ExitCode::SUCCESS)
    }
}

impl Execute for pages::ManArgs {
    fn run(&self, _: &Globals) -> Result<ExitCode, String> {
        self.print(Cli::command()).map(|()| ExitCode::SUCCESS)
    }
}
