//! The live source: one namespace of this kernel, read again and again.

pub use super::waker::Waker;

use super::service_maps;
use super::{
    Conntrack, FlowWatch, Flows, Followed, MemoryList, NetnsFact, ReadCost, Reading, Recent, Remembered,
    RememberedClient, Snapshot, SourceId, TableState, Unread, UnreadKind,
};
use crate::api::{ApiWatch, Cluster};
use crate::kernel::netns::Netns;
use crate::kernel::usage::{Cost, Meter};
use crate::kernel::xtables::{self, TableReader};
use crate::kernel::{
    Error, Result, conntrack, counters, ebpf, ipset, ipvs, links, maps, module, nfacct, nftables, node,
    recent, sysctl, ways,
};
use crate::kube_proxy::KubeProxyWatch;
use crate::ruleset::{Element, Family, IpFamily, L4Endpoint, RuleId, Table, TableBackend};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a snapshot should hold: reads that nobody looks at cost the node nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Packet filter tables of x_tables.
    pub tables: bool,
    /// The same of nf_tables.
    pub nftables: bool,
    /// ipsets and nfacct objects.
    pub sets: bool,
    /// IPVS.
    pub ipvs: bool,
    /// Flows, one by one (limits and statistics are always read).
    pub flows: bool,
}

impl Wanted {
    /// Everything.
    pub const ALL: Wanted = Wanted { tables: true, nftables: true, sets: true, ipvs: true, flows: true };
}

/// How much of one core all sources together may take when they are read periodically. Those that cost
/// something share it.
const BUDGET: f64 = 0.05;

/// What costs less than this takes no share.
const TRIFLE: Duration = Duration::from_micros(300);

/// How many sources there are.
const SOURCES: usize = 5;

/// Place of the flows among them.
const FLOWS: usize = 4;

/// Members up to which an ipset that rules look into is read whole; kube-proxy's hold 65,536 at most.
const SMALL_IPSET: u64 = 70_000;

/// When a source may be read again.
#[derive(Debug, Default)]
struct Pace {
    last: Option<Instant>,
    spacing: Duration,
    cost: Duration,
}

impl Pace {
    fn is_due(&self, now: Instant) -> bool {
        self.last.is_none_or(|l| now.duration_since(l) >= self.spacing)
    }

    fn done(&mut self, now: Instant, cost: Cost, sharers: usize) {
        self.last = Some(now);
        self.cost = cost.cpu;
        // A smoothed cost: one slow read on a busy machine should not stall the screen.
        let target = cost.cpu.div_f64(BUDGET / sharers.max(2) as f64);
        self.spacing = if self.spacing.is_zero() { target } else { (self.spacing + target) / 2 };
    }
}

/// Reads a namespace. It lives on one thread, which stays in that namespace.
#[derive(Debug)]
pub struct Live {
    netns: NetnsFact,
    began: Instant,
    node: Arc<node::Node>,
    paced: bool,
    buffer: Vec<u8>,
    sockets: Vec<(IpFamily, xtables::Socket)>,
    readers: Vec<TableReader>,
    arp: xtables::ArpReader,
    bridge: xtables::BridgeReader,
    ipvs: Option<ipvs::Client>,
    nftables: Option<nftables::Client>,
    ipset: Option<ipset::Client>,
    conntrack: Option<conntrack::Client>,
    pace: [Pace; SOURCES],
    watched: Vec<(Arc<Table>, Vec<RuleId>)>,
    looked_at: LookedAt,
    flow_watch: Option<FlowWatch>,
    /// Counts all new flows, where that is asked for.
    new_flows: NewFlows,
    sysctls: Option<(Instant, Arc<sysctl::Sysctls>)>,
    ways: Option<(Instant, Arc<ways::Ways>)>,
    ebpf: Option<(Instant, Arc<ebpf::Programs>)>,
    /// The bpffs below which other proxies pin their maps, where they are looked for.
    bpffs: Option<PathBuf>,
    maps: Option<(Instant, Arc<MapsRead>)>,
    api: Option<Arc<ApiWatch>>,
    objects: Option<Arc<Cluster>>,
    kube_proxy: Option<KubeProxyWatch>,
    writers: Option<nftables::Writers>,
    written_by: Arc<Vec<nftables::Writer>>,
    kept: Cache,
}

