//! Commands that show the same by other means, with addresses before and after translation filled in. kptop runs none of them.

use crate::proxy::{Action, Frontend, Mode, RuleRef, Service, nftables};
use crate::ruleset::{Family, IpFamily, L4Endpoint, TableBackend, protocol_name};
use crate::snapshot::Snapshot;
use std::borrow::Cow;
use std::net::IpAddr;

/// Backends that a command names.
const MOST_BACKENDS: usize = 3;

/// A word of a shell: names of chains and tables are other people's.
fn word(text: &str) -> Option<Cow<'_, str>> {
    if text.is_empty() || text.chars().any(char::is_control) {
        return None;
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "._:/-".contains(c);
    Some(match text.chars().all(plain) {
        true => text.into(),
        false => format!("'{}'", text.replace('\'', r"'\''")).into(),
    })
}

/// The program that prints the rules of a table of iptables.
fn save(backend: TableBackend, family: Family) -> &'static str {
    match (backend, family) {
        (TableBackend::XTables, Family::Ip6) => "ip6tables-legacy-save",
        (TableBackend::XTables, _) => "iptables-legacy-save",
        (TableBackend::NfTables, Family::Ip6) => "ip6tables-nft-save",
        (TableBackend::NfTables, _) => "iptables-nft-save",
    }
}

/// True for what iptables wrote: nft leaves much of it out.
fn of_iptables(backend: TableBackend, name: &str) -> bool {
    backend == TableBackend::XTables || matches!(name, "nat" | "filter" | "mangle" | "raw" | "security")
}

/// The commands for a table.
pub fn of_table(snapshot: &Snapshot, table: usize) -> Vec<String> {
    let Some(t) = snapshot.tables.get(table) else { return Vec::new() };
    let Some(name) = word(&t.table.name) else { return Vec::new() };
    vec![match (t.family, of_iptables(t.backend, &t.table.name)) {
        (Family::Ip | Family::Ip6, true) => format!("{} -c -t {name}", save(t.backend, t.family)),
        (family, _) => format!("nft -a list table {} {name}", family.name()),
    }]
}

/// The commands for a rule: its chain.
pub fn of_rule(snapshot: &Snapshot, place: RuleRef) -> Vec<String> {
    let Some(t) = snapshot.tables.get(place.table) else { return Vec::new() };
    let chain = t.table.chain_of(place.rule).and_then(|c| word(t.table.chain_name(c)));
    let (Some(table), Some(chain)) = (word(&t.table.name), chain) else { return Vec::new() };
    vec![match (t.family, of_iptables(t.backend, &t.table.name)) {
        (Family::Ip | Family::Ip6, true) => {
            format!("{} -c -t {table} | grep -F -e {chain}", save(t.backend, t.family))
        }
        (family, _) => format!("nft -a list chain {} {table} {chain}", family.name()),
    }]
}

