//! Who reaches which Service, and what is lost on the way: packets of every kind of sender are walked to each frontend,
//! once after each change of the rules.
//!
//! Packets come from a pod of this node, from the node itself, from outside, and from another node that translated them
//! already to a backend here. Where the snapshot leaves something open, all answers are followed; only what is lost under
//! each of them is a certain loss.

mod certain;
mod loss;
mod senders;
mod survey;
mod ways;

pub use loss::{ALL, Loss, LossPart, Taker, taker_words};
pub use senders::{SenderKind, Senders};
pub use survey::{Missing, PathCost, Reach, ServiceReach, survey};
pub use ways::{BackendWay, BackendWays};
