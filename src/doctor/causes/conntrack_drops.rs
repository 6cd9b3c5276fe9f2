//! Packets that conntrack drops, or entries that it throws out to make room (`conntrack -S`; `nf_conntrack_core.c`).

use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::{Finding, Severity};
use crate::snapshot::SourceId;
use crate::snapshot::facts::ConntrackStat;

/// Statistic, severity, what a rise means.
const LOOKED_AT: [(ConntrackStat, Severity, &str); 4] = [
    (ConntrackStat::Drop, Severity::Warning, "packets are dropped as no entry could be made for them"),
    (ConntrackStat::EarlyDrop, Severity::Warning, "entries of living flows are thrown out to make room"),
    (ConntrackStat::ChainTooLong, Severity::Warning, "packets are dropped as their bucket is too long"),
    (
        ConntrackStat::Error,
        Severity::Info,
        "packets that are malformed, or ICMP errors that belong to no flow",
    ),
];

pub(super) const CHECK: Check = Check {
    id: "conntrack_drops",
    about: "conntrack drops packets",
    needs: &[SourceId::ConntrackStats],
    looks_at: &[],
    readings: 2,
    run,
};

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    let c = cx.conntrack()?;
    for (stat, severity, meaning) in LOOKED_AT {
        let Some(rise) = cx.stat_rise(stat) else { continue };
        let name = stat.name();
        let title = format!("{name} rises: {meaning}");
        let mut f = Finding::node("conntrack_drops", severity, "conntrack", title)
            .proved_by(format!("{name}: {}", rise.text()));
        if let (Some(n), Some(max), Some(buckets)) = (c.limits.count, c.limits.max, c.limits.buckets) {
            f = f.proved_by(format!(
                "{} entries now, nf_conntrack_max {}, nf_conntrack_buckets {}",
                crate::format::count(n),
                crate::format::count(max),
                crate::format::count(buckets)
            ));
        }
        found.push(f.advise(match stat {
            ConntrackStat::ChainTooLong => "more buckets: sysctl -w net.netfilter.nf_conntrack_buckets=N (a quarter of the maximum or more)",
            ConntrackStat::Error => "see them: sysctl -w net.netfilter.nf_conntrack_log_invalid=255, then the kernel log",
            _ => "more room: sysctl -w net.netfilter.nf_conntrack_max=N; and see who opens flows: pane Conntrack",
        }));
    }
    Ok(())
}
