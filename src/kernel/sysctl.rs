//! Sysctls that decide what becomes of packets, from procfs.

use std::collections::BTreeMap;
use std::fs;

/// Those that kptop reads, by their path under `/proc/sys` (`Documentation/networking/ip-sysctl.rst`,
/// `ipvs-sysctl.rst`).
const NAMES: [&str; 10] = [
    "net/ipv4/ip_forward",
    "net/ipv6/conf/all/forwarding",
    "net/ipv4/conf/all/route_localnet",
    "net/ipv4/conf/all/rp_filter",
    "net/ipv4/ip_local_port_range",
    "net/ipv4/vs/conntrack",
    "net/ipv4/vs/conn_reuse_mode",
    "net/ipv4/vs/expire_nodest_conn",
    "net/bridge/bridge-nf-call-iptables",
    "net/netfilter/nf_conntrack_tcp_be_liberal",
];

/// Sysctls by name, as the kernel prints them; those that it does not have are not here.
pub type Sysctls = BTreeMap<&'static str, String>;

/// Whether any interface has `route_localnet`: what counts is the interface's own or that of `all`.
pub const ANY_ROUTE_LOCALNET: &str = "net/ipv4/conf/*/route_localnet";

fn any_route_localnet() -> Option<String> {
    let links = fs::read_dir("/proc/sys/net/ipv4/conf").ok()?;
    let on = links
        .flatten()
        .any(|l| fs::read_to_string(l.path().join("route_localnet")).is_ok_and(|text| text.trim() != "0"));
    Some(if on { "1" } else { "0" }.into())
}

/// Reads them in the calling thread's namespace.
pub fn read() -> Sysctls {
    let any = any_route_localnet().map(|v| (ANY_ROUTE_LOCALNET, v));
    NAMES
        .into_iter()
        .filter_map(|name| {
            let text = fs::read_to_string(format!("/proc/sys/{name}")).ok()?;
            Some((name, text.trim().to_string()))
        })
        .chain(any)
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn forwarding_is_always_told() {
        let all = super::read();
        assert!(matches!(all["net/ipv4/ip_forward"].as_str(), "0" | "1"), "{all:?}");
    }
}
