//! `kubectl describe service`.

use crate::snapshot::SourceId;
use crate::snapshot::dump::glance::Glance;
use crate::snapshot::dump::reader::{Form, Found, Reader};
use serde_json::{Value, json};

pub(super) static FORM: Form =
    Form { words: "kubectl describe service", source: SourceId::Api, repeats: true, is, read };

fn is(g: &Glance<'_>) -> bool {
    g.any(2, |l| l.starts_with("Name: "))
        && g.any(4, |l| l.starts_with("Namespace: "))
        && g.any(40, |l| l.starts_with("Session Affinity:") || l.starts_with("TargetPort:"))
}

fn read(to: &mut Reader, f: &Found) -> Result<(), String> {
    // One Service after the other, each begins with its name.
    let mut parts: Vec<Vec<(&str, &str)>> = Vec::new();
    for line in f.text.lines() {
        let Some((key, value)) = line.split_once(':').filter(|(k, _)| !k.starts_with(' ')) else { continue };
        if key == "Name" {
            parts.push(Vec::new());
        }
        if let Some(p) = parts.last_mut() {
            p.push((key.trim(), value.trim()));
        }
    }
    let label = f.path.display().to_string();
    let objects: Vec<Value> = parts.iter().filter_map(|p| objects(p)).flatten().collect();
    if objects.is_empty() {
        return Err("no Service in it".into());
    }
    // Of other Services nothing is known.
    to.partial_objects = true;
    to.objects.extend(objects.into_iter().map(|o| (label.clone(), o)));
    Ok(())
}

/// A Service and its endpoints.
fn objects(fields: &[(&str, &str)]) -> Option<Vec<Value>> {
    let is_set = |v: &&str| !v.is_empty() && !matches!(*v, "<none>" | "<unset>" | "None");
    let get = |key: &str| fields.iter().find(|f| f.0 == key).map(|f| f.1).filter(is_set);
    let (namespace, name) = (get("Namespace")?, get("Name")?);
    let (mut ports, mut slices) = (Vec::<Value>::new(), Vec::new());
    for (key, value) in fields {
        match *key {
            // `http  80/TCP`
            "Port" => {
                let words: Vec<&str> = value.split_whitespace().collect();
                let [name, number] = words[..] else { continue };
                let (port, protocol) = number.split_once('/')?;
                let name = if name == "<unset>" { "" } else { name };
                ports.push(json!({"name": name, "port": port.parse::<u16>().ok()?, "protocol": protocol}));
            }
            // `http  30080/TCP`
            "NodePort" => {
                let number =
                    value.split_whitespace().last().and_then(|w| w.split('/').next()?.parse::<u16>().ok());
                if let Some(p) = ports.last_mut() {
                    p["nodePort"] = json!(number);
                }
            }
            // `10.244.0.3:8080,10.244.1.3:8080 + 1 more...`
            "Endpoints" => {
                let port = ports.last()?;
                let list = value.split_once(" + ").map_or(*value, |v| v.0);
                for e in list.split(',').filter_map(|e| e.trim().parse::<std::net::SocketAddr>().ok()) {
                    slices.push(json!({
                        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                        "metadata": {
                            "namespace": namespace, "name": format!("{name}-{}", slices.len()),
                            "labels": {"kubernetes.io/service-name": name},
                        },
                        "addressType": if e.is_ipv4() { "IPv4" } else { "IPv6" },
                        "ports": [{"name": port["name"], "port": e.port(), "protocol": port["protocol"]}],
                        "endpoints": [{"addresses": [e.ip().to_string()], "conditions": {"ready": true}}],
                    }));
                }
            }
            _ => {}
        }
    }
    let list = |key: &str| -> Vec<String> {
        get(key).into_iter().flat_map(|v| v.split(',')).map(|v| v.trim().to_string()).collect()
    };
    let mut ips = list("IPs");
    if ips.is_empty() {
        ips = list("IP");
    }
    let balancers = [list("LoadBalancer Ingress"), list("LoadBalancer IP")].concat();
    // `198.51.100.7 (VIP)`
    let balancers = balancers.iter().filter_map(|b| b.split(' ').next()).map(|ip| json!({"ip": ip}));
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {
            "type": get("Type").unwrap_or("ClusterIP"),
            "clusterIP": ips.first().cloned().unwrap_or_else(|| "None".into()),
            "clusterIPs": ips,
            "externalIPs": list("External IPs"),
            "ports": ports,
            "sessionAffinity": get("Session Affinity"),
            "internalTrafficPolicy": get("Internal Traffic Policy"),
            "externalTrafficPolicy": get("External Traffic Policy"),
            "loadBalancerSourceRanges": list("LoadBalancer Source Ranges"),
        },
        "status": {"loadBalancer": {"ingress": balancers.collect::<Vec<_>>()}},
    });
    Some([vec![service], slices].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_a_service_and_its_endpoints() {
        let fields = [
            ("Name", "cart"),
            ("Namespace", "shop"),
            ("Type", "NodePort"),
            ("IP", "10.96.5.5"),
            ("IPs", "10.96.5.5,fd00::5"),
            ("Port", "http  80/TCP"),
            ("TargetPort", "8080/TCP"),
            ("NodePort", "http  30080/TCP"),
            ("Endpoints", "10.244.0.3:8080,10.244.1.3:8080"),
            ("Session Affinity", "None"),
        ];
        let all = objects(&fields).unwrap();
        assert_eq!(all.len(), 3);
        assert_eq!(all[0]["spec"]["ports"][0]["nodePort"], 30080);
        assert_eq!(all[2]["endpoints"][0]["addresses"][0], "10.244.1.3");
    }
}
