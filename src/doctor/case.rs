//! What causes look at, put in order: what rose since the earlier snapshot, and whose flows are whose.

use super::{Before, Facts, Finding, Severity, Subject};
use crate::columns::screen_label;
use crate::proxy::{FrontendKind, Frontends, Mode, Model, RuleRef, Service, State, chain_owner};
use crate::ruleset::{IpFamily, RuleId};
use crate::snapshot::facts::Stats;
use crate::snapshot::{FlowFigures, FlowKey, Flows, Snapshot, TableState};
use std::cell::Cell;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// A counter that went up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rise {
    /// By how much.
    pub(super) by: u64,
    /// In which time.
    pub(super) over: Duration,
    /// To which value.
    pub(super) total: u64,
}

impl Rise {
    fn between(before: u64, now: u64, over: Duration) -> Option<Rise> {
        let by = now.checked_sub(before).filter(|n| *n > 0)?;
        (!over.is_zero()).then_some(Rise { by, over, total: now })
    }

    /// `12 in 4 s, 345 in all`
    pub(super) fn text(&self) -> String {
        use crate::figures::{count, duration};
        format!("{} in {}, {} in all", count(self.by), duration(self.over), count(self.total))
    }
}

/// Facts in order.
pub(super) struct Case<'a> {
    pub(super) facts: Facts<'a>,
    pub(super) snapshot: &'a Snapshot,
    pub(super) model: &'a Model,
    frontends: Frontends,
    asked_rules: Cell<bool>,
    asked_sysctls: Cell<bool>,
    /// Flows of each Service at work, in the model's order.
    flows: Vec<Vec<(FlowKey, FlowFigures)>>,
}

impl<'a> Case<'a> {
    pub(super) fn new(facts: Facts<'a>) -> Case<'a> {
        let mut case = Case {
            facts,
            snapshot: facts.snapshot,
            model: facts.model,
            frontends: Frontends::new(facts.snapshot, facts.model),
            asked_rules: Cell::new(false),
            asked_sysctls: Cell::new(false),
            flows: vec![Vec::new(); facts.model.services.len()],
        };
        if let Some(flows) = case.flows_read() {
            for (key, figures) in &flows.groups {
                if let Some(i) = case.service_at(key.protocol, key.frontend, key.frontend_port) {
                    case.flows[i].push((*key, *figures));
                }
            }
        }
        for flows in &mut case.flows {
            flows.sort_by_key(|f| (f.0.backend, f.0.backend_port, f.0.frontend, f.0.frontend_port));
        }
        case
    }

    /// The flows that conntrack holds, where they could be read.
    pub(super) fn flows_read(&self) -> Option<&'a Flows> {
        Some(&self.snapshot.conntrack.as_ref()?.flows.as_ref()?.value)
    }

