//! Findings do not come and go with every reading: how bad one is rises at once, and falls only after a minute without its
//! cause.

use super::finding::{Finding, Severity, Subject};
use crate::proxy::Model;
use crate::rates::service_key;
use jiff::{SignedDuration, Timestamp};
use std::cell::LazyCell;
use std::collections::HashMap;

/// How long what was wrong stays after its cause was seen last.
pub const QUIET: SignedDuration = SignedDuration::from_secs(60);

/// What a finding is known by from reading to reading.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Service(u64),
    /// The subject in words.
    Other(String),
}

/// A finding, and what is remembered of it.
#[derive(Clone, Debug)]
struct Known {
    key: Key,
    finding: Finding,
    /// Its Services, however they are numbered now.
    services: Vec<u64>,
    since: Option<Timestamp>,
    /// When its cause was seen last.
    seen: Timestamp,
    /// When it was seen last as bad as it is said to be.
    severity: (Severity, Timestamp),
}

/// Remembers findings from reading to reading.
#[derive(Clone, Debug, Default)]
pub struct Steady {
    known: Vec<Known>,
    looked: bool,
}

impl Steady {
    /// Takes what one reading shows, and gives what is to be said.
    pub fn settle(
        &mut self,
        now: Timestamp,
        found: Vec<Finding>,
        model: &Model,
        renumbered: bool,
    ) -> Vec<Finding> {
        let key_of = |f: &Finding| match f.subject {
            Subject::Service(i) => {
                model.services.get(i).map_or(Key::Other(f.about.clone()), |s| Key::Service(service_key(s)))
            }
            _ => Key::Other(f.about.clone()),
        };
        let first = !std::mem::replace(&mut self.looked, true);
        // A broken Service that goes with wiped rules has not healed.
        let wiped = found.iter().any(|f| f.id == "wiped" && f.severity == Severity::Critical);
        let mut before: Vec<Option<Known>> = std::mem::take(&mut self.known).into_iter().map(Some).collect();
        // Those of one cause and subject in their order, the first one last.
        let mut places: HashMap<(&str, Key), Vec<usize>> = HashMap::new();
        for (i, k) in before.iter().enumerate().rev() {
            if let Some(k) = k {
                places.entry((k.finding.id, k.key.clone())).or_default().push(i);
            }
        }
        let mut said = Vec::with_capacity(found.len());
        for mut f in found {
            let id = (f.id, key_of(&f));
            let old = places.get_mut(&id).and_then(Vec::pop).and_then(|at| before[at].take());
            let since = match &old {
                Some(k) => k.since,
                None => (!first).then_some(now),
            };
            let severity = match old.map(|k| k.severity) {
                Some((worse, at)) if worse < f.severity && now.duration_since(at) < QUIET => (worse, at),
                _ => (f.severity, now),
            };
            let finding = f.clone();
            let keys = f.services.iter().filter_map(|i| model.services.get(*i)).map(service_key).collect();
            (f.since, f.severity) = (since, severity.0);
            said.push(f);
            self.known.push(Known { key: id.1, finding, services: keys, since, seen: now, severity });
        }
        let numbers = LazyCell::new(|| numbers(model));
        for mut k in before.into_iter().flatten().filter(|k| k.severity.0 < Severity::Info) {
            let stays = wiped && k.is_gone(&numbers);
            if stays {
                k.seen = now;
            } else if now.duration_since(k.seen) >= QUIET {
                continue;
            }
            if renumbered {
                k.renumber(&numbers);
            }
            let mut f = k.finding.clone();
            (f.since, f.severity, f.quiet_since, f.lost_rate) =
                (k.since, k.severity.0, (!stays).then_some(k.seen), None);
            said.push(f);
            self.known.push(k);
        }
        said
    }
}

/// The place of each Service, by its key; the first one's where two have the same.
fn numbers(model: &Model) -> HashMap<u64, usize> {
    let mut all = HashMap::with_capacity(model.services.len());
    for (i, s) in model.services.iter().enumerate() {
        all.entry(service_key(s)).or_insert(i);
    }
    all
}

impl Known {
    /// True where it is about Services, and none of them is there.
    fn is_gone(&self, numbers: &HashMap<u64, usize>) -> bool {
        !self.services.is_empty() && !self.services.iter().any(|key| numbers.contains_key(key))
    }

    /// Places in the model of today.
    fn renumber(&mut self, numbers: &HashMap<u64, usize>) {
        self.finding.services = self.services.iter().filter_map(|key| numbers.get(key).copied()).collect();
        self.finding.subject = match (&self.key, self.finding.services.first()) {
            (Key::Service(_), Some(i)) => Subject::Service(*i),
            // Rules and tables are others by now.
            _ => Subject::Node,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(severity: Severity) -> Finding {
        Finding::node("conntrack_full", severity, "conntrack", "full")
    }

    #[test]
    fn severities_rise_at_once_and_fall_after_a_minute() {
        let (mut steady, model) = (Steady::default(), Model::default());
        let at = |s: i64| Timestamp::from_second(1_000 + s).unwrap();
        let mut look = |s: i64, found: Vec<Finding>| steady.settle(at(s), found, &model, false);
        assert!(look(0, vec![]).is_empty());
        let said = look(1, vec![finding(Severity::Warning)]);
        assert_eq!((said[0].severity, said[0].since), (Severity::Warning, Some(at(1))));
        assert_eq!(look(2, vec![finding(Severity::Critical)])[0].severity, Severity::Critical);
        assert_eq!(look(30, vec![finding(Severity::Info)])[0].severity, Severity::Critical);
        assert_eq!(look(63, vec![finding(Severity::Info)])[0].severity, Severity::Info);
        // Gone: what was a warning stays for a minute, and says since when it is quiet.
        look(70, vec![finding(Severity::Warning)]);
        let said = look(71, vec![]);
        assert_eq!((said[0].quiet_since, said[0].since), (Some(at(70)), Some(at(1))));
        assert_eq!(look(129, vec![]).len(), 1);
        assert!(look(131, vec![]).is_empty());
    }
    #[test]
    fn nothing_heals_while_the_rules_are_wiped() {
        let (mut steady, model) = (Steady::default(), Model::default());
        let at = |s: i64| Timestamp::from_second(1_000 + s).unwrap();
        let wiped = || vec![Finding::node("wiped", Severity::Critical, "ip filter", "flushed")];
        steady.settle(at(0), vec![finding(Severity::Warning)], &model, false);
        // One about a Service that is not there any more.
        let of_node = steady.known[0].clone();
        steady.known.push(Known { key: Key::Service(7), services: vec![7], ..of_node });
        for (s, said) in [(1, 3), (100, 2), (200, 2)] {
            let now = steady.settle(at(s), wiped(), &model, false);
            assert_eq!(now.len(), said, "{s}");
            assert!(now.last().unwrap().quiet_since.is_none(), "{s}");
        }
        let mut look = |s: i64, found: Vec<Finding>| steady.settle(at(s), found, &model, false);
        // The rules are back, and what was wrong is not: each is over a minute later.
        assert_eq!(look(230, vec![]).len(), 2);
        assert!(look(261, vec![]).is_empty());
    }
}
