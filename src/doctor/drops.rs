//! DROP rules that are no Service's and that take packets now: another program's table, or kube-proxy's own checks.

use super::{Facts, Finding, Severity, Subject};
use crate::figures::{count, short};
use crate::rates::CauseKind;

pub(super) const ID: &str = "drops";

pub(super) fn find(facts: &Facts<'_>, found: &mut Vec<Finding>) {
    for cause in facts.node.causes.iter().filter(|c| c.kind == CauseKind::Rules) {
        let Ok(rate) = cause.rate else { continue };
        if rate <= 0.0 {
            continue;
        }
        let table =
            facts.snapshot.tables.iter().position(|t| {
                cause.name.starts_with(&format!("DROP rules of {} {}", t.family, t.table.name))
            });
        found.push(Finding {
            id: ID,
            severity: Severity::Info,
            title: format!("{} take packets", cause.name),
            subject: table.map_or(Subject::Node, Subject::Table),
            about: "packets of any traffic, not only of Services".into(),
            evidence: vec![format!("{} packets a second, {} so far", short(rate), count(cause.total))],
            advice: vec![
                "pane Rules: the chain whose DROP rule counts; is it traffic that should pass?".into(),
            ],
        });
    }
}
