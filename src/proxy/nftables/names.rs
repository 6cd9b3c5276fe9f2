//! Names that kube-proxy gives in nftables mode.

use super::super::{Protocol, ServiceName};

/// Name of the table, in both families (`kubeProxyTable`).
pub const TABLE: &str = "kube-proxy";

/// Names of chains, sets and maps.
pub(crate) mod name {
    pub(crate) const CLUSTER_IPS: &str = "cluster-ips";
    pub(crate) const NODEPORT_IPS: &str = "nodeport-ips";
    pub(crate) const HAIRPIN: &str = "hairpin-connections";
    pub(crate) const NO_ENDPOINT_SERVICES: &str = "no-endpoint-services";
    pub(crate) const NO_ENDPOINT_NODEPORTS: &str = "no-endpoint-nodeports";
    pub(crate) const FIREWALL_IPS: &str = "firewall-ips";
    pub(crate) const SERVICE_IPS: &str = "service-ips";
    pub(crate) const SERVICE_NODEPORTS: &str = "service-nodeports";
    pub(crate) const SERVICES: &str = "services";
    /// Asks for masquerading (until 1.35).
    pub(crate) const MARK: &str = "mark-for-masquerade";
    /// What the node sends, once translated (until 1.31).
    pub(crate) const EARLY_FILTER: &str = "filter-output-post-dnat";
    /// Endpoints under the cluster policy.
    pub(crate) const SERVICE: &str = "service-";
    /// Endpoints under the local policy.
    pub(crate) const LOCAL: &str = "local-";
    /// External traffic.
    pub(crate) const EXTERNAL: &str = "external-";
    /// Source ranges of load balancers.
    pub(crate) const FIREWALL: &str = "firewall-";
    /// One endpoint: of every Service until 1.30, later of those with affinity.
    pub(crate) const ENDPOINT: &str = "endpoint-";
    /// Clients of one endpoint.
    pub(crate) const AFFINITY: &str = "affinity-";
}

/// `hashAndTruncate`: a chain's name begins with a hash of the rest. The kernel takes names up to 255 bytes;
/// kube-proxy's own limit leaves room for its prefixes, and no name of Kubernetes reaches it.
pub(super) fn hashed(base: &str) -> String {
    format!("{}-{base}", &crate::proxy::names::hash16(base)[..8])
}

/// The part of the chains' names that says the Service port: `SFDBSQB2-shop/frontend/tcp/http`
/// (`servicePortChainNameBase`).
pub(crate) fn chain_base(name: &ServiceName, protocol: Protocol) -> String {
    hashed(&service_port(name, protocol))
}

/// The same of an endpoint: `…__10.244.0.3/8080` (`servicePortEndpointChainNameBase`).
pub(crate) fn endpoint_base(
    name: &ServiceName,
    protocol: Protocol,
    address: std::net::IpAddr,
    port: u16,
) -> String {
    let address = address.to_string().replace(':', ".");
    hashed(&format!("{}__{address}/{port}", service_port(name, protocol)))
}

/// `shop/frontend/tcp/http`
pub(super) fn service_port(name: &ServiceName, protocol: Protocol) -> String {
    format!("{}/{}/{}/{}", name.namespace, name.name, protocol.lower(), name.port)
}

/// Takes the name of a chain behind its prefix apart: hash, Service port, protocol.
pub(super) fn parse_base(base: &str) -> Option<(&str, ServiceName, Protocol)> {
    let (hash, rest) = base.split_once('-')?;
    let mut parts = rest.splitn(4, '/');
    let (namespace, service, protocol, port) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let protocol =
        [Protocol::Tcp, Protocol::Udp, Protocol::Sctp].into_iter().find(|p| p.lower() == protocol)?;
    let name = ServiceName { namespace: namespace.into(), name: service.into(), port: port.into() };
    (!namespace.is_empty() && !service.is_empty()).then_some((hash, name, protocol))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chain_names_are_kube_proxys() {
        // From the captured sets 1.30.5/nftables and 1.36.2/nftables.
        let frontend = ServiceName::parse("shop/frontend:http").unwrap();
        assert_eq!(chain_base(&frontend, Protocol::Tcp), "SFDBSQB2-shop/frontend/tcp/http");
        let cart = ServiceName::parse("shop/cart").unwrap();
        assert_eq!(chain_base(&cart, Protocol::Tcp), "IJTWSMUZ-shop/cart/tcp/");
        assert_eq!(
            endpoint_base(&cart, Protocol::Tcp, "10.244.0.4".parse().unwrap(), 8080),
            "HRO4KRBR-shop/cart/tcp/__10.244.0.4/8080"
        );
        let (hash, name, protocol) = parse_base("IJTWSMUZ-shop/cart/tcp/").unwrap();
        assert_eq!((hash, name, protocol), ("IJTWSMUZ", cart, Protocol::Tcp));
        for bad in ["", "x", "A-b/c", "A-b/c/icmp/d", "A-/c/tcp/d"] {
            assert!(parse_base(bad).is_none(), "{bad}");
        }
    }
}
