//! The kernel's drop monitor by generic netlink (`linux/net_dropmon.h`, `net/core/drop_monitor.c`, family `NET_DM`): every packet
//! that the kernel drops, with the place in its code and, since 5.17, the reason.
//!
//! It belongs to the whole machine, whatever network namespace drops, and only the machine's own namespace may switch it.

use super::generic::find_family;
use super::netlink::{NETLINK_GENERIC, Request, Socket, attrs, host_uint, text};
use super::notices::Listener;
use super::{Error, ErrorKind, Result, linux};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// `NET_DM_GRP_ALERT`'s name, and the family's.
const FAMILY: &str = "NET_DM";
const GROUP: &str = "events";
/// `net_drop_monitor_family.version`
const VERSION: u8 = 2;

// enum in linux/net_dropmon.h: commands.
const CMD_CONFIG: u8 = 2;
const CMD_START: u8 = 3;
const CMD_STOP: u8 = 4;
const CMD_PACKET_ALERT: u8 = 5;
const CMD_CONFIG_GET: u8 = 6;
const CMD_STATS_GET: u8 = 8;

// enum net_dm_attr
const ATTR_ALERT_MODE: u16 = 1;
const ATTR_PC: u16 = 2;
const ATTR_SYMBOL: u16 = 3;
const ATTR_IN_PORT: u16 = 4;
const ATTR_PROTO: u16 = 6;
const ATTR_PAYLOAD: u16 = 7;
const ATTR_TRUNC_LEN: u16 = 9;
const ATTR_ORIG_LEN: u16 = 10;
const ATTR_QUEUE_LEN: u16 = 11;
const ATTR_STATS: u16 = 12;
const ATTR_SW_DROPS: u16 = 20;
const ATTR_REASON: u16 = 23;

/// `NET_DM_ALERT_MODE_PACKET`
const MODE_PACKET: u8 = 1;

/// Bytes of each packet that are reported: enough for the headers of IPv6 and TCP behind Ethernet's.
const TRUNCATE: u32 = 128;
/// Packets that each CPU keeps until they are reported.
const QUEUE: u32 = 10_000;
/// Room in the socket.
const ROOM: usize = 16 * 1024 * 1024;

/// A packet that the kernel dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Why, as `enum skb_drop_reason` names it; `None` on kernels before 5.17.
    pub reason: Option<String>,
    /// Where in the kernel's code: `nf_hook_slow+0x71/0x10b`.
    pub symbol: Option<String>,
    /// The same as an address.
    pub pc: Option<u64>,
    /// The interface by which it came in.
    pub interface: Option<String>,
    /// Its length on the wire.
    pub length: Option<u32>,
    /// Its addresses and ports; `None` where it is no IP packet, or was not reported.
    pub packet: Option<Header>,
}

/// The headers of an IP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Sender.
    pub source: IpAddr,
    /// Receiver.
    pub destination: IpAddr,
    /// IP protocol number.
    pub protocol: u8,
    /// Ports of sender and receiver, where the protocol has them and they were reported.
    pub ports: Option<(u16, u16)>,
    /// Flags of TCP.
    pub tcp_flags: Option<u8>,
}

/// What the monitor was set to before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Config {
    mode: Option<u8>,
    truncate: Option<u32>,
    queue: Option<u32>,
}

/// The monitor, switched on. Dropping it switches it off and sets it as it was.
#[derive(Debug)]
pub struct DropMonitor {
    family: u16,
    control: Socket,
    listener: Listener,
    before: Config,
    /// False where another program had switched it on, and it is theirs to switch off.
    own: bool,
}

