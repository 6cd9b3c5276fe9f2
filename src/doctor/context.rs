//! What checks look at, put in order: what rose since the earlier snapshot, and whose flows are whose.

use super::facts::{Before, Facts};
use super::finding::{Finding, Severity, Subject};
use super::losses::{Taken, cause_of, taken};
use crate::proxy::{FrontendKind, Mode, Model, RuleRef, Service, State, rule_owner, screen_label};
use crate::rates::{Delta, NoRate, Rise, TableDelta};
use crate::reach::{Taker, taker_words};
use crate::ruleset::{IpFamily, L4Endpoint, RuleId};
use crate::snapshot::facts::{Answer, Cluster, ConntrackStat, KubeProxy};
use crate::snapshot::{Conntrack, FlowFigures, FlowKey, Flows, Snapshot, SourceId, Unread};
use std::borrow::Cow;
use std::net::IpAddr;

/// How a cause of lost traffic is looked for.
pub(in crate::doctor) struct Check {
    /// The name of its file.
    pub(in crate::doctor) id: &'static str,
    /// What is wrong where it is found, in a few words.
    pub(in crate::doctor) about: &'static str,
    /// Sources without which nothing can be said.
    pub(in crate::doctor) needs: &'static [SourceId],
    /// Sources of which some must have been read. Where another was not, that nothing was found rules nothing out.
    pub(in crate::doctor) looks_at: &'static [SourceId],
    /// How many readings it compares: 1, or 2 for what rises or stays.
    pub(in crate::doctor) readings: u8,
    /// Finds the cause. `Err` says why it could not be looked for after all.
    pub(in crate::doctor) run: fn(&CheckContext<'_>, &mut Vec<Finding>) -> Result<(), NotChecked>,
}

/// Why a check could not be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NotChecked {
    /// The source that was not read, where it is one.
    pub(super) source: Option<SourceId>,
    /// For people.
    pub(super) why: Cow<'static, str>,
}

impl NotChecked {
    /// What happens between two readings.
    pub(super) const ONE_READING: NotChecked =
        NotChecked { source: None, why: Cow::Borrowed("one reading so far, and this needs two") };

    pub(super) fn new(source: impl Into<Option<SourceId>>, why: impl Into<Cow<'static, str>>) -> NotChecked {
        NotChecked { source: source.into(), why: why.into() }
    }
}

/// Facts in order.
pub(super) struct CheckContext<'a> {
    pub(super) facts: Facts<'a>,
    pub(super) snapshot: &'a Snapshot,
    pub(super) model: &'a Model,
    /// What walks found lost, by who takes it.
    pub(super) taken: Vec<Taken<'a>>,
    /// Flows of each Service active, in the model's order.
    flows: Vec<Vec<(FlowKey, FlowFigures)>>,
    /// Flows to what is no Service's.
    others: Vec<(FlowKey, FlowFigures)>,
}

impl<'a> CheckContext<'a> {
    pub(super) fn new(facts: Facts<'a>) -> CheckContext<'a> {
        let mut cx = CheckContext {
            facts,
            snapshot: facts.snapshot,
            model: facts.model,
            taken: taken(facts.reach.iter().enumerate()),
            flows: vec![Vec::new(); facts.model.services.len()],
            others: Vec::new(),
        };
        if let Some(flows) = cx.flows_read() {
            for (key, figures) in &flows.groups {
                match cx.service_at(key.frontend()) {
                    Some(i) => cx.flows[i].push((*key, *figures)),
                    None => cx.others.push((*key, *figures)),
                }
            }
        }
        for flows in &mut cx.flows {
            flows.sort_by_key(|f| (f.0.backend, f.0.backend_port, f.0.frontend, f.0.frontend_port));
        }
        cx
    }

    /// The flows that conntrack holds, where they could be read.
    pub(super) fn flows_read(&self) -> Option<&'a Flows> {
        Some(&self.snapshot.conntrack.as_ref()?.flows.as_ref()?.value)
    }

