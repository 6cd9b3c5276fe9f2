//! What can be said of a condition.

use super::trace::End;

/// What can be said of a condition.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Held {
    /// It does not hold.
    No,
    /// It holds.
    Yes,
    /// Chance decides; how likely it holds.
    Odds(f64),
    /// The snapshot does not tell: what must be assumed for it to hold, and for it not to.
    Either(String, String),
    /// A random number below this is needed first.
    Draw(u32),
    /// What is not understood may let the packet go on, not match, or end it like this.
    Decides(String, End),
}

impl Held {
    pub(super) fn from(holds: bool) -> Held {
        if holds { Held::Yes } else { Held::No }
    }

    /// A fork on one question.
    pub(super) fn either(what: impl Into<String>) -> Held {
        let what = what.into();
        Held::Either(what.clone(), format!("not: {what}"))
    }

    pub(super) fn invert(self, invert: bool) -> Held {
        if !invert {
            return self;
        }
        match self {
            Held::No => Held::Yes,
            Held::Yes => Held::No,
            Held::Odds(p) => Held::Odds(1.0 - p),
            Held::Either(yes, no) => Held::Either(no, yes),
            Held::Draw(n) => Held::Draw(n),
            Held::Decides(what, end) => Held::Decides(what, end),
        }
    }

    /// What remains of a comparison where the bits of `unknown` are not known: `differs` holds all that differ.
    pub(super) fn of_bits(
        differs: u32,
        unknown: u32,
        invert: bool,
        question: impl FnOnce() -> String,
    ) -> Held {
        if differs & !unknown != 0 {
            return Held::from(invert);
        }
        match unknown {
            0 => Held::from(!invert),
            _ => Held::either(question()).invert(invert),
        }
    }
}
