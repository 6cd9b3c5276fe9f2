//! What one node holds, in the form that nodes are compared in.

use super::facts::{Facts, FrontendFact, ServiceFact, TableFact};
use crate::doctor::{Examination, Severity};
use crate::health::HealthState;
use crate::observe::View;
use crate::proxy::endpoint_text;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

/// The subject of what belongs to no Service.
pub(super) const SETTINGS: &str = "";

/// What a subject says in one respect.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Said {
    /// This.
    Value(String),
    /// It has one, and what it is cannot be known there, or must differ: nothing is compared.
    Open,
}

/// All that is said of one subject, by respect: `at 10.96.2.9:8080`, `backend 10.244.0.5:8080`, `affinity`.
pub(super) type Aspects = BTreeMap<String, Said>;

/// Respects of a Service that are members of a set: what is not there is missing, unless the whole set is not known.
pub(super) const AT: &str = "at ";
/// See [`AT`].
pub(super) const BACKEND: &str = "backend ";
/// Stands in the place of a set of which the node says nothing.
pub(super) const ANY: &str = "*";

/// What the doctor found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Titles of critical ones.
    pub critical: Vec<String>,
    /// Titles of warnings.
    pub warnings: Vec<String>,
}

impl Findings {
    fn of(examination: &Examination) -> Findings {
        let titles = |s| {
            let of = examination.findings.iter().filter(|f| f.severity == s);
            of.map(|f| format!("{}: {}", f.about, f.title)).collect()
        };
        Findings { critical: titles(Severity::Critical), warnings: titles(Severity::Warning) }
    }

    fn of_facts(facts: &Facts) -> Findings {
        let titles = |s: &str| {
            let of = facts.findings.iter().filter(|f| f.severity == s);
            of.map(|f| format!("{}: {}", f.subject, f.title)).collect()
        };
        Findings { critical: titles("critical"), warnings: titles("warning") }
    }
}

/// What one node holds.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeState {
    /// Its name: the host name, or what it was read from.
    pub name: String,
    /// What it was read from: a file, a folder or an address.
    pub source: String,
    /// When.
    pub taken_at: Option<jiff::Timestamp>,
    /// Who serves Services, with the mode and the version where they are known: `kube-proxy v1.36.2, nftables`.
    pub proxy: String,
    /// Services as `kubectl get services` counts them, leftovers of other modes not.
    pub services: usize,
    /// Services by how they are; empty where nobody said.
    pub health: BTreeMap<String, usize>,
    /// What the doctor finds; `None` of a snapshot, in which it was not asked.
    pub findings: Option<Findings>,
    /// What could not be read, in words.
    pub unread: Vec<String>,
    /// Services of which endpoints are left out, as each node has its own by a local policy.
    pub left_out: usize,
    /// What it says, by subject.
    pub(super) subjects: BTreeMap<String, Aspects>,
    /// Where Services are reached that have a name, for nodes whose rules name none.
    pub(super) named_places: Vec<((String, IpAddr, u16), String)>,
}

/// `shop/cart:http TCP`, and ` ipv6` behind it.
fn subject(s: &ServiceFact) -> Option<String> {
    let (namespace, name) = s.namespace.as_ref().zip(s.name.as_ref())?;
    let port = s.port_name.as_deref().filter(|p| !p.is_empty()).map_or(String::new(), |p| format!(":{p}"));
    Some(format!("{namespace}/{name}{port} {}{}", s.protocol, family(s)))
}

fn family(s: &ServiceFact) -> &'static str {
    if s.family == "ipv6" { " ipv6" } else { "" }
}

/// `10.96.2.9:8080`, or `node port 30080`, of which each node has its own addresses.
fn place(f: &FrontendFact) -> String {
    match (f.kind.as_deref(), f.address) {
        (Some("node_port"), _) | (_, None) => format!("node port {}", f.port),
        (_, Some(a)) => endpoint_text(a, f.port),
    }
}

/// Who may use it, in an order of its own: nftables keeps sets in another than they were written in.
fn ranges(f: &FrontendFact) -> String {
    let Some(mut ranges) = f.source_ranges.clone() else { return "all".into() };
    ranges.sort_unstable();
    ranges.join(" ")
}

/// True where only endpoints of the node itself may be used, wherever the Service is reached.
fn all_local(s: &ServiceFact) -> bool {
    let local = |f: &FrontendFact| f.traffic_policy.as_deref() == Some("local");
    !s.frontends.is_empty() && s.frontends.iter().all(local)
}

fn value(text: impl Into<String>) -> Said {
    Said::Value(text.into())
}

