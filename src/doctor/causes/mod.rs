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

use super::case::Case;
use super::{Find, Finding, Severity};
use crate::figures::count;
use crate::proxy::Action;

/// Every cause, by the name of its file. Those that stop most come first: among findings of one severity they stand in
/// this order.
pub(super) const ALL: [(&str, Find); 38] = [
    ("wiped", wiped::find),
    ("ip_forward", ip_forward::find),
    ("foreign_drop", foreign_drop::find),
    ("forward_policy", forward_policy::find),
    ("conntrack_full", conntrack_full::find),
    ("conntrack_insert_failed", conntrack_insert_failed::find),
    ("conntrack_drops", conntrack_drops::find),
    ("invalid_dropped", invalid_dropped::find),
    ("stale_flows", stale_flows::find),
    ("untranslated_flows", untranslated_flows::find),
    ("unreachable_backend", unreachable_backend::find),
    ("hairpin", hairpin::find),
    ("snat_ports", snat_ports::find),
    ("no_endpoints", no_endpoints::find),
    ("no_local_endpoints", no_local_endpoints::find),
    ("source_ranges", source_ranges::find),
    ("uneven_backends", uneven_backends::find),
    ("ipvs_addresses", ipvs_addresses::find),
    ("ipvs_weight", ipvs_weight::find),
    ("ipvs_sets", ipvs_sets::find),
    ("ipvs_conntrack", ipvs_conntrack::find),
    ("ipvs_conn_reuse_mode", ipvs_conn_reuse_mode::find),
    ("ipvs_expire_nodest_conn", ipvs_expire_nodest_conn::find),
    ("ipvs_timeouts", ipvs_timeouts::find),
    ("ipvs_arp", ipvs_arp::find),
    ("nodeport_ips", nodeport_ips::find),
    ("node_port_range", node_port_range::find),
    ("localnet", localnet::find),
    ("bridge_netfilter", bridge_netfilter::find),
    ("rp_filter", rp_filter::find),
    ("softnet", softnet::find),
    ("listen_overflows", listen_overflows::find),
    ("both_variants", both_variants::find),
    ("leftovers", leftovers::find),
    ("duplicate_rules", duplicate_rules::find),
    ("never_hit", never_hit::find),
    ("slow_kernel", slow_kernel::find),
    ("kube_proxy_behind", kube_proxy_behind::find),
];

/// Services some frontend of which refuses everything: how much it matters depends on whether somebody asks.
fn refusing(
    case: &Case<'_>,
    action: Action,
    found: &mut Vec<Finding>,
    tell: impl Fn(usize, Option<f64>, Finding) -> Finding,
) {
    for (i, s) in case.at_work() {
        let mut frontends = s.frontends.iter().filter(|f| f.action == action).peekable();
        if frontends.peek().is_none() {
            continue;
        }
        let rise = |f: &crate::proxy::Frontend| case.rule_rise(f.refusal?);
        let rises: Vec<_> = s.frontends.iter().filter(|f| f.action == action).filter_map(rise).collect();
        let now = rises.iter().map(|r| r.by as f64 / r.over.as_secs_f64()).reduce(|a, b| a + b);
        let refused = frontends.filter_map(|f| f.refused).reduce(|a, b| a + b);
        let severity = no_endpoints::severity(now.is_some(), refused);
        let mut f = case.service("", severity, i, "");
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
