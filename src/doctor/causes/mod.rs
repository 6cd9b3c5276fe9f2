//! One file per cause.

mod both_variants;
mod bridge_netfilter;
mod conntrack_drops;
mod conntrack_full;
mod conntrack_insert_failed;
mod duplicate_rules;
mod foreign_drop;
mod forward_policy;
mod hairpin;
mod invalid_dropped;
mod ip_forward;
mod ipvs_addresses;
mod ipvs_arp;
mod ipvs_conn_reuse_mode;
mod ipvs_conntrack;
mod ipvs_expire_nodest_conn;
mod ipvs_sets;
mod ipvs_timeouts;
mod ipvs_weight;
mod kube_proxy_behind;
mod leftovers;
mod listen_overflows;
mod localnet;
mod never_hit;
mod no_endpoints;
mod no_local_endpoints;
mod node_port_range;
mod nodeport_ips;
mod rp_filter;
mod slow_kernel;
mod snat_ports;
mod softnet;
mod source_ranges;
mod stale_flows;
mod uneven_backends;
mod unreachable_backend;
mod untranslated_flows;
mod wiped;

use super::context::{CheckContext, NotChecked};
use super::{Check, Finding, Severity};
use crate::format::count;
use crate::proxy::Action;
use crate::snapshot::SourceId;

/// Every check: one file for each. Those that stop most come first: among findings of one severity they stand in
/// this order.
pub(super) const ALL: [Check; 38] = [
    wiped::CHECK,
    ip_forward::CHECK,
    foreign_drop::CHECK,
    forward_policy::CHECK,
    conntrack_full::CHECK,
    conntrack_insert_failed::CHECK,
    conntrack_drops::CHECK,
    invalid_dropped::CHECK,
    stale_flows::CHECK,
    untranslated_flows::CHECK,
    unreachable_backend::CHECK,
    hairpin::CHECK,
    snat_ports::CHECK,
    no_endpoints::CHECK,
    no_local_endpoints::CHECK,
    source_ranges::CHECK,
    uneven_backends::CHECK,
    ipvs_addresses::CHECK,
    ipvs_weight::CHECK,
    ipvs_sets::CHECK,
    ipvs_conntrack::CHECK,
    ipvs_conn_reuse_mode::CHECK,
    ipvs_expire_nodest_conn::CHECK,
    ipvs_timeouts::CHECK,
    ipvs_arp::CHECK,
    nodeport_ips::CHECK,
    node_port_range::CHECK,
    localnet::CHECK,
    bridge_netfilter::CHECK,
    rp_filter::CHECK,
    softnet::CHECK,
    listen_overflows::CHECK,
    both_variants::CHECK,
    leftovers::CHECK,
    duplicate_rules::CHECK,
    never_hit::CHECK,
    slow_kernel::CHECK,
    kube_proxy_behind::CHECK,
];

/// Services some frontend of which refuses everything: how much it matters depends on whether somebody asks.
fn refusing(
    cx: &CheckContext<'_>,
    action: Action,
    found: &mut Vec<Finding>,
    tell: impl Fn(usize, Option<f64>, Finding) -> Finding,
) {
    for (i, s) in cx.at_work() {
        let figures = cx.model.figures(i);
        let mut frontends =
            s.frontends.iter().zip(figures.frontends()).filter(|f| f.0.action == action).peekable();
        if frontends.peek().is_none() {
            continue;
        }
        let rise = |f: &crate::proxy::Frontend| cx.rule_rise(f.refusal?);
        let rises: Vec<_> = s.frontends.iter().filter(|f| f.action == action).filter_map(rise).collect();
        let now = rises.iter().map(|r| r.per_second()).reduce(|a, b| a + b);
        let refused = frontends.filter_map(|f| f.1.refused).reduce(|a, b| a + b);
        let severity = no_endpoints::severity(now.is_some(), refused);
        let mut f = cx.service("", severity, i, "");
        if refused.is_none() {
            f.evidence.push("whether anybody asks is not counted in this mode".into());
        }
        found.push(tell(i, now, f));
    }
}

/// A Service's name, with its family where it is not the usual one.
fn label(s: &crate::proxy::Service) -> String {
    let family = if s.family == crate::ruleset::IpFamily::V6 { " (ipv6)" } else { "" };
    format!("{}{family}", s.label())
}

/// How to ask the API for a Service's endpoints.
fn ask_api(s: &crate::proxy::Service) -> String {
    let (namespace, name) =
        s.name.as_ref().map_or(("NAMESPACE", "NAME"), |n| (n.namespace.as_str(), n.name.as_str()));
    format!("kubectl -n {namespace} get endpointslices -l kubernetes.io/service-name={name}")
}

/// `1 flow`, `12 flows`
fn flows(n: u32) -> String {
    flows_n(u64::from(n))
}

fn flows_n(n: u64) -> String {
    format!("{} flow{}", count(n), if n == 1 { "" } else { "s" })
}

/// `1 flow is`, `12 flows are`
fn flows_are(n: u32) -> String {
    format!("{} {}", flows(n), if n == 1 { "is" } else { "are" })
}
