//! Where what kube-proxy wrote and what the Kubernetes API says differ, of everything that it programs.

use super::cluster::{cluster_service, expected, name_of};
use super::{
    Affinity, Frontend, FrontendKind, Mode, Protocol, Service, ServiceName, TrafficPolicy, endpoint_text,
};
use crate::ruleset::{IpFamily, IpNet};
use crate::snapshot::facts::{Cluster, ClusterPort, ClusterService};
use foldhash::fast::FixedState;
use std::cell::OnceCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Display;
use std::net::IpAddr;

type Map<K, V> = HashMap<K, V, FixedState>;

/// What of a Service port differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Aspect {
    /// The API has no such Service port, and it is served.
    Deleted,
    /// It is not served at all.
    NotWritten,
    /// Its backends.
    Endpoints,
    /// Its cluster IP.
    ClusterIp,
    /// Its port, or the port's name.
    Port,
    /// Its node port.
    NodePort,
    /// `externalIPs`.
    ExternalIps,
    /// Its load balancer's addresses.
    LoadBalancerIps,
    /// `loadBalancerSourceRanges`.
    SourceRanges,
    /// Its session affinity, or the timeout.
    Affinity,
    /// `externalTrafficPolicy`.
    ExternalPolicy,
    /// `internalTrafficPolicy`.
    InternalPolicy,
}

/// One difference, in words that compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What differs.
    pub aspect: Aspect,
    /// What the kernel has and the API does not: addresses, or the setting.
    pub here: BTreeSet<String>,
    /// What the API has and the kernel does not.
    pub wanted: BTreeSet<String>,
    /// True where new flows are lost for it: they go to what is gone, or nothing takes them.
    pub loses: bool,
}

/// A Service port of which the kernel holds something else than the API says.
#[derive(Clone, Debug)]
pub struct Behind<'a> {
    /// The Service as the API reports it; `None` for one that it does not have.
    pub service: Option<&'a ClusterService>,
    /// Name of the port; `None` where nothing names what is served.
    pub name: Option<ServiceName>,
    /// Protocol.
    pub protocol: Protocol,
    /// Family.
    pub family: IpFamily,
    /// Its places among the kernel's Services.
    pub places: Vec<usize>,
    /// What differs.
    pub differences: Vec<Difference>,
}

type Socket = (IpAddr, u16);

type Unserved<'a> = Map<(Option<Socket>, IpFamily), Vec<(&'a ClusterService, &'a ClusterPort)>>;

/// What is compared, and by what it is looked up.
struct Comparison<'a> {
    cluster: &'a Cluster,
    services: &'a [Service],
    by_name: Map<(&'a ServiceName, Protocol, IpFamily), Vec<usize>>,
    /// Virtual servers without a name that belong to a Service port by their address or backends.
    strays: Map<(ServiceName, Protocol, IpFamily), Vec<usize>>,
    /// The Services of the API by address; made for the first who asks, as the next.
    by_address: OnceCell<Map<IpAddr, &'a ClusterService>>,
    /// See [`Comparison::unserved`].
    unserved: OnceCell<Unserved<'a>>,
    /// The kernel's named Services by where they are reached.
    reached: OnceCell<Map<(IpAddr, u16, Protocol), &'a ServiceName>>,
}

/// Where rules or virtual servers and the API differ, of what kube-proxy serves.
pub fn differences<'a>(cluster: &'a Cluster, services: &'a [Service]) -> Vec<Behind<'a>> {
    // The process of userspace mode alone knows the endpoints.
    let by_process = |f: IpFamily| {
        services.iter().any(|s| s.family == f && s.engine.mode() == Mode::Userspace && !s.stale)
    };
    let mut families: BTreeSet<IpFamily> = services.iter().map(|s| s.family).collect();
    families.retain(|f| !by_process(*f));
    differences_in(cluster, services, &families)
}

