//! A snapshot as it is in a recording: what seldom changes is a piece of its own that readings name by number.

use crate::ruleset::{Family, Table, TableCounters};
use crate::snapshot::facts::{
    AcctObject, BpfMap, Cluster, Counters, InterfaceAddress, Ipset, Ipvs, KubeProxy, Link, Node, Programs,
    Route, Sysctls, Ways, Writer,
};
use crate::snapshot::{
    Conntrack, FlowEvents, Flows, Hns, InputPart, NetnsFact, Reading, Recent, Remembered, Snapshot, SourceId,
    TableState, Unread, UnreadKind,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

/// Number of a piece in its recording.
pub(super) type PieceId = u32;

/// What seldom changes. A new kind is a new variant at the end, and a new field has a default: what is here is
/// the file format.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Piece {
    Node(Arc<Node>),
    Table(Arc<Table>),
    Addresses(Arc<Vec<InterfaceAddress>>),
    Links(Arc<Vec<Link>>),
    Sysctls(Arc<Sysctls>),
    Cluster(Arc<Cluster>),
    Routes(Arc<Vec<Route>>),
    Ways(Arc<Ways>),
    Ebpf(Arc<Programs>),
    Maps(Arc<Vec<BpfMap>>),
    Hns(Arc<Hns>),
}

impl Piece {
    /// True where it is the same: tables are distinguished by where they are, as structure is parsed only where it changed.
    pub(super) fn is(&self, other: &Piece) -> bool {
        match (self, other) {
            (Piece::Node(a), Piece::Node(b)) => a == b,
            (Piece::Table(a), Piece::Table(b)) => Arc::ptr_eq(a, b),
            (Piece::Addresses(a), Piece::Addresses(b)) => a == b,
            (Piece::Links(a), Piece::Links(b)) => a == b,
            (Piece::Sysctls(a), Piece::Sysctls(b)) => a == b,
            (Piece::Cluster(a), Piece::Cluster(b)) => Arc::ptr_eq(a, b),
            (Piece::Routes(a), Piece::Routes(b)) => a == b,
            (Piece::Ways(a), Piece::Ways(b)) => a == b,
            (Piece::Ebpf(a), Piece::Ebpf(b)) => a == b,
            (Piece::Hns(a), Piece::Hns(b)) => a == b,
            (Piece::Maps(a), Piece::Maps(b)) => Arc::ptr_eq(a, b) || a == b,
            _ => false,
        }
    }

