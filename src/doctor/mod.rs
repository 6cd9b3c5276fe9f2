//! What is wrong, with proof: one file per cause. Evidence in, findings out; pure.
//!
//! What rises is measured against an earlier snapshot, some seconds ago: a counter that does not move is history.

mod causes;
mod context;
mod dead_ends;
mod examination;
mod facts;
mod finding;

pub use dead_ends::{DeadEnd, dead_ends};
pub use examination::{Examination, Unchecked, causes, examine};
pub use facts::{Before, Facts};
pub use finding::{Finding, Severity, Subject};
