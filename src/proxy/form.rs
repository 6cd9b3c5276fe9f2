//! In which form kube-proxy writes its rules here: what it reports of itself, else what its rules look like.

use super::{KubeProxyVersion, Mode, chain, nftables};
use crate::ruleset::{Dialect, Match, Table};
use crate::snapshot::Snapshot;

/// The form of kube-proxy's rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RulesForm {
    /// The version that writes so. Where [`Self::reported`] is false, one of those that do.
    pub version: KubeProxyVersion,
    /// True where kube-proxy reports its version.
    pub reported: bool,
    /// True where iptables mode counts in nfacct objects: it does where the kernel has them. Rules of iptables mode show it; in
    /// other modes they are assumed, as kernels of distributions have them.
    pub accounts: bool,
}

impl RulesForm {
    /// The form in which a mode is written: no kube-proxy before 1.29 has nftables mode, and a later one would have to write it.
    pub fn version_for(&self, mode: Mode) -> KubeProxyVersion {
        match mode {
            Mode::Nftables if self.version < KubeProxyVersion::new(1, 29) => KubeProxyVersion::LATEST,
            _ => self.version,
        }
    }
}

/// The form of the rules that a snapshot holds; the latest where nothing says another.
pub fn rules_form(snapshot: &Snapshot) -> RulesForm {
    let tables = || snapshot.tables.iter().map(|t| &*t.table);
    let reported = snapshot.kube_proxy.as_ref().and_then(|k| k.version()?.parse().ok());
    let version = reported.or_else(|| tables().find_map(version_of));
    RulesForm {
        version: version.unwrap_or_default(),
        reported: reported.is_some(),
        accounts: tables().find_map(counts_in_accounts).unwrap_or(true),
    }
}

fn has(table: &Table, name: &str) -> bool {
    table.chain(name).is_some()
}

/// Only what tells forms apart, in tables that kube-proxy holds; the sets under `tests/rules` show it.
fn version_of(table: &Table) -> Option<KubeProxyVersion> {
    if table.dialect == Dialect::Nft {
        return (table.name == nftables::TABLE && has(table, nftables::name::SERVICES)).then(|| {
            match (has(table, nftables::name::MARK), has(table, nftables::name::EARLY_FILTER)) {
                (true, true) => KubeProxyVersion::new(1, 31),
                (true, false) => KubeProxyVersion::new(1, 35),
                (false, _) => KubeProxyVersion::LATEST,
            }
        });
    }
    let of_proxy = table.name == "filter" && has(table, chain::FORWARD);
    match (of_proxy, has(table, chain::PROXY_FIREWALL)) {
        (false, _) => None,
        // What source ranges do not let in is dropped in a chain of its own since 1.25.
        (true, false) => Some(KubeProxyVersion::new(1, 20)),
        (true, true) => Some(KubeProxyVersion::LATEST),
    }
}

/// Whether the rule that drops INVALID packets counts in an object; `None` where there is none, as in ipvs and nftables mode.
fn counts_in_accounts(table: &Table) -> Option<bool> {
    if table.dialect == Dialect::Nft || table.name != "filter" || !has(table, chain::SERVICES) {
        return None;
    }
    let chain = table.chain(chain::FORWARD)?;
    let mut rules = table.rules_of(chain).map(|(_, rule)| table.matches_of(rule));
    Some(rules.any(|m| m.iter().any(|m| matches!(m, Match::Nfacct { .. }))))
}
