//! Which Services are shown, and in which order.

use super::Services;
use crate::columns::{SERVICES, Value};
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

    pub(super) fn remember(&mut self, cx: &Context) {
        self.chosen_key = self.chosen_service(cx).map(service_key).or(self.chosen_key);
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
        let mut rows: Vec<usize> = (0..services.len()).filter(passes).collect();
        if self.sort != by_name() {
            let value = SERVICES[self.sort].value;
            let by_traffic = self.sort == by_traffic();
            let key = |i: usize| match by_traffic {
                true => step(update.history.mean(i)),
                false => update.row(i).map_or(Value::AsListed(String::new()), |r| value(&r)),
            };
            let mut keyed: Vec<(Value, usize)> = rows.into_iter().map(|i| (key(i), i)).collect();
            keyed.sort_by(|a, b| a.0.order(&b.0).then(a.1.cmp(&b.1)));
            rows = keyed.into_iter().map(|k| k.1).collect();
        }
        if self.reversed {
            rows.reverse();
        }
        if self.problems_first {
            rows.sort_by_key(|i| state(*i));
        }
        self.rows = rows;
        if let Some(key) = self.chosen_key
            && let Some(row) = self.rows.iter().position(|i| service_key(&services[*i]) == key)
        {
            self.list.chosen = row;
        }
        self.list.len = self.rows.len();
        self.list.chosen = self.list.chosen.min(self.rows.len().saturating_sub(1));
    }
}
