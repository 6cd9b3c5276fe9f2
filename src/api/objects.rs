//! Objects of the Kubernetes API -> what kptop keeps of them.

use super::{ClusterEndpoint, ClusterNode, ClusterPort, ClusterService};
use crate::ruleset::IpNet;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{LoadBalancerIngress, Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// Namespace and name.
pub(super) type Key = (String, String);

/// Label that says whose slice it is (`discovery.k8s.io/v1`, `LabelServiceName`).
const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Label of Services that another proxy serves (`service.kubernetes.io/service-proxy-name`).
const PROXY_NAME: &str = "service.kubernetes.io/service-proxy-name";
/// Annotation with the time of the change that led to this slice (`EndpointsLastChangeTriggerTime`).
const TRIGGERED: &str = "endpoints.kubernetes.io/last-change-trigger-time";
/// `topology.kubernetes.io/zone`
const ZONE: &str = "topology.kubernetes.io/zone";

/// Seconds of affinity where a Service does not say them (`DefaultClientIPServiceAffinitySeconds`, core/v1).
const AFFINITY_S: u32 = 10_800;
/// Label of slices of headless Services, which kube-proxy does not look at (`service.kubernetes.io/headless`).
const HEADLESS: &str = "service.kubernetes.io/headless";

fn port_number(n: i32) -> u16 {
    u16::try_from(n).unwrap_or(0)
}

fn addresses<'a>(texts: impl IntoIterator<Item = &'a String>) -> Vec<IpAddr> {
    let mut all: Vec<IpAddr> = Vec::new();
    for a in texts.into_iter().filter_map(|t| t.parse().ok()) {
        if !all.contains(&a) {
            all.push(a);
        }
    }
    all
}

fn networks<'a>(texts: impl IntoIterator<Item = &'a String>) -> Vec<IpNet> {
    // The API admits blanks around them (`validation.go`, `ValidateServiceLoadBalancerSourceRanges`).
    let mut all: Vec<IpNet> =
        texts.into_iter().filter_map(|t| t.trim().parse().ok()).map(IpNet::masked).collect();
    all.sort();
    all.dedup();
    all
}

/// A Service, without its endpoints.
pub fn service(object: &Service) -> Option<ClusterService> {
    let metadata = &object.metadata;
    let spec = object.spec.as_ref()?;
    let kind = spec.type_.as_deref().unwrap_or("ClusterIP");
    let mut cluster_ips = addresses(spec.cluster_ips.iter().flatten());
    if cluster_ips.is_empty() {
        cluster_ips = addresses(&spec.cluster_ip);
    }
    let ingress = object.status.iter().filter_map(|s| s.load_balancer.as_ref()?.ingress.as_ref()).flatten();
    let (proxied, own): (Vec<_>, Vec<_>) = ingress.partition(|i| i.ip_mode.as_deref() == Some("Proxy"));
    let ips = |of: Vec<&LoadBalancerIngress>| addresses(of.into_iter().filter_map(|i| i.ip.as_ref()));
    let affinity = (spec.session_affinity.as_deref() == Some("ClientIP")).then(|| {
        let client_ip = spec.session_affinity_config.as_ref().and_then(|c| c.client_ip.as_ref());
        let seconds = client_ip.and_then(|c| c.timeout_seconds);
        seconds.and_then(|s| u32::try_from(s).ok()).unwrap_or(AFFINITY_S)
    });
    Some(ClusterService {
        namespace: metadata.namespace.clone().unwrap_or_default(),
        name: metadata.name.clone()?,
        not_proxied: kind == "ExternalName"
            || cluster_ips.is_empty()
            || metadata.labels.iter().flatten().any(|l| l.0 == PROXY_NAME),
        cluster_ips,
        external_ips: addresses(spec.external_ips.iter().flatten()),
        load_balancer_ips: ips(own),
        proxied_ips: ips(proxied),
        source_ranges: networks(spec.load_balancer_source_ranges.iter().flatten()),
        affinity_s: affinity,
        internal_local: spec.internal_traffic_policy.as_deref() == Some("Local"),
        external_local: spec.external_traffic_policy.as_deref() == Some("Local"),
        ports: spec
            .ports
            .iter()
            .flatten()
            .map(|p| ClusterPort {
                name: p.name.clone().unwrap_or_default(),
                protocol: p.protocol.clone().unwrap_or_else(|| "TCP".into()),
                port: port_number(p.port),
                node_port: p.node_port.map(port_number).filter(|p| *p != 0),
            })
            .collect(),
        endpoints: Vec::new(),
        changed_at: None,
    })
}

