//! What rules show of a Service, and what they do not.

use crate::proxy::{Action, Frontend, FrontendKind, NamedBy, Service};
use crate::ruleset::IpFamily;
use std::net::IpAddr;

/// A Service as its rules say it: what [`super::read`] gives for what [`super::write`] wrote. They do not say of which
/// kind an external address without source ranges is, nor which policy or ranges a rejected one had, nor the
/// health check's port.
pub fn observable(service: &Service, node_port_addresses: &[IpAddr]) -> Service {
    let mut s = service.clone();
    let has_endpoints = !s.backends.is_empty();
    s.named_by = Some(if has_endpoints { NamedBy::Chain } else { NamedBy::Comment });
    s.health_check_node_port = None;
    s.frontends = s
        .frontends
        .into_iter()
        .flat_map(|f| {
            let addresses: Vec<Option<IpAddr>> = match (f.kind, f.address) {
                (Some(FrontendKind::NodePort), None) => node_port_addresses
                    .iter()
                    .filter(|a| IpFamily::of(**a) == s.family)
                    .map(|a| Some(*a))
                    .collect(),
                (_, address) => vec![address],
            };
            addresses.into_iter().map(move |address| Frontend { address, ..f.clone() })
        })
        .collect();
    for f in &mut s.frontends {
        if f.action == Action::Reject {
            f.traffic_policy = None;
            f.source_ranges = None;
        }
        let external = matches!(f.kind, Some(FrontendKind::ExternalIp | FrontendKind::LoadBalancerIp));
        if external && f.source_ranges.is_none() {
            f.kind = None;
        }
    }
    s
}
