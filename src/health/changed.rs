//! What changed in the health of Services.

use super::judge::Health;
use super::state::HealthState;
use crate::changes::{About, Change, What};
use crate::format::plural;
use crate::proxy::{Model, Service, screen_label};
use crate::rates::service_key;
use jiff::Timestamp;
use std::collections::HashMap;

/// Services whose health changes alike in one reading beyond which they are reported as one.
const MANY: usize = 8;

/// From which state to which, and why.
type Turn<'a> = (HealthState, HealthState, &'a str);

/// Services that are in another state than before. Those that came or went are reported as Services.
pub fn changed(before: (&Model, &Health), now: (&Model, &Health), at: Timestamp) -> Vec<Change> {
    let same = std::sync::Arc::ptr_eq(&before.0.services, &now.0.services);
    if same && before.1.iter().map(|h| h.state).eq(now.1.iter().map(|h| h.state)) {
        return Vec::new();
    }
    let known: HashMap<u64, HealthState> =
        before.0.services.iter().zip(before.1.iter()).map(|(s, h)| (service_key(s), h.state)).collect();
    let mut alike: Vec<(Turn<'_>, Vec<&Service>)> = Vec::new();
    for (s, h) in now.0.services.iter().zip(now.1.iter()) {
        let Some(was) = known.get(&service_key(s)).copied().filter(|was| *was != h.state) else { continue };
        let key = (was, h.state, h.why.as_str());
        match alike.iter_mut().find(|a| a.0 == key) {
            Some(a) => a.1.push(s),
            None => alike.push((key, vec![s])),
        }
    }
    let mut found = Vec::new();
    for ((was, is, why), services) in alike {
        let why = if why.is_empty() { String::new() } else { format!(": {why}") };
        let change = |subject: String, about| Change {
            seen_at: at,
            what: What::Health,
            subject,
            about,
            before: Some(was.words().to_string()),
            now: Some(format!("{}{why}", is.words())),
            by: None,
            changed_before: None,
        };
        match services.len() {
            n if n > MANY => found.push(change(plural(n as u64, "Service"), About::Node)),
            _ => found.extend(services.into_iter().map(|s| {
                change(format!("{} {}", screen_label(s), s.protocol.name()), About::Service(service_key(s)))
            })),
        }
    }
    found
}