/// The endpoints of a slice.
#[derive(Clone, Debug, Default)]
pub struct Slice {
    /// Namespace and name of the Service.
    pub of: Key,
    /// One for each address and port.
    pub endpoints: Vec<ClusterEndpoint>,
    /// When what it says came to be.
    pub triggered: Option<Timestamp>,
}

/// An EndpointSlice; `None` for one that belongs to no Service, that kube-proxy ignores by its labels
/// (`pkg/proxy/runner.go`, `NewRunner`), or that holds names instead of addresses.
pub fn slice(object: &EndpointSlice) -> Option<Slice> {
    let metadata = &object.metadata;
    let labels = metadata.labels.as_ref()?;
    let service = labels.get(SERVICE_NAME)?;
    if [HEADLESS, PROXY_NAME].iter().any(|l| labels.contains_key(*l)) {
        return None;
    }
    if object.address_type == "FQDN" {
        return None;
    }
    let triggered = metadata.annotations.as_ref().and_then(|a| a.get(TRIGGERED)?.parse().ok());
    let mut endpoints = Vec::new();
    for e in &object.endpoints {
        // kube-proxy looks at the first address only (pkg/proxy/endpointslicecache.go).
        let Some(address) = e.addresses.first().and_then(|a| a.parse().ok()) else { continue };
        let condition = |of: fn(&k8s_openapi::api::discovery::v1::EndpointConditions) -> Option<bool>| {
            e.conditions.as_ref().and_then(of)
        };
        // What is not said counts as ready (API documentation of EndpointConditions).
        let ready = condition(|c| c.ready).unwrap_or(true);
        let target = e.target_ref.as_ref().and_then(|t| {
            let name = t.name.clone()?;
            Some(match t.kind.as_deref() {
                None | Some("Pod") => name,
                Some(kind) => format!("{kind}/{name}"),
            })
        });
        let hints = e.hints.as_ref();
        for p in object.ports.iter().flatten() {
            let Some(port) = p.port else { continue };
            endpoints.push(ClusterEndpoint {
                port_name: p.name.clone().unwrap_or_default(),
                protocol: p.protocol.clone().unwrap_or_else(|| "TCP".into()),
                address: Some(address),
                port: port_number(port),
                target: target.clone(),
                node: e.node_name.clone(),
                zone: e.zone.clone(),
                ready,
                serving: condition(|c| c.serving).unwrap_or(ready),
                terminating: condition(|c| c.terminating).unwrap_or(false),
                for_zones: hints
                    .and_then(|h| h.for_zones.as_ref())
                    .map(|z| z.iter().map(|z| z.name.clone()).collect())
                    .unwrap_or_default(),
                for_nodes: hints
                    .and_then(|h| h.for_nodes.as_ref())
                    .map(|n| n.iter().map(|n| n.name.clone()).collect())
                    .unwrap_or_default(),
            });
        }
    }
    let of = (metadata.namespace.clone().unwrap_or_default(), service.clone());
    Some(Slice { of, endpoints, triggered })
}

/// A Node.
pub fn node(object: &Node) -> ClusterNode {
    let status = object.status.iter().filter_map(|s| s.addresses.as_ref()).flatten();
    let spec = object.spec.as_ref();
    ClusterNode {
        name: object.metadata.name.clone().unwrap_or_default(),
        zone: object.metadata.labels.as_ref().and_then(|l| l.get(ZONE).cloned()),
        addresses: status.filter_map(|a| a.address.parse().ok()).collect(),
        pod_cidrs: spec.and_then(|s| s.pod_cidrs.clone()).unwrap_or_default(),
    }
}

