//! IPVS by generic netlink (`linux/ip_vs.h`, family `IPVS`, version 1).

#[cfg(feature = "write")]
mod write;

use super::generic::find_family;
use super::netlink::{Message, NETLINK_GENERIC, Request, Socket, attrs, be_uint, host_uint, retry, text};
use super::{Error, Result, linux};
use nf_ruleset::IpFamily;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// `IPVS_GENL_NAME`, `IPVS_GENL_VERSION`
const FAMILY: &str = "IPVS";
const VERSION: u8 = 1;

// Commands (`enum` after IPVS_CMD_UNSPEC).

const CMD_GET_SERVICE: u8 = 4;

const CMD_GET_DEST: u8 = 8;
const CMD_GET_CONFIG: u8 = 13;
const CMD_GET_INFO: u8 = 15;

// Attributes of a command.
const ATTR_SERVICE: u16 = 1;
const ATTR_DEST: u16 = 2;

/// `IP_VS_SVC_F_PERSISTENT`
pub const SVC_PERSISTENT: u32 = 0x1;
/// `IP_VS_SVC_F_ONEPACKET`
pub const SVC_ONE_PACKET: u32 = 0x4;

/// What IPVS has counted, and its own estimate of the rates (2-second ticks, decaying average).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpvsStats {
    /// Connections scheduled.
    pub connections: u64,
    /// Packets towards the real server.
    pub in_packets: u64,
    /// Packets back.
    pub out_packets: u64,
    /// Bytes towards the real server, IP header included.
    pub in_bytes: u64,
    /// Bytes back.
    pub out_bytes: u64,
    /// Connections a second, as the kernel estimates.
    pub connections_per_s: u64,
    /// Packets in a second.
    pub in_packets_per_s: u64,
    /// Packets out a second.
    pub out_packets_per_s: u64,
    /// Bytes in a second.
    pub in_bytes_per_s: u64,
    /// Bytes out a second.
    pub out_bytes_per_s: u64,
}

/// What a virtual server listens to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum VirtualAddress {
    /// Protocol (IP number), address and port; port 0 takes all.
    Socket {
        /// IP protocol number.
        protocol: u16,
        /// Address.
        address: IpAddr,
        /// Port.
        port: u16,
    },
    /// Packets with this firewall mark.
    Mark(u32),
}

/// How packets reach a real server (`IP_VS_CONN_F_FWD_MASK`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Forwarding {
    /// `-m`: NAT, the only one that kube-proxy uses.
    Masquerade,
    /// Delivered here.
    Local,
    /// `-i`
    Tunnel,
    /// `-g`
    DirectRoute,
    /// To the address that the packet had.
    Bypass,
    /// Anything else.
    Other(u32),
}

impl Forwarding {
    fn from_bits(bits: u32) -> Forwarding {
        match bits & 7 {
            0 => Forwarding::Masquerade,
            1 => Forwarding::Local,
            2 => Forwarding::Tunnel,
            3 => Forwarding::DirectRoute,
            4 => Forwarding::Bypass,
            n => Forwarding::Other(n),
        }
    }
}

/// A virtual server with its real servers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VirtualServer {
    /// IP family.
    pub family: IpFamily,
    /// Where it is reached.
    pub address: VirtualAddress,
    /// Scheduler: `rr`, `wlc`, …
    pub scheduler: String,
    /// `IP_VS_SVC_F_*` bits; `HASHED` (2) is always set in the kernel.
    pub flags: u32,
    /// Persistence in seconds, meaningful with [`SVC_PERSISTENT`].
    pub timeout: u32,
    /// Granularity of persistence: a mask (IPv4, as address) or a prefix length (IPv6).
    pub netmask: u32,
    /// Persistence engine, where one is set (`sip`).
    pub persistence_engine: Option<String>,
    /// Figures.
    pub stats: IpvsStats,
    /// Real servers.
    pub real_servers: Vec<RealServer>,
}

/// A real server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RealServer {
    /// Address; its family may differ from the virtual server's (tunnels).
    pub address: IpAddr,
    /// Port.
    pub port: u16,
    /// How packets get there.
    pub forwarding: Forwarding,
    /// Weight; 0 takes no new connections.
    pub weight: u32,
    /// Upper limit of connections, 0 for none.
    pub upper_threshold: u32,
    /// Lower limit.
    pub lower_threshold: u32,
    /// Connections in an active state.
    pub active: u32,
    /// Connections in other states.
    pub inactive: u32,
    /// Persistence templates.
    pub persistent: u32,
    /// Figures.
    pub stats: IpvsStats,
}

impl RealServer {
    /// One with masquerading, as kube-proxy adds them; without limits, connections or figures.
    pub fn new(address: IpAddr, port: u16, weight: u32) -> RealServer {
        RealServer {
            address,
            port,
            forwarding: Forwarding::Masquerade,
            weight,
            upper_threshold: 0,
            lower_threshold: 0,
            active: 0,
            inactive: 0,
            persistent: 0,
            stats: IpvsStats::default(),
        }
    }
}

