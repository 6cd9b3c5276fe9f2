//! Without `net.ipv4.vs.conntrack`, netfilter does not see what IPVS does: masquerading of Service traffic does not happen, and
//! answers go astray. kube-proxy sets it to 1.

use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::{Finding, Severity};
use crate::proxy::Mode;
use crate::snapshot::SourceId;

pub(super) const CHECK: Check = Check {
    id: "ipvs_conntrack",
    about: "IPVS keeps no conntrack entries",
    needs: &[SourceId::Ipvs],
    looks_at: SourceId::RULES,
    readings: 1,
    run,
};

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    if !cx.active(Mode::Ipvs) {
        return Ok(());
    }
    let value = cx.must_sysctl("net/ipv4/vs/conntrack")?;
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