/// The same, of these families.
pub fn differences_in<'a>(
    cluster: &'a Cluster,
    services: &'a [Service],
    families: &BTreeSet<IpFamily>,
) -> Vec<Behind<'a>> {
    let mut all = Comparison {
        cluster,
        services,
        by_name: Map::default(),
        strays: Map::default(),
        by_address: OnceCell::new(),
        unserved: OnceCell::new(),
        reached: OnceCell::new(),
    };
    let mut nameless = Vec::new();
    for (i, s) in services.iter().enumerate() {
        if s.stale || s.frontends.is_empty() || s.engine.mode() == Mode::Userspace {
            continue;
        }
        match &s.name {
            Some(name) => all.by_name.entry((name, s.protocol, s.family)).or_default().push(i),
            None => nameless.push(i),
        }
    }
    nameless.retain(|i| match all.owner_of(&services[*i]) {
        Some(key) => {
            all.strays.entry(key).or_default().push(*i);
            false
        }
        None => true,
    });
    let mut found = Vec::new();
    let mut seen: HashSet<(ServiceName, Protocol), FixedState> = HashSet::default();
    for s in cluster.services.iter().filter(|s| !s.not_proxied) {
        for p in &s.ports {
            let Some(protocol) = Protocol::from_kubernetes(&p.protocol) else { continue };
            let name = name_of(s, p);
            for family in families {
                if s.cluster_ips.iter().any(|a| IpFamily::of(*a) == *family) {
                    found.extend(all.port(s, p, &name, protocol, *family));
                }
            }
            seen.insert((name, protocol));
        }
    }
    all.deleted(&seen, families, &mut found);
    all.nameless(&nameless, families, &mut found);
    found
}

/// Service ports with ready endpoints for this node, all of which would lack rules in this family.
pub fn without_rules(cluster: &Cluster, family: IpFamily) -> Vec<ServiceName> {
    let all = differences_in(cluster, &[], &BTreeSet::from([family]));
    let has_endpoints = |b: &Behind<'_>| b.differences.iter().any(|d| d.loses);
    all.into_iter().filter(has_endpoints).filter_map(|b| b.name).collect()
}

impl<'a> Comparison<'a> {
    /// The Service port that a virtual server without a name belongs to: one with this address, or the only one with these
    /// backends whose node port or address nothing serves.
    fn owner_of(&self, server: &Service) -> Option<(ServiceName, Protocol, IpFamily)> {
        let f = server.frontends.first()?;
        if server.engine.mode() != Mode::Ipvs {
            return None;
        }
        let key = |s: &ClusterService, p: &ClusterPort| (name_of(s, p), server.protocol, server.family);
        let fits = |p: &ClusterPort| p.protocol == server.protocol.name();
        let is_served = |s: &ClusterService, p: &ClusterPort| {
            self.by_name.contains_key(&(&name_of(s, p), server.protocol, server.family))
        };
        let at = f.address.filter(|_| f.kind != Some(FrontendKind::NodePort));
        if let Some(s) = at.and_then(|a| self.with_address(a)) {
            let mut ports = s.ports.iter().filter(|p| fits(p));
            let first = ports.clone().next();
            return ports.find(|p| !is_served(s, p)).or(first).map(|p| key(s, p));
        }
        let unserved = self.unserved.get_or_init(|| self.unserved());
        let first = server.backends.first().map(|b| (b.address, b.port));
        let candidates = unserved.get(&(first, server.family)).into_iter().flatten();
        let mut candidates = candidates.filter(|(s, p)| {
            let is_at = match f.kind {
                Some(FrontendKind::NodePort) => p.node_port.is_some(),
                _ => p.port == f.port,
            };
            fits(p)
                && is_at
                && (first.is_none() || {
                    let may = expected(s, p, server.family, self.cluster.node.as_ref()).may;
                    server.backends.iter().all(|b| may.contains(&(b.address, b.port)))
                })
        });
        let (s, p) = candidates.next()?;
        candidates.next().is_none().then(|| key(s, p))
    }

