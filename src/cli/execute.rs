//! What a command is.

use super::globals::Globals;
use std::process::ExitCode;

/// What a command does to the node and its process.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Needs {
    /// The node is read and nothing else: no lab, and no file that is made later.
    pub(super) reads_only: bool,
    /// The drop monitor is, or can be, asked for.
    pub(super) monitor: bool,
    /// It may start a second process of itself, as a guard of the drop monitor.
    pub(super) starts_itself: bool,
}

impl Needs {
    /// To read this node, or to make a demo.
    pub(super) fn reading(is_demo: bool) -> Needs {
        Needs { reads_only: !is_demo, ..Needs::default() }
    }
}

/// A command.
pub(super) trait Execute {
    /// What it needs.
    fn needs(&self) -> Needs {
        Needs::default()
    }

    /// Does it; gives the exit code.
    fn run(&self, globals: &Globals) -> Result<ExitCode, String>;
}
