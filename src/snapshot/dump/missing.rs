//! What belongs to the tables that were given, and is not there.

use super::super::{SourceId, TableState, Unread, UnreadKind};
use crate::ruleset::{Dialect, Family, IpFamily, TableBackend};

/// Tables and chains of iptables that belong to those that were given: kube-proxy writes to nat and filter, and a kernel's
/// tables have chains on hooks.
///
/// `legacy`: families of which iptables-nft-save said that iptables-legacy has tables, too.
pub(super) fn parts(tables: &[TableState], legacy: &[IpFamily]) -> Vec<Unread> {
    let mut missing = Vec::new();
    for family in legacy.iter().map(|f| Family::from(*f)) {
        if tables.iter().any(|t| t.backend == TableBackend::XTables && t.family == family) {
            continue;
        }
        let (what, why) = (format!("the {family} tables of iptables-legacy"), "none of the files holds them");
        let unread = Unread::of_files(SourceId::Tables(family), UnreadKind::NotGiven, what, why);
        missing.push(Unread { hint: Some("add what iptables-legacy-save prints".into()), ..unread });
    }
    for t in tables.iter().filter(|t| t.table.dialect == Dialect::Iptables && !t.table.chains.is_empty()) {
        let beside = |name: &str| {
            let same = |o: &&TableState| (o.backend, o.family) == (t.backend, t.family);
            tables.iter().filter(same).any(|o| o.table.name == name)
        };
        let mut not_given = |source, what: String, hint: &str| {
            let why = "none of the files holds it";
            let unread = Unread::of_files(source, UnreadKind::NotGiven, what, why);
            missing.push(Unread { hint: Some(hint.into()), ..unread });
        };
        if t.table.name == "nat" && !beside("filter") {
            let what = format!("the {} table filter", t.family);
            not_given(SourceId::FilterTable, what, "add what iptables-save prints of all tables");
        }
        if t.table.chains.iter().all(|c| c.base.is_none()) {
            let what = format!("the chains of the {} table {} that hang on hooks", t.family, t.table.name);
            not_given(SourceId::BaseChains, what, "add what iptables-save prints of the whole table");
        }
    }
    missing
}
