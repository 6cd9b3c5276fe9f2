//! Real servers of weight 0: they get no new connections, and keep those that they have (kube-proxy drains terminating
//! endpoints like this, `pkg/proxy/ipvs/graceful_termination.go`). Where all servers of a Service have it, new flows find none.

use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::{Finding, Severity};
use crate::format::count;
use crate::proxy::{BackendFigures, Mode, endpoint_text};
use crate::snapshot::SourceId;

pub(super) const CHECK: Check = Check {
    id: "ipvs_weight",
    about: "real servers have weight 0",
    needs: &[SourceId::Ipvs],
    looks_at: SourceId::RULES,
    readings: 1,
    run,
};

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    if cx.snapshot.ipvs.as_ref().is_some_and(|i| i.value.unweighted) {
        let why = "weights were not given: add what ipvsadm -Ln prints, without --stats";
        return Err(NotChecked::new(SourceId::Ipvs, why));
    }
    for (i, s) in
        cx.active_services().filter(|(_, s)| s.engine.mode() == Mode::Ipvs && !s.backends.is_empty())
    {
        let all = s.backends.iter().zip(cx.model.figures(i).backends());
        let drained: Vec<_> = all.filter(|(b, _)| b.weight == Some(0)).collect();
        if drained.is_empty() {
            continue;
        }
        let held = |f: &BackendFigures| (f.active.unwrap_or(0), f.inactive.unwrap_or(0));
        let all = drained.len() == s.backends.len();
        if !all && drained.iter().all(|(_, f)| held(f) == (0, 0)) {
            continue;
        }
        let mut finding = match all {
            true => cx.service(
                "ipvs_weight",
                Severity::Critical,
                i,
                "all its real servers have weight 0: new flows find none",
            ),
            false => {
                let title = format!(
                    "{} of {} real servers drained: weight 0, with connections",
                    drained.len(),
                    s.backends.len()
                );
                cx.service("ipvs_weight", Severity::Info, i, title)
            }
        };
        for (b, f) in drained.iter().take(8) {
            let (active, inactive) = held(f);
            let at = endpoint_text(b.address, b.port);
            finding = finding.proved_by(format!(
                "{at}: weight 0, {} active and {} inactive connections",
                count(active),
                count(inactive)
            ));
        }
        found.push(finding.advise("terminating pods drain like this; one that stays so long after: ipvsadm -Ln, and kube-proxy's log (graceful termination)"));
    }
    Ok(())
}
