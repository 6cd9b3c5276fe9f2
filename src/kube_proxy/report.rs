//! The shapes of kube-proxy's answers.

use super::process::Process;
use crate::format::duration;
use crate::ruleset::{IpFamily, IpNet};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::time::Duration;

/// What came of a question.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Answer<T> {
    /// It was not asked.
    #[default]
    NotAsked,
    /// The answer.
    Given(T),
    /// Nobody listens.
    Refused,
    /// The connection was taken, and nothing came.
    Silent,
    /// Something else: why.
    Failed(String),
}

impl<T> Answer<T> {
    /// The answer, where there is one.
    pub fn given(&self) -> Option<&T> {
        match self {
            Answer::Given(x) => Some(x),
            _ => None,
        }
    }
}

/// All that kube-proxy answered at one time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct KubeProxy {
    /// When it was asked.
    pub asked_at: Timestamp,
    /// `127.0.0.1:10249/metrics`.
    pub metrics: Answer<Metrics>,
    /// The metrics of the time before, to tell what rises.
    #[serde(default)]
    pub before: Option<(Timestamp, Metrics)>,
    /// `127.0.0.1:10256/healthz`.
    pub health: Answer<Healthz>,
    /// `127.0.0.1:10249/configz`, as it was answered last.
    #[serde(default)]
    pub config: Option<Config>,
    /// `127.0.0.1:10249/proxyMode`, as it was answered last.
    #[serde(default)]
    pub mode: Option<String>,
    /// Its version as its log names it.
    #[serde(default)]
    pub logged_version: Option<String>,
    /// When something was answered last, since kptop asks.
    #[serde(default)]
    pub answered_at: Option<Timestamp>,
    /// Its process; looked for where it does not answer.
    #[serde(default)]
    pub process: Process,
    /// True in the kernel's first network namespace, in which nodes have kube-proxy.
    #[serde(default)]
    pub in_first_netns: bool,
}

/// What is used of `/metrics` (kube-proxy's `pkg/proxy/metrics/metrics.go`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// `kubernetes_build_info`: `v1.36.3`.
    pub version: Option<String>,
    /// Syncs by family; before 1.33 one entry for both.
    pub syncs: Vec<Syncs>,
    /// Changes of endpoints and Services that are not written yet; not of every version.
    pub pending: Option<u64>,
    /// Answers of its API server that were errors, and questions without an answer.
    pub api_errors: u64,
    /// Answers of its API server that were none.
    pub api_answers: u64,
}

/// Syncs of the rules, of one family.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Syncs {
    /// The family; `None` for both.
    pub family: Option<IpFamily>,
    /// When the last one ended well, in seconds since the epoch; 0 for never.
    pub last_s: f64,
    /// When one was asked for last, in seconds since the epoch.
    pub queued_s: f64,
    /// How many there were.
    pub count: u64,
    /// How long all of them took, in seconds.
    pub seconds: f64,
    /// Writes that failed. The counter of iptables, and that of nftables; 1.30 counts nftables' in the former.
    pub failures: u64,
}

/// `/healthz` (kube-proxy's `pkg/proxy/healthcheck/proxy_health.go`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Healthz {
    /// The status of HTTP: 200, or 503 where a sync is due for longer than twice the sync period.
    pub status: u16,
    /// When it was asked, by its own clock.
    #[serde(default)]
    pub asked_at: Option<Timestamp>,
    /// When it was last up to date.
    pub updated_at: Option<Timestamp>,
    /// By family, from 1.33 on.
    pub families: Vec<FamilyHealth>,
    /// False where the node is being removed, so that load balancers leave it; not of every version.
    pub eligible: Option<bool>,
}

/// The health of a family.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FamilyHealth {
    /// The family.
    pub family: IpFamily,
    /// When it was last written.
    pub updated_at: Option<Timestamp>,
    /// What kube-proxy thinks of it.
    pub healthy: bool,
}

/// What is used of `/configz` (`KubeProxyConfiguration`, kubeproxy.config.k8s.io/v1alpha1).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// `mode`: `iptables`, `ipvs`, `nftables`.
    pub mode: String,
    /// `minSyncPeriod` of the mode: rules may rightly be that much behind.
    pub min_sync: Option<Duration>,
    /// `syncPeriod` of the mode.
    pub sync: Option<Duration>,
    /// `clusterCIDR`, of both families.
    pub cluster_cidrs: Vec<String>,
    /// `nodePortAddresses`.
    pub node_port_addresses: Vec<String>,
    /// `masqueradeAll` of the mode.
    pub masquerade_all: bool,
    /// `masqueradeBit` of the mode.
    pub masquerade_bit: Option<u8>,
    /// `detectLocalMode`.
    pub detect_local: String,
    /// `ipvs.scheduler`.
    pub scheduler: String,
}

