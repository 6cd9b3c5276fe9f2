//! Chains of kube-proxy by family: what kind of chains holds how many rules.

use crate::ruleset::{Dialect, Table};

/// Prefixes of families in iptables mode (`proxier.go`, 1.20 to 1.36); what is not among them has its own name.
const IPTABLES: [&str; 7] =
    ["KUBE-SVC-", "KUBE-SVL-", "KUBE-SEP-", "KUBE-EXT-", "KUBE-XLB-", "KUBE-FW-", "KUBE-PORTALS-"];

/// The same of nftables mode.
const NFTABLES: [&str; 5] = ["service-", "endpoint-", "external-", "local-", "firewall-"];

/// Rules in each family of kube-proxy's chains, the most first: `KUBE-SEP 2400`. Empty for tables that are not
/// kube-proxy's.
pub fn chain_families(table: &Table) -> Vec<(String, usize)> {
    let native = table.dialect == Dialect::Nft;
    if native && table.name != super::nftables::TABLE {
        return Vec::new();
    }
    let mut found: Vec<(String, usize)> = Vec::new();
    let mut others = 0;
    for c in &table.chains {
        let name = table.str(c.name);
        let prefixes: &[&str] = if native { &NFTABLES } else { &IPTABLES };
        let family = match prefixes.iter().find(|p| name.starts_with(**p)) {
            Some(prefix) => prefix.trim_end_matches('-'),
            None if native || super::chain::is_own(name) => name,
            None => {
                others += c.rules.len();
                continue;
            }
        };
        match found.iter_mut().find(|f| f.0 == family) {
            Some(f) => f.1 += c.rules.len(),
            None => found.push((family.to_string(), c.rules.len())),
        }
    }
    if found.is_empty() {
        return found;
    }
    if others > 0 {
        found.push(("others".into(), others));
    }
    found.retain(|f| f.1 > 0);
    found.sort_by_key(|f| std::cmp::Reverse(f.1));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::shop;
    use crate::proxy::{iptables, nftables};
    use crate::ruleset::IpFamily;

    #[test]
    fn every_rule_belongs_to_a_family() {
        let services = shop::services(None, 4);
        let mut tables: Vec<Table> =
            iptables::write(&services, IpFamily::V4, &Default::default()).into_iter().map(|t| t.0).collect();
        tables.push(nftables::write(&services, IpFamily::V4, &Default::default()).0);
        for table in tables {
            let families = chain_families(&table);
            assert_eq!(families.iter().map(|f| f.1).sum::<usize>(), table.rules.len(), "{}", table.name);
            if table.name == "nat" {
                assert_eq!(families[0].0, "KUBE-SEP");
            }
        }
    }
}
