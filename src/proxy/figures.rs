//! What Services have counted, beside their structure: the only thing that is made at each reading.

use super::{CounterSource, RuleRef, Services};
use crate::ruleset::{L4Endpoint, TableCounters};
use crate::snapshot::facts::{InterfaceAddress, Ipvs};
use crate::snapshot::{
    FlowEvents, FlowFigures, FlowKey, FlowTurnover, Flows, Latencies, Recent, Snapshot, TableState,
};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

/// What a frontend has counted. `None` is what nothing counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrontendFigures {
    /// Packets that its rule has counted (first packets of flows); connections of a virtual server.
    pub hits: Option<u64>,
    /// Packets that its refusing rule took.
    pub refused: Option<u64>,
    /// Flows in conntrack that were sent here.
    pub flows: Option<u64>,
}

/// What a backend has counted since its rules or real server were made. `None` is what nothing counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackendFigures {
    /// New flows (connections); of [`CounterSource::Conntrack`] the flows that it holds.
    pub flows: Option<u64>,
    /// New flows: as its rule or IPVS counted them; of [`CounterSource::Conntrack`] by notices, since kptop listens.
    pub new_flows: Option<u64>,
    /// Of those that notices told: TCP connections that were refused (RST).
    pub refused_flows: Option<u64>,
    /// Of them, those that were answered while answers were told.
    pub answered_flows: Option<u64>,
    /// The variance of their number, where it is estimated by a sample.
    pub new_flows_variance: Option<u64>,
    /// Packets, in and out together.
    pub packets: Option<u64>,
    /// Bytes, in and out together.
    pub bytes: Option<u64>,
    /// Active connections (IPVS).
    pub active: Option<u64>,
    /// Inactive connections (IPVS).
    pub inactive: Option<u64>,
    /// Flows that conntrack holds for it, through its Service's frontends.
    pub conntrack_flows: Option<u64>,
    /// Of them, without any answer.
    pub unreplied_flows: Option<u64>,
}

/// One figure of every frontend or backend; empty where nothing counts it at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Column(Vec<u64>);

/// What represents no figure.
const NONE: u64 = u64::MAX;

impl Column {
    fn get(&self, i: usize) -> Option<u64> {
        self.0.get(i).copied().filter(|n| *n != NONE)
    }

    /// Sets figures of `len` ones to 0.
    fn fill(&mut self, len: usize, places: std::ops::Range<usize>) {
        if self.0.is_empty() {
            self.0.resize(len, NONE);
        }
        if let Some(part) = self.0.get_mut(places) {
            part.fill(0);
        }
    }

    /// Sets a figure of `len` ones.
    fn set(&mut self, len: usize, i: usize, value: Option<u64>) {
        let Some(value) = value else { return };
        if self.0.is_empty() {
            self.0.resize(len, NONE);
        }
        if let Some(place) = self.0.get_mut(i) {
            *place = value;
        }
    }

    /// Marks the Services of which it differs from another one; `places` are those of a Service in it.
    fn mark(&self, other: &Column, marks: &mut [bool], places: impl Fn(usize) -> std::ops::Range<usize>) {
        if self == other {
            return;
        }
        for (i, mark) in marks.iter_mut().enumerate() {
            *mark |= self.0.get(places(i)) != other.0.get(places(i));
        }
    }

    /// Adds to a figure of `len` ones, which begins with this where nothing is known yet.
    fn sum(&mut self, len: usize, i: usize, value: Option<u64>) {
        let known = self.get(i);
        self.set(len, i, value.map(|n| n + known.unwrap_or(0)));
    }
}

/// Figures that rules counted.
#[derive(Debug, Default)]
struct ByRules {
    hits: Column,
    refused: Column,
    flows: Column,
}

/// Figures that conntrack gives.
#[derive(Debug, Default)]
struct ByFlows {
    frontends: Column,
    flows: Column,
    unreplied: Column,
    packets: Column,
    bytes: Column,
}

/// Figures that IPVS counted.
#[derive(Debug, Default)]
struct ByServers {
    hits: Column,
    flows: Column,
    packets: Column,
    bytes: Column,
    active: Column,
    inactive: Column,
}