/// Services and slices by name, put together.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    services: BTreeMap<Key, ClusterService>,
    slices: BTreeMap<Key, Slice>,
    /// When the watch reported a change; what was there from the start has no time.
    changed: BTreeMap<Key, Timestamp>,
    built: BTreeMap<Key, Arc<ClusterService>>,
}

impl Catalog {
    /// A Service came, or is another. `at`: when the watch reported it; `None` for what a list says.
    pub(super) fn put_service(&mut self, service: ClusterService, at: Option<Timestamp>) {
        let key = (service.namespace.clone(), service.name.clone());
        if self.services.get(&key) != Some(&service) {
            self.services.insert(key.clone(), service);
            self.touch(key, at);
        }
    }

    /// A Service went.
    pub(super) fn drop_service(&mut self, key: &Key) {
        self.services.remove(key);
        self.changed.remove(key);
        self.built.remove(key);
    }

    /// A slice came, or is another.
    pub(super) fn put_slice(&mut self, name: Key, slice: Slice, at: Option<Timestamp>) {
        let old = self.slices.get(&name);
        if old.is_some_and(|o| o.of == slice.of && o.endpoints == slice.endpoints) {
            return;
        }
        let of = slice.of.clone();
        let before = self.slices.insert(name, slice).map(|s| s.of);
        self.touch(of, at);
        if let Some(of) = before {
            self.touch(of, at);
        }
    }

    /// A slice went.
    pub(super) fn drop_slice(&mut self, name: &Key, at: Option<Timestamp>) {
        if let Some(old) = self.slices.remove(name) {
            self.touch(old.of, at);
        }
    }

    fn touch(&mut self, of: Key, at: Option<Timestamp>) {
        self.built.remove(&of);
        if let Some(at) = at {
            self.changed.insert(of, at);
        }
    }

    /// The Services that a new list did not name.
    pub(super) fn not_in(&self, listed: &std::collections::HashSet<Key>) -> Vec<Key> {
        self.services.keys().filter(|k| !listed.contains(*k)).cloned().collect()
    }

    /// The ports of a Service; none where it is not known.
    fn ports_of(&self, key: &Key) -> Vec<ClusterPort> {
        self.services.get(key).map(|s| s.ports.clone()).unwrap_or_default()
    }

    /// Forgets the slices that a new list did not name.
    pub(super) fn keep_slices(&mut self, listed: &std::collections::HashSet<Key>, at: Timestamp) {
        let gone: Vec<Key> = self.slices.keys().filter(|k| !listed.contains(*k)).cloned().collect();
        gone.iter().for_each(|k| self.drop_slice(k, Some(at)));
    }

    /// All Services with their endpoints. What did not change is not copied.
    pub(super) fn services(&mut self) -> Vec<Arc<ClusterService>> {
        let missing = self.services.keys().any(|k| !self.built.contains_key(k));
        if missing {
            let mut slices: BTreeMap<&Key, Vec<&Slice>> = BTreeMap::new();
            for s in self.slices.values() {
                if !self.built.contains_key(&s.of) {
                    slices.entry(&s.of).or_default().push(s);
                }
            }
            for (key, service) in &self.services {
                if self.built.contains_key(key) {
                    continue;
                }
                let mine = slices.get(key).map_or(&[][..], |s| s);
                let mut endpoints: Vec<ClusterEndpoint> =
                    mine.iter().flat_map(|s| s.endpoints.iter().cloned()).collect();
                endpoints.sort_unstable();
                endpoints.dedup();
                let triggered = mine.iter().filter_map(|s| s.triggered).max();
                let changed_at = triggered.max(self.changed.get(key).copied());
                let whole = ClusterService { endpoints, changed_at, ..service.clone() };
                self.built.insert(key.clone(), Arc::new(whole));
            }
        }
        self.built.values().cloned().collect()
    }
}