    /// `Err` where a check cannot be done.
    pub(super) fn may(&self, check: &Check) -> Result<(), NotChecked> {
        if !check.looks_at.is_empty() && !self.snapshot.rules_read() {
            return Err(self.no_rules());
        }
        check.needs.iter().try_for_each(|s| self.need(*s))?;
        match check.readings > 1 && self.facts.before.is_none() {
            true => Err(NotChecked::ONE_READING),
            false => Ok(()),
        }
    }

    /// Why a check that found nothing rules nothing out all the same.
    pub(super) fn inconclusive(&self, check: &Check) -> Option<NotChecked> {
        let open = |u: &&Unread| u.leaves_open() && check.looks_at.contains(&u.source);
        let u = self.snapshot.unread.iter().find(open)?;
        let why = format!("not everything was read: {}: {}", u.what, u.why);
        Some(NotChecked::new(u.source, why))
    }

    /// `Err` where a source was not read.
    pub(super) fn need(&self, source: SourceId) -> Result<(), NotChecked> {
        let s = self.snapshot;
        let is_read = match source {
            SourceId::Flows => self.flows_read().is_some(),
            SourceId::ConntrackStats => s.conntrack.as_ref().is_some_and(|c| c.stats.is_some()),
            SourceId::Sysctls => !s.sysctls.is_empty(),
            SourceId::Counters => s.counters.is_some(),
            SourceId::Links => !s.links.is_empty(),
            SourceId::Routes => s.ways.is_some(),
            SourceId::Ebpf => s.ebpf.is_some(),
            SourceId::ServiceMaps => s.maps.is_some(),
            SourceId::Notices => s.new_flows().is_some(),
            SourceId::Addresses => !s.addresses.is_empty(),
            SourceId::Api => return self.cluster().map(|_| ()),
            SourceId::KubeProxy => return self.kube_proxy().map(|_| ()),
            // What holds rules, and is not in the kernel, holds none.
            _ => !s.failed().any(|u| u.source == source),
        };
        if is_read { Ok(()) } else { Err(self.not_read(source)) }
    }

    /// Why a source was not read.
    fn not_read(&self, source: SourceId) -> NotChecked {
        let of = |source| self.snapshot.unread.iter().find(move |u| u.source == source);
        // conntrack as a whole is not there, or the source.
        let whole = || of(SourceId::ConntrackStats).filter(|_| source == SourceId::Flows);
        match of(source).or_else(whole) {
            Some(u) => NotChecked::new(source, format!("{}: {}", u.what, u.why)),
            None => NotChecked::new(
                source,
                match source {
                    SourceId::Flows => "the flows of conntrack were not read",
                    SourceId::ConntrackStats => "conntrack statistics were not read",
                    SourceId::Sysctls => "the node's sysctls are not known",
                    SourceId::Counters => "counters of the network stack were not read",
                    SourceId::Links => "the node's interfaces are not known",
                    SourceId::Routes => "routes and neighbours were not read",
                    SourceId::Ebpf => "eBPF programs were not read",
                    SourceId::ServiceMaps => "eBPF maps of other proxies were not looked for",
                    SourceId::Notices => "new flows were not counted",
                    SourceId::Addresses => "the node's addresses are not known",
                    _ => "it was not read",
                },
            ),
        }
    }

    fn no_rules(&self) -> NotChecked {
        let s = self.snapshot;
        let holds = s.failed().find(|u| SourceId::RULES.contains(&u.source)).or_else(|| s.failed().next());
        match holds {
            Some(u) => NotChecked::new(u.source, format!("no rules were read: {}: {}", u.what, u.why)),
            None => NotChecked::new(None, "no rules were read"),
        }
    }

