//! A rate, or why there is none.

use std::hash::Hash;
use std::time::Duration;

/// Why there is no figure. The screen shows this, never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NoRate {
    /// One reading makes no rate.
    FirstSample,
    /// The counter began again: kube-proxy rewrote the chain.
    CounterReset,
    /// `nf_conntrack_acct` is off.
    AccountingOff,
    /// The mode does not count this.
    NotCounted,
    /// Flows ended since, and took what they had counted with them.
    FlowsEnded,
}

impl NoRate {
    /// A few letters for a column.
    pub fn short(self) -> &'static str {
        match self {
            NoRate::FirstSample => "…",
            NoRate::CounterReset => "reset",
            NoRate::AccountingOff => "acct off",
            NoRate::NotCounted => "-",
            NoRate::FlowsEnded => "ended",
        }
    }

    /// A sentence for the help line.
    pub fn sentence(self) -> &'static str {
        match self {
            NoRate::FirstSample => "one reading so far: a rate needs two",
            NoRate::CounterReset => "the counter began again, as kube-proxy rewrote the chain",
            NoRate::AccountingOff => "conntrack counts no bytes (nf_conntrack_acct = 0)",
            NoRate::NotCounted => "this mode does not count it",
            NoRate::FlowsEnded => "flows ended since, and took what they had counted with them",
        }
    }
}

/// A figure per second, or why not.
pub type Rate = Result<f64, NoRate>;

/// A rate in few characters, or the reason why there is none.
pub fn rate_text(rate: Rate) -> String {
    match rate {
        Ok(n) => crate::format::short(n),
        Err(why) => why.short().into(),
    }
}

/// Readings that follow each other faster make no new rate: a key may cause one off the beat, and a few packets more
/// or less would be a jump.
pub(crate) const SHORTEST: Duration = Duration::from_millis(250);
