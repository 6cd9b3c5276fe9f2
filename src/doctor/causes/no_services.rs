//! kube-proxy's chains hang where they belong, and not one Service is in them, not even `default/kubernetes`: kube-proxy runs
//! or ran here, and knows no Service (kubernetes/kubernetes#123837). The empty chains of the other family of a single-stack
//! cluster are no fault.

use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::{Finding, Severity};
use crate::proxy::{chain as names, nftables};
use crate::ruleset::{ChainId, Table};
use crate::snapshot::SourceId;

pub(super) const CHECK: Check = Check {
    id: "no_services",
    about: "kube-proxy's chains hold no Service",
    needs: &[],
    looks_at: SourceId::RULES,
    readings: 1,
    run,
};

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    if !cx.model.services.is_empty() {
        return Ok(());
    }
    let hanging: Vec<String> = cx
        .snapshot
        .tables
        .iter()
        .filter(|t| {
            let name = if t.table.name == nftables::TABLE { NFT_SERVICES } else { names::SERVICES };
            t.table.name != "filter" && t.table.chain(name).is_some_and(|c| is_reached(&t.table, c))
        })
        .map(|t| format!("{} {}", t.family, t.table.name))
        .collect();
    if hanging.is_empty() {
        return Ok(());
    }
    found.push(
        Finding::node(
            "no_services",
            Severity::Critical,
            "kube-proxy",
            "kube-proxy's chains hang here, and hold not one Service",
        )
        .proved_by(format!(
            "base chains lead to kube-proxy's in {}, and nothing is behind",
            hanging.join(" and ")
        ))
        .proved_by("even default/kubernetes is missing, which every cluster has")
        .advise("does kube-proxy reach the API, and may it list Services and EndpointSlices? its log says it")
        .advise("is it given another cluster's kubeconfig, or a label selector that fits nothing?"),
    );
    Ok(())
}

/// The chain of nftables mode that all new flows pass.
const NFT_SERVICES: &str = "services";

/// True where a rule of a base chain leads to a chain, by one more at most.
fn is_reached(t: &Table, to: ChainId) -> bool {
    let leads = |from: ChainId| {
        let rules = t.chains[from.0 as usize].rules.clone();
        rules.filter_map(|r| t.jump_of(&t.rules[r as usize])).collect::<Vec<_>>()
    };
    let bases = (0..t.chains.len() as u32).map(ChainId).filter(|c| t.chains[c.0 as usize].base.is_some());
    bases.flat_map(leads).any(|c| c == to || leads(c).contains(&to))
}
