//! Addresses that rules and interfaces say: the node's own, and the network of its pods.

use super::{chain, ipvs, nftables};
use crate::ruleset::{IpFamily, IpNet, Match, RuleId};
use crate::snapshot::Snapshot;
use crate::snapshot::facts::{InterfaceAddress, Route};
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
            && !ipvs::is_dummy(&a.interface)
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

/// The network of the cluster's pods, as kube-proxy's configuration says it, or the rules that masquerade everything else.
pub fn pod_network(snapshot: &Snapshot, family: IpFamily) -> Option<IpNet> {
    if let Some(configured) = snapshot.proxy_config().and_then(|c| c.cluster_cidr(family)) {
        return Some(configured);
    }
    for t in &snapshot.tables {
        if t.family.ip() != Some(family) {
            continue;
        }
        for (i, rule) in t.table.rules.iter().enumerate() {
            let matches = t.table.matches_of(rule);
            let outside = matches.iter().filter_map(Match::address).find(|a| a.invert && !a.destination);
            let Some(outside) = outside else { continue };
            let within = t.table.chain_of(RuleId(i as u32));
            let within = within.map_or("", |c| t.table.chain_name(c));
            let to = t.table.jump_of(rule).map_or("", |c| t.table.chain_name(c));
            let of_nftables = t.table.name == nftables::TABLE
                && (within == nftables::name::SERVICES || to == nftables::name::MARK);
            if to == chain::MARK_MASQ || of_nftables {
                return Some(outside.net);
            }
        }
    }
    None
}

/// The network of this node's own pods, with its interface: a connected one within the pods' network, or the one of a
/// bridge that a CNI names so. `None` where each pod has a route of its own (Calico, Cilium).
pub fn local_pod_network(snapshot: &Snapshot, family: IpFamily) -> Option<(IpNet, &str)> {
    let whole = pod_network(snapshot, family);
    let bridges = ["cni", "cbr", "weave", "kube-bridge", "antrea-gw"];
    node_addresses(snapshot, family).find_map(|a| {
        let prefix = a.prefix.filter(|p| *p + 2 <= family.bits())?;
        let own = match whole {
            Some(whole) => whole.contains(a.address) && prefix >= whole.prefix,
            None => bridges.iter().any(|b| a.interface.starts_with(b)),
        };
        own.then(|| (IpNet { addr: a.address, prefix }.masked(), a.interface.as_str()))
    })
}

/// Where pods of this node are: its own pods' network, and what is connected to a bridge or to the one end of a pair
/// (Calico and its kin give each pod a route of its own).
pub fn pod_networks(snapshot: &Snapshot, family: IpFamily) -> Vec<IpNet> {
    let uplink = |name: &str| snapshot.routes.iter().any(|r| r.is_default() && r.interface == name);
    let kind = |name: &str| snapshot.links.iter().find(|l| l.name == name).and_then(|l| l.kind.as_deref());
    let names = ["cali", "lxc", "veth", "cni", "cbr"];
    let to_pods = |r: &&Route| {
        let name = r.interface.as_str();
        let leads =
            matches!(kind(name), Some("bridge" | "veth")) || names.iter().any(|n| name.starts_with(n));
        IpFamily::of(r.net.addr) == family && !r.by_gateway && !r.is_default() && leads && !uplink(name)
    };
    let local = local_pod_network(snapshot, family).map(|l| l.0);
    local.into_iter().chain(snapshot.routes.iter().filter(to_pods).map(|r| r.net)).collect()
}

/// An address that represents any pod of this node: near the end of its pods' network (of the whole cluster's, or of a
/// usual one, where rules and interfaces do not say it).
pub fn any_pod(snapshot: &Snapshot, family: IpFamily) -> IpAddr {
    let local = local_pod_network(snapshot, family).map(|l| l.0);
    let net = local.or_else(|| pod_network(snapshot, family));
    match net.map(|n| (n.masked().addr, n.prefix)) {
        Some((IpAddr::V4(n), prefix)) => {
            let hosts = u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
            IpAddr::V4((u32::from(n) | hosts.saturating_sub(1).min(254)).into())
        }
        Some((IpAddr::V6(n), _)) => IpAddr::V6((u128::from(n) + 0xfffe).into()),
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