/// What a user looks at right now, and what is read for that alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LookedAt {
    /// Destinations whose flows are kept one by one.
    pub flows: Vec<Followed>,
    /// Where rules remember clients.
    pub memory: Vec<MemoryList>,
    /// Addresses whose new flows are counted as they begin.
    pub events: Vec<IpAddr>,
    /// Sources: where their flows go.
    pub sources: Vec<IpAddr>,
}

/// Maps of other proxies, and what of them could not be read.
#[derive(Debug)]
struct MapsRead {
    maps: Option<Arc<Vec<maps::BpfMap>>>,
    unread: Vec<Unread>,
    took: Duration,
}

/// The last reading of each source, for snapshots in which it is not read again.
#[derive(Debug, Default)]
struct Cache {
    tables: Vec<TableState>,
    tables_unread: Vec<Unread>,
    nftables: Vec<TableState>,
    generation: Option<u32>,
    nftables_unread: Vec<Unread>,
    ipsets: Option<Reading<Vec<ipset::Ipset>>>,
    accounts: Option<Reading<Vec<nfacct::Object>>>,
    sets_unread: Vec<Unread>,
    ipvs: Option<Reading<ipvs::Ipvs>>,
    ipvs_unread: Vec<Unread>,
    flows: Option<Reading<Flows>>,
    flows_unread: Vec<Unread>,
    remembered: Option<Reading<Remembered>>,
}

/// How often routes and sysctls are read where the reader is paced.
const NOW_AND_THEN: Duration = Duration::from_secs(2);
/// The same of what changes with a rollout: hundreds of questions on a node with as many interfaces.
const SELDOM: Duration = Duration::from_secs(30);

/// When all new flows are counted by conntrack's notices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum CountFlows {
    /// Where no rule counts those of a Service: in nftables mode.
    #[default]
    Auto,
    /// In every mode.
    Always,
    /// Not at all.
    Never,
}

/// Whether all new flows are counted, and by whom.
#[derive(Debug, Default)]
struct NewFlows {
    /// `None` where nobody asks.
    when: Option<CountFlows>,
    /// No: something else counts them.
    counted_elsewhere: bool,
    watch: Option<FlowWatch>,
    refused: Option<Unread>,
    tried: Option<Instant>,
}

impl NewFlows {
    /// Begins, ends, or tries once more what was refused: reading flows loads the module that it takes.
    fn keep(&mut self) {
        const AGAIN: Duration = Duration::from_secs(5);
        let wanted = match self.when {
            Some(CountFlows::Always) => true,
            Some(CountFlows::Auto) => !self.counted_elsewhere,
            Some(CountFlows::Never) | None => false,
        };
        if !wanted {
            (self.watch, self.refused, self.tried) = (None, None, None);
        } else if self.watch.is_none() && self.tried.is_none_or(|t| t.elapsed() >= AGAIN) {
            self.tried = Some(Instant::now());
            let started = FlowWatch::start_whole();
            let what = "new flows (conntrack's notices)";
            self.refused = started.as_ref().err().map(|e| Unread::of_error(SourceId::Notices, what, e));
            self.watch = started.ok();
        }
    }
}

/// Reads something, or gives what was read not longer ago than this: where the reader is paced, as in the live screen.
fn kept_for<T>(
    most: Duration,
    kept: &mut Option<(Instant, Arc<T>)>,
    paced: bool,
    read: impl FnOnce() -> Result<T>,
) -> Result<Arc<T>> {
    if let Some((at, known)) = kept
        && paced
        && at.elapsed() < most
    {
        return Ok(known.clone());
    }
    let read = Arc::new(read()?);
    *kept = Some((Instant::now(), read.clone()));
    Ok(read)
}

impl Live {
    /// Opens the namespace `spec` (see [`Netns::find`]), or the calling thread's own. The thread enters it.
    pub fn open(spec: Option<&str>) -> Result<Live> {
        match spec {
            Some(spec) => Live::enter(&Netns::find(spec)?),
            None => Ok(Live::here(Netns::current().ok().as_ref())),
        }
    }

    /// Opens a namespace that is at hand. The thread enters it.
    pub fn enter(ns: &Netns) -> Result<Live> {
        ns.enter()?;
        Ok(Live::here(Some(ns)))
    }

