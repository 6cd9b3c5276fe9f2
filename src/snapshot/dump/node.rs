//! `ip addr`, and the small files that say what node it is.

use crate::kernel::links::Link;
use crate::kernel::node::{InterfaceAddress, Route};
use crate::ruleset::IpNet;
use crate::snapshot::Snapshot;
use std::sync::Arc;

/// `ip addr` or `ip -d addr`: interfaces with their addresses.
pub(super) fn addresses(text: &str) -> (Vec<Link>, Vec<InterfaceAddress>) {
    let (mut links, mut addresses): (Vec<Link>, Vec<InterfaceAddress>) = (Vec::new(), Vec::new());
    let mut masters: Vec<(usize, String)> = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let after = |key: &str| words.iter().position(|w| *w == key).and_then(|i| words.get(i + 1).copied());
        if line.starts_with(|c: char| c.is_ascii_digit()) {
            // `2: eth0@if2: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 … master cni0 …`
            let (Some(index), Some(name)) = (words.first(), words.get(1)) else { continue };
            let Ok(index) = index.trim_end_matches(':').parse() else { continue };
            let name = name.trim_end_matches(':').split('@').next().unwrap_or_default();
            let flags = words.get(2).copied().unwrap_or_default();
            let up = flags.trim_matches(['<', '>']).split(',').any(|f| f == "UP");
            if let Some(master) = after("master") {
                masters.push((links.len(), master.to_string()));
            }
            links.push(Link { index, name: name.to_string(), up, ..Link::default() });
            continue;
        }
        let Some(link) = links.last_mut() else { continue };
        match words.first() {
            Some(&("inet" | "inet6")) => {
                let word = words.get(1).copied().unwrap_or_default();
                let (address, prefix) = word.split_once('/').unwrap_or((word, ""));
                if let Ok(address) = address.parse() {
                    let prefix = prefix.parse().ok();
                    addresses.push(InterfaceAddress { interface: link.name.clone(), address, prefix });
                }
            }
            // With `-d` the kind is on a line of its own.
            Some(
                kind @ &("veth" | "bridge" | "dummy" | "vxlan" | "geneve" | "tun" | "ipip" | "bond"
                | "wireguard" | "vlan"),
            ) => {
                link.kind = Some((*kind).to_string());
                link.tunnel_port = after("dstport").and_then(|p| p.parse().ok());
            }
            _ => {}
        }
    }
    for (i, master) in masters {
        let index = links.iter().find(|l| l.name == master).map(|l| l.index);
        links[i].master = index;
    }
    (links, addresses)
}

/// `ip route`: routes by which packets leave.
pub(super) fn routes(text: &str) -> Vec<Route> {
    let v6 = text.lines().any(|l| l.split_whitespace().any(|w| w.contains("::")));
    let route = |line: &str| {
        let mut words = line.split_whitespace().peekable();
        let first = words.next()?;
        let net = match first {
            "default" if v6 => "::/0".parse().ok()?,
            "default" => "0.0.0.0/0".parse().ok()?,
            net => net.parse::<IpNet>().ok().or_else(|| net.parse().ok().map(IpNet::host))?,
        };
        let words: Vec<&str> = words.collect();
        let after = |key: &str| words.iter().position(|w| *w == key).and_then(|i| words.get(i + 1).copied());
        Some(Route { net, interface: after("dev")?.to_string(), by_gateway: after("via").is_some() })
    };
    text.lines().filter_map(route).filter(|r| r.interface != "lo").collect()
}

/// A small file by its name: true where it was one of them.
pub(super) fn small(name: &str, text: &str, into: &mut Snapshot) -> bool {
    let first = text.lines().next().unwrap_or_default().trim();
    let node = Arc::make_mut(&mut into.node);
    match name {
        "os-release" => node.distribution = crate::kernel::node::os_release(text),
        "hostname" if !first.is_empty() && !first.contains(' ') => node.hostname = Some(first.into()),
        // `Linux worker 6.1.0-13-amd64 #1 SMP …`
        "uname" | "uname_-a" if first.starts_with("Linux ") => {
            let mut words = first.split_whitespace().skip(1);
            node.hostname = node.hostname.take().or_else(|| words.next().map(str::to_string));
            node.kernel = first.split_whitespace().nth(2).map(str::to_string);
        }
        _ => return false,
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_ip_prints_them() {
        let text = "1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536\n    inet 127.0.0.1/8 scope host lo\n3: veth1@if2: <BROADCAST,UP> mtu 1500 master cni0 state UP\n    link/ether aa:bb\n    veth numtxqueues 2\n4: cni0: <BROADCAST> mtu 1500\n    inet6 fd00::1/64 scope global\n";
        let (links, addresses) = addresses(text);
        assert_eq!(links.len(), 3);
        assert_eq!((links[1].kind.as_deref(), links[1].master, links[1].up), (Some("veth"), Some(4), true));
        assert!(!links[2].up);
        assert_eq!((addresses[1].interface.as_str(), addresses[1].prefix), ("cni0", Some(64)));
        let routes = routes(
            "10.0.0.0/8 dev x scope link\nunreachable 10.9.0.0/24\n10.1.0.7 dev cali1\ndefault via 1.2.3.4 dev eth0\n",
        );
        let text: Vec<String> =
            routes.iter().map(|r| format!("{} {} {}", r.net, r.interface, r.by_gateway)).collect();
        assert_eq!(text, ["10.0.0.0/8 x false", "10.1.0.7/32 cali1 false", "0.0.0.0/0 eth0 true"]);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_survived(text in "([0-9a-z:@<>,/. ]{0,60}\n){0,8}") {
            let _ = addresses(&text);
            let _ = routes(&text);
        }
    }
}
