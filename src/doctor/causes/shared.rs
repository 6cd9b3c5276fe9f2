//! What several causes say.

use crate::doctor::context::CheckContext;
use crate::doctor::finding::{Finding, Severity};
use crate::format::count;
use crate::proxy::Action;

/// Services some frontend of which refuses everything: how much it matters depends on whether clients ask.
pub(super) fn refusing(
    cx: &CheckContext<'_>,
    action: Action,
    found: &mut Vec<Finding>,
    say: impl Fn(usize, Option<f64>, Finding) -> Finding,
) {
    for (i, s) in cx.active_services() {
        let figures = cx.model.figures(i);
        let mut frontends =
            s.frontends.iter().zip(figures.frontends()).filter(|f| f.0.action == action).peekable();
        if frontends.peek().is_none() {
            continue;
        }
        let rise = |f: &crate::proxy::Frontend| cx.rule_rise(f.refusal?);
        let rises: Vec<_> = s.frontends.iter().filter(|f| f.action == action).filter_map(rise).collect();
        let now = rises.iter().map(|r| r.per_second()).reduce(|a, b| a + b);
        let refused = frontends.filter_map(|f| f.1.refused).reduce(|a, b| a + b);
        let severity = severity(now.is_some(), refused);
        let mut f = cx.service("", severity, i, "");
        if refused.is_none() {
            f.evidence.push("whether anybody asks is not counted in this mode".into());
        }
        found.push(say(i, now, f));
    }
}

/// A Service's name, with its family where it is not the usual one.
pub(super) fn label(s: &crate::proxy::Service) -> String {
    let family = if s.family == crate::ruleset::IpFamily::V6 { " (ipv6)" } else { "" };
    format!("{}{family}", s.label())
}

/// How to ask the API for a Service's endpoints.
pub(super) fn ask_api(s: &crate::proxy::Service) -> String {
    let (namespace, name) =
        s.name.as_ref().map_or(("NAMESPACE", "NAME"), |n| (n.namespace.as_str(), n.name.as_str()));
    format!("kubectl -n {namespace} get endpointslices -l kubernetes.io/service-name={name}")
}

/// `1 flow`, `12 flows`
pub(super) fn flows(n: u32) -> String {
    flows_n(u64::from(n))
}

pub(super) fn flows_n(n: u64) -> String {
    format!("{} flow{}", count(n), if n == 1 { "" } else { "s" })
}

/// `1 flow is`, `12 flows are`
pub(super) fn flows_are(n: u32) -> String {
    format!("{} {}", flows(n), if n == 1 { "is" } else { "are" })
}

/// How much it matters: nobody asked so far is a Service that is not in use, or not yet.
pub(super) fn severity(asked_now: bool, refused: Option<u64>) -> Severity {
    match refused {
        _ if asked_now => Severity::Critical,
        Some(0) => Severity::Info,
        _ => Severity::Warning,
    }
}
