//! kube-proxy's userspace mode, until 1.25: rules that send a Service's traffic to a port of the kube-proxy
//! process (`pkg/proxy/userspace/proxier.go`, 1.20). Backends are known to that process alone.

use super::{
    Action, Engine, Frontend, FrontendKind, NamedBy, Protocol, RuleRef, Service, ServiceName, Variant,
};
use crate::ruleset::{IpFamily, Match, Rule, Table, Target, nat_flags};
use std::net::IpAddr;

/// Chains that catch traffic of others and of the node itself.
const PORTALS: &str = "KUBE-PORTALS-CONTAINER";
const NODEPORTS: &str = "KUBE-NODEPORT-CONTAINER";

/// True for a chain of this mode.
pub(super) fn is_chain(name: &str) -> bool {
    name.starts_with("KUBE-PORTALS-")
        || [NODEPORTS, "KUBE-NODEPORT-HOST", "KUBE-NODEPORT-NON-LOCAL"].contains(&name)
}

/// Reads the Services of one family and variant from its `nat` table, which is at `index` in the snapshot.
pub(super) fn read(family: IpFamily, variant: Variant, index: usize, nat: &Table) -> Vec<Service> {
    let engine = match variant {
        Variant::Legacy => Engine::UserspaceLegacy,
        Variant::Nft => Engine::UserspaceNft,
    };
    let mut services: Vec<Service> = Vec::new();
    for (chain, node_ports) in [(PORTALS, false), (NODEPORTS, true)] {
        let Some(id) = nat.chain(chain) else { continue };
        for (rule_id, rule) in nat.rules_of(id) {
            let Some(found) = portal(nat, rule) else { continue };
            let known = services
                .iter()
                .position(|s| s.name.as_ref() == Some(&found.name) && s.protocol == found.protocol);
            let i = known.unwrap_or_else(|| {
                services.push(Service {
                    name: Some(found.name.clone()),
                    named_by: Some(NamedBy::Comment),
                    proxy_port: Some(found.proxy_port),
                    ..Service::new(found.protocol, family, engine)
                });
                services.len() - 1
            });
            let service = &mut services[i];
            // An external IP has two rules: for what comes from outside and for the node's own.
            if service.frontends.iter().any(|f| f.address == found.address && f.port == found.port) {
                continue;
            }
            // `openPortal` opens the cluster IP first, then external IPs, then load balancer IPs.
            let kind = match (node_ports, found.external, service.frontends.is_empty()) {
                (true, ..) => FrontendKind::NodePort,
                (_, true, _) => FrontendKind::ExternalIp,
                (_, _, true) => FrontendKind::ClusterIp,
                _ => FrontendKind::LoadBalancerIp,
            };
            service.frontends.push(Frontend {
                rule: Some(RuleRef { table: index, rule: rule_id }),
                ..Frontend::new(Some(kind), found.address, found.port, Action::Balance)
            });
        }
    }
    services
}

struct Portal {
    name: ServiceName,
    protocol: Protocol,
    address: Option<IpAddr>,
    port: u16,
    proxy_port: u16,
    /// Its rule asks where the packet came from: `iptablesContainerPortalArgs` with `addPhysicalInterfaceMatch`.
    external: bool,
}

fn portal(nat: &Table, rule: &Rule) -> Option<Portal> {
    let proxy_port = match &rule.target {
        Target::Redirect(r) if r.flags & nat_flags::PROTO_SPECIFIED != 0 => r.ports.0,
        other => other.as_dnat_to()?.port,
    };
    let (mut protocol, mut port, mut address, mut external) = (None, None, None, false);
    for m in nat.matches_of(rule) {
        if let Some(a) = m.address().filter(|a| a.destination && !a.invert && a.net.is_host()) {
            address = Some(a.net.addr);
        }
        match m {
            Match::Protocol { number, invert: false } => protocol = Protocol::from_number(*number),
            Match::Tcp { destination, invert: 0, .. } | Match::Udp { destination, invert: 0, .. } => {
                port = destination.single();
            }
            Match::Physdev(_) | Match::AddrType { .. } => external = true,
            _ => {}
        }
    }
    let name = ServiceName::parse(nat.comment_of(rule)?)?;
    Some(Portal { name, protocol: protocol?, address, port: port?, proxy_port, external })
}
