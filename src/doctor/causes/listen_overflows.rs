//! A server on this node does not accept connections fast enough: its queue overflows and handshakes are dropped
//! (`ListenOverflows`, `tcp_v4_syn_recv_sock`). The client tries again after a second. Seen are servers in the node's own
//! namespace (pods with hostNetwork); pods count in theirs.

use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::{Finding, Severity};
use crate::proxy::endpoint_text;
use crate::snapshot::SourceId;

pub(super) const CHECK: Check = Check {
    id: "listen_overflows",
    about: "a server on the node accepts too slowly",
    needs: &[SourceId::Counters],
    looks_at: &[],
    readings: 2,
    run,
};

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    let Some(rise) = cx.counter_rise("TcpExt.ListenOverflows") else { return Ok(()) };
    let mut f = Finding::node(
        "listen_overflows",
        Severity::Warning,
        "listen queues",
        "a server on this node does not accept fast enough: handshakes are dropped",
    )
    .proved_by(format!("ListenOverflows: {}", rise.text()));
    if let Some(n) = cx.sysctl("net/core/somaxconn") {
        f = f.proved_by(format!("net.core.somaxconn = {n}"));
    }
    let local = cx
        .active_services()
        .flat_map(|(_, s)| s.backends.iter().filter(|b| cx.is_own(b.address)).map(move |b| (s, b)));
    let local: Vec<String> =
        local.map(|(s, b)| format!("{} at {}", s.label(), endpoint_text(b.address, b.port))).collect();
    if !local.is_empty() {
        f = f.proved_by(format!(
            "backends in the node's own namespace: {}",
            local[..local.len().min(4)].join(", ")
        ));
    }
    found
        .push(f.advise("which: ss -ltn (Recv-Q at or above Send-Q)").advise(
            "give that server more time or a longer queue (listen(2)'s backlog, net.core.somaxconn)",
        ));
    Ok(())
}
