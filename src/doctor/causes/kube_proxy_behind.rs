//! Rules or virtual servers that are older than what the Kubernetes API says: kube-proxy is slow, stuck or not running. A moment of
//! difference is no fault, and nothing is judged by a picture that may be old itself.

use crate::doctor::Subject;
use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::{Finding, Severity};
use crate::doctor::group::SHOWN;
use crate::format::duration;
use crate::proxy::{
    Aspect, Behind, Difference, Mode, Protocol, Proxy, Service, ServiceName, chain, detect, differences,
};
use crate::ruleset::IpFamily;
use crate::snapshot::SourceId;
use crate::snapshot::facts::Cluster;
use jiff::Timestamp;
use std::cell::LazyCell;
use std::cell::OnceCell;
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

/// kube-proxy writes at most once in its `minSyncPeriod`, and large rule sets take some time: what is younger is on its way.
const WRITING: Duration = Duration::from_secs(10);

/// The same where kube-proxy does not tell its period.
const ON_ITS_WAY: Duration = Duration::from_secs(15);

pub(super) const CHECK: Check = Check {
    id: "kube_proxy_behind",
    about: "what is programmed is not what the API says",
    needs: &[SourceId::Api],
    looks_at: SourceId::RULES,
    readings: 1,
    run,
};

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    let now = cx.cluster()?;
    if cx.model.services.modes.is_empty() {
        // That all rules are gone is another cause's.
        return Err(NotChecked::new(None, "no mode of kube-proxy holds a Service here"));
    }
    is_current(cx, now)?;
    // What differed at the reading before; asked for where something of unknown age differs.
    let earlier = LazyCell::new(|| {
        let (before, cluster) = cx.facts.before.and_then(|b| Some((b, b.snapshot.cluster.as_ref()?)))?;
        let all = differences(cluster, &before.model.services);
        Some(
            all.into_iter()
                .map(|b| (key(&b, &before.model.services), b.differences))
                .collect::<HashMap<_, _>>(),
        )
    });
    let all = differences(now, &cx.model.services);
    is_its_cluster(cx, now, &all)?;
    let told = cx.snapshot.proxy_config().and_then(|c| c.min_sync);
    let patience = told.map_or(ON_ITS_WAY, |min| min.saturating_add(WRITING));
    let knows_internal = has_internal_policy(cx);
    let mut waits = false;
    let writer = OnceCell::new();
    for b in &all {
        let changed = b.service.map_or_else(|| removed_at(now, b.name.as_ref()), |s| s.changed_at);
        let age =
            changed.map(|at| Duration::try_from(cx.snapshot.taken_at.duration_since(at)).unwrap_or_default());
        for d in b.differences.iter().filter(|d| d.aspect != Aspect::InternalPolicy || knows_internal) {
            // Of what was so from the start the age is not known: it must have been so at the reading before, too.
            let stays = || {
                let before = earlier.as_ref().and_then(|e| e.get(&key(b, &cx.model.services)));
                before.is_some_and(|all| all.contains(d))
            };
            let is_old = match age {
                Some(age) => age >= patience,
                // One reading of files: what differs there differs.
                None if cx.facts.before.is_none() => cx.is_still(),
                None => stays(),
            };
            if is_old {
                let writer = *writer.get_or_init(|| proxy_of(cx));
                found.push(finding(cx, b, d, age, writer));
            }
            waits |= !is_old;
        }
    }
    match waits && cx.facts.before.is_none() && !cx.is_still() {
        true => Err(NotChecked::ONE_READING),
        false => Ok(()),
    }
}

/// `Err` where what the API said last may be older than what kube-proxy wrote.
fn is_current(cx: &CheckContext<'_>, cluster: &Cluster) -> Result<(), NotChecked> {
    if cluster.state.outdated {
        let why = match &cluster.state.trouble {
            Some(t) => format!("what the Kubernetes API said is old by now: {}", t.what),
            None => "the Kubernetes API is listing everything again".into(),
        };
        return Err(NotChecked::new(SourceId::Api, why));
    }
    let Some(heard) = cx.snapshot.api_heard_at else { return Ok(()) };
    // Rules that are younger may be written by what was not heard.
    if heard >= cx.facts.same_since {
        return Ok(());
    }
    let silent = Duration::try_from(cx.snapshot.taken_at.duration_since(heard)).unwrap_or_default();
    Err(NotChecked::new(
        SourceId::Api,
        format!("the Kubernetes API has been silent for {}", duration(silent)),
    ))
}

/// `Err` where most of what is served here the API does not have, nor this node: it is another cluster's.
fn is_its_cluster(cx: &CheckContext<'_>, cluster: &Cluster, all: &[Behind<'_>]) -> Result<(), NotChecked> {
    let deleted = all.iter().filter(|b| b.differences.iter().any(|d| d.aspect == Aspect::Deleted)).count();
    let served = cx.active_services().filter(|(_, s)| s.name.is_some()).count();
    match cluster.node.is_none() && served > 4 && deleted * 2 > served {
        true => Err(NotChecked::new(
            SourceId::Api,
            "the Kubernetes API has neither this node nor most of the Services here: it is another cluster's",
        )),
        false => Ok(()),
    }
}

/// True where kube-proxy may follow `internalTrafficPolicy`, from 1.22 on: in iptables mode earlier ones have no chain for node
/// ports in the filter table (`pkg/proxy/iptables/proxier.go` of 1.20).
fn has_internal_policy(cx: &CheckContext<'_>) -> bool {
    let mut filters = cx.snapshot.tables.iter().filter(|t| t.table.name == "filter");
    !cx.active(Mode::Iptables) || filters.any(|t| t.table.chain(chain::NODEPORTS).is_some())
}

