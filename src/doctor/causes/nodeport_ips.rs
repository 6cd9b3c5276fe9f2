//! nftables mode serves node ports on the addresses in `nodeport-ips` alone: without one of the node's (`nodePortAddresses`, by
//! default the primary one) no node port answers.

use super::super::Subject;
use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::{Finding, Severity};
use crate::proxy::node_addresses;
use crate::ruleset::{IpFamily, TableBackend, address};
use crate::snapshot::SourceId;
use std::net::IpAddr;

pub(super) const CHECK: Check = Check {
    id: "nodeport_ips",
    about: "node ports are served on no address",
    needs: &[],
    looks_at: SourceId::RULES,
    readings: 1,
    run,
};

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    for family in [IpFamily::V4, IpFamily::V6] {
        let table = cx.snapshot.table(TableBackend::NfTables, family.into(), crate::proxy::nftables::TABLE);
        let Some(i) = table else { continue };
        let t = &cx.snapshot.tables[i].table;
        // Node ports by their maps: without an address the Services' frontends do not show them.
        let elements = |name: &str| {
            let set = t.sets.iter().find(|s| t.str(s.name) == name);
            set.and_then(|s| s.elements.as_ref()).map_or(0, Vec::len)
        };
        let ports = elements("service-nodeports") + elements("no-endpoint-nodeports");
        if ports == 0 {
            continue;
        }
        let set = t.sets.iter().find(|s| t.str(s.name) == "nodeport-ips");
        let Some(elements) = set.and_then(|s| s.elements.as_ref()) else { continue };
        let served: Vec<IpAddr> = elements.iter().filter_map(|e| address(family, &e.key)).collect();
        let own: Vec<String> = node_addresses(cx.snapshot, family).map(|a| a.address.to_string()).collect();
        if own.is_empty() || served.iter().any(|a| cx.is_own(*a) && !a.is_loopback()) {
            continue;
        }
        let mut f = Finding::node(
            "nodeport_ips",
            Severity::Critical,
            &format!("{family} node ports"),
            "no node port answers: none of the node's addresses is served",
        );
        f.subject = Subject::Table(i);
        let list: Vec<String> = served.iter().map(ToString::to_string).collect();
        found.push(
            f.proved_by(format!("nodeport-ips holds {}", if list.is_empty() { "nothing".into() } else { list.join(", ") }))
                .proved_by(format!("the node has {}; {ports} node ports", own[..own.len().min(6)].join(", ")))
                .advise("kube-proxy's nodePortAddresses: `primary` (the node's address in the API), or networks that hold this node's address")
                .advise("was the node's address changed? restart kube-proxy"),
        );
    }
    Ok(())
}
