//! Rules or virtual servers of a mode that is not active any more: the one before was not cleaned up
//! (`kube-proxy --cleanup`, `cleanupAndExit`).

use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::{Finding, Severity};
use crate::proxy::{Mode, ModeState, State};
use crate::snapshot::SourceId;

pub(super) const CHECK: Check = Check {
    id: "leftovers",
    about: "rules of a mode that is not active",
    needs: &[],
    looks_at: SourceId::RULES,
    readings: 1,
    run,
};

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    let modes = &cx.model.services.modes;
    let now = |m: &ModeState| modes.iter().find(|o| o.state == State::Active && o.family == m.family);
    for m in modes.iter().filter(|m| m.state == State::Stale) {
        let active = now(m);
        // The other variant of iptables is a cause of its own.
        if m.engine.mode() == Mode::Iptables && active.is_some_and(|a| a.engine.mode() == Mode::Iptables) {
            continue;
        }
        let variant = m.engine.variant().map(|v| format!(" ({})", v.name())).unwrap_or_default();
        let mut f = Finding::node(
            "leftovers",
            Severity::Warning,
            &format!("{} mode{variant}", m.engine.mode().name()),
            format!("{} mode{variant} {} is stale", m.engine.mode().name(), m.family),
        )
        .proved_by(format!("{} Services in {} rules", m.services, m.rules));
        if let Some(a) = active {
            f = f.proved_by(format!("active in {}: {} mode", a.family, a.engine.mode().name()));
        }
        found.push(
            f.advise("a restart of the node removes it, and a restart of kube-proxy where its version cleans up at its start")
                .advise("not `kube-proxy --cleanup` while it runs: that deletes the rules of every mode, its own too"),
        );
    }
    Ok(())
}