fn removed_at(cluster: &Cluster, name: Option<&ServiceName>) -> Option<Timestamp> {
    let name = name?;
    let mut all = cluster.removed.iter().rev();
    all.find(|r| r.namespace == name.namespace && r.name == name.name).map(|r| r.at)
}

fn finding(
    cx: &CheckContext<'_>,
    b: &Behind<'_>,
    d: &Difference,
    age: Option<Duration>,
    writer: Proxy,
) -> Finding {
    let title = title(b, d);
    let severity = if d.loses { Severity::Critical } else { Severity::Warning };
    let name = b.name.as_ref().map_or_else(|| list(&d.here), ToString::to_string);
    let family = if b.family == IpFamily::V6 { " (ipv6)" } else { "" };
    let about = format!("{name} {}{family}", b.protocol.name());
    let mut f = Finding::node(CHECK.id, severity, &about, title);
    match b.places.first() {
        Some(place) => (f.subject, f.services) = (Subject::Service(*place), vec![*place]),
        None => f.absent = vec![about],
    }
    for text in evidence(d) {
        f = f.proved_by(text);
    }
    let whose = if d.aspect == Aspect::Endpoints { "its endpoints last changed" } else { "it last changed" };
    let old = age.map_or("since before kptop began to look".to_string(), |a| format!("{} ago", duration(a)));
    let still = age.is_none() && cx.is_still();
    if !still {
        f = f.proved_by(format!("{whose} {old}"));
    }
    match writer {
        Proxy::KubeProxy => f
            .advise(
                "is kube-proxy running here, and what does it log? kubectl -n kube-system get pods -o wide | grep kube-proxy",
            )
            .advise("its metric kubeproxy_sync_proxy_rules_last_timestamp_seconds says when it last wrote"),
        other => f.advise(format!(
            "is the agent of {} running here, and what does it log? kubectl get pods -A -o wide --field-selector spec.nodeName=NODE",
            other.words()
        )),
    }
}

/// Who writes what is behind.
fn proxy_of(cx: &CheckContext<'_>) -> Proxy {
    let serving = detect(cx.snapshot, cx.model).into_iter().find(|d| d.serves);
    serving.map_or(Proxy::KubeProxy, |d| d.proxy)
}

/// Without numbers: findings that say the same of several Services are one.
fn title(b: &Behind<'_>, d: &Difference) -> String {
    match d.aspect {
        Aspect::Deleted => match (b.service, d.loses) {
            (Some(s), _) if s.not_proxied => "not kube-proxy's to serve any more, and still served".into(),
            (Some(_), _) => "the port is deleted, and still served".into(),
            (None, false) => "the Service is deleted, and still served".into(),
            (None, true) => {
                "the Service is deleted, and still takes the traffic to an address that is another's by now"
                    .into()
            }
        },
        Aspect::NotWritten => "the Service port has no rules".into(),
        Aspect::Endpoints => match (d.here.is_empty(), d.loses) {
            (false, _) => "traffic still goes to endpoints that are gone".into(),
            (true, true) => "ready endpoints, and not one of them is served".into(),
            (true, false) => "ready endpoints without rules".into(),
        },
        aspect => {
            let (what, is) = words(aspect);
            format!("its {what} {is} not what the API says")
        }
    }
}

fn words(aspect: Aspect) -> (&'static str, &'static str) {
    match aspect {
        Aspect::Deleted | Aspect::NotWritten => ("rules", "are"),
        Aspect::Endpoints => ("endpoints", "are"),
        Aspect::ClusterIp => ("cluster IP", "is"),
        Aspect::Port => ("port", "is"),
        Aspect::NodePort => ("node port", "is"),
        Aspect::ExternalIps => ("external IPs", "are"),
        Aspect::LoadBalancerIps => ("load balancer IPs", "are"),
        Aspect::SourceRanges => ("allowed source ranges", "are"),
        Aspect::Affinity => ("session affinity", "is"),
        Aspect::ExternalPolicy => ("external traffic policy", "is"),
        Aspect::InternalPolicy => ("internal traffic policy", "is"),
    }
}

fn evidence(d: &Difference) -> Vec<String> {
    let (here, wanted) = match d.aspect {
        Aspect::Endpoints => (
            "backends here that no EndpointSlice has as usable",
            "ready in EndpointSlices and no backend here",
        ),
        Aspect::Deleted => ("reached here, and not in the API", ""),
        Aspect::NotWritten => ("", "in the API, and not reached here"),
        _ => ("here", "in the API"),
    };
    [(here, &d.here), (wanted, &d.wanted)]
        .into_iter()
        .filter(|(_, all)| !all.is_empty())
        .map(|(what, all)| format!("{what}: {}", list(all)))
        .collect()
}

fn list(all: &BTreeSet<String>) -> String {
    let shown: Vec<&str> = all.iter().take(SHOWN).map(String::as_str).collect();
    let more = all.len().saturating_sub(SHOWN);
    shown.join(", ") + &if more > 0 { format!(" and {more} more") } else { String::new() }
}

/// Whose difference it is, from one reading to the next: what nobody names is known by its first address.
fn key(of: &Behind<'_>, services: &[Service]) -> (Option<ServiceName>, String, Protocol, IpFamily) {
    let place = of.places.first().filter(|_| of.name.is_none());
    let at = place.and_then(|i| services.get(*i)).map(Service::label).unwrap_or_default();
    (of.name.clone(), at, of.protocol, of.family)
}
