//! Which programs a table belongs to, by the names that they give their tables and chains. Several may share a
//! table of iptables; whoever hangs on the hooks of service traffic can drop it.

use crate::ruleset::{ChainId, Dialect, Match, RuleId, Table};

/// Beginnings of chain names in tables of iptables.
const CHAINS: &[(&str, &str)] = &[
    ("KUBE-ROUTER-", "kube-router"),
    ("KUBE-POD-FW-", "kube-router"),
    ("KUBE-NWPLCY-", "kube-router"),
    ("KUBE-KUBELET-CANARY", "kubelet"),
    (super::chain::PREFIX, "kube-proxy"),
    ("cali-", "Calico"),
    ("CILIUM_", "Cilium"),
    ("OLD_CILIUM_", "Cilium"),
    ("DOCKER", "Docker"),
    ("FLANNEL-", "flannel"),
    ("CNI-", "CNI plugins"),
    ("WEAVE", "Weave Net"),
    ("ANTREA-", "Antrea"),
    ("AZURE-NPM", "Azure NPM"),
    ("ISTIO_", "Istio"),
    ("OVN-KUBE-", "OVN-Kubernetes"),
    ("LIBVIRT_", "libvirt"),
    ("NETAVARK", "Podman"),
    ("ufw", "ufw"),
    ("f2b-", "fail2ban"),
    ("ts-", "Tailscale"),
    ("FWDI_", "firewalld"),
    ("FORWARD_direct", "firewalld"),
];

/// Beginnings of the names of native tables.
const TABLES: &[(&str, &str)] = &[
    ("kube-proxy", "kube-proxy"),
    ("firewalld", "firewalld"),
    ("calico", "Calico"),
    ("cilium", "Cilium"),
    ("docker-bridges", "Docker"),
    ("netavark", "Podman"),
    ("libvirt", "libvirt"),
    ("cni_", "CNI plugins"),
    ("kindnet", "kindnet"),
    ("kube-network-policies", "kube-network-policies"),
    ("ovn-kubernetes", "OVN-Kubernetes"),
    ("antrea", "Antrea"),
    ("flannel", "flannel"),
    ("f2b-table", "fail2ban"),
    ("crowdsec", "CrowdSec"),
    ("lxc", "LXC"),
    ("lxd", "LXD"),
    ("incus", "Incus"),
];

fn by_prefix(names: &'static [(&'static str, &'static str)], name: &str) -> Option<&'static str> {
    names.iter().find(|n| name.starts_with(n.0)).map(|n| n.1)
}

/// The program that a chain belongs to, as far as names say.
pub fn chain_owner(table: &Table, chain: ChainId) -> Option<&'static str> {
    match table.dialect {
        Dialect::Nft => by_prefix(TABLES, &table.name),
        Dialect::Iptables => by_prefix(CHAINS, table.chain_name(chain)),
    }
}

/// Beginnings of interface names that one program makes.
const INTERFACES: &[(&str, &str)] = &[
    ("docker", "Docker"),
    ("br-", "Docker"),
    ("virbr", "libvirt"),
    ("cali", "Calico"),
    ("cilium", "Cilium"),
    ("lxc", "Cilium"),
    ("cni-podman", "Podman"),
    ("podman", "Podman"),
    ("cni", "CNI plugins"),
    ("flannel", "flannel"),
    ("weave", "Weave Net"),
    ("tailscale", "Tailscale"),
    ("lxdbr", "LXD"),
    ("incusbr", "Incus"),
];

/// Beginnings of comments that programs write to their rules.
const COMMENTS: &[(&str, &str)] = &[
    ("kubernetes ", "kube-proxy"),
    ("cali:", "Calico"),
    ("cilium:", "Cilium"),
    ("flanneld ", "flannel"),
    ("kube-router ", "kube-router"),
    ("'ufw", "ufw"),
    ("dnat name:", "CNI plugins"),
    ("CNI ", "CNI plugins"),
];

/// The program that made a rule, as far as names say: its chain's, the chain's to which it leads, what its comment says, or
/// whose interface it names.
pub fn rule_owner(table: &Table, rule: RuleId) -> Option<&'static str> {
    let chain = table.chain_of(rule)?;
    let r = table.rules.get(rule.0 as usize)?;
    let led_to = || table.jump_of(r).and_then(|to| chain_owner(table, to));
    let by_matches = |m: &Match| match m {
        Match::Comment(text) => by_prefix(COMMENTS, table.str(*text)),
        Match::InInterface { name, .. } | Match::OutInterface { name, .. } => {
            by_prefix(INTERFACES, table.str(*name))
        }
        _ => None,
    };
    chain_owner(table, chain).or_else(led_to).or_else(|| table.matches_of(r).iter().find_map(by_matches))
}

/// True for programs that enforce network policies: what they drop is meant so, mostly.
pub fn enforces_policies(owner: &str) -> bool {
    const POLICIES: [&str; 9] = [
        "Calico",
        "Cilium",
        "kube-router",
        "Antrea",
        "Azure NPM",
        "OVN-Kubernetes",
        "kube-network-policies",
        "kindnet",
        "Weave Net",
    ];
    POLICIES.contains(&owner)
}

/// The programs that a table belongs to, as far as names say; empty where they say nothing.
pub fn owners(table: &Table) -> Vec<&'static str> {
    let mut found = Vec::new();
    if table.dialect == Dialect::Nft {
        found.extend(by_prefix(TABLES, &table.name));
        return found;
    }
    let mut last = None;
    for c in table.chains.iter().filter(|c| c.base.is_none()) {
        let Some(owner) = by_prefix(CHAINS, table.str(c.name)) else { continue };
        // Chains of one program mostly are together.
        if last == Some(owner) {
            continue;
        }
        last = Some(owner);
        if !found.contains(&owner) {
            found.push(owner);
        }
    }
    found.sort_unstable();
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ruleset::{Family, TableBackend, TableBuilder};

    #[test]
    fn names_tell_whose_a_table_is() {
        let mut b = TableBuilder::new(Family::Ip, TableBackend::XTables, "filter");
        for chain in ["FORWARD", "KUBE-SERVICES", "cali-FORWARD", "DOCKER-USER", "KUBE-FORWARD", "mine"] {
            b.chain(chain);
        }
        assert_eq!(owners(&b.finish().0), ["Calico", "Docker", "kube-proxy"]);
        let mut b = TableBuilder::new(Family::Inet, TableBackend::NfTables, "firewalld");
        b.dialect = Dialect::Nft;
        b.chain("KUBE-SERVICES");
        assert_eq!(owners(&b.finish().0), ["firewalld"]);
    }
}
