//! `conn_reuse_mode` against the kernel's version: before 5.9, 1 delays reused ports by a second (kubernetes/kubernetes#70747),
//! which is why kube-proxy sets 0 there; from 5.9 on, 0 sends connections of reused ports to servers that are drained
//! (kubernetes/kubernetes#81775, PR 102122).

use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::{Finding, Severity};
use crate::proxy::Mode;
use crate::snapshot::SourceId;

pub(super) const CHECK: Check = Check {
    id: "ipvs_conn_reuse_mode",
    about: "conn_reuse_mode does not fit the kernel",
    needs: &[SourceId::Ipvs],
    looks_at: SourceId::RULES,
    readings: 1,
    run,
};

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    if !cx.active(Mode::Ipvs) {
        return Ok(());
    }
    cx.need(SourceId::Sysctls)?;
    let (Some(mode), Some(kernel)) = (cx.sysctl_number("net/ipv4/vs/conn_reuse_mode"), cx.kernel()) else {
        let why = "the kernel does not report conn_reuse_mode or its version";
        return Err(NotChecked::new(SourceId::Sysctls, why));
    };
    let (title, advice) = match (mode, kernel >= (5, 9)) {
        (0, true) => (
            "connections from a reused port go to drained servers",
            "sysctl -w net.ipv4.vs.conn_reuse_mode=1 (kube-proxy leaves it alone since 1.22 on such kernels)",
        ),
        (m, false) if m != 0 => (
            "connections from a reused port may wait a second",
            "sysctl -w net.ipv4.vs.conn_reuse_mode=0, or a kernel of 5.9 or later",
        ),
        _ => return Ok(()),
    };
    found.push(
        Finding::node("ipvs_conn_reuse_mode", Severity::Warning, "IPVS", title)
            .proved_by(format!("net.ipv4.vs.conn_reuse_mode = {mode} on kernel {}.{}", kernel.0, kernel.1))
            .advise(advice)
            .advise("kubernetes/kubernetes#81775 has the whole story"),
    );
    Ok(())
}
