//! `kptop snapshot`

use super::{Format, Source, SourceArgs, print_snapshot};
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
    let names = source.names()?;
    let source = Source::open(source, None, args.over.unwrap_or_default())?;
    source.wait_for_names();
    print_snapshot(source, names, args.output, args.over)
}
