//! `kptop` itself: the live screen.

use super::{SourceArgs, explain, names};
use crate::proxy::Names;
use crate::snapshot::Error;
use crate::snapshot::live::Live;
use crate::tui::{self, Options, ScreenError};
use std::process::ExitCode;

pub(super) fn run(source: &SourceArgs, options: Options) -> Result<ExitCode, String> {
    let names = names(source)?;
    let spec = source.netns.clone();
    run_in(move || Live::open(spec.as_deref()), names, options)
}

pub(super) fn run_in(
    open: impl FnOnce() -> Result<Live, Error> + Send + 'static,
    names: Names,
    options: Options,
) -> Result<ExitCode, String> {
    match tui::run(open, names, options) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(ScreenError::Source(e)) => Err(explain(&e)),
        Err(e) => Err(e.to_string()),
    }
}
