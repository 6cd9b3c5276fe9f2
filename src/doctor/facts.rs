//! What the doctor looks at.

use crate::proxy::{ModeState, Model};
use crate::rates::{NodeRates, Rates};
use crate::reach::{BackendWays, Reach};
use crate::snapshot::Snapshot;

/// What a cause of lost traffic may look at.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Facts of the instant.
    pub snapshot: &'a Snapshot,
    /// Services.
    pub model: &'a Model,
    /// Rates of each Service, in the model's order.
    pub rates: &'a Rates,
    /// Rates of the node.
    pub node: &'a NodeRates,
    /// How it was some seconds ago.
    pub before: Option<Before<'a>>,
    /// How it was at the reading before: for tables whose rules are others since `before`.
    pub last: Option<Before<'a>>,
    /// What walks to each Service found, in the model's order.
    pub reach: &'a Reach,
    /// Where packets to each backend go on.
    pub ways: &'a BackendWays,
    /// The last mode that held Services, of each family, since the first reading.
    pub had: &'a [Had],
    /// When the Services were first read as they are now, but for their figures; the epoch where they never were others.
    pub same_since: jiff::Timestamp,
}

/// A mode that held Services.
#[derive(Clone, Debug)]
pub struct Had {
    /// The mode as it was.
    pub mode: ModeState,
    /// When it was seen last.
    pub at: jiff::Timestamp,
}

/// Facts of an earlier instant.
#[derive(Clone, Copy, Debug)]
pub struct Before<'a> {
    /// Facts.
    pub snapshot: &'a Snapshot,
    /// Services.
    pub model: &'a Model,
}
