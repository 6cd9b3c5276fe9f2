//! One instant of a node.

use super::dump::InputPart;
use super::flow_events::FlowEvents;
use super::flows::Flows;
use super::hns::Hns;
use super::source::{SourceId, Unread};
use crate::api::Cluster;
use crate::kernel::conntrack::{Limits, Stats};
use crate::kernel::counters::Counters;
use crate::kernel::ebpf::Programs;
use crate::kernel::ipset::Ipset;
use crate::kernel::ipvs::Ipvs;
use crate::kernel::links::Link;
use crate::kernel::maps::BpfMap;
use crate::kernel::nfacct::Object as AcctObject;
use crate::kernel::nftables::Writer;
use crate::kernel::node::{InterfaceAddress, Node, Route};
use crate::kernel::sysctl::Sysctls;
use crate::kernel::usage::Cost;
use crate::kernel::ways::Ways;
use crate::kube_proxy::KubeProxy;
use crate::ruleset::{
    ChainId, Counter, Family, Policy, RuleId, Table, TableBackend, TableCounters, Target, Verdict,
};
use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// The shapes of facts, for the pure rooms, which do not know the kernel's.
pub mod facts {
    pub use crate::api::{
        ApiState, Cluster, ClusterEndpoint, ClusterNode, ClusterPort, ClusterService, Removed, Trouble,
    };
    pub use crate::kernel::LIVE;
    pub use crate::kernel::conntrack::{
        ASSURED, ConntrackStat, Flow, Limits, SEEN_REPLY, Stats, Traffic, Tuple,
    };
    pub use crate::kernel::counters::{Counters, Softnet};
    pub use crate::kernel::drop_monitor::{Dropped as DroppedPacket, Header as PacketHeader};
    pub use crate::kernel::ebpf::{Hook, Program, Programs, learn_names};
    pub use crate::kernel::ipset::{AS_TEXT, Ipset, Member};
    pub use crate::kernel::ipvs::{
        Forwarding, Ipvs, IpvsStats, RealServer, SVC_ONE_PACKET, SVC_PERSISTENT, Timeouts, VirtualAddress,
        VirtualServer, version as ipvs_version,
    };
    pub use crate::kernel::job::stop;
    pub use crate::kernel::links::Link;
    pub use crate::kernel::maps::{BpfMap, HASH, LPM_TRIE, LRU_HASH, is_bpffs};
    pub use crate::kernel::nfacct::Object as AcctObject;
    pub use crate::kernel::nftables::Writer;
    pub use crate::kernel::node::{
        InterfaceAddress, Node, Route, hostname, identity as node_identity, read as read_node,
    };
    pub use crate::kernel::privileges::{
        active, keep_files_only, keep_reading, keep_reading_only, run_no_program,
    };
    pub use crate::kernel::reads::{BPF_READS, BpfRead, READS, Read};
    pub use crate::kernel::recent::RecentEntry;
    pub use crate::kernel::sysctl::{ANY_ROUTE_LOCALNET, NOT_FORWARDING, STRICT_RP_FILTER, Sysctls, swapped};
    pub use crate::kernel::usage::{Cost, Meter};
    pub use crate::kernel::ways::{Deaf, RouteKind, WayRoute, Ways};
    pub use crate::kernel::xtables::blob_size;
    pub use crate::kube_proxy::{Answer, Config, FamilyHealth, Healthz, KubeProxy, Metrics, Process, Syncs};
}

