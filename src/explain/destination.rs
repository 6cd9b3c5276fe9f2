//! Where a packet is sent, as people say it: an address, or a Service by name.

use crate::proxy::{Frontend, FrontendKind, Model, Protocol, node_address};
use crate::ruleset::IpFamily;
use crate::snapshot::Snapshot;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where a packet is sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Destination {
    /// Address.
    pub address: IpAddr,
    /// Port.
    pub port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// The Service that has it, by index in the model, and its frontend.
    pub service: Option<(usize, usize)>,
    /// What was not said in the question, and how it was filled in.
    pub filled_in: Vec<String>,
}

/// Number of a protocol that Services have, by name.
fn protocol(text: &str) -> Option<u8> {
    let all = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];
    all.into_iter().find(|p| text.eq_ignore_ascii_case(p.name())).map(Protocol::number)
}

/// An address with or without a port: `10.0.0.1`, `10.0.0.1:80`, `fd00::1`, `[fd00::1]:80`.
pub(crate) fn address(text: &str) -> Option<(IpAddr, Option<u16>)> {
    if let Ok(a) = text.parse::<IpAddr>() {
        return Some((a, None));
    }
    if let Some(inner) = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
        return inner.parse::<Ipv6Addr>().ok().map(|a| (a.into(), None));
    }
    text.parse::<std::net::SocketAddr>().ok().map(|s| (s.ip(), Some(s.port())))
}

/// True where a frontend takes packets to this address.
fn takes(snapshot: &Snapshot, f: &Frontend, family: IpFamily, to: IpAddr) -> bool {
    match f.address {
        Some(a) => a == to,
        None => {
            // Where the node's addresses are not known, this may be one.
            let known =
                || snapshot.addresses.is_empty() || snapshot.addresses.iter().any(|a| a.address == to);
            IpFamily::of(to) == family && (to.is_loopback() || known())
        }
    }
}

/// A frontend of a Service as a destination.
pub fn frontend_destination(
    snapshot: &Snapshot,
    model: &Model,
    service: usize,
    frontend: usize,
) -> Option<Destination> {
    let s = model.services.get(service)?;
    let f = s.frontends.get(frontend)?;
    Some(Destination {
        address: f.address.or_else(|| node_address(snapshot, s.family))?,
        port: f.port,
        protocol: s.protocol.number(),
        service: Some((service, frontend)),
        filled_in: Vec::new(),
    })
}

/// A text of the user's in a message: short, and without what a terminal would take for a command.
fn quoted(text: &str) -> String {
    crate::format::clip_end(&text.escape_debug().to_string(), 80)
}

/// Every destination that a text may mean: an address, or a Service by name. The error says what is wrong with it.
pub fn destinations(snapshot: &Snapshot, model: &Model, text: &str) -> Result<Vec<Destination>, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("say where to: ADDRESS[:PORT][/PROTOCOL], or a Service by name".into());
    }
    let (rest, wanted) = match text.rsplit_once('/') {
        Some((rest, p)) if protocol(p).is_some() && (address(rest).is_some() || rest.contains('/')) => {
            (rest, protocol(p))
        }
        Some((rest, p)) if address(rest).is_some() => {
            return Err(format!("`{}` is no protocol that Services have: tcp, udp or sctp", quoted(p)));
        }
        _ => (text, None),
    };
    let Some((to, port)) = address(rest) else {
        // An address with something that is no port, or digits and dots that are no address.
        if let Some((host, port)) = rest.rsplit_once(':')
            && (host.parse::<Ipv4Addr>().is_ok() || host.starts_with('['))
        {
            return Err(format!("`{}` is no port: give 1 to 65535", quoted(port)));
        }
        if rest.bytes().all(|b| b.is_ascii_digit() || b"./:".contains(&b)) {
            return Err(format!("`{}` is no address, and no name of a Service", quoted(rest)));
        }
        let found = by_name(snapshot, model, rest, wanted);
        // `name/udp`, unless there is a Service `udp` in a namespace `name`.
        return match text.rsplit_once('/') {
            Some((name, p)) if found.is_err() && wanted.is_none() && protocol(p).is_some() => {
                by_name(snapshot, model, name, protocol(p))
            }
            _ => found,
        };
    };
    let broadcast = to == IpAddr::V4(Ipv4Addr::BROADCAST);
    if to.is_unspecified() || to.is_multicast() || broadcast {
        return Err(format!("{to} is no address of one host: Services have none of that kind"));
    }
    if port == Some(0) {
        return Err("port 0 is none that a packet can be sent to: give 1 to 65535".into());
    }
    Ok(by_address(snapshot, model, to, port, wanted))
}

fn by_address(
    snapshot: &Snapshot,
    model: &Model,
    to: IpAddr,
    port: Option<u16>,
    wanted: Option<u8>,
) -> Vec<Destination> {
    let mut found = Vec::new();
    for (i, s) in model.services.iter().enumerate().filter(|(_, s)| !s.stale) {
        for (j, f) in s.frontends.iter().enumerate() {
            let number = s.protocol.number();
            // A node port is meant only by its port.
            let named = f.address.is_some() || port.is_some();
            if named
                && takes(snapshot, f, s.family, to)
                && port.is_none_or(|p| p == f.port)
                && wanted.is_none_or(|w| w == number)
            {
                found.push(Destination {
                    address: to,
                    port: f.port,
                    protocol: number,
                    service: Some((i, j)),
                    filled_in: Vec::new(),
                });
            }
        }
    }
    if found.is_empty() {
        let mut filled_in = Vec::new();
        if port.is_none() {
            filled_in.push("no port was given: 80 is taken".to_string());
        }
        if wanted.is_none() {
            filled_in.push("no protocol was given: TCP is taken".to_string());
        }
        let (port, protocol) = (port.unwrap_or(80), wanted.unwrap_or(6));
        found.push(Destination { address: to, port, protocol, service: None, filled_in });
    }
    found
}

