//! `kubectl get services`, `endpoints`, `endpointslices` and `nodes` as tables, with `-o wide` or without, `-A` or without.

use crate::snapshot::SourceId;
use crate::snapshot::dump::glance::Glance;
use crate::snapshot::dump::reader::{Form, Found, Reader};
use serde_json::{Value, json};

pub(super) static FORM: Form =
    Form { words: "kubectl get -o wide", source: SourceId::Api, repeats: true, is, read };

/// What a table is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Services,
    Endpoints,
    Slices,
    Nodes,
}

fn kind(head: &str) -> Option<Kind> {
    let words: Vec<&str> = head.split_whitespace().collect();
    let has = |w: &str| words.contains(&w);
    match () {
        () if has("CLUSTER-IP") && has("PORT(S)") => Some(Kind::Services),
        () if has("ADDRESSTYPE") && has("ENDPOINTS") => Some(Kind::Slices),
        () if has("ENDPOINTS") && has("AGE") => Some(Kind::Endpoints),
        () if has("STATUS") && has("ROLES") && has("VERSION") => Some(Kind::Nodes),
        () => None,
    }
}

fn is(g: &Glance<'_>) -> bool {
    g.any(3, |l| kind(l).is_some())
}

/// Columns by where their heads begin: a value never begins before its head.
struct Columns<'a> {
    heads: Vec<(&'a str, usize)>,
}

impl<'a> Columns<'a> {
    fn new(head: &'a str) -> Columns<'a> {
        let mut heads: Vec<(&str, usize)> = Vec::new();
        let mut at = 0;
        // A chat may leave one blank of each gap.
        let gap = if head.trim().contains("  ") { "  " } else { " " };
        while let Some(start) = head[at..].find(|c: char| c != ' ').map(|i| at + i) {
            // Heads of two words (`NOMINATED NODE`) have one blank.
            let end = head[start..].find(gap).map_or(head.len(), |i| start + i);
            heads.push((head[start..end].trim(), start));
            at = end;
        }
        Columns { heads }
    }

    fn get<'b>(&self, line: &'b str, name: &str) -> Option<&'b str> {
        let i = self.heads.iter().position(|h| h.0 == name)?;
        // A value for each head: whatever became of the gaps.
        let values = || line.split_whitespace();
        let value = if values().count() == self.heads.len() {
            values().nth(i)?
        } else {
            let end = self.heads.get(i + 1).map_or(line.len(), |h| h.1.min(line.len()));
            line.get(self.heads[i].1..end)?.trim()
        };
        (!value.is_empty() && value != "<none>" && value != "<unset>").then_some(value)
    }
}

fn read(to: &mut Reader, f: &Found) -> Result<(), String> {
    let (mut columns, mut now): (Option<(Columns<'_>, bool)>, Option<Kind>) = (None, None);
    let (mut rows, mut wrong, mut more) = (0, 0, 0u64);
    let label = f.path.display().to_string();
    for line in f.text.lines().filter(|l| !l.trim().is_empty()) {
        if let Some(k) = kind(line) {
            let c = Columns::new(line);
            let all = c.heads.iter().any(|h| h.0 == "NAMESPACE");
            // Of one namespace alone nothing is known of the others.
            to.partial_objects |= !all && k != Kind::Nodes;
            (columns, now) = (Some((c, all)), Some(k));
            continue;
        }
        let (Some((c, all)), Some(k)) = (&columns, now) else {
            wrong += 1;
            continue;
        };
        let namespace = if *all { c.get(line, "NAMESPACE") } else { Some("default") };
        // Lists of several kinds name the kind: `service/cart`.
        let name = c.get(line, "NAME").map(|n| n.rsplit_once('/').map_or(n, |p| p.1));
        let (Some(namespace), Some(name)) = (namespace.or((k == Kind::Nodes).then_some("")), name) else {
            wrong += 1;
            continue;
        };
        let object = match k {
            Kind::Services => service(c, line, namespace, name),
            Kind::Endpoints => {
                endpoints(c.get(line, "ENDPOINTS").unwrap_or_default(), namespace, name, &mut more)
            }
            Kind::Slices => slice(c, line, namespace, name, &mut more),
            Kind::Nodes => node(c, line, name),
        };
        match object {
            Some(o) => {
                to.objects.push((label.clone(), o));
                rows += 1;
            }
            None => wrong += 1,
        }
    }
    if rows == 0 {
        return Err("a head without rows".into());
    }
    to.unused(wrong);
    if now == Some(Kind::Services) {
        to.say("a table has no names of ports, no policies and no source ranges: kubectl get services -A -o json has them");
    }
    if more > 0 {
        to.partial_objects = true;
        to.say(&format!(
            "{more} endpoints are left out in it (`+ N more`): kubectl get endpointslices -A -o json has them"
        ));
    }
    Ok(())
}

/// `80/TCP,443:30443/TCP`
fn ports(text: &str) -> Option<Vec<Value>> {
    let list: Vec<&str> = text.split(',').map(str::trim).collect();
    let several = list.len() > 1;
    let port = |p: &&str| {
        let (numbers, protocol) = p.split_once('/')?;
        let (port, node_port) =
            numbers.split_once(':').map_or((numbers, None), |(a, b)| (a, b.parse::<u16>().ok()));
        // Names are not said: numbers distinguish several.
        let name = if several { port } else { "" };
        Some(
            json!({"name": name, "port": port.parse::<u16>().ok()?, "protocol": protocol, "nodePort": node_port}),
        )
    };
    list.iter().map(port).collect()
}

fn service(c: &Columns<'_>, line: &str, namespace: &str, name: &str) -> Option<Value> {
    let kind = c.get(line, "TYPE")?;
    let cluster_ip = c.get(line, "CLUSTER-IP").unwrap_or("None");
    let external: Vec<&str> = c
        .get(line, "EXTERNAL-IP")
        .into_iter()
        .flat_map(|e| e.split(','))
        .filter(|e| e.parse::<std::net::IpAddr>().is_ok())
        .collect();
    let ports = c.get(line, "PORT(S)").map_or(Some(Vec::new()), ports)?;
    let balancer = kind == "LoadBalancer";
    Some(json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {
            "type": kind,
            "clusterIP": cluster_ip,
            "externalIPs": if balancer { Vec::new() } else { external.clone() },
            "ports": ports,
        },
        "status": {"loadBalancer": {
            "ingress": external.iter().filter(|_| balancer).map(|ip| json!({"ip": ip})).collect::<Vec<_>>()
        }},
    }))
}

