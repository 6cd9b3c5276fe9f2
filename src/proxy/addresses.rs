//! Addresses that rules and interfaces say: the node's own, and the network of its pods.

use super::{ipvs, nftables};
use crate::ruleset::{IpFamily, IpNet, Match, RuleId};
use crate::snapshot::Snapshot;
use crate::snapshot::facts::InterfaceAddress;
use std::net::IpAddr;

/// Addresses of the node that others can use: none of loopback, of a link alone, or of a Service.
pub fn node_addresses(snapshot: &Snapshot, family: IpFamily) -> impl Iterator<Item = &InterfaceAddress> {
    snapshot.addresses.iter().filter(move |a| {
        let link_local = match a.address {
            IpAddr::V4(a) => a.is_link_local(),
            IpAddr::V6(a) => a.is_unicast_link_local(),
        };
        IpFamily::of(a.address) == family
            && !a.address.is_loopback()
            && !link_local
            && a.interface != ipvs::DUMMY
    })
}

/// The address of this node under which a node port is asked for.
pub fn node_address(snapshot: &Snapshot, family: IpFamily) -> Option<IpAddr> {
    // Bridges and tunnels of pods come after the node's own link, mostly; a link that a CNI made is its last choice.
    let pods = ["cni", "cbr", "docker", "flannel", "cali", "veth", "lxc", "cilium", "kube-"];
    let own = |a: &&InterfaceAddress| !pods.iter().any(|p| a.interface.starts_with(p));
    let all = || node_addresses(snapshot, family);
    all().find(own).or_else(|| all().next()).map(|a| a.address)
}

/// The network of the cluster's pods, as the rules that masquerade everything else say it.
pub fn pod_network(snapshot: &Snapshot, family: IpFamily) -> Option<IpNet> {
    for t in &snapshot.tables {
        if t.family.ip() != Some(family) {
            continue;
        }
        for (i, rule) in t.table.rules.iter().enumerate() {
            let matches = t.table.matches_of(rule);
            let outside = matches.iter().filter_map(Match::address).find(|a| a.invert && !a.destination);
            let Some(outside) = outside else { continue };
            let chain = t.table.chain_of(RuleId(i as u32));
            let chain = chain.map_or("", |c| t.table.chain_name(c));
            let to = t.table.jump_of(rule).map_or("", |c| t.table.chain_name(c));
            let own = t.table.name == nftables::TABLE && chain == "services";
            if to == "KUBE-MARK-MASQ" || own {
                return Some(outside.net);
            }
        }
    }
    None
}

/// An address that represents any pod: near the end of the pods' network, or of a usual one where no rule says it.
pub fn any_pod(snapshot: &Snapshot, family: IpFamily) -> IpAddr {
    match pod_network(snapshot, family).map(|n| n.addr) {
        Some(IpAddr::V4(n)) => IpAddr::V4((u32::from(n) + 254).into()),
        Some(IpAddr::V6(n)) => IpAddr::V6((u128::from(n) + 0xfffe).into()),
        None if family == IpFamily::V4 => [10, 255, 255, 254].into(),
        None => [0xfd00, 0xffff, 0, 0, 0, 0, 0, 0xfffe].into(),
    }
}

/// An address that represents any client outside, of networks that are only for documents (RFC 5737, RFC 3849).
pub fn outside_client(family: IpFamily) -> IpAddr {
    match family {
        IpFamily::V4 => [203, 0, 113, 200].into(),
        IpFamily::V6 => [0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 0x200].into(),
    }
}
