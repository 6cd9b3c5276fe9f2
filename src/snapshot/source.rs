//! Where facts come from, and what of it could not be read.

use crate::kernel::{Error, ErrorKind};
use crate::ruleset::Family;

/// Something that facts are read from. Code that must know what was not read asks by this, never by a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SourceId {
    /// Tables of x_tables of a family: iptables-legacy, arptables, legacy ebtables.
    Tables(Family),
    /// Tables of nf_tables, with iptables-nft's.
    NfTables,
    /// Virtual and real servers.
    Ipvs,
    /// The filter tables of iptables beside nat tables that were given.
    FilterTable,
    /// The chains of iptables that hang on hooks, beside others that were given.
    BaseChains,
    /// ipsets.
    Ipsets,
    /// Named counters of nfacct.
    Accounts,
    /// conntrack's flows.
    Flows,
    /// conntrack's notices of new flows.
    Notices,
    /// conntrack's limits and statistics.
    ConntrackStats,
    /// Addresses of the node's interfaces.
    Addresses,
    /// The node's interfaces.
    Links,
    /// Routes, and neighbours that do not answer.
    Routes,
    /// eBPF programs at hooks that packets pass before the rules.
    Ebpf,
    /// eBPF maps in which other proxies hold Services.
    ServiceMaps,
    /// The Host Networking Service of a Windows node.
    Hns,
    /// Counters of the network stack.
    Counters,
    /// Sysctls that decide about packets.
    Sysctls,
    /// Objects of the Kubernetes API.
    Api,
    /// What kube-proxy says of itself.
    KubeProxy,
    /// One that this version does not know: recordings of other versions name it.
    Other,
}

/// The sources with a name of their own, as recordings have it.
const NAMES: [(SourceId, &str); 23] = [
    (SourceId::Tables(Family::Ip), "tables-ip"),
    (SourceId::Tables(Family::Ip6), "tables-ip6"),
    (SourceId::Tables(Family::Arp), "tables-arp"),
    (SourceId::Tables(Family::Bridge), "tables-bridge"),
    (SourceId::NfTables, "nftables"),
    (SourceId::Ipvs, "ipvs"),
    (SourceId::FilterTable, "filter-table"),
    (SourceId::BaseChains, "base-chains"),
    (SourceId::Ipsets, "ipsets"),
    (SourceId::Accounts, "accounts"),
    (SourceId::Flows, "flows"),
    (SourceId::Notices, "notices"),
    (SourceId::ConntrackStats, "conntrack-stats"),
    (SourceId::Addresses, "addresses"),
    (SourceId::Links, "links"),
    (SourceId::Routes, "routes"),
    (SourceId::Ebpf, "ebpf"),
    (SourceId::ServiceMaps, "service-maps"),
    (SourceId::Hns, "hns"),
    (SourceId::Counters, "counters"),
    (SourceId::Sysctls, "sysctls"),
    (SourceId::Api, "api"),
    (SourceId::KubeProxy, "kube-proxy"),
];

impl SourceId {
    /// Everything that may hold a Service's rules.
    pub const RULES: &'static [SourceId] = &[
        SourceId::Tables(Family::Ip),
        SourceId::Tables(Family::Ip6),
        SourceId::NfTables,
        SourceId::FilterTable,
        SourceId::BaseChains,
        SourceId::Ipvs,
        SourceId::Ipsets,
    ];

    /// Its name in recordings.
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|n| n.0 == self).map_or("other", |n| n.1)
    }

    /// The opposite of [`SourceId::name`]; [`SourceId::Other`] for a name that is not known.
    pub fn of_name(name: &str) -> SourceId {
        NAMES.iter().find(|n| n.1 == name).map_or(SourceId::Other, |n| n.0)
    }
}

/// Why something was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnreadKind {
    /// It is not there: nothing was missed.
    Missing,
    /// A privilege is missing.
    NotPermitted,
    /// The files that were given do not hold it.
    NotGiven,
    /// It was tried.
    Failed,
}

/// Something that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// Of which source.
    pub source: SourceId,
    /// What of it, for people: `the ip table nat`, or the name of a file.
    pub what: String,
    /// The kind of reason.
    pub kind: UnreadKind,
    /// The reason, for people.
    pub why: String,
    /// What to do next.
    pub hint: Option<String>,
}

impl Unread {
    /// A source that the kernel did not give.
    pub fn of_error(source: SourceId, what: impl Into<String>, e: &Error) -> Unread {
        let kind = match e.kind {
            ErrorKind::Missing { .. } => UnreadKind::Missing,
            ErrorKind::Permission { .. } => UnreadKind::NotPermitted,
            _ => UnreadKind::Failed,
        };
        Unread { source, what: what.into(), kind, why: e.kind.to_string(), hint: e.hint() }
    }

    /// A source of which files do not say enough.
    pub fn of_files(
        source: SourceId,
        kind: UnreadKind,
        what: impl Into<String>,
        why: impl Into<String>,
    ) -> Unread {
        Unread { source, what: what.into(), kind, why: why.into(), hint: None }
    }

    /// True where it was refused or failed: something that is there was missed.
    pub fn failed(&self) -> bool {
        matches!(self.kind, UnreadKind::NotPermitted | UnreadKind::Failed)
    }

    /// True where something that is there may have been missed: it failed, or files were given without it.
    pub fn leaves_open(&self) -> bool {
        self.kind != UnreadKind::Missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back() {
        for (source, name) in NAMES {
            assert_eq!(source.name(), name);
            assert_eq!(SourceId::of_name(name), source);
        }
        assert_eq!(SourceId::of_name("a source of next year"), SourceId::Other);
    }
}
