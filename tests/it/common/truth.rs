//! The truth of a set: the Services, frontends and backends that its Kubernetes objects ask for, by the rules
//! in `tests/rules/README.md`, as sorted lines. And the same lines of what kptop read.

use super::read;
use kptop::proxy::{Affinity, Model, Service, TrafficPolicy, frontend_text};
use kptop::ruleset::IpFamily;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

/// Which kube-proxy wrote the rules.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
pub struct Version(pub u32);

impl Version {
    pub fn of(text: &str) -> Version {
        Version(super::minor(text))
    }
}

#[derive(Clone)]
pub struct Endpoint {
    pub address: String,
    pub port: u64,
    pub local: bool,
    ready: bool,
    serving: bool,
    terminating: bool,
    zones: Option<Vec<String>>,
}

/// Whose rules say.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RuleSource {
    Iptables,
    Nftables,
    Userspace,
}

/// A Service port in one family.
pub struct Wanted {
    pub name: String,
    pub protocol: String,
    pub family: IpFamily,
    pub spec: Value,
    pub port: Value,
    pub cluster_ip: String,
    pub cluster: Vec<Endpoint>,
    /// The same without zone hints.
    pub cluster_all_zones: Vec<Endpoint>,
    pub local: Vec<Endpoint>,
    pub load_balancer_ips: Vec<String>,
    has_ipv6_ingress: bool,
    version: Version,
}

fn items(dir: &Path, file: &str) -> Vec<Value> {
    let text = read(dir, file).unwrap_or_else(|| panic!("{} has no {file}", dir.display()));
    serde_json::from_str::<Value>(&text).unwrap()["items"].as_array().unwrap().clone()
}

fn family_of(address: &str) -> IpFamily {
    if address.contains(':') { IpFamily::V6 } else { IpFamily::V4 }
}

fn strings(v: &Value) -> Vec<String> {
    v.as_array()
        .map(|a| a.iter().filter_map(|s| s.as_str().map(str::to_string)).collect())
        .unwrap_or_default()
}

const NODE: &str = "node-a";
const ZONE: &str = "eu-west-1a";

fn endpoints(slices: &[Value], namespace: &str, name: &str, port: &Value, family: IpFamily) -> Vec<Endpoint> {
    let mut found: Vec<Endpoint> = Vec::new();
    for slice in slices {
        if slice["metadata"]["namespace"] != namespace
            || slice["metadata"]["labels"]["kubernetes.io/service-name"] != name
            || (slice["addressType"] == "IPv6") != (family == IpFamily::V6)
        {
            continue;
        }
        let named = slice["ports"].as_array().into_iter().flatten().find(|p| {
            p["name"].as_str().unwrap_or("") == port["name"].as_str().unwrap_or("")
                && p["protocol"] == port["protocol"]
        });
        let Some(number) = named.and_then(|p| p["port"].as_u64()) else { continue };
        for e in slice["endpoints"].as_array().into_iter().flatten() {
            let c = &e["conditions"];
            let ready = c["ready"].as_bool().unwrap_or(true);
            let zones = e["hints"]["forZones"]
                .as_array()
                .map(|z| z.iter().filter_map(|z| z["name"].as_str().map(str::to_string)).collect());
            found.push(Endpoint {
                address: e["addresses"][0].as_str().unwrap().to_string(),
                port: number,
                // discovery.k8s.io/v1, and v1beta1 of 1.20
                local: e["nodeName"] == NODE || e["topology"]["kubernetes.io/hostname"] == NODE,
                ready,
                serving: c["serving"].as_bool().unwrap_or(ready),
                terminating: c["terminating"].as_bool().unwrap_or(false),
                zones,
            });
        }
    }
    found
}

fn usable(all: &[Endpoint], version: Version) -> Vec<Endpoint> {
    let ready: Vec<Endpoint> = all.iter().filter(|e| e.ready).cloned().collect();
    // The gate ProxyTerminatingEndpoints is on by default from 1.26 on.
    if !ready.is_empty() || version < Version(26) {
        return ready;
    }
    all.iter().filter(|e| e.serving && e.terminating).cloned().collect()
}

/// 1.31 began with the hints of Services that ask for a distribution; from 1.33 on all are heeded.
fn in_zone(endpoints: Vec<Endpoint>, spec: &Value, version: Version) -> Vec<Endpoint> {
    let heeded = version >= Version(33) || (version >= Version(31) && !spec["trafficDistribution"].is_null());
    let hinted = heeded && endpoints.iter().all(|e| e.zones.is_some());
    let here = |e: &Endpoint| e.zones.as_ref().is_some_and(|z| z.iter().any(|z| z == ZONE));
    if hinted && endpoints.iter().any(here) {
        return endpoints.into_iter().filter(here).collect();
    }
    endpoints
}

