//! Network interfaces by rtnetlink (`linux/rtnetlink.h`, `linux/if_link.h`): names, kinds, and who is a port of whom.

use super::Result;
use super::netlink::{NETLINK_ROUTE, Request, Socket, attrs, host_uint, text};
use serde::{Deserialize, Serialize};

/// `RTM_GETLINK`
const RTM_GETLINK: u16 = 18;
// enum in linux/if_link.h
const IFLA_IFNAME: u16 = 3;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
/// `IFLA_INFO_KIND`, `IFLA_INFO_DATA`
const INFO_KIND: u16 = 1;
const INFO_DATA: u16 = 2;
/// `IFLA_VXLAN_PORT`, `IFLA_GENEVE_PORT`: in network order.
const VXLAN_PORT: u16 = 15;
const GENEVE_PORT: u16 = 5;

/// An interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Number.
    pub index: u32,
    /// Name.
    pub name: String,
    /// What it is, where it is a virtual one: `bridge`, `dummy`, `veth`.
    pub kind: Option<String>,
    /// Number of the bridge or bond whose port it is.
    pub master: Option<u32>,
    /// `IFF_UP`
    pub up: bool,
    /// UDP port at which a tunnel takes its packets (vxlan, geneve).
    #[serde(default)]
    pub tunnel_port: Option<u16>,
}

/// All interfaces of the calling thread's namespace.
pub fn read() -> Result<Vec<Link>> {
    let mut socket = Socket::open(NETLINK_ROUTE)?;
    let mut links = Vec::new();
    // struct ifinfomsg: family, padding, type, index, flags, change.
    let request = Request::new(RTM_GETLINK, 0).raw(&[0; 16]);
    socket.dump("reading the interfaces", request, &mut |m| links.extend(parse(m.payload)))?;
    Ok(links)
}

pub(super) fn parse(payload: &[u8]) -> Option<Link> {
    let index = u32::from_ne_bytes(*payload.get(4..)?.first_chunk()?);
    let flags = u32::from_ne_bytes(*payload.get(8..)?.first_chunk()?);
    let mut link = Link { index, up: flags & 1 != 0, ..Link::default() };
    for (kind, value) in attrs(payload.get(16..)?) {
        match kind {
            IFLA_IFNAME => link.name = text(value),
            IFLA_MASTER => link.master = host_uint(value).map(|n| n as u32),
            IFLA_LINKINFO => {
                let of = |wanted| attrs(value).find(|a| a.0 == wanted).map(|a| a.1);
                link.kind = of(INFO_KIND).map(text);
                let key = match link.kind.as_deref() {
                    Some("vxlan") => VXLAN_PORT,
                    Some("geneve") => GENEVE_PORT,
                    _ => continue,
                };
                let port = of(INFO_DATA).and_then(|data| attrs(data).find(|a| a.0 == key));
                link.tunnel_port = port.and_then(|a| a.1.first_chunk()).map(|b| u16::from_be_bytes(*b));
            }
            _ => {}
        }
    }
    Some(link)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_there() {
        let links = read().unwrap();
        let lo = links.iter().find(|l| l.name == "lo").unwrap();
        assert_eq!((lo.index, lo.master, lo.kind.as_deref()), (1, None, None));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }
    }
}
