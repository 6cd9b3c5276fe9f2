//! Sysctls that decide what happens to packets, from procfs.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;

/// Those that kptop reads beside conntrack's limits (`kernel/conntrack`), by their path under `/proc/sys` (`Documentation/networking/ip-sysctl.rst`,
/// `ipvs-sysctl.rst`).
const NAMES: [&str; 24] = [
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
    "net/ipv4/vs/expire_quiescent_template",
    "net/ipv4/conf/all/arp_ignore",
    "net/ipv4/conf/all/arp_announce",
    "net/ipv4/tcp_keepalive_time",
    "net/bridge/bridge-nf-call-ip6tables",
    "net/core/netdev_max_backlog",
    "net/core/somaxconn",
    "net/netfilter/nf_conntrack_tcp_loose",
    "net/netfilter/nf_conntrack_tcp_timeout_established",
    "net/netfilter/nf_conntrack_tcp_timeout_close_wait",
    "net/netfilter/nf_conntrack_udp_timeout",
    "net/netfilter/nf_conntrack_udp_timeout_stream",
    "net/ipv4/ip_nonlocal_bind",
    "net/ipv4/tcp_tw_reuse",
];

/// Sysctls by name, as the kernel prints them; those that it does not have are not here.
pub type Sysctls = BTreeMap<Cow<'static, str>, String>;

/// Whether any interface has `route_localnet`: what counts is the interface's own or that of `all`.
pub const ANY_ROUTE_LOCALNET: &str = "net/ipv4/conf/*/route_localnet";

/// The interfaces whose reverse path filter is strict, by name: what counts is the larger of the interface's own value and
/// that of `all`, and 1 is strict, 2 loose.
pub const STRICT_RP_FILTER: &str = "net/ipv4/conf/*/rp_filter=1";

/// The interfaces that do not forward, though the node does, by name.
pub const NOT_FORWARDING: &str = "net/ipv4/conf/*/forwarding=0";

/// Sysctls of each interface: its name and its own value of one of them.
type OfLinks<'a> = &'a dyn Fn(&str) -> Option<Vec<(String, String)>>;

fn not_forwarding(of_links: OfLinks<'_>) -> Option<String> {
    let mut off = of_links("forwarding")?;
    off.retain(|l| l.1 == "0" && !matches!(l.0.as_str(), "all" | "default" | "lo"));
    off.sort_unstable();
    Some(off.into_iter().map(|l| l.0).collect::<Vec<_>>().join(" "))
}

/// Of each interface, one after the other: its name and a sysctl of its own.
fn of_links(name: &str) -> Option<Vec<(String, String)>> {
    let links = fs::read_dir("/proc/sys/net/ipv4/conf").ok()?;
    Some(
        links
            .flatten()
            .filter_map(|l| {
                let text = fs::read_to_string(l.path().join(name)).ok()?;
                Some((l.file_name().to_string_lossy().into_owned(), text.trim().to_string()))
            })
            .collect(),
    )
}

fn any_route_localnet(of_links: OfLinks<'_>) -> Option<String> {
    let on = of_links("route_localnet")?.iter().any(|l| l.1 != "0");
    Some(if on { "1" } else { "0" }.into())
}

fn strict_rp_filter(of_links: OfLinks<'_>) -> Option<String> {
    let links = of_links("rp_filter")?;
    let all: u8 = links.iter().find(|l| l.0 == "all").and_then(|l| l.1.parse().ok()).unwrap_or(0);
    let mut strict: Vec<&str> = links
        .iter()
        .filter(|l| !matches!(l.0.as_str(), "all" | "default" | "lo"))
        .filter(|l| l.1.parse::<u8>().is_ok_and(|own| own.max(all) == 1))
        .map(|l| l.0.as_str())
        .collect();
    strict.sort_unstable();
    Some(strict.join(" "))
}

fn all(get: impl Fn(&str) -> Option<String>, of_links: OfLinks<'_>) -> Sysctls {
    let any = any_route_localnet(of_links).map(|v| (ANY_ROUTE_LOCALNET, v));
    let strict = strict_rp_filter(of_links).map(|v| (STRICT_RP_FILTER, v));
    NAMES
        .into_iter()
        .filter_map(|name| Some((name, get(name)?.trim().to_string())))
        .chain(any)
        .chain(strict)
        .chain(not_forwarding(of_links).map(|v| (NOT_FORWARDING, v)))
        .map(|(name, value)| (Cow::Borrowed(name), value))
        .collect()
}

/// Reads them in the calling thread's namespace.
pub fn read() -> Sysctls {
    all(|name| fs::read_to_string(format!("/proc/sys/{name}")).ok(), &of_links)
}

/// The name of a file below `/proc/sys` as `sysctl` names it, or the other way round: dots and slashes change places (sysctl.d(5)).
pub fn swapped(name: &str) -> String {
    let swap = |c| match c {
        '.' => '/',
        '/' => '.',
        c => c,
    };
    name.chars().map(swap).collect()
}

/// The same out of what `sysctl -a` printed, by path: dots and slashes change places (sysctl.d(5)).
pub fn of_text(text: &str) -> (Sysctls, BTreeMap<String, String>) {
    let named: BTreeMap<String, String> = text
        .lines()
        .filter_map(|l| l.split_once('='))
        .map(|(k, v)| (swapped(k.trim()), v.trim().to_string()))
        .collect();
    let of_links = |name: &str| {
        let found: Vec<(String, String)> = named
            .iter()
            .filter_map(|(k, v)| {
                let link = k.strip_prefix("net/ipv4/conf/")?.strip_suffix(name)?.strip_suffix('/')?;
                Some((link.to_string(), v.clone()))
            })
            .collect();
        (!found.is_empty()).then_some(found)
    };
    let sysctls = all(|name| named.get(name).cloned(), &of_links);
    (sysctls, named)
}

#[cfg(test)]
mod tests {
    #[test]
    fn forwarding_is_always_told() {
        let all = super::read();
        assert!(matches!(all["net/ipv4/ip_forward"].as_str(), "0" | "1"), "{all:?}");
    }
}
