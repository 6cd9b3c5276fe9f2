//! A figure over the whole session, in bounded memory: the longer the session, the coarser.

use std::time::Duration;

/// Points that are kept at most. With [`super::HISTORY`] readings a Service's histories take a KiB, however long
/// kptop runs; a backend's half of that.
const MOST: usize = 120;

/// A figure over time: means over equal spans, which double whenever the points would be too many.
#[derive(Clone, Debug)]
pub struct Session {
    began: Option<Duration>,
    span: Duration,
    /// One for each span since the begin; not a number where nothing was read.
    points: Vec<f32>,
    /// Sum and number of values in the last span.
    last: (f64, u32),
    /// When the last value came, and how long after the one before.
    before: Option<(Duration, Option<Duration>)>,
}

impl Default for Session {
    fn default() -> Session {
        Session {
            began: None,
            span: Duration::from_secs(1),
            points: Vec::new(),
            last: (0.0, 0),
            before: None,
        }
    }
}

impl Session {
    /// Takes a value that was read at a time of the monotonic clock.
    pub fn push(&mut self, at: Duration, value: f64) {
        let began = *self.began.get_or_insert(at);
        let since = at.saturating_sub(began);
        while since.as_nanos() / self.span.as_nanos() >= MOST as u128 {
            self.coarsen();
        }
        let place = (since.as_nanos() / self.span.as_nanos()) as usize;
        // Readings that come as seldom as ever leave no gap, only a pause does.
        let elapsed = self.before.map(|b| at.saturating_sub(b.0));
        let usual = self.before.and_then(|b| b.1).unwrap_or(Duration::MAX);
        let paused = elapsed.is_some_and(|e| e > usual.saturating_mul(3));
        self.before = Some((at, if paused { self.before.and_then(|b| b.1) } else { elapsed }));
        if place >= self.points.len() {
            let missing = if paused { f32::NAN } else { value as f32 };
            self.points.resize(place + 1, missing);
            self.last = (0.0, 0);
        }
        // A clock that went back finds its own span again.
        if place + 1 == self.points.len() {
            self.last.0 += value;
            self.last.1 += 1;
            self.points[place] = (self.last.0 / f64::from(self.last.1)) as f32;
        }
    }

    fn coarsen(&mut self) {
        let merged = self.points.chunks(2).map(|pair| {
            let known: Vec<f32> = pair.iter().copied().filter(|v| !v.is_nan()).collect();
            if known.is_empty() { f32::NAN } else { known.iter().sum::<f32>() / known.len() as f32 }
        });
        self.points = merged.collect();
        self.last = (self.points.last().copied().filter(|v| !v.is_nan()).map_or(0.0, f64::from), 1);
        self.span *= 2;
    }

    /// Time that one point stands for.
    pub fn span(&self) -> Duration {
        self.span
    }

    /// The points, oldest first; not a number where nothing was read.
    pub fn points(&self) -> &[f32] {
        &self.points
    }

    /// Time from the first point to the last.
    pub fn length(&self) -> Duration {
        self.span * self.points.len() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_long_session_stays_small_and_true() {
        let mut s = Session::default();
        for second in 0..100_000u64 {
            s.push(Duration::from_secs(second), if second < 50_000 { 10.0 } else { 30.0 });
        }
        assert!(s.points().len() <= MOST && s.points().len() >= MOST / 2, "{}", s.points().len());
        assert_eq!(s.span(), Duration::from_secs(1024));
        assert_eq!((s.points()[0], *s.points().last().unwrap()), (10.0, 30.0));
    }

    #[test]
    fn a_pause_is_a_gap() {
        let mut s = Session::default();
        for at in [5, 7, 9] {
            s.push(Duration::from_secs(at), 1.0);
        }
        s.push(Duration::from_secs(19), 3.0);
        assert_eq!(s.points()[..5], [1.0; 5]); // every 2 seconds: no gap
        assert!(s.points()[5..14].iter().all(|p| p.is_nan()) && s.points()[14] == 3.0);
    }

    proptest! {
        #[test]
        fn any_times_are_survived(times in proptest::collection::vec((0u64..1 << 45, -1e9f64..1e9), 0..200)) {
            let mut s = Session::default();
            for (at, value) in times {
                s.push(Duration::from_millis(at), value);
                prop_assert!(s.points().len() <= MOST);
            }
        }
    }
}
