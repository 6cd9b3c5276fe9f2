//! Where the palette goes: `cart`, `10.96.2.9`, `30443`, `ns shop`, `explain 203.0.113.9 30443`.

use super::request::Request;
use crate::explain::{self, Sender};
use crate::format::plural;
use crate::observe::View;
use crate::proxy::{Frontend, FrontendKind, Service, endpoint_text, frontend_text, screen_label};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// A place, and what it is called.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Target {
    pub(super) label: String,
    pub(super) request: Request,
}

/// Places that are offered for one text.
const MOST: usize = 8;

/// What was meant: an address, a port, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Destination {
    address: Option<IpAddr>,
    port: Option<u16>,
}

impl Destination {
    fn parse(text: &str) -> Option<Destination> {
        if let Ok(port) = text.trim_start_matches(':').parse() {
            return Some(Destination { address: None, port: Some(port) });
        }
        let (address, port) = explain::address(text)?;
        Some(Destination { address: Some(address), port })
    }

    fn is_reached_by(&self, f: &Frontend, view: &View) -> bool {
        // A node port is reached by every address of the node.
        let address = self.address.is_none_or(|a| match f.address {
            Some(own) => own == a,
            None => view.snapshot.addresses.iter().any(|x| x.address == a),
        });
        address && self.port.is_none_or(|p| p == f.port)
    }
}

/// Who sends to a frontend, mostly.
fn sender_to(f: &Frontend) -> Sender {
    match f.kind {
        Some(FrontendKind::ClusterIp) | None => Sender::Pod,
        Some(_) => Sender::Outside,
    }
}

fn named(s: &Service) -> String {
    format!("{} {}", screen_label(s), s.protocol.name())
}

/// Frontends that a destination means; those that one asks for from outside first, where only a port is known.
fn frontends(view: &View, to: Destination) -> Vec<(usize, usize)> {
    let mut found: Vec<(usize, usize)> = Vec::new();
    for (i, s) in view.model.services.iter().enumerate().filter(|(_, s)| !s.stale) {
        let all = s.frontends.iter().enumerate();
        found.extend(all.filter(|(_, f)| to.is_reached_by(f, view)).map(|(n, _)| (i, n)));
    }
    if to.address.is_none() {
        found
            .sort_by_key(|(i, n)| view.model.services[*i].frontends[*n].kind != Some(FrontendKind::NodePort));
    }
    found
}

/// Services and frontends that a text names, the closest first.
fn services(view: &View, typed: &str) -> Vec<Target> {
    let all = &view.model.services;
    if let Some(to) = Destination::parse(typed) {
        let mut found: Vec<Target> = frontends(view, to)
            .into_iter()
            .map(|(i, n)| {
                let f = &all[i].frontends[n];
                Target {
                    label: format!("{} · {}", named(&all[i]), frontend_text(f)),
                    request: Request::Frontend(i, sender_to(f), n),
                }
            })
            .collect();
        for (i, s) in all.iter().enumerate().filter(|(_, s)| !s.stale) {
            let is_meant =
                |(a, p): (IpAddr, u16)| to.address == Some(a) && to.port.is_none_or(|port| port == p);
            if let Some(n) = s.backends.iter().position(|b| is_meant((b.address, b.port))) {
                let b = &s.backends[n];
                found.push(Target {
                    label: format!("{} · backend {}", named(s), endpoint_text(b.address, b.port)),
                    request: Request::Backend(i, n),
                });
            }
        }
        return found;
    }
    let rank = |s: &Service| {
        let label = s.label().to_lowercase();
        let name = s.name.as_ref().map_or(label.as_str(), |n| &n.name).to_lowercase();
        match () {
            () if label == typed || name == typed => Some(0),
            () if name.starts_with(typed) || label.starts_with(typed) => Some(1),
            () if label.contains(typed) => Some(2),
            () => None,
        }
    };
    let mut found: Vec<(u8, usize)> =
        all.iter().enumerate().filter_map(|(i, s)| Some((rank(s)?, i))).collect();
    found.sort_by_key(|f| f.0);
    let target = |(_, i): (u8, usize)| Target {
        label: format!("{} · {}", named(&all[i]), all[i].frontends.first().map_or("-".into(), frontend_text)),
        request: Request::Frontend(i, Sender::Pod, 0),
    };
    found.into_iter().take(MOST).map(target).collect()
}

