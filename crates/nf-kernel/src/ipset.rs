//! ipset by nfnetlink: sets that rules of x_tables look into (`linux/netfilter/ipset/ip_set.h`).

#[cfg(feature = "write")]
mod write;

use super::netlink::{
    Message, NETLINK_NETFILTER, Request, Socket, attrs, be_uint, nfnetlink_body, retry, str_of,
};
use super::{Result, linux, module};
use nf_ruleset::{self, Counter, IpFamily};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// `NFNL_SUBSYS_IPSET` (`linux/netfilter/nfnetlink.h`)
const SUBSYSTEM: u8 = 6;
/// `IPSET_CMD_LIST`
const LIST: u8 = 7;
/// `IPSET_PROTOCOL_MIN`: what every kernel since 2.6.39 speaks.
const PROTOCOL: u8 = 6;
/// `IPSET_FLAG_LIST_HEADER`: sets without their members.
const LIST_HEADER: u32 = 1 << 2;

/// A set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ipset {
    /// Its name.
    pub name: String,
    /// `hash:ip,port` and so on.
    pub kind: String,
    /// Address family: 2 IPv4, 10 IPv6, 0 none (`NFPROTO_*`).
    pub family: u8,
    /// How many members it holds.
    pub size: u64,
    /// How many may be in it, where it is bounded.
    pub max_size: Option<u64>,
    /// How many rules and sets look into it.
    pub references: u64,
    /// Bytes in the kernel.
    pub memory: u64,
    /// Lifetime of a member in seconds, where members end by themselves.
    pub timeout_s: Option<u32>,
    /// Its members; `None` where only its header was read.
    pub members: Option<Vec<Member>>,
}

/// A member of a set; what its kind does not have is `None`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// First address.
    pub address: Option<IpAddr>,
    /// Its prefix, where it is a network; the whole length otherwise.
    pub prefix: Option<u8>,
    /// IP protocol number.
    pub protocol: Option<u8>,
    /// Port.
    pub port: Option<u16>,
    /// Second address.
    pub address2: Option<IpAddr>,
    /// Its prefix.
    pub prefix2: Option<u8>,
    /// True where the set holds everything but this.
    pub except: bool,
    /// What it has counted, in a set with counters.
    pub counter: Option<Counter>,
    /// Seconds that are left to it.
    pub timeout_s: Option<u32>,
    /// Attributes that kptop does not know: number and value.
    pub other: Vec<(u16, Box<[u8]>)>,
}

/// Reads ipsets of the namespace in which it was opened.
#[derive(Debug)]
pub struct Client {
    socket: Socket,
}

const WHAT: &str = "reading ipsets";

impl Client {
    /// Opens a socket. Fails where the kernel has no ipset, without making it load the module.
    pub fn open() -> Result<Client> {
        module::need("ip_set", WHAT, "the kernel has no ipset (module ip_set not loaded)", None)?;
        Ok(Client { socket: Socket::open(NETLINK_NETFILTER)? })
    }

    /// All sets, without their members.
    pub fn headers(&mut self) -> Result<Vec<Ipset>> {
        let mut sets = self.list(None)?;
        sets.iter_mut().for_each(|s| s.members = None);
        Ok(sets)
    }

