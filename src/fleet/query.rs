//! What is asked of a store, and how its answers are read.

use super::model::ServiceKey;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// Labels that make a Service port, the mode left out: a fleet may change modes node by node.
pub(super) const SERVICE: &str = "namespace, service, port, protocol, family";
/// Which series are asked for.
#[derive(Clone, Debug)]
pub struct Scope {
    /// Matchers of PromQL that each series must pass: `cluster="eu-1", job="kptop"`; may be empty.
    pub selector: String,
    /// The label that distinguishes nodes.
    pub node_label: String,
    /// Rates are of this time.
    pub window: Duration,
}

impl Scope {
    /// A metric with the matchers.
    pub(super) fn metric(&self, name: &str, more: &str) -> String {
        match (more.is_empty(), self.selector.is_empty()) {
            (true, true) => name.to_string(),
            (false, false) => format!("{name}{{{more}, {}}}", self.selector),
            _ => format!("{name}{{{more}{}}}", self.selector),
        }
    }

    /// New flows a second of each series.
    pub(super) fn rate(&self, more: &str) -> String {
        let of = self.metric("kptop_service_new_flows_total", more);
        format!("rate({of}[{}s])", self.window.as_secs())
    }
}

/// A line of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Labels and their values.
    pub labels: BTreeMap<String, String>,
    /// The figure.
    pub value: f64,
}

impl Series {
    /// The value of a label; nothing where there is none, as Prometheus has it.
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }

    pub(super) fn service(&self) -> ServiceKey {
        let of = |name| self.label(name).to_string();
        ServiceKey {
            namespace: of("namespace"),
            service: of("service"),
            port: of("port"),
            protocol: of("protocol"),
            family: of("family"),
        }
    }
}

/// The answer of `/api/v1/query`: <https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries>.
#[derive(Deserialize)]
struct Answer {
    status: String,
    error: Option<String>,
    data: Option<Data>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: String,
    result: Vec<Line>,
}

#[derive(Deserialize)]
struct Line {
    metric: BTreeMap<String, String>,
    value: (f64, String),
}

/// Reads what a store answered to one question.
///
/// # Errors
/// What the store says is wrong, or that this is no answer of its query API.
pub fn answer(text: &str) -> Result<Vec<Series>, String> {
    let no_answer = |e: &dyn std::fmt::Display| format!("this is no answer of Prometheus' query API: {e}");
    let found: Answer = serde_json::from_str(text).map_err(|e| no_answer(&e))?;
    match (found.status.as_str(), found.data) {
        ("success", Some(data)) if data.result_type == "vector" => {
            data.result.into_iter().map(|l| line(l).map_err(|e| no_answer(&e))).collect()
        }
        ("success", _) => Err(no_answer(&"it is no vector")),
        _ => Err(found.error.unwrap_or_else(|| "it failed, and does not say why".into())),
    }
}

fn line(l: Line) -> Result<Series, std::num::ParseFloatError> {
    // `NaN` and `+Inf` are numbers, too.
    Ok(Series { labels: l.metric, value: l.value.1.parse()? })
}

/// A value inside of quotes in PromQL.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn answers_are_read_as_the_query_api_writes_them() {
        let text = r#"{"status":"success","data":{"resultType":"vector","result":[
            {"metric":{"instance":"a:1","state":"failing"},"value":[1435781451.781,"2"]},
            {"metric":{},"value":[1435781451.781,"NaN"]}]}}"#;
        let found = answer(text).unwrap();
        assert_eq!((found[0].label("instance"), found[0].label("nope"), found[0].value), ("a:1", "", 2.0));
        assert!(found[1].value.is_nan());
        let wrong = r#"{"status":"error","errorType":"bad_data","error":"parse error: x"}"#;
        assert_eq!(answer(wrong), Err("parse error: x".into()));
        for other in ["<html>", "{}", r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#] {
            assert!(answer(other).unwrap_err().starts_with("this is no answer of Prometheus"), "{other}");
        }
    }

    #[test]
    fn matchers_are_joined() {
        let mut scope =
            Scope { selector: String::new(), node_label: "instance".into(), window: Duration::from_secs(60) };
        assert_eq!(scope.metric("a", ""), "a");
        assert_eq!(scope.metric("a", "x=\"1\""), "a{x=\"1\"}");
        scope.selector = "job=\"k\"".into();
        assert_eq!(scope.metric("a", ""), "a{job=\"k\"}");
        assert_eq!(scope.metric("a", "x=\"1\""), "a{x=\"1\", job=\"k\"}");
        assert_eq!(scope.rate(""), "rate(kptop_service_new_flows_total{job=\"k\"}[60s])");
        assert_eq!(quoted("a\"b\\c\n"), r#""a\"b\\c\n""#);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,200}", cut in 0usize..120) {
            let _ = answer(&text);
            let whole = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"a":"b"},"value":[1,"2"]}]}}"#;
            let _ = answer(&whole[..cut.min(whole.len())]);
        }
    }
}
