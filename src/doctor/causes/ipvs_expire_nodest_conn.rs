//! Without `expire_nodest_conn`, connections to a real server that was removed hang in silence until they time out; kube-proxy
//! sets it to 1 (`pkg/proxy/ipvs/proxier.go`, with `expire_quiescent_template`).

use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::{Finding, Severity};
use crate::proxy::Mode;
use crate::snapshot::SourceId;

pub(super) const CHECK: Check = Check {
    id: "ipvs_expire_nodest_conn",
    about: "connections to removed real servers hang",
    needs: &[SourceId::Ipvs],
    looks_at: SourceId::RULES,
    readings: 1,
    run,
};

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    if !cx.active(Mode::Ipvs) {
        return Ok(());
    }
    let value = cx.must_sysctl("net/ipv4/vs/expire_nodest_conn")?;
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
