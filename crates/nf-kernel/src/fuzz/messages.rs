//! What fuzzing does with the kernel's smaller messages and texts.

use crate::{conntrack, counters, drop_monitor, hooks, ipset, ipvs, links, netlink, nfacct, recent, sysctl};
use nf_ruleset::IpFamily;

/// Messages and texts of the kernel's other parts, behind a byte that says which.
pub fn messages(bytes: &[u8]) {
    let Some((what, bytes)) = bytes.split_first() else { return };
    let text = || String::from_utf8_lossy(bytes);
    match what % 12 {
        0 => drop(conntrack::parse_flow(bytes)),
        1 => {
            let mut sets = Vec::new();
            ipset::parse(bytes, &mut sets);
            for m in sets.iter().flat_map(|s| s.members.iter().flatten()) {
                let _ = m.to_string();
            }
        }
        2 => drop(ipvs::parse_service(bytes)),
        3 => drop(ipvs::parse_dest(bytes, IpFamily::V6)),
        4 => drop(hooks::parse(bytes)),
        5 => drop(drop_monitor::parse(bytes)),
        6 => drop(nfacct::parse(bytes)),
        7 => drop(links::parse(bytes)),
        8 => {
            let mut rest = bytes;
            while let Some((_, _, after)) = netlink::split_message(rest) {
                rest = after;
            }
        }
        9 => counters::parse(&text(), &mut Default::default()),
        10 => drop(text().lines().map(recent::parse).count()),
        _ => drop(sysctl::of_text(&text())),
    }
}