/// Figures that conntrack's notices give.
#[derive(Debug, Default)]
struct ByNotices {
    /// Whether notices are listened to: a backend that is not among them then had none.
    listens: bool,
    /// By backend: most have none, and several readings are held.
    flows: HashMap<usize, FlowTurnover, foldhash::fast::FixedState>,
    /// Times to the first answer, by backend.
    latencies: HashMap<usize, Latencies, foldhash::fast::FixedState>,
}

/// What figures were made of: the same makes the same.
#[derive(Clone, Debug, Default)]
struct Made {
    services: Option<Arc<Services>>,
    counters: Vec<CountersMade>,
    flows: Option<FlowsMade>,
    servers: Option<Arc<Ipvs>>,
    events: Option<EventsMade>,
}

/// Figures of all Services of one reading. Those that did not change are shared with the reading before.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    by_rules: Arc<ByRules>,
    by_flows: Arc<ByFlows>,
    by_servers: Arc<ByServers>,
    by_notices: Arc<ByNotices>,
    made: Made,
}

/// Figures of one Service.
#[derive(Clone, Copy, Debug)]
pub struct ServiceFigures<'a> {
    figures: &'a Figures,
    services: &'a Services,
    service: usize,
}

impl Figures {
    /// Of a snapshot; `before` are those of the reading before.
    pub(super) fn read(services: &Arc<Services>, snapshot: &Snapshot, before: &Figures) -> Figures {
        let flows = snapshot.conntrack.as_ref().and_then(|c| {
            let flows = &c.flows.as_ref()?.value;
            let accounting = flows.accounting || c.limits.accounting == Some(true);
            Some((flows.clone(), accounting, snapshot.addresses.clone()))
        });
        let made = Made {
            services: Some(services.clone()),
            counters: snapshot.tables.iter().map(counters_made).collect(),
            flows,
            servers: snapshot.ipvs.as_ref().map(|r| r.value.clone()),
            events: snapshot.new_flows().map(|r| (r.value.clone(), snapshot.addresses.clone())),
        };
        let old = &before.made;
        let same = old.services.as_ref().is_some_and(|s| Arc::ptr_eq(s, services));
        Figures {
            by_rules: match same && same_counters(&old.counters, &made.counters) {
                true => before.by_rules.clone(),
                false => Arc::new(ByRules::read(services, snapshot)),
            },
            by_flows: match same && same_flows(old.flows.as_ref(), made.flows.as_ref()) {
                true => before.by_flows.clone(),
                false => {
                    Arc::new(made.flows.as_ref().map_or_else(ByFlows::default, |(flows, counted, own)| {
                        ByFlows::read(services, flows, *counted, own)
                    }))
                }
            },
            by_servers: match same && same_arc(old.servers.as_ref(), made.servers.as_ref()) {
                true => before.by_servers.clone(),
                false => Arc::new(
                    made.servers.as_ref().map_or_else(ByServers::default, |i| ByServers::read(services, i)),
                ),
            },
            by_notices: match same && same_events(old.events.as_ref(), made.events.as_ref()) {
                true => before.by_notices.clone(),
                false => Arc::new(
                    made.events
                        .as_ref()
                        .map_or_else(ByNotices::default, |(e, own)| ByNotices::read(services, e, own)),
                ),
            },
            made,
        }
    }

    /// The Services that counted something since `before`, by their place: what rates are made of, but for what IPVS counts.
    pub(crate) fn changed(&self, before: &Figures, services: &Services) -> Vec<bool> {
        let mut changed = vec![false; services.len()];
        let (a, b) = (self, before);
        if !Arc::ptr_eq(&a.by_rules, &b.by_rules) {
            a.by_rules.flows.mark(&b.by_rules.flows, &mut changed, |i| services.backends_of(i));
            a.by_rules.refused.mark(&b.by_rules.refused, &mut changed, |i| services.frontends_of(i));
        }
        if !Arc::ptr_eq(&a.by_flows, &b.by_flows) {
            let (a, b) = (&a.by_flows, &b.by_flows);
            for (now, before) in [(&a.flows, &b.flows), (&a.packets, &b.packets), (&a.bytes, &b.bytes)] {
                now.mark(before, &mut changed, |i| services.backends_of(i));
            }
        }
        if a.by_notices.listens != b.by_notices.listens {
            changed.fill(true);
        } else if !Arc::ptr_eq(&a.by_notices, &b.by_notices) {
            let (a, b) = (&a.by_notices.flows, &b.by_notices.flows);
            for place in a.keys().chain(b.keys().filter(|p| !a.contains_key(p))) {
                let began = |of: &HashMap<_, FlowTurnover, _>| of.get(place).map(|t| t.began);
                if began(a) != began(b)
                    && let Some(service) = services.with_place(*place)
                {
                    changed[service] = true;
                }
            }
        }
        changed
    }

