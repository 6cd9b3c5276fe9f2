//! The screen of a fleet: Services and nodes out of what a store of metrics gathered.
//!
//! | file | holds |
//! |---|---|
//! | `run` | the loop: keys and answers in, frames out |
//! | `ask` | the thread that asks the store |
//! | `state` | what is shown, and what a key does |
//! | `draw` | how a frame is made |

mod ask;
mod draw;
mod run;
mod state;

pub use ask::{FleetAnswer, FleetQuestion};
pub use draw::draw_fleet;
pub use run::{FleetOptions, run_fleet};
pub use state::{FleetEvent, FleetScreen};
