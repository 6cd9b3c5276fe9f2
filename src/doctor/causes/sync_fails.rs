//! kube-proxy cannot write its rules: each try fails, and what changes in the cluster does not arrive on this node.

use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::{Finding, Severity};
use crate::doctor::syncs::{failures, overdue};
use crate::proxy::Mode;
use crate::snapshot::SourceId;

pub(super) const CHECK: Check = Check {
    id: "sync_fails",
    about: "kube-proxy cannot write its rules",
    needs: &[SourceId::KubeProxy],
    looks_at: &[],
    readings: 1,
    run,
};

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    let k = cx.kube_proxy_with_metrics()?;
    let late = overdue(k);
    let Some(failed) = failures(k).filter(|_| !late.is_empty()) else { return Ok(()) };
    let mut f =
        Finding::node(CHECK.id, Severity::Critical, "kube-proxy", "kube-proxy cannot write its rules");
    for why in late {
        f = f.proved_by(why);
    }
    let tool = match cx.active(Mode::Nftables) {
        true => "nft",
        false => "iptables-restore",
    };
    found.push(
        f.proved_by(failed)
            .advise("its log has the error: kubectl -n kube-system logs -l k8s-app=kube-proxy --field-selector spec.nodeName=$(hostname) | grep -i fail")
            .advise(format!("causes that were seen: {tool} missing or of another version, the xtables lock held, rules that the kernel refuses (too old, out of memory), a full disk"))
            .advise("endpoints that moved since get no traffic here, and those that went still do: drain the node if it lasts"),
    );
    Ok(())
}