/// Adds what a Service's rules say; true where endpoints are left out.
fn add_service(s: &ServiceFact, to: &mut Aspects) -> bool {
    for f in &s.frontends {
        let at = place(f);
        // A node port on each of several addresses is one.
        to.insert(format!("{AT}{at}"), value("there"));
        let local = f.traffic_policy.as_deref() == Some("local");
        let mut attribute = |what: &str, text: Option<String>| {
            let said = text.map_or(Said::Open, Said::Value);
            to.entry(format!("{what} of {at}")).or_insert(said);
        };
        attribute("kind", f.kind.clone());
        attribute("traffic policy", f.traffic_policy.clone());
        attribute("source ranges", Some(ranges(f)));
        // What a local policy does follows from the pods of the node. Without endpoints a rule says no policy.
        let refuses = f.action != "balance";
        attribute(
            "new flows",
            match (local, refuses) {
                (true, _) | (_, true) => None,
                _ => Some("taken".into()),
            },
        );
    }
    let affinity = match (s.session_affinity || s.session_affinity_s.is_some(), s.session_affinity_s) {
        (true, Some(seconds)) => value(format!("{seconds} s")),
        (true, None) => Said::Open,
        // Rules of a Service without endpoints hold no affinity.
        (false, _) if s.backends.is_empty() => Said::Open,
        (false, _) => value("none"),
    };
    to.insert("affinity".into(), affinity);
    // In other modes rules choose, without one.
    let scheduler = s.scheduler.clone().filter(|_| s.mode == "ipvs");
    to.insert("scheduler".into(), scheduler.map_or(Said::Open, Said::Value));
    let mut left_out = false;
    if s.backends_unknown.is_some() || all_local(s) {
        left_out = s.backends_unknown.is_none();
        to.insert(format!("{BACKEND}{ANY}"), Said::Open);
        return left_out;
    }
    for b in &s.backends {
        // Endpoints that only a local policy takes are this node's own affair.
        let only_local = b.traffic_policies.as_ref().is_some_and(|p| !p.iter().any(|p| p == "cluster"));
        if only_local {
            left_out = true;
        } else {
            to.insert(format!("{BACKEND}{}", endpoint_text(b.address, b.port)), value("there"));
        }
    }
    left_out
}

/// Sysctls that are the node's own, or say which interfaces it has.
fn is_own(name: &str) -> bool {
    name.contains("/*/")
}

/// Tables in which modes of kube-proxy write, and iptables-nft with them.
fn is_of_a_mode(t: &TableFact) -> bool {
    let of_iptables = ["filter", "nat", "mangle", "raw", "security"].contains(&t.name.as_str());
    t.name == "kube-proxy" || (of_iptables && ["ip", "ip6"].contains(&t.family.as_str()))
}

fn settings(f: &Facts) -> Aspects {
    let mut all = Aspects::new();
    let active: BTreeSet<String> = f
        .modes
        .iter()
        .filter(|m| m.state == "active")
        .map(|m| match &m.variant {
            Some(v) => format!("{} ({v}) {}", m.mode, m.family),
            None => format!("{} {}", m.mode, m.family),
        })
        .collect();
    let join = |set: BTreeSet<String>| set.into_iter().collect::<Vec<_>>().join(", ");
    all.insert("mode".into(), value(if active.is_empty() { "none".into() } else { join(active) }));
    let left: BTreeSet<String> =
        f.modes.iter().filter(|m| m.state != "active").map(|m| format!("{} {}", m.mode, m.family)).collect();
    all.insert("stale rules".into(), value(if left.is_empty() { "none".into() } else { join(left) }));
    let known = |text: Option<String>| text.map_or(Said::Open, Said::Value);
    let proxy = f.proxy.as_ref();
    all.insert("proxy".into(), known(proxy.and_then(|p| p.name.clone())));
    all.insert("version of kube-proxy".into(), known(proxy.and_then(|p| p.version.clone())));
    let said = proxy.and_then(|p| p.health.as_ref());
    let list =
        |l: Option<&Vec<String>>| known(l.map(|l| if l.is_empty() { "none".into() } else { l.join(" ") }));
    all.insert("clusterCIDR".into(), list(said.and_then(|h| h.cluster_cidrs.as_ref())));
    all.insert("nodePortAddresses".into(), list(said.and_then(|h| h.node_port_addresses.as_ref())));
    all.insert("kernel".into(), known(f.node.kernel.clone()));
    let max = f.conntrack.as_ref().and_then(|c| c.max);
    all.insert("nf_conntrack_max".into(), known(max.map(|n| n.to_string())));
    for (name, text) in f.sysctls.iter().flatten().filter(|s| !is_own(s.0)) {
        all.insert(name.clone(), value(text.clone()));
    }
    // A sysctl that a node does not have belongs to a module that it has not loaded.
    all.insert(ANY.into(), Said::Open);
    // A table that one node alone has is worth knowing: a firewall, or what a program left.
    let tables: BTreeSet<String> = f
        .tables
        .iter()
        .filter(|t| t.backend == "nf_tables" && !is_of_a_mode(t))
        .map(|t| format!("table {} {}", t.family, t.name))
        .collect();
    all.extend(tables.into_iter().map(|t| (t, value("there"))));
    all
}

