//! `ip -j addr` and `ip -j route`.

use crate::kernel::links::Link;
use crate::kernel::node::InterfaceAddress;
use crate::snapshot::dump::glance::Glance;
use crate::snapshot::dump::json;
use crate::snapshot::dump::reader::{Form, Found, Reader};
use crate::snapshot::{SourceId, UnreadKind};
use serde_json::Value;

pub(super) static ADDRESSES: Form =
    Form { words: "ip -j addr", source: SourceId::Addresses, repeats: true, is: is_addresses, read };
pub(super) static ROUTES: Form =
    Form { words: "ip -j route", source: SourceId::Routes, repeats: true, is: is_routes, read: read_routes };

fn is_addresses(g: &Glance<'_>) -> bool {
    let json = g.json();
    json.contains("\"ifindex\"") && json.contains("\"ifname\"")
}

fn is_routes(g: &Glance<'_>) -> bool {
    let json = g.json();
    json.contains("\"dst\"")
        && (json.contains("\"dev\"") || json.contains("\"type\""))
        && !json.contains("\"kind\"")
}

fn list(to: &mut Reader, f: &Found) -> Result<Vec<Value>, String> {
    let (value, why) = json::read(&f.text)?;
    if let Some(why) = why {
        to.unread(f, f.form.source, UnreadKind::Failed, why);
    }
    match value {
        Value::Array(list) => Ok(list),
        _ => Err("no list".into()),
    }
}

fn read(to: &mut Reader, f: &Found) -> Result<(), String> {
    let all = list(to, f)?;
    let text = |v: &Value, key: &str| v.get(key).and_then(Value::as_str).map(str::to_string);
    let (mut links, mut addresses) = (Vec::new(), Vec::new());
    for l in &all {
        let Some(name) = text(l, "ifname") else { continue };
        let kind = l.pointer("/linkinfo/info_kind").and_then(Value::as_str).map(str::to_string);
        let port = l.pointer("/linkinfo/info_data/port").and_then(Value::as_u64);
        let master = text(l, "master");
        links.push(Link {
            index: l.get("ifindex").and_then(Value::as_u64).unwrap_or(0) as u32,
            up: l.get("flags").and_then(Value::as_array).is_some_and(|f| f.iter().any(|w| w == "UP")),
            master: master.and_then(|m| {
                let of = all.iter().find(|o| text(o, "ifname").as_ref() == Some(&m))?;
                of.get("ifindex")?.as_u64().map(|n| n as u32)
            }),
            tunnel_port: port
                .and_then(|p| u16::try_from(p).ok())
                .filter(|_| matches!(kind.as_deref(), Some("vxlan" | "geneve"))),
            kind,
            name: name.clone(),
        });
        for a in l.get("addr_info").and_then(Value::as_array).into_iter().flatten() {
            let Some(address) = text(a, "local").and_then(|t| t.parse().ok()) else { continue };
            let prefix = a.get("prefixlen").and_then(Value::as_u64).and_then(|n| u8::try_from(n).ok());
            addresses.push(InterfaceAddress { interface: name.clone(), address, prefix });
        }
    }
    to.take_links(f, links, addresses);
    Ok(())
}

fn read_routes(to: &mut Reader, f: &Found) -> Result<(), String> {
    let all = list(to, f)?;
    // As `ip route` prints them.
    let line = |r: &Value| {
        let mut line = String::new();
        if let Some(kind) = r.get("type").and_then(Value::as_str).filter(|k| *k != "unicast") {
            line.push_str(&format!("{kind} "));
        }
        line.push_str(r.get("dst").and_then(Value::as_str)?);
        for (key, word) in [
            ("gateway", "via"),
            ("dev", "dev"),
            ("table", "table"),
            ("metric", "metric"),
            ("protocol", "proto"),
        ] {
            match r.get(key) {
                Some(Value::String(v)) => line.push_str(&format!(" {word} {v}")),
                Some(Value::Number(n)) => line.push_str(&format!(" {word} {n}")),
                _ => {}
            }
        }
        Some(line)
    };
    let lines: Vec<String> = all.iter().filter_map(line).collect();
    let v6 = lines.iter().any(|l| l.contains("::"));
    to.all_tables |= lines.iter().any(|l| l.contains(" table "));
    to.take_routes(lines.iter().filter_map(|l| super::ip_route::route(l, v6)).collect());
    Ok(())
}