/// `ns shop`: the Services of a namespace.
fn namespaces(view: &View, typed: &str) -> Vec<Target> {
    let mut all: BTreeMap<&str, u64> = BTreeMap::new();
    for name in view.model.services.iter().filter_map(|s| s.name.as_ref()) {
        *all.entry(&name.namespace).or_default() += 1;
    }
    let found = all.into_iter().filter(|(n, _)| n.contains(typed));
    let target = |(n, count): (&str, u64)| Target {
        label: format!("namespace {n} · {}", plural(count, "Service port")),
        request: Request::Search(format!("ns={n}")),
    };
    found.map(target).collect()
}

/// `explain [SENDER] DESTINATION`: the path of a packet.
fn paths(view: &View, typed: &str) -> Vec<Target> {
    let words: Vec<&str> = typed.split_whitespace().collect();
    let (sender, to) = match words[..] {
        [to] => (None, to),
        [sender, to] => match sender.parse::<Sender>() {
            Ok(sender) => (Some(sender), to),
            Err(_) => return Vec::new(),
        },
        _ => return Vec::new(),
    };
    let path = |t: Target| {
        let Request::Frontend(i, usual, n) = t.request else { return None };
        let sender = sender.unwrap_or(usual);
        let f = frontend_text(&view.model.services[i].frontends.get(n)?.clone());
        Some(Target {
            label: format!("path from {sender} to {} · {f}", named(&view.model.services[i])),
            request: Request::Path(i, sender, n),
        })
    };
    services(view, to).into_iter().filter_map(path).collect()
}

/// Places that a text means, the closest first.
pub(super) fn matching(view: &View, typed: &str) -> Vec<Target> {
    let typed = typed.trim().to_lowercase();
    let mut found = match typed.split_once(' ') {
        Some(("ns" | "namespace", name)) => namespaces(view, name.trim()),
        Some(("explain" | "path", to)) => paths(view, to),
        Some(_) => Vec::new(),
        None if typed.is_empty() => Vec::new(),
        None => services(view, &typed),
    };
    found.truncate(MOST);
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::shop;
    use crate::proxy::Model;
    use proptest::prelude::*;

    fn view() -> View {
        View { model: Model::of(shop::services(None, 4)), ..View::default() }
    }

    fn first(typed: &str) -> Target {
        matching(&view(), typed).into_iter().next().unwrap_or_else(|| panic!("{typed}: nowhere"))
    }

    #[test]
    fn names_addresses_and_ports_lead_to_services() {
        assert!(first("cart").label.starts_with("shop/cart TCP"), "{}", first("cart").label);
        assert!(first("shop/cart").label.starts_with("shop/cart TCP"));
        assert!(first("10.96.2.9").label.contains("10.96.2.9:8080"), "{}", first("10.96.2.9").label);
        assert!(first("10.96.2.9:8080").label.starts_with("shop/cart"));
        let target = first("30443");
        let Request::Frontend(i, Sender::Outside, n) = target.request else { panic!("{target:?}") };
        assert_eq!(view().model.services[i].frontends[n].port, 30443, "{target:?}");
        assert!(first("10.244.0.30:8080").label.contains("backend 10.244.0.30:8080"));
        assert!(matching(&view(), "10.96.2.9:1").is_empty());
    }

    #[test]
    fn namespaces_and_paths() {
        assert_eq!(first("ns sho").request, Request::Search("ns=shop".into()));
        let Request::Path(_, Sender::Address(_), _) = first("explain 203.0.113.9 30443").request else {
            panic!("{:?}", first("explain 203.0.113.9 30443"))
        };
        assert!(first("explain cart").label.contains("a pod of this node to shop/cart"));
        assert!(matching(&view(), "explain").is_empty());
        assert!(matching(&view(), "explain nobody 30443").is_empty());
    }

    proptest! {
        #[test]
        fn whatever_is_typed_leads_somewhere_or_nowhere(typed in "[\\PC\\[\\]:. ]{0,30}") {
            prop_assert!(matching(&view(), &typed).len() <= MOST);
        }
    }
}
