//! Fuzz targets: what the encoder writes, altered, through the decoder, the text and the Services.

use super::growing::Fed;
use super::{encode, parse};
use crate::fuzz;
use crate::kernel::netlink::Request;
use crate::lab::shop;
use crate::proxy::{iptables, nftables};
use crate::ruleset::{Dialect, Family, IpFamily, Table};

/// Attributes of every message that would make the tables, by kind of message.
fn seeds(table: &Table, kind: u8) -> Vec<Vec<u8>> {
    let messages = encode::messages(table, &Default::default()).unwrap();
    let of_kind = |r: &&Request| r.kind() == u16::from(super::SUBSYSTEM) << 8 | u16::from(kind);
    messages.iter().filter(of_kind).map(|r| r.payload()[4..].to_vec()).collect()
}

fn tables() -> Vec<Table> {
    let services = shop::services(None, 4);
    let mut all = Vec::new();
    for family in [IpFamily::V4, IpFamily::V6] {
        let options = nftables::WriteOptions {
            cluster_cidr: "10.244.0.0/16".parse().ok().filter(|_| family == IpFamily::V4),
            node_port_addresses: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
            ..Default::default()
        };
        all.push(nftables::write(&services, family, &options).0);
        let options = iptables::WriteOptions { cluster_cidr: options.cluster_cidr, ..Default::default() };
        all.extend(iptables::write(&services, family, &options).into_iter().map(|t| t.0));
    }
    all
}

/// Everything that is done with a table: its text, its Services.
fn use_all(table: &Table) {
    for rule in &table.rules {
        let _ = table.rule_text(rule).to_string();
    }
    for set in &table.sets {
        for e in set.elements.iter().flatten() {
            let _ = table.element_text(set, e).to_string();
        }
    }
    for family in [IpFamily::V4, IpFamily::V6] {
        let _ = nftables::read(family, table);
        let _ = iptables::read(
            family,
            crate::proxy::Variant::Nft,
            Some((0, table)),
            Some((0, table)),
            &Default::default(),
        );
    }
    let _ = encode::messages(table, &Default::default());
}

#[test]
fn fuzz_rules() {
    let tables = tables();
    let rules: Vec<Vec<u8>> = tables.iter().flat_map(|t| seeds(t, super::message::NEWRULE)).collect();
    let families = [Family::Ip, Family::Ip6, Family::Inet, Family::Bridge, Family::Arp, Family::Netdev];
    let mut n = 0;
    fuzz::run("nft-rules", &rules, |bytes| {
        n += 1;
        let dialect = if n % 2 == 0 { Dialect::Nft } else { Dialect::Iptables };
        let mut fed = Fed::new(&tables[0], families[n % families.len()], dialect);
        fed.rule(bytes);
        fed.rule(bytes);
        use_all(&fed.finish());
    });
}

#[test]
fn fuzz_heads() {
    let tables = tables();
    let mut all = Vec::new();
    for kind in [super::message::NEWTABLE, super::message::NEWCHAIN, super::message::NEWSET] {
        all.extend(tables.iter().flat_map(|t| seeds(t, kind)));
    }
    fuzz::run("nft-heads", &all, |bytes| {
        let _ = parse::table(bytes);
        let _ = parse::chain(bytes);
        let mut strings = Default::default();
        let _ = parse::set(bytes, &mut strings);
        let _ = parse::set_names(bytes);
        for kind in 0..8 {
            let _ = parse::comment(bytes, kind);
        }
    });
}

#[test]
fn fuzz_elements() {
    let tables = tables();
    let all: Vec<Vec<u8>> = tables.iter().flat_map(|t| seeds(t, super::message::NEWSETELEM)).collect();
    let mut n = 0;
    fuzz::run("nft-elements", &all, |bytes| {
        n += 1;
        let mut fed = Fed::new(&tables[n % 2 * 4], Family::Ip, Dialect::Nft);
        fed.elements(n, bytes);
        use_all(&fed.finish());
    });
}
