//! What lies over the panes and has the keys: help, commands by name, the choice of columns.

mod columns;
mod help;
mod palette;
mod popup;

pub(super) use columns::Columns;
pub(super) use help::Help;
pub(super) use palette::Palette;

use super::keys::{Action, action};
use super::theme::Theme;
use crossterm::event::{KeyCode, KeyEvent};
use ratatui::Frame;
use ratatui::layout::Rect;

/// What an overlay does after a key or a click.
#[derive(Debug)]
pub(super) enum Outcome {
    Stay,
    Close,
    /// Close, and do this.
    Run(Action),
    /// Show these columns of Services, in order; `None` for the default.
    Columns(Option<Vec<usize>>),
}

/// One of them.
#[derive(Debug)]
pub(super) enum Overlay {
    Help(Help),
    Palette(Palette),
    Columns(Columns),
}

impl Overlay {
    pub(super) fn on_key(&mut self, event: KeyEvent) -> Outcome {
        match self {
            Overlay::Help(o) => o.on_key(action(event)),
            Overlay::Palette(o) => o.on_key(event),
            Overlay::Columns(o) => o.on_key(event, action(event)),
        }
    }

    /// The wheel, by so many lines, or a click.
    pub(super) fn on_mouse(&mut self, x: u16, y: u16, wheel: Option<isize>) -> Outcome {
        match self {
            Overlay::Help(_) => wheel.map_or(Outcome::Close, |_| Outcome::Stay),
            Overlay::Palette(o) => o.on_mouse(x, y, wheel),
            Overlay::Columns(o) => o.on_mouse(x, y, wheel),
        }
    }

    pub(super) fn draw(&mut self, frame: &mut Frame<'_>, theme: Theme, area: Rect) {
        match self {
            Overlay::Help(o) => o.draw(frame, theme, area),
            Overlay::Palette(o) => o.draw(frame, theme, area),
            Overlay::Columns(o) => o.draw(frame, theme, area),
        }
    }
}

/// Lines that a key moves a list by.
fn step(event: KeyEvent) -> Option<isize> {
    match event.code {
        KeyCode::Down => Some(1),
        KeyCode::Up => Some(-1),
        KeyCode::PageDown => Some(10),
        KeyCode::PageUp => Some(-10),
        _ => None,
    }
}
