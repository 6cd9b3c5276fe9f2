//! Why there is no screen.

use crate::snapshot::Error;
use std::io;

/// Why the screen could not be shown.
#[derive(Debug, thiserror::Error)]
pub enum ScreenError {
    /// No terminal.
    #[error("the screen needs a terminal (to print once instead: kptop snapshot)")]
    NoTerminal,
    /// The terminal failed.
    #[error("drawing on the terminal: {0}")]
    Io(#[from] io::Error),
    /// The terminal went away.
    #[error("the terminal is gone")]
    TerminalGone,
    /// The source could not be opened.
    #[error("{0}")]
    Source(#[from] Error),
    /// The recording could not be read.
    #[error("{0}")]
    Recording(String),
}
