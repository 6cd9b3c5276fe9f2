//! What a second brought: of a Service, a backend, a frontend.

use super::delta::Rise;
use super::history::Frame;
use super::history::History;
use super::no_rate::{NoRate, Rate, SHORTEST};
use super::node::NodeRates;
use super::values::{Packed, Rates, ServiceRates};
use crate::proxy::{Backend, CounterSource, Figures, Mode, Model, Service, Services};
use crate::snapshot::Snapshot;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;
use std::time::Duration;

/// Backends beyond which only Services keep a history: 120 readings of 100,000 backends would be 48 MB.
pub(super) const MANY_BACKENDS: usize = 20_000;

/// Longer than the tick of IPVS's estimator (`ip_vs_est.c`: 2 s), by the delay of a busy machine.
pub(super) const IPVS_TICK: Duration = Duration::from_millis(2500);

/// What is remembered of a backend between readings.
#[derive(Clone, Copy, Debug)]
pub(super) struct Track {
    /// When it was read; `None` before the first time.
    at: Option<Duration>,
    /// New flows, packets, bytes.
    counts: [Option<u64>; 3],
    /// When new flows were counted, where notices count them.
    noticed_at: Option<Duration>,
}

/// The same of what a Service's frontends refused.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refused {
    at: Duration,
    count: u64,
    rate: Rate,
}

/// Compares each snapshot with the one before.
#[derive(Debug, Default)]
pub struct Tracker {
    node: super::node::NodeTracker,
    services: Arc<Services>,
    figures: Arc<Figures>,
    tracks: Vec<Track>,
    refused: Vec<Option<Refused>>,
    rates: Arc<Rates>,
    history: History,
}

pub(super) fn hash_of(value: impl Hash) -> u64 {
    foldhash::fast::FixedState::default().hash_one(value)
}

/// A number for a Service that stays the same from snapshot to snapshot.
pub fn service_key(s: &Service) -> u64 {
    let address = s.frontends.first().map(|f| (f.address, f.port));
    let address = if s.name.is_some() { None } else { address };
    hash_of((&s.name, &s.chain_hash, s.protocol, s.family, s.engine, address))
}

