//! Looking for every cause.

use super::causes::ALL;
use super::context::CheckContext;
use super::facts::Facts;
use super::finding::{Finding, Severity};
use crate::snapshot::SourceId;

/// A cause that could not be looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unchecked {
    /// The check.
    pub id: &'static str,
    /// The source that was not read, where that is why.
    pub source: Option<SourceId>,
    /// Why, for people.
    pub why: String,
}

/// What an examination gave.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Examination {
    /// What is wrong, the worst first.
    pub findings: Vec<Finding>,
    /// What could not be looked for.
    pub unchecked: Vec<Unchecked>,
}

impl Examination {
    /// True where something is a warning or worse.
    pub fn is_alarming(&self) -> bool {
        self.findings.iter().any(|f| f.severity <= Severity::Warning)
    }

    /// Causes that were looked for.
    pub fn checked(&self) -> impl Iterator<Item = &'static str> {
        causes().filter(|id| !self.unchecked.iter().any(|u| u.id == *id))
    }
}

/// The causes that are looked for.
pub fn causes() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|c| c.id)
}

/// Looks for every cause; the worst first.
pub fn examine(facts: &Facts<'_>) -> Examination {
    let cx = CheckContext::new(*facts);
    let mut done = Examination::default();
    for check in ALL {
        let known = done.findings.len();
        let looked = cx.may(&check).and_then(|()| (check.run)(&cx, &mut done.findings));
        let inconclusive = || cx.inconclusive(&check).filter(|_| done.findings.len() == known);
        if let Some(n) = looked.err().or_else(inconclusive) {
            done.unchecked.push(Unchecked { id: check.id, source: n.source, why: n.why.into() });
        }
    }
    done.findings.sort_by_key(|f| f.severity);
    done
}
