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

/// Reads them in the calling thread's namespace.
pub fn read() -> Sysctls {
    NAMES
        .into_iter()
        .filter_map(|name| {
            let text = fs::read_to_string(format!("/proc/sys/{name}")).ok()?;
            Some((name, text.trim().to_string()))
        })
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