/// Timeouts of idle connections in seconds (`ipvsadm -L --timeout`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeouts {
    /// TCP.
    pub tcp: u32,
    /// TCP after FIN.
    pub tcp_fin: u32,
    /// UDP.
    pub udp: u32,
}

/// Everything that IPVS says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ipvs {
    /// `1.2.1`
    pub version: String,
    /// Buckets of the connection table.
    pub connection_table_size: u32,
    /// Timeouts.
    pub timeouts: Timeouts,
    /// True where nobody reported what was counted: a dump without statistics.
    #[serde(default)]
    pub uncounted: bool,
    /// True where nobody reported weights, connections and forwarding of real servers: statistics alone.
    #[serde(default)]
    pub unweighted: bool,
    /// Virtual servers in the kernel's order.
    pub servers: Vec<VirtualServer>,
}

/// The version of IPVS in this kernel; `None` where it has none.
pub fn version() -> Option<String> {
    let mut client = Client::open().ok()?;
    let info = client.generic(CMD_GET_INFO);
    let mut found = None;
    client
        .socket
        .request("reading the IPVS version", info, &mut |m| {
            for (_, value) in body(m).filter(|a| a.0 == 1) {
                found = Some(version_text(host_uint(value).unwrap_or(0) as u32));
            }
        })
        .ok()?;
    found
}

/// An open way to IPVS in one network namespace.
#[derive(Debug)]
pub struct Client {
    socket: Socket,
    family: u16,
}

impl Client {
    /// Opens IPVS in the calling thread's namespace.
    ///
    /// The family's number is looked for in the list of those that are there: asking for it by name would
    /// make the kernel load a module.
    pub fn open() -> Result<Client> {
        let what = "opening IPVS";
        let found = find_family(what, FAMILY)?.ok_or_else(|| {
            Error::missing(
                "IPVS",
                "the kernel has no IPVS (module ip_vs not loaded)",
                Some("modprobe ip_vs, where this node is meant to use IPVS"),
            )
        })?;
        Ok(Client { socket: Socket::open(NETLINK_GENERIC)?, family: found.id })
    }

    /// Reads everything.
    pub fn read(&mut self) -> Result<Ipvs> {
        let mut ipvs = Ipvs::default();
        let info = self.generic(CMD_GET_INFO);
        self.socket.request("reading the IPVS version", info, &mut |m| {
            for (kind, value) in body(m) {
                match kind {
                    1 => ipvs.version = version_text(host_uint(value).unwrap_or(0) as u32),
                    2 => ipvs.connection_table_size = host_uint(value).unwrap_or(0) as u32,
                    _ => {}
                }
            }
        })?;
        let config = self.generic(CMD_GET_CONFIG);
        self.socket.request("reading the IPVS timeouts", config, &mut |m| {
            for (kind, value) in body(m) {
                let number = host_uint(value).unwrap_or(0) as u32;
                match kind {
                    4 => ipvs.timeouts.tcp = number,
                    5 => ipvs.timeouts.tcp_fin = number,
                    6 => ipvs.timeouts.udp = number,
                    _ => {}
                }
            }
        })?;
        ipvs.servers = retry(|| self.servers())?;
        Ok(ipvs)
    }