    fn here(ns: Option<&Netns>) -> Live {
        Live {
            netns: NetnsFact { name: ns.and_then(|n| n.name.clone()), inode: ns.map(|n| n.inode) },
            began: Instant::now(),
            node: Arc::new(node::read()),
            paced: false,
            buffer: Vec::new(),
            sockets: Vec::new(),
            readers: Vec::new(),
            arp: xtables::ArpReader::default(),
            bridge: xtables::BridgeReader::default(),
            ipvs: None,
            nftables: None,
            ipset: None,
            conntrack: None,
            watched: Vec::new(),
            looked_at: LookedAt::default(),
            flow_watch: None,
            new_flows: NewFlows::default(),
            sysctls: None,
            ways: None,
            ebpf: None,
            bpffs: None,
            maps: None,
            api: None,
            objects: None,
            kube_proxy: None,
            writers: None,
            written_by: Arc::default(),
            pace: Default::default(),
            kept: Cache::default(),
        }
    }

    /// From now on each snapshot holds what the Kubernetes API says.
    pub fn with_api(mut self, api: Option<Arc<ApiWatch>>) -> Live {
        self.api = api;
        self
    }

    /// From now on each snapshot holds the maps of other proxies that are pinned below this bpffs. They belong to the machine, and not
    /// to a network namespace.
    pub fn with_maps(mut self, bpffs: Option<PathBuf>) -> Live {
        self.bpffs = bpffs;
        self
    }

    /// From now on each snapshot holds these objects, where no API reports any.
    pub fn with_objects(mut self, objects: Option<Arc<Cluster>>) -> Live {
        self.objects = objects;
        self
    }

    fn cluster(&self) -> Option<Arc<Cluster>> {
        self.api.as_ref().map(|a| a.get()).or_else(|| self.objects.clone())
    }

    /// From now on each snapshot holds what kube-proxy says of itself. It is asked in the namespace that is read.
    pub fn asking_kube_proxy(mut self, ask: bool) -> Live {
        self.kube_proxy = if ask { KubeProxyWatch::start() } else { None };
        self
    }

    /// Waits for kube-proxy's first answers, but no longer than this.
    pub fn wait_for_kube_proxy(&self, most: Duration) {
        if let Some(k) = &self.kube_proxy {
            k.wait(most);
        }
    }

    /// From now on reads each source less often by itself where it costs much, so that all of them together
    /// stay under 5 % of a core.
    pub fn paced(mut self) -> Live {
        self.paced = true;
        self
    }

    /// Rules of a large node in nftables mode, to be shown until the first whole [`Live::snapshot`] is there: names, frontends and
    /// numbers of backends are known without the maps of endpoints, and come in a fifth of the time. `None` on every other node.
    pub fn outline(&mut self) -> Option<Snapshot> {
        let client = match self.nftables.take() {
            Some(client) => Ok(client),
            None => nftables::Client::open(),
        };
        let client = self.nftables.insert(client.ok()?);
        // What fails here fails in the whole reading, too, and is said there.
        let ruleset = client.outline().ok()??;
        let at = self.began.elapsed();
        let tables = ruleset.tables.into_iter().map(|t| TableState::new(at, t.table, t.counters)).collect();
        let unread = Unread {
            source: SourceId::NfTables,
            what: "endpoints of Services".into(),
            kind: UnreadKind::NotGiven,
            why: "they are being read".into(),
            hint: None,
        };
        Some(Snapshot {
            taken_at: jiff::Timestamp::now(),
            node: self.node.clone(),
            sysctls: self.sysctls(),
            addresses: Arc::new(node::addresses().unwrap_or_default()),
            cluster: self.cluster(),
            netns: self.netns.clone(),
            tables,
            generation: Some(ruleset.generation),
            unread: vec![unread],
            outline: true,
            ..Snapshot::default()
        })
    }

