//! Which questions make a fleet.

use super::model::{Difference, Fleet, FleetNode, FleetService, Found, ServiceKey};
use super::query::{SERVICE, Scope, Series, quoted};
use crate::doctor::Severity;
use crate::health::HealthState;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use strum::IntoEnumIterator as _;

/// Nodes that differ are asked in what; of more of them it is only known that they do.
const ASKED_WHAT: usize = 20;
/// Services that lose flows are asked for by name up to so many.
const BY_NAME: usize = 50;

/// Who answers questions in PromQL.
pub trait Store {
    /// Answers all of them, in their order; several at once where it can.
    ///
    /// # Errors
    /// The first one that failed.
    fn ask(&mut self, questions: &[String]) -> Result<Vec<Vec<Series>>, String>;
}

fn state(s: &Series) -> Option<HealthState> {
    HealthState::iter().find(|h| h.name() == s.label("state"))
}

/// Nodes and Services while they are gathered, by what names them.
#[derive(Default)]
struct Places {
    nodes: HashMap<String, usize>,
    services: HashMap<ServiceKey, usize>,
    fleet: Fleet,
}

impl Places {
    fn node(&mut self, scope: &Scope, s: &Series) -> usize {
        let key = s.label(&scope.node_label);
        if let Some(i) = self.nodes.get(key) {
            return *i;
        }
        // Without the port of the server.
        let bare = key.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(key, |h| h.0);
        let node = FleetNode { key: key.into(), name: bare.into(), is_silent: true, ..FleetNode::default() };
        self.fleet.nodes.push(node);
        self.nodes.insert(key.into(), self.fleet.nodes.len() - 1);
        self.fleet.nodes.len() - 1
    }

    fn service(&mut self, s: &Series) -> usize {
        self.place(&s.service())
    }

    fn place(&mut self, key: &ServiceKey) -> usize {
        if let Some(i) = self.services.get(key) {
            return *i;
        }
        self.fleet.services.push(FleetService { key: key.clone(), ..FleetService::default() });
        self.services.insert(key.clone(), self.fleet.services.len() - 1);
        self.fleet.services.len() - 1
    }

    fn differs(&mut self, node: usize, service: usize, what: Difference) {
        self.fleet.nodes[node].differs.push(what);
        self.fleet.services[service].differs.push(node);
    }
}

