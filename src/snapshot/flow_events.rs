//! Flows counted as they begin, are answered and end, by a thread of its own: short ones are not lost between two dumps.

use super::FlowKey;
use super::latencies::Latencies;
use crate::kernel::conntrack::SEEN_REPLY;
use crate::kernel::conntrack_events::{Event, Events, Notice, Wanted};
use crate::kernel::usage::{Cost, Meter};
use crate::kernel::{Error, Result};
use crate::ruleset::L4Endpoint;
use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What happened to the flows between a frontend and a backend. Of a sample each flow counts for as many as it represents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowTurnover {
    /// Flows that began.
    pub began: u64,
    /// Flows that ended.
    pub ended: u64,
    /// Of these, those that were never answered.
    pub ended_unanswered: u64,
    /// Of these, TCP flows that ended at once: an RST was the answer.
    #[serde(default)]
    pub refused: u64,
    /// Flows whose first answer was seen.
    #[serde(default)]
    pub answered: u64,
    /// Packets of those that ended, both ways; 0 with accounting off.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The variance of `began` where it is estimated by a sample; 0 where every flow was counted.
    #[serde(default)]
    pub variance: u64,
}

impl FlowTurnover {
    /// Adds those of other flows.
    pub fn add(&mut self, other: &FlowTurnover) {
        self.began += other.began;
        self.ended += other.ended;
        self.ended_unanswered += other.ended_unanswered;
        self.refused += other.refused;
        self.answered += other.answered;
        self.packets += other.packets;
        self.bytes += other.bytes;
        self.variance += other.variance;
    }

    /// The standard error of `began`, in parts of it: 0 where every flow was counted.
    pub fn error(&self) -> f64 {
        if self.began == 0 { 0.0 } else { (self.variance as f64).sqrt() / self.began as f64 }
    }
}

/// What happened since listening began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowEvents {
    /// By frontend and backend.
    pub pairs: BTreeMap<FlowKey, FlowTurnover>,
    /// Flows that were not translated, by destination: began, and ended.
    pub untranslated: BTreeMap<L4Endpoint, FlowTurnover>,
    /// Notices that found no room: so many flows more began, were answered or ended.
    pub lost: u64,
    /// For how long.
    pub span: Duration,
    /// Times to the first answer of the last minute or two, by frontend and backend.
    #[serde(default)]
    pub latencies: BTreeMap<FlowKey, Latencies>,
    /// Of how many flows one is counted now: 1 for all of them.
    #[serde(default)]
    pub one_in: u32,
    /// True where all translated flows of the node are counted, not those to some addresses.
    #[serde(default)]
    pub whole: bool,
}

/// Pairs and destinations that are kept.
const MOST: usize = 100_000;

impl FlowEvents {
    /// Where flows like this one are counted; `None` where there is no room for more.
    fn turnover(&mut self, notice: &Notice) -> Option<&mut FlowTurnover> {
        let flow = &notice.flow;
        if flow.is_dnat() {
            let key = FlowKey::of(flow);
            let full = self.pairs.len() >= MOST && !self.pairs.contains_key(&key);
            (!full).then(|| self.pairs.entry(key).or_default())
        } else {
            let to = flow.original.to();
            let full = self.untranslated.len() >= MOST && !self.untranslated.contains_key(&to);
            (!full).then(|| self.untranslated.entry(to).or_default())
        }
    }
}

/// What is known of a flow that was not answered yet.
#[derive(Clone, Copy, Debug)]
struct Pending {
    key: FlowKey,
    began_ns: u64,
    /// How many flows it represents.
    weight: u64,
}

/// Flows without an answer that are remembered.
const MOST_PENDING: usize = 200_000;
/// A TCP flow that ends without an answer, and sooner: an RST ended it. Silence takes `nf_conntrack_tcp_timeout_syn_sent`,
/// 120 s unless it was set, and again with each packet of the client.
const AT_ONCE: Duration = Duration::from_secs(10);
/// Times to the first answer are kept for this long, and for as long again.
const WINDOW: Duration = Duration::from_secs(60);

