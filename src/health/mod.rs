//! How each Service is: the one place where all that is known meets. Computed once per view from what the rules say, what
//! walks found lost, and the findings that name a Service; every frontend shows this and nothing else.

mod changed;
mod judge;
mod state;

pub use changed::changed;
pub use judge::{Health, written};
pub use state::{HealthState, LostBackend, ServiceHealth};
