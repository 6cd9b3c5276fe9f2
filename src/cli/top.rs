//! `kptop` itself: the live screen.

use super::source::tell_cut;
use super::{Cli, Execute, Needs, options, with_hint};
use crate::proxy::Names;
use crate::tui::{self, Input, Options, ScreenError};
use std::process::ExitCode;

/// The screen: what kptop does without a command.
#[derive(Debug)]
pub(super) struct Top;

impl Execute for Top {
    fn needs(&self) -> Needs {
        Needs { monitor: true, ..Needs::reading(None) }
    }

    fn run(&self, cli: &Cli) -> Result<ExitCode, String> {
        let (source, options) = (&cli.source, options(cli)?);
        show(source.input()?, source.names()?, options)
    }
}

pub(super) fn show(input: Input, names: Names, options: Options) -> Result<ExitCode, String> {
    if let Input::Recording(recording, _) = &input {
        tell_cut(recording);
    }
    match tui::run(input, names, options) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(ScreenError::Source(e)) => Err(with_hint(&e)),
        Err(e) => Err(e.to_string()),
    }
}