    /// What the endpoints should be.
    pub(super) fn cluster(&self) -> Result<&'a Cluster, NotChecked> {
        let why: String = match &self.snapshot.cluster {
            Some(c) if c.complete => return Ok(c),
            Some(c) => match &c.state.trouble {
                Some(t) => {
                    format!("the Kubernetes API did not say what the endpoints should be: {}", t.what)
                }
                None => "the Kubernetes API has not reported everything yet".into(),
            },
            None => "what the endpoints should be the Kubernetes API knows, and no access to it was found \
                     (--kubeconfig)"
                .into(),
        };
        Err(NotChecked::new(SourceId::Api, why))
    }

    /// What kube-proxy says of itself.
    pub(super) fn kube_proxy(&self) -> Result<&'a KubeProxy, NotChecked> {
        let given = self.snapshot.kube_proxy.as_deref();
        given.ok_or_else(|| NotChecked::new(SourceId::KubeProxy, "kube-proxy itself was not asked"))
    }

    /// The same, where its metrics are known.
    pub(super) fn kube_proxy_with_metrics(&self) -> Result<&'a KubeProxy, NotChecked> {
        let k = self.kube_proxy()?;
        if k.metrics.given().is_some() { Ok(k) } else { Err(self.kube_proxy_silent(k)) }
    }

    /// Why kube-proxy said nothing of its syncs.
    pub(super) fn kube_proxy_silent(&self, k: &KubeProxy) -> NotChecked {
        let why = match &k.metrics {
            Answer::NotAsked => "kube-proxy itself was not asked".into(),
            Answer::Given(_) => "its metrics say nothing of it".into(),
            Answer::Refused => "nobody listens on 127.0.0.1:10249 (kube-proxy's metrics)".into(),
            Answer::Silent => "127.0.0.1:10249 (kube-proxy's metrics) does not answer".into(),
            Answer::Failed(why) => format!("127.0.0.1:10249 (kube-proxy's metrics): {why}"),
        };
        NotChecked::new(SourceId::KubeProxy, why)
    }

    /// The flows that conntrack holds.
    pub(super) fn flows(&self) -> Result<&'a Flows, NotChecked> {
        self.flows_read().ok_or_else(|| self.not_read(SourceId::Flows))
    }

    /// conntrack's limits and statistics.
    pub(super) fn conntrack(&self) -> Result<&'a Conntrack, NotChecked> {
        self.snapshot.conntrack.as_ref().ok_or_else(|| self.not_read(SourceId::ConntrackStats))
    }

    /// The earlier reading.
    pub(super) fn before(&self) -> Result<Before<'a>, NotChecked> {
        self.facts.before.ok_or(NotChecked::ONE_READING)
    }

    /// True for facts that does not change: files, of which there is never another reading.
    pub(super) fn is_still(&self) -> bool {
        self.snapshot.cluster.as_ref().is_some_and(|c| c.state.server.is_empty())
    }

    /// The Service that is reached here.
    pub(super) fn service_at(&self, to: L4Endpoint) -> Option<usize> {
        self.model.services.reached_at(to, &self.snapshot.addresses)
    }

    /// True for an address of the node.
    pub(super) fn is_own(&self, address: IpAddr) -> bool {
        self.snapshot.addresses.iter().any(|a| a.address == address)
    }

    /// Flows to a Service, by backend.
    pub(super) fn flows_of(&self, service: usize) -> &[(FlowKey, FlowFigures)] {
        &self.flows[service]
    }

    /// Flows that were translated for what is no Service's.
    pub(super) fn flows_of_others(&self) -> &[(FlowKey, FlowFigures)] {
        &self.others
    }

    /// What walks found lost, as far as a cause names it.
    pub(super) fn taken_as(&self, id: &'static str) -> impl Iterator<Item = &Taken<'a>> {
        self.taken.iter().filter(move |t| cause_of(self.snapshot, t.taker) == id)
    }

    /// True where some new flows to a Service are lost for certain.
    pub(super) fn loses(&self, service: usize) -> bool {
        self.taken.iter().any(|t| t.losses.iter().any(|l| l.service == service))
    }

    /// Services active, with their places.
    pub(super) fn active_services(&self) -> impl Iterator<Item = (usize, &'a Service)> {
        self.model.services.iter().enumerate().filter(|(_, s)| !s.stale)
    }

    /// True where a mode is active.
    pub(super) fn active(&self, mode: Mode) -> bool {
        self.model.services.modes.iter().any(|m| m.engine.mode() == mode && m.state == State::Active)
    }

    /// True where any mode is active in a family.
    pub(super) fn any_active(&self, family: IpFamily) -> bool {
        self.model.services.modes.iter().any(|m| m.family == family && m.state == State::Active)
    }

    /// A sysctl. `None` may mean that none was read: [`CheckContext::need`] asks for that.
    pub(super) fn sysctl(&self, name: &str) -> Option<&'a str> {
        self.snapshot.sysctls.get(name).map(String::as_str)
    }

    /// A sysctl without which a check cannot be done.
    pub(super) fn must_sysctl(&self, name: &str) -> Result<&'a str, NotChecked> {
        self.need(SourceId::Sysctls)?;
        let short = name.rsplit('/').next().unwrap_or(name);
        let unknown = || NotChecked::new(SourceId::Sysctls, format!("the kernel does not report {short}"));
        self.sysctl(name).ok_or_else(unknown)
    }

    /// A sysctl that is a number.
    pub(super) fn sysctl_number(&self, name: &str) -> Option<i64> {
        self.sysctl(name)?.parse().ok()
    }

    /// The kernel's version: `6.1`.
    pub(super) fn kernel(&self) -> Option<(u32, u32)> {
        let release = self.snapshot.node.kernel.as_deref()?;
        let mut parts = release.split(|c: char| !c.is_ascii_digit());
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    }

    /// What rose since the earlier reading.
    fn delta(&self) -> Option<Delta<'a>> {
        Some(Delta { before: self.facts.before?.snapshot, now: self.snapshot })
    }

    /// A table since the earlier reading, or since the last where its rules are younger.
    fn table(&self, table: usize) -> Option<TableDelta<'a>> {
        let readings = [self.facts.before, self.facts.last].into_iter().flatten();
        let mut deltas = readings.map(|b| Delta { before: b.snapshot, now: self.snapshot });
        deltas.find_map(|d| d.table(table).ok())
    }

    /// How much a rule counted since, where it did.
    pub(super) fn rule_rise(&self, rule: RuleRef) -> Option<Rise> {
        rose(self.table(rule.table)?.rule(rule.rule))
    }

    /// How much the policy of a chain took since, where it did.
    pub(super) fn policy_rise(&self, table: usize, chain: crate::ruleset::ChainId) -> Option<Rise> {
        rose(self.table(table)?.policy(chain))
    }

    /// How much a counter of the network stack rose since, where it did.
    pub(super) fn counter_rise(&self, name: &str) -> Option<Rise> {
        rose(self.delta()?.counter(name))
    }

    /// CPUs whose receive queue dropped packets since.
    pub(super) fn softnet_rises(&self) -> Vec<(u32, Rise)> {
        let all = self.delta().into_iter().flat_map(Delta::softnet);
        all.filter(|(_, rise)| rise.by > 0).collect()
    }

    /// How much a statistic of conntrack rose since, where it did.
    pub(super) fn stat_rise(&self, stat: ConntrackStat) -> Option<Rise> {
        rose(self.delta()?.stat(stat))
    }

    /// Flows between a frontend and a backend in the earlier snapshot.
    pub(super) fn flows_before(&self, key: &FlowKey) -> Option<FlowFigures> {
        let before = self.facts.before?.snapshot.conntrack.as_ref()?.flows.as_ref()?;
        before.value.groups.get(key).copied()
    }

    /// A finding about a Service.
    pub(super) fn service(
        &self,
        id: &'static str,
        severity: Severity,
        service: usize,
        title: impl Into<String>,
    ) -> Finding {
        let s = &self.model.services[service];
        let about = format!("{} {}", screen_label(s), s.protocol.name());
        let services = vec![service];
        Finding { subject: Subject::Service(service), services, ..Finding::node(id, severity, &about, title) }
    }

    /// A finding about a rule.
    pub(super) fn rule(
        &self,
        id: &'static str,
        severity: Severity,
        rule: RuleRef,
        title: impl Into<String>,
    ) -> Finding {
        let about = self.chain_text(rule);
        Finding { subject: Subject::Rule(rule), ..Finding::node(id, severity, &about, title) }
    }

    /// A rule as `iptables -S` or `nft list` prints it.
    pub(super) fn rule_text(&self, rule: RuleRef) -> String {
        let Some(t) = self.snapshot.tables.get(rule.table) else { return String::new() };
        t.table.rules.get(rule.rule.0 as usize).map_or_else(String::new, |r| t.table.rule_text(r).to_string())
    }

    /// Where a rule is: `ip filter FORWARD`.
    pub(super) fn chain_text(&self, rule: RuleRef) -> String {
        let Some(t) = self.snapshot.tables.get(rule.table) else { return String::new() };
        let chain = t.table.chain_of(rule.rule).map_or("?", |c| t.table.chain_name(c));
        format!("{} {} {chain}", t.family, t.table.name)
    }

    /// Whose rule it is, as far as names say.
    pub(super) fn owner(&self, rule: RuleRef) -> Option<&'static str> {
        rule_owner(&self.snapshot.tables.get(rule.table)?.table, rule.rule)
    }

    /// What a taker is, for people: `a rule of Docker in FORWARD`.
    pub(super) fn taker_words(&self, taker: &Taker) -> String {
        taker_words(self.snapshot, taker)
    }

    /// The rules of every chain of this name in tables of iptables of this name, with their places.
    pub(super) fn chain_rules(&self, table: &str, chain: &str) -> Vec<RuleRef> {
        let mut found = Vec::new();
        for (i, t) in self.snapshot.tables.iter().enumerate().filter(|(_, t)| t.table.name == table) {
            if let Some(c) = t.table.chain(chain) {
                found.extend(t.table.rules_of(c).map(|(id, _)| RuleRef { table: i, rule: id }));
            }
        }
        found
    }

    /// A rule's parts.
    pub(super) fn matches(&self, rule: RuleRef) -> &'a [crate::ruleset::Match] {
        let Some(t) = self.snapshot.tables.get(rule.table) else { return &[] };
        t.table.rules.get(rule.rule.0 as usize).map_or(&[], |r| t.table.matches_of(r))
    }

    /// What a rule does.
    pub(super) fn target(&self, rule: RuleRef) -> Option<&'a crate::ruleset::Target> {
        let t = self.snapshot.tables.get(rule.table)?;
        t.table.rules.get(rule.rule.0 as usize).map(|r| &r.target)
    }

    /// Who changed nf_tables last while kptop listened, beside kube-proxy itself, for people.
    pub(super) fn last_writer(&self) -> Option<String> {
        let others = |w: &&crate::snapshot::facts::Writer| !w.name.starts_with("kube-proxy");
        let w = self.snapshot.writers.iter().rev().find(others)?;
        Some(format!("nf_tables was changed by {} (process {}), generation {}", w.name, w.pid, w.generation))
    }

    /// Every rule, with its place.
    pub(super) fn all_rules(&self) -> impl Iterator<Item = RuleRef> {
        self.snapshot.tables.iter().enumerate().flat_map(|(table, t)| {
            (0..t.table.rules.len()).map(move |i| RuleRef { table, rule: RuleId(i as u32) })
        })
    }

    /// Frontends of a kind, of Services active.
    pub(super) fn frontends(
        &self,
        kind: FrontendKind,
    ) -> impl Iterator<Item = (usize, &'a Service, &'a crate::proxy::Frontend)> {
        self.active_services().flat_map(move |(i, s)| {
            s.frontends.iter().filter(move |f| f.kind == Some(kind)).map(move |f| (i, s, f))
        })
    }
}

fn rose(rise: Result<Rise, NoRate>) -> Option<Rise> {
    rise.ok().filter(|r| r.by > 0)
}
