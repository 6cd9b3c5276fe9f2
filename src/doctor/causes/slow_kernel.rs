//! Kernels that are too old for nftables mode (below 5.13, kubernetes.io "Virtual IPs and Service Proxies"), and those on which
//! programming many Services takes long: on 6.12 transactions bind each anonymous set by a walk over the whole transaction
//! (`__nft_set_trans_bind`: soft lockups of `nft` in kubernetes/kubernetes#135639 and #139513; 72 s for 10,000 Services in
//! 1.30's form measured on 6.18).

use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::{Finding, Severity};
use crate::format::count;
use crate::proxy::Mode;
use crate::snapshot::SourceId;

/// Chains from which on it is felt.
const MANY: usize = 10_000;

pub(super) const CHECK: Check = Check {
    id: "slow_kernel",
    about: "the kernel is too old for this mode",
    needs: &[],
    looks_at: SourceId::RULES,
    readings: 1,
    run,
};

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    if !cx.active(Mode::Nftables) {
        return Ok(());
    }
    let kernel = cx.kernel().ok_or(NotChecked::new(None, "the kernel's version is not known"))?;
    let release = cx.snapshot.node.kernel.clone().unwrap_or_default();
    if kernel < (5, 13) {
        found.push(
            Finding::node(
                "slow_kernel",
                Severity::Warning,
                "kernel",
                "this kernel is too old for nftables mode",
            )
            .proved_by(format!("kernel {release}; nftables mode wants 5.13 or later"))
            .advise("a newer kernel, or another mode: kptop compare --to iptables"),
        );
        return Ok(());
    }
    let tables = cx.snapshot.tables.iter().filter(|t| t.table.name == crate::proxy::nftables::TABLE);
    let chains = tables.map(|t| t.table.chains.len()).max().unwrap_or(0);
    if chains >= MANY && ((6, 1)..=(6, 18)).contains(&kernel) {
        found.push(
            Finding::node("slow_kernel", Severity::Info, "kernel", "a full sync of this many Services takes long on this kernel")
                .proved_by(format!("kernel {release}, {} chains in the table kube-proxy", count(chains as u64)))
                .advise("kube-proxy 1.33 and later write a quarter of the chains of 1.30; what a sync takes: its metric kubeproxy_sync_proxy_rules_duration_seconds")
                .advise("kubernetes/kubernetes#135639"),
        );
    }
    Ok(())
}
