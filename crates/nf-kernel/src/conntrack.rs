//! Connection tracking by ctnetlink (`linux/netfilter/nfnetlink_conntrack.h`) and its sysctls.

#[cfg(feature = "write")]
mod write;

pub use super::conntrack_stats::{ConntrackStat, Stats};
use super::netlink::{Message, NETLINK_NETFILTER, Request, Socket, attrs, be_uint, nfnetlink_body};
use super::{Error, Result, linux};
use nf_ruleset::{IpFamily, L4Endpoint, octets};
use serde::{Deserialize, Serialize};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// `NFNL_SUBSYS_CTNETLINK`
pub(super) const SUBSYSTEM: u8 = 1;
// enum cntl_msg_types

const MSG_GET: u8 = 1;
const MSG_GET_STATS_CPU: u8 = 4;
// enum ctattr_type
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_STATUS: u16 = 3;
const CTA_PROTOINFO: u16 = 4;
const CTA_TIMEOUT: u16 = 7;
const CTA_COUNTERS_ORIG: u16 = 9;
const CTA_COUNTERS_REPLY: u16 = 10;
const CTA_TIMESTAMP: u16 = 20;
const CTA_FILTER: u16 = 25;

/// `IPS_SEEN_REPLY`: an answer came.
pub const SEEN_REPLY: u32 = 1 << 1;
/// `IPS_ASSURED`: will not be dropped early.
pub const ASSURED: u32 = 1 << 2;

/// One direction of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Tuple {
    /// Sender.
    pub source: IpAddr,
    /// Receiver.
    pub destination: IpAddr,
    /// IP protocol number.
    pub protocol: u8,
    /// Sender's port; 0 where the protocol has none.
    pub source_port: u16,
    /// Receiver's port.
    pub destination_port: u16,
}

/// Packets and bytes of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

/// A conntrack entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    /// As the first packet came.
    pub original: Tuple,
    /// As the answers come: its source is where the flow really goes.
    pub reply: Tuple,
    /// `IPS_*` bits.
    pub status: u32,
    /// `TCP_CONNTRACK_*`, where the flow is TCP: 3 established, 7 time-wait.
    pub tcp_state: Option<u8>,
    /// Seconds until the entry is dropped.
    pub timeout: u32,
    /// What came, and what went back; `None` with accounting off.
    pub traffic: Option<(Traffic, Traffic)>,
    /// When it began, in nanoseconds since 1970; `None` with `nf_conntrack_timestamp` off.
    pub began_ns: Option<u64>,
}

impl Tuple {
    /// Where it goes.
    pub fn to(&self) -> L4Endpoint {
        L4Endpoint::new(self.protocol, self.destination, self.destination_port)
    }
}

impl Flow {
    /// True where the destination was translated.
    pub fn is_dnat(&self) -> bool {
        self.original.destination != self.reply.source
            || self.original.destination_port != self.reply.source_port
    }
}

/// Sysctls of conntrack; all of them can be read without privileges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// `nf_conntrack_count`: entries now.
    pub count: Option<u64>,
    /// `nf_conntrack_max`
    pub max: Option<u64>,
    /// `nf_conntrack_buckets`
    pub buckets: Option<u64>,
    /// `nf_conntrack_acct`: packets and bytes are counted.
    pub accounting: Option<bool>,
    /// `nf_conntrack_timestamp`
    pub timestamps: Option<bool>,
}

/// Reads the sysctls, in the calling thread's namespace. An error where conntrack is not loaded.
pub fn limits() -> Result<Limits> {
    let number = |name: &str| -> Option<u64> {
        fs::read_to_string(format!("/proc/sys/net/netfilter/{name}")).ok()?.trim().parse().ok()
    };
    let limits = Limits {
        count: number("nf_conntrack_count"),
        max: number("nf_conntrack_max"),
        buckets: number("nf_conntrack_buckets"),
        accounting: number("nf_conntrack_acct").map(|n| n != 0),
        timestamps: number("nf_conntrack_timestamp").map(|n| n != 0),
    };
    if limits == Limits::default() && !super::procfs_is_there() {
        return Err(Error::hidden("conntrack", "/proc/sys/net/netfilter/nf_conntrack_count"));
    }
    if limits == Limits::default() {
        return Err(Error::missing(
            "conntrack",
            "the kernel tracks no connections (module nf_conntrack not loaded)",
            None,
        ));
    }
    Ok(limits)
}

