//! `ipvsadm` and `ipset`.

use crate::ruleset::protocol_name;
use crate::snapshot::facts::{
    AS_TEXT, Forwarding, Ipset, Ipvs, IpvsStats, RealServer, SVC_ONE_PACKET, SVC_PERSISTENT, VirtualAddress,
    VirtualServer,
};
use std::fmt::Write;
use std::net::SocketAddr;

fn at(r: &RealServer) -> SocketAddr {
    SocketAddr::new(r.address, r.port)
}

/// `-t 10.0.0.1:80`, `-f 7`
fn option(v: &VirtualServer) -> String {
    match v.address {
        VirtualAddress::Socket { protocol, address, port } => {
            let flag = match protocol {
                6 => "-t",
                17 => "-u",
                _ => "--sctp-service",
            };
            format!("{flag} {}", SocketAddr::new(address, port))
        }
        VirtualAddress::Mark(mark) => format!("-f {mark}"),
    }
}

/// `TCP  10.0.0.1:80`, `FWM  7`
fn place(v: &VirtualServer) -> String {
    match v.address {
        VirtualAddress::Socket { protocol, address, port } => {
            let name = protocol_name(protocol).unwrap_or("?").to_uppercase();
            format!("{name:<4} {}", SocketAddr::new(address, port))
        }
        VirtualAddress::Mark(mark) => format!("FWM  {mark}"),
    }
}

pub(super) fn save(ipvs: &Ipvs) -> String {
    let mut out = String::new();
    for v in &ipvs.servers {
        let _ = write!(out, "-A {} -s {}", option(v), v.scheduler);
        if v.flags & SVC_PERSISTENT != 0 {
            let _ = write!(out, " -p {}", v.timeout);
        }
        if v.flags & SVC_ONE_PACKET != 0 {
            out.push_str(" -o");
        }
        if let Some(engine) = &v.persistence_engine {
            let _ = write!(out, " --pe {engine}");
        }
        out.push('\n');
        for r in &v.real_servers {
            let forward = match r.forwarding {
                Forwarding::DirectRoute => "-g",
                Forwarding::Tunnel => "-i",
                _ => "-m",
            };
            let _ = write!(out, "-a {} -r {} {forward} -w {}", option(v), at(r), r.weight);
            for (flag, limit) in [("-x", r.upper_threshold), ("-y", r.lower_threshold)] {
                if limit > 0 {
                    let _ = write!(out, " {flag} {limit}");
                }
            }
            out.push('\n');
        }
    }
    out
}

fn head(ipvs: &Ipvs) -> String {
    format!("IP Virtual Server version {} (size={})\n", ipvs.version, ipvs.connection_table_size)
}

pub(super) fn list(ipvs: &Ipvs) -> String {
    let mut out = head(ipvs);
    out.push_str("Prot LocalAddress:Port Scheduler Flags\n  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n");
    for v in &ipvs.servers {
        let _ = write!(out, "{} {}", place(v), v.scheduler);
        if v.flags & SVC_PERSISTENT != 0 {
            let _ = write!(out, " persistent {}", v.timeout);
        }
        if v.flags & SVC_ONE_PACKET != 0 {
            out.push_str(" ops");
        }
        out.push('\n');
        for r in &v.real_servers {
            let forward = match r.forwarding {
                Forwarding::DirectRoute => "Route",
                Forwarding::Tunnel => "Tunnel",
                Forwarding::Local => "Local",
                _ => "Masq",
            };
            let _ = writeln!(
                out,
                "  -> {:<28} {forward:<7} {:<6} {:<10} {:<10}",
                at(r),
                r.weight,
                r.active,
                r.inactive
            );
        }
    }
    out
}

pub(super) fn stats(ipvs: &Ipvs) -> String {
    if ipvs.uncounted {
        return String::new();
    }
    let mut out = head(ipvs);
    out.push_str("Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes\n  -> RemoteAddress:Port\n");
    let figures = |s: &IpvsStats| {
        format!("{} {} {} {} {}", s.connections, s.in_packets, s.out_packets, s.in_bytes, s.out_bytes)
    };
    for v in &ipvs.servers {
        let _ = writeln!(out, "{} {}", place(v), figures(&v.stats));
        for r in &v.real_servers {
            let _ = writeln!(out, "  -> {} {}", at(r), figures(&r.stats));
        }
    }
    out
}

pub(super) fn sets(sets: &[Ipset]) -> String {
    let mut out = String::new();
    for set in sets {
        let family = if set.family == 10 { "inet6" } else { "inet" };
        let _ = write!(out, "create {} {}", set.name, set.kind);
        match set.kind.starts_with("hash") {
            true => drop(write!(out, " family {family}")),
            false if set.kind == "bitmap:port" => out.push_str(" range 0-65535"),
            false => {}
        }
        if let Some(most) = set.max_size {
            let _ = write!(out, " maxelem {most}");
        }
        if let Some(s) = set.timeout_s {
            let _ = write!(out, " timeout {s}");
        }
        out.push('\n');
        for m in set.members.iter().flatten() {
            match m.other.iter().find(|o| o.0 == AS_TEXT) {
                Some((_, text)) => drop(writeln!(out, "add {} {}", set.name, String::from_utf8_lossy(text))),
                None => drop(writeln!(out, "add {} {m}", set.name)),
            }
        }
    }
    out
}
