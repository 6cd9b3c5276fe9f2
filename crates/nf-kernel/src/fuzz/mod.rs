//! Fuzzing: valid bytes, altered at random ([`run`]), and what is done with bytes of the kernel ([`messages`]).

mod messages;
mod mutate;

pub use messages::messages;
pub use mutate::{Random, run};
