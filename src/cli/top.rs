//! `kptop` itself: the live screen.

use super::{SourceArgs, explain, names};
use crate::kernel::Result as KernelResult;
use crate::proxy::Names;
use crate::snapshot::live::Live;
use std::process::ExitCode;
use std::time::Duration;

pub(super) fn run(source: &SourceArgs, interval: Duration) -> Result<ExitCode, String> {
    let names = names(source)?;
    let spec = source.netns.clone();
    run_in(move || Live::open(spec.as_deref()), names, interval)
}

pub(super) fn run_in(
    _open: impl FnOnce() -> KernelResult<Live> + Send + 'static,
    _names: Names,
    _interval: Duration,
) -> Result<ExitCode, String> {
    let _ = explain;
    Err("the screen comes with the next commit".into())
}
