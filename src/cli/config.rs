//! `kptop config`

use super::execute::Execute;
use super::globals::Globals;
use super::print::print_as;
use crate::config::commented_default;
use clap::Args;
use std::process::ExitCode;

/// Prints the commented default.
#[derive(Debug, Args)]
pub(super) struct ConfigArgs;

impl Execute for ConfigArgs {
    fn run(&self, _: &Globals) -> Result<ExitCode, String> {
        print_as(crate::output::Form::Own, |out| out.write_all(commented_default().as_bytes()))?;
        Ok(ExitCode::SUCCESS)
    }
}
