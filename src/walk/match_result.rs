//! What can be said of a condition.

use super::assumption::Question;
use super::trace::End;

/// What can be said of a condition.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum MatchResult {
    /// It does not hold.
    No,
    /// It holds.
    Yes,
    /// Chance decides; how likely it holds.
    Chance(f64),
    /// The snapshot does not say: it holds where the answer is yes (`true`), or where it is no.
    Either(Question, bool),
    /// A random number below this is needed first.
    Draw(u32),
    /// What is not understood may let the packet go on, not match, or end it like this.
    Decides(String, End),
}

impl MatchResult {
    pub(super) fn from(holds: bool) -> MatchResult {
        if holds { MatchResult::Yes } else { MatchResult::No }
    }

    /// A fork on one question.
    pub(super) fn either(what: impl Into<String>) -> MatchResult {
        MatchResult::Either(Question::Other(what.into()), true)
    }

    pub(super) fn invert(self, invert: bool) -> MatchResult {
        if !invert {
            return self;
        }
        match self {
            MatchResult::No => MatchResult::Yes,
            MatchResult::Yes => MatchResult::No,
            MatchResult::Chance(p) => MatchResult::Chance(1.0 - p),
            MatchResult::Either(question, wanted) => MatchResult::Either(question, !wanted),
            MatchResult::Draw(n) => MatchResult::Draw(n),
            MatchResult::Decides(what, end) => MatchResult::Decides(what, end),
        }
    }

    /// What remains of a comparison where the bits of `unknown` are not known: `differs` holds all that differ.
    pub(super) fn of_bits(
        differs: u32,
        unknown: u32,
        invert: bool,
        question: impl FnOnce() -> String,
    ) -> MatchResult {
        if differs & !unknown != 0 {
            return MatchResult::from(invert);
        }
        match unknown {
            0 => MatchResult::from(!invert),
            _ => MatchResult::either(question()).invert(invert),
        }
    }
}
