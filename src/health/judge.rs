//! From facts to states.

use super::state::{HealthState, LostBackend, ServiceHealth};
use crate::doctor::{Examination, Severity, cause_of};
use crate::format::share_text;
use crate::proxy::{Mode, Model, RulesState, Service, enforces_policies};
use crate::reach::{ALL, Loss, Reach, SenderKind, ServiceReach, Taker, taker_words};
use crate::snapshot::Snapshot;
use std::sync::Arc;
use strum::IntoEnumIterator;

/// Causes by which new flows arrive elsewhere than they should, but arrive.
const SPREAD: [&str; 1] = ["uneven_backends"];

/// The health of all Services, in the model's order.
#[derive(Clone, Debug, Default)]
pub struct Health {
    services: Arc<Vec<ServiceHealth>>,
    counts: [usize; 7],
}

impl Health {
    /// Of a Service, by its place.
    pub fn get(&self, service: usize) -> Option<&ServiceHealth> {
        self.services.get(service)
    }

    /// Every Service's.
    pub fn iter(&self) -> impl Iterator<Item = &ServiceHealth> {
        self.services.iter()
    }

    /// How many Services are in a state.
    pub fn count(&self, state: HealthState) -> usize {
        self.counts[state as usize]
    }

    /// States with how many Services are in them, the worst first.
    pub fn counts(&self) -> impl Iterator<Item = (HealthState, usize)> + '_ {
        HealthState::iter().map(|s| (s, self.count(s)))
    }

    /// Services that lose new flows which they should not lose.
    pub fn bad(&self) -> usize {
        HealthState::iter().filter(|s| s.is_bad()).map(|s| self.count(s)).sum()
    }

    /// What rules and walks say, with the findings that name Services.
    pub fn judge(written: &Arc<Vec<ServiceHealth>>, done: &Examination) -> Health {
        let mut services = written.clone();
        let named = done.findings.iter().filter(|f| !f.services.is_empty());
        for f in named.filter(|f| f.severity < Severity::Info && !SPREAD.contains(&f.id)) {
            let state = match f.lost_share {
                Some(share) if share >= ALL && f.severity == Severity::Critical => HealthState::Failing,
                _ => HealthState::Degraded,
            };
            for i in &f.services {
                let Some(before) = services.get(*i) else { continue };
                // What walks know of the Service itself is more than what a finding says of all of its Services.
                let known = before.causes.contains(&f.id);
                if known && before.state <= HealthState::Degraded {
                    continue;
                }
                let Some(s) = Arc::make_mut(&mut services).get_mut(*i) else { continue };
                if !known {
                    s.causes.push(f.id);
                }
                // Rules that refuse all new flows refuse them whatever else is wrong.
                if matches!(s.state, HealthState::NoEndpoints | HealthState::NoLocalEndpoints) && known {
                    continue;
                }
                if s.state > state && s.state != HealthState::Stale {
                    s.state = state;
                    s.why.clone_from(&f.title);
                }
            }
        }
        let mut counts = [0; 7];
        services.iter().for_each(|s| counts[s.state as usize] += 1);
        Health { services, counts }
    }
}

/// What rules and walks say of each Service.
pub fn written(snapshot: &Snapshot, model: &Model, reach: &Reach) -> Vec<ServiceHealth> {
    let unknown = ServiceReach::default();
    let of = |(i, s): (usize, &Service)| one(snapshot, s, reach.get(i).unwrap_or(&unknown));
    model.services.iter().enumerate().map(of).collect()
}

