//! UDP flows that still go to a backend which is gone: their client sends on from the same port, so the entry never dies, and
//! rules are not asked again. kube-proxy deletes such entries when an endpoint goes (`pkg/proxy/conntrack/cleanup.go`); where it
//! missed one, that client talks to nobody.

use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::{Finding, Severity};
use crate::format::count;
use crate::proxy::{Protocol, endpoint_text};
use crate::snapshot::SourceId;

pub(super) const CHECK: Check =
    Check { id: "stale_flows", needs: &[SourceId::Flows], looks_at: SourceId::RULES, readings: 2, run };

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    let before = cx.before()?;
    for (i, s) in cx.active_services().filter(|(_, s)| s.protocol != Protocol::Tcp) {
        let gone = |address, port| !s.backends.iter().any(|b| b.address == address && b.port == port);
        let was =
            before.model.services.iter().find(|o| {
                !o.stale && o.protocol == s.protocol && o.family == s.family && o.label() == s.label()
            });
        let (mut flows, mut example) = (0, None);
        let mut f = cx.service("stale_flows", Severity::Critical, i, "");
        for (key, figures) in cx.flows_of(i).iter().filter(|f| gone(f.0.backend, f.0.backend_port)) {
            // The cleaning follows the rules by a moment: what was in use a moment ago is no fault yet.
            let old = was.is_some_and(|w| {
                !w.backends.iter().any(|b| b.address == key.backend && b.port == key.backend_port)
            });
            if !old || cx.flows_before(key).is_none() {
                continue;
            }
            flows += u64::from(figures.flows);
            example.get_or_insert(key.backend);
            f.evidence.push(format!(
                "{} to {}: {} to {}, which is no endpoint any more; {} unanswered, up to {} s left",
                super::shared::flows(figures.flows),
                endpoint_text(key.frontend, key.frontend_port),
                if figures.flows == 1 { "goes" } else { "go" },
                endpoint_text(key.backend, key.backend_port),
                figures.unreplied,
                figures.longest_left_s,
            ));
        }
        if flows == 0 {
            continue;
        }
        f.title = format!(
            "{} still {} to a backend that is gone",
            super::shared::flows_n(flows),
            if flows == 1 { "goes" } else { "go" }
        );
        let first = s
            .frontends
            .first()
            .map_or(String::new(), |f| f.address.map_or_else(String::new, |a| format!(" --orig-dst {a}")));
        f.evidence.truncate(8);
        let protocol = s.protocol.lower();
        found.push(
            f.advise(format!(
                "free these clients: conntrack -D -p {protocol}{first}{}",
                example.map_or(String::new(), |b| format!(" --reply-src {b}"))
            ))
            .advise(format!(
                "{} endpoints now; kube-proxy logs what it cleans up at -v 4",
                count(s.backends.len() as u64)
            )),
        );
    }
    Ok(())
}
