//! Clients outside `loadBalancerSourceRanges` are dropped (`KUBE-PROXY-FIREWALL`, `KUBE-MARK-DROP`, nftables' `firewall-`
//! chains): right for strangers, wrong where the balancer or a proxy hides the client's address. Which it is cannot be seen from
//! here, so it is no alarm.

use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::{Finding, Severity};
use crate::proxy::{Action, frontend_text};
use crate::snapshot::SourceId;

pub(super) const CHECK: Check = Check {
    id: "source_ranges",
    about: "clients outside the source ranges are dropped",
    needs: &[],
    looks_at: SourceId::RULES,
    readings: 2,
    run,
};

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    for (i, s) in cx.active_services() {
        for f in s.frontends.iter().filter(|f| f.action == Action::Balance) {
            let (Some(ranges), Some(rule)) = (&f.source_ranges, f.refusal) else { continue };
            let Some(rise) = cx.rule_rise(rule) else { continue };
            let ranges: Vec<String> = ranges.iter().map(ToString::to_string).collect();
            found.push(
                cx.service("source_ranges", Severity::Info, i, "clients outside its source ranges are dropped")
                    .proved_by(format!("{} to {}: {}", cx.rule_text(rule), frontend_text(f), rise.text()))
                    .proved_by(format!("let in: {}", ranges.join(", ")))
                    .advise(format!("is a client one of them? kptop explain {} --client ADDRESS", frontend_text(f)))
                    .advise("add its network to spec.loadBalancerSourceRanges, or keep the client's address (externalTrafficPolicy: Local)"),
            );
        }
    }
    Ok(())
}
