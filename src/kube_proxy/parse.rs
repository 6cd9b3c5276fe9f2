//! Reading kube-proxy's answers. Their shapes are other people's: what is not understood is left out.

use super::report::{Config, FamilyHealth, Healthz, Metrics, Syncs};
use crate::ruleset::IpFamily;
use jiff::{Timestamp, fmt::strtime};
use serde_json::Value;
use std::time::Duration;

const SYNC: &str = "kubeproxy_sync_proxy_rules_";

/// Families of which metrics are kept: there are two, and those without.
const MOST_FAMILIES: usize = 3;

/// Metrics in Prometheus' text format; `None` for a text that has none of kube-proxy's.
pub fn metrics(text: &str) -> Option<Metrics> {
    let mut all = Metrics::default();
    let mut is_one = false;
    for line in text.lines() {
        let Some((name, labels, value)) = sample(line) else { continue };
        let number = value.max(0.0) as u64;
        match name {
            "kubernetes_build_info" => all.version = label(labels, "git_version").map(str::to_string),
            "rest_client_requests_total" => match label(labels, "code") {
                Some(code) if code.starts_with(['2', '3', '4']) => all.api_answers += number,
                _ => all.api_errors += number,
            },
            _ => {
                let Some(what) = name.strip_prefix(SYNC) else { continue };
                is_one = true;
                if matches!(what, "endpoint_changes_pending" | "service_changes_pending") {
                    *all.pending.get_or_insert(0) += number;
                    continue;
                }
                let family = label(labels, "ip_family").and_then(family);
                let at = match all.syncs.iter().position(|s| s.family == family) {
                    Some(at) => at,
                    None if all.syncs.len() < MOST_FAMILIES => {
                        all.syncs.push(Syncs { family, ..Syncs::default() });
                        all.syncs.len() - 1
                    }
                    None => continue,
                };
                let of = &mut all.syncs[at];
                match what {
                    "last_timestamp_seconds" => of.last_s = value,
                    "last_queued_timestamp_seconds" => of.queued_s = value,
                    "duration_seconds_count" => of.count = number,
                    "duration_seconds_sum" => of.seconds = value,
                    "iptables_restore_failures_total" | "nftables_sync_failures_total" => {
                        of.failures += number;
                    }
                    _ => {}
                }
            }
        }
    }
    // Metrics without the label beside those with it are of no family, and say nothing.
    all.syncs.retain(|s| s.last_s > 0.0 || s.queued_s > 0.0 || s.count > 0 || s.failures > 0);
    is_one.then_some(all)
}

/// A line of the format: `name{label="value"} 1.5e+09`.
fn sample(line: &str) -> Option<(&str, &str, f64)> {
    let line = line.trim();
    let end = line.find(|c: char| c == '{' || c.is_whitespace())?;
    let (name, rest) = line.split_at(end);
    if name.starts_with('#') {
        return None;
    }
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => rest.rsplit_once('}')?,
        None => ("", rest),
    };
    let value: f64 = rest.split_whitespace().next()?.parse().ok()?;
    value.is_finite().then_some((name, labels, value))
}

/// A label's value. Those that are asked for have no escapes.
fn label<'a>(labels: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = labels;
    loop {
        let (key, after) = rest.split_once("=\"")?;
        let mut escaped = false;
        let end = after.find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        })?;
        if key.trim_start_matches([',', ' ']) == name {
            return Some(&after[..end]);
        }
        rest = &after[end + 1..];
    }
}

fn family(text: &str) -> Option<IpFamily> {
    match text {
        "IPv4" => Some(IpFamily::V4),
        "IPv6" => Some(IpFamily::V6),
        _ => None,
    }
}

/// `/healthz`, with the status that it came with; `None` where it is no answer of kube-proxy's.
pub fn health(status: u16, text: &str) -> Option<Healthz> {
    let all: Value = serde_json::from_str(text).ok()?;
    let at = |v: &Value| v.as_str().and_then(time);
    let updated = all.get("lastUpdated")?;
    let families =
        [(IpFamily::V4, "IPv4"), (IpFamily::V6, "IPv6")].into_iter().filter_map(|(family, name)| {
            let of = all.get("status")?.get(name)?;
            Some(FamilyHealth {
                family,
                updated_at: at(&of["lastUpdated"]),
                healthy: of["healthy"].as_bool()?,
            })
        });
    Some(Healthz {
        status,
        asked_at: all.get("currentTime").and_then(at),
        updated_at: at(updated),
        families: families.collect(),
        eligible: all["nodeEligible"].as_bool(),
    })
}

