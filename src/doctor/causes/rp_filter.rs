//! Strict reverse path filtering drops packets whose answer would go out by another interface: asymmetric routes, several
//! uplinks, some CNIs (`fib_validate_source`, counter `IPReversePathFilter`).

use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::{Finding, Severity};
use crate::snapshot::SourceId;
use crate::snapshot::facts::STRICT_RP_FILTER;

pub(super) const CHECK: Check = Check {
    id: "rp_filter",
    about: "strict reverse path filtering drops packets",
    needs: &[SourceId::Counters, SourceId::Sysctls],
    looks_at: &[],
    readings: 2,
    run,
};

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    let strict = cx.must_sysctl(STRICT_RP_FILTER)?;
    let Some(rise) = cx.counter_rise("TcpExt.IPReversePathFilter") else { return Ok(()) };
    if strict.is_empty() {
        return Ok(());
    }
    let links: Vec<&str> = strict.split(' ').collect();
    let shown = links[..links.len().min(8)].join(", ");
    found.push(
        Finding::node(
            "rp_filter",
            Severity::Warning,
            "reverse path filter",
            "packets are dropped as their answer would go another way",
        )
        .proved_by(format!("IPReversePathFilter: {}", rise.text()))
        .proved_by(format!("strict (rp_filter = 1) on {} interfaces: {shown}", links.len()))
        .advise("loose instead: sysctl -w net.ipv4.conf.all.rp_filter=2")
        .advise("see them: sysctl -w net.ipv4.conf.all.log_martians=1, then the kernel log"),
    );
    Ok(())
}
