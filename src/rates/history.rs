//! What Services did: the last readings, and the whole session, as one column of figures for each reading.

use super::recent::{HISTORY, Recent};
use super::session::{Session, Spans, mean};
use crate::proxy::Services;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// One reading: a figure of each Service and backend; not a number where nothing new was read.
#[derive(Clone, Debug, Default)]
pub(super) struct Frame {
    pub(super) services: Vec<f32>,
    /// Empty where too many backends are watched.
    pub(super) backends: Vec<f32>,
}

/// Histories of all Services, by their places in the structure of the same view. A value: cheap to copy, and that of an
/// older view stays as it was.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// The last readings, oldest first.
    frames: VecDeque<Arc<Frame>>,
    /// Number of the first of them.
    first: u64,
    spans: Spans,
    /// The points of each span, for every Service.
    points: Vec<Arc<Vec<f32>>>,
    /// Sums and numbers of values in the last span.
    last: Arc<Vec<(f32, u16)>>,
    total: Arc<Session>,
    entries: Arc<Session>,
}

impl History {
    /// New flows a second of a Service, the last readings; of one that only conntrack counts, the flows that it held.
    pub fn service(&self, service: usize) -> Recent {
        self.recent(|f| f.services.get(service).copied())
    }

    /// The same of several together, where there are any.
    pub fn services(&self, services: &[usize]) -> Recent {
        self.recent(|f| {
            let known = services.iter().filter_map(|s| f.services.get(*s)).filter(|v| !v.is_nan());
            known.copied().reduce(|a, b| a + b)
        })
    }

    /// The mean of the last readings of a Service; `None` before there is one. What [`History::service`] shows, steady enough to
    /// sort by.
    pub fn mean(&self, service: usize) -> Option<f32> {
        const LAST: usize = 10;
        let last = self.frames.iter().rev().take(LAST);
        let (sum, n) = last
            .filter_map(|f| f.services.get(service).filter(|v| !v.is_nan()))
            .fold((0.0, 0u8), |(sum, n), v| (sum + v, n + 1));
        (n > 0).then(|| sum / f32::from(n))
    }

    /// The same of a backend, by the places of its Service and its own; empty where too many backends are watched.
    pub fn backend(&self, services: &Services, service: usize, backend: usize) -> Recent {
        let place = services.backends_of(service).start + backend;
        self.recent(|f| f.backends.get(place).copied())
    }

    /// The same of a Service over the whole session.
    pub fn session(&self, service: usize) -> Session {
        let points = self.points.iter().map(|p| p.get(service).copied().unwrap_or(f32::NAN));
        // What came later has no gap at its begin.
        let points: Vec<f32> = points.skip_while(|p| p.is_nan()).collect();
        Session::of(self.spans.span(), points)
    }

    /// New flows a second of all Services in use, over the whole session; in nftables mode the flows that
    /// conntrack held for them.
    pub fn total(&self) -> &Session {
        &self.total
    }

    /// Entries of conntrack over the whole session.
    pub fn entries(&self) -> &Session {
        &self.entries
    }

    /// When the first reading was made, and the last one, by the monotonic clock.
    pub(super) fn times(&self) -> Option<(Duration, Duration)> {
        self.spans.times()
    }

    /// The same with what the node as a whole did.
    pub(super) fn with_node(&self, total: Arc<Session>, entries: Arc<Session>) -> History {
        History { total, entries, ..self.clone() }
    }

    fn recent(&self, of: impl Fn(&Frame) -> Option<f32>) -> Recent {
        let mut first = self.first;
        let mut values = Vec::with_capacity(self.frames.len());
        for frame in &self.frames {
            match of(frame).filter(|v| !v.is_nan()) {
                Some(v) => values.push(v),
                // Nothing yet, or nothing new.
                None if values.is_empty() => first += 1,
                None => values.push(f32::NAN),
            }
        }
        Recent::of(first, values)
    }

    /// Takes the next reading.
    pub(super) fn push(&mut self, at: Duration, frame: Frame) {
        self.take_span(at, &frame.services);
        if self.frames.len() == HISTORY {
            self.frames.pop_front();
            self.first += 1;
        }
        self.frames.push_back(Arc::new(frame));
    }

