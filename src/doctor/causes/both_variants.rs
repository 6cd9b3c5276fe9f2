//! Services in tables of both iptables-legacy and iptables-nft: kube-proxy was restarted with another iptables, and what it left
//! translates too, or refuses what lives (kubernetes/kubernetes#71305). Tables of both side by side are no fault as long as only
//! one holds Services.

use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::{Finding, Severity};
use crate::format::count;
use crate::proxy::{Mode, State, Variant};
use crate::ruleset::IpFamily;
use crate::snapshot::SourceId;

pub(super) const CHECK: Check = Check {
    id: "both_variants",
    about: "Services in iptables-legacy and -nft at once",
    needs: &[],
    looks_at: SourceId::RULES,
    readings: 1,
    run,
};

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    for family in [IpFamily::V4, IpFamily::V6] {
        let of = |v: Variant| {
            cx.model.services.modes.iter().find(move |m| {
                m.engine.mode() == Mode::Iptables && m.family == family && m.engine.variant() == Some(v)
            })
        };
        let (Some(legacy), Some(nft)) = (of(Variant::Legacy), of(Variant::Nft)) else { continue };
        let left = if legacy.state == State::Stale { "legacy" } else { "nft" };
        found.push(
            Finding::node("both_variants", Severity::Warning, &format!("iptables {family}"), "Services in both iptables-legacy and iptables-nft")
                .proved_by(format!("legacy: {} Services in {} rules", legacy.services, count(legacy.rules as u64)))
                .proved_by(format!("nft: {} Services in {} rules", nft.services, count(nft.rules as u64)))
                .advise(format!("take {left} for the one that was left; clear its KUBE- chains: iptables-{left}-save | grep -v KUBE- | iptables-{left}-restore"))
                .advise("both translate, at one priority: which comes first is the order in which they were made"),
        );
    }
    Ok(())
}