impl DropMonitor {
    /// Switches it on, in packet mode. A user else's monitor is listened to as it is. To be called in the machine's own
    /// network namespace.
    pub fn start() -> Result<DropMonitor> {
        let what = "the drop monitor";
        let family = find_family(what, FAMILY)?.ok_or_else(|| match is_machines_own() {
            true => Error::missing(
                what,
                "the kernel has none, or its module drop_monitor is not loaded",
                Some("modprobe drop_monitor"),
            ),
            false => Error::missing(
                what,
                "it is there in the machine's own network namespace only, and this is another",
                Some("run kptop outside, and look into this namespace with --netns"),
            ),
        })?;
        let group = family.groups.iter().find(|g| g.0 == GROUP).map(|g| g.1);
        let group = group.ok_or_else(|| Error::protocol(what, "it has no group of events"))?;
        let mut control = Socket::open(NETLINK_GENERIC)?;
        let before = config(&mut control, family.id)?;
        // Listening before it is on: nothing is missed.
        let listener = Listener::join(NETLINK_GENERIC, &[group], ROOM).map_err(|e| match e.kind {
            // See `privileges::MONITORING`; older kernels ask for nothing here.
            ErrorKind::Permission { .. } => {
                Error { kind: ErrorKind::Permission { needs: "CAP_SYS_ADMIN" }, ..e }
            }
            _ => e,
        })?;
        let set = Request::generic(family.id, CMD_CONFIG, VERSION, 0)
            .attr(ATTR_ALERT_MODE, &[MODE_PACKET])
            .attr_u32(ATTR_TRUNC_LEN, TRUNCATE)
            .attr_u32(ATTR_QUEUE_LEN, QUEUE);
        let mut own = true;
        match control.request("setting up the drop monitor", set, &mut |_| {}) {
            Ok(()) => {}
            // It is active, and cannot be changed then.
            Err(e) if e.errno() == Some(linux::EBUSY) => own = false,
            Err(e) => return Err(e),
        }
        let mut monitor = DropMonitor { family: family.id, control, listener, before, own };
        if monitor.own {
            let start = monitor.switch(CMD_START);
            match monitor.control.request("switching the drop monitor on", start, &mut |_| {}) {
                Ok(()) => {}
                Err(e) if e.errno() == Some(linux::EAGAIN) => monitor.own = false,
                Err(e) => {
                    monitor.reset();
                    monitor.own = false;
                    return Err(e);
                }
            }
        }
        Ok(monitor)
    }

    /// How it was set before, for [`switch_off`].
    pub fn before(&self) -> String {
        let Config { mode, truncate, queue } = self.before;
        let text = |n: Option<u32>| n.map_or(String::new(), |n| n.to_string());
        format!("{},{},{}", text(mode.map(u32::from)), text(truncate), text(queue))
    }

    /// True where another program had switched it on.
    pub fn is_shared(&self) -> bool {
        !self.own
    }

    /// Waits until something came; `false` where nothing did in that time.
    pub fn wait(&self, time: Duration) -> Result<bool> {
        self.listener.wait(time)
    }

    /// Takes what came.
    pub fn receive(&mut self, each: &mut dyn FnMut(Dropped)) -> Result<()> {
        let family = self.family;
        self.listener.receive(&mut |m| {
            if m.kind == family
                && let Some(dropped) = parse(m.payload)
            {
                each(dropped);
            }
        })
    }

    /// Dropped packets that were not reported: the kernel's queues or the socket's were full.
    pub fn lost(&mut self) -> u64 {
        let mut lost = self.listener.lost();
        let ask = Request::generic(self.family, CMD_STATS_GET, VERSION, 0);
        // NET_DM_ATTR_STATS { NET_DM_ATTR_STATS_DROPPED 0 }
        let _ = self.control.request("asking the drop monitor for its losses", ask, &mut |m| {
            let stats = attrs(m.payload.get(4..).unwrap_or(&[])).find(|a| a.0 == ATTR_STATS);
            let dropped = stats.and_then(|s| attrs(s.1).find(|a| a.0 == 0));
            lost += dropped.and_then(|d| host_uint(d.1)).unwrap_or(0);
        });
        lost
    }

    fn switch(&self, command: u8) -> Request {
        // NET_DM_ATTR_SW_DROPS: drops of the kernel, not those of devices.
        Request::generic(self.family, command, VERSION, 0).attr(ATTR_SW_DROPS, &[])
    }

    /// Sets it as it was before.
    fn reset(&mut self) {
        let mut set = Request::generic(self.family, CMD_CONFIG, VERSION, 0);
        if let Some(mode) = self.before.mode {
            set = set.attr(ATTR_ALERT_MODE, &[mode]);
        }
        if let Some(n) = self.before.truncate {
            set = set.attr_u32(ATTR_TRUNC_LEN, n);
        }
        if let Some(n) = self.before.queue {
            set = set.attr_u32(ATTR_QUEUE_LEN, n);
        }
        let _ = self.control.request("setting the drop monitor as it was", set, &mut |_| {});
    }
}

