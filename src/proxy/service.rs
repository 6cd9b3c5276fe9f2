//! Services, their frontends and backends, and what they were found in.

use super::engine::Engine;
use super::mode::{Mode, Protocol};
use super::names::ServiceName;
use crate::ruleset::{IpFamily, IpNet, RuleId};
use std::fmt;
use std::net::IpAddr;

/// How a name was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum NamedBy {
    /// A rule's comment.
    Comment,
    /// The name of a chain (its hash, with a list of names; or the name inside, in nftables mode).
    Chain,
    /// The Kubernetes API, or its objects given as a file.
    Api,
}

impl NamedBy {
    /// As in JSON.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Why the backends of a Service are not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum UnknownBackends {
    /// The map of so many was not read, as in an outline ([`Live::outline`](crate::snapshot::live::Live::outline)).
    Unread(u32),
    /// Its rules have a form that kptop does not know: a kube-proxy newer than it. What of it looks like a backend is left out.
    Unfamiliar,
    /// They are in Open vSwitch, which is in user space.
    InOvs,
}

impl UnknownBackends {
    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            UnknownBackends::Unread(_) => "the map of its endpoints was not read",
            UnknownBackends::Unfamiliar => "its rules have a form that this kptop does not know",
            UnknownBackends::InOvs => "Open vSwitch has its endpoints, which kptop does not read",
        }
    }
}

/// What kind of address a frontend is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum FrontendKind {
    /// Cluster IP.
    ClusterIp,
    /// One of `externalIPs`.
    ExternalIp,
    /// Load balancer ingress IP.
    LoadBalancerIp,
    /// Node port.
    NodePort,
    /// Packets with this firewall mark (IPVS), whatever their address.
    FirewallMark(u32),
}

impl FrontendKind {
    /// True for packets with a mark: which ones have it the rules say that set it.
    pub fn is_mark(self) -> bool {
        matches!(self, FrontendKind::FirewallMark(_))
    }

    /// For people: `cluster IP`.
    pub fn words(self) -> &'static str {
        match self {
            FrontendKind::ClusterIp => "cluster IP",
            FrontendKind::ExternalIp => "external IP",
            FrontendKind::LoadBalancerIp => "load balancer IP",
            FrontendKind::NodePort => "node port",
            FrontendKind::FirewallMark(_) => "firewall mark",
        }
    }

    /// As in JSON: `cluster_ip`.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// What happens to a new flow that reaches a frontend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Action {
    /// It goes to a backend.
    Balance,
    /// It is refused: the Service has no endpoints.
    Reject,
    /// It is dropped: a local policy leaves no endpoint.
    Drop,
}

impl Action {
    /// As in JSON.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Which endpoints traffic may go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum TrafficPolicy {
    /// All.
    Cluster,
    /// Those of this node.
    Local,
}

impl TrafficPolicy {
    /// As in JSON.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Policies under which a backend takes traffic. A value, as there is one in each of very many backends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrafficPolicies {
    cluster: bool,
    local: bool,
}

impl TrafficPolicies {
    /// This one, too.
    pub fn add(&mut self, policy: TrafficPolicy) {
        match policy {
            TrafficPolicy::Cluster => self.cluster = true,
            TrafficPolicy::Local => self.local = true,
        }
    }

    /// True where it takes traffic under this one.
    pub fn contains(self, policy: TrafficPolicy) -> bool {
        match policy {
            TrafficPolicy::Cluster => self.cluster,
            TrafficPolicy::Local => self.local,
        }
    }

    /// True where none is known.
    pub fn is_empty(self) -> bool {
        self == TrafficPolicies::default()
    }

    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = TrafficPolicy> {
        [TrafficPolicy::Cluster, TrafficPolicy::Local].into_iter().filter(move |p| self.contains(*p))
    }
}

impl From<TrafficPolicy> for TrafficPolicies {
    fn from(policy: TrafficPolicy) -> TrafficPolicies {
        let mut one = TrafficPolicies::default();
        one.add(policy);
        one
    }
}

/// A rule in a snapshot: index of its table and its id there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleRef {
    /// Index in [`crate::snapshot::Snapshot::tables`].
    pub table: usize,
    /// Rule.
    pub rule: RuleId,
}

