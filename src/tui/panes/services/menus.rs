//! Lists to choose from: namespaces and modes with their Services, columns to sort by.

use super::Services;
use crate::columns::SERVICES;
use crate::format::plural;
use crate::health::HealthState;
use crate::proxy::Mode;
use crate::tui::overlays::{Item, Menu};
use crate::tui::pane::Context;
use crate::tui::request::Request;
use std::collections::BTreeMap;

/// How many Services there are, and how many of them lose or refuse new flows.
#[derive(Clone, Copy, Default)]
struct Count {
    all: u64,
    bad: u64,
}

impl Count {
    fn words(self) -> String {
        let bad = if self.bad > 0 { format!("{} ✗  ", self.bad) } else { String::new() };
        format!("{bad}{}", plural(self.all, "Service"))
    }
}

/// A Service port that was counted, for the next one, which may be of the same Service.
struct Counted<'a, K> {
    name: Option<(&'a str, &'a str)>,
    key: Option<K>,
    loses: bool,
}

/// Counts the Services of a view by what `of` says of each.
fn counts<K: Ord + Clone>(
    cx: &Context,
    of: impl Fn(&crate::proxy::Service) -> Option<K>,
) -> (Count, BTreeMap<K, Count>) {
    let (mut all, mut by) = (Count::default(), BTreeMap::<K, Count>::new());
    // Ports of one Service come one after the other.
    let mut last: Option<Counted<'_, K>> = None;
    for row in cx.update.iter().flat_map(|u| u.rows()) {
        let state = row.health.state;
        let loses = state.is_bad() || state == HealthState::NoLocalEndpoints;
        let name = row.service.name.as_ref().map(|n| (n.namespace.as_str(), n.name.as_str()));
        let key = of(row.service);
        let before = last.take().filter(|l| name.is_some() && l.name == name && l.key == key);
        let lost_before = before.as_ref().is_some_and(|l| l.loses);
        let add = |c: &mut Count| {
            c.all += u64::from(before.is_none());
            c.bad += u64::from(loses && !lost_before);
        };
        add(&mut all);
        if let Some(key) = &key {
            add(by.entry(key.clone()).or_default());
        }
        last = Some(Counted { name, key, loses: loses || lost_before });
    }
    (all, by)
}

impl Services {
    pub(super) fn namespaces(&self, cx: &Context) -> Menu {
        let (all, by) = counts(cx, |s| s.name.as_ref().map(|n| n.namespace.clone()));
        let request = Request::Namespace(None);
        let mut items = vec![Item { label: "all namespaces".into(), note: all.words(), request }];
        items.extend(by.into_iter().map(|(name, count)| Item {
            label: name.clone(),
            note: count.words(),
            request: Request::Namespace(Some(name)),
        }));
        let now = self.namespace.as_ref().and_then(|n| items.iter().position(|i| i.label == *n));
        Menu::new("Namespace", items, now.unwrap_or(0))
    }

    pub(super) fn modes(&self, cx: &Context) -> Menu {
        let (all, by) = counts(cx, |s| Some(s.engine.mode()));
        let mut items =
            vec![Item { label: "all modes".into(), note: all.words(), request: Request::Mode(None) }];
        items.extend(by.into_iter().map(|(mode, count): (Mode, Count)| Item {
            label: mode.name().into(),
            note: count.words(),
            request: Request::Mode(Some(mode)),
        }));
        let now = self.mode.and_then(|m| items.iter().position(|i| i.label == m.name()));
        Menu::new("Mode", items, now.unwrap_or(0))
    }

    /// Columns that are on the screen come first: what one sees is what one sorts by.
    pub(super) fn sorts(&self) -> Menu {
        let rest = (0..SERVICES.len()).filter(|i| !self.heads.contains(i));
        let order: Vec<usize> = self.heads.iter().copied().chain(rest).collect();
        let item = |i: &usize| {
            let c = &SERVICES[*i];
            let name = if c.head.is_empty() { c.key } else { c.head };
            Item {
                label: format!("{name:<10} {}", c.help),
                note: String::new(),
                request: Request::SortBy(*i),
            }
        };
        let now = order.iter().position(|i| *i == self.sort);
        Menu::new("Sort by", order.iter().map(item).collect(), now.unwrap_or(0))
    }
}
