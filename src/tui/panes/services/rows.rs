//! Which Services are shown, and in which order.

use super::Services;
use super::tree::Line;
use crate::columns::{SERVICES, Value, together};
use crate::config::Fold;
use crate::health::HealthState;
use crate::proxy::{endpoint_text, frontend_text};
use crate::rates::service_key;
use crate::tui::pane::Context;
use unicode_width::UnicodeWidthStr;

/// Columns of ` v6` behind a name.
const FAMILY: u16 = 3;

/// The column of names: the order in which Services come.
fn by_name() -> usize {
    place("name")
}

/// The column of new flows a second.
pub(super) fn by_traffic() -> usize {
    place("flows")
}

fn place(key: &str) -> usize {
    SERVICES.iter().position(|c| c.key == key).unwrap_or(0)
}

/// What lines are sorted by: pinned ones first, then problems, then the column, then as listed.
type Key = (bool, Option<HealthState>, Value, usize);

/// How much goes to a Service, in steps of a quarter: those with nearly the same keep their order, and rows do not jump.
fn step(mean: Option<f32>) -> Value {
    match mean {
        Some(n) if n > 0.0 => Value::Number((f64::from(n).ln() / 1.25f64.ln()).round()),
        _ => Value::Number(f64::MIN),
    }
}

impl Services {
    pub(super) fn find_texts(&mut self, cx: &Context) {
        let mut widest = 0;
        let text = |s: &crate::proxy::Service| {
            let label = s.label();
            widest = widest.max(label.width());
            let mut text = label.to_lowercase();
            let frontends = s.frontends.iter().map(frontend_text);
            for place in frontends.chain(s.backends.iter().map(|b| endpoint_text(b.address, b.port))) {
                text.push(' ');
                text.push_str(&place);
            }
            text
        };
        self.texts = cx.update.iter().flat_map(|u| u.model.services.iter()).map(text).collect();
        self.widest = widest as u16 + FAMILY;
    }

    /// Finds what belongs together, which only another structure or the user changes.
    pub(super) fn find_groups(&mut self, cx: &Context) {
        let fold = self.fold();
        self.tree.take(cx.update.iter().flat_map(|u| u.model.services.iter()), fold);
    }

    pub(super) fn remember(&mut self, cx: &Context) {
        self.chosen_key = self.chosen_service(cx).map(service_key).or(self.chosen_key);
        self.chosen_sum = self.chosen_line().is_some_and(Line::is_sum);
    }

    /// Filters and sorts; what was chosen stays chosen.
    pub(super) fn arrange(&mut self, cx: &Context) {
        let Some(update) = &cx.update else { return };
        let services = &update.model.services;
        let state = |i: usize| update.health.get(i).map_or(HealthState::Unknown, |h| h.state);
        let passes = |i: &usize| {
            let s = &services[*i];
            let of_namespace = |n: &String| s.name.as_ref().is_some_and(|name| name.namespace == *n);
            (!self.problems || state(*i) != HealthState::Healthy)
                && self.mode.is_none_or(|m| s.engine.mode() == m)
                && self.namespace.as_ref().is_none_or(of_namespace)
                && (self.filter.is_empty()
                    || update
                        .row(*i)
                        .zip(self.texts.get(*i))
                        .is_some_and(|(row, text)| self.filter.matches(&row, text)))
        };
        let (column, by_name) = (&SERVICES[self.sort], self.sort == by_name());
        let by_traffic = self.sort == by_traffic();
        let worst = |part: &[usize]| part.iter().map(|i| state(*i)).min().unwrap_or_default();
        let key = |part: &[usize]| -> Key {
            let figure = match part {
                _ if by_name => Value::AsListed(String::new()),
                _ if by_traffic => {
                    step(part.iter().filter_map(|i| update.history.mean(*i)).reduce(|a, b| a + b))
                }
                [one] => update.row(*one).map_or(Value::AsListed(String::new()), |r| (column.value)(&r)),
                _ => together(column, &part.iter().filter_map(|i| update.row(*i)).collect::<Vec<_>>()),
            };
            let is_pinned = !self.pinned.is_empty()
                && part.iter().any(|i| self.pinned.contains(&service_key(&services[*i])));
            (!is_pinned, self.problems_first.then(|| worst(part)), figure, part[0])
        };
        let reversed = self.reversed;
        let order = |a: &Key, b: &Key| {
            let figures = a.2.order(&b.2).then(a.3.cmp(&b.3));
            (a.0, a.1).cmp(&(b.0, b.1)).then(if reversed { figures.reverse() } else { figures })
        };
        let fold = self.fold();
        let agrees =
            |part: &[usize]| fold == Fold::Namespaces || part.windows(2).all(|w| state(w[0]) == state(w[1]));
        let of = |part: &[usize]| {
            let worst = worst(part);
            part.iter().copied().find(|i| state(*i) == worst).unwrap_or(part[0])
        };
        let others = self.tree.arrange(
            (0..services.len()).filter(passes),
            key,
            order,
            agrees,
            of,
            fold == Fold::Namespaces,
        );
        if let Some(key) = self.chosen_key
            && let Some(chosen) = self.tree.members().iter().find(|i| service_key(&services[**i]) == key)
            && let Some(line) = self.tree.place_of(*chosen, self.chosen_sum)
        {
            self.list.chosen = line;
        }
        if others {
            let name = |i: &usize| services[*i].name.as_ref().map(|n| (&n.namespace, &n.name));
            let of_one = |w: &[usize]| name(&w[0]).is_some() && name(&w[0]) == name(&w[1]);
            let members = self.tree.members();
            self.objects = members.len() - members.windows(2).filter(|w| of_one(w)).count();
        }
        self.list.len = self.tree.len();
        self.list.chosen = self.list.chosen.min(self.tree.len().saturating_sub(1));
    }
}
