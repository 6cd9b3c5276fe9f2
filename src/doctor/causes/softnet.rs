//! The receive queue of a CPU is full, and packets are dropped before any rule sees them (`/proc/net/softnet_stat`, second column;
//! `net/core/dev.c`, `enqueue_to_backlog`).

use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::{Finding, Severity};
use crate::format::count;
use crate::snapshot::SourceId;

pub(super) const CHECK: Check = Check {
    id: "softnet",
    about: "receive queues of CPUs overflow",
    needs: &[SourceId::Counters],
    looks_at: &[],
    readings: 2,
    run,
};

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    let rises = cx.softnet_rises();
    let Some((_, first)) = rises.first() else { return Ok(()) };
    let span = crate::format::duration(first.over);
    let sum: u64 = rises.iter().map(|r| r.1.by).sum();
    let cpus: Vec<String> = rises.iter().map(|(cpu, r)| format!("CPU {cpu}: {}", count(r.by))).collect();
    let mut f = Finding::node(
        "softnet",
        Severity::Warning,
        "receive queues",
        "CPUs drop packets as their receive queue is full",
    )
    .proved_by(format!("{} packets in {span}: {}", count(sum), cpus[..cpus.len().min(8)].join(", ")));
    if let Some(n) = cx.sysctl("net/core/netdev_max_backlog") {
        f = f.proved_by(format!("net.core.netdev_max_backlog = {n}"));
    }
    found.push(
        f.advise("longer queues: sysctl -w net.core.netdev_max_backlog=N; more CPUs for them: receive packet steering (/sys/class/net/*/queues/*/rps_cpus)")
            .advise("the figures are the whole node's, not those of one network namespace"),
    );
    Ok(())
}
