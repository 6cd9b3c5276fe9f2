//! What a second brought: of a Service, a backend, a frontend.

use super::delta::Rise;
use super::history::Frame;
use super::history::History;
use super::no_rate::{NoRate, Rate, SHORTEST};
use super::node::NodeRates;
use super::values::{Packed, Rates, ServiceRates};
use crate::proxy::{
    Backend, CounterSource, Figures, Mode, Model, RuleRef, Service, ServiceFigures, Services,
};
use crate::snapshot::Snapshot;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;
use std::time::Duration;

/// Backends beyond which only Services keep a history: 120 readings of 100,000 backends would be 48 MB.
pub(super) const MANY_BACKENDS: usize = 20_000;

/// Longer than the tick of IPVS's estimator (`ip_vs_est.c`: 2 s), by the delay of a busy machine.
pub(super) const IPVS_TICK: Duration = Duration::from_millis(2500);

/// When a backend was read.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Times {
    /// `None` before the first time.
    at: Option<Duration>,
    /// When new flows were counted, where notices count them.
    noticed_at: Option<Duration>,
}

/// What is remembered of a backend between readings.
#[derive(Clone, Copy, Debug, Default)]
struct Track {
    times: Times,
    /// New flows, packets, bytes.
    counts: [Option<u64>; 3],
}

/// The same of what a Service's frontends refused.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refused {
    at: Duration,
    count: u64,
    rate: Rate,
}

/// A Service whose rates stay as they are until something is counted again. Its backends are read together: these are their
/// times, and what is remembered of each has older ones.
#[derive(Clone, Copy, Debug)]
struct Rest {
    times: Times,
    /// The table whose rules count; `None` where conntrack does.
    table: Option<usize>,
}

/// When the sources of Services' counters were read.
#[derive(Clone, Debug, Default, PartialEq)]
struct ReadTimes {
    tables: Vec<(Duration, Option<Duration>)>,
    ipvs: Duration,
    flows: Duration,
    /// When new flows were counted, where notices count them.
    noticed: Option<Duration>,
}

impl ReadTimes {
    fn of(snapshot: &Snapshot) -> ReadTimes {
        let flows = snapshot.conntrack.as_ref().and_then(|c| c.flows.as_ref());
        ReadTimes {
            tables: snapshot.tables.iter().map(|t| (t.at, t.recent.as_ref().map(|r| r.at))).collect(),
            ipvs: snapshot.ipvs.as_ref().map_or(Duration::ZERO, |r| r.at),
            flows: flows.map_or(Duration::ZERO, |f| f.at),
            noticed: snapshot.new_flows().map(|e| e.at),
        }
    }
}

/// The rule by which a backend is counted; without one, its Service.
fn rule_of(service: &Service, b: Option<&Backend>) -> Option<RuleRef> {
    b.and_then(|b| b.rule).or_else(|| service.frontends.iter().find_map(|f| f.rule))
}

/// One reading of all Services, as rates are made of it.
struct Now<'a> {
    snapshot: &'a Snapshot,
    times: ReadTimes,
}

impl Now<'_> {
    /// When the counters of a backend were read; without one, those of its Service's frontends.
    fn read_at(&self, service: &Service, b: Option<&Backend>) -> Duration {
        match (service.engine.mode(), b) {
            (Mode::Ipvs, _) => return self.times.ipvs,
            (_, Some(b)) if b.source == CounterSource::Conntrack => return self.times.flows,
            _ => {}
        }
        let table = |rule: RuleRef| Some((self.snapshot.tables.get(rule.table)?, rule.rule));
        rule_of(service, b).and_then(table).map_or(Duration::ZERO, |(t, rule)| t.counted_at(rule))
    }
}