    /// Why causes that need the flows cannot be looked for.
    pub(super) fn need_flows(&self) -> Result<&'a Flows, String> {
        self.flows_read().ok_or_else(|| "the flows of conntrack could not be read".into())
    }

    /// Why causes that need Services' rules cannot be looked for.
    pub(super) fn need_rules(&self) -> Result<(), String> {
        self.asked_rules.set(true);
        match self.snapshot.rules_read() {
            true => Ok(()),
            false => Err(self.unread().unwrap_or_else(|| {
                let first = self.snapshot.unread.iter().find(|u| u.failed);
                first.map_or("what holds rules was not read".into(), |u| {
                    format!("what holds rules was not read: {}: {}", u.what, u.why)
                })
            })),
        }
    }

    /// What could not be read of what holds rules.
    fn unread(&self) -> Option<String> {
        let holds = |what: &str| ["table", "IPVS", "ipset"].iter().any(|w| what.contains(w));
        let u = self.snapshot.unread.iter().find(|u| u.failed && holds(&u.what))?;
        Some(format!("not everything was read: {}: {}", u.what, u.why))
    }

    /// Why a cause that was looked for since the last call, and not found, is not ruled out all the same: it looked at
    /// rules or sysctls, and some could not be read.
    pub(super) fn doubt(&self) -> Option<String> {
        let sysctls = self.asked_sysctls.take() && self.snapshot.sysctls.is_empty();
        let rules = self.asked_rules.take().then(|| self.unread()).flatten();
        rules.or_else(|| sysctls.then(|| "the node's sysctls are not known".to_string()))
    }

    /// The earlier snapshot.
    pub(super) fn need_before(&self) -> Result<&'a Snapshot, String> {
        self.facts.before.map(|b| b.snapshot).ok_or_else(|| "one reading so far: what rises needs two".into())
    }

    /// True for facts that stand still: files, of which there is never another reading.
    pub(super) fn is_still(&self) -> bool {
        self.snapshot.cluster.as_ref().is_some_and(|c| c.state.server.is_empty())
    }

    /// The Service that is reached here.
    pub(super) fn service_at(&self, protocol: u8, address: IpAddr, port: u16) -> Option<usize> {
        self.frontends.find(protocol, address, port)
    }

    /// True for an address of the node.
    pub(super) fn is_own(&self, address: IpAddr) -> bool {
        self.snapshot.addresses.iter().any(|a| a.address == address)
    }

    /// Flows to a Service, by backend.
    pub(super) fn flows_of(&self, service: usize) -> &[(FlowKey, FlowFigures)] {
        &self.flows[service]
    }

    /// Services at work, with their places.
    pub(super) fn at_work(&self) -> impl Iterator<Item = (usize, &'a Service)> {
        self.model.services.iter().enumerate().filter(|(_, s)| !s.leftover)
    }

    /// True where a mode is at work.
    pub(super) fn active(&self, mode: Mode) -> bool {
        self.model.modes.iter().any(|m| m.mode == mode && m.state == State::Active)
    }

    /// True where any mode is at work in a family.
    pub(super) fn any_active(&self, family: IpFamily) -> bool {
        self.model.modes.iter().any(|m| m.family == family && m.state == State::Active)
    }

    /// Why causes of IPVS cannot be looked for: it could not be read. A kernel without IPVS has none of them.
    pub(super) fn need_ipvs(&self) -> Result<(), String> {
        self.need_rules()?;
        match self.snapshot.unread.iter().find(|u| u.what == "IPVS" && u.failed) {
            Some(u) => Err(format!("IPVS: {}", u.why)),
            None => Ok(()),
        }
    }

    /// A sysctl.
    pub(super) fn sysctl(&self, name: &str) -> Option<&'a str> {
        self.asked_sysctls.set(true);
        self.snapshot.sysctls.get(name).map(String::as_str)
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

    /// The same table in the earlier snapshot, where it is made of the same rules and was read since.
    fn table_before(&self, table: usize) -> Option<(&'a TableState, &'a TableState)> {
        let now = self.snapshot.tables.get(table)?;
        let same = |b: Before<'a>| {
            b.snapshot.tables.iter().find(|t| Arc::ptr_eq(&t.table, &now.table)).filter(|t| t.at < now.at)
        };
        let old = self.facts.before.and_then(same).or_else(|| self.facts.last.and_then(same))?;
        Some((old, now))
    }

    /// How much a rule counted since.
    pub(super) fn rule_rise(&self, rule: RuleRef) -> Option<Rise> {
        let (old, now) = self.table_before(rule.table)?;
        Rise::between(old.counter(rule.rule).packets, now.counter(rule.rule).packets, now.at - old.at)
    }

    /// How much the policy of a chain took since.
    pub(super) fn policy_rise(&self, table: usize, chain: crate::ruleset::ChainId) -> Option<Rise> {
        let (old, now) = self.table_before(table)?;
        let of = |t: &TableState| t.counters.policies.iter().find(|p| p.0 == chain).map(|p| p.1.packets);
        Rise::between(of(old)?, of(now)?, now.at - old.at)
    }

    /// How much a counter of the network stack rose since.
    pub(super) fn counter_rise(&self, name: &str) -> Option<Rise> {
        let (old, now) = (self.facts.before?.snapshot.counters.as_ref()?, self.snapshot.counters.as_ref()?);
        let of = |c: &crate::snapshot::facts::Counters| c.named.get(name).copied();
        Rise::between(of(&old.value)?, of(&now.value)?, now.at.checked_sub(old.at)?)
    }

    /// How much a statistic of conntrack rose since.
    pub(super) fn stat_rise(&self, of: fn(&Stats) -> Option<u64>) -> Option<Rise> {
        let (old, now) = (self.facts.before?.snapshot.conntrack.as_ref()?, self.snapshot.conntrack.as_ref()?);
        Rise::between(of(old.stats.as_ref()?)?, of(now.stats.as_ref()?)?, now.at.checked_sub(old.at)?)
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
        Finding { subject: Subject::Service(service), ..Finding::node(id, severity, &about, title) }
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

    /// Where a rule stands: `ip filter FORWARD`.
    pub(super) fn chain_text(&self, rule: RuleRef) -> String {
        let Some(t) = self.snapshot.tables.get(rule.table) else { return String::new() };
        let chain = t.table.chain_of(rule.rule).map_or("?", |c| t.table.chain_name(c));
        format!("{} {} {chain}", t.family, t.table.name)
    }

    /// Whose chain a rule stands in, as far as names tell.
    pub(super) fn owner(&self, rule: RuleRef) -> Option<&'static str> {
        let t = self.snapshot.tables.get(rule.table)?;
        chain_owner(&t.table, t.table.chain_of(rule.rule)?)
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

    /// Every rule, with its place.
    pub(super) fn all_rules(&self) -> impl Iterator<Item = RuleRef> {
        self.snapshot.tables.iter().enumerate().flat_map(|(table, t)| {
            (0..t.table.rules.len()).map(move |i| RuleRef { table, rule: RuleId(i as u32) })
        })
    }

    /// Frontends of a kind, of Services at work.
    pub(super) fn frontends(
        &self,
        kind: FrontendKind,
    ) -> impl Iterator<Item = (usize, &'a Service, &'a crate::proxy::Frontend)> {
        self.at_work().flat_map(move |(i, s)| {
            s.frontends.iter().filter(move |f| f.kind == Some(kind)).map(move |f| (i, s, f))
        })
    }
}