/// RFC 3339, or what Go prints of a time by itself: `2026-11-25 09:18:08.80 +0000 UTC m=+1.5` (before 1.33).
fn time(text: &str) -> Option<Timestamp> {
    if let Ok(at) = text.parse() {
        return Some(at);
    }
    let words: Vec<&str> = text.split_whitespace().take(3).collect();
    strtime::parse("%Y-%m-%d %H:%M:%S%.f %z", words.join(" ")).ok()?.to_timestamp().ok()
}

/// `/configz`; `None` where it is none of kube-proxy's. Up to 1.35 it is kube-proxy's internal type, whose names begin with
/// capitals and whose periods moved from the modes' sections to the top with 1.31; 1.36 gives `v1alpha1`.
pub fn config(text: &str) -> Option<Config> {
    let all: Value = serde_json::from_str(text).ok()?;
    let all = all.get("kubeproxy.config.k8s.io")?;
    // An empty mode is iptables.
    let mode = match field(all, &["mode"])?.as_str()? {
        "" => "iptables".to_string(),
        mode => mode.to_string(),
    };
    // Of a setting the mode's own, else the one for all modes; IPVS has some of iptables'.
    let either = |name: &str| {
        let of_mode = field(all, &[&mode, name]);
        let others = [&["linux", name][..], &[name], &["iptables", name]];
        of_mode.or_else(|| others.iter().find_map(|path| field(all, path)))
    };
    let list = |v: Option<&Value>| -> Vec<String> {
        let all = v.and_then(Value::as_array).into_iter().flatten();
        all.filter_map(|v| v.as_str().map(str::to_string)).collect()
    };
    let word = |path: &[&str]| field(all, path).and_then(Value::as_str).unwrap_or_default().to_string();
    let mut cluster_cidrs = list(field(all, &["detectLocal", "clusterCIDRs"]));
    if cluster_cidrs.is_empty() {
        let text = word(&["clusterCIDR"]);
        cluster_cidrs = text.split(',').filter(|c| !c.is_empty()).map(str::to_string).collect();
    }
    Some(Config {
        min_sync: either("minSyncPeriod").and_then(duration),
        sync: either("syncPeriod").and_then(duration),
        cluster_cidrs,
        node_port_addresses: list(field(all, &["nodePortAddresses"])),
        masquerade_all: either("masqueradeAll").and_then(Value::as_bool).unwrap_or_default(),
        masquerade_bit: either("masqueradeBit").and_then(Value::as_u64).and_then(|b| u8::try_from(b).ok()),
        detect_local: word(&["detectLocalMode"]),
        scheduler: word(&["ipvs", "scheduler"]),
        mode,
    })
}

/// A field by its path, whatever the case of its names.
fn field<'a>(of: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(of, |of, name| {
        let mut all = of.as_object()?.iter();
        all.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    })
}

/// Go's `30s`, `1m0s`, `1.5s`; jiff reads them.
fn duration(v: &Value) -> Option<Duration> {
    let read: jiff::SignedDuration = v.as_str()?.parse().ok()?;
    Duration::try_from(read).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn labels_and_times() {
        let labels = r#"code="200",host="a\"b,code=",method="GET""#;
        assert_eq!(label(labels, "method"), Some("GET"));
        assert_eq!(label(labels, "code"), Some("200"));
        assert_eq!(label("", "code"), None);
        let go = time("2026-11-25 09:26:24.734355711 +0000 UTC m=+32.288619301");
        assert_eq!(go, Some("2026-11-25T09:26:24.734355711Z".parse().unwrap()));
        assert_eq!(time("soon"), None);
        assert_eq!(duration(&"15m0s".into()), Some(Duration::from_secs(900)));
        assert_eq!(duration(&"1.5s".into()), Some(Duration::from_millis(1500)));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_left(text in "\\PC*", name in "kubeproxy_sync_proxy_rules_[a-z_]{0,30}",
            labels in "[ -~]{0,40}", value in any::<f64>()) {
            let _ = (metrics(&text), health(200, &text), config(&text), time(&text), label(&text, "a"));
            let line = format!("{name}{{{labels}}} {value}\n{name} {value}\n");
            if let Some(m) = metrics(&line) {
                prop_assert!(m.syncs.len() <= MOST_FAMILIES);
            }
        }
    }
}
