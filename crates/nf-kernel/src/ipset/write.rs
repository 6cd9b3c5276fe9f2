//! Sets and their members.

use super::{Client, Ipset, Member, PROTOCOL, SUBSYSTEM};
use crate::Result;
use crate::netlink::{CREATE, Request};
use nf_ruleset::octets;
use std::net::IpAddr;

/// `IPSET_CMD_CREATE`, `IPSET_CMD_ADD`
const CREATE_SET: u8 = 2;
const ADD: u8 = 9;
/// `NLA_F_NET_BYTEORDER`: what addresses and ports must be marked with (`ip_set_attr_netorder`).
const BIG_ENDIAN: u16 = 0x4000;

impl Client {
    /// Makes a set, with its members. For tests and demos in namespaces of their own (feature `write`).
    pub fn create(&mut self, set: &Ipset) -> Result<()> {
        let request = Request::nfnetlink(SUBSYSTEM, CREATE_SET, CREATE, 0)
            .attr(1, &[PROTOCOL])
            .attr_str(2, &set.name)
            .attr_str(3, &set.kind)
            .attr(4, &[revision(&set.kind)])
            .attr(5, &[set.family])
            .nest(7, |r| match &*set.kind {
                // IPSET_ATTR_PORT, IPSET_ATTR_PORT_TO
                "bitmap:port" => {
                    r.attr(4 | BIG_ENDIAN, &0u16.to_be_bytes()).attr(5 | BIG_ENDIAN, &u16::MAX.to_be_bytes())
                }
                _ => r,
            });
        self.socket.request(&format!("making ipset {}", set.name), request, &mut |_| {})?;
        for member in set.members.iter().flatten() {
            self.add(&set.name, member)?;
        }
        Ok(())
    }

    /// Adds a member to a set. For tests and demos in namespaces of their own (feature `write`).
    pub fn add(&mut self, set: &str, member: &Member) -> Result<()> {
        let request = Request::nfnetlink(SUBSYSTEM, ADD, 0, 0)
            .attr(1, &[PROTOCOL])
            .attr_str(2, set)
            .nest(7, |r| put_member(r, member));
        self.socket.request(&format!("adding {member} to ipset {set}"), request, &mut |_| {})
    }
}

/// A revision that kernels since 3.18 have, and that the tool knows, which refuses the first ones (`IPSET_TYPE_REV_MAX` in
/// `net/netfilter/ipset/ip_set_*.c`: the one of "skbinfo support").
fn revision(kind: &str) -> u8 {
    match kind {
        "bitmap:port" => 3,
        "hash:ip" => 4,
        "hash:ip,port,net" => 7,
        _ => 5,
    }
}

fn put_member(mut r: Request, m: &Member) -> Request {
    let address = |r: Request, kind: u16, a: IpAddr| {
        let version = if a.is_ipv4() { 1 } else { 2 };
        r.nest(kind, |r| r.attr(version | BIG_ENDIAN, &octets(a)))
    };
    if let Some(a) = m.address {
        r = address(r, 1, a);
    }
    if let Some(prefix) = m.prefix {
        r = r.attr(3, &[prefix]);
    }
    if let Some(port) = m.port {
        r = r.attr(4 | BIG_ENDIAN, &port.to_be_bytes());
    }
    if let Some(protocol) = m.protocol {
        r = r.attr(7, &[protocol]);
    }
    if let Some(a) = m.address2 {
        r = address(r, 20, a);
    }
    if let Some(prefix) = m.prefix2 {
        r = r.attr(21, &[prefix]);
    }
    r
}