/// Bit of the mark that asks for masquerading, where nothing else is configured (`SetDefaults_KubeProxyConfiguration`,
/// `pkg/proxy/apis/config/v1alpha1/defaults.go`).
const MASQUERADE_BIT: u8 = 14;

impl Config {
    /// The network of the cluster's pods.
    pub fn cluster_cidr(&self, family: IpFamily) -> Option<IpNet> {
        let mut all = self.cluster_cidrs.iter().filter_map(|c| c.parse::<IpNet>().ok());
        all.find(|n| IpFamily::of(n.addr) == family)
    }

    /// Whether node ports are served on an address of the node; `None` where the mode's default decides.
    pub fn serves_node_ports_on(&self, address: IpAddr, is_primary: bool) -> Option<bool> {
        let all = &self.node_port_addresses;
        let matches = |a: &String| match a.as_str() {
            "primary" => is_primary,
            net => net.parse::<IpNet>().is_ok_and(|n| n.contains(address)),
        };
        (!all.is_empty()).then(|| all.iter().any(matches))
    }

    /// The mark that asks for masquerading.
    pub fn masquerade_mark(&self) -> u32 {
        1u32.checked_shl(self.masquerade_bit.unwrap_or(MASQUERADE_BIT).into()).unwrap_or(0)
    }
}

impl KubeProxy {
    /// Its version without the `v`.
    pub fn version(&self) -> Option<&str> {
        let metrics = self.metrics.given().or(self.before.as_ref().map(|b| &b.1));
        let version = metrics.and_then(|m| m.version.as_deref()).or(self.logged_version.as_deref());
        version.map(|v| v.trim_start_matches('v'))
    }

    /// True where it answered one of the two ports.
    pub fn answers(&self) -> bool {
        self.metrics.given().is_some() || self.health.given().is_some()
    }

    /// When the rules were written last, of the family that waits longest.
    pub fn synced_at(&self) -> Option<Timestamp> {
        let m = self.metrics.given()?;
        let last = m.syncs.iter().map(|s| s.last_s).filter(|s| *s > 0.0).min_by(f64::total_cmp)?;
        Timestamp::from_millisecond((last * 1e3) as i64).ok()
    }

    /// Seconds of a sync: the mean of those since the time before, or where there were none what the last one took at most, with
    /// the wait for its turn. The mean of all says little: one that hung is in it for good.
    pub fn sync_seconds(&self) -> Option<f64> {
        let now = self.metrics.given()?;
        let sum = |m: &Metrics| m.syncs.iter().fold((0, 0.0), |a, s| (a.0 + s.count, a.1 + s.seconds));
        let (count, seconds) = sum(now);
        if let Some((earlier, earlier_seconds)) = self.before.as_ref().map(|b| sum(&b.1))
            && count > earlier
            && seconds >= earlier_seconds
        {
            return Some((seconds - earlier_seconds) / (count - earlier) as f64);
        }
        let ended = now.syncs.iter().filter(|s| s.queued_s > 0.0 && s.last_s >= s.queued_s);
        ended.map(|s| s.last_s - s.queued_s).max_by(f64::total_cmp)
    }

    /// In a few words: `1.36.3, synced 3 s ago in 0.4 s, 2 changes pending`, and whether that is as it should be; `None` where there is nothing
    /// to say.
    pub fn words(&self, now: Timestamp) -> Option<(String, bool)> {
        if matches!(self.metrics, Answer::Silent) || matches!(self.health, Answer::Silent) {
            return Some(("does not answer".into(), false));
        }
        if !self.answers() {
            return self.answered_at.map(|_| ("does not listen any more".into(), false));
        }
        let mut all: Vec<String> = self.version().map(str::to_string).into_iter().collect();
        if let Some(at) = self.synced_at() {
            let ago = Duration::try_from(now.duration_since(at)).unwrap_or_default();
            let took = self.sync_seconds().and_then(|s| Duration::try_from_secs_f64(s).ok());
            let took = took.map_or(String::new(), |t| format!(" in {}", duration(t)));
            all.push(format!("synced {} ago{took}", duration(ago)));
        }
        if let Some(n) = self.metrics.given().and_then(|m| m.pending).filter(|n| *n > 0) {
            all.push(format!("{n} changes pending"));
        }
        let status = self.health.given().map(|h| h.status);
        all.extend(status.filter(|s| *s != 200).map(|s| format!("healthz {s}")));
        (!all.is_empty()).then(|| (all.join(", "), status.is_none_or(|s| s == 200)))
    }

    /// Whether a counter rose since the time before; `None` without one.
    pub fn rose(&self, of: impl Fn(&Metrics) -> u64) -> Option<u64> {
        Some(of(self.metrics.given()?).saturating_sub(of(&self.before.as_ref()?.1)))
    }
}

impl Metrics {
    /// Failed writes of all families.
    pub fn failures(&self) -> u64 {
        self.syncs.iter().map(|s| s.failures).sum()
    }
}