/// The commands for a Service at one of its frontends: its rules or virtual servers, its flows, and its packets.
pub fn of_service(snapshot: &Snapshot, s: &Service, at: Option<&Frontend>) -> Vec<String> {
    // The cluster IP is the frontend that most ask; node ports have no address of their own.
    let with_address = || s.frontends.iter().filter(|f| f.address.is_some());
    let served = || with_address().find(|f| f.action == Action::Balance);
    let Some(frontend) = at.or_else(served).or_else(|| with_address().next()).or(s.frontends.first()) else {
        return Vec::new();
    };
    let backends: Vec<(IpAddr, u16)> =
        s.backends.iter().take(MOST_BACKENDS).map(|b| (b.address, b.port)).collect();
    let protocol = s.protocol.number();
    let mut all = Vec::new();
    match (s.engine.mode(), frontend.address) {
        (Mode::Nftables, _) => {
            let what = frontend.address.map_or_else(|| frontend.port.to_string(), |a| a.to_string());
            all.push(format!(
                "nft list table {} {} | grep -F -e {what}",
                Family::from(s.family).name(),
                nftables::TABLE
            ));
        }
        (Mode::Ipvs, Some(a)) => {
            let flag = if protocol == 17 { "-u" } else { "-t" };
            let at = crate::proxy::endpoint_text(a, frontend.port);
            all.push(format!("ipvsadm -Ln {flag} {at} --stats"));
        }
        (Mode::Cilium, at) => {
            let what = at.map_or_else(|| format!(":{}/", frontend.port), |a| a.to_string());
            all.push(format!("cilium-dbg bpf lb list | grep -F -e {what}"));
        }
        (Mode::Kernelspace, at) => {
            let what = at.map_or_else(|| frontend.port.to_string(), |a| a.to_string());
            return vec![format!("hnsdiag list loadbalancers -d | Select-String -SimpleMatch {what}")];
        }
        (Mode::Calico, at) => {
            let what = at.map_or_else(|| format!("port {}", frontend.port), |a| a.to_string());
            all.push(format!("calico-node -bpf nat dump | grep -F -A 9 -e '{what}'"));
        }
        _ => {
            let legacy = s.engine.variant().is_none_or(|v| v == crate::proxy::Variant::Legacy);
            let backend = if legacy { TableBackend::XTables } else { TableBackend::NfTables };
            let address = frontend.address.map(|a| format!(" -e {a}")).unwrap_or_default();
            let chain =
                s.chain_hash.as_deref().and_then(word).map(|h| format!(" -e {h}")).unwrap_or_default();
            if !(address.is_empty() && chain.is_empty()) {
                all.push(format!("{} -c | grep -F{chain}{address}", save(backend, s.family.into())));
            }
        }
    }
    let to = frontend.address.map(|address| L4Endpoint { protocol, address, port: frontend.port });
    all.extend(packets(snapshot, s.family, protocol, to, frontend.port, &backends));
    all
}

/// The commands for packets to a destination: conntrack's flows, the wire, and the kernel's own traces.
pub fn of_packets(snapshot: &Snapshot, to: L4Endpoint, backends: &[(IpAddr, u16)]) -> Vec<String> {
    packets(snapshot, IpFamily::of(to.address), to.protocol, Some(to), to.port, backends)
}

fn packets(
    snapshot: &Snapshot,
    family: IpFamily,
    protocol: u8,
    to: Option<L4Endpoint>,
    port: u16,
    backends: &[(IpAddr, u16)],
) -> Vec<String> {
    let name = protocol_name(u16::from(protocol)).map_or_else(|| protocol.to_string(), str::to_string);
    let f = if family == IpFamily::V6 { " -f ipv6" } else { "" };
    let before = to
        .map(|t| format!("(dst host {} and dst port {port})", t.address))
        .unwrap_or_else(|| format!("dst port {port}"));
    let after = backends.iter().take(MOST_BACKENDS).map(|(a, p)| format!("(host {a} and port {p})"));
    let filter: Vec<String> = std::iter::once(before.clone()).chain(after).collect();
    let filter = filter.join(" or ");
    let orig = to.map(|t| format!(" -d {}", t.address)).unwrap_or_default();
    let mut all = vec![
        format!("conntrack -L{f} -p {name}{orig} --orig-port-dst {port}"),
        format!("tcpdump -nn -i any -c 100 '{filter}'"),
        format!("pwru --output-tuple --filter-trace-tc '{before}'"),
    ];
    let by_nft =
        snapshot.tables.iter().any(|t| t.backend == TableBackend::NfTables && t.family == family.into());
    if let (Some(t), true) = (to, by_nft) {
        // A table of its own, so that kube-proxy's stay as they are.
        let ip = if family == IpFamily::V6 { "ip6" } else { "ip" };
        all.push(format!(
            "nft 'table {ip} look {{ chain c {{ type filter hook prerouting priority -350; {ip} daddr {} {name} dport {port} meta nftrace set 1; }}; }}'; \
             timeout 10 nft monitor trace; nft delete table {ip} look",
            t.address
        ));
    }
    all
}