fn one(snapshot: &Snapshot, s: &Service, reach: &ServiceReach) -> ServiceHealth {
    let state = |state, lost_share, causes: &[&'static str], why: &str| ServiceHealth {
        state,
        lost_share,
        causes: causes.to_vec(),
        why: why.into(),
        lost_backends: Vec::new(),
    };
    let refusing = match s.rules_state() {
        RulesState::Stale => {
            return state(
                HealthState::Stale,
                None,
                &[],
                "another mode takes its packets, or nothing leads to it",
            );
        }
        RulesState::NoEndpoints => {
            let why = "no endpoints: new flows are refused";
            return state(HealthState::NoEndpoints, Some(1.0), &["no_endpoints"], why);
        }
        RulesState::NoneHere => Some(state(
            HealthState::NoLocalEndpoints,
            Some(1.0),
            &["no_local_endpoints"],
            "a local policy, and no endpoint on this node",
        )),
        RulesState::Some => Some(state(
            HealthState::Degraded,
            Some(1.0),
            &["no_endpoints"],
            "no endpoints behind some of its addresses: new flows to them are refused",
        )),
        RulesState::Balancing
            if s.frontends.iter().all(|f| f.kind.is_some_and(crate::proxy::FrontendKind::is_mark)) =>
        {
            let why = "which packets have its firewall mark is not followed";
            return state(HealthState::Unknown, None, &[], why);
        }
        RulesState::Balancing => None,
    };
    // What a network policy shuts out is no loss: whom it means, only the policy knows.
    let by_design = |l: &&Loss| {
        l.parts.iter().all(|p| match p.taker {
            // A cache on the node has the Service's address, and answers itself.
            Taker::Untracked { here, .. } => here,
            _ => p.taker.owner(snapshot).is_some_and(enforces_policies),
        })
    };
    let mut losses: Vec<&Loss> = reach.losses.iter().filter(|l| !by_design(l)).collect();
    losses.sort_by(|a, b| b.share.total_cmp(&a.share).then(a.sender.cmp(&b.sender)));
    let Some(worst) = losses.first() else {
        return match (refusing, reach.missing) {
            (Some(refusing), _) => refusing,
            (None, Some(missing)) => state(HealthState::Unknown, None, &[], missing.words()),
            (None, None) if s.engine.mode() == Mode::Userspace => {
                state(HealthState::Unknown, None, &[], "only the kube-proxy process knows its backends")
            }
            // Maps say where it leads; what the programs do with packets is not followed.
            (None, None) if s.engine.mode().keeps_no_rules() => state(HealthState::Healthy, None, &[], ""),
            (None, None) => state(HealthState::Healthy, Some(0.0), &[], ""),
        };
    };
    let all_of_pods = |l: &Loss| l.sender == SenderKind::Pod && l.share >= ALL;
    let failing = losses.iter().any(|l| all_of_pods(l));
    let mut found = ServiceHealth {
        state: if failing { HealthState::Failing } else { HealthState::Degraded },
        lost_share: Some(worst.share),
        ..ServiceHealth::default()
    };
    let shown = losses.iter().find(|l| all_of_pods(l)).unwrap_or(worst);
    if let Some(part) = shown.parts.first() {
        let share = if shown.share >= ALL { "all".into() } else { share_text(Some(shown.share)) };
        let by = taker_words(snapshot, &part.taker);
        found.why = format!("{share} of new flows from {} lost: {by}", shown.sender.words());
    }
    for part in losses.iter().flat_map(|l| &l.parts) {
        let cause = match (&part.taker, s.engine.mode()) {
            // IPVS translates by itself what comes to the node's own addresses.
            (Taker::Untranslated, Mode::Ipvs) => "ipvs_addresses",
            (taker, _) => cause_of(snapshot, taker),
        };
        if !found.causes.contains(&cause) {
            found.causes.push(cause);
        }
        for b in &part.backends {
            if found.lost_backends.iter().all(|l| l.backend != *b) {
                let rule = part.taker.rule();
                found.lost_backends.push(LostBackend { backend: *b, cause, rule });
            }
        }
    }
    if let Some(refusing) = refusing {
        found.causes.extend(refusing.causes);
        found.state = found.state.min(refusing.state);
        found.lost_share = Some(1.0);
    }
    found
}
