//! What lies over the panes: one of these.

use super::outcome::Outcome;
use super::{Columns, Help, Menu, Palette};
use crate::tui::keys::action;
use crate::tui::theme::Theme;
use crossterm::event::KeyEvent;
use ratatui::Frame;
use ratatui::layout::Rect;

/// One of them.
#[derive(Debug)]
pub(in crate::tui) enum Overlay {
    Help(Help),
    Palette(Palette),
    Columns(Columns),
    Menu(Menu),
}

impl Overlay {
    pub(in crate::tui) fn on_key(&mut self, event: KeyEvent) -> Outcome {
        match self {
            Overlay::Help(o) => o.on_key(action(event)),
            Overlay::Palette(o) => o.on_key(event),
            Overlay::Columns(o) => o.on_key(event, action(event)),
            Overlay::Menu(o) => o.on_key(event),
        }
    }

    /// The wheel, by so many lines, or a click.
    pub(in crate::tui) fn on_mouse(&mut self, x: u16, y: u16, wheel: Option<isize>) -> Outcome {
        match self {
            Overlay::Help(o) => wheel.map_or(Outcome::Close, |by| o.scroll(by)),
            Overlay::Palette(o) => o.on_mouse(x, y, wheel),
            Overlay::Columns(o) => o.on_mouse(x, y, wheel),
            Overlay::Menu(o) => o.on_mouse(x, y, wheel),
        }
    }

    pub(in crate::tui) fn draw(&mut self, frame: &mut Frame<'_>, theme: Theme, area: Rect) {
        match self {
            Overlay::Help(o) => o.draw(frame, theme, area),
            Overlay::Palette(o) => o.draw(frame, theme, area),
            Overlay::Columns(o) => o.draw(frame, theme, area),
            Overlay::Menu(o) => o.draw(frame, theme, area),
        }
    }
}
