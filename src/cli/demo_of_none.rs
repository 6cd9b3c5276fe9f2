//! Without the feature `lab` there is no demo to look at: no flag asks for one.

use crate::snapshot::live::Live;
use clap::Args;

#[derive(Clone, Debug, Args)]
pub(super) struct DemoFlag {}

impl DemoFlag {
    pub(super) fn is_given(&self) -> bool {
        false
    }

    pub(super) fn quiet(&self) -> Option<DemoOf> {
        None
    }

    pub(super) fn busy(&self) -> Option<DemoOf> {
        None
    }
}

pub(super) type SizedDemoFlag = DemoFlag;

/// There is none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum DemoOf {}

pub(super) type Running = DemoOf;

impl DemoOf {
    pub(super) fn open(self) -> Result<(Live, Running), String> {
        match self {}
    }
}

pub(super) fn become_root() -> Result<(), String> {
    Ok(())
}
