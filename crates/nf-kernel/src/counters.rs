//! Counters of the network stack that report lost packets: SNMP's, and those of the receive queues.

use super::{Error, Result};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;

/// Those that kptop reads, as `PREFIX.NAME` of `/proc/net/snmp` and `/proc/net/netstat` (`net/ipv4/proc.c`), and of
/// `/proc/net/snmp6` (`net/ipv6/proc.c`).
pub const NAMES: [&str; 18] = [
    "Icmp.OutDestUnreachs",
    "Icmp6.OutDestUnreachs",
    "Ip.ForwDatagrams",
    "Ip.InAddrErrors",
    "Ip.InDiscards",
    "Ip.OutDiscards",
    "Ip.OutNoRoutes",
    "Ip.ReasmFails",
    "Tcp.RetransSegs",
    "Tcp.OutSegs",
    "Udp.NoPorts",
    "Udp.RcvbufErrors",
    "Udp.SndbufErrors",
    "TcpExt.IPReversePathFilter",
    "TcpExt.ListenOverflows",
    "TcpExt.ListenDrops",
    "TcpExt.TCPReqQFullDrop",
    "TcpExt.TCPBacklogDrop",
];

/// What a CPU's receive queue did (`/proc/net/softnet_stat`, `net/core/net-procfs.c`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Softnet {
    /// Number of the CPU.
    pub cpu: u32,
    /// Packets.
    pub processed: u64,
    /// Packets dropped as the queue was full (`net.core.netdev_max_backlog`).
    pub dropped: u64,
    /// Times that work was left for later as time or budget was up.
    pub squeezed: u64,
}

/// Counters of one instant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// By name; what the kernel does not have is not here.
    pub named: BTreeMap<Cow<'static, str>, u64>,
    /// Receive queues of each CPU: the node's, not the namespace's.
    pub softnet: Vec<Softnet>,
}

/// Reads them in the calling thread's namespace.
pub fn read() -> Result<Counters> {
    let mut counters = Counters::default();
    for file in ["snmp", "netstat"] {
        let path = format!("/proc/thread-self/net/{file}");
        let text = fs::read_to_string(&path).map_err(|e| Error::io(format!("reading {path}"), e))?;
        parse(&text, &mut counters.named);
    }
    // Kernels without IPv6 have none.
    parse_six(&fs::read_to_string("/proc/thread-self/net/snmp6").unwrap_or_default(), &mut counters.named);
    let softnet = fs::read_to_string("/proc/thread-self/net/softnet_stat").unwrap_or_default();
    counters.softnet = parse_softnet(&softnet);
    Ok(counters)
}

/// Pairs of lines: `Ip: name name …`, `Ip: value value …`.
pub fn parse(text: &str, into: &mut BTreeMap<Cow<'static, str>, u64>) {
    let mut lines = text.lines();
    while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
        let (Some((prefix, names)), Some((other, values))) = (names.split_once(':'), values.split_once(':'))
        else {
            continue;
        };
        if prefix != other {
            continue;
        }
        for (name, value) in names.split_whitespace().zip(values.split_whitespace()) {
            let known = NAMES.iter().find(|n| n.split_once('.') == Some((prefix, name)));
            if let (Some(known), Ok(value)) = (known, value.parse()) {
                into.insert(Cow::Borrowed(*known), value);
            }
        }
    }
}

/// Reads `/proc/net/snmp6`: one name and value a line.
pub fn parse_six(text: &str, into: &mut BTreeMap<Cow<'static, str>, u64>) {
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let name = words.next().and_then(|w| w.strip_prefix("Icmp6"));
        let known = name.and_then(|w| NAMES.iter().find(|n| n.strip_prefix("Icmp6.") == Some(w)));
        if let (Some(known), Some(Ok(value))) = (known, words.next().map(str::parse)) {
            into.insert(Cow::Borrowed(*known), value);
        }
    }
}

/// Reads `/proc/net/softnet_stat`: one line for each CPU.
pub fn parse_softnet(text: &str) -> Vec<Softnet> {
    let number = |w: Option<&&str>| w.and_then(|w| u64::from_str_radix(w, 16).ok());
    text.lines()
        .enumerate()
        .filter_map(|(i, line)| {
            let words: Vec<&str> = line.split_whitespace().collect();
            Some(Softnet {
                // The CPU's number is in the last but two columns since 5.10; before, lines are CPUs.
                cpu: number(words.get(12)).unwrap_or(i as u64) as u32,
                processed: number(words.first())?,
                dropped: number(words.get(1))?,
                squeezed: number(words.get(2))?,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn files_are_read_as_the_kernel_writes_them() {
        let mut named = BTreeMap::new();
        parse(
            "TcpExt: SyncookiesSent ListenOverflows IPReversePathFilter\nTcpExt: 1 22 333\nIp: X InDiscards\nIp: 1 7\n",
            &mut named,
        );
        assert_eq!(named["TcpExt.ListenOverflows"], 22);
        assert_eq!(named["TcpExt.IPReversePathFilter"], 333);
        assert_eq!((named["Ip.InDiscards"], named.len()), (7, 3));
        parse_six("Ip6InReceives  \t5\nIcmp6OutDestUnreachs            \t9\nIcmp6OutEchos\t1\n", &mut named);
        assert_eq!((named["Icmp6.OutDestUnreachs"], named.len()), (9, 4));
        let softnet = parse_softnet(
            "0000f0a1 00000003 0000002a 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000005 0 0\n",
        );
        assert_eq!(softnet, [Softnet { cpu: 5, processed: 0xf0a1, dropped: 3, squeezed: 42 }]);
        assert!(read().unwrap().named.len() > 8);
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "([A-Za-z]{1,6}: ?[ 0-9a-zA-Z]{0,40}\n){0,6}.{0,40}") {
            parse(&text, &mut BTreeMap::new());
            parse_six(&text, &mut BTreeMap::new());
            let _ = parse_softnet(&text);
        }
    }
}