const TCP: u8 = 6;

/// Counts notices.
#[derive(Debug, Default)]
struct Counting {
    all: FlowEvents,
    pending: HashMap<u32, Pending, foldhash::fast::FixedState>,
    /// Times of this window; those of the one before are in `before`.
    now: BTreeMap<FlowKey, Latencies>,
    before: BTreeMap<FlowKey, Latencies>,
    turned: Option<Instant>,
}

impl Counting {
    /// Counts a notice that was received at this time, and stands for `weight` flows.
    fn add(&mut self, notice: &Notice, received_ns: u64, weight: u64) {
        let at_ns = notice.at_ns.unwrap_or(received_ns);
        let flow = &notice.flow;
        match notice.event {
            Event::New => {
                if let Some(t) = self.all.turnover(notice) {
                    t.began += weight;
                    t.variance += weight * (weight - 1);
                }
                if flow.is_dnat() && self.pending.len() < MOST_PENDING {
                    let key = FlowKey::of(flow);
                    self.pending.insert(notice.id, Pending { key, began_ns: at_ns, weight });
                }
            }
            Event::Answered => {
                let Some(p) = self.pending.remove(&notice.id) else { return };
                if let Some(t) = self.all.turnover(notice) {
                    t.answered += p.weight;
                }
                if self.now.len() < MOST || self.now.contains_key(&p.key) {
                    let took = Duration::from_nanos(at_ns.saturating_sub(p.began_ns));
                    self.now.entry(p.key).or_default().add(took);
                }
            }
            Event::Ended => {
                let known = self.pending.remove(&notice.id);
                // One that began before the sample changed counts for as many as it did then.
                let weight = known.map_or(weight, |p| p.weight);
                let unanswered = flow.status & SEEN_REPLY == 0;
                let lived = known.map(|p| Duration::from_nanos(at_ns.saturating_sub(p.began_ns)));
                let Some(t) = self.all.turnover(notice) else { return };
                t.ended += weight;
                t.ended_unanswered += weight * u64::from(unanswered);
                let at_once = lived.is_some_and(|l| l < AT_ONCE);
                t.refused += weight * u64::from(unanswered && at_once && flow.original.protocol == TCP);
                if let Some((a, b)) = flow.traffic {
                    t.packets += weight * (a.packets + b.packets);
                    t.bytes += weight * (a.bytes + b.bytes);
                }
            }
        }
    }

    /// Old times go.
    fn turn(&mut self, now: Instant) {
        let turned = *self.turned.get_or_insert(now);
        if now.duration_since(turned) >= WINDOW {
            self.before = std::mem::take(&mut self.now);
            self.turned = Some(now);
        }
    }

    fn get(&self) -> FlowEvents {
        let mut latencies = self.before.clone();
        for (key, l) in &self.now {
            latencies.entry(*key).or_default().merge(l);
        }
        FlowEvents { latencies, ..self.all.clone() }
    }
}

/// Part of a core that reading the notices of a whole node may take. Making them costs the kernel about as much again.
const BUDGET: f64 = 0.02;
/// What the kernel needs for the notices of one more flow where answers are told, at most: of the 80 to 100 µs of a connection no
/// difference is seen (`what_notices_cost_is_measured` in `tests/it/kernel/flow_events.rs`, Linux 6.18).
const ANSWERS_COST: Duration = Duration::from_micros(4);
/// How long notices gather before they are read, where each by itself would cost too much: while answers are told, whose
/// times are to be right to a millisecond, and else.
const NAP: Duration = Duration::from_millis(1);
const LONG_NAP: Duration = Duration::from_millis(10);
/// Of so many seconds answers are told in one at least, where thrift is needed.
const CYCLE: u32 = 4;
/// The rarest sample.
const RAREST: u32 = 10;

