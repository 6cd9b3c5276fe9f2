//! Entries that could not be inserted: two packets of one socket raced through DNAT and took different backends, or two
//! flows clashed in SNAT (`__nf_conntrack_confirm`, `nf_conntrack_core.c`). The loser is dropped: with DNS over UDP, which
//! asks for A and AAAA from one port at once, the resolver waits 5 seconds.

use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::{Finding, Severity};
use crate::format::count;
use crate::proxy::Protocol;
use crate::snapshot::SourceId;
use crate::snapshot::facts::ConntrackStat;

pub(super) const CHECK: Check = Check {
    id: "conntrack_insert_failed",
    about: "packets lose the race for their conntrack entry",
    needs: &[SourceId::ConntrackStats],
    looks_at: &[],
    readings: 2,
    run,
};

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    let Some(rise) = cx.stat_rise(ConntrackStat::InsertFailed) else { return Ok(()) };
    let mut f = Finding::node(
        "conntrack_insert_failed",
        Severity::Warning,
        "conntrack",
        "insert_failed rises: packets that begin a flow lose a race and are dropped",
    )
    .proved_by(format!("insert_failed: {}", rise.text()));
    if let Some(n) = cx.snapshot.conntrack.as_ref().and_then(|c| c.stats?.get(ConntrackStat::ClashResolve)) {
        f = f.proved_by(format!("clash_resolve: {} in all (races that the kernel could settle)", count(n)));
    }
    let dns = cx.active_services().find(|(_, s)| {
        s.protocol == Protocol::Udp && s.frontends.iter().any(|f| f.port == 53) && s.backends.len() > 1
    });
    if let Some((_, s)) = dns {
        f = f.proved_by(format!("{} answers DNS over UDP from {} backends", s.label(), s.backends.len()));
    }
    found.push(
        f.advise("who: conntrack -S; clients that ask twice from one port at once (glibc: options single-request-reopen)")
            .advise("DNS: a cache on each node (NodeLocal DNSCache) takes it out of DNAT")
            .advise("SNAT: masquerade with --random-fully; see kubernetes/kubernetes#56903"),
    );
    Ok(())
}