    /// True where it represents the same thing, perhaps at another time.
    pub(super) fn is_kin(&self, other: &Piece) -> bool {
        match (self, other) {
            (Piece::Table(a), Piece::Table(b)) => {
                (a.backend, a.family, &a.name) == (b.backend, b.family, &b.name)
            }
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }
}

/// One reading.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Frame {
    taken_at: Timestamp,
    #[serde(default)]
    netns: NetnsFact,
    /// Pieces: node, addresses, links, sysctls, cluster.
    #[serde(default)]
    pieces: Vec<PieceId>,
    #[serde(default)]
    tables: Vec<FrameTable>,
    #[serde(default)]
    ipvs: Option<Reading<Ipvs>>,
    #[serde(default)]
    ipsets: Option<Reading<Vec<Ipset>>>,
    #[serde(default)]
    accounts: Option<Reading<Vec<AcctObject>>>,
    #[serde(default)]
    generation: Option<u32>,
    #[serde(default)]
    conntrack: Option<Conntrack>,
    #[serde(default)]
    followed: Option<Reading<Flows>>,
    #[serde(default)]
    flow_events: Option<Reading<FlowEvents>>,
    #[serde(default)]
    remembered: Option<Reading<Remembered>>,
    #[serde(default)]
    counters: Option<Reading<Counters>>,
    #[serde(default)]
    unread: Vec<FrameUnread>,
    #[serde(default)]
    slowed: Vec<(Cow<'static, str>, Duration)>,
    #[serde(default)]
    writers: Arc<Vec<Writer>>,
    #[serde(default)]
    api_heard_at: Option<Timestamp>,
    #[serde(default)]
    kube_proxy: Option<Arc<KubeProxy>>,
    #[serde(default)]
    parts: Arc<Vec<InputPart>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct FrameTable {
    table: PieceId,
    at: Duration,
    #[serde(default)]
    bytes: Option<u64>,
    counters: Arc<TableCounters>,
    #[serde(default)]
    recent: Option<Arc<Recent>>,
}

/// What could not be read.
#[derive(Debug, Serialize, Deserialize)]
struct FrameUnread {
    what: String,
    why: String,
    #[serde(default)]
    hint: Option<String>,
    #[serde(default)]
    failed: bool,
    /// Not in recordings of 0.1.
    #[serde(default)]
    source: Option<Cow<'static, str>>,
    /// Not in recordings of 0.1; a kind of a later version is stored as differences to `failed`.
    #[serde(default)]
    kind: Option<Cow<'static, str>>,
}

/// The kinds with their names.
const KINDS: [(UnreadKind, &str); 4] = [
    (UnreadKind::Missing, "missing"),
    (UnreadKind::NotPermitted, "not-permitted"),
    (UnreadKind::NotGiven, "not-given"),
    (UnreadKind::Failed, "failed"),
];

impl FrameUnread {
    fn new(u: &Unread) -> FrameUnread {
        let kind = KINDS.iter().find(|k| k.0 == u.kind).map(|k| k.1.into());
        FrameUnread {
            what: u.what.clone(),
            why: u.why.clone(),
            hint: u.hint.clone(),
            failed: u.failed(),
            source: Some(u.source.name().into()),
            kind,
        }
    }

    fn unread(self) -> Unread {
        let source = match &self.source {
            Some(name) => SourceId::of_name(name),
            None => source_of_0_1(&self.what),
        };
        let by_name = KINDS.iter().find(|k| Some(k.1) == self.kind.as_deref());
        let otherwise = if self.failed { UnreadKind::Failed } else { UnreadKind::Missing };
        let kind = by_name.map_or(otherwise, |k| k.0);
        Unread { source, what: self.what, kind, why: self.why, hint: self.hint }
    }
}

/// Recordings of 0.1 name a source for people only, in these words.
fn source_of_0_1(what: &str) -> SourceId {
    let tables = |f| SourceId::Tables(f);
    match what {
        "nf_tables" => SourceId::NfTables,
        "IPVS" => SourceId::Ipvs,
        "ipsets" => SourceId::Ipsets,
        "nfacct objects" => SourceId::Accounts,
        "the flows of conntrack" | "an exact picture of the flows" | "flows" => SourceId::Flows,
        "conntrack" | "conntrack statistics" => SourceId::ConntrackStats,
        "the node's addresses" => SourceId::Addresses,
        "the node's interfaces" => SourceId::Links,
        "counters of the network stack" => SourceId::Counters,
        "sysctls" => SourceId::Sysctls,
        "names from the Kubernetes API" | "objects of the Kubernetes API" | "EndpointSlices" => SourceId::Api,
        "tables of arptables" => tables(Family::Arp),
        "tables of legacy ebtables" => tables(Family::Bridge),
        "rules and virtual servers" => SourceId::NfTables,
        _ if what.starts_with("ipv6 tables") || what.starts_with("the ipv6 table") => tables(Family::Ip6),
        _ if what.starts_with("ipv4 tables") || what.starts_with("the ipv4 table") => tables(Family::Ip),
        _ if what.starts_with("table ") => SourceId::NfTables,
        _ => SourceId::Other,
    }
}

impl Frame {
    /// Takes a snapshot apart; `put` gives the number of a piece.
    pub(super) fn new(s: &Snapshot, mut put: impl FnMut(Piece) -> PieceId) -> Frame {
        let mut pieces = vec![
            put(Piece::Node(s.node.clone())),
            put(Piece::Addresses(s.addresses.clone())),
            put(Piece::Links(s.links.clone())),
            put(Piece::Sysctls(s.sysctls.clone())),
            put(Piece::Routes(s.routes.clone())),
        ];
        pieces.extend(s.cluster.clone().map(|c| put(Piece::Cluster(c))));
        pieces.extend(s.ways.clone().map(|w| put(Piece::Ways(w))));
        pieces.extend(s.ebpf.clone().map(|e| put(Piece::Ebpf(e))));
        pieces.extend(s.maps.clone().map(|m| put(Piece::Maps(m))));
        pieces.extend(s.hns.clone().map(|h| put(Piece::Hns(h))));
        let tables = s.tables.iter().map(|t| FrameTable {
            table: put(Piece::Table(t.table.clone())),
            at: t.at,
            bytes: t.bytes,
            counters: t.counters.clone(),
            recent: t.recent.clone(),
        });
        Frame {
            taken_at: s.taken_at,
            netns: s.netns.clone(),
            tables: tables.collect(),
            pieces,
            ipvs: s.ipvs.clone(),
            ipsets: s.ipsets.clone(),
            accounts: s.accounts.clone(),
            generation: s.generation,
            conntrack: s.conntrack.clone(),
            followed: s.followed.clone(),
            flow_events: s.flow_events.clone(),
            remembered: s.remembered.clone(),
            counters: s.counters.clone(),
            unread: s.unread.iter().map(FrameUnread::new).collect(),
            slowed: s.slowed.clone(),
            writers: s.writers.clone(),
            api_heard_at: s.api_heard_at,
            kube_proxy: s.kube_proxy.clone(),
            parts: s.parts.clone(),
        }
    }

    /// Puts the snapshot together again. The error says what is missing.
    pub(super) fn snapshot(
        self,
        mut get: impl FnMut(PieceId) -> Result<Piece, String>,
    ) -> Result<Snapshot, String> {
        let mut s = Snapshot {
            taken_at: self.taken_at,
            netns: self.netns,
            ipvs: self.ipvs,
            ipsets: self.ipsets,
            accounts: self.accounts,
            generation: self.generation,
            conntrack: self.conntrack,
            followed: self.followed,
            flow_events: self.flow_events,
            remembered: self.remembered,
            counters: self.counters,
            unread: self.unread.into_iter().map(FrameUnread::unread).collect(),
            slowed: self.slowed,
            writers: self.writers,
            api_heard_at: self.api_heard_at,
            kube_proxy: self.kube_proxy,
            parts: self.parts,
            ..Snapshot::default()
        };
        for id in self.pieces {
            match get(id)? {
                Piece::Node(x) => s.node = x,
                Piece::Addresses(x) => s.addresses = x,
                Piece::Links(x) => s.links = x,
                Piece::Sysctls(x) => s.sysctls = x,
                Piece::Cluster(x) => s.cluster = Some(x),
                Piece::Routes(x) => s.routes = x,
                Piece::Ways(x) => s.ways = Some(x),
                Piece::Ebpf(x) => s.ebpf = Some(x),
                Piece::Maps(x) => s.maps = Some(x),
                Piece::Hns(x) => s.hns = Some(x),
                Piece::Table(t) => return Err(format!("table {} is where none should", t.name)),
            }
        }
        for t in self.tables {
            let Piece::Table(table) = get(t.table)? else {
                return Err(format!("piece {} should be a table", t.table));
            };
            let fits = t.counters.rules.len() == table.rules.len()
                && t.counters.policies.iter().all(|p| (p.0.0 as usize) < table.chains.len())
                && t.recent.iter().flat_map(|r| r.rules.keys()).all(|r| (r.0 as usize) < table.rules.len());
            if !fits {
                return Err(format!("counters of table {} are another table's", table.name));
            }
            s.tables.push(TableState {
                bytes: t.bytes,
                recent: t.recent,
                ..TableState::new(t.at, table, t.counters)
            });
        }
        Ok(s)
    }
}