/// When the counters of a source were read.
pub(super) fn read_at(snapshot: &Snapshot, service: &Service, b: Option<&Backend>) -> Duration {
    let flows = || {
        let flows = snapshot.conntrack.as_ref().and_then(|c| c.flows.as_ref());
        flows.map_or(Duration::ZERO, |f| f.at)
    };
    match (service.engine.mode(), b) {
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

/// Where each Service and each backend of a structure was in another one.
pub(super) fn places_before(before: &Services, now: &Services) -> (Vec<Option<u32>>, Vec<Option<u32>>) {
    let known: HashMap<u64, usize, foldhash::fast::FixedState> =
        before.iter().enumerate().map(|(i, s)| (service_key(s), i)).collect();
    let (mut services, mut backends) = (Vec::with_capacity(now.len()), Vec::new());
    for s in now.iter() {
        let Some(i) = known.get(&service_key(s)).copied() else {
            services.push(None);
            backends.extend(s.backends.iter().map(|_| None));
            continue;
        };
        services.push(Some(i as u32));
        let (old, first) = (&before[i].backends, before.backends_of(i).start);
        let key = |b: &Backend| (b.address, b.port);
        backends.extend(s.backends.iter().enumerate().map(|(j, b)| {
            // Most are where they were.
            let here = old.get(j).filter(|o| key(o) == key(b)).map(|_| j);
            let place = here.or_else(|| old.iter().position(|o| key(o) == key(b)))?;
            Some((first + place) as u32)
        }));
    }
    (services, backends)
}

impl Tracker {
    /// Takes the next snapshot; gives the rates of the model's Services.
    pub fn update(&mut self, snapshot: &Snapshot, model: &Model) -> Arc<Rates> {
        self.reorder(&model.services);
        let same = model.figures.same_reading(&self.figures) && !self.rates.services.is_empty();
        self.figures = model.figures.clone();
        if same {
            return self.rates.clone();
        }
        let keep = self.tracks.len() <= MANY_BACKENDS;
        let old = std::mem::take(&mut self.rates);
        let mut rates =
            Rates { services: Vec::with_capacity(model.services.len()), backends: old.backends.clone() };
        let mut frame = Frame {
            services: vec![f32::NAN; model.services.len()],
            backends: vec![f32::NAN; if keep { self.tracks.len() } else { 0 }],
        };
        let mut newest = None;
        let flows = snapshot.conntrack.as_ref().and_then(|c| c.flows.as_ref());
        let flows_at = flows.map_or(Duration::ZERO, |f| f.at);
        let noticed_at = snapshot.new_flows().map(|e| e.at);
        for (i, (s, figures)) in model.iter().enumerate() {
            let places = model.services.backends_of(i);
            let mut fresh_at = None;
            for (place, (j, b)) in places.clone().zip(s.backends.iter().enumerate()) {
                let at = match b.source {
                    // All of them were read at once.
                    CounterSource::Conntrack => flows_at,
                    _ => read_at(snapshot, s, Some(b)),
                };
                let counts = figures.counts(j);
                let track = &mut self.tracks[place];
                let new = match b.source {
                    CounterSource::Conntrack => {
                        let known = rates.backends[place].map(Packed::rate);
                        track.of_conntrack(at, noticed_at, counts, known)
                    }
                    _ => track.next(b.source, at, counts),
                };
                let Some(new) = new else { continue };
                fresh_at.get_or_insert(if b.source == CounterSource::Conntrack {
                    noticed_at.unwrap_or(at)
                } else {
                    at
                });
                rates.backends[place] = new.map(Packed::new);
                let shown = match b.source {
                    // Flows that it holds, where nothing counts the new ones.
                    CounterSource::Conntrack if noticed_at.is_none() => {
                        figures.backend(j).flows.map(|n| n as f64)
                    }
                    _ => new[0].ok(),
                };
                if let (true, Some(n)) = (keep, shown) {
                    frame.backends[place] = n as f32;
                }
            }
            let mine = &rates.backends[places];
            let flows = sum(mine.iter().map(|r| r[0].rate()));
            let shown = match s.backends.first().map(|b| b.source) {
                Some(CounterSource::Conntrack) if noticed_at.is_none() => {
                    Some(figures.flows().unwrap_or(0) as f64)
                }
                _ => flows.ok(),
            };
            if let (Some(at), Some(n)) = (fresh_at, shown) {
                frame.services[i] = n as f32;
                newest = newest.max(Some(at));
            }
            rates.services.push(ServiceRates {
                flows,
                packets: sum(mine.iter().map(|r| r[1].rate())),
                bytes: sum(mine.iter().map(|r| r[2].rate())),
                refused: refused(&mut self.refused[i], read_at(snapshot, s, None), figures.refused()),
            });
        }
        if let Some(at) = newest {
            self.history.push(at, frame);
        }
        self.rates = Arc::new(rates);
        self.rates.clone()
    }

    /// Puts what is remembered in the order of the structure.
    fn reorder(&mut self, services: &Arc<Services>) {
        if Arc::ptr_eq(&self.services, services) {
            return;
        }
        let (places, backends) = places_before(&self.services, services);
        let unknown = Track { at: None, counts: [None; 3], noticed_at: None };
        let track = |p: &Option<u32>| p.and_then(|p| self.tracks.get(p as usize).copied());
        let rate = |p: &Option<u32>| p.and_then(|p| self.rates.backends.get(p as usize).copied());
        let nothing = [Packed::new(Err(NoRate::FirstSample)); 3];
        let rates = backends.iter().map(|p| rate(p).unwrap_or(nothing)).collect();
        self.tracks = backends.iter().map(|p| track(p).unwrap_or(unknown)).collect();
        self.refused = places.iter().map(|p| p.and_then(|p| *self.refused.get(p as usize)?)).collect();
        self.rates = Arc::new(Rates { services: Vec::new(), backends: rates });
        self.history.reorder(&places, &backends);
        self.services = services.clone();
    }

    /// What Services did until now.
    pub fn history(&self) -> History {
        self.history.with_node(self.node.total.clone(), self.node.entries.clone())
    }

    /// What the node as a whole does, from the rates that [`Tracker::update`] gave for the same snapshot.
    pub fn node(&mut self, snapshot: &Snapshot, model: &Model, rates: &Rates) -> NodeRates {
        self.node.update(snapshot, model, rates)
    }
}

/// The sum of those that are known, or a reason.
pub(super) fn sum(rates: impl Iterator<Item = Rate>) -> Rate {
    let (mut total, mut reason) = (None, NoRate::NotCounted);
    for rate in rates {
        match rate {
            Ok(r) => total = Some(total.unwrap_or(0.0) + r),
            Err(why) => reason = why,
        }
    }
    total.ok_or(reason)
}

impl Track {
    /// Takes what was read: the rates since the last time, or `None` where nothing new was read.
    fn next(&mut self, source: CounterSource, at: Duration, counts: [Option<u64>; 3]) -> Option<[Rate; 3]> {
        let elapsed = at.saturating_sub(self.at.unwrap_or_default());
        if self.at.is_some() {
            // IPVS shows a copy of its counters that is made every 2 seconds: the same figures a second later are
            // the same copy, not silence.
            let same_copy = source == CounterSource::Ipvs && elapsed < IPVS_TICK && self.counts == counts;
            if elapsed < SHORTEST || same_copy {
                return None;
            }
        }
        let between = |i: usize| Rise::of(self.counts[i], counts[i], elapsed).map(Rise::per_second);
        let rates = [between(0), between(1), between(2)];
        (self.at, self.counts) = (Some(at), counts);
        Some(rates)
    }

    /// The same of a backend that only conntrack counts: what it holds was read at `at`, and its notices counted new flows
    /// until `noticed_at`, where they are listened to. `known` are the rates of before.
    fn of_conntrack(
        &mut self,
        at: Duration,
        noticed_at: Option<Duration>,
        counts: [Option<u64>; 3],
        known: [Rate; 3],
    ) -> Option<[Rate; 3]> {
        let mut rates = known;
        let since = |now: Duration, before: Option<Duration>| now.saturating_sub(before.unwrap_or_default());
        let is_new = |now, before: Option<Duration>| before.is_none() || since(now, before) >= SHORTEST;
        let dumped = is_new(at, self.at);
        if dumped {
            let elapsed = since(at, self.at);
            // What conntrack holds are sums over the flows that live: they fall when one ends.
            for i in [1, 2] {
                rates[i] = match Rise::of(self.counts[i], counts[i], elapsed).map(Rise::per_second) {
                    Err(NoRate::NotCounted) => Err(NoRate::AccountingOff),
                    Err(NoRate::CounterReset) => Err(NoRate::FlowsEnded),
                    other => other,
                };
                self.counts[i] = counts[i];
            }
            self.at = Some(at);
        }
        let noticed = noticed_at.filter(|now| is_new(*now, self.noticed_at));
        match (noticed, noticed_at) {
            (Some(now), _) => {
                let elapsed = since(now, self.noticed_at);
                rates[0] = match self.noticed_at {
                    Some(_) => Rise::of(self.counts[0], counts[0], elapsed).map(Rise::per_second),
                    None => Err(NoRate::FirstSample),
                };
                (self.noticed_at, self.counts[0]) = (Some(now), counts[0]);
            }
            (None, None) => {
                rates[0] = Err(NoRate::NotCounted);
                (self.noticed_at, self.counts[0]) = (None, None);
            }
            (None, Some(_)) => {}
        }
        (dumped || noticed.is_some()).then_some(rates)
    }
}

/// Packets that REJECT and DROP rules of a Service's frontends took, those of source ranges too.
pub(super) fn refused(known: &mut Option<Refused>, at: Duration, count: Option<u64>) -> Rate {
    let Some(count) = count else { return Err(NoRate::NotCounted) };
    let rate = match known {
        Some(k) if at.saturating_sub(k.at) < SHORTEST => return k.rate,
        Some(k) => Rise::between(k.count, count, at.saturating_sub(k.at)).map(Rise::per_second),
        None => Err(NoRate::FirstSample),
    };
    *known = Some(Refused { at, count, rate });
    rate
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rates::values::REASONS;

    #[test]
    fn packed_rates_keep_their_reasons() {
        for why in REASONS {
            assert_eq!(Packed::new(Err(why)).rate(), Err(why));
        }
        assert_eq!(Packed::new(Ok(2.5)).rate(), Ok(2.5));
    }
}
