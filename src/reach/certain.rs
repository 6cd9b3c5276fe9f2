//! What is lost whatever the answers to open questions are.

use crate::walk::{Answer, Outcome, Question};

/// Sets of answers that are looked at, at most. Beyond it nothing is certain.
const MOST_ANSWERS: usize = 2_000;

/// The least that is lost: its share of the packets, and the lost outcomes of those answers under which it is so little.
/// `None` where there are too many answers to look at.
pub(super) fn least_loss<'o>(
    outcomes: &'o [Outcome],
    is_lost: &dyn Fn(&Outcome) -> bool,
) -> Option<(f64, Vec<&'o Outcome>)> {
    // Mostly nothing is open, or nothing is lost.
    if !outcomes.iter().any(is_lost) {
        return Some((0.0, Vec::new()));
    }
    let mut left = MOST_ANSWERS;
    least(outcomes.iter().collect(), &mut Vec::new(), is_lost, &mut left)
}

fn least<'o>(
    outcomes: Vec<&'o Outcome>,
    answered: &mut Vec<&'o Question>,
    is_lost: &dyn Fn(&Outcome) -> bool,
    left: &mut usize,
) -> Option<(f64, Vec<&'o Outcome>)> {
    *left = left.checked_sub(1)?;
    let open = outcomes
        .iter()
        .flat_map(|o| &o.assuming)
        .find(|a| a.answer.is_some() && !answered.contains(&&a.question));
    let Some(question) = open.map(|a| &a.question) else {
        let all: f64 = outcomes.iter().map(|o| o.probability).sum();
        let lost: Vec<&Outcome> = outcomes.into_iter().filter(|o| is_lost(o)).collect();
        let share = lost.iter().map(|o| o.probability).sum::<f64>() / all.max(f64::MIN_POSITIVE);
        return Some((share.min(1.0), lost));
    };
    let answer = |o: &Outcome| o.assuming.iter().find(|a| a.question == *question).and_then(|a| a.answer);
    let mut answers: Vec<Answer> = outcomes.iter().filter_map(|o| answer(o)).collect();
    answers.sort_unstable();
    answers.dedup();
    answered.push(question);
    let mut best: Option<(f64, Vec<&Outcome>)> = None;
    for wanted in answers {
        let those = outcomes.iter().copied().filter(|o| answer(o).is_none_or(|a| a == wanted)).collect();
        let found = least(those, answered, is_lost, left)?;
        if best.as_ref().is_none_or(|b| found.0 < b.0) {
            best = Some(found);
        }
        // Less than nothing cannot be lost.
        if best.as_ref().is_some_and(|b| b.0 == 0.0) {
            break;
        }
    }
    answered.pop();
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::walk::{Assumption, End, Tally};

    fn outcome(end: End, probability: f64, assuming: &[(&str, Answer)]) -> Outcome {
        let one = |(q, a): &(&str, Answer)| Assumption {
            question: Question::Other((*q).to_string()),
            answer: Some(*a),
        };
        Outcome {
            end,
            backend: None,
            masquerade: false,
            probability,
            assuming: assuming.iter().map(one).collect(),
            tally: Tally::default(),
            last: None,
        }
    }

    fn share(outcomes: &[Outcome]) -> f64 {
        least_loss(outcomes, &|o| o.end == End::Dropped).unwrap().0
    }

    #[test]
    fn a_fork_on_which_all_branches_die_is_a_certain_death() {
        use Answer::{No, Yes};
        use End::{Dropped, Sent};
        assert_eq!(share(&[outcome(Dropped, 1.0, &[("a", Yes)]), outcome(Dropped, 1.0, &[("a", No)])]), 1.0);
        assert_eq!(share(&[outcome(Dropped, 1.0, &[("a", Yes)]), outcome(Sent, 1.0, &[("a", No)])]), 0.0);
        // Half of the packets meet the question; the other half dies for sure.
        let half = [
            outcome(Dropped, 0.5, &[]),
            outcome(Dropped, 0.5, &[("a", Yes)]),
            outcome(Sent, 0.5, &[("a", No)]),
        ];
        assert_eq!(share(&half), 0.5);
        // Whatever the answer is, one of two backends is cut off.
        let either = [
            outcome(Dropped, 0.5, &[("a", Yes)]),
            outcome(Sent, 0.5, &[("a", No)]),
            outcome(Sent, 0.5, &[("a", Yes)]),
            outcome(Dropped, 0.5, &[("a", No)]),
        ];
        assert_eq!(share(&either), 0.5);
        // A question under an answer to another.
        let nested = [
            outcome(Dropped, 1.0, &[("a", Yes)]),
            outcome(Dropped, 1.0, &[("a", No), ("b", Yes)]),
            outcome(Dropped, 1.0, &[("a", No), ("b", No)]),
        ];
        assert_eq!(share(&nested), 1.0);
    }
}
