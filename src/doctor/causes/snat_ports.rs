//! Masquerading runs out of source ports: all clients of a backend share the node's address, and only some 64,000 flows to one
//! address and port can be distinguished. The next one is dropped (`nf_nat_core.c`, `get_unique_tuple`).

use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::{Finding, Severity};
use crate::format::count;
use crate::proxy::endpoint_text;
use crate::snapshot::FlowKey;
use crate::snapshot::SourceId;
use std::collections::HashMap;

/// Ports of masqueraded flows (`nf_nat_l4proto_unique_tuple`: 1024 to 65535).
const PORTS: u64 = 64_512;

pub(super) const CHECK: Check = Check {
    id: "snat_ports",
    about: "masquerading runs out of source ports",
    needs: &[SourceId::Flows],
    looks_at: &[],
    readings: 1,
    run,
};

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    let flows = cx.flows()?;
    let mut by: HashMap<_, (u64, FlowKey)> = HashMap::new();
    for (key, f) in flows.groups.iter().filter(|(_, f)| f.masqueraded > 0) {
        let entry = by.entry(key.backend()).or_insert((0, *key));
        entry.0 += u64::from(f.masqueraded);
    }
    let mut full: Vec<_> = by.into_iter().filter(|(_, (n, _))| *n >= PORTS * 8 / 10).collect();
    full.sort_by_key(|f| std::cmp::Reverse(f.1.0));
    for (backend, (n, key)) in full {
        let severity = if n >= PORTS * 95 / 100 { Severity::Critical } else { Severity::Warning };
        let at = endpoint_text(backend.address, backend.port);
        let title = format!("masqueraded flows to {at} run out of source ports");
        let mut f = match cx.service_at(key.frontend()) {
            Some(i) => cx.service("snat_ports", severity, i, title),
            None => Finding::node("snat_ports", severity, &at, title),
        };
        f = f.proved_by(format!(
            "{} of {} ports in use: {:.0} %",
            count(n),
            count(PORTS),
            n as f64 / PORTS as f64 * 100.0
        ));
        found.push(
            f.advise("keep the client's address where possible (externalTrafficPolicy: Local, clusterCIDR set right), reuse connections, or more backends")
                .advise("flows in TIME_WAIT hold ports too: net.netfilter.nf_conntrack_tcp_timeout_time_wait"),
        );
    }
    Ok(())
}
