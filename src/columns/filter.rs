//! Filters that combine: `ns:shop proto:udp state:rejecting flows>10 -kube`. Every word must hold.

use super::services::SERVICES;
use super::{ServiceRow, Value};
use crate::health::HealthState;
use strum::IntoEnumIterator;

/// How a column's value is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Contains,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
    Equal,
}

#[derive(Clone, Debug, PartialEq)]
enum Term {
    /// A word that is somewhere in the Service's names and addresses.
    Word(String),
    /// A condition on a column (its place in [`SERVICES`]), and the word as it was typed: a Service may be called
    /// `frontend:http`.
    Column(usize, Operator, Wanted, String),
}

#[derive(Clone, Debug, PartialEq)]
enum Wanted {
    Text(String),
    Number(f64),
}

/// A filter of Services.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// With true where the term must not hold.
    terms: Vec<(bool, Term)>,
}

/// Longer operators first: `>=` is not `>`.
const OPERATORS: [(&str, Operator); 6] = [
    (">=", Operator::GreaterOrEqual),
    ("<=", Operator::LessOrEqual),
    (">", Operator::Greater),
    ("<", Operator::Less),
    ("=", Operator::Equal),
    (":", Operator::Contains),
];

/// The column of this name, or with this head: `NEW/s` is `flows`.
fn column(name: &str) -> Option<usize> {
    let plain = |s: &str| s.chars().filter(|c| *c != ' ').collect::<String>().to_lowercase();
    let name = plain(name);
    let by_key = SERVICES.iter().position(|c| c.key == name);
    let with_head = || SERVICES.iter().position(|c| !c.head.is_empty() && plain(c.head) == name);
    let without_unit = || SERVICES.iter().position(|c| plain(c.head).strip_suffix("/s") == Some(&*name));
    by_key.or_else(with_head).or_else(without_unit)
}

/// A sentence on what a filter may hold, out of the table of columns.
pub fn help() -> String {
    let keys: Vec<&str> = SERVICES.iter().map(|c| c.key).filter(|k| *k != "trend").collect();
    format!("words, or COLUMN:text, COLUMN>n, COLUMN<n, -word for not; columns: {}", keys.join(" "))
}

/// Units that a figure may have behind it, as the screen shows them; times in nanoseconds.
const UNITS: [(&str, f64); 9] = [
    ("ns", 1.0),
    ("us", 1e3),
    ("µs", 1e3),
    ("ms", 1e6),
    ("%", 0.01),
    ("k", 1e3),
    ("M", 1e6),
    ("G", 1e9),
    ("s", 1e9),
];

/// A figure in the unit of a column.
fn number(text: &str, unit: &str) -> Option<f64> {
    let found = UNITS.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, unit, *factor)));
    let (digits, factor) = match found {
        Some((digits, written, factor)) if written.ends_with('s') && unit == "s" => (digits, factor / 1e9),
        Some((digits, _, factor)) => (digits, factor),
        None => (text, 1.0),
    };
    let n: f64 = digits.trim_end().parse().ok()?;
    n.is_finite().then_some(n * factor)
}

/// Whether a state of that name may be meant.
fn is_state(text: &str) -> bool {
    HealthState::iter().any(|s| s.name().contains(text) || s.words().contains(text))
}

impl Filter {
    /// Reads what a user typed. An address with a port is a word: a term starts with a column's name.
    ///
    /// # Errors
    /// Where a comparison has no number or an unknown column; the filter that the rest makes is given, too, so that
    /// a list can be filtered while one types.
    pub fn parse(text: &str) -> (Filter, Option<String>) {
        let (mut filter, mut error) = (Filter::default(), None);
        for word in text.split_whitespace() {
            let (negated, word) = match word.strip_prefix(['-', '!']) {
                Some(rest) if !rest.is_empty() => (true, rest),
                _ => (false, word),
            };
            match Term::parse(word) {
                Ok(Some(term)) => filter.terms.push((negated, term)),
                Ok(None) => {} // nothing behind the colon yet
                Err(why) => error = error.or(Some(why)),
            }
        }
        (filter, error)
    }

    /// True where it holds back nothing.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Whether a Service passes. `names`: its names and addresses, in lower case.
    pub fn matches(&self, row: &ServiceRow<'_>, names: &str) -> bool {
        self.terms.iter().all(|(negated, term)| *negated != term.holds(row, names))
    }
}

impl Term {
    fn parse(word: &str) -> Result<Option<Term>, String> {
        let at = word.find(['>', '<', '=', ':']);
        let Some((key, rest)) = at.map(|at| word.split_at(at)) else {
            return Ok(Some(Term::Word(word.to_lowercase())));
        };
        let Some(column) = column(key) else {
            // `shop/cart:http` and `10.96.0.1:53` are words; nothing is named `10>`.
            return match rest.starts_with(':') {
                true => Ok(Some(Term::Word(word.to_lowercase()))),
                false => Err(format!("no column `{key}`: {}", help())),
            };
        };
        let Some((sign, operator)) = OPERATORS.iter().find(|o| rest.starts_with(o.0)) else {
            return Ok(Some(Term::Word(word.to_lowercase())));
        };
        let wanted = &rest[sign.len()..];
        if wanted.is_empty() {
            return Ok(None);
        }
        // What 0.1 called these states.
        let wanted = match (SERVICES[column].key, wanted) {
            ("state", "leftover") => "stale",
            ("state", "rejecting") => "no_endpoints",
            ("state", "dropping") => "no_local_endpoints",
            _ => wanted,
        };
        // Shares are shown as percent: more than all of it is nothing that one could look for.
        let figure = number(wanted, SERVICES[column].unit);
        let figure = figure.map(|n| if SERVICES[column].unit == "share" && n > 1.0 { n / 100.0 } else { n });
        let wanted = match (operator, figure) {
            (Operator::Contains, _) => Wanted::Text(wanted.to_lowercase()),
            (_, Some(n)) => Wanted::Number(n),
            (Operator::Equal, None) => Wanted::Text(wanted.to_lowercase()),
            _ => return Err(format!("`{word}`: `{wanted}` is not a number (10, 2.5, 3k, 20%, 8us)")),
        };
        if let ("state", Wanted::Text(text)) = (SERVICES[column].key, &wanted)
            && !is_state(text)
        {
            let all: Vec<&str> = HealthState::iter().map(HealthState::name).collect();
            return Err(format!("no state `{text}`: {}", all.join(", ")));
        }
        Ok(Some(Term::Column(column, *operator, wanted, word.to_lowercase())))
    }

