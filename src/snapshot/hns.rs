//! What the Host Networking Service of a Windows node holds, as people send it: load balancers and the endpoints that they refer to. kube-proxy's
//! mode `kernelspace` programs them (`pkg/proxy/winkernel/hns.go`), and only that kernel has them.

use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// One load balancer, for one port mapping.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HnsLoadBalancer {
    /// Its identifier.
    pub id: String,
    /// Addresses where it is reached; none where it is the node's own.
    pub vips: Vec<IpAddr>,
    /// IP protocol number.
    pub protocol: u8,
    /// The port where it is reached.
    pub external_port: u16,
    /// The port of its endpoints.
    pub internal_port: u16,
    /// Identifiers of its endpoints.
    pub endpoints: Vec<String>,
    /// Answers go to the client without passing it (`LoadBalancerFlagsDSR`).
    pub is_dsr: bool,
    /// A client stays with its endpoint (`LoadBalancerDistributionSourceIP`).
    pub is_sticky: bool,
}

/// An endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HnsEndpoint {
    /// Its identifier.
    pub id: String,
    /// Its address.
    pub address: Option<IpAddr>,
    /// True where it is on another node (`IsRemoteEndpoint`).
    pub is_remote: bool,
}

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hns {
    /// Load balancers.
    pub load_balancers: Vec<HnsLoadBalancer>,
    /// Endpoints.
    pub endpoints: Vec<HnsEndpoint>,
}

impl Hns {
    /// The same with other addresses.
    #[must_use]
    pub fn with_addresses(&self, replace: impl Fn(IpAddr) -> IpAddr) -> Hns {
        let mut new = self.clone();
        new.load_balancers.iter_mut().flat_map(|l| &mut l.vips).for_each(|a| *a = replace(*a));
        new.endpoints.iter_mut().for_each(|e| e.address = e.address.map(&replace));
        new
    }
}