/// Asks for all nodes and Services. Series of every Service on every node are looked through three times, for sums; who differs comes out
/// of one number a node.
///
/// # Errors
/// What the store says is wrong, or that it has nothing of `kptop serve`.
pub fn gather(store: &mut dyn Store, scope: &Scope) -> Result<Fleet, String> {
    let node = &scope.node_label;
    let m = |name: &str, more: &str| scope.metric(name, more);
    let questions = [
        // What takes long comes first: questions are asked side by side.
        format!("sum by ({SERVICE}) ({})", scope.rate("")),
        format!("sum by ({node}) ({})", scope.rate("")),
        format!("max by ({SERVICE}) ({})", m("kptop_service_latency_seconds", "quantile=\"0.99\"")),
        format!("count by ({SERVICE}, state) ({} == 1)", m("kptop_service_health", "state!=\"healthy\"")),
        format!("group by ({node}) (last_over_time({}[1h]))", m("kptop_build_info", "")),
        format!("group by ({node}) ({})", m("kptop_build_info", "")),
        m("kptop_node_info", ""),
        m("kptop_reading_age_seconds", ""),
        m("kptop_services", ""),
        m("kptop_services_hash", ""),
        format!("sum by ({node}, id, severity) ({})", m("kptop_findings", "")),
        format!("{} > 0", m("kptop_left_out", "kind=\"services\"")),
    ];
    let answers = store.ask(&questions)?;
    let [flows, node_flows, latency, not_healthy, seen, now, info, age, by_state, hashes, findings, left_out] =
        <[Vec<Series>; 12]>::try_from(answers).map_err(|_| "the store left out answers".to_string())?;
    let mut p = Places::default();
    for s in &seen {
        p.node(scope, s);
    }
    for s in &now {
        let i = p.node(scope, s);
        p.fleet.nodes[i].is_silent = false;
    }
    if p.fleet.nodes.is_empty() {
        return Err(nothing(scope));
    }
    for s in &info {
        let i = p.node(scope, s);
        let n = &mut p.fleet.nodes[i];
        let of = |name| Some(s.label(name).to_string()).filter(|t| !t.is_empty());
        (n.proxy, n.version, n.mode) = (of("proxy"), of("proxy_version"), of("mode"));
        n.name = of("nodename").unwrap_or_else(|| std::mem::take(&mut n.name));
    }
    for s in &age {
        let i = p.node(scope, s);
        p.fleet.nodes[i].age = Some(s.value);
    }
    for s in &by_state {
        let (i, Some(state)) = (p.node(scope, s), state(s)) else { continue };
        p.fleet.nodes[i].states.insert(state, s.value as u64);
    }
    for s in &node_flows {
        let i = p.node(scope, s);
        p.fleet.nodes[i].new_flows = Some(s.value);
    }
    for s in &findings {
        let i = p.node(scope, s);
        let severity = [Severity::Critical, Severity::Warning, Severity::Info];
        let Some(severity) = severity.into_iter().find(|x| x.name() == s.label("severity")) else { continue };
        let found = Found { id: s.label("id").into(), severity, count: s.value as u64 };
        p.fleet.nodes[i].findings.push(found);
    }
    p.fleet.nodes.iter_mut().for_each(|n| n.findings.sort_by_key(|f| (f.severity, f.id.clone())));
    for s in &left_out {
        let i = p.node(scope, s);
        p.fleet.nodes[i].left_out = s.value as u64;
    }
    let hashes: Vec<(usize, u64)> = hashes.iter().map(|s| (p.node(scope, s), s.value as u64)).collect();
    services(store, scope, &mut p, &hashes)?;
    for s in &not_healthy {
        let (i, Some(state)) = (p.service(s), state(s)) else { continue };
        let states = &mut p.fleet.services[i].states;
        let healthy = states.entry(HealthState::Healthy).or_default();
        *healthy = healthy.saturating_sub(s.value as u64);
        if *healthy == 0 {
            states.remove(&HealthState::Healthy);
        }
        states.insert(state, s.value as u64);
    }
    for s in &latency {
        let i = p.service(s);
        p.fleet.services[i].latency = Some(s.value);
    }
    for s in &flows {
        let i = p.service(s);
        p.fleet.services[i].new_flows = Some(s.value);
    }
    lost(store, scope, &mut p)?;
    settings(&mut p.fleet);
    notes(&mut p.fleet);
    Ok(p.fleet.sorted())
}

fn nothing(scope: &Scope) -> String {
    let with = match scope.selector.is_empty() {
        true => String::new(),
        false => format!(" with {}", scope.selector),
    };
    format!(
        "it has no series of `kptop serve`{with}\n  -> does it scrape them? `kptop serve` on each node, see `kubectl kptop install`"
    )
}

