//! Conntrack is full or soon will be: packets that begin a flow are dropped then (`nf_conntrack: table full, dropping packet`,
//! `nf_conntrack_alloc` in `nf_conntrack_core.c`).

use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::{Finding, Severity};
use crate::format::{count, duration};
use crate::snapshot::SourceId;
use std::time::Duration;

/// Part of the table from which on it is nearly full.
const NEARLY: f64 = 0.9;

/// Part from which on no new flow may find room at any moment.
const FULL: f64 = 0.98;

/// Full so soon is a warning at any fill.
const SOON: Duration = Duration::from_secs(600);

pub(super) const CHECK: Check = Check {
    id: "conntrack_full",
    about: "conntrack's table is full or will be",
    needs: &[],
    looks_at: &[],
    readings: 1,
    run,
};

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    let c = cx.conntrack()?;
    let (Some(n), Some(max)) = (c.limits.count, c.limits.max.filter(|m| *m > 0)) else {
        let why = "the kernel does not report how full conntrack is";
        return Err(NotChecked::new(SourceId::ConntrackStats, why));
    };
    let part = n as f64 / max as f64;
    let full_in = cx.facts.node.conntrack.full_in;
    let soon = full_in.filter(|t| *t < SOON && part > 0.3);
    if part < NEARLY && soon.is_none() {
        return Ok(());
    }
    let (severity, title) = match part >= FULL {
        true => (Severity::Critical, "the table is full: packets of new flows are dropped"),
        false => (Severity::Warning, "the table will be full"),
    };
    let mut f = Finding::node("conntrack_full", severity, "conntrack", title).proved_by(format!(
        "{} of {} entries: {:.1} %",
        count(n),
        count(max),
        part * 100.0
    ));
    if let Some(t) = full_in {
        f = f.proved_by(format!("full in {} at this growth", duration(t)));
    }
    let flows = cx.flows_read();
    if let Some((who, n)) = flows.and_then(|f| f.sources.iter().max_by_key(|s| s.1)) {
        f = f.proved_by(format!("most flows come from {who}: {}", count(u64::from(*n))));
    }
    found.push(
        f.advise(
            "make room: sysctl -w net.netfilter.nf_conntrack_max=N (kube-proxy: --conntrack-max-per-core)",
        )
        .advise(
            "find who opens so many flows: pane Conntrack, Sources; shorter timeouts for dead flows help too",
        ),
    );
    Ok(())
}
