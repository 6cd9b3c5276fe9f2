//! `kptop snapshot`

use super::{Format, SourceArgs, explain, names, print_snapshot};
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
    print_snapshot(snapshot, &names, args.output)
}