/// Facts of one instant.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Wall clock.
    pub taken_at: jiff::Timestamp,
    /// The node.
    pub node: Arc<Node>,
    /// The network namespace.
    pub netns: NetnsFact,
    /// Packet filter tables, by backend, family and name.
    pub tables: Vec<TableState>,
    /// IPVS, where the kernel has it.
    pub ipvs: Option<Reading<Ipvs>>,
    /// ipsets by name, where the kernel has them.
    pub ipsets: Option<Reading<Vec<Ipset>>>,
    /// Named counters of nfacct, where the kernel has them.
    pub accounts: Option<Reading<Vec<AcctObject>>>,
    /// Generation of nf_tables.
    pub generation: Option<u32>,
    /// Who made the last generations of nf_tables while kptop listened, the newest last.
    pub writers: Arc<Vec<Writer>>,
    /// Conntrack, where the kernel has it.
    pub conntrack: Option<Conntrack>,
    /// Flows to the destinations that a user looks at, read by themselves where reading all of them is not due.
    pub followed: Option<Reading<Flows>>,
    /// Flows that began and ended since a user looks at them.
    pub flow_events: Option<Reading<FlowEvents>>,
    /// Clients that rules remember, of the lists and sets that a user asked for.
    pub remembered: Option<Reading<Remembered>>,
    /// Addresses of the node's interfaces, those of the links of its default routes first.
    pub addresses: Arc<Vec<InterfaceAddress>>,
    /// Interfaces.
    pub links: Arc<Vec<Link>>,
    /// Routes of the main table; empty where they were not read.
    pub routes: Arc<Vec<Route>>,
    /// Where packets go on from here, by routes of all tables and neighbours; `None` where that was not read.
    pub ways: Option<Arc<Ways>>,
    /// eBPF programs that packets of Services may meet before the rules; `None` where that was not read.
    pub ebpf: Option<Arc<Programs>>,
    /// eBPF maps in which other proxies hold Services; `None` where they were not looked for.
    pub maps: Option<Arc<Vec<BpfMap>>>,
    /// What the Host Networking Service of a Windows node holds; of files alone.
    pub hns: Option<Arc<Hns>>,
    /// Counters of the network stack.
    pub counters: Option<Reading<Counters>>,
    /// What the Kubernetes API reports, where it was asked.
    pub cluster: Option<Arc<Cluster>>,
    /// When the Kubernetes API was heard last.
    pub api_heard_at: Option<jiff::Timestamp>,
    /// What kube-proxy says of itself, where it was asked.
    pub kube_proxy: Option<Arc<KubeProxy>>,
    /// Sysctls that decide what happens to packets.
    pub sysctls: Arc<Sysctls>,
    /// Of files: the parts that were found in them, and what was used of each.
    pub parts: Arc<Vec<InputPart>>,
    /// Only the beginning of a reading: rules without the maps of endpoints, and nothing of conntrack.
    pub outline: bool,
    /// What could not be read.
    pub unread: Vec<Unread>,
    /// What each read cost; only those that were done for this snapshot.
    pub costs: Vec<ReadCost>,
    /// Sources that are read less often than asked, to spare the node: name and present interval.
    pub slowed: Vec<(Cow<'static, str>, Duration)>,
}

/// The namespace that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetnsFact {
    /// Its name; `None` for the node's own.
    pub name: Option<String>,
    /// Its inode.
    pub inode: Option<u64>,
}

/// A value with the time at which it was read, on a monotonic clock.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reading<T> {
    /// When.
    pub at: Duration,
    /// What.
    pub value: Arc<T>,
}

/// One table.
#[derive(Clone, Debug)]
pub struct TableState {
    /// When it was read, on the monotonic clock.
    pub at: Duration,
    /// Kernel interface.
    pub backend: TableBackend,
    /// Family.
    pub family: Family,
    /// Structure.
    pub table: Arc<Table>,
    /// Counters.
    pub counters: Arc<TableCounters>,
    /// Size in the kernel, where it says.
    pub bytes: Option<u64>,
    /// Counters of single rules that were read after the others.
    pub recent: Option<Arc<Recent>>,
}

/// Counters of single rules, with the time at which they were read.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Recent {
    /// When.
    pub at: Duration,
    /// What.
    pub rules: HashMap<RuleId, Counter, foldhash::fast::FixedState>,
}

impl TableState {
    /// A table that was read, with what it counted.
    pub fn new(at: Duration, table: Arc<Table>, counters: Arc<TableCounters>) -> TableState {
        let (backend, family) = (table.backend, table.family);
        TableState { at, backend, family, table, counters, bytes: None, recent: None }
    }

    /// What a rule has counted.
    pub fn counter(&self, rule: RuleId) -> Counter {
        self.read(rule).1
    }

    /// When a rule's counter was read.
    pub fn counted_at(&self, rule: RuleId) -> Duration {
        self.read(rule).0
    }

    /// Counters of single rules that were read after all of them.
    pub(crate) fn later(&self) -> Option<&Arc<Recent>> {
        self.recent.as_ref().filter(|r| r.at > self.at)
    }

    /// True where counters of single rules were read after the others.
    pub fn is_read_apart(&self) -> bool {
        self.later().is_some()
    }

