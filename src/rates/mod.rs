//! Two snapshots -> figures per second, or the reason why there is none.

mod delta;
mod node;
mod recent;
mod rules;
mod session;

pub use delta::{Delta, Rise, TableDelta};
pub use node::{Cause, CauseKind, ConntrackRates, NodeRates, StatRates};
pub use recent::{HISTORY, Recent};
pub use rules::RuleRates;
pub use session::Session;

use crate::proxy::{Backend, BackendFigures, CounterSource, Mode, Model, Service, ServiceFigures};
use crate::snapshot::Snapshot;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};
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

/// Rates of one backend.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BackendRates {
    /// New flows a second.
    pub flows: Rate,
    /// Packets a second, both ways.
    pub packets: Rate,
    /// Bytes a second, both ways.
    pub bytes: Rate,
}

/// Nothing known yet.
const NOTHING: BackendRates = BackendRates {
    flows: Err(NoRate::FirstSample),
    packets: Err(NoRate::FirstSample),
    bytes: Err(NoRate::FirstSample),
};

/// Rates of one Service: sums over its backends.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceRates {
    /// New flows a second.
    pub flows: Rate,
    /// Packets a second, both ways.
    pub packets: Rate,
    /// Bytes a second, both ways.
    pub bytes: Rate,
    /// Packets a second that its frontends rejected or dropped.
    pub refused: Rate,
    /// One for each backend, in the model's order.
    pub backends: Vec<BackendRates>,
}

/// Backends beyond which only Services keep a history: 120 readings of 100,000 backends would be 48 MB.
const MANY_BACKENDS: usize = 20_000;

/// Longer than the tick of IPVS's estimator (`ip_vs_est.c`: 2 s), by the delay of a busy machine.
const IPVS_TICK: Duration = Duration::from_millis(2500);

/// Readings that follow each other faster make no new rate: a key may cause one off the beat, and a few packets more
/// or less would be a jump.
pub(crate) const SHORTEST: Duration = Duration::from_millis(250);

/// What is remembered of a counter between readings.
#[derive(Debug, Default)]
struct Track {
    at: Duration,
    flows: Option<u64>,
    packets: Option<u64>,
    bytes: Option<u64>,
    rates: Option<BackendRates>,
    history: Recent,
    seen: u64,
}

/// What a Service did: the last readings, and the whole session.
#[derive(Debug, Default)]
struct ServiceHistory {
    last: Recent,
    session: Session,
}

/// Compares each snapshot with the one before.
#[derive(Debug, Default)]
pub struct Tracker {
    node: node::NodeTracker,
    tracks: HashMap<u64, Track, foldhash::fast::FixedState>,
    services: HashMap<u64, ServiceHistory, foldhash::fast::FixedState>,
    refusals: HashMap<u64, (Duration, u64, Rate), foldhash::fast::FixedState>,
    round: u64,
}

fn hash_of(value: impl Hash) -> u64 {
    foldhash::fast::FixedState::default().hash_one(value)
}

/// A number for a Service that stays the same from snapshot to snapshot.
pub fn service_key(s: &Service) -> u64 {
    let address = s.frontends.first().map(|f| (f.address, f.port));
    let address = if s.name.is_some() { None } else { address };
    hash_of((&s.name, &s.chain_hash, s.protocol, s.family, s.mode, s.variant, address))
}

fn backend_key(service: u64, b: &Backend) -> u64 {
    hash_of((service, b.address, b.port))
}

/// When the counters of a source were read.
fn read_at(snapshot: &Snapshot, service: &Service, b: Option<&Backend>) -> Duration {
    let flows = || {
        let flows = snapshot.conntrack.as_ref().and_then(|c| c.flows.as_ref());
        flows.map_or(Duration::ZERO, |f| f.at)
    };
    match (service.mode, b) {
        (Mode::Ipvs, _) => return snapshot.ipvs.as_ref().map_or(Duration::ZERO, |r| r.at),
        (_, Some(b)) if b.source == CounterSource::Conntrack => return flows(),
        _ => {}
    }
    let rule = b.and_then(|b| b.rule).or_else(|| service.frontends.iter().find_map(|f| f.rule));
    match rule {
        Some(rule) => snapshot.tables.get(rule.table).map_or(Duration::ZERO, |t| t.counted_at(rule.rule)),
        None => Duration::ZERO,
    }
}

impl Tracker {
    /// Takes the next snapshot; gives the rates of each Service of the model, in its order.
    pub fn update(&mut self, snapshot: &Snapshot, model: &Model) -> Vec<ServiceRates> {
        self.round += 1;
        let many = model.services.iter().map(|s| s.backends.len()).sum::<usize>() > MANY_BACKENDS;
        let all = model.iter().map(|(s, figures)| self.service(snapshot, s, figures, !many)).collect();
        let round = self.round;
        self.tracks.retain(|_, t| t.seen == round);
        let alive: std::collections::HashSet<u64> = model.services.iter().map(service_key).collect();
        self.services.retain(|k, _| alive.contains(k));
        self.refusals.retain(|k, _| alive.contains(k));
        all
    }

    /// New flows a second of a Service, oldest first; of one that only conntrack counts, the flows that it held.
    pub fn history(&self, service: &Service) -> Option<&Recent> {
        self.services.get(&service_key(service)).map(|h| &h.last)
    }

    /// The same over the whole session.
    pub fn session(&self, service: &Service) -> Option<&Session> {
        self.services.get(&service_key(service)).map(|h| &h.session)
    }