    /// Takes a snapshot.
    pub fn snapshot(&mut self, wanted: Wanted) -> Snapshot {
        let mut snapshot = Snapshot {
            taken_at: jiff::Timestamp::now(),
            node: self.node.clone(),
            sysctls: self.sysctls(),
            api_heard_at: self.api.as_ref().and_then(|a| a.heard_at()),
            cluster: self.cluster(),
            kube_proxy: self.kube_proxy.as_ref().and_then(KubeProxyWatch::get),
            netns: self.netns.clone(),
            ..Snapshot::default()
        };
        self.listen_to_writers();
        match node::addresses() {
            Ok(found) => snapshot.addresses = Arc::new(found),
            Err(e) => snapshot.unread.push(Unread::of_error(SourceId::Addresses, "the node's addresses", &e)),
        }
        snapshot.routes = Arc::new(node::routes());
        match self.ways() {
            Ok(found) => snapshot.ways = Some(found),
            Err(e) => snapshot.unread.push(Unread::of_error(SourceId::Routes, "routes and neighbours", &e)),
        }
        self.add_ebpf(&mut snapshot);
        self.add_maps(&mut snapshot);
        match links::read() {
            Ok(found) => snapshot.links = Arc::new(found),
            Err(e) => snapshot.unread.push(Unread::of_error(SourceId::Links, "the node's interfaces", &e)),
        }
        match counters::read() {
            Ok(value) => {
                snapshot.counters = Some(Reading { at: self.began.elapsed(), value: Arc::new(value) });
            }
            Err(e) => snapshot.unread.push(Unread::of_error(
                SourceId::Counters,
                "counters of the network stack",
                &e,
            )),
        }
        let now = Instant::now();
        type Read = fn(&mut Live, Duration);
        let sources: [(&'static str, bool, Read); SOURCES] = [
            ("tables", wanted.tables, Live::read_tables),
            ("nftables", wanted.nftables, Live::read_nftables),
            ("sets", wanted.sets, Live::read_sets),
            ("ipvs", wanted.ipvs, Live::read_ipvs),
            ("flows", wanted.flows, Live::read_flows),
        ];
        for (i, (what, wanted, read)) in sources.into_iter().enumerate() {
            if !wanted {
                continue;
            }
            if !self.paced || self.pace[i].is_due(now) {
                let meter = Meter::start();
                read(self, self.began.elapsed());
                let cost = meter.stop();
                let sharers = self.pace.iter().filter(|p| p.cost > TRIFLE).count();
                self.pace[i].done(now, cost, sharers);
                snapshot.costs.push(ReadCost { what, cost });
            } else if what == "nftables" && !self.watched.is_empty() {
                let meter = Meter::start();
                self.read_watched(self.began.elapsed());
                snapshot.costs.push(ReadCost { what, cost: meter.stop() });
            }
            if self.paced && self.pace[i].spacing > Duration::from_secs(1) {
                snapshot.slowed.push((what.into(), self.pace[i].spacing));
            }
        }
        let read = snapshot.costs.iter().any(|c| c.what == "flows");
        if !self.looked_at.flows.is_empty() && wanted.flows && !read {
            let meter = Meter::start();
            snapshot.followed = self.read_followed(self.began.elapsed());
            snapshot.costs.push(ReadCost { what: "followed", cost: meter.stop() });
        }
        self.new_flows.keep();
        snapshot.unread.extend(self.new_flows.refused.iter().cloned());
        if let Some(watch) = self.new_flows.watch.as_ref().or(self.flow_watch.as_ref()) {
            let value = Arc::new(watch.get());
            snapshot.flow_events = Some(Reading { at: self.began.elapsed(), value });
        }
        if self.new_flows.watch.is_some() {
            // Something new was read, if nothing else.
            snapshot.costs.push(ReadCost { what: "notices", cost: Cost::default() });
        }
        self.read_memory(self.began.elapsed());
        let kept = &self.kept;
        snapshot.remembered.clone_from(&kept.remembered);
        snapshot.tables.clone_from(&kept.tables);
        snapshot.tables.extend(kept.nftables.iter().cloned());
        snapshot.generation = kept.generation;
        snapshot.writers = self.written_by.clone();
        snapshot.ipsets.clone_from(&kept.ipsets);
        snapshot.accounts.clone_from(&kept.accounts);
        snapshot.ipvs.clone_from(&kept.ipvs);
        for list in [&kept.tables_unread, &kept.nftables_unread, &kept.sets_unread, &kept.ipvs_unread] {
            snapshot.unread.extend(list.iter().cloned());
        }
        self.add_conntrack(&mut snapshot);
        if let Some(t) = snapshot.cluster.as_ref().and_then(|c| c.state.trouble.as_ref()) {
            let what = "names from the Kubernetes API".into();
            // Nothing of the node was missed by it.
            let kind = UnreadKind::Missing;
            snapshot.unread.push(Unread {
                source: SourceId::Api,
                what,
                kind,
                why: t.what.clone(),
                hint: None,
            });
        }
        snapshot
    }

    /// Routes may be many.
    fn ways(&mut self) -> Result<Arc<ways::Ways>> {
        kept_for(NOW_AND_THEN, &mut self.ways, self.paced, ways::read)
    }

    /// A file or more for each interface, and they seldom change.
    fn sysctls(&mut self) -> Arc<sysctl::Sysctls> {
        kept_for(NOW_AND_THEN, &mut self.sysctls, self.paced, || Ok(sysctl::read())).unwrap_or_default()
    }

    /// eBPF programs; what was not permitted is said.
    fn add_ebpf(&mut self, snapshot: &mut Snapshot) {
        match kept_for(SELDOM, &mut self.ebpf, self.paced, ebpf::read) {
            Ok(found) => {
                let refused = [("at cgroups", &found.no_cgroups), ("at tcx", &found.no_tcx)];
                for (where_, why) in refused {
                    let Some(why) = why.clone() else { continue };
                    let what = format!("eBPF programs {where_}");
                    let kind = UnreadKind::NotPermitted;
                    let hint = Some("run as root or with sudo".into());
                    snapshot.unread.push(Unread { source: SourceId::Ebpf, what, kind, why, hint });
                }
                snapshot.ebpf = Some(found);
            }
            Err(e) => snapshot.unread.push(Unread::of_error(SourceId::Ebpf, "eBPF programs", &e)),
        }
    }

    /// Maps of other proxies. The same entries are the same object: their Services are put together once.
    fn add_maps(&mut self, snapshot: &mut Snapshot) {
        let Some(bpffs) = &self.bpffs else { return };
        let before = self.maps.as_ref().map(|m| m.1.clone());
        // Large maps are read the seldomer: they keep to the budget, too.
        let spacing = before.as_ref().map_or(NOW_AND_THEN, |b| NOW_AND_THEN.max(b.took.div_f64(BUDGET)));
        let read = kept_for(spacing, &mut self.maps, self.paced, || {
            let meter = Meter::start();
            let (maps, unread) = service_maps::read(bpffs);
            let same = before.and_then(|b| b.maps.clone()).filter(|b| Some(&**b) == maps.as_ref());
            let maps = same.or_else(|| maps.map(Arc::new));
            Ok(MapsRead { maps, unread, took: meter.stop().cpu })
        });
        if let Ok(read) = read {
            snapshot.unread.extend(read.unread.iter().cloned());
            snapshot.maps.clone_from(&read.maps);
        }
    }

    fn read_tables(&mut self, at: Duration) {
        let (mut tables, mut missing) = (Vec::new(), Vec::new());
        for family in [IpFamily::V4, IpFamily::V6] {
            match xtables::table_names(family) {
                Ok(names) => {
                    for name in names {
                        match self.read_table(family, &name, at) {
                            Ok(state) => tables.push(state),
                            Err(e) => missing.push(Unread::of_error(
                                SourceId::Tables(family.into()),
                                format!("the {family} table {name}"),
                                &e,
                            )),
                        }
                    }
                }
                Err(e) => missing.push(Unread::of_error(
                    SourceId::Tables(family.into()),
                    format!("{family} tables of x_tables (iptables-legacy)"),
                    &e,
                )),
            }
        }
        let state = |r: xtables::Reading| TableState {
            bytes: Some(r.bytes),
            ..TableState::new(at, r.table, r.counters)
        };
        match self.arp.read() {
            Ok(found) => tables.extend(found.into_iter().map(state)),
            Err(e) => {
                missing.push(Unread::of_error(SourceId::Tables(Family::Arp), "tables of arptables", &e));
            }
        }
        // Where ebtables is not there, nothing is missed.
        if module::is_there("ebtables") {
            match self.bridge.read() {
                Ok(found) => tables.extend(found.into_iter().map(state)),
                Err(e) if e.is_missing() => missing.push(Unread {
                    source: SourceId::Tables(Family::Bridge),
                    what: "tables of legacy ebtables".into(),
                    kind: UnreadKind::Missing,
                    why: format!(
                        "asking for one would make it, and where they are is not reported: {}",
                        e.kind
                    ),
                    hint: e.hint(),
                }),
                Err(e) => missing.push(Unread::of_error(
                    SourceId::Tables(Family::Bridge),
                    "tables of legacy ebtables",
                    &e,
                )),
            }
        }
        self.kept.tables = tables;
        self.kept.tables_unread = missing;
    }

    fn read_table(&mut self, family: IpFamily, name: &str, at: Duration) -> Result<TableState> {
        if !self.sockets.iter().any(|s| s.0 == family) {
            self.sockets.push((family, xtables::Socket::open(family)?));
        }
        let i = match self.readers.iter().position(|r| r.family() == family && r.name() == name) {
            Some(i) => i,
            None => {
                self.readers.push(TableReader::new(family, name));
                self.readers.len() - 1
            }
        };
        let Some((_, socket)) = self.sockets.iter().find(|s| s.0 == family) else {
            return Err(Error::protocol("reading a table", "no socket"));
        };
        let reading = self.readers[i].read(socket, &mut self.buffer)?;
        Ok(TableState { bytes: Some(reading.bytes), ..TableState::new(at, reading.table, reading.counters) })
    }

    fn read_nftables(&mut self, at: Duration) {
        let read = (|| {
            if self.nftables.is_none() {
                self.nftables = Some(nftables::Client::open()?);
            }
            match self.nftables.as_mut() {
                Some(client) => client.read(),
                None => Err(Error::protocol("nf_tables", "not open")),
            }
        })();
        let kept = &mut self.kept;
        kept.nftables_unread.clear();
        match read {
            Ok(ruleset) => {
                kept.generation = Some(ruleset.generation);
                kept.nftables =
                    ruleset.tables.into_iter().map(|t| TableState::new(at, t.table, t.counters)).collect();
            }
            Err(e) => {
                // What was consistent a moment ago is still shown, with its age; nothing is mixed in.
                if !matches!(e.kind, crate::kernel::ErrorKind::Interrupted { .. }) {
                    kept.nftables.clear();
                    kept.generation = None;
                    self.nftables = None;
                }
                kept.nftables_unread.push(Unread::of_error(SourceId::NfTables, "nf_tables", &e));
            }
        }
    }

    /// Takes the names of those who changed nf_tables since the last time; begins to listen at the first.
    fn listen_to_writers(&mut self) {
        const KEPT: usize = 32;
        if self.writers.is_none() {
            // Without it nobody is named; rules are read all the same.
            self.writers = nftables::Writers::open().ok();
        }
        let mut fresh = Vec::new();
        if let Some(writers) = &mut self.writers
            && writers.receive(&mut |w| fresh.push(w)).is_err()
        {
            self.writers = None;
        }
        if !fresh.is_empty() {
            let all = Arc::make_mut(&mut self.written_by);
            all.extend(fresh);
            all.drain(..all.len().saturating_sub(KEPT));
        }
    }

    /// Has the counters of these rules read each time, also when their table as a whole is not due: what is on
    /// a screen. Each table is named by its structure.
    pub fn watch(&mut self, mut rules: Vec<(Arc<Table>, Vec<RuleId>)>) {
        // x_tables has no way to read one rule, and what counts nothing need not be asked.
        rules.retain_mut(|(table, list)| {
            list.retain(|r| table.rules.get(r.0 as usize).is_some_and(|r| r.counted));
            table.backend == TableBackend::NfTables && !list.is_empty()
        });
        self.watched = rules;
    }

    /// Has all new flows of the namespace counted, within a budget of CPU time. Auto counts until
    /// [`Live::new_flows_are_counted`] says that something else does.
    pub fn counting_new_flows(mut self, when: CountFlows) -> Live {
        self.new_flows.when = Some(when);
        self
    }

    /// Whether something else counts the new flows of all Services, as a reading showed.
    pub fn new_flows_are_counted(&mut self, elsewhere: bool) {
        self.new_flows.counted_elsewhere = elsewhere;
    }

    /// Reads also what a user looks at, from the next snapshot on; new flows are read without waiting for their turn.
    pub fn look_at(&mut self, what: LookedAt) {
        if what.flows != self.looked_at.flows && !what.flows.is_empty() {
            self.pace[FLOWS].last = None;
        }
        if what.events != self.looked_at.events {
            // Where the kernel does not report flows, dumps are all there is.
            self.flow_watch = if what.events.is_empty() { None } else { FlowWatch::start(&what.events).ok() };
        }
        if what.memory != self.looked_at.memory {
            self.kept.remembered = None;
        }
        self.looked_at = what;
    }

    fn members(&mut self, family: Family, table: &str, set: &str) -> Option<Result<Vec<Element>>> {
        let tables = &self.kept.nftables;
        let table = &tables.iter().find(|t| t.family == family && t.table.name == table)?.table;
        Some(self.nftables.as_mut()?.set_members(table, table.find_set(set)?))
    }

    /// Reads the clients that rules remember, of the lists that a user looks at.
    fn read_memory(&mut self, at: Duration) {
        if self.looked_at.memory.is_empty() {
            return;
        }
        let mut found = Remembered::default();
        for list in &self.looked_at.memory.clone() {
            let clients = match list {
                MemoryList::Recent(name) => recent::read(name).map(|clients| {
                    let client = |c: recent::RecentEntry| RememberedClient {
                        address: c.address,
                        expires: None,
                        packets: Some(c.packets),
                    };
                    clients.into_iter().map(client).collect()
                }),
                MemoryList::Set(family, table, set) => match self.members(*family, table, set) {
                    Some(read) => read.map(|elements| {
                        let client = |e: &Element| {
                            Some(RememberedClient {
                                address: crate::ruleset::address(family.ip()?, &e.key)?,
                                expires: e.expires_ms.map(Duration::from_millis),
                                packets: None,
                            })
                        };
                        elements.iter().filter_map(client).collect()
                    }),
                    None => Ok(Vec::new()), // the set is gone, and its clients with it
                },
            };
            match clients {
                Ok(clients) => found.lists.push((list.clone(), clients)),
                Err(e) => found.failed.push(e.to_string()),
            }
        }
        self.kept.remembered = Some(Reading { at, value: Arc::new(found) });
    }

    /// Reads the watched counters, where the rules are still those of the last reading.
    fn read_watched(&mut self, at: Duration) {
        let Some(client) = self.nftables.as_mut() else { return };
        for (table, rules) in &self.watched {
            let Some(state) = self.kept.nftables.iter_mut().find(|t| Arc::ptr_eq(&t.table, table)) else {
                continue;
            };
            if let Ok(Some(found)) = client.counters_of(table, rules) {
                state.recent = Some(Arc::new(Recent { at, rules: found.into_iter().collect() }));
            }
        }
    }

    fn read_sets(&mut self, at: Duration) {
        let read = (|| {
            if self.ipset.is_none() {
                self.ipset = Some(ipset::Client::open()?);
            }
            match self.ipset.as_mut() {
                // Members of sets that rules look into; of large ones only the number.
                Some(client) => client.read(|s| s.references > 0 && s.size <= SMALL_IPSET),
                None => Err(Error::protocol("ipset", "not open")),
            }
        })();
        let kept = &mut self.kept;
        kept.sets_unread.clear();
        kept.ipsets = match read {
            Ok(value) => Some(Reading { at, value: Arc::new(value) }),
            Err(e) => {
                self.ipset = None;
                // A node without ipsets lacks nothing.
                if !e.is_missing() {
                    kept.sets_unread.push(Unread::of_error(SourceId::Ipsets, "ipsets", &e));
                }
                None
            }
        };
        kept.accounts = match nfacct::read() {
            Ok(value) => Some(Reading { at, value: Arc::new(value) }),
            Err(e) => {
                if !e.is_missing() {
                    kept.sets_unread.push(Unread::of_error(SourceId::Accounts, "nfacct objects", &e));
                }
                None
            }
        };
    }

    fn read_ipvs(&mut self, at: Duration) {
        let read = (|| {
            if self.ipvs.is_none() {
                self.ipvs = Some(ipvs::Client::open()?);
            }
            match self.ipvs.as_mut() {
                Some(client) => client.read(),
                None => Err(Error::protocol("IPVS", "not open")),
            }
        })();
        self.kept.ipvs_unread.clear();
        match read {
            Ok(value) => self.kept.ipvs = Some(Reading { at, value: Arc::new(value) }),
            Err(e) => {
                self.ipvs = None; // the module may have gone, and come again with another number
                self.kept.ipvs = None;
                self.kept.ipvs_unread.push(Unread::of_error(SourceId::Ipvs, "IPVS", &e));
            }
        }
    }

    fn read_flows(&mut self, at: Duration) {
        self.kept.flows_unread.clear();
        let mut flows = Flows::default();
        flows.follow(self.looked_at.flows.clone());
        flows.look_at_sources(&self.looked_at.sources);
        match conntrack::limits() {
            // Said once, by `add_conntrack`.
            Err(_) => {
                self.kept.flows = None;
                return;
            }
            // A dump walks every bucket of a table that all namespaces share: not for nothing.
            Ok(l) if l.count == Some(0) => {
                self.kept.flows = Some(Reading { at, value: Arc::new(flows) });
                return;
            }
            Ok(_) => {}
        }
        let read = match self.client() {
            Ok(client) => client.flows(|f| flows.add(f)),
            Err(e) => Err(e),
        };
        match read {
            Ok(()) => self.kept.flows = Some(Reading { at, value: Arc::new(flows) }),
            // The flows changed while they were dumped. They always do on a busy node, and the kernel says
            // so only when it resized the table: what was counted is kept as it is.
            Err(e) if matches!(e.kind, crate::kernel::ErrorKind::Interrupted { .. }) => {
                self.kept.flows = Some(Reading { at, value: Arc::new(flows) });
                self.kept.flows_unread.push(Unread::of_error(
                    SourceId::Flows,
                    "an exact picture of the flows",
                    &e,
                ));
            }
            Err(e) => {
                self.kept.flows = None;
                self.kept.flows_unread.push(Unread::of_error(SourceId::Flows, "the flows of conntrack", &e));
            }
        }
    }

    /// The flows that a user looks at, without the others: the kernel leaves them out.
    fn read_followed(&mut self, at: Duration) -> Option<Reading<Flows>> {
        let wanted = self.looked_at.flows.clone();
        let own = node::addresses().unwrap_or_default();
        let mut flows = Flows::default();
        flows.follow(wanted.clone());
        let client = self.client().ok()?;
        for (protocol, address, port) in wanted {
            // A node port is on every address of the node.
            let all: Vec<IpAddr> = match address {
                Some(a) => vec![a],
                None => own.iter().map(|a| a.address).collect(),
            };
            for a in all {
                client.flows_to(L4Endpoint::new(protocol, a, port), |f| flows.add(f)).ok()?;
            }
        }
        Some(Reading { at, value: Arc::new(flows) })
    }

    /// Every flow of conntrack, one by one; none is kept.
    ///
    /// # Errors
    /// The kernel has no conntrack, or refused.
    pub fn each_flow(&mut self, each: impl FnMut(&conntrack::Flow)) -> Result<()> {
        self.client()?.flows(each)
    }

    fn client(&mut self) -> Result<&mut conntrack::Client> {
        if self.conntrack.is_none() {
            self.conntrack = Some(conntrack::Client::open()?);
        }
        self.conntrack.as_mut().ok_or_else(|| Error::protocol("conntrack", "not open"))
    }

    fn add_conntrack(&mut self, snapshot: &mut Snapshot) {
        let limits = match conntrack::limits() {
            Ok(limits) => limits,
            Err(e) => {
                snapshot.unread.push(Unread::of_error(SourceId::ConntrackStats, "conntrack", &e));
                return;
            }
        };
        // procfs says almost as much where netlink is refused.
        let cpus = match self
            .client()
            .and_then(conntrack::Client::stats)
            .or_else(|_| conntrack::stats_from_proc())
        {
            Ok(cpus) => cpus,
            Err(e) => {
                snapshot.unread.push(Unread::of_error(SourceId::ConntrackStats, "conntrack statistics", &e));
                Vec::new()
            }
        };
        snapshot.unread.extend(self.kept.flows_unread.iter().cloned());
        let stats = (!cpus.is_empty()).then(|| conntrack::Stats::sum(&cpus));
        let (at, flows) = (self.began.elapsed(), self.kept.flows.clone());
        snapshot.conntrack = Some(Conntrack { at, limits, stats, cpus, flows });
    }
}
