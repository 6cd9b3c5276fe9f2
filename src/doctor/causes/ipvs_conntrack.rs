//! Without `net.ipv4.vs.conntrack`, netfilter does not see what IPVS does: masquerading of Service traffic does not happen, and
//! answers go astray. kube-proxy sets it to 1.

use super::{Case, Finding, Severity};
use crate::proxy::Mode;

pub(super) fn find(case: &Case<'_>, found: &mut Vec<Finding>) -> Result<(), String> {
    case.need_ipvs()?;
    if !case.active(Mode::Ipvs) {
        return Ok(());
    }
    let value =
        case.sysctl("net/ipv4/vs/conntrack").ok_or("the kernel does not tell net.ipv4.vs.conntrack")?;
    if value == "0" {
        found.push(
            Finding::node(
                "ipvs_conntrack",
                Severity::Critical,
                "IPVS",
                "traffic of Services is not masqueraded",
            )
            .proved_by("net.ipv4.vs.conntrack = 0 (kube-proxy sets 1)")
            .advise("sysctl -w net.ipv4.vs.conntrack=1; what set it back? restart kube-proxy"),
        );
    }
    Ok(())
}