/// All Service ports of a set.
pub fn wanted(dir: &Path, version: Version) -> Vec<Wanted> {
    let slices = items(dir, "endpointslices.json");
    let mut all = Vec::new();
    for service in items(dir, "services.json") {
        let spec = &service["spec"];
        let (namespace, name) = (
            service["metadata"]["namespace"].as_str().unwrap(),
            service["metadata"]["name"].as_str().unwrap(),
        );
        if spec["type"] == "ExternalName" || spec["clusterIP"] == "None" {
            continue;
        }
        let mut ips = strings(&spec["clusterIPs"]);
        if ips.is_empty() {
            ips = vec![spec["clusterIP"].as_str().unwrap().to_string()];
        }
        for ip in &ips {
            let family = family_of(ip);
            for port in spec["ports"].as_array().unwrap() {
                let mut port = port.clone();
                if port["protocol"].is_null() {
                    port["protocol"] = "TCP".into();
                }
                let all_endpoints = endpoints(&slices, namespace, name, &port, family);
                let cluster_all_zones = usable(&all_endpoints, version);
                let cluster = in_zone(cluster_all_zones.clone(), spec, version);
                let here: Vec<Endpoint> = all_endpoints.into_iter().filter(|e| e.local).collect();
                let local = usable(&here, version);
                let ingress = service["status"]["loadBalancer"]["ingress"].as_array();
                let has_ipv6_ingress = ingress
                    .into_iter()
                    .flatten()
                    .any(|i| i["ip"].as_str().is_some_and(|i| family_of(i) == IpFamily::V6));
                let load_balancer_ips = ingress
                    .into_iter()
                    .flatten()
                    .filter(|i| version < Version(30) || i["ipMode"] != "Proxy")
                    .filter_map(|i| i["ip"].as_str().map(str::to_string))
                    .filter(|i| family_of(i) == family)
                    .collect();
                let port_name = port["name"].as_str().unwrap_or("");
                let colon = if port_name.is_empty() { "" } else { ":" };
                all.push(Wanted {
                    name: format!("{namespace}/{name}{colon}{port_name}"),
                    protocol: port["protocol"].as_str().unwrap().to_string(),
                    family,
                    spec: spec.clone(),
                    port,
                    cluster_ip: ip.clone(),
                    cluster,
                    cluster_all_zones,
                    local,
                    load_balancer_ips,
                    has_ipv6_ingress,
                    version,
                });
            }
        }
    }
    all
}

impl Wanted {
    fn internal_local(&self) -> bool {
        self.version >= Version(22) && self.spec["internalTrafficPolicy"] == "Local"
    }

    fn external_local(&self) -> bool {
        self.spec["externalTrafficPolicy"] == "Local"
    }

    pub fn port_number(&self) -> u64 {
        self.port["port"].as_u64().unwrap()
    }

    pub fn node_port(&self) -> Option<u64> {
        self.port["nodePort"].as_u64().filter(|p| *p != 0)
    }

    pub fn external_ips(&self) -> Vec<String> {
        strings(&self.spec["externalIPs"]).into_iter().filter(|i| family_of(i) == self.family).collect()
    }