    /// All sets; with their members where `wanted` says so. The kernel is asked for those sets alone.
    pub fn read(&mut self, wanted: impl Fn(&Ipset) -> bool) -> Result<Vec<Ipset>> {
        let mut sets = self.headers()?;
        for set in &mut sets {
            if !wanted(set) {
                continue;
            }
            match self.list(Some(&set.name)) {
                Ok(mut full) if full.len() == 1 => *set = full.remove(0),
                Ok(_) => {}
                // Gone between both questions.
                Err(e) if e.errno() == Some(linux::ENOENT) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(sets)
    }

    fn list(&mut self, name: Option<&str>) -> Result<Vec<Ipset>> {
        retry(|| {
            let mut request = Request::nfnetlink(SUBSYSTEM, LIST, 0, 0).attr(1, &[PROTOCOL]);
            request = match name {
                Some(name) => request.attr_str(2, name),
                None => request.attr(6, &LIST_HEADER.to_be_bytes()),
            };
            let mut sets: Vec<Ipset> = Vec::new();
            self.socket.dump(WHAT, request, &mut |m: Message<'_>| {
                parse(nfnetlink_body(m.payload), &mut sets);
            })?;
            Ok(sets)
        })
    }
}

/// A message about a set; members of a large one come in several.
pub(super) fn parse(bytes: &[u8], sets: &mut Vec<Ipset>) {
    let (mut name, mut kind, mut family, mut data, mut members) = ("", None, 0, &[][..], None);
    for (k, v) in attrs(bytes) {
        match k {
            2 => name = str_of(v).unwrap_or("?"),
            3 => kind = str_of(v),
            5 => family = v.first().copied().unwrap_or(0),
            7 => data = v,
            8 => members = Some(v),
            _ => {}
        }
    }
    if sets.last().is_none_or(|s| s.name != name) {
        sets.push(Ipset { name: name.into(), ..Ipset::default() });
    }
    let Some(set) = sets.last_mut() else { return };
    if let Some(kind) = kind {
        set.kind = kind.into();
        set.family = family;
    }
    for (k, v) in attrs(data) {
        let number = be_uint(v);
        match k {
            6 => set.timeout_s = number.map(|n| n as u32),
            19 => set.max_size = number,
            24 => set.size = number.unwrap_or(0),
            25 => set.references = number.unwrap_or(0),
            26 => set.memory = number.unwrap_or(0),
            _ => {}
        }
    }
    let list = set.members.get_or_insert_default();
    if let Some(all) = members {
        list.extend(attrs(all).filter(|a| a.0 == 7).map(|(_, m)| member(m)));
    }
}

/// An address inside `IPSET_ATTR_IP`: 1 IPv4, 2 IPv6.
fn address(v: &[u8]) -> Option<IpAddr> {
    attrs(v).find_map(|(k, v)| match k {
        1 => nf_ruleset::address(IpFamily::V4, v),
        2 => nf_ruleset::address(IpFamily::V6, v),
        _ => None,
    })
}

fn member(bytes: &[u8]) -> Member {
    let mut m = Member::default();
    for (k, v) in attrs(bytes) {
        let number = || be_uint(v).unwrap_or(0);
        match k {
            1 => m.address = address(v),
            3 => m.prefix = v.first().copied(),
            4 => m.port = Some(number() as u16),
            6 => m.timeout_s = Some(number() as u32),
            7 => m.protocol = v.first().copied(),
            // IPSET_FLAG_NOMATCH
            8 => m.except = number() & (1 << 2) != 0,
            20 => m.address2 = address(v),
            21 => m.prefix2 = v.first().copied(),
            24 => m.counter.get_or_insert_default().bytes = number(),
            25 => m.counter.get_or_insert_default().packets = number(),
            9 => {} // the line of a restore
            other => m.other.push((other, v.into())),
        }
    }
    m
}

/// In [`Member::other`]: the whole member as a tool printed it, where it was not understood.
pub const AS_TEXT: u16 = u16::MAX;

/// Names of ICMP's types and codes, as ipset prints them (`lib/ipset_parse.c`, `icmp_typecodes` and `icmpv6_typecodes` of
/// ipset 7.17): type, code, name.
const ICMP: &[(u8, u8, &str)] = &[
    (0, 0, "echo-reply"),
    (3, 0, "network-unreachable"),
    (3, 1, "host-unreachable"),
    (3, 2, "protocol-unreachable"),
    (3, 3, "port-unreachable"),
    (3, 4, "fragmentation-needed"),
    (3, 5, "source-route-failed"),
    (3, 6, "network-unknown"),
    (3, 7, "host-unknown"),
    (3, 9, "network-prohibited"),
    (3, 10, "host-prohibited"),
    (3, 11, "TOS-network-unreachable"),
    (3, 12, "TOS-host-unreachable"),
    (3, 13, "communication-prohibited"),
    (3, 14, "host-precedence-violation"),
    (3, 15, "precedence-cutoff"),
    (4, 0, "source-quench"),
    (5, 0, "network-redirect"),
    (5, 1, "host-redirect"),
    (5, 2, "TOS-network-redirect"),
    (5, 3, "TOS-host-redirect"),
    (8, 0, "echo-request"),
    (9, 0, "router-advertisement"),
    (10, 0, "router-solicitation"),
    (11, 0, "ttl-zero-during-transit"),
    (11, 1, "ttl-zero-during-reassembly"),
    (12, 0, "ip-header-bad"),
    (12, 1, "required-option-missing"),
    (13, 0, "timestamp-request"),
    (14, 0, "timestamp-reply"),
    (17, 0, "address-mask-request"),
    (18, 0, "address-mask-reply"),
];
const ICMP6: &[(u8, u8, &str)] = &[
    (1, 0, "no-route"),
    (1, 1, "communication-prohibited"),
    (1, 3, "address-unreachable"),
    (1, 4, "port-unreachable"),
    (2, 0, "packet-too-big"),
    (3, 0, "ttl-zero-during-transit"),
    (3, 1, "ttl-zero-during-reassembly"),
    (4, 0, "bad-header"),
    (4, 1, "unknown-header-type"),
    (4, 2, "unknown-option"),
    (128, 0, "echo-request"),
    (129, 0, "echo-reply"),
    (133, 0, "router-solicitation"),
    (134, 0, "router-advertisement"),
    (135, 0, "neighbour-solicitation"),
    (136, 0, "neighbour-advertisement"),
    (137, 0, "redirect"),
];

fn icmp_names(protocol: u8) -> &'static [(u8, u8, &'static str)] {
    if protocol == 1 { ICMP } else { ICMP6 }
}

