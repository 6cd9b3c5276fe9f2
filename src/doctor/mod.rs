//! What is wrong, with proof: one file per cause. Evidence in, findings out; pure.
//!
//! What rises is measured against an earlier snapshot, some seconds ago: a counter that does not move is history.

mod causes;
mod context;
mod examination;
mod facts;
mod finding;
mod group;
mod losses;
mod spread;
mod steady;
mod syncs;

pub use examination::{Examination, Unchecked, about, causes, examine};
pub use facts::{Before, Facts, Had};
pub use finding::{Finding, Severity, Subject};
pub use group::SHOWN;
pub use losses::cause_of;
pub(crate) use losses::{Taken, taken};
pub use spread::Spread;
pub use steady::{QUIET, Steady};