    pub fn affinity(&self) -> Option<u64> {
        (self.spec["sessionAffinity"] == "ClientIP")
            .then(|| self.spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"].as_u64().unwrap())
    }

    /// Endpoints that ipvs mode puts behind internal (cluster IP) or external frontends. It differs from
    /// iptables mode (`syncEndpoint`, `pkg/proxy/ipvs/proxier.go`, and the captured sets): since 1.21
    /// (kubernetes#97081) an external frontend with local policy and no local endpoint takes all endpoints,
    /// for the pods of this node.
    pub fn behind_ipvs(&self, external: bool, zones: bool) -> &[Endpoint] {
        let local = if external { self.external_local() } else { self.internal_local() };
        let fall_back = external && self.local.is_empty() && self.version > Version(20);
        match (local && !fall_back, zones) {
            (true, _) => &self.local,
            (false, true) => &self.cluster,
            (false, false) => &self.cluster_all_zones,
        }
    }

    fn is_external(&self) -> bool {
        self.node_port().is_some() || !self.external_ips().is_empty() || !self.load_balancer_ips.is_empty()
    }

    /// Lines of this Service port as the rules of a mode can say it.
    fn lines(&self, reported: RuleSource) -> Vec<String> {
        let any = !self.cluster.is_empty() || !self.local.is_empty();
        let head = format!("{} {} {}", self.name, self.protocol, self.family);
        let mut lines = Vec::new();
        let mut frontend = |kind: &str, address: &str, port: u64, local: bool, ranges: Option<String>| {
            let endpoints = if local { &self.local } else { &self.cluster };
            let (action, policy) = match (endpoints.is_empty(), any) {
                (false, _) => ("balance", if local { "local" } else { "cluster" }),
                (true, true) => ("drop", "local"),
                // A rejected frontend's policy and kind are not in the rules.
                (true, false) => ("reject", "-"),
            };
            let external = kind == "external_ip" || kind == "load_balancer_ip";
            let kind = match reported {
                // All external addresses lead to one chain; only a firewall shows a load balancer's.
                RuleSource::Nftables if external && (action == "reject" || ranges.is_none()) => "-",
                RuleSource::Iptables if external && action == "reject" => "-",
                _ => kind,
            };
            let (action, policy) =
                if reported == RuleSource::Userspace { ("balance", "-") } else { (action, policy) };
            let ranges = ranges.filter(|_| reported != RuleSource::Userspace);
            let ranges = ranges.filter(|_| action != "reject").unwrap_or_else(|| "-".into());
            let address = if address.contains(':') { format!("[{address}]") } else { address.to_string() };
            lines.push(format!("{head} frontend {kind} {address}:{port} {action} {policy} {ranges}"));
        };
        frontend("cluster_ip", &self.cluster_ip, self.port_number(), self.internal_local(), None);
        let local = self.external_local();
        for ip in self.external_ips() {
            frontend("external_ip", &ip, self.port_number(), local, None);
        }
        for ip in &self.load_balancer_ips {
            let ranges: Vec<String> = strings(&self.spec["loadBalancerSourceRanges"])
                .into_iter()
                .filter(|r| family_of(r) == self.family)
                .collect();
            let mut ranges = ranges;
            ranges.sort();
            let ranges = (!ranges.is_empty()).then(|| ranges.join(","));
            frontend("load_balancer_ip", ip, self.port_number(), local, ranges);
        }
        // `openPortal` of userspace mode stops at an ingress address of IPv6 and opens no node port (the captured
        // set has none for dual/lb-dual).
        let stopped = reported == RuleSource::Userspace && self.has_ipv6_ingress;
        if let Some(port) = self.node_port().filter(|_| !stopped) {
            let on = match (reported, self.family) {
                // nodePortAddresses: by default the node's primary address.
                (RuleSource::Nftables, IpFamily::V4) => "192.168.50.10",
                (RuleSource::Nftables, IpFamily::V6) => "fd00:50::10",
                _ => "*",
            };
            frontend("node_port", on, port, local, None);
        }
        if reported == RuleSource::Userspace {
            // Endpoints and affinity are known to the process alone.
            lines.push(format!("{head} affinity None health check None"));
            return lines;
        }
        let uses_cluster = any && (!self.internal_local() || self.is_external());
        let uses_local = any && (self.internal_local() || (self.external_local() && self.is_external()));
        let mut addresses = BTreeSet::new();
        if uses_cluster {
            addresses.extend(self.cluster.iter().map(|e| (e.address.clone(), e.port)));
        }
        if uses_local {
            addresses.extend(self.local.iter().map(|e| (e.address.clone(), e.port)));
        }
        for (address, port) in &addresses {
            let under = |on: bool, list: &[Endpoint]| {
                let inside = on && list.iter().any(|e| e.address == *address && e.port == *port);
                if inside { format!("{:.4}", 1.0 / list.len() as f64) } else { "-".into() }
            };
            let text = if address.contains(':') { format!("[{address}]") } else { address.clone() };
            lines.push(format!(
                "{head} backend {text}:{port} cluster {} local {}",
                under(uses_cluster, &self.cluster),
                under(uses_local, &self.local)
            ));
        }
        let affinity = self.affinity().filter(|_| !addresses.is_empty());
        let health = self.spec["healthCheckNodePort"].as_u64().filter(|p| {
            *p != 0 && self.version > Version(22) && reported == RuleSource::Iptables // nftables mode has no rule for it
        });
        lines.push(format!("{head} affinity {affinity:?} health check {health:?}"));
        lines
    }
}

/// What the rules of iptables mode should say of a set.
pub fn iptables_truth(dir: &Path, version: Version) -> BTreeSet<String> {
    wanted(dir, version).iter().flat_map(|w| w.lines(RuleSource::Iptables)).collect()
}

/// What the table of nftables mode should say of a set.
pub fn nftables_truth(dir: &Path, version: Version) -> BTreeSet<String> {
    wanted(dir, version).iter().flat_map(|w| w.lines(RuleSource::Nftables)).collect()
}

/// What the rules of userspace mode should say of a set: IPv4, no SCTP.
pub fn userspace_truth(dir: &Path, version: Version) -> BTreeSet<String> {
    let all = wanted(dir, version);
    let known = all.iter().filter(|w| w.family == IpFamily::V4 && w.protocol != "SCTP");
    known.flat_map(|w| w.lines(RuleSource::Userspace)).collect()
}

/// The same lines of what kptop read.
pub fn iptables_lines(services: &[Service]) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for s in services {
        let head = format!("{} {} {}", s.label(), s.protocol.name(), s.family);
        for f in &s.frontends {
            let mut ranges: Vec<String> = f.source_ranges.iter().flatten().map(|n| n.to_string()).collect();
            ranges.sort();
            let ranges = if f.source_ranges.is_none() { "-".to_string() } else { ranges.join(",") };
            lines.insert(format!(
                "{head} frontend {} {} {} {} {ranges}",
                f.kind.map_or("-", |k| k.name()),
                frontend_text(f),
                f.action.name(),
                f.traffic_policy.map_or("-", |p| p.name()),
            ));
        }
        for b in &s.backends {
            let share = |s: Option<f64>| s.map_or("-".into(), |s| format!("{s:.4}"));
            assert_eq!(b.share.is_some(), b.traffic_policies.contains(TrafficPolicy::Cluster), "{head}");
            lines.insert(format!(
                "{head} backend {} cluster {} local {}",
                kptop::proxy::endpoint_text(b.address, b.port),
                share(b.share),
                share(b.local_share)
            ));
        }
        let line = format!(
            "{head} affinity {:?} health check {:?}",
            s.session_affinity.and_then(Affinity::seconds),
            s.health_check_node_port
        );
        assert!(lines.insert(line), "{head} appears twice");
    }
    lines
}