impl Drop for DropMonitor {
    fn drop(&mut self) {
        if self.own {
            let stop = self.switch(CMD_STOP);
            let _ = self.control.request("switching the drop monitor off", stop, &mut |_| {});
            self.reset();
        }
    }
}

/// True where the calling thread is in the network namespace of the machine's first process.
fn is_machines_own() -> bool {
    let of = |who: &str| std::fs::read_link(format!("/proc/{who}/ns/net"));
    matches!((of("1"), of("thread-self")), (Ok(a), Ok(b)) if a == b) || of("1").is_err()
}

/// Switches it off and sets it as it was, for a process that was killed and could not.
pub fn switch_off(before: &str) -> Result<()> {
    let what = "the drop monitor";
    let family = find_family(what, FAMILY)?.ok_or_else(|| Error::missing(what, "not there", None))?;
    let mut control = Socket::open(NETLINK_GENERIC)?;
    let stop = Request::generic(family.id, CMD_STOP, VERSION, 0).attr(ATTR_SW_DROPS, &[]);
    let stopped = control.request("switching the drop monitor off", stop, &mut |_| {});
    let mut set = Request::generic(family.id, CMD_CONFIG, VERSION, 0);
    let mut numbers = before.split(',').map(|n| n.parse::<u32>().ok());
    let mut next = || numbers.next().flatten();
    if let Some(mode) = next() {
        set = set.attr(ATTR_ALERT_MODE, &[mode as u8]);
    }
    if let Some(n) = next() {
        set = set.attr_u32(ATTR_TRUNC_LEN, n);
    }
    if let Some(n) = next() {
        set = set.attr_u32(ATTR_QUEUE_LEN, n);
    }
    control.request("setting the drop monitor as it was", set, &mut |_| {})?;
    stopped
}

/// True where the monitor is on: a setting is refused then. For tests.
pub fn is_on() -> Result<bool> {
    let what = "the drop monitor";
    let family = find_family(what, FAMILY)?.ok_or_else(|| Error::missing(what, "not there", None))?;
    let mut control = Socket::open(NETLINK_GENERIC)?;
    let now = config(&mut control, family.id)?;
    let mut set = Request::generic(family.id, CMD_CONFIG, VERSION, 0);
    if let Some(mode) = now.mode {
        set = set.attr(ATTR_ALERT_MODE, &[mode]);
    }
    match control.request(what, set, &mut |_| {}) {
        Ok(()) => Ok(false),
        Err(e) if e.errno() == Some(linux::EBUSY) => Ok(true),
        Err(e) => Err(e),
    }
}

fn config(control: &mut Socket, family: u16) -> Result<Config> {
    let ask = Request::generic(family, CMD_CONFIG_GET, VERSION, 0);
    let mut config = Config::default();
    control.request("asking how the drop monitor is set", ask, &mut |m| {
        for (kind, v) in attrs(m.payload.get(4..).unwrap_or(&[])) {
            match kind {
                ATTR_ALERT_MODE => config.mode = v.first().copied(),
                ATTR_TRUNC_LEN => config.truncate = host_uint(v).map(|n| n as u32),
                ATTR_QUEUE_LEN => config.queue = host_uint(v).map(|n| n as u32),
                _ => {}
            }
        }
    })?;
    Ok(config)
}

/// A message behind its netlink header: `struct genlmsghdr`, attributes.
pub(super) fn parse(payload: &[u8]) -> Option<Dropped> {
    if *payload.first()? != CMD_PACKET_ALERT {
        return None;
    }
    let mut d = Dropped::default();
    let (mut proto, mut bytes) = (None, None);
    for (kind, v) in attrs(payload.get(4..)?) {
        match kind {
            ATTR_PC => d.pc = host_uint(v),
            ATTR_SYMBOL => d.symbol = Some(text(v)),
            ATTR_REASON => d.reason = Some(text(v)),
            // NET_DM_ATTR_PORT_NETDEV_NAME 1
            ATTR_IN_PORT => d.interface = attrs(v).find(|a| a.0 == 1).map(|a| text(a.1)),
            ATTR_PROTO => proto = host_uint(v).map(|n| n as u16),
            ATTR_ORIG_LEN => d.length = host_uint(v).map(|n| n as u32),
            ATTR_PAYLOAD => bytes = Some(v),
            _ => {}
        }
    }
    d.packet = bytes.and_then(|b| header(b, proto.unwrap_or(0)));
    Some(d)
}

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