/// Statistics of each CPU from procfs, which needs no privileges.
pub fn stats_from_proc() -> Result<Vec<Stats>> {
    let what = "reading conntrack statistics";
    let text =
        fs::read_to_string("/proc/thread-self/net/stat/nf_conntrack").map_err(|e| Error::io(what, e))?;
    parse_proc_stats(&text).ok_or_else(|| Error::protocol(what, "a table without columns"))
}

/// What `/proc/net/stat/nf_conntrack` says of each CPU; `None` where a figure is none.
pub fn parse_proc_stats(text: &str) -> Option<Vec<Stats>> {
    let mut lines = text.lines();
    let columns: Vec<&str> = lines.next()?.split_whitespace().collect();
    let mut cpus = Vec::new();
    for line in lines {
        let mut stats = Stats::default();
        for (column, value) in columns.iter().zip(line.split_whitespace()) {
            let Some(stat) = ConntrackStat::of_column(column) else { continue };
            stats.add(stat, u64::from_str_radix(value, 16).ok()?);
        }
        cpus.push(stats);
    }
    Some(cpus)
}

/// An open way to conntrack in one network namespace.
#[derive(Debug)]
pub struct Client {
    socket: Socket,
}

impl Client {
    /// Opens it in the calling thread's namespace.
    pub fn open() -> Result<Client> {
        Ok(Client { socket: Socket::open(NETLINK_NETFILTER)? })
    }

    /// Statistics of each CPU, in the kernel's order.
    pub fn stats(&mut self) -> Result<Vec<Stats>> {
        let mut cpus = Vec::new();
        let request = Request::nfnetlink(SUBSYSTEM, MSG_GET_STATS_CPU, 0, 0);
        self.socket.dump("reading conntrack statistics", request, &mut |m| {
            let mut stats = Stats::default();
            for (kind, value) in body(m) {
                if let Some(stat) = ConntrackStat::of_attribute(kind) {
                    stats.add(stat, be_uint(value).unwrap_or(0));
                }
            }
            cpus.push(stats);
        })?;
        Ok(cpus)
    }

    /// Streams every flow to `each`; none is kept. A table that changes while it is read is normal: flows may
    /// then be missing or seen twice, as in `conntrack -L`.
    pub fn flows(&mut self, mut each: impl FnMut(&Flow)) -> Result<()> {
        let request = Request::nfnetlink(SUBSYSTEM, MSG_GET, 0, 0);
        self.socket.dump("reading the flows of conntrack", request, &mut |m| {
            if let Some(flow) = parse_flow(m.payload) {
                each(&flow);
            }
        })
    }

    /// The same for the flows that were sent to one address and port, where the kernel leaves the others out by itself
    /// (`CTA_FILTER`, since 5.8); an older one reports all, and others are left out here.
    pub fn flows_to(&mut self, to: L4Endpoint, mut each: impl FnMut(&Flow)) -> Result<()> {
        let L4Endpoint { protocol, address, port } = to;
        let request = Request::nfnetlink(SUBSYSTEM, MSG_GET, 0, address_family(address))
            .nest(CTA_TUPLE_ORIG, |r| {
                r.nest(1, |r| r.attr(if address.is_ipv4() { 2 } else { 4 }, &octets(address)))
                    .nest(2, |r| r.attr(1, &[protocol]).attr(3, &port.to_be_bytes()))
            })
            // CTA_FILTER_ORIG_FLAGS, CTA_FILTER_REPLY_FLAGS: destination, protocol, its port. In host order.
            .nest(CTA_FILTER, |r| r.attr_u32(1, 1 << 1 | 1 << 3 | 1 << 5).attr_u32(2, 0));
        self.socket.dump("reading the flows to an address", request, &mut |m| {
            if let Some(flow) = parse_flow(m.payload).filter(|f| f.original.to() == to) {
                each(&flow);
            }
        })
    }
}

fn address_family(address: IpAddr) -> u8 {
    if address.is_ipv4() { linux::AF_INET as u8 } else { linux::AF_INET6 as u8 }
}