/// `discovery.k8s.io/v1beta1`, of 1.20 and older, as v1: node and zone was among the topology.
fn as_v1(mut slice: Value) -> Value {
    if slice["apiVersion"] != "discovery.k8s.io/v1beta1" {
        return slice;
    }
    slice["apiVersion"] = "discovery.k8s.io/v1".into();
    for e in slice.get_mut("endpoints").and_then(Value::as_array_mut).into_iter().flatten() {
        for (field, key) in [("nodeName", "kubernetes.io/hostname"), ("zone", ZONE)] {
            let reported = e["topology"].get(key).cloned();
            if let (Some(reported), true) = (reported, e[field].is_null()) {
                e[field] = reported;
            }
        }
    }
    slice
}

/// What `kubectl get services,endpointslices,nodes -A -o json` prints.
#[derive(Debug, Default)]
pub struct Listed {
    /// Services with their endpoints.
    pub services: Vec<Arc<ClusterService>>,
    /// Nodes.
    pub nodes: Vec<ClusterNode>,
    /// Objects of other kinds, which are left out.
    pub others: usize,
    /// Objects that could not be read, and why.
    pub unread: Vec<String>,
    /// True where endpoints were left out, as nothing says which port is which.
    pub partial: bool,
}

/// Reads lists of objects, as `kubectl get … -o json` prints them, each with its name for errors.
///
/// # Errors
/// A list whose items are none.
pub fn read_list(objects: impl IntoIterator<Item = (String, Value)>) -> Result<Listed, String> {
    let mut catalog = Catalog::default();
    let mut listed = Listed::default();
    let mut endpoints: Vec<Value> = Vec::new();
    let mut with_slices: BTreeSet<Key> = BTreeSet::new();
    for (name, value) in objects {
        let kind = value.get("kind").and_then(Value::as_str).unwrap_or_default().to_string();
        let of_list = kind.strip_suffix("List").unwrap_or_default().to_string();
        let items = match value {
            Value::Object(mut o) if o.contains_key("items") => match o.remove("items") {
                Some(Value::Array(items)) => items,
                Some(Value::Null) => Vec::new(),
                _ => return Err(format!("{name}: its items are no list")),
            },
            other => vec![other],
        };
        for item in items {
            let own = item.get("kind").and_then(Value::as_str).unwrap_or(&of_list).to_string();
            let reported = match own.as_str() {
                "Service" => Service::deserialize(item).map(|s| {
                    if let Some(s) = service(&s) {
                        catalog.put_service(s, None);
                    }
                }),
                // Of a table: which port is which the Service says.
                "EndpointSlice" if item.get("anyPort").is_some() => {
                    endpoints.push(item);
                    Ok(())
                }
                "EndpointSlice" => EndpointSlice::deserialize(as_v1(item)).map(|s| {
                    let key = (
                        s.metadata.namespace.clone().unwrap_or_default(),
                        s.metadata.name.clone().unwrap_or_default(),
                    );
                    if let Some(slice) = slice(&s) {
                        with_slices.insert(slice.of.clone());
                        catalog.put_slice(key, slice, None);
                    }
                }),
                "Endpoints" => {
                    endpoints.push(item);
                    Ok(())
                }
                "Node" => Node::deserialize(item).map(|n| listed.nodes.push(node(&n))),
                _ => {
                    listed.others += 1;
                    Ok(())
                }
            };
            if let Err(e) = reported {
                listed.unread.push(format!("{name}: {own}: {e}"));
            }
        }
    }
    // Endpoints say less than slices do: they count where no slice was given.
    for (n, item) in endpoints.into_iter().enumerate() {
        let Some((of, found)) = super::endpoints::read(&item, |key| catalog.ports_of(key)) else { continue };
        if with_slices.contains(&of) {
            continue;
        }
        match found {
            Some(endpoints) => {
                let key = (of.0.clone(), format!("{}/{n}", of.1));
                catalog.put_slice(key, Slice { of, endpoints, triggered: None }, None);
            }
            // Whose port is whose is not known.
            None => listed.partial = true,
        }
    }
    listed.services = catalog.services();
    Ok(listed)
}