    /// Of a Service, by its place.
    pub(super) fn of<'a>(&'a self, services: &'a Services, service: usize) -> ServiceFigures<'a> {
        ServiceFigures { figures: self, services, service }
    }
}

/// True where both are the very same, or neither is there.
pub(super) fn same_arc<T>(a: Option<&Arc<T>>, b: Option<&Arc<T>>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        (None, None) => true,
        _ => false,
    }
}

/// What a table counted: all of its rules, and those that were read after them.
type CountersMade = (Arc<TableCounters>, Option<Arc<Recent>>);

fn counters_made(t: &TableState) -> CountersMade {
    (t.counters.clone(), t.later().cloned())
}

/// True where both say the same, although one may have been read later.
fn same_counters(a: &[CountersMade], b: &[CountersMade]) -> bool {
    let same = |(a, b): (&CountersMade, &CountersMade)| {
        a.0 == b.0 && a.1.as_ref().map(|r| &r.rules) == b.1.as_ref().map(|r| &r.rules)
    };
    a.len() == b.len() && a.iter().zip(b).all(same)
}

type EventsMade = (Arc<FlowEvents>, Arc<Vec<InterfaceAddress>>);

fn same_events(a: Option<&EventsMade>, b: Option<&EventsMade>) -> bool {
    match (a, b) {
        (Some((a, own_a)), Some((b, own_b))) => {
            (Arc::ptr_eq(a, b) || (a.pairs == b.pairs && a.latencies == b.latencies)) && own_a == own_b
        }
        (None, None) => true,
        _ => false,
    }
}

type FlowsMade = (Arc<Flows>, bool, Arc<Vec<InterfaceAddress>>);

fn same_flows(a: Option<&FlowsMade>, b: Option<&FlowsMade>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => {
            (Arc::ptr_eq(&a.0, &b.0) || a.0.groups == b.0.groups) && a.1 == b.1 && a.2 == b.2
        }
        (None, None) => true,
        _ => false,
    }
}

impl<'a> ServiceFigures<'a> {
    /// Of a frontend, by its place.
    pub fn frontend(&self, frontend: usize) -> FrontendFigures {
        let i = self.services.first[self.service].0 as usize + frontend;
        let f = self.figures;
        FrontendFigures {
            hits: f.by_rules.hits.get(i).or_else(|| f.by_servers.hits.get(i)),
            refused: f.by_rules.refused.get(i),
            // Conntrack never sees the address of a Service that eBPF translates.
            flows: f.by_flows.frontends.get(i).filter(|_| !self.is_apart()),
        }
    }

    /// True where conntrack does not see the Service.
    fn is_apart(&self) -> bool {
        self.services[self.service].engine.mode().keeps_no_rules()
    }

    /// The place of a backend among those of all Services.
    fn place(&self, backend: usize) -> usize {
        self.services.first[self.service].1 as usize + backend
    }

    /// Of a backend, by its place.
    pub fn backend(&self, backend: usize) -> BackendFigures {
        let i = self.place(backend);
        let f = self.figures;
        let [new_flows, packets, bytes] = self.counts(backend);
        let notices = f.by_notices.get(i);
        BackendFigures {
            flows: self.flows_to(backend),
            new_flows,
            refused_flows: notices.map(|n| n.refused),
            answered_flows: notices.map(|n| n.answered),
            new_flows_variance: notices.map(|n| n.variance),
            packets,
            bytes,
            // Of servers of IPVS alone these are there.
            active: f.by_servers.active.get(i),
            inactive: f.by_servers.inactive.get(i),
            conntrack_flows: f.by_flows.flows.get(i).filter(|_| !self.is_apart()),
            unreplied_flows: f.by_flows.unreplied.get(i).filter(|_| !self.is_apart()),
        }
    }

