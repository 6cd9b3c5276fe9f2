//! Endpoints, which the API had before it had EndpointSlices, and what tables say of either: without names of ports.

use super::{ClusterEndpoint, ClusterPort};
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Namespace and name.
type Key = (String, String);

/// An address and a port, as far as an object says it.
struct Place {
    address: IpAddr,
    port: u16,
    /// `None` where the object does not say it.
    port_name: Option<String>,
    protocol: Option<String>,
    ready: bool,
    node: Option<String>,
    target: Option<String>,
}

fn text(v: &Value, key: &str) -> Option<String> {
    v.get(key)?.as_str().map(str::to_string)
}

fn number(v: &Value, key: &str) -> Option<u16> {
    v.get(key)?.as_u64().and_then(|n| u16::try_from(n).ok())
}

fn list<'a>(v: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    v.get(key).and_then(Value::as_array).into_iter().flatten()
}

/// The Service that an object is of, and its endpoints; `None` in their place where it does not say which port is which.
/// `ports` gives those of a Service.
pub(super) fn read(
    object: &Value,
    ports: impl Fn(&Key) -> Vec<ClusterPort>,
) -> Option<(Key, Option<Vec<ClusterEndpoint>>)> {
    let metadata = object.get("metadata")?;
    let namespace = text(metadata, "namespace").unwrap_or_default();
    let is_slice = object.get("anyPort").is_some();
    let name = match is_slice {
        true => text(metadata.get("labels")?, "kubernetes.io/service-name")?,
        false => text(metadata, "name")?,
    };
    let places = if is_slice { of_slice(object) } else { of_subsets(object) };
    let of = (namespace, name);
    let known = ports(&of);
    Some((of, named(places, &known)))
}

fn of_slice(object: &Value) -> Vec<Place> {
    let ports: Vec<u16> = list(object, "ports").filter_map(|p| number(p, "port")).collect();
    let addresses = list(object, "endpoints").flat_map(|e| list(e, "addresses"));
    let addresses: Vec<IpAddr> = addresses.filter_map(|a| a.as_str()?.parse().ok()).collect();
    let place = |address, port| Place {
        address,
        port,
        port_name: None,
        protocol: None,
        ready: true,
        node: None,
        target: None,
    };
    addresses.iter().flat_map(|a| ports.iter().map(move |p| place(*a, *p))).collect()
}

fn of_subsets(object: &Value) -> Vec<Place> {
    let mut all = Vec::new();
    for subset in list(object, "subsets") {
        for (key, ready) in [("addresses", true), ("notReadyAddresses", false)] {
            for a in list(subset, key) {
                let Some(address) = text(a, "ip").and_then(|t| t.parse().ok()) else { continue };
                for p in list(subset, "ports") {
                    let Some(port) = number(p, "port") else { continue };
                    // A key that is there and null says that nothing is said.
                    let unsaid = p.get("name").is_some_and(Value::is_null);
                    let port_name = if unsaid { None } else { Some(text(p, "name").unwrap_or_default()) };
                    all.push(Place {
                        address,
                        port,
                        port_name,
                        protocol: text(p, "protocol").or_else(|| (!unsaid).then(|| "TCP".into())),
                        ready,
                        node: text(a, "nodeName"),
                        target: a.get("targetRef").and_then(|t| match text(t, "kind")?.as_str() {
                            "Pod" => text(t, "name"),
                            kind => Some(format!("{kind}/{}", text(t, "name")?)),
                        }),
                    });
                }
            }
        }
    }
    all
}

/// With names of ports: the object's own, or the Service's where it has one, or one of the same number.
fn named(places: Vec<Place>, ports: &[ClusterPort]) -> Option<Vec<ClusterEndpoint>> {
    let numbers: BTreeSet<u16> = places.iter().filter(|p| p.port_name.is_none()).map(|p| p.port).collect();
    let mut all = Vec::new();
    for p in places {
        let of: Vec<&ClusterPort> = match &p.port_name {
            Some(name) => ports.iter().filter(|k| k.name == *name).collect(),
            None if ports.len() == 1 && numbers.len() == 1 => ports.iter().collect(),
            // Ports of one number and two protocols lead to the same one of the pods.
            None => ports.iter().filter(|k| k.port == p.port).collect(),
        };
        if of.is_empty() {
            return None;
        }
        all.extend(of.into_iter().map(|k| ClusterEndpoint {
            port_name: k.name.clone(),
            protocol: p.protocol.clone().unwrap_or_else(|| k.protocol.clone()),
            address: Some(p.address),
            port: p.port,
            target: p.target.clone(),
            node: p.node.clone(),
            ready: p.ready,
            serving: p.ready,
            ..ClusterEndpoint::default()
        }));
    }
    Some(all)
}
