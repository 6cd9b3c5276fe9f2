//! Services whose packets die on their way, though kube-proxy's own rules would let them through: what other programs' rules
//! do to them, found by walking.

use crate::proxy::{
    Action, FrontendKind, Model, RuleRef, any_pod, chain_owner, node_address, outside_client,
};
use crate::ruleset::{IpFamily, RuleId};
use crate::snapshot::Snapshot;
use crate::walk::{End, Ingress, Options, Packet, RulesetIndex, StepKind, Trace};
use std::net::IpAddr;

/// A way that ends too early.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadEnd {
    /// Service, by its place in the model.
    pub service: usize,
    /// Frontend, by its place in the Service.
    pub frontend: usize,
    /// Who sends: `a pod`, `a client outside` or `the node itself`.
    pub from: &'static str,
    /// The sender's address.
    pub source: IpAddr,
    /// Dropped or rejected.
    pub end: End,
    /// The rule that takes it; `None` for a policy.
    pub rule: Option<RuleRef>,
    /// Where: `ip filter FORWARD`.
    pub place: String,
    /// Whose rule, as far as names say.
    pub owner: Option<&'static str>,
}

const POD: &str = "a pod";
const OUTSIDE: &str = "a client outside";
const NODE: &str = "the node itself";

impl DeadEnd {
    /// True where a pod sends.
    pub fn is_from_pod(&self) -> bool {
        self.from == POD
    }
}

/// Walks once to each Service from a pod and from the node itself, and to each that is reached from outside from there. Ways whose end depends on
/// something that is not known are not reported.
pub fn dead_ends(snapshot: &Snapshot, model: &Model) -> Vec<DeadEnd> {
    let ruleset = RulesetIndex::new(snapshot);
    let quick = Options { new_client: true, steps: false, ..Options::default() };
    let mut found = Vec::new();
    // Where packets come from and where node ports are asked for, of each family.
    let known = [IpFamily::V4, IpFamily::V6]
        .map(|family| (any_pod(snapshot, family), outside_client(family), node_address(snapshot, family)));
    for (i, s) in model.services.iter().enumerate().filter(|(_, s)| !s.stale && !s.backends.is_empty()) {
        let (pod, outside, node) = known[s.family as usize];
        let first = s.frontends.iter().position(|f| f.action == Action::Balance);
        let outer = s.frontends.iter().position(|f| {
            f.action == Action::Balance
                && f.source_ranges.is_none()
                && f.kind.is_some_and(|k| k != FrontendKind::ClusterIp)
        });
        let ways = [(first, POD, Some(pod)), (outer, OUTSIDE, Some(outside)), (first, NODE, node)];
        for (frontend, from, source) in ways.into_iter().filter_map(|(f, n, a)| Some((f?, n, a?))) {
            let f = &s.frontends[frontend];
            let Some(to) = f.address.or(node) else { continue };
            if f.source_ranges.is_some() {
                continue;
            }
            let entrance = match from {
                NODE => Ingress::Node,
                _ => Ingress::Interface(Some("kptop-from".into())),
            };
            let packet = Packet::new((source, 40_000), (to, f.port), s.protocol.number(), entrance);
            let dies = |w: &Trace| {
                !w.outcomes.is_empty()
                    && w.outcomes
                        .iter()
                        .all(|o| matches!(o.end, End::Dropped | End::Rejected) && o.assuming.is_empty())
            };
            if !dies(&ruleset.walk(&packet, &quick)) {
                continue;
            }
            let walk = ruleset.walk(&packet, &Options { new_client: true, ..Options::default() });
            let Some(outcome) = walk.outcomes.first() else { continue };
            let last = outcome.last.and_then(|l| walk.steps.get(l as usize));
            let Some(place) = last.and_then(|l| l.place) else { continue };
            let t = &snapshot.tables[place.table];
            let chain = t.table.chain_name(place.chain);
            let rule: Option<RuleId> = last.and_then(|l| match l.kind {
                StepKind::Matched(r) | StepKind::Counted(r) => Some(r),
                _ => None,
            });
            let owner = chain_owner(&t.table, place.chain);
            if owner == Some("kube-proxy") {
                continue;
            }
            found.push(DeadEnd {
                service: i,
                frontend,
                from,
                source,
                end: outcome.end,
                rule: rule.map(|rule| RuleRef { table: place.table, rule }),
                place: format!("{} {} {chain}", t.family, t.table.name),
                owner,
            });
        }
    }
    found
}
