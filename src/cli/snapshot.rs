//! `kptop snapshot`

use super::{Cli, Execute, Format, Needs, Source, options, print_snapshot};
use clap::Args;
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
        Needs::reading(None)
    }

    fn run(&self, cli: &Cli) -> Result<ExitCode, String> {
        let (source, args) = (&cli.source, self);
        // It needs no choices, but a wrong file that was named is a mistake all the same.
        if cli.config.is_some() {
            options(cli)?;
        }
        let names = source.names()?;
        let source = Source::open(source, None, args.over.unwrap_or_default())?;
        source.wait_for_names();
        print_snapshot(source, names, args.output, args.over)
    }
}
