//! The rules and ipsets that kube-proxy keeps beside IPVS: a few dozen rules, whatever the number of Services, which look
//! into sets that grow with it.
//!
//! The texts are what kube-proxy 1.36.2 and 1.20.2 wrote (`tests/rules/1.36.2/ipvs-legacy`, `tests/rules/1.20.2/ipvs-legacy`); which rules are left out follows
//! `writeIptablesRules` (`pkg/proxy/ipvs/proxier.go`): those of `nat` and of the firewall whose set is empty.

use crate::proxy::{Frontend, FrontendKind, KubeProxyVersion, Protocol, Service, TrafficPolicy};
use crate::ruleset::{IpFamily, IpNet, Table, TableCounters, parse_save};
use crate::snapshot::facts::{Ipset, Member};
use std::net::IpAddr;

const TEXT: &str = include_str!("frame.rules");
const TEXT_OF_1_20: &str = include_str!("frame-1.20.rules");

/// Before it what source ranges do not let in is marked for the kubelet's rules (`KUBE-MARK-DROP`)
/// (kubernetes/kubernetes#109060).
const WITH_EXT: KubeProxyVersion = KubeProxyVersion::new(1, 24);

/// What kube-proxy knows beside the Services.
#[derive(Clone, Copy, Debug, Default)]
pub struct FrameOptions<'a> {
    /// Whose rules.
    pub version: KubeProxyVersion,
    /// `clusterCIDR` of this family: traffic from elsewhere to cluster IPs is masqueraded.
    pub cluster_cidr: Option<IpNet>,
    /// The node's primary address. Where source ranges hold it, load balancer addresses are let in too: what the node sends
    /// to an address that it has itself comes back with that as its source.
    pub node: Option<IpAddr>,
    /// Addresses on which node ports are served.
    pub node_addresses: &'a [IpAddr],
}

/// Names of kube-proxy's ipsets behind `KUBE-`, with their kinds (`pkg/proxy/ipvs/ipset.go`).
const SETS: [(&str, &str); 17] = [
    ("CLUSTER-IP", "hash:ip,port"),
    ("EXTERNAL-IP", "hash:ip,port"),
    ("EXTERNAL-IP-LOCAL", "hash:ip,port"),
    ("LOAD-BALANCER", "hash:ip,port"),
    ("LOAD-BALANCER-LOCAL", "hash:ip,port"),
    ("LOAD-BALANCER-FW", "hash:ip,port"),
    ("LOAD-BALANCER-SOURCE-IP", "hash:ip,port,ip"),
    ("LOAD-BALANCER-SOURCE-CIDR", "hash:ip,port,net"),
    ("LOOP-BACK", "hash:ip,port,ip"),
    ("NODE-PORT-TCP", "bitmap:port"),
    ("NODE-PORT-LOCAL-TCP", "bitmap:port"),
    ("NODE-PORT-UDP", "bitmap:port"),
    ("NODE-PORT-LOCAL-UDP", "bitmap:port"),
    ("NODE-PORT-SCTP-HASH", "hash:ip,port"),
    ("NODE-PORT-LOCAL-SCTP-HASH", "hash:ip,port"),
    ("HEALTH-CHECK-NODE-PORT", "bitmap:port"),
    ("IPVS-IPS", "hash:ip"),
];

/// The whole name of a set in a family; the kernel's names have room for 31 bytes.
fn full_name(family: IpFamily, name: &str) -> String {
    let mut full = format!("KUBE-{}{name}", if family == IpFamily::V6 { "6-" } else { "" });
    full.truncate(31);
    full
}

