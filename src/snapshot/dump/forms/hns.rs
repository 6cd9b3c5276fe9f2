//! The Host Networking Service of a Windows node, as `hnsdiag list loadbalancers -d` and `list all -d` print it, and `Get-HnsPolicyList`,
//! `Get-HnsLoadBalancer` and `Get-HnsEndpoint` with `ConvertTo-Json` (Microsoft's SDN collection script, `collectlogs.ps1`). Objects of both forms of
//! its interface are taken from wherever they are: policies with VIPs and references (`pkg/hcsshim`, `hnspolicylist.go`), and load balancers with
//! frontends and port mappings (`hcn/hcnloadbalancer.go`).

use crate::snapshot::dump::glance::Glance;
use crate::snapshot::dump::reader::{Form, Found, Reader};
use crate::snapshot::{Hns, HnsEndpoint, HnsLoadBalancer, SourceId, UnreadKind};
use serde_json::Value;
use std::collections::HashSet;
use std::net::IpAddr;

pub(super) static FORM: Form =
    Form { words: "hnsdiag list all -d", source: SourceId::Hns, repeats: true, is, read };

/// `LoadBalancerFlagsDSR`; `LoadBalancerDistributionSourceIPProtocol` and `SourceIP` (`hcn/hcnloadbalancer.go`)
const DSR: u64 = 1;
const STICKY: [u64; 2] = [1, 2];

fn is(g: &Glance<'_>) -> bool {
    let begin: String = g.text.chars().take(64 * 1024).collect();
    let has = |word: &str| begin.contains(word);
    has("\"FrontendVIPs\"")
        || has("\"PortMappings\"") && has("\"HostComputeEndpoints\"")
        || has("\"VIPs\"") && has("\"ExternalPort\"")
        || has("\"ExternalPort\"") && has("\"References\"")
        || has("\"VirtualNetwork") && has("\"IPAddress\"")
        || has("\"IpConfigurations\"") && has("\"HostComputeNetwork\"")
}

/// Every JSON value of a text, whatever is between them: headings, and objects one after the other. Also how many are cut off.
fn values(text: &str) -> (Vec<Value>, usize) {
    let (mut found, mut cut) = (Vec::new(), 0);
    let mut rest = text;
    while let Some(at) = rest.find(['{', '[']) {
        rest = &rest[at..];
        let mut stream = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
        match stream.next() {
            Some(Ok(value)) => {
                found.push(value);
                rest = rest.get(stream.byte_offset()..).unwrap_or_default();
            }
            // No JSON begins here, or its end is missing: what is inside may be whole.
            _ => {
                cut += usize::from(
                    rest.starts_with("{\"") || rest.starts_with("{\n") || rest.starts_with("{\r"),
                );
                rest = rest.get(1..).unwrap_or_default();
            }
        }
    }
    (found, cut)
}

fn text<'a>(v: &'a Value, key: &str) -> Option<&'a str> {
    v.get(key)?.as_str()
}

fn number(v: &Value, key: &str) -> Option<u64> {
    let n = v.get(key)?;
    n.as_u64().or_else(|| n.as_str()?.parse().ok())
}

fn list<'a>(v: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    v.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn addresses(v: &Value, key: &str) -> Vec<IpAddr> {
    list(v, key).filter_map(|a| a.as_str()?.split('/').next()?.parse().ok()).collect()
}

/// `/endpoints/CA8B877B-…` -> the identifier.
fn identifier(reference: &str) -> String {
    reference.rsplit('/').next().unwrap_or(reference).to_string()
}

/// Takes what an object is, and what is in it.
fn take(v: &Value, to: &mut Hns) {
    match v {
        Value::Array(all) => all.iter().for_each(|v| take(v, to)),
        Value::Object(fields) => {
            let taken = load_balancers(v, to) || policies(v, to) || endpoint(v, to);
            if !taken {
                fields.values().for_each(|v| take(v, to));
            }
        }
        _ => {}
    }
}