/// Type and code of ICMP (protocol 1) or ICMPv6 (58), as the kernel holds them in place of a port: `echo-request`, `8/0`.
pub fn icmp_number(protocol: u8, text: &str) -> Option<u16> {
    let both = |t: u8, c: u8| u16::from_be_bytes([t, c]);
    if let Some((t, c, _)) = icmp_names(protocol).iter().find(|n| n.2 == text) {
        return Some(both(*t, *c));
    }
    let (t, c) = text.split_once('/')?;
    Some(both(t.parse().ok()?, c.parse().ok()?))
}

impl std::fmt::Display for Member {
    /// As `ipset save` prints it, without timeout and counters: `10.0.0.1,tcp:80,192.0.2.0/24`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let [(AS_TEXT, text)] = &self.other[..] {
            return f.write_str(&String::from_utf8_lossy(text));
        }
        let mut parts: Vec<String> = Vec::new();
        let net = |a: IpAddr, prefix: Option<u8>| match prefix {
            Some(p) if p != IpFamily::of(a).bits() => format!("{a}/{p}"),
            _ => a.to_string(),
        };
        if let Some(a) = self.address {
            parts.push(net(a, self.prefix));
        }
        match (self.protocol, self.port) {
            (Some(p @ (1 | 58)), Some(port)) => {
                let [t, c] = port.to_be_bytes();
                let name = if p == 1 { "icmp" } else { "icmpv6" };
                match icmp_names(p).iter().find(|n| (n.0, n.1) == (t, c)) {
                    Some((.., of)) => parts.push(format!("{name}:{of}")),
                    None => parts.push(format!("{name}:{t}/{c}")),
                }
            }
            (Some(p), Some(port)) => match nf_ruleset::protocol_name(u16::from(p)) {
                Some(name) => parts.push(format!("{name}:{port}")),
                None => parts.push(format!("{p}:{port}")),
            },
            (None, Some(port)) => parts.push(port.to_string()),
            _ => {}
        }
        if let Some(a) = self.address2 {
            parts.push(net(a, self.prefix2));
        }
        for (kind, bytes) in &self.other {
            parts.push(format!("[attribute {kind}, {} bytes]", bytes.len()));
        }
        f.write_str(&parts.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A message about a set with members of every kind of attribute.
    fn seed() -> Vec<u8> {
        let ip = |r: Request, kind: u16, v6: bool| {
            r.nest(kind, |r| if v6 { r.attr(2, &[0x20; 16]) } else { r.attr(1, &[10, 0, 0, 1]) })
        };
        let list = |r: Request, v6: bool| {
            r.nest(7, |r| {
                let r = ip(r, 1, v6).attr(3, &[24]).attr(4, &80u16.to_be_bytes()).attr(7, &[6]);
                ip(r, 20, v6)
                    .attr(21, &[32])
                    .attr(6, &300u32.to_be_bytes())
                    .attr(8, &4u32.to_be_bytes())
                    .attr(24, &9u64.to_be_bytes())
                    .attr(25, &1u64.to_be_bytes())
                    .attr_str(26, "a comment")
            })
        };
        Request::part()
            .attr(1, &[PROTOCOL])
            .attr_str(2, "KUBE-CLUSTER-IP")
            .attr_str(3, "hash:ip,port")
            .attr(4, &[5])
            .attr(5, &[2])
            .nest(7, |r| r.attr(19, &65536u32.to_be_bytes()).attr(24, &2u32.to_be_bytes()))
            .nest(8, |r| list(list(r, false), true))
            .into_bytes()
    }

    #[test]
    fn fuzz_ipset() {
        crate::fuzz::run("ipset", &[seed()], |bytes| {
            let mut sets = Vec::new();
            parse(bytes, &mut sets);
            for m in sets.iter().flat_map(|s| s.members.iter().flatten()) {
                let _ = m.to_string();
            }
        });
        let mut sets = Vec::new();
        parse(&seed(), &mut sets);
        let members: Vec<String> = sets[0].members.iter().flatten().map(ToString::to_string).collect();
        assert_eq!(members[0], "10.0.0.1/24,tcp:80,10.0.0.1,[attribute 26, 10 bytes]");
        assert_eq!(members.len(), 2);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut sets = Vec::new();
            parse(&bytes, &mut sets);
            parse(&bytes, &mut sets);
            let _ = member(&bytes).to_string();
        }
    }
}
