//! kube-proxy's mode kernelspace, on Windows nodes: load balancers of the Host Networking Service -> Services. Names come from the API.

use super::service::UnknownBackends;
use super::{
    Action, Affinity, Backend, CounterSource, Engine, Frontend, FrontendKind, Protocol, Service,
    TrafficPolicy,
};
use crate::ruleset::IpFamily;
use crate::snapshot::{Hns, HnsEndpoint, HnsLoadBalancer};
use std::collections::HashMap;
use std::net::IpAddr;

/// Reads them: each address of a load balancer is a Service of its own until a name joins them.
pub(super) fn read(hns: &Hns) -> Vec<Service> {
    let known: HashMap<String, &HnsEndpoint> =
        hns.endpoints.iter().map(|e| (e.id.to_ascii_lowercase(), e)).collect();
    let mut all = Vec::new();
    for l in &hns.load_balancers {
        let Some(protocol) = Protocol::from_number(u16::from(l.protocol)) else { continue };
        let places: Vec<Option<IpAddr>> = match l.vips.is_empty() {
            true => vec![None],
            false => l.vips.iter().copied().map(Some).collect(),
        };
        all.extend(places.into_iter().map(|at| service(l, protocol, at, &known)));
    }
    all
}

fn service(
    l: &HnsLoadBalancer,
    protocol: Protocol,
    at: Option<IpAddr>,
    known: &HashMap<String, &HnsEndpoint>,
) -> Service {
    let mine: Vec<Option<&HnsEndpoint>> =
        l.endpoints.iter().map(|id| known.get(&id.to_ascii_lowercase()).copied()).collect();
    let addresses = || mine.iter().flatten().filter_map(|e| Some((e.address?, e.is_remote)));
    let family = at.or(addresses().next().map(|a| a.0)).map_or(IpFamily::V4, IpFamily::of);
    let mut s = Service::new(protocol, family, Engine::Kernelspace);
    // A load balancer without endpoints is none: kube-proxy makes it when there is the first.
    let action = if l.endpoints.is_empty() { Action::Reject } else { Action::Balance };
    let kind = at.is_none().then_some(FrontendKind::NodePort);
    s.frontends.push(Frontend::new(kind, at, l.external_port, action));
    let count = addresses().count();
    if count < l.endpoints.len() {
        s.unknown_backends = Some(UnknownBackends::Unread(l.endpoints.len() as u32));
    } else {
        s.backends = addresses()
            .map(|(address, is_remote)| {
                let mut b = Backend::new(address, l.internal_port, CounterSource::Nothing);
                b.share = Some(1.0 / count as f64);
                b.local = Some(!is_remote);
                b.traffic_policies = TrafficPolicy::Cluster.into();
                b
            })
            .collect();
    }
    // HNS chooses by the client's address alone, without a time.
    s.session_affinity = l.is_sticky.then_some(Affinity::NoTime);
    s.scheduler = l.is_dsr.then(|| "DSR".to_string());
    s
}