    /// What counts a backend. Backends are large, and there are many: most are not looked at for this.
    fn source(&self, backend: usize) -> CounterSource {
        let all = self.services.sources[self.service];
        all.unwrap_or_else(|| self.services[self.service].backends[backend].source)
    }

    /// New flows, packets and bytes of a backend, as [`ServiceFigures::backend`] has them.
    pub(crate) fn counts(&self, backend: usize) -> [Option<u64>; 3] {
        let i = self.place(backend);
        let (c, s) = (&self.figures.by_flows, &self.figures.by_servers);
        let [packets, bytes] = match self.source(backend) {
            CounterSource::Conntrack => [c.packets.get(i), c.bytes.get(i)],
            CounterSource::Ipvs => [s.packets.get(i), s.bytes.get(i)],
            CounterSource::NatRule | CounterSource::Nothing => [None; 2],
        };
        [self.new_flows_to(backend), packets, bytes]
    }

    /// New flows to a backend; `None` where nothing counts them.
    pub fn new_flows_to(&self, backend: usize) -> Option<u64> {
        let (i, f) = (self.place(backend), self.figures);
        match self.source(backend) {
            CounterSource::NatRule => f.by_rules.flows.get(i),
            CounterSource::Conntrack => f.by_notices.get(i).map(|n| n.began),
            CounterSource::Ipvs => f.by_servers.flows.get(i),
            CounterSource::Nothing => None,
        }
    }

    /// As [`BackendFigures::flows`] of a backend.
    fn flows_to(&self, backend: usize) -> Option<u64> {
        match self.source(backend) {
            CounterSource::Conntrack => self.figures.by_flows.flows.get(self.place(backend)),
            CounterSource::NatRule | CounterSource::Ipvs => self.new_flows_to(backend),
            CounterSource::Nothing => None,
        }
    }

    fn places(&self) -> std::ops::Range<usize> {
        0..self.services[self.service].backends.len()
    }

    /// Of every frontend, in the Service's order.
    pub fn frontends(self) -> impl Iterator<Item = FrontendFigures> + 'a {
        (0..self.services[self.service].frontends.len()).map(move |i| self.frontend(i))
    }

    /// Of every backend, in the Service's order.
    pub fn backends(self) -> impl Iterator<Item = BackendFigures> + 'a {
        self.places().map(move |i| self.backend(i))
    }

    /// Packets that its frontends refused; `None` where nothing counts them.
    pub fn refused(self) -> Option<u64> {
        self.frontends().filter_map(|f| f.refused).reduce(|a, b| a + b)
    }

    /// New flows over its backends; of [`CounterSource::Conntrack`] the flows that it holds. `None` where nothing
    /// counts them.
    pub fn flows(self) -> Option<u64> {
        self.places().filter_map(|b| self.flows_to(b)).reduce(|a, b| a + b)
    }

    /// Times from the first packet of a flow to a backend to its first answer, of the last minute or two; `None` where none was
    /// seen.
    pub fn latencies(self, backend: usize) -> Option<&'a Latencies> {
        let i = self.place(backend);
        self.figures.by_notices.latencies.get(&i)
    }

    /// The same over all of its backends; empty where none was seen.
    pub fn all_latencies(self) -> Latencies {
        let mut sum = Latencies::default();
        self.places().filter_map(|b| self.latencies(b)).for_each(|l| sum.merge(l));
        sum
    }

    /// New flows over its backends; `None` where nothing counts them.
    pub fn new_flows(self) -> Option<u64> {
        self.places().filter_map(|b| self.new_flows_to(b)).reduce(|a, b| a + b)
    }

    /// The flows by which its spread over backends is judged: new ones where they are counted, else those that conntrack holds.
    pub fn spread(self) -> impl Iterator<Item = u64> + 'a {
        let new = self.new_flows().is_some();
        self.places().map(move |b| if new { self.new_flows_to(b) } else { self.flows_to(b) }.unwrap_or(0))
    }

    /// Flows that conntrack holds for its frontends; `None` where conntrack was not read.
    pub fn held(self) -> Option<u64> {
        self.frontends().map(|f| f.flows).try_fold(0, |sum, f| f.map(|f| sum + f))
    }

    /// The part of its flows that a backend really got, from what their counters hold; `None` without any.
    pub fn real_share(self, backend: usize) -> Option<f64> {
        let sum: u64 = self.spread().sum();
        // Rules that no packet reaches give no flows any more.
        let stale = self.services[self.service].stale;
        let mine = || self.spread().nth(backend).unwrap_or(0);
        (sum > 0 && !stale).then(|| mine() as f64 / sum as f64)
    }
}

