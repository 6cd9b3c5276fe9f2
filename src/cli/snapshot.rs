//! `kptop snapshot`

use super::execute::{Execute, Needs};
use super::globals::{Globals, options};
use super::prices::prices;
use super::print::Format;
use super::print::{print_as, say};
use super::source::Source;
use crate::exit::FAILED;
use crate::observe::Observer;
use crate::output;
use crate::output::Form;
use crate::proxy::Names;
use crate::snapshot::live::Wanted;
use clap::Args;
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

#[derive(Debug, Args)]
pub(super) struct SnapshotArgs {
    /// How to print.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Format,
    /// Read twice, this many seconds apart, for figures a second (in the table and in CSV).
    #[arg(long, value_name = "SECONDS", value_parser = super::values::parse_interval)]
    over: Option<Duration>,
}

impl Execute for SnapshotArgs {
    fn needs(&self) -> Needs {
        Needs::reading(false)
    }

    fn run(&self, globals: &Globals) -> Result<ExitCode, String> {
        let (source, args) = (&globals.source, self);
        // It needs no choices, but a wrong file that was named is a mistake all the same.
        if globals.config.is_some() {
            options(globals)?;
        }
        let names = source.names()?;
        let mut read = Source::open(source, None, args.over.unwrap_or_default())?;
        if args.over.is_some() {
            read = read.counting_new_flows(source.new_flows);
        }
        let source = read;
        source.wait_for_names();
        print_snapshot(source, names, args.output, args.over)
    }
}

/// Reads once, or twice for rates, and prints; gives the exit code.
pub(super) fn print_snapshot(
    mut source: Source,
    names: Names,
    format: Format,
    over: Option<Duration>,
) -> Result<ExitCode, String> {
    let mut observer = Observer::new(names).priced(prices()).at_once();
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
