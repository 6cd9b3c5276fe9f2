//! The state of one Service.

use crate::proxy::RuleRef;

/// How a Service is, the worst first.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, strum::EnumIter, strum::IntoStaticStr,
)]
#[strum(serialize_all = "snake_case")]
pub enum HealthState {
    /// New flows from pods of this node die, or must die.
    Failing,
    /// It has no endpoints: new flows are refused.
    NoEndpoints,
    /// Some new flows die, or those of some senders.
    Degraded,
    /// A local policy leaves some of its addresses without an endpoint on this node: by design.
    NoLocalEndpoints,
    /// Written by a mode that is not in use, or nothing leads there.
    Stale,
    /// Not everything that decides was read.
    #[default]
    Unknown,
    /// Nothing that is known takes its new flows.
    Healthy,
}

impl HealthState {
    /// As in JSON: `no_endpoints`.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// For people: `no endpoints`.
    pub fn words(self) -> &'static str {
        match self {
            HealthState::Failing => "failing",
            HealthState::NoEndpoints => "no endpoints",
            HealthState::Degraded => "degraded",
            HealthState::NoLocalEndpoints => "no local endpoints",
            HealthState::Stale => "stale",
            HealthState::Unknown => "unknown",
            HealthState::Healthy => "healthy",
        }
    }

    /// A symbol: colour is never alone.
    pub fn symbol(self) -> &'static str {
        match self {
            HealthState::Failing => "✗",
            HealthState::NoEndpoints => "✗",
            HealthState::Degraded => "◐",
            HealthState::NoLocalEndpoints => "▼",
            HealthState::Stale => "○",
            HealthState::Unknown => "?",
            HealthState::Healthy => "●",
        }
    }

    /// True where new flows are lost that should not be.
    pub fn is_bad(self) -> bool {
        matches!(self, HealthState::Failing | HealthState::NoEndpoints | HealthState::Degraded)
    }
}

/// A backend whose new flows are lost.
#[derive(Clone, Debug, PartialEq)]
pub struct LostBackend {
    /// The backend, by its place.
    pub backend: usize,
    /// The id of the cause.
    pub cause: &'static str,
    /// The rule that takes them, where it is one.
    pub rule: Option<RuleRef>,
}

/// How one Service is, and why.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServiceHealth {
    /// HealthState.
    pub state: HealthState,
    /// The part of new flows that the rules lose for certain, 0 to 1, over the worst of the senders that were walked; `None`
    /// where that is not known.
    pub lost_share: Option<f64>,
    /// Ids of causes, those that lose most first.
    pub causes: Vec<&'static str>,
    /// Why, for people; empty where it is healthy.
    pub why: String,
    /// Backends whose new flows are lost.
    pub lost_backends: Vec<LostBackend>,
}

impl ServiceHealth {
    /// Of a Service of which nothing is known.
    pub const UNKNOWN: ServiceHealth = ServiceHealth {
        state: HealthState::Unknown,
        lost_share: None,
        causes: Vec::new(),
        why: String::new(),
        lost_backends: Vec::new(),
    };

    /// What takes the new flows of a backend, by its place.
    pub fn lost_backend(&self, backend: usize) -> Option<&LostBackend> {
        self.lost_backends.iter().find(|l| l.backend == backend)
    }
}