/// Packets that a rule counted; `None` where nothing counts them, or a dump does not say.
fn counted(snapshot: &Snapshot, rule: RuleRef) -> Option<u64> {
    let t = snapshot.tables.get(rule.table)?;
    let is_counted = t.table.rules.get(rule.rule.0 as usize).is_some_and(|r| r.counted);
    is_counted.then(|| t.counter(rule.rule).packets)
}

impl ByRules {
    fn read(services: &Services, snapshot: &Snapshot) -> ByRules {
        let (frontends, backends) = services.sizes();
        let mut all = ByRules::default();
        for (s, (f, b)) in services.iter().zip(&services.first) {
            for (i, frontend) in (*f as usize..).zip(&s.frontends) {
                all.hits.set(frontends, i, frontend.rule.and_then(|r| counted(snapshot, r)));
                all.refused.set(frontends, i, frontend.refusal.and_then(|r| counted(snapshot, r)));
            }
            for (i, backend) in (*b as usize..).zip(&s.backends) {
                let rule = backend.rule.filter(|_| backend.source == CounterSource::NatRule);
                all.flows.set(backends, i, rule.and_then(|r| counted(snapshot, r)));
            }
        }
        all
    }
}

impl ByServers {
    fn read(services: &Services, ipvs: &Ipvs) -> ByServers {
        let (frontends, backends) = services.sizes();
        let mut all = ByServers::default();
        // What a dump without statistics does not say is not 0.
        let reported = |n: u64| Some(n).filter(|_| !ipvs.uncounted);
        for (i, s) in services.iter().enumerate() {
            let (first, backend) = (services.first[i].0 as usize, services.first[i].1 as usize);
            for place in first..first + s.frontends.len() {
                let server = services.servers.get(place).and_then(|n| ipvs.servers.get(*n as usize));
                let Some(server) = server else { continue };
                all.hits.set(frontends, place, reported(server.stats.connections));
                for (n, real) in server.real_servers.iter().enumerate() {
                    let is = |b: &super::Backend| (b.address, b.port) == (real.address, real.port);
                    // Most are where they are in the kernel's list.
                    let here = s.backends.get(n).filter(|b| is(b)).map(|_| n);
                    let Some(b) = here.or_else(|| s.backends.iter().position(is)) else { continue };
                    let (i, st) = (backend + b, &real.stats);
                    all.flows.sum(backends, i, reported(st.connections));
                    all.packets.sum(backends, i, reported(st.in_packets + st.out_packets));
                    all.bytes.sum(backends, i, reported(st.in_bytes + st.out_bytes));
                    if !ipvs.unweighted {
                        all.active.sum(backends, i, Some(u64::from(real.active)));
                        all.inactive.sum(backends, i, Some(u64::from(real.inactive)));
                    }
                }
            }
        }
        all
    }
}