/// Tables `filter` and `nat`, and the ipsets that they look into, of one family.
pub fn frame(
    services: &[Service],
    family: IpFamily,
    options: &FrameOptions<'_>,
) -> (Vec<(Table, TableCounters)>, Vec<Ipset>) {
    let FrameOptions { cluster_cidr, node, .. } = *options;
    let sets = sets(services, family, options);
    let empty = |line: &str| {
        let name = line.split_whitespace().skip_while(|w| *w != "--match-set").nth(1);
        name.is_some_and(|n| sets.iter().any(|s| s.name == n && s.size == 0))
    };
    let (loopback, reject, six) = match family {
        IpFamily::V4 => ("127.0.0.0/8", "icmp-port-unreachable", ""),
        IpFamily::V6 => ("::1/128", "icmp6-port-unreachable", "6-"),
    };
    let node_allowed = |f: &Frontend| {
        let ranges = f.source_ranges.iter().flatten();
        ranges.into_iter().any(|r| node.is_some_and(|n| r.contains(n)))
    };
    let mut text = String::new();
    let old = options.version < WITH_EXT;
    for line in if old { TEXT_OF_1_20 } else { TEXT }.lines() {
        if line == "COMMIT" && !text.contains("*nat") && !old {
            // A load balancer's address that the node may not use: what it sends there from that address is dropped.
            for s in services.iter().filter(|s| s.family == family) {
                for f in s.frontends.iter().filter(|f| f.source_ranges.is_some() && !node_allowed(f)) {
                    let Some(a) = f.address else { continue };
                    let (protocol, port) = (s.protocol.number(), f.port);
                    text.push_str(&format!(
                        "-A KUBE-IPVS-OUT-FILTER -s {a} -m ipvs --vproto {protocol} --vaddr {a} --vport {port} -j DROP\n"
                    ));
                }
            }
        }
        if line.contains("@CLUSTER@") && cluster_cidr.is_none() {
            continue;
        }
        let cidr = cluster_cidr.map_or(String::new(), |c| c.to_string());
        let line = line
            .replace("@LOOPBACK@", loopback)
            .replace("@REJECT@", reject)
            .replace("@6@", six)
            .replace("@CLUSTER@", &cidr)
            .replace("KUBE-6-LOAD-BALANCER-SOURCE-CIDR", "KUBE-6-LOAD-BALANCER-SOURCE-CID");
        let always = line.starts_with("-A KUBE-IPVS-FILTER") || line.contains("HEALTH-CHECK");
        if !always && empty(&line) {
            continue;
        }
        text.push_str(&line);
        text.push('\n');
    }
    let tables = parse_save(&text, family).unwrap_or_default();
    (tables.into_iter().map(|t| (t.table, t.counters)).collect(), sets)
}

