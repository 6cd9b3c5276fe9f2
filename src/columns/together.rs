//! Several Service ports as one row.

use super::{Column, ServiceRow, Services, Shape, Value};
use crate::proxy::frontend_text;
use crate::rates::NoRate;
use crate::ruleset::IpFamily;
use std::collections::HashSet;

/// Columns whose figures add up; of all others the highest says most.
const SUMS: [&str; 8] =
    ["flows", "packets", "bytes", "refused", "held", "active", "new_total", "refused_total"];

/// What several rows have in a column together: the sum of what adds up, else the highest figure; words that all share, else the
/// first and how many others there are.
pub fn together(column: &Column<Services>, rows: &[ServiceRow<'_>]) -> Value {
    let mut values = rows.iter().map(column.value);
    let Some(first) = values.next() else { return Value::Missing(NoRate::NotCounted) };
    match column.key {
        "frontend" => return Value::Text(frontends(rows)),
        "backends" => return endpoints(rows).unwrap_or(first),
        _ => {}
    }
    let is_sum = column.shape == Shape::Trend || SUMS.contains(&column.key);
    let mut others: Vec<String> = Vec::new();
    let sum = values.fold(first, |all, next| match (all, next) {
        (Value::Number(a), Value::Number(b)) if is_sum => Value::Number(a + b),
        (Value::Number(a), Value::Number(b)) => Value::Number(a.max(b)),
        (Value::Missing(_), known @ Value::Number(_)) => known,
        (Value::Text(a), Value::Text(b)) => {
            if a != b && !others.contains(&b) {
                others.push(b);
            }
            Value::Text(a)
        }
        (all, _) => all,
    });
    match sum {
        Value::Text(t) if !others.is_empty() => Value::Text(format!("{t}+{}", others.len())),
        sum => sum,
    }
}

/// The first address, and how many more; of several Services only how many there are.
fn frontends(rows: &[ServiceRow<'_>]) -> String {
    let name = |r: &ServiceRow<'_>| r.service.name.as_ref().map(|n| (n.namespace.clone(), n.name.clone()));
    let places: usize = rows.iter().map(|r| r.service.frontends.len()).sum();
    if rows.windows(2).any(|w| name(&w[0]) != name(&w[1])) {
        return format!("{places} addresses");
    }
    match rows[0].service.frontends.first().map(frontend_text) {
        Some(place) if places > 1 => format!("{place} +{}", places - 1),
        place => place.unwrap_or_else(|| "-".into()),
    }
}

/// The pods, however many ports of theirs are served, in the family that has more; `None` where some are not known.
fn endpoints(rows: &[ServiceRow<'_>]) -> Option<Value> {
    let (mut v4, mut v6) = (HashSet::new(), HashSet::new());
    for s in rows.iter().map(|r| r.service) {
        s.backend_count().filter(|n| *n == s.backends.len())?;
        let of = if s.family == IpFamily::V4 { &mut v4 } else { &mut v6 };
        of.extend(s.backends.iter().map(|b| b.address));
    }
    Some(Value::Number(v4.len().max(v6.len()) as f64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::SERVICES;
    use crate::health::{Health, ServiceHealth};
    use crate::observe::View;
    use crate::proxy::{Engine, Model, Protocol, Service};
    use crate::rates::ServiceRates;
    use crate::snapshot::Snapshot;

    fn in_column(key: &str, rows: &[ServiceRow<'_>]) -> Value {
        together(SERVICES.iter().find(|c| c.key == key).unwrap(), rows)
    }

    #[test]
    fn what_adds_up_is_added_and_of_the_rest_the_highest_is_shown() {
        let service = |p| Service::new(p, IpFamily::V4, Engine::IptablesLegacy);
        let model = Model::of(vec![service(Protocol::Tcp), service(Protocol::Udp), service(Protocol::Udp)]);
        let written = crate::health::written(&Snapshot::default(), &model, &Default::default());
        let health = Health::judge(&written.into(), &Default::default());
        let view = View { model, health, ..View::default() };
        let no = Err(NoRate::FirstSample);
        let rates = |flows| ServiceRates { flows, packets: no, bytes: no, refused: no };
        let (some, none) = (rates(Ok(3.5)), rates(Err(NoRate::CounterReset)));
        let health = |lost| ServiceHealth { lost_share: lost, ..ServiceHealth::default() };
        let (lost, fine) = (health(Some(0.25)), health(Some(0.0)));
        let row =
            |place, rates, health| ServiceRow { rates: Some(rates), health, ..view.row(place).unwrap() };
        let rows = [row(0, &some, &lost), row(1, &none, &fine), row(2, &some, &fine)];
        assert_eq!(in_column("flows", &rows), Value::Number(7.0));
        assert_eq!(in_column("loss", &rows), Value::Number(0.25));
        assert_eq!(in_column("proto", &rows), Value::Text("TCP+1".into()));
        assert_eq!(in_column("proto", &rows[1..]), Value::Text("UDP".into()));
        // What is not known of all stays unknown, and is no 0.
        assert_eq!(in_column("flows", &rows[1..2]), Value::Missing(NoRate::CounterReset));
        assert_eq!(in_column("frontend", &rows), Value::Text("-".into()));
        assert_eq!(in_column("backends", &rows), Value::Number(0.0));
    }
}
