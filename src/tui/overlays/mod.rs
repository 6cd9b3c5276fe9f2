//! What lies over the panes and has the keys: help, commands by name, choices out of a list, the choice of columns.

mod columns;
mod help;
mod menu;
mod outcome;
mod overlay;
mod palette;
mod popup;

pub(super) use columns::Columns;
pub(super) use help::Help;
pub(super) use menu::{Item, Menu};
pub(super) use outcome::Outcome;
pub(super) use overlay::Overlay;
pub(super) use palette::Palette;
