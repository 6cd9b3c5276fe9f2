//! By which interfaces packets come and leave, as far as the node's addresses and links say.

use crate::ruleset::{IpFamily, IpNet};
use crate::snapshot::Snapshot;
use foldhash::fast::FixedState;
use hashbrown::HashSet;
use std::net::IpAddr;

/// Bridges that container engines and hypervisors make for their own guests: behind one are only addresses of its own
/// networks (`docker0`, `br-` with 12 hexadecimal digits, `virbr0`, `podman0`, `cni-podman0`, `lxcbr0`, `lxdbr0`).
const GUEST_BRIDGES: [&str; 6] = ["docker", "virbr", "podman", "cni-podman", "lxcbr", "lxdbr"];

fn is_guest_bridge(name: &str) -> bool {
    let hash = name.strip_prefix("br-");
    GUEST_BRIDGES.iter().any(|p| name.starts_with(p))
        || hash.is_some_and(|h| h.len() == 12 && h.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// The node's interfaces.
#[derive(Debug, Default)]
pub(super) struct Interfaces {
    /// All of them; empty where they were not read.
    names: HashSet<String, FixedState>,
    /// Networks that are connected to one.
    networks: Vec<(IpNet, String)>,
    /// They and the routes of the main table.
    routes: Vec<(IpNet, String)>,
}

impl Interfaces {
    pub(super) fn new(snapshot: &Snapshot) -> Interfaces {
        let connected = snapshot.addresses.iter().filter_map(|a| {
            let whole = if a.address.is_ipv4() { 32 } else { 128 };
            let prefix = a.prefix.filter(|p| *p < whole)?;
            Some((IpNet { addr: a.address, prefix }.masked(), a.interface.clone()))
        });
        let networks: Vec<(IpNet, String)> = connected.collect();
        let routes = snapshot.routes.iter().map(|r| (r.net, r.interface.clone()));
        let names = snapshot.links.iter().map(|l| l.name.clone());
        Interfaces {
            names: names.collect(),
            routes: networks.iter().cloned().chain(routes).collect(),
            networks,
        }
    }

    /// The interface that leads to an address: by the longest route that is known.
    pub(super) fn to(&self, address: IpAddr) -> Option<&str> {
        let holds = self.routes.iter().filter(|(net, _)| net.contains(address));
        holds.max_by_key(|(net, _)| net.prefix).map(|(_, name)| name.as_str())
    }

    /// True where a packet from or to an address does not cross such an interface.
    pub(super) fn excludes(&self, name: &str, address: IpAddr) -> bool {
        if name.ends_with('+') {
            return false;
        }
        let own = || {
            self.networks
                .iter()
                .filter(|(net, n)| n == name && IpFamily::of(net.addr) == IpFamily::of(address))
        };
        // A list without loopback is not whole.
        let is_missing = self.names.contains("lo") && !self.names.contains(name);
        let elsewhere =
            is_guest_bridge(name) && own().next().is_some() && own().all(|(net, _)| !net.contains(address));
        is_missing || elsewhere
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::facts::{InterfaceAddress, Link};
    use std::sync::Arc;

    #[test]
    fn networks_say_which_interface_it_is_and_which_it_is_not() {
        let at = |interface: &str, address: &str, prefix| InterfaceAddress {
            interface: interface.into(),
            address: address.parse().unwrap(),
            prefix: Some(prefix),
        };
        let mut snapshot = Snapshot {
            addresses: Arc::new(vec![
                at("eth0", "192.0.2.10", 24),
                at("docker0", "172.17.0.1", 16),
                at("cni0", "10.42.0.1", 24),
                at("flannel.1", "10.42.0.0", 32),
            ]),
            ..Snapshot::default()
        };
        let all = Interfaces::new(&snapshot);
        let pod: IpAddr = "10.42.0.7".parse().unwrap();
        let other: IpAddr = "10.42.1.7".parse().unwrap();
        assert_eq!(all.to(pod), Some("cni0"));
        assert_eq!(all.to(other), None);
        assert!(all.excludes("docker0", other) && !all.excludes("docker0", "172.17.0.9".parse().unwrap()));
        // Behind an uplink or a bridge of another kind is a router.
        assert!(!all.excludes("eth0", other) && !all.excludes("cni0", other) && !all.excludes("wg0", other));
        // What was not there cannot be asked: with the links it can.
        let link = |name: &str| Link { name: name.into(), ..Link::default() };
        snapshot.links = Arc::new(["lo", "eth0", "docker0", "cni0"].map(link).to_vec());
        let all = Interfaces::new(&snapshot);
        assert!(all.excludes("wg0", other) && !all.excludes("wg+", other) && !all.excludes("eth0", other));
    }
}
