//! Two programs serve the same node's Services: after a migration the one before was not taken away. Which of them gets a packet
//! decides the place of their hooks, and each has its own idea of the endpoints.

use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::{Finding, Severity};
use crate::proxy::{Proxy, two_proxies};
use crate::snapshot::SourceId;

pub(super) const CHECK: Check = Check {
    id: "two_proxies",
    about: "two proxies serve Services side by side",
    needs: &[],
    looks_at: SourceId::RULES,
    readings: 1,
    run,
};

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    let Some((first, second)) = two_proxies(cx.snapshot, cx.model) else { return Ok(()) };
    let (one, other) = (first.proxy.words(), second.proxy.words());
    let mut f = Finding::node(
        CHECK.id,
        Severity::Warning,
        "proxies",
        format!("{one} and {other} both hold Services here"),
    );
    for d in [&first, &second] {
        f = f.proved_by(format!("{}: {}", d.proxy.words(), d.evidence.join("; ")));
    }
    if matches!(first.proxy, Proxy::Cilium | Proxy::Calico) {
        f = f.proved_by(format!("what {one} translates never meets the rules of {other}"));
    }
    found.push(
        f.advise(format!("which one is meant to serve? Take the other away, with its rules and maps: {one} or {other}"))
            .advise("the one that nobody updates any more keeps endpoints that are gone: packets that reach it are lost"),
    );
    Ok(())
}