/// An address where a Service is reached.
#[derive(Clone, Debug, PartialEq)]
pub struct Frontend {
    /// Which kind; `None` where the kernel cannot say: a rejected external address may be an external IP or
    /// a load balancer's, a virtual server of IPVS any of three.
    pub kind: Option<FrontendKind>,
    /// Address; `None` for a node port on every node address.
    pub address: Option<IpAddr>,
    /// Port.
    pub port: u16,
    /// What happens to new flows.
    pub action: Action,
    /// `None` where the kernel cannot say: rejected frontends, and IPVS.
    pub traffic_policy: Option<TrafficPolicy>,
    /// Networks that may use it; `None` for all.
    pub source_ranges: Option<Vec<IpNet>>,
    /// The rule that catches its packets: the reject or drop where there is one.
    pub rule: Option<RuleRef>,
    /// The rule that refuses packets sent here: all of them, or those from outside the source ranges.
    pub refusal: Option<RuleRef>,
}

/// Where figures of a backend come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum CounterSource {
    /// The packet counter of its DNAT rule.
    NatRule,
    /// IPVS.
    Ipvs,
    /// Conntrack entries.
    Conntrack,
    /// Nothing that kptop reads counts it.
    #[strum(serialize = "none")]
    Nothing,
}

impl CounterSource {
    /// As in JSON.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// An endpoint of a Service.
#[derive(Clone, Debug, PartialEq)]
pub struct Backend {
    /// Address.
    pub address: IpAddr,
    /// Port.
    pub port: u16,
    /// Expected part of new flows under the cluster policy, 0 to 1; `None` where it takes no part in it.
    pub share: Option<f64>,
    /// The same under the local policy.
    pub local_share: Option<f64>,
    /// Weight (IPVS).
    pub weight: Option<u32>,
    /// Whether it is on this node; `None` where the kernel does not say.
    pub local: Option<bool>,
    /// Policies under which it takes traffic.
    pub traffic_policies: TrafficPolicies,
    /// Its DNAT rule.
    pub rule: Option<RuleRef>,
    /// Where its figures come from.
    pub source: CounterSource,
}

impl Frontend {
    /// A frontend of which only this is known.
    pub fn new(kind: Option<FrontendKind>, address: Option<IpAddr>, port: u16, action: Action) -> Frontend {
        Frontend {
            kind,
            address,
            port,
            action,
            traffic_policy: None,
            source_ranges: None,
            rule: None,
            refusal: None,
        }
    }
}

impl Backend {
    /// A backend of which only this is known; its figures will come from `source`.
    pub fn new(address: IpAddr, port: u16, source: CounterSource) -> Backend {
        Backend {
            address,
            port,
            share: None,
            local_share: None,
            weight: None,
            local: None,
            traffic_policies: TrafficPolicies::default(),
            rule: None,
            source,
        }
    }
}

/// For how long a client stays with its backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Affinity {
    /// Seconds after its last packet or flow.
    For(u32),
    /// It has no time there: the backend follows from the client's address.
    NoTime,
}

impl Affinity {
    /// A Service's that asks for affinity and names no time (`DefaultClientIPServiceAffinitySeconds`, `pkg/apis/core/types.go`).
    pub const DEFAULT_S: u32 = 10_800;

    /// The seconds, where there are any.
    pub fn seconds(self) -> Option<u32> {
        match self {
            Affinity::For(seconds) => Some(seconds),
            Affinity::NoTime => None,
        }
    }

    /// The seconds, where something is written that must have some.
    pub fn seconds_or_default(self) -> u32 {
        self.seconds().unwrap_or(Affinity::DEFAULT_S)
    }
}

impl fmt::Display for Affinity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Affinity::For(seconds) => write!(f, "{seconds} s"),
            Affinity::NoTime => f.write_str("no time limit"),
        }
    }
}

/// A Service port in one family and mode.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// Name; `None` where only the address is known.
    pub name: Option<ServiceName>,
    /// How the name was found.
    pub named_by: Option<NamedBy>,
    /// Protocol.
    pub protocol: Protocol,
    /// Family.
    pub family: IpFamily,
    /// What holds it.
    pub engine: Engine,
    /// Where it is reached.
    pub frontends: Vec<Frontend>,
    /// Endpoints.
    pub backends: Vec<Backend>,
    /// Scheduler (IPVS).
    pub scheduler: Option<String>,
    /// Whether clients stay with their backend.
    pub session_affinity: Option<Affinity>,
    /// Port on which kube-proxy answers health checks of load balancers.
    pub health_check_node_port: Option<u16>,
    /// Why its backends are not known, where they are not.
    pub unknown_backends: Option<UnknownBackends>,
    /// Port of the kube-proxy process that takes its traffic (userspace mode).
    pub proxy_port: Option<u16>,
    /// Hash in its chain names (iptables and nftables mode).
    pub chain_hash: Option<String>,
    /// True where another mode is active and this one's rules were left behind.
    pub stale: bool,
}

