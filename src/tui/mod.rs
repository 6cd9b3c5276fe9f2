//! The screen: keys and readings in, frames out. Reading runs on a thread of its own, so that no read ever holds up a
//! key or a frame.
//!
//! | file | holds |
//! |---|---|
//! | `run` | the loop: keys, signals, readings |
//! | `reader` | the thread that reads, and what the screen asks of it |
//! | `app` | what is shown, and what a key does |
//! | `pane`, `panes` | the trait of a pane, and one file a pane |
//! | `background` | what takes long, worked out beside the screen |
//! | `overlays` | help, commands by name, choice of columns |
//! | `draw`, `frame`, `widgets`, `theme` | how a frame is made |
//! | `terminal`, `wire` | how it reaches the terminal |
//! | `fleet` | the screen of many nodes |
//! | `shot`, `svg` | a frame as a picture |

mod app;
mod background;
mod draw;
mod error;
mod fleet;
mod frame;
mod keys;
mod list;
mod overlays;
mod palette;
mod pane;
mod panes;
mod places;
mod reader;
mod request;
mod run;
mod section;
mod shot;
mod strip;
mod svg;
mod terminal;
mod text_filter;
mod theme;
mod widgets;
mod wire;

pub use app::{App, AppEvent};
pub use draw::draw;
pub use error::ScreenError;
pub use fleet::{FleetAnswer, FleetEvent, FleetOptions, FleetQuestion, FleetScreen, draw_fleet, run_fleet};
pub use reader::{Input, ReaderCommand, Update};
pub use run::{Options, run};
pub use shot::{Keys, Shot, shot, shot_of};
pub use svg::svg;
pub use theme::Theme;
pub use wire::Wire;
