//! Figures of `kptop bench`: what HTTP clients of a Service see under each mode, in the terms of k6, by which the study
//! that kptop comes from measured.

use crate::proxy::Engine;
use hdrhistogram::Histogram;

/// How clients connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Connections {
    /// A connection for each request: each pays a lookup.
    New,
    /// One connection for all requests of a client: the lookup is paid once.
    KeptAlive,
}

impl Connections {
    /// Both.
    pub const ALL: [Connections; 2] = [Connections::New, Connections::KeptAlive];

    /// As in JSON.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Connections::New => "new",
            Connections::KeptAlive => "kept alive",
        }
    }
}

/// Times of requests, in microseconds, with three significant digits.
#[derive(Clone, Debug)]
pub struct Times {
    /// Until the connection is (k6: `http_req_connecting`); nothing where it is kept.
    pub connecting: Histogram<u64>,
    /// From the request sent to the first byte of its answer (`http_req_waiting`).
    pub waiting: Histogram<u64>,
    /// Sending, waiting and receiving (`http_req_duration`): without connecting, as in k6.
    pub duration: Histogram<u64>,
    /// Requests that failed.
    pub errors: u64,
}

/// A minute, in nanoseconds: what takes longer counts as long.
const LONGEST_NS: u64 = 60_000_000_000;

impl Default for Times {
    fn default() -> Times {
        // Nanoseconds inside, so that a microsecond has parts. The bounds are constants that hold (1 <= low, 2 low <= high).
        let new =
            || Histogram::new_with_bounds(1, LONGEST_NS, 3).unwrap_or_else(|_| unreachable!("fixed bounds"));
        Times { connecting: new(), waiting: new(), duration: new(), errors: 0 }
    }
}

impl Times {
    /// Takes in one request, in nanoseconds.
    pub fn record(&mut self, connecting: Option<u64>, waiting: u64, duration: u64) {
        if let Some(ns) = connecting {
            self.connecting.saturating_record(ns);
        }
        self.waiting.saturating_record(waiting);
        self.duration.saturating_record(duration);
    }

    /// Adds those of another round.
    pub fn add(&mut self, other: &Times) {
        // Same bounds: adding cannot fail.
        let _ = self.connecting.add(&other.connecting);
        let _ = self.waiting.add(&other.waiting);
        let _ = self.duration.add(&other.duration);
        self.errors += other.errors;
    }

    /// Requests that were answered.
    pub fn answered(&self) -> u64 {
        self.duration.len()
    }
}

/// 50th, 95th and 99th percentile in microseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Percentiles {
    /// Median.
    pub p50: f64,
    /// 95th.
    pub p95: f64,
    /// 99th.
    pub p99: f64,
}

impl Percentiles {
    /// Of a histogram in nanoseconds; `None` of an empty one.
    pub fn of(times: &Histogram<u64>) -> Option<Percentiles> {
        let at = |q: f64| times.value_at_quantile(q) as f64 / 1000.0;
        (!times.is_empty()).then(|| Percentiles { p50: at(0.5), p95: at(0.95), p99: at(0.99) })
    }
}

/// All rounds of one mode, number of Services and kind of connections.
#[derive(Clone, Debug)]
pub struct Run {
    /// What finds the Service.
    pub engine: Engine,
    /// Services beside it, itself among them.
    pub services: usize,
    /// How clients connect.
    pub connections: Connections,
    /// Times over all rounds.
    pub times: Times,
    /// Requests a second of each round.
    pub per_second: Vec<f64>,
    /// Why there are no figures.
    pub missing: Option<String>,
}

impl Run {
    /// One that has not begun.
    pub fn new(engine: Engine, services: usize, connections: Connections) -> Run {
        Run { engine, services, connections, times: Times::default(), per_second: Vec::new(), missing: None }
    }

    /// Requests a second in the mean over rounds, and the slowest and quickest round.
    pub fn rate(&self) -> Option<(f64, f64, f64)> {
        let low = self.per_second.iter().copied().reduce(f64::min)?;
        let high = self.per_second.iter().copied().reduce(f64::max)?;
        Some((self.per_second.iter().sum::<f64>() / self.per_second.len() as f64, low, high))
    }
}

/// A figure of the study, for comparison: "kube-proxy iptables vs. ipvs on one small node" measured by k6.
#[derive(Clone, Copy, Debug)]
pub struct Study {
    /// Mode.
    pub mode: &'static str,
    /// p95 of `http_req_duration`, in microseconds.
    pub duration_p95: f64,
    /// p95 of `http_req_waiting`, in microseconds.
    pub waiting_p95: f64,
    /// Requests a second.
    pub per_second: f64,
}

/// The study's table.
pub const STUDY: [Study; 2] = [
    Study { mode: "iptables", duration_p95: 317.92, waiting_p95: 256.04, per_second: 3575.63 },
    Study { mode: "ipvs", duration_p95: 299.57, waiting_p95: 246.08, per_second: 3632.01 },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_all_rounds() {
        let mut all = Times::default();
        for round in 0..2u64 {
            let mut times = Times::default();
            (1..=100).for_each(|n| times.record(Some(1_000), n * 1_000, (n + 100 * round) * 1_000));
            all.add(&times);
        }
        assert_eq!(all.answered(), 200);
        let p = Percentiles::of(&all.duration).unwrap();
        assert!((p.p50 - 100.0).abs() < 1.0 && (p.p95 - 190.0).abs() < 1.0, "{p:?}");
        let w = Percentiles::of(&all.waiting).unwrap();
        assert!((w.p99 - 99.0).abs() < 1.0, "{w:?}");
        assert_eq!(Percentiles::of(&Times::default().connecting), None);
    }

    #[test]
    fn the_spread_is_that_of_the_rounds() {
        let mut run = Run::new(Engine::Nftables, 10, Connections::New);
        assert_eq!(run.rate(), None);
        run.per_second = vec![100.0, 300.0, 200.0];
        assert_eq!(run.rate(), Some((200.0, 100.0, 300.0)));
    }
}
