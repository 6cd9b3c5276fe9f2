//! `kptop snapshot`

use super::{FAILED, Format, SourceArgs, explain, names, print};
use crate::output;
use crate::proxy::Model;
use crate::snapshot::live::{Live, Wanted};
use clap::Args;
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(super) struct SnapshotArgs {
    /// How to print.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Format,
}

pub(super) fn run(source: &SourceArgs, args: &SnapshotArgs) -> Result<ExitCode, String> {
    let names = names(source)?;
    let mut live = Live::open(source.netns.as_deref()).map_err(|e| explain(&e))?;
    let snapshot = live.snapshot(Wanted::ALL);
    drop(live); // its buffer is as large as the largest table
    let model = Model::read(&snapshot, &names);
    print(|out| match args.output {
        Format::Table => output::write_snapshot_table(&snapshot, &model, out),
        Format::Json => output::write_snapshot_json(&snapshot, &model, out),
    })?;
    Ok(if snapshot.anything_read() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}
