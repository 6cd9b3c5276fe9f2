//! Services that refuse all new flows: no endpoints, or none on this node under a local policy.

use super::{Facts, Finding, Severity, Subject};
use crate::columns::screen_label;
use crate::figures::{count, short};
use crate::proxy::{Action, Health, frontend_text};

pub(super) const ID: &str = "no_endpoints";

pub(super) fn find(facts: &Facts<'_>, found: &mut Vec<Finding>) {
    for (i, s) in facts.model.services.iter().enumerate() {
        let health = s.health();
        let (title, why, advice) = match health {
            Health::Rejecting => (
                "no endpoints: new flows are rejected",
                "no endpoints",
                "look at the Service's selector and whether its pods are ready: kubectl get endpointslices",
            ),
            Health::Dropping => (
                "no endpoint on this node: new flows are dropped",
                "traffic policy Local, no endpoint on this node",
                "send this traffic to nodes that run its pods, or set the traffic policy to Cluster",
            ),
            Health::Leftover | Health::Fine => continue,
        };
        let rate = facts.rates.get(i).and_then(|r| r.refused.ok());
        let mut evidence = Vec::new();
        for f in s.frontends.iter().filter(|f| f.action != Action::Balance) {
            let taken = f.refused.map_or(String::new(), |n| format!(", {} packets so far", count(n)));
            evidence.push(format!("{} {}: {why}{taken}", frontend_text(f), f.action.name()));
        }
        if let Some(r) = rate {
            evidence.push(format!("{} packets a second are refused now", short(r)));
        }
        // Nobody asked so far: a Service that is not in use, or not yet.
        let refused = s.refused();
        let asked = refused.is_some_and(|n| n > 0);
        if refused.is_none() {
            evidence.push("whether anybody asks is not counted in this mode".into());
        }
        found.push(Finding {
            id: ID,
            severity: if asked { Severity::Critical } else { Severity::Warning },
            title: title.into(),
            subject: Subject::Service(i),
            about: format!("{} {}", screen_label(s), s.protocol.name()),
            evidence,
            advice: vec![advice.into()],
        });
    }
}