/// `10.244.0.3:8080,10.244.1.3:8080 + 2 more...`: Endpoints, as the API had them before it had slices.
pub(super) fn endpoints(text: &str, namespace: &str, name: &str, more: &mut u64) -> Option<Value> {
    let (list, rest) = text.split_once(" + ").unwrap_or((text, ""));
    *more += rest.split(' ').next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
    let mut by_port: std::collections::BTreeMap<u16, Vec<String>> = std::collections::BTreeMap::new();
    for e in list.split(',').map(str::trim).filter(|e| !e.is_empty() && *e != "<none>") {
        let at: std::net::SocketAddr = e.parse().ok()?;
        by_port.entry(at.port()).or_default().push(at.ip().to_string());
    }
    let subsets: Vec<Value> = by_port
        .iter()
        .map(|(port, ips)| {
            json!({
                "addresses": ips.iter().map(|ip| json!({"ip": ip})).collect::<Vec<_>>(),
                "ports": [{"port": port, "name": null, "protocol": null}],
            })
        })
        .collect();
    Some(json!({
        "apiVersion": "v1", "kind": "Endpoints", "metadata": {"namespace": namespace, "name": name}, "subsets": subsets,
    }))
}

fn slice(c: &Columns<'_>, line: &str, namespace: &str, name: &str, more: &mut u64) -> Option<Value> {
    let text = c.get(line, "ENDPOINTS").unwrap_or_default();
    let (list, rest) = text.split_once(" + ").unwrap_or((text, ""));
    *more += rest.split(' ').next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
    let addresses: Vec<&str> = list.split(',').map(str::trim).filter(|a| !a.is_empty()).collect();
    let ports: Vec<u16> = c
        .get(line, "PORTS")
        .into_iter()
        .flat_map(|p| p.split(','))
        .filter_map(|p| p.trim().parse().ok())
        .collect();
    // The Service's name is the slice's without what the controller put behind it.
    let service = name.rsplit_once('-').map_or(name, |n| n.0);
    Some(json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"namespace": namespace, "name": name, "labels": {"kubernetes.io/service-name": service}},
        "addressType": c.get(line, "ADDRESSTYPE")?,
        "ports": ports.iter().map(|p| json!({"port": p})).collect::<Vec<_>>(),
        "endpoints": addresses.iter().map(|a| json!({"addresses": [a], "conditions": {}})).collect::<Vec<_>>(),
        "anyPort": true,
    }))
}

fn node(c: &Columns<'_>, line: &str, name: &str) -> Option<Value> {
    let address = |kind: &str, column: &str| Some(json!({"type": kind, "address": c.get(line, column)?}));
    let addresses: Vec<Value> = [address("InternalIP", "INTERNAL-IP"), address("ExternalIP", "EXTERNAL-IP")]
        .into_iter()
        .flatten()
        .collect();
    Some(json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "status": {"addresses": addresses},
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_cut_where_their_heads_begin() {
        let head = "NAMESPACE   NAME         TYPE        CLUSTER-IP   EXTERNAL-IP   PORT(S)                  AGE   SELECTOR";
        let line = "default     kubernetes   ClusterIP   10.96.0.1    <none>        443/TCP,53:30053/UDP     9d    <none>";
        let c = Columns::new(head);
        assert_eq!((c.get(line, "NAME"), c.get(line, "EXTERNAL-IP")), (Some("kubernetes"), None));
        let s = service(&c, line, "default", "kubernetes").unwrap();
        assert_eq!(
            (&s["spec"]["ports"][0]["port"], &s["spec"]["ports"][1]["nodePort"]),
            (&json!(443), &json!(30053))
        );
        // As a chat leaves it.
        let squeezed = |t: &str| t.split_whitespace().collect::<Vec<_>>().join(" ");
        let c = Columns::new(Box::leak(squeezed(head).into_boxed_str()));
        assert_eq!(service(&c, &squeezed(line), "default", "kubernetes").unwrap(), s);
        let mut more = 0;
        let e = endpoints("10.1.0.1:80,10.1.0.2:80,10.1.0.1:81 + 3 more...", "a", "b", &mut more).unwrap();
        assert_eq!((e["subsets"].as_array().unwrap().len(), more), (2, 3));
    }

    proptest::proptest! {
        #[test]
        fn any_table_is_survived(head in "[A-Z ()-]{0,60}", line in ".{0,80}") {
            let c = Columns::new(&head);
            let _ = (service(&c, &line, "a", "b"), node(&c, &line, "b"), c.get(&line, "NAME"));
        }
    }
}
