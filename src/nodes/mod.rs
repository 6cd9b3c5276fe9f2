//! Several nodes side by side: what each of them holds of the same Services, and which of them differs from the others.
//!
//! [`NodeState`] is what is compared of a node, from a [`View`](crate::observe::View) or from a snapshot as JSON; [`compare`] finds what
//! differs. What must differ from node to node is left out when a state is made: endpoints of local policies, addresses of node ports,
//! counters.

mod compare;
mod facts;
mod hash;
mod state;

pub use compare::{Comparison, Difference, Odd, compare};
pub use hash::{ServicesHash, endpoints_hash};
pub use state::{Findings, NodeState};
