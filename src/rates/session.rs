//! A figure over the whole session, in bounded memory: the longer the session, the coarser.

use std::time::Duration;

/// Points that are kept at most. With [`super::HISTORY`] readings a Service's histories take a KiB, however long
/// kptop runs; a backend's half of that.
const MOST: usize = 120;

/// Equal spans of a session, which double whenever they would be too many.
#[derive(Clone, Debug)]
pub(super) struct Spans {
    began: Option<Duration>,
    span: Duration,
    /// When the last value came, and how long after the one before.
    before: Option<(Duration, Option<Duration>)>,
}

impl Default for Spans {
    fn default() -> Spans {
        Spans { began: None, span: Duration::from_secs(1), before: None }
    }
}

/// Where a value belongs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    /// Its span.
    pub(super) place: usize,
    /// True where nothing was read for longer than usual: what lies between is not known.
    pub(super) paused: bool,
    /// True where spans were merged for it.
    pub(super) coarsened: bool,
}

impl Spans {
    /// Takes the time of the next value; `coarsen` merges pairs of points.
    pub(super) fn step(&mut self, at: Duration, mut coarsen: impl FnMut()) -> Step {
        let began = *self.began.get_or_insert(at);
        let since = at.saturating_sub(began);
        let mut coarsened = false;
        while since.as_nanos() / self.span.as_nanos() >= MOST as u128 {
            coarsen();
            self.span *= 2;
            coarsened = true;
        }
        let place = (since.as_nanos() / self.span.as_nanos()) as usize;
        // Readings that come as seldom as ever leave no gap, only a pause does.
        let elapsed = self.before.map(|b| at.saturating_sub(b.0));
        let usual = self.before.and_then(|b| b.1).unwrap_or(Duration::MAX);
        let paused = elapsed.is_some_and(|e| e > usual.saturating_mul(3));
        self.before = Some((at, if paused { self.before.and_then(|b| b.1) } else { elapsed }));
        Step { place, paused, coarsened }
    }

    pub(super) fn span(&self) -> Duration {
        self.span
    }

    /// When the first value came, and the last one.
    pub(super) fn times(&self) -> Option<(Duration, Duration)> {
        Some((self.began?, self.before?.0))
    }
}

/// The mean of two points; of one where the other is not known.
pub(super) fn mean(a: f32, b: f32) -> f32 {
    match (a.is_nan(), b.is_nan()) {
        (true, _) => b,
        (_, true) => a,
        _ => (a + b) / 2.0,
    }
}

/// A figure over time: means over equal spans.
#[derive(Clone, Debug, Default)]
pub struct Session {
    spans: Spans,
    /// One for each span since the begin; not a number where nothing was read.
    points: Vec<f32>,
    /// Sum and number of values in the last span.
    last: (f64, u32),
}

impl Session {
    /// Of points that are known.
    pub(super) fn of(span: Duration, points: Vec<f32>) -> Session {
        Session { spans: Spans { span, ..Spans::default() }, points, last: (0.0, 0) }
    }

    /// Takes a value that was read at a time of the monotonic clock.
    pub fn push(&mut self, at: Duration, value: f64) {
        let mut points = std::mem::take(&mut self.points);
        let step = self.spans.step(at, || {
            let merged = points.chunks(2).map(|pair| pair.iter().copied().reduce(mean).unwrap_or(f32::NAN));
            points = merged.collect();
        });
        self.points = points;
        if step.coarsened {
            let last = self.points.last().copied().filter(|v| !v.is_nan());
            self.last = (last.map_or(0.0, f64::from), u32::from(last.is_some()));
        }
        if step.place >= self.points.len() {
            let missing = if step.paused { f32::NAN } else { value as f32 };
            self.points.resize(step.place + 1, missing);
            self.last = (0.0, 0);
        }
        // A clock that went back finds its own span again.
        if step.place + 1 == self.points.len() {
            self.last.0 += value;
            self.last.1 += 1;
            self.points[step.place] = (self.last.0 / f64::from(self.last.1)) as f32;
        }
    }

    /// Time that one point represents.
    pub fn span(&self) -> Duration {
        self.spans.span
    }

    /// The points, oldest first; not a number where nothing was read.
    pub fn points(&self) -> &[f32] {
        &self.points
    }

    /// Time from the first point to the last.
    pub fn length(&self) -> Duration {
        self.spans.span * self.points.len() as u32
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