impl ByFlows {
    /// `counted`: whether conntrack counts packets and bytes.
    fn read(services: &Services, flows: &Flows, counted: bool, own: &[InterfaceAddress]) -> ByFlows {
        let index = FlowIndex::new(flows, own);
        let (frontends, backends) = services.sizes();
        let mut all = ByFlows::default();
        // Flows to an address go where the mode in use sends them.
        for (s, (f, b)) in services.iter().zip(&services.first).filter(|(s, _)| !s.stale) {
            let protocol = s.protocol.number();
            let mut held = 0;
            for (i, frontend) in (*f as usize..).zip(&s.frontends) {
                let flows = index.to(protocol, frontend.address, frontend.port);
                held += flows;
                all.frontends.set(frontends, i, Some(flows));
            }
            // Most Services have no flow at all.
            if held == 0 {
                let (first, last) = (*b as usize, *b as usize + s.backends.len());
                all.flows.fill(backends, first..last);
                all.unreplied.fill(backends, first..last);
                let counts = |b: &super::Backend| counted && b.source == CounterSource::Conntrack;
                if s.backends.iter().any(counts) {
                    all.packets.fill(backends, first..last);
                    all.bytes.fill(backends, first..last);
                }
                continue;
            }
            for (i, backend) in (*b as usize..).zip(&s.backends) {
                let mut sum = FlowFigures::default();
                for f in &s.frontends {
                    let to = (backend.address, backend.port);
                    index.between(protocol, (f.address, f.port), to, &mut sum);
                }
                all.flows.set(backends, i, Some(u64::from(sum.flows)));
                all.unreplied.set(backends, i, Some(u64::from(sum.unreplied)));
                if counted && backend.source == CounterSource::Conntrack {
                    all.packets.set(backends, i, Some(sum.in_packets + sum.out_packets));
                    all.bytes.set(backends, i, Some(sum.in_bytes + sum.out_bytes));
                }
            }
        }
        all
    }
}

impl ByNotices {
    /// Of a backend; `None` where nothing listens.
    fn get(&self, place: usize) -> Option<FlowTurnover> {
        self.listens.then(|| self.flows.get(&place).copied().unwrap_or_default())
    }

    fn read(services: &Services, events: &FlowEvents, own: &[InterfaceAddress]) -> ByNotices {
        let mut all = ByNotices { listens: true, ..ByNotices::default() };
        let place_of = |key: &FlowKey| {
            let i = services.reached_at(key.frontend(), own)?;
            let to = (key.backend, key.backend_port);
            let b = services[i].backends.iter().position(|b| (b.address, b.port) == to)?;
            Some(services.backends_of(i).start + b)
        };
        for (key, t) in &events.pairs {
            let Some(place) = place_of(key) else { continue };
            let of = all.flows.entry(place).or_default();
            of.began += t.began;
            of.refused += t.refused;
            of.answered += t.answered;
            of.variance += t.variance;
        }
        for (key, l) in &events.latencies {
            let place = place_of(key);
            place.into_iter().for_each(|p| all.latencies.entry(p).or_default().merge(l));
        }
        all
    }
}

/// Flows by where they were sent.
struct FlowIndex<'a> {
    by_frontend: HashMap<L4Endpoint, u64, foldhash::fast::FixedState>,
    flows: &'a Flows,
    node_addresses: Vec<IpAddr>,
}

impl<'a> FlowIndex<'a> {
    fn new(flows: &'a Flows, own: &[InterfaceAddress]) -> FlowIndex<'a> {
        let mut index = FlowIndex {
            by_frontend: HashMap::default(),
            flows,
            node_addresses: own.iter().map(|a| a.address).collect(),
        };
        for (key, figures) in &flows.groups {
            let n = u64::from(figures.flows);
            *index.by_frontend.entry(key.frontend()).or_default() += n;
        }
        index
    }

    /// The addresses of a frontend: a node port is reached by all of the node's.
    fn addresses<'b>(&'b self, address: &'b Option<IpAddr>) -> &'b [IpAddr] {
        match address {
            Some(a) => std::slice::from_ref(a),
            None => &self.node_addresses,
        }
    }

    fn to(&self, protocol: u8, address: Option<IpAddr>, port: u16) -> u64 {
        let addresses = self.addresses(&address).iter();
        addresses.filter_map(|a| self.by_frontend.get(&L4Endpoint::new(protocol, *a, port))).sum()
    }

    /// Adds the flows between a frontend and a backend to `sum`.
    fn between(
        &self,
        protocol: u8,
        (address, frontend_port): (Option<IpAddr>, u16),
        (backend, backend_port): (IpAddr, u16),
        sum: &mut FlowFigures,
    ) {
        for frontend in self.addresses(&address).iter().copied() {
            // Most frontends have no flow at all.
            if !self.by_frontend.contains_key(&L4Endpoint::new(protocol, frontend, frontend_port)) {
                continue;
            }
            let key = FlowKey { protocol, frontend, frontend_port, backend, backend_port };
            if let Some(f) = self.flows.groups.get(&key) {
                sum.add(f);
            }
        }
    }
}