    fn holds(&self, row: &ServiceRow<'_>, names: &str) -> bool {
        match self {
            Term::Word(w) => names.contains(w),
            Term::Column(_, Operator::Contains, _, word) if names.contains(word) => true,
            Term::Column(column, operator, wanted, _) => {
                let value = (SERVICES[*column].value)(row);
                match (value, wanted) {
                    (Value::Number(n), Wanted::Number(w)) => match operator {
                        Operator::Greater => n > *w,
                        Operator::GreaterOrEqual => n >= *w,
                        Operator::Less => n < *w,
                        Operator::LessOrEqual => n <= *w,
                        Operator::Equal | Operator::Contains => n == *w,
                    },
                    (Value::Number(n), Wanted::Text(t)) => number(t, SERVICES[*column].unit) == Some(n),
                    (Value::Text(v) | Value::AsListed(v), Wanted::Text(t)) => {
                        let v = v.to_lowercase();
                        if *operator == Operator::Equal { v == *t } else { v.contains(t) }
                    }
                    // What is not known is neither more nor less.
                    (Value::Missing(_), _) | (Value::Text(_) | Value::AsListed(_), Wanted::Number(_)) => {
                        false
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Health;
    use crate::lab::shop;
    use crate::observe::View;
    use crate::proxy::{Model, Service};
    use crate::snapshot::Snapshot;
    use proptest::prelude::*;

    fn view(services: Vec<Service>) -> View {
        let model = Model::of(services);
        let written = crate::health::written(&Snapshot::default(), &model, &Default::default());
        let health = Health::judge(&written.into(), &Default::default());
        View { model, health, ..View::default() }
    }

    fn passing(text: &str) -> Vec<String> {
        let view = view(shop::services(None, 4));
        let (filter, error) = Filter::parse(text);
        assert_eq!(error, None, "{text}");
        view.rows()
            .filter(|r| filter.matches(r, &r.service.label().to_lowercase()))
            .map(|r| format!("{} {}", r.service.label(), r.service.protocol.name()))
            .collect()
    }

    #[test]
    fn terms_combine() {
        assert_eq!(passing("ns:media proto:udp rtcp"), ["media/rtp:rtcp UDP"]);
        assert_eq!(
            passing("ns:shop state:no_endpoints"),
            ["shop/payments:http TCP", "shop/invoices:http TCP"]
        );
        assert_eq!(passing("ns:shop state:rejecting"), passing("ns:shop state:no_endpoints"));
        assert_eq!(passing("ns=shop backends>=6"), ["shop/frontend:http TCP", "shop/catalog:http TCP"]);
        assert_eq!(passing("backends<1 -ns:shop"), ["monitoring/agent-elsewhere:otlp TCP"]);
        assert_eq!(passing("flows>0"), [""; 0]); // no rates yet: not more than 0
        // A share as it is shown, with its sign or without.
        assert!(!passing("loss>10").is_empty());
        assert_eq!(passing("loss>10"), passing("loss>10%"));
        assert_eq!(passing("loss>0.1"), passing("loss>10%"));
        assert_eq!(passing("shop/cart:").len(), 0);
        assert_eq!(passing("ns: cart"), ["shop/cart TCP"]); // as one types
        assert_eq!(passing("frontend:http"), ["shop/frontend:http TCP"]); // a name, not only a column
        assert_eq!(passing("frontend:10.96.2.8:"), ["shop/frontend:http TCP"]);
        assert_eq!(passing("backends:8"), ["shop/catalog:http TCP"]);
        // By the names and units that the screen shows.
        assert_eq!(passing("ENDPTS<1 -ns:shop"), passing("backends<1 -ns:shop"));
        assert_eq!(column("NEW/s"), column("flows"));
        assert_eq!((column("new"), column("lookup")), (column("flows"), column("lookup_ns")));
        assert_eq!((number("8us", "ns"), number("1.5 ms", "ns")), (Some(8e3), Some(1.5e6)));
        assert_eq!((number("5%", "share"), number("90s", "s")), (Some(0.05), Some(90.0)));
    }

    #[test]
    fn mistakes_are_named() {
        let error = |t: &str| Filter::parse(t).1.unwrap_or_default();
        assert!(error("flow>10").contains("no column `flow`"), "{}", error("flow>10"));
        assert!(error("flows>many").contains("`many` is not a number"));
        assert!(error("state:broken").contains("no state `broken`: failing, no_endpoints, "));
        assert_eq!(Filter::parse("10.96.0.1:53 shop/cart:http").1, None);
    }

    proptest! {
        #[test]
        fn whatever_is_typed_is_survived(text in "\\PC{0,40}") {
            let (filter, _) = Filter::parse(&text);
            let view = view(shop::services(Some(2), 1));
            let _ = filter.matches(&view.row(0).unwrap(), "x");
        }
    }
}
