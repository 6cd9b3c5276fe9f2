//! Services, frontends and backends that came, went or are others.

use super::{About, Found, What, pairs};
use crate::proxy::{Backend, Frontend, Model, Service, endpoint_text, frontend_text};
use crate::rates::service_key;
use std::collections::BTreeMap;

/// Services that come or go in one reading beyond which they are reported as one.
const MANY: usize = 12;

/// A Service's name for people, unique in a model.
fn subject(s: &Service) -> String {
    let left = if s.stale { format!(" (stale, {})", s.engine.mode().name()) } else { String::new() };
    let family = if s.family == crate::ruleset::IpFamily::V6 { " ipv6" } else { "" };
    format!("{} {}{family}{left}", s.label(), s.protocol.name())
}

pub(super) fn compare(before: &Model, now: &Model, found: &mut Found) {
    fn by_name(m: &Model) -> BTreeMap<String, &Service> {
        m.services.iter().map(|s| (subject(s), s)).collect()
    }
    let (old, new) = (by_name(before), by_name(now));
    let gone: Vec<_> = old.iter().filter(|(name, _)| !new.contains_key(*name)).collect();
    let came: Vec<_> = new.iter().filter(|(name, _)| !old.contains_key(*name)).collect();
    for (list, has_come) in [(gone, false), (came, true)] {
        // A table that is wiped or written again is one event.
        if list.len() > MANY {
            let some: Vec<&str> = list.iter().take(4).map(|(name, _)| name.as_str()).collect();
            let text = Some(format!("{}, …", some.join(", ")));
            let subject = format!("{} Services at once", list.len());
            let (before, now) = if has_come { (None, text) } else { (text, None) };
            found.push(What::Service, subject, before, now);
            continue;
        }
        for (name, s) in list {
            let text = Some(summary(s));
            let (before, now) = if has_come { (None, text) } else { (text, None) };
            found.about = About::Service(service_key(s));
            found.push(What::Service, name.as_str(), before, now);
        }
        found.about = About::Node;
    }
    // Another mode writes the same Services in its own way: that is one change, and what differs are endpoints.
    let mode = |s: &Service| match s.engine.variant() {
        Some(v) => format!("{} mode ({})", s.engine.mode().name(), v.name()),
        None => format!("{} mode", s.engine.mode().name()),
    };
    let mut moved: BTreeMap<(String, String), usize> = BTreeMap::new();
    for (name, s) in &new {
        let Some(was) = old.get(name) else { continue };
        if was.engine != s.engine {
            *moved.entry((mode(was), mode(s))).or_default() += 1;
            let there =
                |s: &Service| -> BTreeMap<String, ()> { backends(s).into_keys().map(|k| (k, ())).collect() };
            found.about = About::Service(service_key(s));
            pairs(&there(was), &there(s), |f, b, n| {
                let text = |t: Option<&()>| t.map(|()| "there".to_string());
                found.push(What::Backend, format!("{name} {f}"), text(b), text(n));
            });
            continue;
        }
        found.about = About::Service(service_key(s));
        found.push(What::Service, name, settings(was), settings(s));
        pairs(&frontends(was), &frontends(s), |f, b, n| {
            found.push(What::Frontend, format!("{name} {f}"), b.cloned(), n.cloned());
        });
        pairs(&backends(was), &backends(s), |f, b, n| {
            found.push(What::Backend, format!("{name} {f}"), b.cloned(), n.cloned());
        });
    }
    found.about = About::Node;
    for ((from, to), n) in moved {
        let subject = crate::format::plural(n as u64, "Service");
        found.push(What::Service, subject, Some(from), Some(to));
    }
}

/// `10.96.2.1:80, 3 backends`
fn summary(s: &Service) -> String {
    let places: Vec<String> = s.frontends.iter().take(3).map(frontend_text).collect();
    format!("{}, {}", places.join(" "), crate::format::plural(s.backends.len() as u64, "backend"))
}

fn settings(s: &Service) -> Option<String> {
    let affinity = s.session_affinity.map(|a| format!("affinity {a}"));
    let parts: Vec<String> = s.scheduler.iter().cloned().chain(affinity).collect();
    Some(if parts.is_empty() { "no affinity".into() } else { parts.join(", ") })
}

fn frontends(s: &Service) -> BTreeMap<String, String> {
    let text = |f: &Frontend| {
        let mut parts = vec![f.action.name().to_string()];
        parts.extend(f.traffic_policy.map(|p| format!("policy {}", p.name())));
        parts.extend(f.source_ranges.as_ref().map(|r| {
            let nets: Vec<String> = r.iter().map(ToString::to_string).collect();
            format!("only from {}", nets.join(" "))
        }));
        parts.join(", ")
    };
    s.frontends
        .iter()
        .map(|f| {
            let kind = f.kind.map_or("address", crate::proxy::FrontendKind::words);
            (format!("{kind} {}", frontend_text(f)), text(f))
        })
        .collect()
}

fn backends(s: &Service) -> BTreeMap<String, String> {
    let text = |b: &Backend| {
        let policies: Vec<&str> = b.traffic_policies.iter().map(|p| p.name()).collect();
        match b.weight {
            Some(w) => format!("weight {w}"),
            None if policies.is_empty() => "there".into(),
            None => policies.join(" and "),
        }
    };
    s.backends.iter().map(|b| (format!("backend {}", endpoint_text(b.address, b.port)), text(b))).collect()
}