    fn read(&self, rule: RuleId) -> (Duration, Counter) {
        let recent = self.later();
        match recent.and_then(|r| Some((r.at, *r.rules.get(&rule)?))) {
            Some(found) => found,
            None => (self.at, self.counters.rules.get(rule.0 as usize).copied().unwrap_or_default()),
        }
    }

    /// Packets that the table's DROP rules and DROP policies took; `None` where one of the rules does not
    /// count.
    pub fn dropped(&self) -> Option<u64> {
        let table = &self.table;
        let mut sum = 0;
        for (i, rule) in table.rules.iter().enumerate() {
            if rule.target == Target::Verdict(Verdict::Drop) {
                if !rule.counted {
                    return None;
                }
                sum += self.counter(RuleId(i as u32)).packets;
            }
        }
        for (i, chain) in table.chains.iter().enumerate() {
            if chain.base.is_some_and(|b| b.policy == Policy::Drop) {
                let id = ChainId(i as u32);
                sum += self.counters.policies.iter().find(|p| p.0 == id)?.1.packets;
            }
        }
        Some(sum)
    }
}

/// Clients that rules remember: lists of xt_recent, and sets of nf_tables that packets fill.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Remembered {
    /// By list or set.
    pub lists: Vec<(MemoryList, Vec<RememberedClient>)>,
    /// What could not be read, and why.
    pub failed: Vec<String>,
}

/// A client that rules remember.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RememberedClient {
    /// Its address.
    pub address: IpAddr,
    /// Time until it is forgotten, where the kernel says it.
    pub expires: Option<Duration>,
    /// Packets that were noted, where the kernel says it.
    pub packets: Option<u32>,
}

/// Where rules remember clients.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum MemoryList {
    /// A list of xt_recent, by name.
    Recent(String),
    /// A set of a table of nf_tables: family, table and set.
    Set(Family, String, String),
}

/// Conntrack.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Conntrack {
    /// When sysctls and statistics were read, on the monotonic clock.
    pub at: Duration,
    /// Sysctls.
    pub limits: Limits,
    /// Statistics, summed over CPUs.
    pub stats: Option<Stats>,
    /// The same of each CPU.
    pub cpus: Vec<Stats>,
    /// Flows, counted by where they go.
    pub flows: Option<Reading<Flows>>,
}

/// What one source cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadCost {
    /// `tables`, `ipvs`, `flows`, `node`.
    pub what: &'static str,
    /// Time.
    pub cost: Cost,
}

impl Snapshot {
    /// kube-proxy's configuration, where it told it.
    pub fn proxy_config(&self) -> Option<&facts::Config> {
        self.kube_proxy.as_ref()?.config.as_ref()
    }

    /// Index of a table.
    pub fn table(&self, backend: TableBackend, family: Family, name: &str) -> Option<usize> {
        self.tables.iter().position(|t| t.backend == backend && t.family == family && t.table.name == name)
    }

    /// The newest reading of the flows that are kept one by one.
    pub fn followed_flows(&self) -> Option<&Arc<Flows>> {
        let dump = self.conntrack.as_ref().and_then(|c| c.flows.as_ref());
        let alone = self.followed.as_ref().filter(|f| dump.is_none_or(|d| d.at < f.at));
        alone.or(dump).map(|r| &r.value)
    }

    /// What all new flows of the node did, where they are counted.
    pub fn new_flows(&self) -> Option<&Reading<FlowEvents>> {
        self.flow_events.as_ref().filter(|e| e.value.whole)
    }

    /// True where at least one of the sources that kptop is for could be read.
    pub fn anything_read(&self) -> bool {
        self.rules_read() || self.conntrack.is_some()
    }

    /// True where something that holds Services could be read, or is not there: silence then means that there
    /// are none.
    pub fn rules_read(&self) -> bool {
        let holds = |u: &Unread| SourceId::RULES.contains(&u.source) || u.source == SourceId::Other;
        let in_maps =
            self.hns.is_some() || self.maps.as_ref().is_some_and(|m| m.iter().any(|m| !m.is_empty()));
        !self.tables.is_empty() || self.ipvs.is_some() || in_maps || !self.failed().any(holds)
    }

    /// What is there and could not be read.
    pub fn failed(&self) -> impl Iterator<Item = &Unread> {
        self.unread.iter().filter(|u| u.failed())
    }
}
