//! `kptop snapshot`

use super::{Format, SourceArgs, explain, names, print_snapshot};
use crate::snapshot::live::Live;
use clap::Args;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Debug, Args)]
pub(super) struct SnapshotArgs {
    /// How to print.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Format,
    /// Read twice, this many seconds apart, for figures a second (in the table and in CSV).
    #[arg(long, value_name = "SECONDS", value_parser = super::parse_interval)]
    over: Option<Duration>,
}

pub(super) fn run(source: &SourceArgs, args: &SnapshotArgs) -> Result<ExitCode, String> {
    let names = names(source)?;
    let live = Live::open(source.netns.as_deref()).map_err(|e| explain(&e))?;
    print_snapshot(live, names, args.output, args.over)
}
