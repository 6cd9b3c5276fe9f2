//! What comes to rest, and that nobody can tell.

use super::*;
use crate::proxy::Names;
use crate::rates::values::REASONS;
use crate::ruleset::RuleId;
use crate::snapshot::{Conntrack, FlowEvents, FlowFigures, FlowKey, Flows, Reading, Recent, dump};
use proptest::prelude::*;

#[test]
fn packed_rates_keep_their_reasons() {
    for why in REASONS {
        assert_eq!(Packed::new(Err(why)).rate(), Err(why));
    }
    assert_eq!(Packed::new(Ok(2.5)).rate(), Ok(2.5));
}

/// Captured sets: rules that count, rules that do not, and IPVS.
const SETS: [&[(&str, &str)]; 3] = [
    &[(
        "ip6tables-save",
        include_str!("../../../tests/rules/1.36.2/iptables-legacy/small/ip6tables-save-c.txt"),
    )],
    &[("nft-list-ruleset", include_str!("../../../tests/rules/1.36.2/nftables/small/nft-list-ruleset.txt"))],
    &[
        ("iptables-save", include_str!("../../../tests/rules/1.36.2/ipvs-legacy/small/iptables-save-c.txt")),
        (
            "ipvsadm-Ln-stats",
            include_str!("../../../tests/rules/1.36.2/ipvs-legacy/small/ipvsadm-Ln-stats.txt"),
        ),
    ],
];

fn snapshot(set: &[(&str, &str)]) -> Snapshot {
    dump::of_texts(set.iter().map(|(name, text)| (name.to_string(), text.to_string()))).unwrap()
}

/// What happens between two readings. A number picks a rule, a frontend with a backend, or a server.
#[derive(Clone, Debug)]
enum Event {
    RuleCounts(usize, u64),
    RulesBeginAgain,
    LaterRules(Vec<(usize, u64)>),
    Holds(usize, u32),
    Began(usize, u64),
    Listens(bool),
    Accounting(bool),
    ServerCounts(u64),
    TableGoes,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (any::<usize>(), 0u64..9).prop_map(|(i, n)| Event::RuleCounts(i, n)),
        1 => Just(Event::RulesBeginAgain),
        2 => proptest::collection::vec((any::<usize>(), 0u64..9), 0..4).prop_map(Event::LaterRules),
        4 => (any::<usize>(), 0u32..4).prop_map(|(i, n)| Event::Holds(i, n)),
        4 => (any::<usize>(), 0u64..9).prop_map(|(i, n)| Event::Began(i, n)),
        1 => any::<bool>().prop_map(Event::Listens),
        1 => any::<bool>().prop_map(Event::Accounting),
        1 => (0u64..9).prop_map(Event::ServerCounts),
        1 => Just(Event::TableGoes),
    ]
}

/// Every frontend with every backend, as conntrack names them.
fn keys(model: &Model) -> Vec<FlowKey> {
    let mut all = Vec::new();
    for s in model.services.iter() {
        for (f, b) in s.frontends.iter().flat_map(|f| s.backends.iter().map(move |b| (f, b))) {
            let Some(frontend) = f.address else { continue };
            all.push(FlowKey {
                protocol: s.protocol.number(),
                frontend,
                frontend_port: f.port,
                backend: b.address,
                backend_port: b.port,
            });
        }
    }
    all
}

fn picked<T>(of: &[T], i: usize) -> Option<&T> {
    (!of.is_empty()).then(|| &of[i % of.len()])
}

/// A node to which things happen.
struct Story {
    snapshot: Snapshot,
    keys: Vec<FlowKey>,
    flows: Flows,
    events: FlowEvents,
    listens: bool,
}

impl Story {
    fn happens(&mut self, event: &Event, now: Duration) {
        let tables = &mut self.snapshot.tables;
        match event {
            Event::RuleCounts(i, n) => {
                for t in tables {
                    let counters = &mut Arc::make_mut(&mut t.counters).rules;
                    let len = counters.len().max(1);
                    if let Some(c) = counters.get_mut(i % len) {
                        c.packets += n;
                    }
                }
            }
            Event::RulesBeginAgain => {
                for t in tables {
                    Arc::make_mut(&mut t.counters).rules.iter_mut().for_each(|c| c.packets = 0);
                }
            }
            Event::LaterRules(which) => {
                for t in tables {
                    let len = t.counters.rules.len().max(1);
                    let counted = |(i, n): &(usize, u64)| {
                        let rule = RuleId((i % len) as u32);
                        let mut counter = t.counter(rule);
                        counter.packets += n;
                        (rule, counter)
                    };
                    let rules = which.iter().map(counted).collect();
                    t.recent = Some(Arc::new(Recent { at: now, rules }));
                }
            }
            Event::Holds(i, n) => {
                let Some(key) = picked(&self.keys, *i) else { return };
                match n {
                    0 => drop(self.flows.groups.remove(key)),
                    n => {
                        let held = FlowFigures { flows: *n, in_packets: 3, ..FlowFigures::default() };
                        self.flows.groups.insert(*key, held);
                    }
                }
            }
            Event::Began(i, n) => {
                let Some(key) = picked(&self.keys, *i) else { return };
                self.events.pairs.entry(*key).or_default().began += n;
            }
            Event::Listens(listens) => self.listens = *listens,
            Event::Accounting(on) => self.flows.accounting = *on,
            Event::ServerCounts(n) => {
                if let Some(ipvs) = &mut self.snapshot.ipvs {
                    for server in &mut Arc::make_mut(&mut ipvs.value).servers {
                        server.real_servers.iter_mut().for_each(|r| r.stats.connections += n);
                    }
                }
            }
            Event::TableGoes => {
                let last = self.snapshot.tables.pop();
                self.snapshot.tables.splice(0..0, last);
            }
        }
    }