    /// Ports with a node port or an address that no virtual server has, by each of their endpoints; those without any
    /// are under `None`.
    fn unserved(&self) -> Unserved<'a> {
        let mut served: HashSet<(Option<IpAddr>, u16, Protocol), FixedState> = HashSet::default();
        for s in self.services.iter().filter(|s| !s.stale) {
            for f in &s.frontends {
                let at = f.address.filter(|_| f.kind != Some(FrontendKind::NodePort));
                served.insert((at, f.port, s.protocol));
            }
        }
        let mut all: Map<_, Vec<_>> = Map::default();
        for s in self.cluster.services.iter().filter(|s| !s.not_proxied) {
            for p in &s.ports {
                let Some(protocol) = Protocol::from_kubernetes(&p.protocol) else { continue };
                let lacks = |at, port| !served.contains(&(at, port, protocol));
                let mut addresses = s.cluster_ips.iter().chain(&s.external_ips).chain(&s.load_balancer_ips);
                if !p.node_port.is_some_and(|n| lacks(None, n)) && !addresses.any(|a| lacks(Some(*a), p.port))
                {
                    continue;
                }
                for family in [IpFamily::V4, IpFamily::V6] {
                    let may = expected(s, p, family, self.cluster.node.as_ref()).may;
                    if may.is_empty() {
                        all.entry((None, family)).or_default().push((&**s, p));
                    }
                    for endpoint in may {
                        all.entry((Some(endpoint), family)).or_default().push((s, p));
                    }
                }
            }
        }
        all
    }

    fn port(
        &self,
        s: &'a ClusterService,
        p: &ClusterPort,
        name: &ServiceName,
        protocol: Protocol,
        family: IpFamily,
    ) -> Option<Behind<'a>> {
        let named = self.by_name.get(&(name, protocol, family)).map_or(&[][..], Vec::as_slice);
        let strays = match self.strays.is_empty() {
            true => None,
            false => self.strays.get(&(name.clone(), protocol, family)),
        };
        let places: Vec<usize> = named.iter().chain(strays.into_iter().flatten()).copied().collect();
        let held: Vec<&Service> = places.iter().map(|i| &self.services[*i]).collect();
        let mut differences = Vec::new();
        if held.is_empty() {
            differences.extend(self.not_written(s, p, protocol, family));
        } else {
            differences.extend(self.endpoints(s, p, family, &held));
            addresses(s, p, family, &held, &mut differences);
            settings(s, family, &held, &mut differences);
        }
        (!differences.is_empty()).then(|| Behind {
            service: Some(s),
            name: Some(name.clone()),
            protocol,
            family,
            places,
            differences,
        })
    }

    /// A Service port that is not served, or is under the port's earlier name.
    fn not_written(
        &self,
        s: &ClusterService,
        p: &ClusterPort,
        protocol: Protocol,
        family: IpFamily,
    ) -> Option<Difference> {
        let expected = expected(s, p, family, self.cluster.node.as_ref());
        let here = |a: &&IpAddr| IpFamily::of(**a) == family;
        let at = s.cluster_ips.iter().find(here)?;
        let reached = self.reached.get_or_init(|| {
            let mut all = Map::default();
            for o in self.services.iter().filter(|o| !o.stale) {
                let Some(name) = &o.name else { continue };
                let at = o.frontends.iter().filter_map(|f| Some((f.address?, f.port, o.protocol)));
                all.extend(at.map(|at| (at, name)));
            }
            all
        });
        let same = |n: &&&ServiceName| n.namespace == s.namespace && n.name == s.name;
        if let Some(old) = reached.get(&(*at, p.port, protocol)).filter(same) {
            return Some(setting(Aspect::Port, old, &name_of(s, p), false));
        }
        let wanted = BTreeSet::from([endpoint_text(*at, p.port)]);
        let loses = !expected.must.as_ref().unwrap_or(&expected.may).is_empty();
        Some(Difference { aspect: Aspect::NotWritten, here: BTreeSet::new(), wanted, loses })
    }

    fn endpoints(
        &self,
        s: &ClusterService,
        p: &ClusterPort,
        family: IpFamily,
        held: &[&Service],
    ) -> Option<Difference> {
        if held.iter().any(|s| s.unknown_backends.is_some()) {
            return None;
        }
        let expected = expected(s, p, family, self.cluster.node.as_ref());
        let mut has: BTreeSet<Socket> = BTreeSet::new();
        let mut draining = BTreeSet::new();
        for b in held.iter().flat_map(|s| &s.backends) {
            // Real servers that drain have weight 0; rules of a local policy alone are of local endpoints.
            if b.weight == Some(0) {
                draining.insert((b.address, b.port));
            } else {
                has.insert((b.address, b.port));
            }
        }
        // Backends of the API server itself are written by another controller, as are those without slices.
        if s.endpoints.is_empty() && has.is_empty() {
            return None;
        }
        let text = |e: &Socket| endpoint_text(e.0, e.1);
        let here: BTreeSet<String> = has.difference(&expected.may).map(text).collect();
        let must = expected.must.iter().flatten();
        let wanted: BTreeSet<String> =
            must.filter(|e| !has.contains(*e) && !draining.contains(*e)).map(text).collect();
        // Some of what should be there is there: the rest only waits for traffic.
        let loses = !here.is_empty() || (!wanted.is_empty() && has.is_empty());
        differ(Aspect::Endpoints, here, wanted, loses)
    }

    /// Service ports that the kernel has by name and the API does not.
    fn deleted(
        &self,
        seen: &HashSet<(ServiceName, Protocol), FixedState>,
        families: &BTreeSet<IpFamily>,
        found: &mut Vec<Behind<'a>>,
    ) {
        for ((name, protocol, family), places) in &self.by_name {
            if seen.contains(&((*name).clone(), *protocol))
                || !families.contains(family)
                || !self.knows(&name.namespace)
            {
                continue;
            }
            let service = cluster_service(self.cluster, name).map(|s| &**s);
            // Under the earlier name of a port: the port's own comparison has said so.
            let is_renamed = service.filter(|s| !s.not_proxied).is_some_and(|s| {
                let at = |p: &ClusterPort| {
                    p.protocol == protocol.name()
                        && places.iter().flat_map(|i| &self.services[*i].frontends).any(|f| {
                            f.port == p.port && f.address.is_some_and(|a| s.cluster_ips.contains(&a))
                        })
                };
                s.ports
                    .iter()
                    .any(|p| !self.by_name.contains_key(&(&name_of(s, p), *protocol, *family)) && at(p))
            });
            if !is_renamed {
                let name = Some((*name).clone());
                found.push(self.still_served(service, name, *protocol, *family, places.clone()));
            }
        }
    }

    /// What is served and nobody names: chains whose hash no Service has, and virtual servers at an address of kube-proxy's.
    fn nameless(&self, nameless: &[usize], families: &BTreeSet<IpFamily>, found: &mut Vec<Behind<'a>>) {
        // Without a whole list names may be missing for that alone.
        if !self.is_whole() {
            return;
        }
        for i in nameless {
            let s = &self.services[*i];
            let by_ipset = s.frontends.iter().any(|f| f.kind.is_some());
            let is_own = s.chain_hash.is_some() || (s.engine.mode() == Mode::Ipvs && by_ipset);
            if is_own && families.contains(&s.family) {
                found.push(self.still_served(None, None, s.protocol, s.family, vec![*i]));
            }
        }
    }

    fn still_served(
        &self,
        service: Option<&'a ClusterService>,
        name: Option<ServiceName>,
        protocol: Protocol,
        family: IpFamily,
        places: Vec<usize>,
    ) -> Behind<'a> {
        let frontends = places.iter().flat_map(|i| &self.services[*i].frontends);
        let here: BTreeSet<String> = frontends.clone().map(super::frontend_text).collect();
        // An address that is another Service's by now: its traffic goes to the deleted one's pods.
        let is_anothers = |a: IpAddr, port: u16| {
            let ports = self.with_address(a).into_iter().flat_map(|s| &s.ports);
            ports.into_iter().any(|p| p.port == port && p.protocol == protocol.name())
        };
        let loses = frontends.clone().any(|f| f.address.is_some_and(|a| is_anothers(a, f.port)));
        let differences = vec![Difference { aspect: Aspect::Deleted, here, wanted: BTreeSet::new(), loses }];
        Behind { service, name, protocol, family, places, differences }
    }

    /// The Service that the API says is reached at this address.
    fn with_address(&self, address: IpAddr) -> Option<&'a ClusterService> {
        let all = self.by_address.get_or_init(|| {
            let mut all = Map::default();
            for s in self.cluster.services.iter().filter(|s| !s.not_proxied) {
                let addresses = s.cluster_ips.iter().chain(&s.external_ips).chain(&s.load_balancer_ips);
                all.extend(addresses.map(|a| (*a, &**s)));
            }
            all
        });
        all.get(&address).copied()
    }

    /// True where every Service of the cluster is known: a server's list. Files may hold a part of them, and hold all where
    /// the one is there that every cluster has.
    fn is_whole(&self) -> bool {
        let every =
            ServiceName { namespace: "default".into(), name: "kubernetes".into(), port: String::new() };
        !self.cluster.state.server.is_empty() || cluster_service(self.cluster, &every).is_some()
    }

    /// True where the Services of a namespace are known.
    fn knows(&self, namespace: &str) -> bool {
        let is_live = !self.cluster.state.server.is_empty();
        is_live || (self.is_whole() && self.cluster.services.iter().any(|s| s.namespace == namespace))
    }
}

