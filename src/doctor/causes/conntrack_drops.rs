//! Packets that conntrack drops, or entries that it throws out to make room (`conntrack -S`; `nf_conntrack_core.c`).

use super::{Check, CheckContext, Finding, NotChecked, Severity, SourceId};
use crate::snapshot::facts::Stats;

/// Name, value, severity, meaning.
type Stat = (&'static str, fn(&Stats) -> Option<u64>, Severity, &'static str);

const LOOKED_AT: [Stat; 4] = [
    ("drop", |s| s.drop, Severity::Warning, "packets are dropped as no entry could be made for them"),
    (
        "early_drop",
        |s| s.early_drop,
        Severity::Warning,
        "entries of living flows are thrown out to make room",
    ),
    (
        "chain_toolong",
        |s| s.chain_toolong,
        Severity::Warning,
        "packets are dropped as their bucket is too long",
    ),
    (
        "error",
        |s| s.error,
        Severity::Info,
        "packets that are malformed, or ICMP errors that belong to no flow",
    ),
];

pub(super) const CHECK: Check =
    Check { id: "conntrack_drops", needs: &[SourceId::ConntrackStats], looks_at: &[], readings: 2, run };

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    let c = cx.conntrack()?;
    for (name, of, severity, meaning) in LOOKED_AT {
        let Some(rise) = cx.stat_rise(of) else { continue };
        let title = format!("{name} rises: {meaning}");
        let mut f = Finding::node("conntrack_drops", severity, "conntrack", title)
            .proved_by(format!("{name}: {}", rise.text()));
        if let (Some(n), Some(max), Some(buckets)) = (c.limits.count, c.limits.max, c.limits.buckets) {
            f = f.proved_by(format!(
                "{} entries now, nf_conntrack_max {}, nf_conntrack_buckets {}",
                crate::figures::count(n),
                crate::figures::count(max),
                crate::figures::count(buckets)
            ));
        }
        found.push(f.advise(match name {
            "chain_toolong" => "more buckets: sysctl -w net.netfilter.nf_conntrack_buckets=N (a quarter of the maximum or more)",
            "error" => "see them: sysctl -w net.netfilter.nf_conntrack_log_invalid=255, then the kernel log",
            _ => "more room: sysctl -w net.netfilter.nf_conntrack_max=N; and see who opens flows: pane Conntrack",
        }));
    }
    Ok(())
}