/// Nodes whose proxy, version or mode is not that of the most.
fn settings(fleet: &mut Fleet) {
    type Setting = fn(&FleetNode) -> &Option<String>;
    let all: [(&'static str, Setting); 3] =
        [("proxy", |n| &n.proxy), ("version of the proxy", |n| &n.version), ("mode", |n| &n.mode)];
    for (name, of) in all {
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for said in fleet.nodes.iter().filter_map(|n| of(n).as_deref()) {
            *votes.entry(said).or_default() += 1;
        }
        if votes.len() < 2 {
            continue;
        }
        let Some(usual) = votes.into_iter().max_by_key(|v| v.1).map(|v| v.0.to_string()) else { continue };
        for n in &mut fleet.nodes {
            if let Some(said) = of(n).clone().filter(|s| *s != usual) {
                n.differs.push(Difference::Setting { name, said, usual: usual.clone() });
            }
        }
    }
}

/// Makes the list of Services, and finds who differs. Most nodes hold the same Services with the same endpoints, and say so by one number:
/// one of them is asked for the list, and those that say another number for theirs.
fn services(
    store: &mut dyn Store,
    scope: &Scope,
    p: &mut Places,
    hashes: &[(usize, u64)],
) -> Result<(), String> {
    let mut groups: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    let hashes = hashes.iter().filter(|h| !p.fleet.nodes[h.0].is_silent);
    hashes.for_each(|(node, hash)| groups.entry(*hash).or_default().push(*node));
    // The largest; of as large ones that with the most Services, so that the others lack them.
    let key = |g: &&Vec<usize>| {
        let n = &p.fleet.nodes[g[0]];
        (g.len(), n.services(), std::cmp::Reverse(n.key.clone()))
    };
    let Some(usual) = groups.values().max_by_key(key).cloned() else { return Ok(()) };
    let is_whole = |i: &usize| p.fleet.nodes[*i].left_out == 0;
    let reference = usual.iter().copied().find(is_whole).unwrap_or(usual[0]);
    let mut odd: Vec<usize> = groups.values().flatten().copied().filter(|n| !usual.contains(n)).collect();
    if !odd.is_empty() && usual.len() * 2 <= usual.len() + odd.len() {
        p.fleet.notes.push(format!(
            "no more than half of the nodes hold the same Services: they are compared with {}",
            p.fleet.nodes[reference].name
        ));
    }
    // A node whose series are cut off at a limit cannot be asked for what it lacks.
    odd.sort_by_key(|n| (p.fleet.nodes[*n].left_out > 0, p.fleet.nodes[*n].services()));
    let asked: Vec<usize> = odd.iter().copied().filter(is_whole).take(ASKED_WHAT).collect();
    let of = |p: &Places, metric: &str, node: usize| {
        scope.metric(metric, &format!("{}={}", scope.node_label, quoted(&p.fleet.nodes[node].key)))
    };
    let list = |p: &Places, n: usize| format!("group by ({SERVICE}) ({})", of(p, "kptop_service_health", n));
    let hash =
        |p: &Places, n: usize| format!("max by ({SERVICE}) ({})", of(p, "kptop_service_endpoints_hash", n));
    let mut questions = vec![list(p, reference)];
    questions.extend(asked.iter().map(|n| list(p, *n)));
    questions.extend(asked.iter().map(|n| format!("{} != {}", hash(p, *n), hash(p, reference))));
    let mut answers = store.ask(&questions)?.into_iter();
    let has: HashSet<ServiceKey> = answers.next().unwrap_or_default().iter().map(Series::service).collect();
    let nodes_with = |p: &mut Places, key: &ServiceKey, n: u64| {
        let i = p.place(key);
        *p.fleet.services[i].states.entry(HealthState::Healthy).or_default() += n;
        i
    };
    for key in &has {
        nodes_with(p, key, usual.len() as u64);
    }
    for n in &asked {
        let own: HashSet<ServiceKey> =
            answers.next().unwrap_or_default().iter().map(Series::service).collect();
        for key in &own {
            let i = nodes_with(p, key, 1);
            if !has.contains(key) {
                p.differs(*n, i, Difference::Alone(i));
            }
        }
        for key in has.iter().filter(|k| !own.contains(k)) {
            let i = p.place(key);
            p.differs(*n, i, Difference::Lacks(i));
        }
    }
    for (n, answer) in asked.iter().zip(answers) {
        for s in &answer {
            let i = p.service(s);
            p.differs(*n, i, Difference::Endpoints(i));
        }
    }
    for n in odd.iter().filter(|n| !asked.contains(n)) {
        p.fleet.nodes[*n].differs.push(Difference::Services);
    }
    Ok(())
}

/// Who loses most of the Services that lose flows.
fn lost(store: &mut dyn Store, scope: &Scope, p: &mut Places) -> Result<(), String> {
    let bad: BTreeSet<&str> = p
        .fleet
        .services
        .iter()
        .filter(|s| s.worst() != HealthState::Healthy)
        .map(|s| s.key.service.as_str())
        .collect();
    if bad.is_empty() {
        return Ok(());
    }
    let literal = |name: &str| -> String {
        name.chars()
            .flat_map(|c| [Some('\\').filter(|_| !c.is_ascii_alphanumeric() && c != '-'), Some(c)])
            .flatten()
            .collect()
    };
    let names: Vec<String> = bad.iter().map(|n| literal(n)).collect();
    let only = match names.len() {
        ..=BY_NAME => format!("service=~{}", quoted(&names.join("|"))),
        _ => String::new(),
    };
    let question = format!("topk by ({SERVICE}) (1, {} > 0)", scope.metric("kptop_service_lost", &only));
    for s in store.ask(&[question])?.iter().flatten() {
        let (i, n) = (p.service(s), p.node(scope, s));
        p.fleet.services[i].lost = Some((s.value, n));
    }
    Ok(())
}

fn notes(fleet: &mut Fleet) {
    let silent = fleet.nodes.iter().filter(|n| n.is_silent).count();
    if silent > 0 {
        fleet.notes.push(format!(
            "{} silent: nothing newer than some minutes, no figures of them",
            crate::format::plural(silent as u64, "node")
        ));
    }
    let cut = fleet.nodes.iter().filter(|n| n.left_out > 0).count();
    if cut > 0 {
        fleet.notes.push(format!(
            "{} left Services out (kptop serve --max-services): in what they differ is not known",
            crate::format::plural(cut as u64, "node")
        ));
    }
    let unasked = fleet.nodes.iter().filter(|n| n.left_out == 0 && n.differs.contains(&Difference::Services));
    let unasked = unasked.count();
    if unasked > 0 {
        fleet.notes.push(format!(
            "{} of the nodes that differ: in what was asked of the first {ASKED_WHAT}",
            unasked + ASKED_WHAT
        ));
    }
    if fleet.services.iter().all(|s| s.new_flows.is_none()) && !fleet.services.is_empty() {
        fleet.notes.push("new flows are not counted: kptop serve --new-flows always".into());
    }
    let unnamed =
        fleet.nodes.iter().filter(|n| !n.is_silent && n.proxy.is_none() && n.mode.is_none()).count();
    if unnamed > 0 {
        fleet.notes.push(format!(
            "{} report no proxy and no mode: not compared",
            crate::format::plural(unnamed as u64, "node")
        ));
    }
}

/// A Service on one node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServiceOnNode {
    /// The node, by its place in the fleet.
    pub node: usize,
    /// How it is there.
    pub state: HealthState,
    /// The part of its new flows that is lost.
    pub lost: Option<f64>,
    /// New flows a second.
    pub new_flows: Option<f64>,
    /// The time to the first answer of 99 of 100 flows, in seconds.
    pub latency: Option<f64>,
    /// Backends.
    pub backends: Option<u64>,
    /// True where its endpoints, or that it is there, differ from most of the nodes.
    pub differs: bool,
}

/// Asks how one Service is on each node, the worst first.
///
/// # Errors
/// What the store says is wrong.
pub fn service_on_nodes(
    store: &mut dyn Store,
    scope: &Scope,
    fleet: &Fleet,
    service: &FleetService,
) -> Result<Vec<ServiceOnNode>, String> {
    let key = &service.key;
    let matchers = [
        ("namespace", &key.namespace),
        ("service", &key.service),
        ("port", &key.port),
        ("protocol", &key.protocol),
        ("family", &key.family),
    ];
    let of: Vec<String> = matchers.iter().map(|(name, v)| format!("{name}={}", quoted(v))).collect();
    let of = of.join(", ");
    let questions = [
        format!("{} == 1", scope.metric("kptop_service_health", &of)),
        scope.metric("kptop_service_lost", &of),
        scope.rate(&of),
        scope.metric("kptop_service_latency_seconds", &format!("quantile=\"0.99\", {of}")),
        scope.metric("kptop_service_backends", &of),
    ];
    let answers = store.ask(&questions)?;
    let by_key: HashMap<&str, usize> =
        fleet.nodes.iter().enumerate().map(|(i, n)| (n.key.as_str(), i)).collect();
    let mut rows: BTreeMap<usize, ServiceOnNode> = BTreeMap::new();
    for (what, lines) in answers.iter().enumerate() {
        for s in lines {
            let Some(&node) = by_key.get(s.label(&scope.node_label)) else { continue };
            let row = rows.entry(node).or_insert_with(|| ServiceOnNode { node, ..ServiceOnNode::default() });
            match what {
                0 => row.state = state(s).unwrap_or_default(),
                1 => row.lost = Some(s.value),
                2 => row.new_flows = Some(row.new_flows.unwrap_or(0.0) + s.value),
                3 => row.latency = Some(s.value),
                _ => row.backends = Some(s.value as u64),
            }
        }
    }
    let mut rows: Vec<ServiceOnNode> = rows.into_values().collect();
    rows.iter_mut().for_each(|r| r.differs = service.differs.contains(&r.node));
    rows.sort_by_key(|r| (!r.differs, r.state, r.node));
    Ok(rows)
}
