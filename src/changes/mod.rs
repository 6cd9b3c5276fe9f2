//! What changed between two snapshots: the first question of every incident. Pure.

mod change;
mod log;
mod services;
mod tables;

pub use change::{About, Change, What};
use change::{Found, pairs};
pub use log::{Changes, compare};
