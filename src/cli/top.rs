//! `kptop` itself: the live screen.

use super::source::tell_cut;
use super::{SourceArgs, explain};
use crate::proxy::Names;
use crate::tui::{self, Input, Options, ScreenError};
use std::process::ExitCode;

pub(super) fn run(source: &SourceArgs, options: Options) -> Result<ExitCode, String> {
    show(source.input()?, source.names()?, options)
}

pub(super) fn show(input: Input, names: Names, options: Options) -> Result<ExitCode, String> {
    if let Input::Recording(recording, _) = &input {
        tell_cut(recording);
    }
    match tui::run(input, names, options) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(ScreenError::Source(e)) => Err(explain(&e)),
        Err(e) => Err(e.to_string()),
    }
}
