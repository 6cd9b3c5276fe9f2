//! `kptop` itself: the live screen.

use super::execute::{Execute, Needs};
use super::globals::{Globals, options};
use super::print::with_hint;
use super::source::tell_cut;
use crate::proxy::Names;
use crate::tui::{self, Input, Options, ScreenError};
use std::process::ExitCode;

/// The screen: what kptop does without a command.
#[derive(Debug)]
pub(super) struct Top {
    /// The place that is opened first.
    pub(super) open: Option<String>,
}

impl Execute for Top {
    fn needs(&self) -> Needs {
        Needs { monitor: true, ..Needs::reading(false) }
    }

    fn run(&self, globals: &Globals) -> Result<ExitCode, String> {
        let (source, options) = (&globals.source, Options { open: self.open.clone(), ..options(globals)? });
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
