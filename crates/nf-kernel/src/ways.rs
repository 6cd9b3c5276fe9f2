//! Routes of all tables and neighbours that do not answer, by rtnetlink (`linux/rtnetlink.h`, `linux/neighbour.h`).

use super::Result;
use super::netlink::{NETLINK_ROUTE, Request, Socket, attrs, host_uint};
use nf_ruleset::IpNet;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// `RTM_GETROUTE`, `RTM_GETNEIGH`
const RTM_GETROUTE: u16 = 26;
const RTM_GETNEIGH: u16 = 30;
/// `AF_INET`, `AF_INET6`
const INET: u8 = 2;
const INET6: u8 = 10;
// enum rtattr_type_t
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_MULTIPATH: u16 = 9;
const RTA_TABLE: u16 = 15;
/// `RTM_F_CLONED`: what IPv6 remembers of one destination.
const CLONED: u32 = 0x200;
/// `RTNH_F_DEAD`
const DEAD: u32 = 1;
/// `RT_TABLE_MAIN`, `RT_TABLE_LOCAL`
const MAIN: u32 = 254;
const LOCAL: u32 = 255;
/// `NUD_FAILED`
const FAILED: u16 = 0x20;
/// `NDA_DST`
const NDA_DST: u16 = 1;

/// Routes that are kept: nodes that speak BGP have a table for each neighbour, and the world has a million.
const MOST: usize = 100_000;

/// What becomes of a packet by a route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RouteKind {
    /// It goes on.
    #[default]
    Unicast,
    /// It is refused: `RTN_UNREACHABLE`, `RTN_PROHIBIT`.
    Refused,
    /// It is dropped: `RTN_BLACKHOLE`.
    Blackhole,
    /// The next table is asked: `RTN_THROW`.
    Throw,
}

/// A route of any table but the local one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WayRoute {
    /// Where to.
    pub net: IpNet,
    /// What becomes of packets.
    pub kind: RouteKind,
    /// Its table; 254 is main.
    pub table: u32,
    /// Its metric: the least goes first.
    pub metric: u32,
    /// Number of the interface; of several the first that is not dead.
    pub interface: u32,
    /// The next hop, where it is not the destination itself.
    pub gateway: Option<IpAddr>,
}

impl WayRoute {
    /// True in the table that is asked where no rule says otherwise.
    pub fn is_main(&self) -> bool {
        self.table == MAIN
    }
}

/// A neighbour that did not answer to ARP or neighbour discovery (`NUD_FAILED`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deaf {
    /// Its address.
    pub address: IpAddr,
    /// Number of the interface that it was asked on.
    pub interface: u32,
}

/// Where packets go on from here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ways {
    /// Routes.
    pub routes: Vec<WayRoute>,
    /// Neighbours that did not answer.
    pub deaf: Vec<Deaf>,
    /// True where there were more routes than are kept.
    pub cut: bool,
}

/// Reads both in the calling thread's namespace.
pub fn read() -> Result<Ways> {
    let mut socket = Socket::open(NETLINK_ROUTE)?;
    let mut ways = Ways::default();
    for family in [INET, INET6] {
        // struct rtmsg: family and eleven bytes more.
        let mut head = [0; 12];
        head[0] = family;
        let request = Request::new(RTM_GETROUTE, 0).raw(&head);
        socket.dump("reading the routes", request, &mut |m| {
            match ways.routes.len() < MOST {
                true => ways.routes.extend(route(m.payload)),
                false => ways.cut = true,
            };
        })?;
        // struct ndmsg: family and eleven bytes more.
        let request = Request::new(RTM_GETNEIGH, 0).raw(&head);
        socket.dump("reading the neighbours", request, &mut |m| ways.deaf.extend(neighbour(m.payload)))?;
    }
    Ok(ways)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(Ipv4Addr::from(*bytes.first_chunk::<4>()?).into()),
        16 => Some(Ipv6Addr::from(*bytes.first_chunk::<16>()?).into()),
        _ => None,
    }
}

fn route(payload: &[u8]) -> Option<WayRoute> {
    let [family, prefix, _, _, table, _, _, kind] = *payload.first_chunk::<8>()?;
    let flags = u32::from_ne_bytes(*payload.get(8..)?.first_chunk()?);
    // enum in linux/rtnetlink.h: RTN_UNICAST 1, RTN_BLACKHOLE 6, RTN_UNREACHABLE 7, RTN_PROHIBIT 8, RTN_THROW 9.
    let kind = match kind {
        1 => RouteKind::Unicast,
        6 => RouteKind::Blackhole,
        7 | 8 => RouteKind::Refused,
        9 => RouteKind::Throw,
        _ => return None,
    };
    let any: IpAddr = match family {
        INET => Ipv4Addr::UNSPECIFIED.into(),
        INET6 => Ipv6Addr::UNSPECIFIED.into(),
        _ => return None,
    };
    let mut r = WayRoute {
        net: IpNet { addr: any, prefix },
        kind,
        table: u32::from(table),
        metric: 0,
        interface: 0,
        gateway: None,
    };
    for (kind, value) in attrs(payload.get(12..)?) {
        let number = || host_uint(value).map(|n| n as u32);
        match kind {
            RTA_DST => r.net.addr = address(value)?,
            RTA_OIF => r.interface = number()?,
            RTA_GATEWAY => r.gateway = address(value),
            RTA_PRIORITY => r.metric = number()?,
            RTA_TABLE => r.table = number()?,
            RTA_MULTIPATH => hop(value, &mut r),
            _ => {}
        }
    }
    let longest = if family == INET { 32 } else { 128 };
    let fits = prefix <= longest && r.net.addr.is_ipv4() == (family == INET);
    (fits && r.table != LOCAL && flags & CLONED == 0).then_some(r)
}

/// The first of several hops that is not dead.
fn hop(mut bytes: &[u8], to: &mut WayRoute) {
    // struct rtnexthop: length, flags, hops, interface.
    while let Some(head) = bytes.first_chunk::<8>() {
        let length = usize::from(u16::from_ne_bytes([head[0], head[1]]));
        let Some(one) = bytes.get(..length).filter(|_| length >= 8) else { return };
        if u32::from(head[2]) & DEAD == 0 {
            to.interface = u32::from_ne_bytes([head[4], head[5], head[6], head[7]]);
            to.gateway = attrs(&one[8..]).find(|a| a.0 == RTA_GATEWAY).and_then(|a| address(a.1));
            return;
        }
        // RTNH_ALIGN
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
}

fn neighbour(payload: &[u8]) -> Option<Deaf> {
    let interface = u32::from_ne_bytes(*payload.get(4..)?.first_chunk()?);
    let state = u16::from_ne_bytes(*payload.get(8..)?.first_chunk()?);
    let address = attrs(payload.get(12..)?).find(|a| a.0 == NDA_DST).and_then(|a| address(a.1))?;
    (state & FAILED != 0).then_some(Deaf { address, interface })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn this_namespace_is_read() {
        read().unwrap();
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200), family in prop_oneof![Just(2u8), Just(10)]) {
            let _ = (route(&bytes), neighbour(&bytes));
            let mut head = bytes;
            if head.len() >= 8 {
                (head[0], head[7]) = (family, 1);
                if let Some(r) = route(&head) {
                    let longest = if family == 2 { 32 } else { 128 };
                    prop_assert!(r.net.prefix <= longest);
                }
            }
        }
    }
}
