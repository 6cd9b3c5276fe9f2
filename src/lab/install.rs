//! What kube-proxy would leave on the lab's node, put into the kernel: tables of iptables and nftables mode; for ipvs mode virtual
//! servers, the interface with their addresses, ipsets, and the few rules that look into them.

use super::addresses::{NODE_IP, NODE_IP6, POD_CIDR, POD_CIDR6, parse, sysctl};
use super::links;
use crate::kernel::module::is_there;
use crate::kernel::{Error, Result, ipset, ipvs, nftables, xtables};
use crate::proxy::iptables::{self, WriteOptions};
use crate::proxy::ipvs::{DUMMY, FrameOptions, frame, write};
use crate::proxy::{Engine, Mode, Service, Variant, nftables as proxy_nftables};
use crate::ruleset::{Dialect, IpFamily, IpNet, Match, Table, TableCounters};
use std::net::IpAddr;

/// What kube-proxy would write for these Services on the lab's node, in iptables or nftables mode.
pub fn written(mode: Mode, services: &[Service]) -> Result<Vec<(Table, TableCounters)>> {
    let mut all = Vec::new();
    for (family, cidr) in [(IpFamily::V4, POD_CIDR), (IpFamily::V6, POD_CIDR6)] {
        let cluster_cidr = cidr.parse::<IpNet>().ok();
        if mode == Mode::Nftables {
            let options = proxy_nftables::WriteOptions {
                cluster_cidr,
                node_port_addresses: vec![parse(NODE_IP)?, parse(NODE_IP6)?],
                ..Default::default()
            };
            all.push(proxy_nftables::write(services, family, &options));
        } else {
            let large_cluster = services.iter().map(|s| s.backends.len()).sum::<usize>() > 1000;
            let options = WriteOptions { cluster_cidr, large_cluster, ..Default::default() };
            all.extend(iptables::write(services, family, &options));
        }
    }
    Ok(all)
}

/// Puts tables into the kernel, in the calling thread's namespace: iptables' by the variant of this engine.
pub fn put(engine: Engine, tables: &[(Table, TableCounters)]) -> Result<()> {
    for (table, counters) in tables {
        let family = table.family.ip().unwrap_or(IpFamily::V4);
        let legacy = table.dialect == Dialect::Iptables && engine.variant() == Some(Variant::Legacy);
        match if legacy { install_table(family, table) } else { nftables::create(table, counters) } {
            // A kernel without IPv6 tables still shows the rest.
            Err(e) if family == IpFamily::V6 && legacy && (e.is_missing() || no_such_table(&e)) => break,
            other => other?,
        }
    }
    Ok(())
}

/// True where the kernel knows no such table: its module is not there.
fn no_such_table(e: &Error) -> bool {
    matches!(e.errno(), Some(libc::ENOPROTOOPT | libc::ENOENT))
}

/// Puts a table into the kernel, in the calling thread's namespace.
pub fn install_table(family: IpFamily, table: &Table) -> Result<()> {
    let encoded = xtables::encode(table)
        .map_err(|why| Error::protocol(format!("laying out the table {}", table.name), why))?;
    xtables::Socket::open(family)?.replace(&encoded)
}

/// Puts Services into IPVS, in the calling thread's namespace.
pub fn put_ipvs(services: &[Service]) -> Result<()> {
    let node: IpAddr = parse(NODE_IP)?;
    let mut client = ipvs::Client::open()?;
    // Without conntrack, `ctstate INVALID` and masquerading would not see IPVS flows; kube-proxy sets it.
    sysctl("ipv4/vs/conntrack", "1")?;
    // As kube-proxy does, too.
    sysctl("ipv4/vs/expire_nodest_conn", "1")?;
    sysctl("ipv4/vs/expire_quiescent_template", "1")?;
    links::add_dummy(DUMMY)?;
    for server in &write(services, &[node]) {
        if let ipvs::VirtualAddress::Socket { address, .. } = server.address
            && address != node
        {
            links::add_address(DUMMY, IpNet::host(address))?;
        }
        client.add(server)?;
    }
    Ok(())
}

/// The same with ipsets and rules, as kube-proxy leaves a node.
pub fn put_ipvs_mode(services: &[Service]) -> Result<()> {
    put_ipvs(services)?;
    put_beside_ipvs(services)
}

/// Ipsets and rules of ipvs mode alone.
pub fn put_beside_ipvs(services: &[Service]) -> Result<()> {
    let mut sets = ipset::Client::open().map_err(|e| match e.is_missing() {
        true => Error::missing(
            "writing ipvs mode's sets",
            "the kernel has no ipset (module ip_set not loaded)",
            Some("modprobe ip_set, as root"),
        ),
        false => e,
    })?;
    let node_addresses = [parse(NODE_IP)?, parse(NODE_IP6)?];
    let engine = if is_there("ip_tables") { Engine::IptablesLegacy } else { Engine::IptablesNft };
    for (family, cidr) in [(IpFamily::V4, POD_CIDR), (IpFamily::V6, POD_CIDR6)] {
        if !services.iter().any(|s| s.family == family) {
            continue;
        }
        let options = FrameOptions {
            cluster_cidr: cidr.parse().ok(),
            node: node_addresses.into_iter().find(|a| IpFamily::of(*a) == family),
            node_addresses: &node_addresses,
            ..FrameOptions::default()
        };
        let (mut tables, written) = frame(services, family, &options);
        for set in &written {
            sets.create(set)?;
        }
        for (table, _) in &mut tables {
            name_sets(table)?;
        }
        put(engine, &tables)?;
    }
    Ok(())
}

/// Rules name a set by the index that the kernel gave it.
fn name_sets(table: &mut Table) -> Result<()> {
    let socket = xtables::Socket::open(IpFamily::V4)?;
    let Table { matches, strings, .. } = table;
    for m in matches {
        if let Match::Set { name: Some(name), index, .. } = m {
            *index = socket.set_index(strings.get(*name))?;
        }
    }
    Ok(())
}