    fn take_span(&mut self, at: Duration, values: &[f32]) {
        let mut merged = std::mem::take(&mut self.points);
        let step = self.spans.step(at, || coarser(&mut merged));
        self.points = merged;
        let last = Arc::make_mut(&mut self.last);
        last.resize(values.len(), (0.0, 0));
        // A merged span counts as one value.
        if let (true, Some(merged)) = (step.coarsened, self.points.last()) {
            let value = |p: &f32| if p.is_nan() { (0.0, 0) } else { (*p, 1) };
            last.iter_mut().zip(merged.iter()).for_each(|(l, p)| *l = value(p));
        }
        if step.place >= self.points.len() {
            let missing = match step.paused {
                true => vec![f32::NAN; values.len()],
                false => values.to_vec(),
            };
            self.points.resize(step.place + 1, Arc::new(missing));
            last.fill((0.0, 0));
        }
        // A clock that went back finds its own span again.
        if step.place + 1 != self.points.len() {
            return;
        }
        let Some(point) = self.points.last_mut() else { return };
        let point = Arc::make_mut(point);
        point.resize(values.len(), f32::NAN);
        for ((sum, n), (value, point)) in last.iter_mut().zip(values.iter().zip(point)) {
            if !value.is_nan() {
                *sum += value;
                *n = n.saturating_add(1);
                *point = *sum / f32::from(*n);
            }
        }
    }

    /// Puts everything in the order of another structure: each place with the one that it had before.
    pub(super) fn reorder(&mut self, services: &[Option<u32>], backends: &[Option<u32>]) {
        let moved = |old: &[f32], places: &[Option<u32>]| -> Vec<f32> {
            let value = |p: &Option<u32>| p.and_then(|p| old.get(p as usize).copied());
            places.iter().map(|p| value(p).unwrap_or(f32::NAN)).collect()
        };
        for frame in &mut self.frames {
            *frame = Arc::new(Frame {
                services: moved(&frame.services, services),
                backends: if frame.backends.is_empty() {
                    Vec::new()
                } else {
                    moved(&frame.backends, backends)
                },
            });
        }
        self.points.iter_mut().for_each(|p| *p = Arc::new(moved(p, services)));
        let last =
            services.iter().map(|p| p.and_then(|p| self.last.get(p as usize).copied()).unwrap_or_default());
        self.last = Arc::new(last.collect());
    }
}

/// Pairs of points, as one: the mean of those that are known.
fn coarser(points: &mut Vec<Arc<Vec<f32>>>) {
    let merged = points.chunks(2).map(|pair| match pair {
        [a, b] => {
            let len = a.len().max(b.len());
            let at = |p: &Vec<f32>, i: usize| p.get(i).copied().unwrap_or(f32::NAN);
            Arc::new((0..len).map(|i| mean(at(a, i), at(b, i))).collect())
        }
        other => other[0].clone(),
    });
    *points = merged.collect();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(services: &[f32]) -> Frame {
        Frame { services: services.to_vec(), backends: Vec::new() }
    }

    #[test]
    fn an_older_history_stays_as_it_was() {
        let mut history = History::default();
        history.push(Duration::from_secs(1), frame(&[1.0, 10.0]));
        let old = history.clone();
        history.push(Duration::from_secs(2), frame(&[2.0, f32::NAN]));
        // The second Service is first now, the first is gone, and one is new.
        history.reorder(&[Some(1), None], &[]);
        history.push(Duration::from_secs(3), frame(&[30.0, 7.0]));
        assert_eq!(history.service(0).cells(9), [10.0, 30.0]);
        assert_eq!(history.service(1).cells(9), [7.0]);
        assert_eq!(old.service(0).cells(9), [1.0]);
        assert_eq!(history.session(1).points(), [7.0]);
        assert_eq!((old.session(1).points(), old.service(2).len()), (&[10.0][..], 0));
    }

    #[test]
    fn a_long_session_is_that_of_one_figure() {
        let (mut history, mut alone) = (History::default(), Session::default());
        for second in 0..3_000u64 {
            let value = (second % 17) as f32;
            history.push(Duration::from_secs(second), frame(&[value]));
            alone.push(Duration::from_secs(second), f64::from(value));
        }
        let session = history.session(0);
        assert_eq!((session.span(), session.points().len()), (alone.span(), alone.points().len()));
        let close = session.points().iter().zip(alone.points()).all(|(a, b)| (a - b).abs() < 1e-3);
        assert!(close, "{:?} {:?}", session.points(), alone.points());
    }
}