impl NodeState {
    /// Of a reading that was understood.
    pub fn of_view(view: &View, source: &str) -> NodeState {
        let mut state = NodeState::of(&Facts::of(view), source);
        state.findings = Some(Findings::of(&view.examination));
        state
    }

    /// Of what `kptop snapshot -o json` prints, of one node or of several, one after the other. What `kptop doctor -o json` printed
    /// belongs to the snapshot before it.
    ///
    /// # Errors
    /// Something in it is another document, or cut off.
    pub fn of_json(text: &str, source: &str) -> Result<Vec<NodeState>, String> {
        let mut states: Vec<NodeState> = Vec::new();
        for facts in serde_json::Deserializer::from_str(text).into_iter::<Facts>() {
            let facts = facts
                .map_err(|e| format!("{source} is no snapshot as `kptop snapshot -o json` prints it: {e}"))?;
            match (facts.schema.as_str(), states.last_mut()) {
                (schema, _) if schema.starts_with("kptop.snapshot/") => {
                    states.push(NodeState::of(&facts, source));
                }
                (schema, Some(last)) if schema.starts_with("kptop.doctor/") => {
                    last.findings = Some(Findings::of_facts(&facts));
                }
                (schema, _) => {
                    return Err(format!(
                        "{source} begins with `{schema}`: a snapshot is needed (kptop snapshot -o json)"
                    ));
                }
            }
        }
        match states.is_empty() {
            true => Err(format!("{source} holds no snapshot (kptop snapshot -o json)")),
            false => Ok(states),
        }
    }

    fn of(f: &Facts, source: &str) -> NodeState {
        let mut state = NodeState {
            name: f.node.hostname.clone().unwrap_or_else(|| source.to_string()),
            source: source.to_string(),
            taken_at: f.taken_at,
            proxy: proxy_words(f),
            services: 0,
            health: BTreeMap::new(),
            findings: None,
            unread: f.unread.iter().map(|u| format!("{}: {}", u.what, u.why)).collect(),
            left_out: 0,
            subjects: BTreeMap::new(),
            named_places: Vec::new(),
        };
        state.subjects.insert(SETTINGS.into(), settings(f));
        let mut objects = BTreeSet::new();
        // What a mode left that is not in use is no Service of this node.
        for s in f.services.iter().filter(|s| !s.leftover) {
            objects.insert(s.name.as_ref().map_or_else(
                || s.frontends.first().map_or_else(String::new, place),
                |n| format!("{}/{n}", s.namespace.as_deref().unwrap_or_default()),
            ));
            if let Some(h) = &s.health {
                *state.health.entry(h.state.clone()).or_default() += 1;
            }
            let named = subject(s);
            let first = s.frontends.iter().find_map(|f| Some((f.address?, f.port)));
            let name = named
                .clone()
                .or_else(|| first.map(|(a, port)| format!("{} {}", endpoint_text(a, port), s.protocol)));
            let Some(name) = name else { continue };
            if let Some(name) = named {
                let places =
                    s.frontends.iter().filter_map(|f| Some((s.protocol.clone(), f.address?, f.port)));
                state.named_places.extend(places.map(|p| (p, name.clone())));
            }
            let left_out = add_service(s, state.subjects.entry(name).or_default());
            state.left_out += usize::from(left_out);
        }
        state.services = objects.len();
        state
    }

    /// True where nothing was found that holds a Service.
    pub fn is_empty(&self) -> bool {
        self.services == 0
    }

    /// Services that lose new flows, or refuse them.
    pub fn bad_services(&self) -> usize {
        let bad = [HealthState::Failing, HealthState::NoEndpoints, HealthState::Degraded];
        bad.iter().filter_map(|s| self.health.get(s.name())).sum()
    }

    /// Gives Services the names that other nodes have for the same addresses: virtual servers of IPVS have none.
    pub(super) fn take_names(&mut self, names: &HashMap<String, String>) {
        let unnamed: Vec<String> = self.subjects.keys().filter(|k| names.contains_key(*k)).cloned().collect();
        for old in unnamed {
            if let Some(aspects) = self.subjects.remove(&old) {
                // Kinds and policies that one of its places knows, no other denies.
                self.subjects.entry(names[&old].clone()).or_default().extend(aspects);
            }
        }
    }
}

fn proxy_words(f: &Facts) -> String {
    let Some(p) = &f.proxy else { return "-".into() };
    let mut modes: Vec<&str> =
        f.modes.iter().filter(|m| m.state == "active").map(|m| m.mode.as_str()).collect();
    modes.dedup();
    let mut text = p.name.clone().unwrap_or_else(|| "-".into());
    if let Some(v) = &p.version {
        text.push_str(&format!(" {v}"));
    }
    if !modes.is_empty() {
        text.push_str(&format!(", {}", modes.join(" and ")));
    }
    text
}
