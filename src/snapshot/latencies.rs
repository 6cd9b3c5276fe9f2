//! Times from a flow's first packet to its first answer, in classes.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How often each time was seen. A class is an eighth of a power of two microseconds wide, so that a time is known to 6 %.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latencies {
    /// Class and how often, by class; those that were not seen are left out.
    classes: Vec<(u8, u32)>,
}

fn class_of(time: Duration) -> u8 {
    let micros = time.as_micros().min(u128::from(u32::MAX)) as u32;
    match micros {
        0..8 => micros as u8,
        _ => {
            let power = micros.ilog2();
            ((power - 2) * 8 + (micros >> (power - 3) & 7)) as u8
        }
    }
}

/// The middle of a class.
fn time_of(class: u8) -> Duration {
    let class = u64::from(class);
    let half_micros = match class {
        0..8 => 2 * class + 1,
        _ => {
            let (power, part) = (class / 8 + 2, class % 8);
            let width = 1u64 << (power - 3);
            2 * ((8 + part) * width) + width
        }
    };
    Duration::from_nanos(half_micros * 500)
}

impl Latencies {
    /// Counts a time.
    pub fn add(&mut self, time: Duration) {
        self.add_class(class_of(time), 1);
    }

    /// Counts those of another.
    pub fn merge(&mut self, other: &Latencies) {
        other.classes.iter().for_each(|(class, n)| self.add_class(*class, *n));
    }

    fn add_class(&mut self, class: u8, n: u32) {
        match self.classes.binary_search_by_key(&class, |c| c.0) {
            Ok(i) => self.classes[i].1 = self.classes[i].1.saturating_add(n),
            Err(i) => self.classes.insert(i, (class, n)),
        }
    }

    /// How many times were counted.
    pub fn count(&self) -> u64 {
        self.classes.iter().map(|c| u64::from(c.1)).sum()
    }

    /// The time that a part of all (0 to 1) does not exceed; `None` without any.
    pub fn quantile(&self, part: f64) -> Option<Duration> {
        let wanted = ((self.count() as f64 * part).ceil() as u64).max(1);
        let mut seen = 0;
        let class = self.classes.iter().find(|c| {
            seen += u64::from(c.1);
            seen >= wanted
        })?;
        Some(time_of(class.0))
    }

    /// The classes that were seen, as the middle of each and how often.
    pub fn classes(&self) -> impl Iterator<Item = (Duration, u32)> + '_ {
        self.classes.iter().map(|(class, n)| (time_of(*class), *n))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quantiles_of_a_hundred_times() {
        let mut l = Latencies::default();
        assert_eq!(l.quantile(0.5), None);
        (1..=100).for_each(|ms| l.add(Duration::from_millis(ms)));
        assert_eq!(l.count(), 100);
        for (part, ms) in [(0.5, 50.0), (0.95, 95.0), (0.99, 99.0), (0.0, 1.0), (1.0, 100.0)] {
            let got = l.quantile(part).unwrap().as_secs_f64() * 1000.0;
            assert!((got / ms - 1.0).abs() < 0.07, "{part}: {got} of {ms}");
        }
    }

    proptest! {
        #[test]
        fn a_time_is_known_to_six_percent(micros in 0u64..=u64::from(u32::MAX)) {
            let time = Duration::from_micros(micros);
            let got = time_of(class_of(time)).as_secs_f64() * 1e6;
            prop_assert!((got - micros as f64).abs() <= (micros as f64 * 0.0626).max(0.5), "{got} of {micros}");
        }

        #[test]
        fn classes_grow_with_the_time(a in any::<u32>(), b in any::<u32>()) {
            let class = |n: u32| class_of(Duration::from_micros(n.into()));
            prop_assert!(a > b || class(a) <= class(b));
        }
    }
}
