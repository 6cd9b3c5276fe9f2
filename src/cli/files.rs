//! `kptop files`

use super::execute::Execute;
use super::globals::Globals;
use super::print::{TextOrJson, print_as};
use super::source;
use crate::output;
use clap::Args;
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(super) struct FilesArgs {
    /// How to print.
    #[arg(short, long, value_enum, default_value = "text")]
    output: TextOrJson,
}

impl Execute for FilesArgs {
    fn run(&self, globals: &Globals) -> Result<ExitCode, String> {
        if globals.source.from.is_empty() {
            return Err("there are no files to look at\n  -> kptop --from FILES files".into());
        }
        let mut recording = source::files(&globals.source)?;
        let last = recording.len() - 1;
        let snapshot = recording.snapshot(last)?;
        if snapshot.parts.is_empty() {
            return Err(
                "this is a recording of kptop: all of it is used\n  -> kptop replay FILE --info".into()
            );
        }
        print_as(self.output.form(), |out| match self.output {
            TextOrJson::Text => output::write_files(&snapshot, out),
            TextOrJson::Json => output::write_files_json(&snapshot, out),
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