/// Compares each snapshot with the one before.
#[derive(Debug, Default)]
pub struct Tracker {
    node: super::node::NodeTracker,
    services: Arc<Services>,
    figures: Arc<Figures>,
    /// Of the reading before.
    times: ReadTimes,
    tracks: Vec<Track>,
    refused: Vec<Option<Refused>>,
    /// Services at rest: they are passed over.
    at_rest: Vec<Option<Rest>>,
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
        let now = Now { snapshot, times: ReadTimes::of(snapshot) };
        let noticed = now.times.noticed;
        let reordered = self.reorder(&model.services);
        if !reordered {
            if now.times == self.times {
                return self.rates.clone();
            }
            let mut awake = model.figures.changed(&self.figures, &model.services);
            // From now on others count new flows, or nobody does.
            if noticed.is_some() != self.times.noticed.is_some() {
                awake.fill(true);
            }
            // Single rules were read after the others: backends of one Service may have times of their own.
            let apart: Vec<bool> = snapshot.tables.iter().map(|t| t.is_read_apart()).collect();
            for (i, awake) in awake.into_iter().enumerate() {
                let table = self.at_rest[i].and_then(|r| r.table);
                if awake || table.is_some_and(|t| apart.get(t) != Some(&false)) {
                    self.wake(i);
                }
            }
        }
        let keep = self.tracks.len() <= MANY_BACKENDS;
        let mut frame = Frame {
            services: vec![f32::NAN; model.services.len()],
            backends: vec![f32::NAN; if keep { self.tracks.len() } else { 0 }],
        };
        // Flows that it holds, where nothing counts the new ones.
        let holds = |b: &Backend| b.source == CounterSource::Conntrack && noticed.is_none();
        // Copied where a view has them, and only if something moves.
        let mut rates = std::mem::take(&mut self.rates);
        // When each backend of a Service was read; `None` where it was not.
        let mut read = Vec::new();
        let mut newest = None;
        for (i, (s, figures)) in model.iter().enumerate() {
            read.clear();
            match &mut self.at_rest[i] {
                Some(rest) => {
                    let at = s.backends.first().and_then(|b| rest.pass(s, b, &now));
                    read.resize(if keep { s.backends.len() } else { 1 }, at);
                    self.pass_refused(i, s, &now);
                }
                None => self.take(i, (s, figures), &now, Arc::make_mut(&mut rates), &mut read),
            }
            let Some(at) = read.iter().flatten().next() else { continue };
            let shown = match s.backends.first().is_some_and(holds) {
                true => Some(figures.flows().unwrap_or(0) as f64),
                false => rates.services[i].flows.ok(),
            };
            if let Some(n) = shown {
                frame.services[i] = n as f32;
                newest = newest.max(Some(*at));
            }
            if !keep {
                continue;
            }
            let places = model.services.backends_of(i).zip(s.backends.iter().enumerate());
            for (place, (j, b)) in places.filter(|(_, (j, _))| read[*j].is_some()) {
                let shown = match holds(b) {
                    true => figures.backend(j).flows.map(|n| n as f64),
                    false => rates.backends[place][0].rate().ok(),
                };
                frame.backends[place] = shown.map_or(f32::NAN, |n| n as f32);
            }
        }
        if let Some(at) = newest {
            self.history.push(at, frame);
        }
        (self.times, self.figures, self.rates) = (now.times, model.figures.clone(), rates);
        self.rates.clone()
    }

    /// Takes what a Service counted; tells for each of its backends when that was read.
    fn take(
        &mut self,
        i: usize,
        (s, figures): (&Service, ServiceFigures<'_>),
        now: &Now<'_>,
        rates: &mut Rates,
        read: &mut Vec<Option<Duration>>,
    ) {
        let places = self.services.backends_of(i);
        let mut all_taken = true;
        let tracks = self.tracks[places.clone()].iter_mut().zip(&mut rates.backends[places.clone()]);
        for ((track, rates), (j, b)) in tracks.zip(s.backends.iter().enumerate()) {
            let (at, counts) = (now.read_at(s, Some(b)), figures.counts(j));
            let mut new = rates.map(Packed::rate);
            let (is_read, at) = match b.source {
                CounterSource::Conntrack => {
                    let noticed = now.times.noticed;
                    (track.of_conntrack(at, noticed, counts, &mut new), noticed.unwrap_or(at))
                }
                _ => (track.next(b.source, at, counts, &mut new), at),
            };
            *rates = new.map(Packed::new);
            read.push(is_read.then_some(at));
            all_taken &= track.counts == counts;
        }
        let mine = &rates.backends[places.clone()];
        let refused = refused(&mut self.refused[i], now.read_at(s, None), figures.refused());
        all_taken &= self.refused[i].map(|r| r.count) == figures.refused();
        // IPVS shows the same copy of its counters for a while: that is not rest.
        let may_rest = all_taken && s.engine.mode() != Mode::Ipvs;
        if may_rest && stays(refused) && mine.iter().flatten().all(|r| stays(r.rate())) {
            self.at_rest[i] = Rest::of(s, &self.tracks[places]);
        }
        rates.services[i] = ServiceRates {
            flows: sum(mine.iter().map(|r| r[0].rate())),
            packets: sum(mine.iter().map(|r| r[1].rate())),
            bytes: sum(mine.iter().map(|r| r[2].rate())),
            refused,
        };
    }

    /// Takes the time at which what a Service refused was read.
    fn pass_refused(&mut self, i: usize, s: &Service, now: &Now<'_>) {
        if let Some(refused) = &mut self.refused[i] {
            let at = now.read_at(s, None);
            if is_new(at, Some(refused.at)) {
                refused.at = at;
            }
        }
    }

    /// A Service is not passed over any more.
    fn wake(&mut self, i: usize) {
        if let Some(rest) = self.at_rest[i].take() {
            self.tracks[self.services.backends_of(i)].iter_mut().for_each(|t| t.times = rest.times);
        }
    }

    /// Puts what is remembered in the order of the structure; true where that is another one.
    fn reorder(&mut self, services: &Arc<Services>) -> bool {
        if Arc::ptr_eq(&self.services, services) {
            return false;
        }
        (0..self.at_rest.len()).for_each(|i| self.wake(i));
        let (places, backends) = places_before(&self.services, services);
        let track = |p: &Option<u32>| p.and_then(|p| self.tracks.get(p as usize).copied());
        let rate = |p: &Option<u32>| p.and_then(|p| self.rates.backends.get(p as usize).copied());
        let unread = Err(NoRate::FirstSample);
        let nothing = ServiceRates { flows: unread, packets: unread, bytes: unread, refused: unread };
        self.rates = Arc::new(Rates {
            services: vec![nothing; services.len()],
            backends: backends.iter().map(|p| rate(p).unwrap_or([Packed::new(unread); 3])).collect(),
        });
        self.tracks = backends.iter().map(|p| track(p).unwrap_or_default()).collect();
        self.refused = places.iter().map(|p| p.and_then(|p| *self.refused.get(p as usize)?)).collect();
        self.at_rest = vec![None; services.len()];
        self.history.reorder(&places, &backends);
        self.services = services.clone();
        true
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

/// True where a reading is far enough from the one before to say something new.
fn is_new(now: Duration, before: Option<Duration>) -> bool {
    before.is_none_or(|before| now.saturating_sub(before) >= SHORTEST)
}

fn since(now: Duration, before: Option<Duration>) -> Duration {
    now.saturating_sub(before.unwrap_or_default())
}

/// Takes the time of a reading that says something new.
fn later(before: &mut Option<Duration>, now: Duration) -> bool {
    let later = is_new(now, *before);
    if later {
        *before = Some(now);
    }
    later
}

/// True for a rate that is the same as long as nothing is counted.
fn stays(rate: Rate) -> bool {
    matches!(rate, Ok(0.0) | Err(NoRate::NotCounted | NoRate::AccountingOff))
}

impl Rest {
    /// Of a Service whose backends are read together, and were so until now.
    fn of(s: &Service, tracks: &[Track]) -> Option<Rest> {
        let table = |b: &Backend| match b.source {
            CounterSource::Conntrack => None,
            _ => rule_of(s, Some(b)).map(|r| r.table),
        };
        let Some((first, track)) = s.backends.first().zip(tracks.first()) else {
            return Some(Rest { times: Times::default(), table: None });
        };
        let same = |b: &Backend| (b.source, table(b)) == (first.source, table(first));
        let together = s.backends.iter().all(same) && tracks.iter().all(|t| t.times == track.times);
        together.then(|| Rest { times: track.times, table: table(first) })
    }

    /// Takes the time of a reading in which nothing changed; `None` where its backends, of which one is `b`, were not read again.
    fn pass(&mut self, s: &Service, b: &Backend, now: &Now<'_>) -> Option<Duration> {
        let at = now.read_at(s, Some(b));
        let is_read = later(&mut self.times.at, at);
        match (b.source, now.times.noticed) {
            (CounterSource::Conntrack, Some(noticed)) => {
                (later(&mut self.times.noticed_at, noticed) || is_read).then_some(noticed)
            }
            _ => is_read.then_some(at),
        }
    }
}

impl Track {
    /// Takes what was read, and the rates since the last time; false where nothing new was read.
    fn next(
        &mut self,
        source: CounterSource,
        at: Duration,
        counts: [Option<u64>; 3],
        rates: &mut [Rate; 3],
    ) -> bool {
        let elapsed = since(at, self.times.at);
        // IPVS shows a copy of its counters that is made every 2 seconds: the same figures a second later are the same copy,
        // not silence.
        let same_copy = source == CounterSource::Ipvs && elapsed < IPVS_TICK && self.counts == counts;
        if !is_new(at, self.times.at) || (self.times.at.is_some() && same_copy) {
            return false;
        }
        for (i, rate) in rates.iter_mut().enumerate() {
            *rate = Rise::of(self.counts[i], counts[i], elapsed).map(Rise::per_second);
        }
        (self.times.at, self.counts) = (Some(at), counts);
        true
    }

    /// The same of a backend that only conntrack counts: what it holds was read at `at`, and its notices counted new flows
    /// until `noticed_at`, where they are listened to.
    fn of_conntrack(
        &mut self,
        at: Duration,
        noticed_at: Option<Duration>,
        counts: [Option<u64>; 3],
        rates: &mut [Rate; 3],
    ) -> bool {
        let dumped = is_new(at, self.times.at);
        if dumped {
            let elapsed = since(at, self.times.at);
            // What conntrack holds are sums over the flows that live: they fall when one ends.
            for i in [1, 2] {
                rates[i] = match Rise::of(self.counts[i], counts[i], elapsed).map(Rise::per_second) {
                    Err(NoRate::NotCounted) => Err(NoRate::AccountingOff),
                    Err(NoRate::CounterReset) => Err(NoRate::FlowsEnded),
                    other => other,
                };
                self.counts[i] = counts[i];
            }
            self.times.at = Some(at);
        }
        let noticed = noticed_at.filter(|now| is_new(*now, self.times.noticed_at));
        match (noticed, noticed_at) {
            (Some(now), _) => {
                let elapsed = since(now, self.times.noticed_at);
                rates[0] = match self.times.noticed_at {
                    Some(_) => Rise::of(self.counts[0], counts[0], elapsed).map(Rise::per_second),
                    None => Err(NoRate::FirstSample),
                };
                (self.times.noticed_at, self.counts[0]) = (Some(now), counts[0]);
            }
            (None, None) => {
                rates[0] = Err(NoRate::NotCounted);
                (self.times.noticed_at, self.counts[0]) = (None, None);
            }
            (None, Some(_)) => {}
        }
        dumped || noticed.is_some()
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
mod tests;