/// The commands for a cause that is of the node, by its check; empty for one that is always of a Service, rule or table.
pub fn of_check(id: &str) -> &'static [&'static str] {
    match id {
        "wiped" | "no_services" | "leftovers" | "both_variants" => &[
            "iptables-legacy-save | grep -c KUBE-; iptables-nft-save | grep -c KUBE-; nft list tables",
            "journalctl -u firewalld -u nftables -u ufw -n 50",
        ],
        "iptables_versions" => {
            &["iptables --version; iptables-save | grep -n -e KUBE-FIREWALL -e unsupported -e 0.0.0.0:0"]
        }
        "ip_forward" => &["sysctl net.ipv4.ip_forward net.ipv6.conf.all.forwarding"],
        "foreign_drop" | "forward_policy" | "overlay_blocked" | "untracked" | "foreign_dnat"
        | "hostport_conflict" | "duplicate_rules" => {
            &["iptables-save -c; ip6tables-save -c; nft list ruleset"]
        }
        "conntrack_full" | "conntrack_insert_failed" | "conntrack_drops" | "snat_ports" => {
            &["conntrack -S; sysctl net.netfilter.nf_conntrack_count net.netfilter.nf_conntrack_max"]
        }
        "invalid_dropped" => &[
            "sysctl net.netfilter.nf_conntrack_tcp_be_liberal; iptables-save -c | grep -F -e INVALID; nfacct list",
        ],
        "stale_flows" | "untranslated_flows" | "hairpin" | "unreachable_backend" | "unroutable_backend" => {
            &["conntrack -L | grep -F -e UNREPLIED"]
        }
        "ebpf_ahead" => &["bpftool net; bpftool cgroup tree"],
        "two_proxies" => &[
            "ls /sys/fs/bpf/tc/globals; ip -br link; ipvsadm -Ln; nft list tables; kubectl -n kube-system get daemonsets",
        ],
        "service_maps_full" => &["bpftool map list | grep -e cilium_lb -e cali_; ls /sys/fs/bpf/tc/globals"],
        "listen_overflows" => &["nstat -az TcpExtListenOverflows TcpExtListenDrops; ss -ltn"],
        "softnet" => {
            &["cat /proc/net/softnet_stat; sysctl net.core.netdev_max_backlog net.core.netdev_budget"]
        }
        "rp_filter" => {
            &["nstat -az TcpExtIPReversePathFilter; sysctl -a 2> /dev/null | grep -F -e .rp_filter"]
        }
        "bridge_netfilter" => &["sysctl net.bridge.bridge-nf-call-iptables; ip -br link show type bridge"],
        "localnet" => &[
            "sysctl net.ipv4.conf.all.route_localnet; iptables-save -c -t filter | grep -F -e KUBE-FIREWALL",
        ],
        "node_port_range" => &["sysctl net.ipv4.ip_local_port_range net.ipv4.ip_local_reserved_ports"],
        "nodeport_ips" => &["nft list set ip kube-proxy nodeport-ips; ip -br addr"],
        "deprecated" => &[
            "kubectl get services -A -o jsonpath='{range .items[?(@.spec.externalIPs)]}{.metadata.namespace}/{.metadata.name}{\"\\n\"}{end}'",
        ],
        "iif_for_iifname" => &["nft list table ip kube-proxy | grep -F -e ' iif '"],
        "slow_kernel" => &["uname -r; nft list ruleset | grep -c 'chain '"],
        id if id.starts_with("ipvs_") => &[
            "ipvsadm -Ln; ipvsadm -Ln --timeout; ip -br addr show type dummy",
            "sysctl -a 2> /dev/null | grep -F -e net.ipv4.vs. -e .arp_ignore -e .arp_announce; ipset list -t",
        ],
        "kube_proxy_behind" => &[
            "kubectl get services,endpointslices -A -o wide",
            "curl -s localhost:10249/metrics | grep -e last_timestamp -e last_queued",
        ],
        "kube_proxy_down" | "sync_fails" | "sync_stuck" | "sync_slow" => &[
            "curl -s localhost:10256/healthz; curl -s localhost:10249/metrics | grep -F -e kubeproxy_sync_proxy_rules_",
            "ps -C kube-proxy -o pid,stat,wchan:20,etime,args",
        ],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names of chains are other people's, and a person runs what is copied.
    #[test]
    fn names_are_words_of_a_shell() {
        assert_eq!(word("KUBE-SVC-X").as_deref(), Some("KUBE-SVC-X"));
        assert_eq!(word("a b").as_deref(), Some("'a b'"));
        assert_eq!(word("x'; reboot; '").as_deref(), Some(r"'x'\''; reboot; '\'''"));
        assert_eq!(word("a\nreboot"), None);
        assert_eq!(word("$(reboot)").as_deref(), Some("'$(reboot)'"));
    }
}
