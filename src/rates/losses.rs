//! New flows that were lost over the session: of each Service that ever lost any, and of all together.

use super::history::History;
use super::session::Session;
use std::collections::HashMap;
use std::time::Duration;

/// Lost new flows a second over the session. Services that never lost any take no room.
#[derive(Clone, Debug, Default)]
pub struct Losses {
    /// By the key of the Service ([`super::service_key`]).
    services: HashMap<u64, Session, foldhash::fast::FixedState>,
    total: Session,
    last: Option<Duration>,
}

impl Losses {
    /// Takes what Services lose at the last reading of `history`: their keys, and lost new flows a second.
    pub fn push(&mut self, history: &History, lost: impl Iterator<Item = (u64, f64)>) {
        let Some((began, at)) = history.times() else { return };
        // Nothing new was read.
        if self.last.is_some_and(|last| at <= last) {
            return;
        }
        let before = self.last.replace(at);
        let mut rest = self.services.keys().copied().collect::<std::collections::HashSet<u64>>();
        let mut total = 0.0;
        for (key, rate) in lost {
            total += rate;
            rest.remove(&key);
            let session = self.services.entry(key).or_insert_with(|| {
                // Until now it lost nothing.
                let mut session = Session::default();
                session.push(began, 0.0);
                before.iter().for_each(|b| session.push(*b, 0.0));
                session
            });
            session.push(at, rate);
        }
        for key in rest {
            if let Some(session) = self.services.get_mut(&key) {
                session.push(at, 0.0);
            }
        }
        self.total.push(at, total);
    }

    /// Lost new flows a second of a Service; `None` where it never lost any.
    pub fn of(&self, key: u64) -> Option<&Session> {
        self.services.get(&key)
    }

    /// Those of all Services.
    pub fn total(&self) -> &Session {
        &self.total
    }
}
