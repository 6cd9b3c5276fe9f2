//! Interfaces, addresses and routes by rtnetlink (`linux/rtnetlink.h`, `linux/if_link.h`), in the calling
//! thread's namespace.

use crate::kernel::netlink::{CREATE, Request, Socket};
use crate::kernel::netns::Netns;
use crate::kernel::{Error, Result};
use crate::ruleset::IpNet;
use netlink_sys::protocols::NETLINK_ROUTE;
use std::net::IpAddr;
use std::os::fd::AsRawFd;

const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFF_UP: u32 = 1;
/// `IFA_F_NODAD`: the address is usable at once.
const IFA_F_NODAD: u8 = 0x02;
const RT_TABLE_MAIN: u8 = 254;
const RT_TABLE_LOCAL: u8 = 255;
const RTPROT_STATIC: u8 = 4;
const RTN_UNICAST: u8 = 1;
const RTN_LOCAL: u8 = 2;

fn socket() -> Result<Socket> {
    Socket::open(NETLINK_ROUTE)
}

/// `struct ifinfomsg`
fn ifinfo(index: u32, flags: u32) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[4..8].copy_from_slice(&index.to_ne_bytes());
    bytes[8..12].copy_from_slice(&flags.to_ne_bytes());
    bytes[12..16].copy_from_slice(&flags.to_ne_bytes());
    bytes
}

fn index(link: &str) -> Result<u32> {
    nix::net::if_::if_nametoindex(link)
        .map_err(|e| Error::io(format!("looking for the interface {link}"), e.into()))
}

fn octets(addr: IpAddr) -> Vec<u8> {
    match addr {
        IpAddr::V4(a) => a.octets().to_vec(),
        IpAddr::V6(a) => a.octets().to_vec(),
    }
}

fn family(addr: IpAddr) -> u8 {
    if addr.is_ipv4() { libc::AF_INET as u8 } else { libc::AF_INET6 as u8 }
}

/// Takes a link up.
pub(super) fn up(link: &str) -> Result<()> {
    let request = Request::new(RTM_NEWLINK, 0).raw(&ifinfo(index(link)?, IFF_UP));
    socket()?.request(&format!("taking {link} up"), request, &mut |_| {})
}

/// Takes a link up that asks for no neighbours: what is sent on it is addressed to itself, and whoever is at its other end
/// throws it away at once.
pub(super) fn up_without_neighbours(link: &str) -> Result<()> {
    const IFF_NOARP: u32 = 0x80;
    let request = Request::new(RTM_NEWLINK, 0).raw(&ifinfo(index(link)?, IFF_UP | IFF_NOARP));
    socket()?.request(&format!("taking {link} up"), request, &mut |_| {})
}

/// Waits, at most 3 seconds, until IPv6 can ask for neighbours on a link: until its link-local address is more
/// than tentative. Before that, packets to a new neighbour wait for a second.
pub(super) fn wait_for_neighbours(link: &str) {
    const TENTATIVE: u32 = 0x40; // IFA_F_TENTATIVE
    for _ in 0..300 {
        let Ok(text) = std::fs::read_to_string("/proc/thread-self/net/if_inet6") else { return };
        // address, index, prefix length, scope, flags, device
        let ready = text.lines().map(|l| l.split_whitespace().collect::<Vec<_>>()).any(|w| {
            let flags = w.get(4).and_then(|f| u32::from_str_radix(f, 16).ok()).unwrap_or(TENTATIVE);
            w.get(5) == Some(&link) && w[3] == "20" && flags & TENTATIVE == 0
        });
        if ready {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

/// Makes a pair of links: `name` here, `eth0` in another namespace.
pub(super) fn add_veth(name: &str, other: &Netns) -> Result<()> {
    let fd = other.fd().as_raw_fd() as u32;
    let request = Request::new(RTM_NEWLINK, CREATE).raw(&ifinfo(0, 0)).attr_str(IFLA_IFNAME, name).nest(
        IFLA_LINKINFO,
        |r| {
            r.attr_str(IFLA_INFO_KIND, "veth").nest(IFLA_INFO_DATA, |r| {
                r.nest(VETH_INFO_PEER, |r| {
                    r.raw(&ifinfo(0, 0)).attr_str(IFLA_IFNAME, "eth0").attr_u32(IFLA_NET_NS_FD, fd)
                })
            })
        },
    );
    socket()?.request(&format!("making the link {name}"), request, &mut |_| {})
}

/// Makes a link that leads nowhere and holds addresses, as kube-proxy does in ipvs mode.
pub(super) fn add_dummy(name: &str) -> Result<()> {
    let request = Request::new(RTM_NEWLINK, CREATE)
        .raw(&ifinfo(0, 0))
        .attr_str(IFLA_IFNAME, name)
        .nest(IFLA_LINKINFO, |r| r.attr_str(IFLA_INFO_KIND, "dummy"));
    socket()?.request(&format!("making the link {name}"), request, &mut |_| {})
}

/// Gives a link an address. One that is there already is fine.
pub(super) fn add_address(link: &str, net: IpNet) -> Result<()> {
    let mut head = [family(net.addr), net.prefix, IFA_F_NODAD, 0, 0, 0, 0, 0];
    head[4..8].copy_from_slice(&index(link)?.to_ne_bytes());
    let addr = octets(net.addr);
    let request = Request::new(RTM_NEWADDR, CREATE).raw(&head).attr(2, &addr).attr(1, &addr);
    match socket()?.request(&format!("giving {link} the address {net}"), request, &mut |_| {}) {
        Err(e) if e.errno() == Some(libc::EEXIST) => Ok(()),
        other => other,
    }
}

fn route(to: IpNet, table: u8, scope: u8, kind: u8) -> Request {
    let head = [family(to.addr), to.prefix, 0, 0, table, RTPROT_STATIC, scope, kind, 0, 0, 0, 0];
    let request = Request::new(RTM_NEWROUTE, CREATE).raw(&head);
    if to.prefix == 0 { request } else { request.attr(1, &octets(to.addr)) }
}

/// Adds a route through a gateway.
pub(super) fn add_route(to: IpNet, gateway: IpAddr) -> Result<()> {
    let request = route(to, RT_TABLE_MAIN, 0, RTN_UNICAST).attr(5, &octets(gateway));
    socket()?.request(&format!("adding the route {to} via {gateway}"), request, &mut |_| {})
}

/// Adds a route that ends on a link.
pub(super) fn add_link_route(to: IpNet, link: &str) -> Result<()> {
    const RT_SCOPE_LINK: u8 = 253;
    let request = route(to, RT_TABLE_MAIN, RT_SCOPE_LINK, RTN_UNICAST).attr_u32(4, index(link)?);
    socket()?.request(&format!("adding the route {to} on {link}"), request, &mut |_| {})
}

/// Makes every address of a network this namespace's own.
pub(super) fn add_local_route(to: IpNet) -> Result<()> {
    let scope = if to.addr.is_ipv4() { 254 } else { 0 };
    let request = route(to, RT_TABLE_LOCAL, scope, RTN_LOCAL).attr_u32(4, index("lo")?);
    socket()?.request(&format!("adding the local route {to}"), request, &mut |_| {})
}
