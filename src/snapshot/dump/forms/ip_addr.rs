//! `ip addr` or `ip -d addr`, `ip link`: interfaces with their addresses.

use crate::kernel::links::Link;
use crate::kernel::node::InterfaceAddress;
use crate::snapshot::SourceId;
use crate::snapshot::dump::glance::Glance;
use crate::snapshot::dump::reader::{Form, Found, Reader};

pub(super) static FORM: Form =
    Form { words: "ip addr", source: SourceId::Addresses, repeats: true, is, read };

/// `2: eth0@if2: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 …`
fn is_head(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let index = words.next().is_some_and(|w| w.strip_suffix(':').is_some_and(|n| n.parse::<u32>().is_ok()));
    index && words.nth(1).is_some_and(|w| w.starts_with('<') && w.ends_with('>'))
}

fn is(g: &Glance<'_>) -> bool {
    g.any(3, is_head)
}

fn read(to: &mut Reader, f: &Found) -> Result<(), String> {
    let (links, addresses) = addresses(&f.text);
    to.take_links(f, links, addresses);
    Ok(())
}

fn addresses(text: &str) -> (Vec<Link>, Vec<InterfaceAddress>) {
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
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_survived(text in "([0-9a-z:@<>,/. ]{0,60}\n){0,8}") {
            let _ = addresses(&text);
        }
    }
}