fn by_name(
    snapshot: &Snapshot,
    model: &Model,
    text: &str,
    wanted: Option<u8>,
) -> Result<Vec<Destination>, String> {
    let lower = text.to_lowercase();
    let (name, port) = match lower.rsplit_once(':') {
        Some((name, port)) => (name.to_string(), Some(port)),
        None => (lower.clone(), None),
    };
    // As DNS has it: name.namespace.svc.cluster.local
    let name = match name.split_once(".svc").filter(|d| d.1.is_empty() || d.1.starts_with('.')) {
        Some((short, _)) => short.split_once('.').map_or(name.clone(), |(n, ns)| format!("{ns}/{n}")),
        None => name,
    };
    let mut found = Vec::new();
    let (mut similar, mut has) = (Vec::new(), Vec::new());
    for (i, s) in model.services.iter().enumerate().filter(|(_, s)| !s.stale) {
        let Some(n) = &s.name else { continue };
        let full = format!("{}/{}", n.namespace, n.name);
        if full != name && n.name != name {
            if full.contains(name.rsplit('/').next().unwrap_or(&name)) && !similar.contains(&full) {
                similar.push(full);
            }
            continue;
        }
        let number = s.protocol.number();
        let of_port = |f: &Frontend| match port {
            None => true,
            Some(p) => p == n.port || p.parse() == Ok(f.port),
        };
        for f in &s.frontends {
            let port = format!("{}/{}", f.port, s.protocol.lower());
            if !has.contains(&port) {
                has.push(port);
            }
        }
        if wanted.is_some_and(|w| w != number) {
            continue;
        }
        // Its cluster IP; another frontend only where its own port was asked for.
        let by_number = port.is_some_and(|p| p != n.port);
        let chosen =
            s.frontends.iter().enumerate().filter(|(_, f)| of_port(f)).filter(|(_, f)| {
                by_number || f.kind == Some(FrontendKind::ClusterIp) || s.frontends.len() == 1
            });
        for (j, _) in chosen {
            found.extend(frontend_destination(snapshot, model, i, j));
        }
    }
    if found.is_empty() {
        let hint = match (has.is_empty(), similar.len()) {
            (false, _) => {
                return Err(format!("{} has no such port: it has {}", quoted(&name), has.join(", ")));
            }
            (true, 0) if model.services.iter().all(|s| s.name.is_none()) && !model.services.is_empty() => {
                "; the rules here carry no names: ask by address".to_string()
            }
            (true, 0) => String::new(),
            (true, _) => format!("; there is {}", similar[..similar.len().min(5)].join(", ")),
        };
        return Err(format!("no Service `{}` in the rules of this node{hint}", quoted(text)));
    }
    // An address of each family answers the same question: the first that is known is taken.
    if let Some(first) = found.iter().map(|d| IpFamily::of(d.address)).min() {
        let names = |d: &Destination| {
            d.service.and_then(|(i, _)| model.services[i].name.clone()).map(|n| (n, d.protocol))
        };
        let of_first: Vec<_> = found.iter().filter(|d| IpFamily::of(d.address) == first).map(names).collect();
        found.retain(|d| IpFamily::of(d.address) == first || !of_first.contains(&names(d)));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::shop;
    use crate::proxy::{Names, iptables};
    use crate::snapshot::TableState;
    use proptest::prelude::*;
    use std::sync::Arc;
    use std::time::Duration;

    fn node() -> (Snapshot, Model) {
        let tables = iptables::write(&shop::services(None, 4), IpFamily::V4, &Default::default());
        let state = |(t, c)| TableState::new(Duration::ZERO, Arc::new(t), Arc::new(c));
        let snapshot = Snapshot { tables: tables.into_iter().map(state).collect(), ..Snapshot::default() };
        let model = Model::read(&snapshot, &Names::default());
        (snapshot, model)
    }

    #[test]
    fn questions_are_understood_as_people_ask_them() {
        let (s, m) = node();
        let one = |text: &str| {
            let found = destinations(&s, &m, text).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            let d = &found[0];
            let label = d.service.map(|(i, _)| m.services[i].label());
            (d.address.to_string(), d.port, d.protocol, label)
        };
        let cart = ("10.96.2.9".to_string(), 8080, 6, Some("shop/cart".to_string()));
        for text in ["shop/cart", "cart", "SHOP/cart", " shop/cart ", "shop/cart:8080", "shop/cart/tcp"] {
            assert_eq!(one(text), cart, "{text}");
        }
        for text in ["cart.shop.svc", "cart.shop.svc.cluster.local:8080", "10.96.2.9", "10.96.2.9:8080/TCP"] {
            assert_eq!(one(text), cart, "{text}");
        }
        assert_eq!(one("kube-dns/udp").1, 53);
        assert_eq!(one("10.96.2.9:81").3, None);
        assert_eq!(one("[fd00::1]:80"), ("fd00::1".into(), 80, 6, None));
        assert_eq!(destinations(&s, &m, "kube-dns").unwrap().len(), 3);
    }

    proptest! {
        #[test]
        fn any_question_is_survived(text in "[ -~\u{1b}ü/:.\\[\\]]{0,60}") {
            let (s, m) = (Snapshot::default(), Model::default());
            if let Err(why) = destinations(&s, &m, &text) {
                prop_assert!(!why.contains('\u{1b}') && why.len() < 600, "{}", why);
            }
        }
    }
}
