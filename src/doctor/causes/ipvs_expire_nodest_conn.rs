//! Without `expire_nodest_conn`, connections to a real server that was removed hang in silence until they time out; kube-proxy
//! sets it to 1 (`pkg/proxy/ipvs/proxier.go`, with `expire_quiescent_template`).

use super::{Case, Finding, Severity};
use crate::proxy::Mode;

pub(super) fn find(case: &Case<'_>, found: &mut Vec<Finding>) -> Result<(), String> {
    case.need_ipvs()?;
    if !case.active(Mode::Ipvs) {
        return Ok(());
    }
    let name = "net/ipv4/vs/expire_nodest_conn";
    let value = case.sysctl(name).ok_or("the kernel does not tell expire_nodest_conn")?;
    if value == "0" {
        found.push(
            Finding::node("ipvs_expire_nodest_conn", Severity::Warning, "IPVS",
                "connections to a server that was removed hang until they time out")
            .proved_by("net.ipv4.vs.expire_nodest_conn = 0 (kube-proxy sets 1)")
            .advise("sysctl -w net.ipv4.vs.expire_nodest_conn=1 net.ipv4.vs.expire_quiescent_template=1; what set it back? restart kube-proxy")
            .advise("kubernetes/kubernetes#71358"),
        );
    }
    Ok(())
}