fn differ(
    aspect: Aspect,
    here: BTreeSet<String>,
    wanted: BTreeSet<String>,
    loses: bool,
) -> Option<Difference> {
    (!here.is_empty() || !wanted.is_empty()).then_some(Difference { aspect, here, wanted, loses })
}

fn setting(aspect: Aspect, here: &dyn Display, wanted: &dyn Display, loses: bool) -> Difference {
    let one = |text: &dyn Display| BTreeSet::from([text.to_string()]);
    Difference { aspect, here: one(here), wanted: one(wanted), loses }
}

/// A frontend's kind. Where neither rules nor ipsets tell it, it follows from the API.
fn kind_of(s: &ClusterService, f: &Frontend) -> Option<FrontendKind> {
    f.kind.or_else(|| {
        let a = f.address?;
        [
            (&s.cluster_ips, FrontendKind::ClusterIp),
            (&s.external_ips, FrontendKind::ExternalIp),
            (&s.load_balancer_ips, FrontendKind::LoadBalancerIp),
        ]
        .into_iter()
        .find_map(|(list, kind)| list.contains(&a).then_some(kind))
    })
}

/// Where a Service port is reached.
fn addresses(
    s: &ClusterService,
    p: &ClusterPort,
    family: IpFamily,
    held: &[&Service],
    found: &mut Vec<Difference>,
) {
    let frontends = || held.iter().flat_map(|s| &s.frontends);
    let of = |list: &[IpAddr]| -> BTreeSet<IpAddr> {
        list.iter().copied().filter(|a| IpFamily::of(*a) == family).collect()
    };
    let (cluster, external, balancers) = (of(&s.cluster_ips), of(&s.external_ips), of(&s.load_balancer_ips));
    let text = |a: &IpAddr| endpoint_text(*a, p.port);
    let kind_of = |f: &Frontend| kind_of(s, f);
    // All but node ports are at the Service's port.
    let at_port = |f: &&Frontend| kind_of(f) != Some(FrontendKind::NodePort);
    let ports: BTreeSet<u16> = frontends().filter(at_port).map(|f| f.port).collect();
    let others = ports.iter().copied().filter(|n| *n != p.port).map(|n| format!("port {n}"));
    let missing = (!ports.contains(&p.port)).then(|| format!("port {}", p.port));
    let (others, missing): (BTreeSet<_>, BTreeSet<_>) = (others.collect(), missing.into_iter().collect());
    let lost = !missing.is_empty();
    found.extend(differ(Aspect::Port, others, missing, lost));
    let mut mine: Map<Option<FrontendKind>, BTreeSet<IpAddr>> = Map::default();
    for f in frontends().filter(at_port) {
        if let Some(a) = f.address {
            mine.entry(kind_of(f)).or_default().insert(a);
        }
    }
    let none = BTreeSet::new();
    let has = |kind| mine.get(&Some(kind)).unwrap_or(&none);
    // A refused address from outside may be of either kind.
    let either = mine.get(&None).unwrap_or(&none);
    let outer: BTreeSet<IpAddr> = [has(FrontendKind::ExternalIp), has(FrontendKind::LoadBalancerIp), either]
        .into_iter()
        .flatten()
        .copied()
        .collect();
    let known: BTreeSet<IpAddr> =
        external.iter().chain(&balancers).copied().chain(of(&s.proxied_ips)).collect();
    let missing = |wanted: &BTreeSet<IpAddr>, has: &BTreeSet<IpAddr>| -> BTreeSet<String> {
        wanted.difference(has).map(text).collect()
    };
    let surplus = |has: &BTreeSet<IpAddr>, known: &BTreeSet<IpAddr>| -> BTreeSet<String> {
        has.difference(known).map(text).collect()
    };
    let ips = has(FrontendKind::ClusterIp);
    let (extra, lacks) = (surplus(ips, &cluster), missing(&cluster, ips));
    let lost = !lacks.is_empty();
    found.extend(differ(Aspect::ClusterIp, extra, lacks, lost));
    let (outer_external, outer_balancers) = (missing(&external, &outer), missing(&balancers, &outer));
    let mut extra_external = surplus(has(FrontendKind::ExternalIp), &known);
    let mut extra_balancers = surplus(has(FrontendKind::LoadBalancerIp), &known);
    let unknown = surplus(either, &known);
    if outer_balancers.is_empty() { &mut extra_external } else { &mut extra_balancers }.extend(unknown);
    for (aspect, extra, lacks) in [
        (Aspect::ExternalIps, extra_external, outer_external),
        (Aspect::LoadBalancerIps, extra_balancers, outer_balancers),
    ] {
        let lost = !lacks.is_empty();
        found.extend(differ(aspect, extra, lacks, lost));
    }
    let node_ports: BTreeSet<u16> =
        frontends().filter(|f| f.kind == Some(FrontendKind::NodePort)).map(|f| f.port).collect();
    let wanted: BTreeSet<u16> = p.node_port.into_iter().collect();
    let port = |n: &u16| n.to_string();
    let extra: BTreeSet<String> = node_ports.difference(&wanted).map(port).collect();
    // Virtual servers of node ports are known by ipsets or the node's addresses alone.
    let told = frontends().all(|f| f.kind.is_some() || held.iter().all(|s| s.engine.mode() != Mode::Ipvs));
    let lacks: BTreeSet<String> =
        if told { wanted.difference(&node_ports).map(port).collect() } else { BTreeSet::new() };
    let lost = !lacks.is_empty();
    found.extend(differ(Aspect::NodePort, extra, lacks, lost));
}