    fn servers(&mut self) -> Result<Vec<VirtualServer>> {
        let mut servers = Vec::new();
        let request = self.generic(CMD_GET_SERVICE);
        self.socket.dump("reading the IPVS services", request, &mut |m| {
            servers.extend(body(m).filter(|a| a.0 == ATTR_SERVICE).filter_map(|a| parse_service(a.1)));
        })?;
        for server in &mut servers {
            let request = self.generic(CMD_GET_DEST);
            let request = service_attr(request, server, false);
            let mut found = Vec::new();
            let family = server.family;
            match self.socket.dump("reading IPVS real servers", request, &mut |m| {
                found.extend(body(m).filter(|a| a.0 == ATTR_DEST).filter_map(|a| parse_dest(a.1, family)));
            }) {
                Ok(()) => server.real_servers = found,
                // Gone since the list was made.
                Err(e) if matches!(e.errno(), Some(linux::ESRCH | linux::ENOENT)) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(servers)
    }

    fn generic(&self, command: u8) -> Request {
        Request::generic(self.family, command, VERSION, 0)
    }
}

/// Attributes of a generic netlink message, behind its 4-byte header.
fn body(m: Message<'_>) -> super::netlink::Attrs<'_> {
    attrs(m.payload.get(4..).unwrap_or(&[]))
}

fn version_text(v: u32) -> String {
    format!("{}.{}.{}", v >> 16 & 0xff, v >> 8 & 0xff, v & 0xff)
}

fn address_family(family: IpFamily) -> u16 {
    match family {
        IpFamily::V4 => linux::AF_INET as u16,
        IpFamily::V6 => linux::AF_INET6 as u16,
    }
}

/// An address as `union nf_inet_addr`: 16 bytes.
fn address_bytes(addr: IpAddr) -> [u8; 16] {
    match addr {
        IpAddr::V4(a) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&a.octets());
            bytes
        }
        IpAddr::V6(a) => a.octets(),
    }
}

fn parse_address(value: &[u8], family: IpFamily) -> Option<IpAddr> {
    Some(match family {
        IpFamily::V4 => Ipv4Addr::from(*value.first_chunk::<4>()?).into(),
        IpFamily::V6 => Ipv6Addr::from(*value.first_chunk::<16>()?).into(),
    })
}

/// The attributes that name a service, or (with `full`) make one.
fn service_attr(request: Request, server: &VirtualServer, full: bool) -> Request {
    request.nest(ATTR_SERVICE, |r| {
        let r = r.attr_u16(1, address_family(server.family));
        let r = match server.address {
            VirtualAddress::Socket { protocol, address, port } => {
                r.attr_u16(2, protocol).attr(3, &address_bytes(address)).attr(4, &port.to_be_bytes())
            }
            VirtualAddress::Mark(mark) => r.attr_u32(5, mark),
        };
        if !full {
            return r;
        }
        let mut flags = server.flags.to_ne_bytes().to_vec();
        flags.extend_from_slice(&u32::MAX.to_ne_bytes());
        let r = r
            .attr_str(6, &server.scheduler)
            .attr(7, &flags)
            .attr_u32(8, server.timeout)
            .attr_u32(9, server.netmask);
        match &server.persistence_engine {
            Some(pe) => r.attr_str(11, pe),
            None => r,
        }
    })
}

pub(super) fn parse_service(value: &[u8]) -> Option<VirtualServer> {
    let (mut family, mut protocol, mut addr, mut port, mut mark) = (None, 0u16, None, 0u16, None);
    let (mut scheduler, mut flags, mut timeout, mut netmask) = (String::new(), 0u32, 0u32, 0u32);
    let (mut pe, mut stats, mut stats64) = (None, None, None);
    for (kind, v) in attrs(value) {
        match kind {
            1 => family = parse_family(v),
            2 => protocol = host_uint(v)? as u16,
            3 => addr = Some(v),
            4 => port = be_uint(v)? as u16,
            5 => mark = Some(host_uint(v)? as u32),
            6 => scheduler = text(v),
            7 => flags = u32::from_ne_bytes(*v.first_chunk::<4>()?),
            8 => timeout = host_uint(v)? as u32,
            9 => netmask = host_uint(v)? as u32,
            10 => stats = Some(parse_stats(v)),
            11 => pe = Some(text(v)),
            12 => stats64 = Some(parse_stats(v)),
            _ => {}
        }
    }
    let family = family?;
    let address = match (mark, addr) {
        (Some(mark), _) => VirtualAddress::Mark(mark),
        (None, Some(a)) => VirtualAddress::Socket { protocol, address: parse_address(a, family)?, port },
        (None, None) => return None,
    };
    Some(VirtualServer {
        family,
        address,
        scheduler,
        flags,
        timeout,
        netmask,
        persistence_engine: pe,
        stats: stats64.or(stats).unwrap_or_default(),
        real_servers: Vec::new(),
    })
}

fn parse_family(v: &[u8]) -> Option<IpFamily> {
    match host_uint(v)? as i32 {
        linux::AF_INET => Some(IpFamily::V4),
        linux::AF_INET6 => Some(IpFamily::V6),
        _ => None,
    }
}

pub(super) fn parse_dest(value: &[u8], family: IpFamily) -> Option<RealServer> {
    let (mut own_family, mut addr, mut stats, mut stats64) = (family, None, None, None);
    let mut real = RealServer::new(Ipv4Addr::UNSPECIFIED.into(), 0, 0);
    for (kind, v) in attrs(value) {
        let number = || host_uint(v).unwrap_or(0) as u32;
        match kind {
            1 => addr = Some(v),
            2 => real.port = be_uint(v)? as u16,
            3 => real.forwarding = Forwarding::from_bits(number()),
            4 => real.weight = number(),
            5 => real.upper_threshold = number(),
            6 => real.lower_threshold = number(),
            7 => real.active = number(),
            8 => real.inactive = number(),
            9 => real.persistent = number(),
            10 => stats = Some(parse_stats(v)),
            11 => own_family = parse_family(v)?,
            12 => stats64 = Some(parse_stats(v)),
            _ => {}
        }
    }
    real.address = parse_address(addr?, own_family)?;
    real.stats = stats64.or(stats).unwrap_or_default();
    Some(real)
}

/// `IPVS_STATS_ATTR_*`: 32 or 64 bits wide, the same numbers.
fn parse_stats(value: &[u8]) -> IpvsStats {
    let mut s = IpvsStats::default();
    for (kind, v) in attrs(value) {
        let number = host_uint(v).unwrap_or(0);
        match kind {
            1 => s.connections = number,
            2 => s.in_packets = number,
            3 => s.out_packets = number,
            4 => s.in_bytes = number,
            5 => s.out_bytes = number,
            6 => s.connections_per_s = number,
            7 => s.in_packets_per_s = number,
            8 => s.out_packets_per_s = number,
            9 => s.in_bytes_per_s = number,
            10 => s.out_bytes_per_s = number,
            _ => {}
        }
    }
    s
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse_service(&bytes);
            let _ = parse_dest(&bytes, IpFamily::V6);
        }
    }
}