/// How the next second is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Plan {
    /// One flow in two to the power of this.
    sampling: u32,
    answers: bool,
    /// For how long notices gather.
    nap: Duration,
}

/// Keeps to the budget: by reading notices together, by asking for answers only now and then, and last by a sample.
#[derive(Debug, Default)]
struct Pacing {
    sampling: u32,
    thrift: bool,
    /// Seconds of this cycle, and what they cost.
    seconds: u32,
    of: u32,
    cpu: Duration,
    wall: Duration,
    began: u64,
}

impl Pacing {
    /// After each second: what it cost, and how many flows began in it (by the sample).
    fn next(&mut self, cost: Cost, began: u64) -> Plan {
        self.seconds += 1;
        self.cpu += cost.cpu;
        self.wall += cost.wall;
        self.began += began;
        // What a whole cycle may cost can be used up sooner.
        if self.seconds >= self.of || self.cpu.as_secs_f64() > BUDGET * f64::from(self.of) {
            self.judge();
        }
        let answers = self.seconds == 0;
        let nap = match (self.thrift, answers) {
            (false, _) => Duration::ZERO,
            (true, true) => NAP,
            (true, false) => LONG_NAP,
        };
        Plan { sampling: self.sampling, answers: answers || !self.thrift, nap }
    }

    /// At the end of a cycle.
    fn judge(&mut self) {
        let seconds = self.wall.as_secs_f64().max(0.001);
        let used = self.cpu.as_secs_f64() / seconds;
        match self.thrift {
            false => self.thrift = used > BUDGET,
            // As many steps at once as it takes.
            true if used > BUDGET => {
                let steps = (used / BUDGET).log2().ceil().max(1.0) as u32;
                self.sampling = (self.sampling + steps).min(RAREST);
            }
            true if used < BUDGET / 4.0 && self.sampling > 0 => self.sampling -= 1,
            true => self.thrift = used > BUDGET / 8.0,
        }
        let answers = self.began as f64 / seconds * ANSWERS_COST.as_secs_f64();
        let every = (answers / BUDGET).ceil().clamp(1.0, 60.0) as u32;
        self.thrift |= every > 1;
        self.of = if self.thrift { every.max(CYCLE) } else { 1 };
        (self.seconds, self.cpu, self.wall, self.began) = (0, Duration::ZERO, Duration::ZERO, 0);
    }
}

/// Listens as long as it lives.
#[derive(Debug)]
pub struct FlowWatch {
    counting: Arc<Mutex<Counting>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    began: Instant,
}

fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64
}

impl FlowWatch {
    /// Begins to listen, in the calling thread's namespace, to flows that are sent to these addresses (all without any).
    ///
    /// # Errors
    /// The kernel does not report flows, or a privilege is missing.
    pub fn start(only: &[IpAddr]) -> Result<FlowWatch> {
        let wanted = if only.is_empty() { Wanted::All } else { Wanted::To(only.to_vec()) };
        FlowWatch::listen(wanted, false)
    }

    /// The same to all translated flows, within a budget of CPU time: above it a sample is counted.
    ///
    /// # Errors
    /// As [`FlowWatch::start`].
    pub fn start_whole() -> Result<FlowWatch> {
        FlowWatch::listen(Wanted::Translated, true)
    }

    fn listen(wanted: Wanted, whole: bool) -> Result<FlowWatch> {
        let mut events = Events::open(wanted)?;
        events.tell_answers(true)?;
        let mut counting = Counting::default();
        (counting.all.whole, counting.all.one_in) = (whole, 1);
        let counting = Arc::new(Mutex::new(counting));
        let stop = Arc::new(AtomicBool::new(false));
        let (to, until) = (counting.clone(), stop.clone());
        let thread = std::thread::Builder::new()
            .name("flow events".into())
            .spawn(move || count(&mut events, &to, &until, whole))
            .map_err(|e| Error::io("starting a thread for flow events", e))?;
        Ok(FlowWatch { counting, stop, thread: Some(thread), began: Instant::now() })
    }

