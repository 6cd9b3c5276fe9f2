//! Forms of text: one file each, and one line in the list.

mod accounts;
mod command_lines;
mod conntrack;
mod conntrack_count;
mod conntrack_stats;
mod describe;
mod hns;
mod ip_addr;
mod ip_json;
mod ip_neigh;
mod ip_route;
mod ip_rule;
mod ipset;
mod ipvs_connections;
mod ipvs_totals;
mod ipvsadm;
mod kube_proxy;
mod kube_proxy_log;
mod kubectl_table;
mod listing;
mod nft;
mod nstat;
mod objects;
mod recent;
mod save;
mod service_maps;
mod small;
mod snmp;
mod softnet;
mod ss;
mod sysctl;
mod yaml;

pub(super) use small::of_node as small_name;

use super::reader::Form;
use crate::snapshot::dump::glance::Glance;
use crate::snapshot::dump::json;

/// Every form, in the order in which a text is held against them: those that are known for certain first.
const ALL: [&Form; 44] = [
    &small::FORM,
    &kube_proxy::CONFIG,
    &nft::JSON,
    &kube_proxy::HEALTH,
    &ip_json::ADDRESSES,
    &ip_json::ROUTES,
    &hns::FORM,
    &service_maps::BPFTOOL,
    &service_maps::CILIUM_LB,
    &service_maps::CILIUM_SERVICES,
    &service_maps::CALICO,
    &objects::FORM,
    &kube_proxy::METRICS,
    &yaml::FORM,
    &save::FORM,
    &command_lines::FORM,
    &nft::FORM,
    &listing::FORM,
    &ipvsadm::STATS,
    &ipvsadm::RATES,
    &ipvsadm::LIST,
    &ipvsadm::SAVE,
    &ipvs_connections::LIST,
    &ipvs_connections::PROC,
    &ipvs_totals::FORM,
    &ipset::FORM,
    &conntrack_stats::PROC,
    &conntrack::FORM,
    &conntrack_stats::FORM,
    &conntrack_count::FORM,
    &ip_addr::FORM,
    &ip_rule::FORM,
    &ip_neigh::FORM,
    &recent::FORM,
    &accounts::FORM,
    &snmp::FORM,
    &nstat::FORM,
    &nstat::NETSTAT,
    &softnet::FORM,
    &ss::FORM,
    &kubectl_table::FORM,
    &describe::FORM,
    &kube_proxy_log::FORM,
    &ip_route::FORM,
];

/// The last of all: `a.b = c` is in many texts.
static LAST: &Form = &sysctl::FORM;

/// The form of a text.
pub(super) fn of(glance: &Glance<'_>) -> Option<&'static Form> {
    ALL.iter().copied().chain([LAST]).find(|f| (f.is)(glance))
}

/// True for a text that is not taken apart: JSON, metrics, and small files that their name makes known.
pub(super) fn is_whole(name: &str, text: &str) -> bool {
    json::begins(text) || kube_proxy::is_metrics(text) || small_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_once() {
        let mut words: Vec<&str> = ALL.iter().map(|f| f.words).chain([LAST.words]).collect();
        let n = words.len();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), n);
    }
}
