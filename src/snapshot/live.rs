//! The live source: one namespace of this kernel, read again and again.

use super::{Conntrack, Flows, NetnsFact, ReadCost, Reading, Snapshot, TableState, Unread};
use crate::kernel::netns::Netns;
use crate::kernel::usage::{Cost, Meter};
use crate::kernel::xtables::{self, TableReader};
use crate::kernel::{Error, Result, conntrack, ipvs, node};
use crate::ruleset::{Family, IpFamily, TableBackend};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a snapshot should hold: reads that nobody looks at cost the node nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Packet filter tables.
    pub tables: bool,
    /// IPVS.
    pub ipvs: bool,
    /// Flows, one by one (limits and statistics are always read).
    pub flows: bool,
}

impl Wanted {
    /// Everything.
    pub const ALL: Wanted = Wanted { tables: true, ipvs: true, flows: true };
}

/// How much of one core each source may take when it is read periodically; together 5 %.
const BUDGET: f64 = 0.05 / 3.0;

/// When a source may be read again.
#[derive(Debug, Default)]
struct Pace {
    last: Option<Instant>,
    spacing: Duration,
}

impl Pace {
    fn is_due(&self, now: Instant) -> bool {
        self.last.is_none_or(|l| now.duration_since(l) >= self.spacing)
    }

    fn done(&mut self, now: Instant, cost: Cost) {
        self.last = Some(now);
        // A smoothed cost: one slow read on a busy machine should not stall the screen.
        let target = cost.cpu.div_f64(BUDGET);
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
    ipvs: Option<ipvs::Client>,
    conntrack: Option<conntrack::Client>,
    pace: [Pace; 3],
    kept: Kept,
}

/// The last reading of each source, for snapshots in which it is not read again.
#[derive(Debug, Default)]
struct Kept {
    tables: Vec<TableState>,
    tables_unread: Vec<Unread>,
    ipvs: Option<Reading<ipvs::Ipvs>>,
    ipvs_unread: Vec<Unread>,
    flows: Option<Reading<Flows>>,
    flows_unread: Vec<Unread>,
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
            ipvs: None,
            conntrack: None,
            pace: Default::default(),
            kept: Kept::default(),
        }
    }

    /// From now on reads each source less often by itself where it costs much, so that all of them together
    /// stay under 5 % of a core.
    pub fn paced(mut self) -> Live {
        self.paced = true;
        self
    }

    /// Takes a snapshot.
    pub fn snapshot(&mut self, wanted: Wanted) -> Snapshot {
        let mut snapshot = Snapshot {
            taken_at: jiff::Timestamp::now(),
            node: self.node.clone(),
            netns: self.netns.clone(),
            ..Snapshot::default()
        };
        match node::addresses() {
            Ok(found) => snapshot.addresses = Arc::new(found),
            Err(e) => snapshot.unread.push(unread("the node's addresses", &e)),
        }
        let now = Instant::now();
        type Read = fn(&mut Live, Duration);
        let sources: [(&'static str, bool, Read); 3] = [
            ("tables", wanted.tables, Live::read_tables),
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
                self.pace[i].done(now, cost);
                snapshot.costs.push(ReadCost { what, cost });
            }
            if self.paced && self.pace[i].spacing > Duration::from_secs(1) {
                snapshot.slowed.push((what, self.pace[i].spacing));
            }
        }
        let kept = &self.kept;
        snapshot.tables.clone_from(&kept.tables);
        snapshot.ipvs.clone_from(&kept.ipvs);
        for list in [&kept.tables_unread, &kept.ipvs_unread] {
            snapshot.unread.extend(list.iter().cloned());
        }
        self.add_conntrack(&mut snapshot);
        snapshot.unread.extend(not_built_yet(&snapshot));
        snapshot
    }

    fn read_tables(&mut self, at: Duration) {
        let (mut tables, mut missing) = (Vec::new(), Vec::new());
        for family in [IpFamily::V4, IpFamily::V6] {
            match xtables::table_names(family) {
                Ok(names) => {
                    for name in names {
                        match self.read_table(family, &name, at) {
                            Ok(state) => tables.push(state),
                            Err(e) => missing.push(unread(&format!("the {family} table {name}"), &e)),
                        }
                    }
                }
                Err(e) => missing.push(unread(&format!("{family} tables of x_tables (iptables-legacy)"), &e)),
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
        Ok(TableState {
            at,
            backend: TableBackend::XTables,
            family: match family {
                IpFamily::V4 => Family::Ip,
                IpFamily::V6 => Family::Ip6,
            },
            table: reading.table,
            counters: reading.counters,
            bytes: Some(reading.bytes),
        })
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
                self.kept.ipvs_unread.push(unread("IPVS", &e));
            }
        }
    }

    fn read_flows(&mut self, at: Duration) {
        self.kept.flows_unread.clear();
        let mut flows = Flows::default();
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
                self.kept.flows_unread.push(unread("an exact picture of the flows", &e));
            }
            Err(e) => {
                self.kept.flows = None;
                self.kept.flows_unread.push(unread("the flows of conntrack", &e));
            }
        }
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
                snapshot.unread.push(unread("conntrack", &e));
                return;
            }
        };
        // procfs tells almost as much where netlink is refused.
        let stats = match self
            .client()
            .and_then(conntrack::Client::stats)
            .or_else(|_| conntrack::stats_from_proc())
        {
            Ok(stats) => Some(stats),
            Err(e) => {
                snapshot.unread.push(unread("conntrack statistics", &e));
                None
            }
        };
        snapshot.unread.extend(self.kept.flows_unread.iter().cloned());
        snapshot.conntrack = Some(Conntrack { limits, stats, flows: self.kept.flows.clone() });
    }
}

/// What this version cannot read at all: said, so that its silence is not taken for an empty kernel.
fn not_built_yet(snapshot: &Snapshot) -> Vec<Unread> {
    let mut list = vec![Unread {
        what: "nf_tables".into(),
        why: "this version of kptop does not read it: rules of iptables-nft and of kube-proxy's nftables mode are not shown".into(),
        hint: Some("nft list tables".into()),
        failed: false,
    }];
    if snapshot.ipvs.as_ref().is_some_and(|i| !i.value.servers.is_empty()) {
        list.push(Unread {
            what: "kinds, traffic policies and source ranges of IPVS frontends".into(),
            why: "ipvs mode keeps them in ipsets, which this version of kptop does not read".into(),
            hint: Some("ipset list".into()),
            failed: false,
        });
    }
    list
}

fn unread(what: &str, e: &Error) -> Unread {
    Unread { what: what.to_string(), why: e.kind.to_string(), hint: e.hint(), failed: !e.is_missing() }
}