/// The protocol and the ports, which both forms name alike.
fn ports(v: &Value) -> HnsLoadBalancer {
    let port = |key| number(v, key).and_then(|n| u16::try_from(n).ok()).unwrap_or(0);
    HnsLoadBalancer {
        protocol: number(v, "Protocol").and_then(|n| u8::try_from(n).ok()).unwrap_or(0),
        external_port: port("ExternalPort"),
        internal_port: port("InternalPort"),
        ..HnsLoadBalancer::default()
    }
}

/// `FrontendVIPs`, `PortMappings`, `HostComputeEndpoints`
fn load_balancers(v: &Value, to: &mut Hns) -> bool {
    if v.get("PortMappings").is_none() {
        return false;
    }
    let endpoints: Vec<String> =
        list(v, "HostComputeEndpoints").filter_map(Value::as_str).map(identifier).collect();
    for m in list(v, "PortMappings") {
        to.load_balancers.push(HnsLoadBalancer {
            id: text(v, "ID").or(text(v, "Id")).unwrap_or_default().into(),
            vips: addresses(v, "FrontendVIPs"),
            endpoints: endpoints.clone(),
            is_dsr: number(v, "Flags").unwrap_or(0) & DSR != 0,
            is_sticky: number(m, "DistributionType").is_some_and(|n| STICKY.contains(&n)),
            ..ports(m)
        });
    }
    true
}

/// `Policies` with `VIPs`, and `References`
fn policies(v: &Value, to: &mut Hns) -> bool {
    let is_balancer = |p: &&Value| p.get("ExternalPort").is_some() && p.get("InternalPort").is_some();
    if v.get("References").is_none() || !list(v, "Policies").any(|p| is_balancer(&p)) {
        return false;
    }
    let endpoints: Vec<String> = list(v, "References")
        .filter_map(Value::as_str)
        .filter(|r| r.contains("endpoints/"))
        .map(identifier)
        .collect();
    for p in list(v, "Policies").filter(is_balancer) {
        to.load_balancers.push(HnsLoadBalancer {
            id: text(v, "ID").unwrap_or_default().into(),
            vips: addresses(p, "VIPs"),
            endpoints: endpoints.clone(),
            is_dsr: p.get("IsDSR").and_then(Value::as_bool).unwrap_or(false),
            ..ports(p)
        });
    }
    true
}

/// `IPAddress`, or `IpConfigurations`
fn endpoint(v: &Value, to: &mut Hns) -> bool {
    let configured = || list(v, "IpConfigurations").find_map(|c| text(c, "IpAddress"));
    let Some(address) = text(v, "IPAddress").or_else(configured) else { return false };
    let Some(id) = text(v, "ID").or(text(v, "Id")) else { return false };
    // `EndpointFlagsRemoteEndpoint`
    let by_flag = number(v, "Flags").is_some_and(|f| f & 1 != 0) && v.get("HostComputeNetwork").is_some();
    to.endpoints.push(HnsEndpoint {
        id: id.into(),
        address: address.parse().ok(),
        is_remote: v.get("IsRemoteEndpoint").and_then(Value::as_bool).unwrap_or(by_flag),
    });
    true
}

fn read(to: &mut Reader, f: &Found) -> Result<(), String> {
    let (found, cut) = values(&f.text);
    let mut hns = Hns::default();
    found.iter().for_each(|v| take(v, &mut hns));
    if hns == Hns::default() {
        return Err("no load balancer and no endpoint of HNS is in it".into());
    }
    if cut > 0 {
        let why = format!("{cut} objects could not be read (was the file cut off?)");
        to.unread(f, SourceId::Hns, UnreadKind::Failed, why);
    }
    let all = to.hns.get_or_insert_with(Hns::default);
    all.load_balancers.extend(hns.load_balancers);
    let mut known: HashSet<String> = all.endpoints.iter().map(|e| e.id.clone()).collect();
    all.endpoints.extend(hns.endpoints.into_iter().filter(|e| known.insert(e.id.clone())));
    Ok(())
}
