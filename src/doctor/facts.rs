//! What the doctor looks at.

use crate::proxy::Model;
use crate::rates::{NodeRates, Rates};
use crate::reach::Reach;
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
}

/// Facts of an earlier instant.
#[derive(Clone, Copy, Debug)]
pub struct Before<'a> {
    /// Facts.
    pub snapshot: &'a Snapshot,
    /// Services.
    pub model: &'a Model,
}
