//! Where a packet goes on from here, by routes and neighbours.

use super::Snapshot;
use crate::kernel::links::Link;
use crate::kernel::ways::{RouteKind, WayRoute};
use crate::ruleset::IpFamily;
use std::net::IpAddr;

/// What stands in the way of packets to an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// No route leads there.
    NoRoute,
    /// The route refuses them.
    Refused(WayRoute),
    /// The route drops them.
    Blackhole(WayRoute),
    /// The interface of the route is down: its name.
    Down(String),
    /// It is on this node, and nothing but the default route leads there: by which interface.
    Outward(String),
    /// Nobody answers to ARP or neighbour discovery: who was asked, on which interface.
    Deaf(IpAddr, String),
}

impl Obstacle {
    /// For people.
    pub fn words(&self) -> String {
        match self {
            Obstacle::NoRoute => "no route leads there".into(),
            Obstacle::Refused(r) => format!("the route {} refuses packets (unreachable or prohibit)", r.net),
            Obstacle::Blackhole(r) => format!("the route {} drops packets (blackhole)", r.net),
            Obstacle::Down(link) => format!("its interface {link} is down"),
            Obstacle::Outward(link) => {
                format!("it is on this node, and only the default route leads there, out by {link}")
            }
            Obstacle::Deaf(hop, link) => format!("{hop} does not answer on {link} (neighbour FAILED)"),
        }
    }
}

/// The route of the main table that leads to an address, and that there is none. `None` where it is the node's own, where the
/// routes were not read, and where a table that is not main has a route: rules of routing may lead there.
fn best(snapshot: &Snapshot, to: IpAddr) -> Option<Option<&WayRoute>> {
    let ways = snapshot.ways.as_ref().filter(|w| !w.cut)?;
    let own = snapshot.addresses.iter().any(|a| a.address == to);
    if own || to.is_loopback() || to.is_unspecified() {
        return None;
    }
    let leads = |r: &&WayRoute| r.net.contains(to);
    let best = |main: bool| {
        let all =
            ways.routes.iter().filter(|r| r.is_main() == main && r.kind != RouteKind::Throw).filter(leads);
        all.min_by_key(|r| (std::cmp::Reverse(r.net.prefix), r.metric))
    };
    match best(false) {
        Some(_) => None,
        None => Some(best(true)),
    }
}

fn link(snapshot: &Snapshot, index: u32) -> Option<&Link> {
    snapshot.links.iter().find(|l| l.index == index)
}

fn link_name(snapshot: &Snapshot, index: u32) -> String {
    link(snapshot, index).map_or_else(|| format!("interface {index}"), |l| l.name.clone())
}

/// The interface of the default route, where nothing else leads to an address: packets to it leave the node.
pub fn leaves_by(snapshot: &Snapshot, to: IpAddr) -> Option<String> {
    let route = best(snapshot, to)?.filter(|r| r.net.prefix == 0 && r.kind == RouteKind::Unicast)?;
    Some(link_name(snapshot, route.interface))
}

/// What stands in the way to an address, as far as routes and neighbours say it; `None` where nothing does, where that was not
/// read, and where rules of routing (`ip rule`) may lead elsewhere: a table that is not main has a route.
pub fn obstacle(snapshot: &Snapshot, to: IpAddr) -> Option<Obstacle> {
    let ways = snapshot.ways.as_ref()?;
    let name = |index: u32| link_name(snapshot, index);
    let Some(route) = best(snapshot, to)? else { return Some(Obstacle::NoRoute) };
    match route.kind {
        RouteKind::Refused => return Some(Obstacle::Refused(route.clone())),
        RouteKind::Blackhole => return Some(Obstacle::Blackhole(route.clone())),
        RouteKind::Unicast | RouteKind::Throw => {}
    }
    if link(snapshot, route.interface).is_some_and(|l| !l.up) {
        return Some(Obstacle::Down(name(route.interface)));
    }
    let hop = route.gateway.unwrap_or(to);
    let is_deaf = ways.deaf.iter().any(|d| d.address == hop && d.interface == route.interface);
    is_deaf.then(|| Obstacle::Deaf(hop, name(route.interface)))
}

/// True where routes of a family lead beyond this node: a default route, or one by a gateway. A namespace without them is none
/// in which packets to pods are routed.
pub fn routes_beyond(snapshot: &Snapshot, family: IpFamily) -> bool {
    let of = |r: &&WayRoute| IpFamily::of(r.net.addr) == family && r.kind == RouteKind::Unicast;
    let mut all = snapshot.ways.iter().flat_map(|w| &w.routes).filter(of);
    all.any(|r| r.net.prefix == 0 || r.gateway.is_some())
}