/// Finds the IP header: behind an Ethernet header (with a VLAN tag or without), or at the beginning where the packet was made
/// here and has none yet.
fn header(bytes: &[u8], proto: u16) -> Option<Header> {
    let word = |at: usize| Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?));
    for (ether_type, at) in [(word(12), 14), (word(16), 18)] {
        if let Some(t) = ether_type.filter(|t| [IPV4, IPV6].contains(t) && (proto == 0 || *t == proto)) {
            return ip(bytes.get(at..)?, t);
        }
    }
    ip(bytes, if proto == 0 { if bytes.first()? >> 4 == 6 { IPV6 } else { IPV4 } } else { proto })
}

fn ip(b: &[u8], ether_type: u16) -> Option<Header> {
    let (source, destination, protocol, upper): (IpAddr, IpAddr, u8, &[u8]) = match ether_type {
        IPV4 => {
            let first = *b.first()?;
            let length = usize::from(first & 0xf) * 4;
            if first >> 4 != 4 || length < 20 {
                return None;
            }
            let at = |i: usize| Some(Ipv4Addr::from(*b.get(i..)?.first_chunk::<4>()?));
            // Only the first fragment has ports.
            let first_fragment = u16::from_be_bytes([*b.get(6)?, *b.get(7)?]) & 0x1fff == 0;
            let upper = b.get(length..).filter(|_| first_fragment).unwrap_or(&[]);
            (at(12)?.into(), at(16)?.into(), *b.get(9)?, upper)
        }
        IPV6 => {
            if b.first()? >> 4 != 6 {
                return None;
            }
            let at = |i: usize| Some(Ipv6Addr::from(*b.get(i..)?.first_chunk::<16>()?));
            (at(8)?.into(), at(24)?.into(), *b.get(6)?, b.get(40..).unwrap_or(&[]))
        }
        _ => return None,
    };
    let has_ports = matches!(protocol, 6 | 17 | 132);
    let ports = upper.first_chunk::<4>().filter(|_| has_ports);
    Some(Header {
        source,
        destination,
        protocol,
        ports: ports.map(|p| (u16::from_be_bytes([p[0], p[1]]), u16::from_be_bytes([p[2], p[3]]))),
        tcp_flags: upper.get(13).copied().filter(|_| protocol == 6),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn packets_are_found_with_and_without_an_ethernet_header() {
        let mut packet = vec![0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 96, 0, 10];
        packet.extend([0x10, 0, 0, 53]);
        packet.extend([0; 8]);
        packet.extend([0x50, 0x02, 0, 0]);
        let wanted = Header {
            source: "10.0.0.1".parse().unwrap(),
            destination: "10.96.0.10".parse().unwrap(),
            protocol: 6,
            ports: Some((4096, 53)),
            tcp_flags: Some(2),
        };
        assert_eq!(header(&packet, IPV4), Some(wanted));
        let mut framed = vec![0x45; 12];
        framed.extend([8, 0]);
        framed.extend(&packet);
        assert_eq!(header(&framed, IPV4), Some(wanted));
        assert_eq!(header(&framed[..20], IPV4), None);
        assert_eq!(header(&packet[..20], IPV4).unwrap().ports, None);
    }

    #[test]
    fn alerts_are_read() {
        let message = Request::part()
            .raw(&[CMD_PACKET_ALERT, VERSION, 0, 0])
            .attr(ATTR_PC, &7u64.to_ne_bytes())
            .attr_str(ATTR_SYMBOL, "nf_hook_slow+0x71/0x10b")
            .attr_str(ATTR_REASON, "NETFILTER_DROP")
            .nest(ATTR_IN_PORT, |r| r.attr_u32(0, 3).attr_str(1, "eth0"))
            .attr_u16(ATTR_PROTO, IPV4)
            .attr_u32(ATTR_ORIG_LEN, 60);
        let d = parse(&message.into_bytes()).unwrap();
        assert_eq!(d.reason.as_deref(), Some("NETFILTER_DROP"));
        assert_eq!((d.interface.as_deref(), d.length, d.packet), (Some("eth0"), Some(60), None));
        assert_eq!(parse(&[1, 2, 0, 0]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200), proto in any::<u16>()) {
            let _ = parse(&bytes);
            let _ = header(&bytes, proto);
            let _ = header(&bytes, IPV4);
            let _ = header(&bytes, IPV6);
        }
    }
}