/// Attributes of a nfnetlink message, behind its 4-byte header.
fn body(m: Message<'_>) -> super::netlink::Attrs<'_> {
    attrs(nfnetlink_body(m.payload))
}

pub(super) fn parse_flow(payload: &[u8]) -> Option<Flow> {
    let (mut original, mut reply, mut status, mut timeout) = (None, None, 0, 0);
    let (mut tcp_state, mut sent, mut back, mut began_ns) = (None, None, None, None);
    for (kind, v) in attrs(payload.get(4..)?) {
        match kind {
            CTA_TUPLE_ORIG => original = parse_tuple(v),
            CTA_TUPLE_REPLY => reply = parse_tuple(v),
            CTA_STATUS => status = be_uint(v)? as u32,
            CTA_TIMEOUT => timeout = be_uint(v)? as u32,
            // CTA_PROTOINFO_TCP 1 -> CTA_PROTOINFO_TCP_STATE 1
            CTA_PROTOINFO => {
                tcp_state = attrs(v)
                    .find(|a| a.0 == 1)
                    .and_then(|a| attrs(a.1).find(|b| b.0 == 1))
                    .and_then(|b| b.1.first().copied());
            }
            CTA_COUNTERS_ORIG => sent = Some(parse_traffic(v)),
            CTA_COUNTERS_REPLY => back = Some(parse_traffic(v)),
            // CTA_TIMESTAMP_START 1
            CTA_TIMESTAMP => began_ns = attrs(v).find(|a| a.0 == 1).and_then(|a| be_uint(a.1)),
            _ => {}
        }
    }
    let (original, reply, traffic) = (original?, reply?, sent.zip(back));
    Some(Flow { original, reply, status, tcp_state, timeout, traffic, began_ns })
}

/// `CTA_TUPLE_IP` 1 and `CTA_TUPLE_PROTO` 2.
fn parse_tuple(value: &[u8]) -> Option<Tuple> {
    let (mut source, mut destination, mut protocol, mut sport, mut dport) = (None, None, 0, 0, 0);
    for (kind, v) in attrs(value) {
        match kind {
            1 => {
                for (kind, a) in attrs(v) {
                    match kind {
                        1 => source = Some(Ipv4Addr::from(*a.first_chunk::<4>()?).into()),
                        2 => destination = Some(Ipv4Addr::from(*a.first_chunk::<4>()?).into()),
                        3 => source = Some(Ipv6Addr::from(*a.first_chunk::<16>()?).into()),
                        4 => destination = Some(Ipv6Addr::from(*a.first_chunk::<16>()?).into()),
                        _ => {}
                    }
                }
            }
            2 => {
                for (kind, p) in attrs(v) {
                    match kind {
                        1 => protocol = *p.first()?,
                        2 => sport = be_uint(p)? as u16,
                        3 => dport = be_uint(p)? as u16,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    Some(Tuple {
        source: source?,
        destination: destination?,
        protocol,
        source_port: sport,
        destination_port: dport,
    })
}

/// `CTA_COUNTERS_PACKETS` 1, `CTA_COUNTERS_BYTES` 2.
fn parse_traffic(value: &[u8]) -> Traffic {
    let mut t = Traffic::default();
    for (kind, v) in attrs(value) {
        match kind {
            1 => t.packets = be_uint(v).unwrap_or(0),
            2 => t.bytes = be_uint(v).unwrap_or(0),
            _ => {}
        }
    }
    t
}

impl Flow {
    /// IP family of the flow.
    pub fn family(&self) -> IpFamily {
        IpFamily::of(self.original.destination)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn old_and_new_columns_are_read() {
        // Columns of 5.10 and of 6.1 differ; the test takes what both print for two CPUs.
        let text = "entries  clashres found new invalid ignore delete chainlength insert insert_failed drop early_drop icmp_error  expect_new expect_create expect_delete search_restart\n\
                    0000000a  00000001 00000002 0 00000003 0 0 00000000 00000000 00000004 00000005 00000006 00000007 0 0 0 00000008\n\
                    0000000a  00000001 00000002 0 00000003 0 0 00000000 00000000 00000004 00000005 00000006 00000010 0 0 0 00000008\n";
        let cpus = parse_proc_stats(text).unwrap();
        use ConntrackStat::{ChainTooLong, ClashResolve, Error, Found, SearchRestart};
        assert_eq!((cpus.len(), cpus[1].get(Error)), (2, Some(0x10)));
        let s = Stats::sum(&cpus);
        assert_eq!(s.get(Found), Some(4));
        assert_eq!(s.get(Error), Some(0x17));
        assert_eq!(s.get(ClashResolve), Some(2));
        assert_eq!(s.get(SearchRestart), Some(16));
        assert_eq!(s.get(ChainTooLong), None);
        assert!(parse_proc_stats("").is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..300), text in ".{0,80}") {
            let _ = parse_flow(&bytes);
            let _ = parse_proc_stats(&text);
        }
    }
}
