//! What an overlay does after a key or a click.

use crate::tui::keys::Action;
use crate::tui::request::Request;
use crossterm::event::{KeyCode, KeyEvent};

/// What an overlay does after a key or a click.
#[derive(Debug)]
pub(in crate::tui) enum Outcome {
    Stay,
    Close,
    /// Close, and do this.
    Run(Action),
    /// Close, and go there.
    Go(Request),
    /// Show these columns of Services, in order; `None` for the default.
    Columns(Option<Vec<usize>>),
}

/// Lines that a key moves a list by.
pub(super) fn step(event: KeyEvent) -> Option<isize> {
    match event.code {
        KeyCode::Down => Some(1),
        KeyCode::Up => Some(-1),
        KeyCode::PageDown => Some(10),
        KeyCode::PageUp => Some(-10),
        _ => None,
    }
}