    /// What was counted so far.
    pub fn get(&self) -> FlowEvents {
        let mut events = self.counting.lock().unwrap_or_else(PoisonError::into_inner).get();
        events.span = self.began.elapsed();
        events
    }
}

/// The thread.
fn count(events: &mut Events, to: &Mutex<Counting>, until: &AtomicBool, paced: bool) {
    let (mut meter, mut second, mut began) = (Meter::start(), Instant::now(), 0);
    let (mut pacing, mut nap) = (Pacing::default(), Duration::ZERO);
    let mut fresh = Vec::new();
    while !until.load(Ordering::Relaxed) {
        let came = matches!(events.wait(Duration::from_millis(200)), Ok(true));
        if came && events.receive(&mut |n| fresh.push((*n, now_ns()))).is_err() {
            return;
        }
        let weight = 1 << events.sampling();
        // Counted apart, so that who reads does not keep the queue waiting.
        let mut all = to.lock().unwrap_or_else(PoisonError::into_inner);
        for (notice, received) in &fresh {
            began += weight * u64::from(notice.event == Event::New);
            all.add(notice, *received, weight);
        }
        all.all.lost = events.lost();
        all.turn(Instant::now());
        fresh.clear();
        if paced && second.elapsed() >= Duration::from_secs(1) {
            let plan = pacing.next(meter.stop(), began);
            // Where the kernel refuses either, it goes on as before.
            let _ = events.sample(plan.sampling);
            let _ = events.tell_answers(plan.answers);
            nap = plan.nap;
            all.all.one_in = 1 << events.sampling();
            (meter, second, began) = (Meter::start(), Instant::now(), 0);
        }
        drop(all);
        std::thread::sleep(nap);
    }
}

