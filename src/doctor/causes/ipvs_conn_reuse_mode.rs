//! `conn_reuse_mode` against the kernel's version: before 5.9, 1 delays reused ports by a second (kubernetes/kubernetes#70747),
//! which is why kube-proxy sets 0 there; from 5.9 on, 0 sends connections of reused ports to servers that are drained
//! (kubernetes/kubernetes#81775, PR 102122).

use super::{Case, Finding, Severity};
use crate::proxy::Mode;

pub(super) fn find(case: &Case<'_>, found: &mut Vec<Finding>) -> Result<(), String> {
    case.need_ipvs()?;
    if !case.active(Mode::Ipvs) {
        return Ok(());
    }
    let (Some(mode), Some(kernel)) = (case.sysctl_number("net/ipv4/vs/conn_reuse_mode"), case.kernel())
    else {
        return Err("the kernel does not tell conn_reuse_mode or its version".into());
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
            .advise("kubernetes/kubernetes#81775 tells the story"),
    );
    Ok(())
}
