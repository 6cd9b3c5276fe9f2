//! What is done with the attributes of nf_tables' messages: decoded, and what came out is used.

use crate::lab::shop;
use crate::proxy::{Variant, iptables, nftables};
use crate::ruleset::{IpFamily, Table};
use nf_kernel::nftables::fuzzed;
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

/// Everything that is done with a table: its text, its Services, the messages that would make it.
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
    let _ = fuzzed::encoded(table);
}

pub(super) fn rule(how: u8, bytes: &[u8]) {
    use_all(&fuzzed::rule(&tables()[0], how, bytes));
}

pub(super) fn elements(how: u8, bytes: &[u8]) {
    let with_sets: Vec<&Table> = tables().iter().filter(|t| !t.sets.is_empty()).collect();
    let n = usize::from(how);
    use_all(&fuzzed::elements(with_sets[n % with_sets.len()], n / with_sets.len(), bytes));
}

#[cfg(test)]
mod tests {
    use super::tables;
    use crate::fuzz::targets;
    use nf_kernel::fuzz::run;
    use nf_kernel::nftables::fuzzed::{Kind, attributes};

    /// Attributes of every message of one kind, as [`targets::nf_tables`] takes them: behind a byte that says what they
    /// are, and one that picks how they are read.
    fn seeds(what: u8, kind: Kind) -> Vec<Vec<u8>> {
        let all = tables().iter().flat_map(|t| attributes(t, kind)).enumerate();
        all.map(|(i, a)| [&[what, i as u8], &a[..]].concat()).collect()
    }

    #[test]
    fn fuzz_rules() {
        run("nft-rules", &seeds(0, Kind::Rule), targets::nf_tables);
    }

    #[test]
    fn fuzz_elements() {
        run("nft-elements", &seeds(1, Kind::Elements), targets::nf_tables);
    }

    #[test]
    fn fuzz_heads() {
        run("nft-heads", &seeds(2, Kind::Head), targets::nf_tables);
    }
}
