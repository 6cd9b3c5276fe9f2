//! Rules of a mode that is not at work any more.

use super::{Facts, Finding, Severity, Subject};
use crate::proxy::State;

pub(super) const ID: &str = "leftovers";

pub(super) fn find(facts: &Facts<'_>, found: &mut Vec<Finding>) {
    for m in facts.model.modes.iter().filter(|m| m.state == State::Leftover) {
        let variant = m.variant.map(|v| format!(" ({})", v.name())).unwrap_or_default();
        let now = facts.model.modes.iter().find(|o| o.state == State::Active && o.family == m.family);
        let mut evidence = vec![format!("{} Services in {} rules", m.services, m.rules)];
        evidence.extend(now.map(|n| format!("at work in {}: {} mode", n.family, n.mode.name())));
        found.push(Finding {
            id: ID,
            severity: Severity::Warning,
            title: format!("{} mode{variant} {} is left over", m.mode.name(), m.family),
            subject: Subject::Node,
            about: format!("{} mode{variant}", m.mode.name()),
            evidence,
            advice: vec![format!(
                "clean up with that mode's own kube-proxy: kube-proxy --cleanup (or restart the node)"
            )],
        });
    }
}
