//! `ip`, `sysctl`, `nstat` and `nfacct`.

use crate::snapshot::Snapshot;
use crate::snapshot::facts::{ANY_ROUTE_LOCALNET, NOT_FORWARDING, RouteKind, STRICT_RP_FILTER, swapped};
use std::fmt::Write;

fn link_name(s: &Snapshot, index: u32) -> Option<&str> {
    s.links.iter().find(|l| l.index == index).map(|l| l.name.as_str())
}

/// `ip -d addr`
pub(super) fn addresses(s: &Snapshot) -> String {
    let mut out = String::new();
    for l in s.links.iter() {
        let flags = match (l.name == "lo", l.up) {
            (true, true) => "LOOPBACK,UP,LOWER_UP",
            (true, false) => "LOOPBACK",
            (false, true) => "BROADCAST,UP,LOWER_UP",
            (false, false) => "BROADCAST",
        };
        let _ = write!(out, "{}: {}: <{flags}> mtu 1500", l.index, l.name);
        if let Some(master) = l.master.and_then(|m| link_name(s, m)) {
            let _ = write!(out, " master {master}");
        }
        out.push('\n');
        if let Some(kind) = &l.kind {
            let _ = write!(out, "    {kind}");
            if let Some(port) = l.tunnel_port {
                let _ = write!(out, " dstport {port}");
            }
            out.push('\n');
        }
        for a in s.addresses.iter().filter(|a| a.interface == l.name) {
            let (word, longest) = if a.address.is_ipv4() { ("inet", 32) } else { ("inet6", 128) };
            let _ = writeln!(
                out,
                "    {word} {}/{} scope global {}",
                a.address,
                a.prefix.unwrap_or(longest),
                l.name
            );
        }
    }
    out
}

/// `ip route show table all`, of both families
pub(super) fn routes(s: &Snapshot) -> String {
    let mut out = String::new();
    for r in s.ways.iter().flat_map(|w| &w.routes) {
        let word = match r.kind {
            RouteKind::Unicast => "",
            RouteKind::Refused => "unreachable ",
            RouteKind::Blackhole => "blackhole ",
            RouteKind::Throw => "throw ",
        };
        let _ = write!(out, "{word}{}", r.net);
        if let Some(gateway) = r.gateway {
            let _ = write!(out, " via {gateway}");
        }
        if let Some(link) = link_name(s, r.interface) {
            let _ = write!(out, " dev {link}");
        }
        let _ = write!(out, " table {}", if r.is_main() { "main".to_string() } else { r.table.to_string() });
        if r.metric > 0 {
            let _ = write!(out, " metric {}", r.metric);
        }
        out.push('\n');
    }
    out
}

/// `ip neigh show nud failed`
pub(super) fn neighbours(s: &Snapshot) -> String {
    let mut out = String::new();
    for d in s.ways.iter().flat_map(|w| &w.deaf) {
        if let Some(link) = link_name(s, d.interface) {
            let _ = writeln!(out, "{} dev {link} FAILED", d.address);
        }
    }
    out
}

/// `sysctl -a`, of what kptop reads. What is a sum over interfaces becomes one line for each.
pub(super) fn sysctls(s: &Snapshot) -> String {
    let mut out = String::new();
    for (path, value) in s.sysctls.iter() {
        let per_link = |out: &mut String, name: &str, set: &str| {
            for link in value.split_whitespace() {
                let _ = writeln!(out, "net.ipv4.conf.{}.{name} = {set}", swapped(link));
            }
        };
        match path.as_ref() {
            STRICT_RP_FILTER => {
                out.push_str("net.ipv4.conf.default.rp_filter = 0\n");
                per_link(&mut out, "rp_filter", "1");
            }
            NOT_FORWARDING => {
                out.push_str("net.ipv4.conf.default.forwarding = 1\n");
                per_link(&mut out, "forwarding", "0");
            }
            ANY_ROUTE_LOCALNET => {
                let _ = writeln!(out, "net.ipv4.conf.default.route_localnet = {value}");
            }
            path => {
                let _ = writeln!(out, "{} = {value}", swapped(path));
            }
        }
    }
    if let Some(c) = &s.conntrack {
        let l = &c.limits;
        let flag = |b: Option<bool>| b.map(u64::from);
        for (name, value) in [
            ("count", l.count),
            ("max", l.max),
            ("buckets", l.buckets),
            ("acct", flag(l.accounting)),
            ("timestamp", flag(l.timestamps)),
        ] {
            if let Some(n) = value {
                let _ = writeln!(out, "net.netfilter.nf_conntrack_{name} = {n}");
            }
        }
    }
    out
}

/// `nstat -az`
pub(super) fn counters(s: &Snapshot) -> String {
    let Some(c) = &s.counters else { return String::new() };
    let mut out = String::from("#kernel\n");
    for (name, n) in &c.value.named {
        let _ = writeln!(out, "{:<32}{n:<19}0.0", name.replace('.', ""));
    }
    out
}

/// `nfacct list`
pub(super) fn accounts(s: &Snapshot) -> String {
    let all = s.accounts.iter().flat_map(|a| a.value.iter());
    all.map(|a| {
        format!("{{ pkts = {:020}, bytes = {:020} }} = {};\n", a.counter.packets, a.counter.bytes, a.name)
    })
    .collect()
}