/// What IPVS should hold: each virtual server by address, with its real servers. `zones`: whether the
/// kube-proxy that wrote the set heeded zone hints.
pub fn ipvs_truth(dir: &Path, version: Version, node_addresses: &[String], zones: bool) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for w in wanted(dir, version) {
        let mut virtuals = vec![(w.cluster_ip.clone(), w.port_number(), "cluster_ip")];
        virtuals.extend(w.external_ips().into_iter().map(|ip| (ip, w.port_number(), "external_ip")));
        let balancers = w.load_balancer_ips.iter();
        virtuals.extend(balancers.map(|ip| (ip.clone(), w.port_number(), "load_balancer_ip")));
        if let Some(port) = w.node_port() {
            let here = node_addresses.iter().filter(|a| family_of(a) == w.family);
            virtuals.extend(here.map(|a| (a.clone(), port, "node_port")));
        }
        for (address, port, kind) in virtuals {
            let external = kind != "cluster_ip";
            // The policy of cluster IPs is in no ipset.
            let policy = match (external, w.external_local()) {
                (false, _) => "-",
                (true, true) => "local",
                (true, false) => "cluster",
            };
            let mut ranges: Vec<String> = strings(&w.spec["loadBalancerSourceRanges"])
                .into_iter()
                .filter(|r| family_of(r) == w.family && kind == "load_balancer_ip")
                .collect();
            ranges.sort();
            let ranges = if ranges.is_empty() { "-".into() } else { ranges.join(",") };
            let text = if address.contains(':') { format!("[{address}]") } else { address };
            let mut reals: Vec<String> =
                w.behind_ipvs(external, zones).iter().map(|e| format!("{}/{}", e.address, e.port)).collect();
            reals.sort();
            let action = if reals.is_empty() { "reject" } else { "balance" };
            lines.insert(format!(
                "{} {kind} {text}:{port} {action} {policy} {ranges} rr {:?} {}",
                w.protocol,
                w.affinity(),
                reals.join(" ")
            ));
        }
    }
    lines
}

/// The same lines of what kptop read.
pub fn ipvs_lines(model: &Model) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for s in model.services.iter() {
        assert_eq!(s.name, None);
        for f in &s.frontends {
            let mut reals: Vec<String> =
                s.backends.iter().map(|b| format!("{}/{}", b.address, b.port)).collect();
            reals.sort();
            for b in &s.backends {
                assert_eq!(b.weight, Some(1));
            }
            let mut ranges: Vec<String> = f.source_ranges.iter().flatten().map(|n| n.to_string()).collect();
            ranges.sort();
            lines.insert(format!(
                "{} {} {} {} {} {} {} {:?} {}",
                s.protocol.name(),
                f.kind.map_or("-", |k| k.name()),
                frontend_text(f),
                f.action.name(),
                f.traffic_policy.map_or("-", |p| p.name()),
                if ranges.is_empty() { "-".into() } else { ranges.join(",") },
                s.scheduler.as_deref().unwrap_or("-"),
                s.session_affinity.and_then(Affinity::seconds),
                reals.join(" ")
            ));
        }
    }
    lines
}

/// Fails with the first lines that differ.
pub fn assert_same(ours: &BTreeSet<String>, truth: &BTreeSet<String>, what: &str) {
    let only_ours: Vec<_> = ours.difference(truth).take(8).collect();
    let only_truth: Vec<_> = truth.difference(ours).take(8).collect();
    assert!(ours == truth, "{what}\nonly read: {only_ours:#?}\nonly in the objects: {only_truth:#?}");
}