/// How a Service port treats clients.
fn settings(s: &ClusterService, family: IpFamily, held: &[&Service], found: &mut Vec<Difference>) {
    let frontends = || held.iter().flat_map(|s| &s.frontends);
    let balancers: Vec<_> =
        frontends().filter(|f| kind_of(s, f) == Some(FrontendKind::LoadBalancerIp)).collect();
    // Of a Service without endpoints the ranges are not written.
    let balances = balancers.iter().any(|f| f.action == super::Action::Balance);
    if balances {
        let wanted: BTreeSet<IpNet> =
            s.source_ranges.iter().copied().filter(|n| IpFamily::of(n.addr) == family).collect();
        let ranges = balancers.iter().flat_map(|f| f.source_ranges.iter().flatten());
        // kube-proxy lets the balancer's own address in, too.
        let own = |n: &IpNet| n.is_host() && balancers.iter().any(|f| f.address == Some(n.addr));
        let has: BTreeSet<IpNet> =
            ranges.map(|n| n.masked()).filter(|n| !own(n) || wanted.contains(n)).collect();
        if has != wanted {
            let text = |nets: &BTreeSet<IpNet>| match nets.len() {
                0 => BTreeSet::from(["all sources".to_string()]),
                _ => nets.iter().map(ToString::to_string).collect(),
            };
            // Whom the API admits and the rules do not.
            let loses = !has.is_empty() && (wanted.is_empty() || !wanted.is_subset(&has));
            found.push(Difference {
                aspect: Aspect::SourceRanges,
                here: text(&has),
                wanted: text(&wanted),
                loses,
            });
        }
    }
    // Chains of a Service without endpoints have none.
    let with_backends = held.iter().filter(|s| !s.backends.is_empty());
    let affinities: BTreeSet<Option<Affinity>> = with_backends.map(|s| s.session_affinity).collect();
    let wanted = s.affinity_s.map(Affinity::For);
    let same = |a: Option<Affinity>| a == wanted || (a == Some(Affinity::NoTime) && wanted.is_some());
    if let Some(odd) = affinities.into_iter().find(|a| !same(*a)) {
        let text = |a: Option<Affinity>| a.map_or("no affinity".to_string(), |a| format!("ClientIP, {a}"));
        found.push(setting(Aspect::Affinity, &text(odd), &text(wanted), false));
    }
    let policies =
        [(Aspect::ExternalPolicy, s.external_local, false), (Aspect::InternalPolicy, s.internal_local, true)];
    for (aspect, local, internal) in policies {
        let wanted = if local { TrafficPolicy::Local } else { TrafficPolicy::Cluster };
        let mut followed = frontends().filter(|f| match kind_of(s, f) {
            Some(FrontendKind::ClusterIp) => internal,
            // External IPs of IPVS and of versions before 1.24 follow the cluster policy at times.
            Some(FrontendKind::ExternalIp) | None => false,
            Some(_) => !internal,
        });
        if let Some(odd) = followed.find_map(|f| f.traffic_policy.filter(|p| *p != wanted)) {
            let name = |p: TrafficPolicy| if p == TrafficPolicy::Local { "Local" } else { "Cluster" };
            found.push(setting(aspect, &name(odd), &name(wanted), false));
        }
    }
}