    /// New flows a second of all Services at work, over the whole session; in nftables mode the flows that
    /// conntrack held for them.
    pub fn total(&self) -> &Session {
        &self.node.total
    }

    /// Entries of conntrack over the whole session.
    pub fn entries(&self) -> &Session {
        &self.node.entries
    }

    /// What the node as a whole does, from the rates that [`Tracker::update`] gave for the same snapshot.
    pub fn node(&mut self, snapshot: &Snapshot, model: &Model, rates: &[ServiceRates]) -> NodeRates {
        self.node.update(snapshot, model, rates)
    }

    /// New flows a second of a backend, oldest first; empty where too many backends are watched.
    pub fn backend_history(&self, service: &Service, backend: &Backend) -> Option<&Recent> {
        let key = backend_key(service_key(service), backend);
        self.tracks.get(&key).map(|t| &t.history)
    }

    fn service(
        &mut self,
        snapshot: &Snapshot,
        s: &Service,
        figures: ServiceFigures<'_>,
        keep_backends: bool,
    ) -> ServiceRates {
        let key = service_key(s);
        let mut fresh = false;
        let backends: Vec<BackendRates> = s
            .backends
            .iter()
            .zip(figures.backends())
            .map(|(b, c)| {
                let (rates, is_new) = self.backend((read_at(snapshot, s, Some(b)), b, c), key, keep_backends);
                fresh |= is_new;
                rates
            })
            .collect();
        let sum = |of: fn(&BackendRates) -> Rate| -> Rate {
            let mut total = None;
            let mut reason = NoRate::NotCounted;
            for rates in &backends {
                match of(rates) {
                    Ok(r) => total = Some(total.unwrap_or(0.0) + r),
                    Err(why) => reason = why,
                }
            }
            total.ok_or(reason)
        };
        let flows = sum(|r| r.flows);
        let shown = match s.backends.first().map(|b| b.source) {
            Some(CounterSource::Conntrack) => Some(figures.flows().unwrap_or(0) as f64),
            _ => flows.ok(),
        };
        if let (true, Some(n)) = (fresh, shown) {
            let at = s.backends.first().map_or(Duration::ZERO, |b| read_at(snapshot, s, Some(b)));
            let history = self.services.entry(key).or_default();
            history.last.push(n as f32);
            history.session.push(at, n);
        }
        ServiceRates {
            flows,
            packets: sum(|r| r.packets),
            bytes: sum(|r| r.bytes),
            refused: self.refused(read_at(snapshot, s, None), figures.refused(), key),
            backends,
        }
    }

    /// Of a backend, what it counted, and when that was read.
    fn backend(
        &mut self,
        (at, b, c): (Duration, &Backend, BackendFigures),
        service: u64,
        keep: bool,
    ) -> (BackendRates, bool) {
        let round = self.round;
        let track = self.tracks.entry(backend_key(service, b)).or_default();
        let first = track.seen == 0;
        track.seen = round;
        let elapsed = at.saturating_sub(track.at);
        // IPVS shows a copy of its counters that is made every 2 seconds: the same figures a second later are
        // the same copy, not silence.
        let same_copy = b.source == CounterSource::Ipvs
            && elapsed < IPVS_TICK
            && (track.flows, track.packets, track.bytes) == (c.flows, c.packets, c.bytes);
        let fresh = first || (elapsed >= SHORTEST && !same_copy);
        if !fresh {
            return (track.rates.unwrap_or(NOTHING), false);
        }
        let between =
            |before: Option<u64>, now: Option<u64>| Rise::of(before, now, elapsed).map(Rise::per_second);
        // What conntrack holds are sums over the flows that live: they fall when one ends.
        let held = |before: Option<u64>, now: Option<u64>| match between(before, now) {
            Err(NoRate::NotCounted) => Err(NoRate::AccountingOff),
            Err(NoRate::CounterReset) => Err(NoRate::FlowsEnded),
            other => other,
        };
        let rates = match b.source {
            CounterSource::Conntrack => BackendRates {
                flows: Err(NoRate::NotCounted),
                packets: held(track.packets, c.packets),
                bytes: held(track.bytes, c.bytes),
            },
            _ => BackendRates {
                flows: between(track.flows, c.flows),
                packets: between(track.packets, c.packets),
                bytes: between(track.bytes, c.bytes),
            },
        };
        (track.flows, track.packets, track.bytes) = (c.flows, c.packets, c.bytes);
        track.at = at;
        track.rates = Some(rates);
        let shown = match b.source {
            // Flows that it holds, as nothing counts the new ones.
            CounterSource::Conntrack => c.flows.map(|n| n as f64),
            _ => rates.flows.ok(),
        };
        if let (true, Some(n)) = (keep, shown) {
            track.history.push(n as f32);
        }
        (rates, true)
    }

    /// Packets that REJECT and DROP rules of the Service's frontends took, those of source ranges too.
    fn refused(&mut self, at: Duration, now: Option<u64>, key: u64) -> Rate {
        let Some(now) = now else { return Err(NoRate::NotCounted) };
        match self.refusals.get(&key).copied() {
            Some((before_at, _, kept)) if at.saturating_sub(before_at) < SHORTEST => kept,
            Some((before_at, before, _)) => {
                let rise = Rise::between(before, now, at.saturating_sub(before_at));
                let r = rise.map(Rise::per_second);
                self.refusals.insert(key, (at, now, r));
                r
            }
            None => {
                self.refusals.insert(key, (at, now, Err(NoRate::FirstSample)));
                Err(NoRate::FirstSample)
            }
        }
    }
}