/// Why a frontend refuses new flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// There are no endpoints.
    Endpoints,
    /// Its policy is Local, and none is on this node.
    LocalEndpoints,
}

/// What the rules of a Service say of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RulesState {
    /// Written by a mode that is not in use, or nothing leads there.
    Stale,
    /// Every frontend refuses new flows, as there are no endpoints.
    NoEndpoints,
    /// Some frontends refuse new flows, as there are no endpoints for them.
    Some,
    /// Some or all frontends refuse new flows, as their policy is Local and no endpoint is on this node.
    NoneHere,
    /// Every frontend balances.
    Balancing,
}

impl Frontend {
    /// Why it refuses new flows; `None` where it does not. In ipvs mode a virtual server without real servers refuses them,
    /// whatever its policy; in the others a DROP is what kube-proxy writes for a local policy.
    pub fn lack(&self) -> Option<Lack> {
        match (self.action, self.traffic_policy) {
            (Action::Balance, _) => None,
            (Action::Reject, Some(TrafficPolicy::Local)) | (Action::Drop, _) => Some(Lack::LocalEndpoints),
            (Action::Reject, _) => Some(Lack::Endpoints),
        }
    }
}

impl Service {
    /// A Service of which only this is known.
    pub fn new(protocol: Protocol, family: IpFamily, engine: Engine) -> Service {
        Service {
            name: None,
            named_by: None,
            protocol,
            family,
            engine,
            frontends: Vec::new(),
            backends: Vec::new(),
            scheduler: None,
            session_affinity: None,
            health_check_node_port: None,
            unknown_backends: None,
            proxy_port: None,
            chain_hash: None,
            stale: false,
        }
    }

    /// Its name for people: `shop/cart:http`, or its first address where there is no name.
    pub fn label(&self) -> String {
        match (&self.name, self.frontends.first()) {
            (Some(name), _) => name.to_string(),
            (None, Some(f)) => frontend_text(f),
            (None, None) => self.chain_hash.clone().unwrap_or_else(|| "?".into()),
        }
    }

    /// What its rules say.
    pub fn rules_state(&self) -> RulesState {
        let lacks = |lack| self.frontends.iter().filter(move |f| f.lack() == Some(lack)).count();
        if self.frontends.is_empty() || self.stale {
            RulesState::Stale
        } else if lacks(Lack::Endpoints) == self.frontends.len() {
            RulesState::NoEndpoints
        } else if lacks(Lack::Endpoints) > 0 && lacks(Lack::LocalEndpoints) == 0 {
            RulesState::Some
        } else if lacks(Lack::LocalEndpoints) > 0 {
            RulesState::NoneHere
        } else {
            RulesState::Balancing
        }
    }

    /// How many backends it has, also where only their number is known; `None` where not even that is.
    pub fn backend_count(&self) -> Option<usize> {
        match self.unknown_backends {
            Some(UnknownBackends::Unread(n)) => Some(n as usize),
            Some(UnknownBackends::Unfamiliar | UnknownBackends::InOvs) => None,
            None => Some(self.backends.len()),
        }
    }

    /// True where packets take its rules.
    pub fn is_used(&self) -> bool {
        !self.stale && !self.frontends.is_empty()
    }
}

/// A frontend as people write it: `10.96.0.10:53`, `[fd00::a]:53`, `*:30080`.
pub fn frontend_text(f: &Frontend) -> String {
    match (f.kind, f.address) {
        (Some(FrontendKind::FirewallMark(mark)), _) => format!("fwmark {mark}"),
        (_, Some(a)) => endpoint_text(a, f.port),
        (_, None) => format!("*:{}", f.port),
    }
}

/// An address with its port, IPv6 in brackets.
pub fn endpoint_text(address: IpAddr, port: u16) -> String {
    match address {
        IpAddr::V4(a) => format!("{a}:{port}"),
        IpAddr::V6(a) => format!("[{a}]:{port}"),
    }
}

/// The name of a Service where both families are beside each other: `dual/web:http v6`. IPVS has a virtual server for
/// each frontend: those beside the cluster IP's have their address behind the name.
pub fn screen_label(s: &Service) -> String {
    let frontend = s.frontends.first().filter(|f| f.kind != Some(FrontendKind::ClusterIp));
    if let (Mode::Ipvs, true, Some(f)) = (s.engine.mode(), s.name.is_some(), frontend) {
        return format!("{} {}", s.label(), frontend_text(f));
    }
    match s.family {
        IpFamily::V6 if s.name.is_some() => format!("{} v6", s.label()),
        _ => s.label(),
    }
}