fn sets(services: &[Service], family: IpFamily, options: &FrameOptions<'_>) -> Vec<Ipset> {
    let mut sets: Vec<Ipset> = SETS
        .iter()
        .map(|(name, kind)| Ipset {
            name: full_name(family, name),
            kind: (*kind).into(),
            family: if family == IpFamily::V4 { 2 } else { 10 },
            members: Some(Vec::new()),
            ..Ipset::default()
        })
        .collect();
    let mut add = |name: &str, member: Member| {
        let name = full_name(family, name);
        if let Some(set) = sets.iter_mut().find(|s| s.name == name)
            && let Some(members) = &mut set.members
            && (members.len() > 4096 || !members.contains(&member))
        {
            members.push(member);
            set.size += 1;
        }
    };
    for s in services.iter().filter(|s| s.family == family) {
        let protocol = s.protocol.number();
        for f in &s.frontends {
            let local = f.traffic_policy == Some(TrafficPolicy::Local);
            let port = Member { port: Some(f.port), ..Member::default() };
            let at = |address| Member {
                address: Some(address),
                protocol: Some(protocol),
                port: Some(f.port),
                ..Member::default()
            };
            match (f.kind, f.address) {
                (Some(FrontendKind::NodePort), address) => {
                    // TCP and UDP have sets of bare ports.
                    let (end, member) = match s.protocol {
                        Protocol::Tcp => ("TCP", Some(port)),
                        Protocol::Udp => ("UDP", Some(port)),
                        Protocol::Sctp | Protocol::Any => ("SCTP-HASH", None),
                    };
                    let mut put = |member: Member| {
                        add(&format!("NODE-PORT-{end}"), member.clone());
                        if local {
                            add(&format!("NODE-PORT-LOCAL-{end}"), member);
                        }
                    };
                    match member {
                        Some(member) => put(member),
                        None => {
                            let own = options.node_addresses.iter().filter(|a| IpFamily::of(**a) == family);
                            address.into_iter().chain(own.copied()).for_each(|a| put(at(a)));
                        }
                    }
                }
                (Some(kind), Some(address)) => {
                    let name = match kind {
                        FrontendKind::ClusterIp => "CLUSTER-IP",
                        FrontendKind::ExternalIp => "EXTERNAL-IP",
                        _ => "LOAD-BALANCER",
                    };
                    add(name, at(address));
                    if local && kind != FrontendKind::ClusterIp {
                        add(&format!("{name}-LOCAL"), at(address));
                    }
                    if let Some(ranges) =
                        f.source_ranges.as_ref().filter(|_| kind == FrontendKind::LoadBalancerIp)
                    {
                        add("LOAD-BALANCER-FW", at(address));
                        // The node may use it: it comes back with that address as its source.
                        if options.node.is_some_and(|n| ranges.iter().any(|r| r.contains(n))) {
                            let member = Member { address2: Some(address), ..at(address) };
                            add("LOAD-BALANCER-SOURCE-IP", member);
                        }
                        for net in ranges {
                            let member =
                                Member { address2: Some(net.addr), prefix2: Some(net.prefix), ..at(address) };
                            add("LOAD-BALANCER-SOURCE-CIDR", member);
                        }
                    }
                    add("IPVS-IPS", Member { address: Some(address), ..Member::default() });
                }
                _ => {}
            }
        }
        if let Some(port) = s.health_check_node_port {
            add("HEALTH-CHECK-NODE-PORT", Member { port: Some(port), ..Member::default() });
        }
        // Of this node's own endpoints; where rules do not say whose an endpoint is, it may be.
        for b in s.backends.iter().filter(|b| b.local != Some(false)) {
            let member = Member {
                address: Some(b.address),
                protocol: Some(protocol),
                port: Some(b.port),
                address2: Some(b.address),
                ..Member::default()
            };
            add("LOOP-BACK", member);
        }
    }
    sets
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::shop;
    use crate::ruleset::Match;

    #[test]
    fn every_rule_is_understood_and_every_set_is_there() {
        let services = shop::services(None, 4);
        let cidr = "10.244.0.0/16".parse().ok();
        let node = "192.168.50.10".parse().unwrap();
        let options = FrameOptions {
            cluster_cidr: cidr,
            node: Some(node),
            node_addresses: &[node],
            ..FrameOptions::default()
        };
        let old = FrameOptions { version: KubeProxyVersion::new(1, 20), ..options };
        let (old_tables, _) = frame(&services, IpFamily::V4, &old);
        let (mut tables, sets) = frame(&services, IpFamily::V4, &options);
        assert_eq!(tables.iter().map(|t| t.0.name.as_str()).collect::<Vec<_>>(), ["filter", "nat"]);
        tables.extend(old_tables);
        for (table, _) in &tables {
            for rule in &table.rules {
                for m in table.matches_of(rule) {
                    assert!(!matches!(m, Match::Unknown(_)), "{}", table.rule_text(rule));
                    if let Match::Set { name: Some(name), .. } = m {
                        assert!(sets.iter().any(|s| s.name == table.str(*name)), "{}", table.rule_text(rule));
                    }
                }
            }
        }
        let size = |name: &str| sets.iter().find(|s| s.name == name).map(|s| s.size);
        assert_eq!(size("KUBE-CLUSTER-IP"), Some(31));
        assert_eq!(size("KUBE-LOAD-BALANCER-FW"), Some(1));
        // IPv6 has no external addresses here: no rules for them.
        let options = FrameOptions { cluster_cidr: "fd00::/8".parse().ok(), ..FrameOptions::default() };
        let (six, _) = frame(&services, IpFamily::V6, &options);
        assert!(six.iter().map(|t| t.0.rules.len()).sum::<usize>() < 30);
    }
}