impl Drop for FlowWatch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::conntrack::{Flow, Tuple};

    fn notice(event: Event, id: u32, status: u32, protocol: u8) -> Notice {
        let tuple = |source: [u8; 4], destination: [u8; 4], source_port, destination_port| Tuple {
            source: source.into(),
            destination: destination.into(),
            protocol,
            source_port,
            destination_port,
        };
        let flow = Flow {
            original: tuple([10, 0, 0, 1], [10, 96, 0, 1], 4000, 80),
            reply: tuple([10, 1, 0, 1], [10, 0, 0, 1], 8080, 4000),
            status,
            tcp_state: None,
            timeout: 0,
            traffic: None,
            began_ns: None,
        };
        Notice { event, flow, id, at_ns: None }
    }

    const MS: u64 = 1_000_000;

    #[test]
    fn answered_refused_and_silent_are_distinguished() {
        let mut c = Counting::default();
        for id in 0..6 {
            c.add(&notice(Event::New, id, 0, TCP), 0, 1);
        }
        // Two are answered after 3 ms, two by an RST, one ends in silence.
        for id in 0..2 {
            c.add(&notice(Event::Answered, id, SEEN_REPLY, TCP), 3 * MS, 1);
            c.add(&notice(Event::Ended, id, SEEN_REPLY, TCP), 9 * MS, 1);
        }
        for id in 2..4 {
            c.add(&notice(Event::Ended, id, 0, TCP), MS, 1);
        }
        c.add(&notice(Event::Ended, 4, 0, TCP), 120_000 * MS, 1);
        let all = c.get();
        let t = all.pairs.values().next().unwrap();
        assert_eq!((t.began, t.answered, t.ended, t.ended_unanswered, t.refused), (6, 2, 5, 3, 2));
        let l = all.latencies.values().next().unwrap();
        assert_eq!(l.count(), 2);
        assert!((l.quantile(0.5).unwrap().as_secs_f64() * 1000.0 - 3.0).abs() < 0.2);
        // UDP has no RST.
        let mut c = Counting::default();
        c.add(&notice(Event::New, 1, 0, 17), 0, 1);
        c.add(&notice(Event::Ended, 1, 0, 17), MS, 1);
        assert_eq!(c.get().pairs.values().next().unwrap().refused, 0);
    }

    #[test]
    fn the_kernels_own_time_goes_first() {
        let mut c = Counting::default();
        c.add(&Notice { at_ns: Some(1_000 * MS), ..notice(Event::New, 1, 0, TCP) }, 5_000 * MS, 1);
        c.add(
            &Notice { at_ns: Some(1_002 * MS), ..notice(Event::Answered, 1, SEEN_REPLY, TCP) },
            5_900 * MS,
            1,
        );
        let took = c.get().latencies.values().next().unwrap().quantile(0.5).unwrap();
        assert!((took.as_secs_f64() * 1000.0 - 2.0).abs() < 0.2, "{took:?}");
    }

    #[test]
    fn a_sample_says_how_wrong_it_may_be() {
        let mut c = Counting::default();
        for id in 0..400 {
            c.add(&notice(Event::New, id, 0, TCP), 0, 4);
        }
        let t = *c.get().pairs.values().next().unwrap();
        assert_eq!(t.began, 1600);
        // 400 of 1600 chosen by chance: the square root of 1600 * 3, in parts of 1600.
        assert!((t.error() - 4800f64.sqrt() / 1600.0).abs() < 1e-9, "{}", t.error());
        // What began under another sample ends with its own weight.
        c.add(&notice(Event::Ended, 0, 0, TCP), MS, 1);
        assert_eq!(c.get().pairs.values().next().unwrap().ended, 4);
    }

    #[test]
    fn the_budget_is_kept_and_left_again() {
        let cost = |part: f64| Cost { wall: Duration::from_secs(1), cpu: Duration::from_secs_f64(part) };
        let mut p = Pacing::default();
        let first = p.next(cost(0.001), 100);
        assert_eq!(first, Plan { sampling: 0, answers: true, nap: Duration::ZERO });
        // First notices are read together; only where that is not enough a sample is taken.
        let plan = p.next(cost(BUDGET * 5.0), 100);
        assert_eq!((plan.sampling, plan.nap), (0, NAP));
        let cycle = |p: &mut Pacing, part: f64, began: u64| -> Vec<Plan> {
            (0..CYCLE).map(|_| p.next(cost(part), began)).collect()
        };
        // What the whole cycle may cost was used up at once.
        assert_eq!(p.next(cost(BUDGET * 5.0), 100).sampling, 3);
        let plans = cycle(&mut p, BUDGET * 0.6, 100);
        assert_eq!(plans.iter().filter(|p| p.answers).count(), 1);
        assert!(plans.iter().all(|p| p.nap == if p.answers { NAP } else { LONG_NAP }));
        assert_eq!(cycle(&mut p, BUDGET * 0.6, 100)[3].sampling, 3);
        assert_eq!(cycle(&mut p, BUDGET * 0.1, 100)[3].sampling, 2);
        // Back to where it began.
        for _ in 0..3 {
            cycle(&mut p, BUDGET * 0.01, 100);
        }
        assert_eq!(p.next(cost(0.0), 100), first);
        // Answers of 100,000 flows a second cost twenty times the budget: one second in twenty.
        cycle(&mut p, BUDGET * 0.6, 100_000);
        let told = (0..40).filter(|_| p.next(cost(BUDGET * 0.6), 100_000).answers).count();
        assert_eq!(told, 2);
    }

    #[test]
    fn memory_is_bounded() {
        let mut c = Counting::default();
        for id in 0..MOST_PENDING as u32 + 10 {
            c.add(&notice(Event::New, id, 0, TCP), 0, 1);
        }
        assert_eq!(c.pending.len(), MOST_PENDING);
        assert_eq!(c.get().pairs.values().next().unwrap().began, MOST_PENDING as u64 + 10);
    }
}
