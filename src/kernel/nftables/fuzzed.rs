//! What fuzzing does with the attributes of nf_tables' messages: decodes them, and uses what came out.

use super::growing::Fed;
use super::{encode, parse};
use crate::lab::shop;
use crate::proxy::{Variant, iptables, nftables};
use crate::ruleset::{Dialect, Family, IpFamily, Table};
use std::sync::OnceLock;

/// Tables of every kind that kube-proxy writes.
pub(super) fn tables() -> &'static [Table] {
    static TABLES: OnceLock<Vec<Table>> = OnceLock::new();
    TABLES.get_or_init(|| {
        let services = shop::services(None, 4);
        let mut all = Vec::new();
        for family in [IpFamily::V4, IpFamily::V6] {
            let options = nftables::WriteOptions {
                cluster_cidr: "10.244.0.0/16".parse().ok().filter(|_| family == IpFamily::V4),
                node_port_addresses: ["192.0.2.1", "2001:db8::1"].iter().flat_map(|a| a.parse()).collect(),
                ..Default::default()
            };
            all.push(nftables::write(&services, family, &options).0);
            let options = iptables::WriteOptions { cluster_cidr: options.cluster_cidr, ..Default::default() };
            all.extend(iptables::write(&services, family, &options).into_iter().map(|t| t.0));
        }
        all
    })
}

/// Everything that is done with a table: its text, its Services, the way back.
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
        let _ = iptables::read(family, Variant::Nft, Some((0, table)), Some((0, table)), &Default::default());
    }
    let _ = encode::messages(table, &Default::default());
}

/// A rule, twice, in a table of the family and dialect that `how` picks.
pub(crate) fn rule(how: u8, bytes: &[u8]) {
    const FAMILIES: [Family; 6] =
        [Family::Ip, Family::Ip6, Family::Inet, Family::Bridge, Family::Arp, Family::Netdev];
    let dialect = if how & 1 == 0 { Dialect::Nft } else { Dialect::Iptables };
    let mut fed = Fed::new(&tables()[0], FAMILIES[usize::from(how >> 1) % FAMILIES.len()], dialect);
    fed.rule(bytes);
    fed.rule(bytes);
    use_all(&fed.finish());
}

/// Elements of the set that `how` picks.
pub(crate) fn elements(how: u8, bytes: &[u8]) {
    let with_sets: Vec<&Table> = tables().iter().filter(|t| !t.sets.is_empty()).collect();
    let n = usize::from(how);
    let mut fed = Fed::new(with_sets[n % with_sets.len()], Family::Ip, Dialect::Nft);
    fed.elements(n / with_sets.len(), bytes);
    use_all(&fed.finish());
}

/// What a table, a chain or a set says of itself.
pub(crate) fn head(bytes: &[u8]) {
    let _ = parse::table(bytes);
    let _ = parse::chain(bytes);
    let _ = parse::set(bytes, &mut Default::default());
    let _ = parse::set_names(bytes);
    for kind in 0..8 {
        let _ = parse::comment(bytes, kind);
    }
}