    /// Reads some of the sources again.
    fn read(&mut self, now: Duration, [tables, flows, notices]: [bool; 3]) {
        if tables {
            self.snapshot.tables.iter_mut().for_each(|t| t.at = now);
            self.snapshot.ipvs.iter_mut().for_each(|r| r.at = now);
        }
        if flows {
            let flows = Reading { at: now, value: Arc::new(self.flows.clone()) };
            self.snapshot.conntrack = Some(Conntrack { at: now, flows: Some(flows), ..Conntrack::default() });
        }
        let events = || Reading { at: now, value: Arc::new(self.events.clone()) };
        match self.listens {
            true if notices || self.snapshot.flow_events.is_none() => {
                self.snapshot.flow_events = Some(events());
            }
            true => {}
            false => self.snapshot.flow_events = None,
        }
    }
}

type Step = (u64, [bool; 3], Vec<Event>);

fn step() -> impl Strategy<Value = Step> {
    let read = prop_oneof![3 => Just([true; 3]), 1 => any::<[bool; 3]>()];
    let wait = prop_oneof![1 => Just(0), 1 => Just(100), 4 => Just(1_000), 1 => Just(2_600)];
    // Much rest, then something.
    let events = prop_oneof![2 => Just(Vec::new()), 1 => proptest::collection::vec(event(), 1..3)];
    (wait, read, events)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Services at rest are passed over: nobody can tell.
    #[test]
    fn rest_changes_no_rate(set in 0..SETS.len(), steps in proptest::collection::vec(step(), 1..30)) {
        let snapshot = snapshot(SETS[set]);
        let mut model = Model::read(&snapshot, &Names::default());
        let keys = keys(&model);
        prop_assert!(!keys.is_empty());
        let (flows, events) = (Flows::default(), FlowEvents { whole: true, ..FlowEvents::default() });
        let mut story = Story { snapshot, keys, flows, events, listens: false };
        let (mut tracker, mut restless) = (Tracker::default(), Tracker::default());
        let mut now = Duration::from_secs(100);
        for (wait, read, events) in steps {
            now += Duration::from_millis(wait);
            events.iter().for_each(|e| story.happens(e, now));
            story.read(now, read);
            model.update(&story.snapshot, &Names::default());
            let rates = tracker.update(&story.snapshot, &model);
            let other = restless.update(&story.snapshot, &model);
            restless.at_rest.fill(None);
            prop_assert_eq!(&rates.services, &other.services);
            for (a, b) in rates.backends.iter().zip(&other.backends) {
                prop_assert_eq!(a.map(Packed::rate), b.map(Packed::rate));
            }
            // As text: what is not a number is the same, too.
            let past = |t: &Tracker| {
                let history = t.history();
                let services = (0..model.services.len()).map(|i| {
                    let backends = 0..model.services[i].backends.len();
                    let backends = backends.map(|b| history.backend(&model.services, i, b));
                    (history.service(i), backends.collect::<Vec<_>>())
                });
                format!("{:?}", services.collect::<Vec<_>>())
            };
            prop_assert_eq!(past(&tracker), past(&restless));
        }
    }
}

#[test]
fn what_counts_nothing_comes_to_rest() {
    let mut story = Story {
        snapshot: snapshot(SETS[1]),
        keys: Vec::new(),
        flows: Flows::default(),
        events: FlowEvents { whole: true, ..FlowEvents::default() },
        listens: true,
    };
    let mut model = Model::default();
    let mut tracker = Tracker::default();
    let mut all = Vec::new();
    for second in 100..104 {
        story.read(Duration::from_secs(second), [true; 3]);
        model.update(&story.snapshot, &Names::default());
        all.push(tracker.update(&story.snapshot, &model));
    }
    assert!(tracker.at_rest.len() > 5 && tracker.at_rest.iter().all(Option::is_some));
    assert!(Arc::ptr_eq(&all[2], &all[3]), "the same rates are shared");
    assert_eq!(tracker.history().service(0).len(), 3, "a reading in which nothing moved is one, too");
}
