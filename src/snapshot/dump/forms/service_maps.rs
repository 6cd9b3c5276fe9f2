//! eBPF maps of Cilium and Calico as people send them: `bpftool map dump -j` into a file that is called as the map, `cilium-dbg bpf lb list`
//! (also with `-o json`), `cilium-dbg service list`, `calico-node -bpf nat dump`. Texts become the maps that they show, and Services are put
//! together from these alone.

use crate::kernel::maps::{BpfMap, HASH, LPM_TRIE};
use crate::ruleset::{IpFamily, IpNet};
use crate::snapshot::dump::glance::Glance;
use crate::snapshot::dump::json;
use crate::snapshot::dump::reader::{Form, Found, Reader};
use crate::snapshot::{LAYOUTS, MapKind, SourceId, UnreadKind};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

pub(super) static BPFTOOL: Form = Form {
    words: "bpftool map dump -j",
    source: SourceId::ServiceMaps,
    repeats: true,
    is: is_bpftool,
    read: read_bpftool,
};
pub(super) static CILIUM_LB: Form = Form {
    words: "cilium-dbg bpf lb list",
    source: SourceId::ServiceMaps,
    repeats: false,
    is: is_cilium_lb,
    read: read_cilium_lb,
};
pub(super) static CILIUM_SERVICES: Form = Form {
    words: "cilium-dbg service list",
    source: SourceId::ServiceMaps,
    repeats: false,
    is: is_cilium_services,
    read: read_cilium_services,
};
pub(super) static CALICO: Form = Form {
    words: "calico-node -bpf nat dump",
    source: SourceId::ServiceMaps,
    repeats: true,
    is: is_calico,
    read: read_calico,
};

/// The map that a file's name names.
fn named(name: &str) -> Option<&'static str> {
    LAYOUTS.iter().map(|l| l.name).find(|n| name.contains(n))
}

fn is_bpftool(g: &Glance<'_>) -> bool {
    let json = g.json();
    json.contains("\"key\"") && json.contains("\"value\"") && json.contains("\"0x")
}

/// `["0x0a","0x60"]`
fn bytes(v: &Value) -> Option<Vec<u8>> {
    let one = |b: &Value| match b {
        Value::String(s) => u8::from_str_radix(s.strip_prefix("0x")?, 16).ok(),
        Value::Number(n) => u8::try_from(n.as_u64()?).ok(),
        _ => None,
    };
    v.as_array()?.iter().map(one).collect()
}

fn read_bpftool(to: &mut Reader, f: &Found) -> Result<(), String> {
    let file = f.path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let Some(name) = named(&file).or_else(|| named(&f.name)) else {
        return Err("the entries of an eBPF map, and nothing says of which: call the file as the map, cilium_lb4_services_v2.json".into());
    };
    let (value, why) = json::read(&f.text)?;
    if let Some(why) = why {
        to.unread(f, SourceId::ServiceMaps, UnreadKind::Failed, why);
    }
    let Value::Array(list) = value else { return Err("no list of entries".into()) };
    let entry = |v: &Value| Some((bytes(v.get("key")?)?, bytes(v.get("value")?)?));
    let entries: Vec<_> = list.iter().filter_map(entry).collect();
    let sizes = entries.first().map_or((0, 0), |e| (e.0.len(), e.1.len()));
    let whole = entries.iter().filter(|e| (e.0.len(), e.1.len()) == sizes);
    let mut map = BpfMap { key_size: sizes.0 as u32, value_size: sizes.1 as u32, ..layout_map(name) };
    map.set_entries(whole.cloned());
    if map.len() < list.len() {
        to.unused(list.len() - map.len());
        let n = list.len() - map.len();
        to.unread(
            f,
            SourceId::ServiceMaps,
            UnreadKind::Failed,
            format!("{n} entries are none, or of another size"),
        );
    }
    to.maps.push(map);
    Ok(())
}

/// The empty map of a layout; how many entries it may have is not known.
fn layout_map(name: &str) -> BpfMap {
    let layout = LAYOUTS.iter().find(|l| l.name == name);
    let trie = matches!(layout.map(|l| l.kind), Some(MapKind::CiliumSourceRanges | MapKind::CalicoFrontends));
    BpfMap {
        name: name.into(),
        kind: if trie { LPM_TRIE } else { HASH },
        key_size: layout.map_or(0, |l| l.key),
        value_size: layout.map_or(0, |l| l.value),
        ..BpfMap::default()
    }
}

fn is_cilium_lb(g: &Glance<'_>) -> bool {
    let json = g.json();
    g.any(4, |l| l.trim_start().starts_with("SERVICE ADDRESS") && l.contains("BACKEND ADDRESS"))
        || (json.contains("/TCP") || json.contains(" (0)\""))
            && json.contains(" (0)\":")
            && json.contains("[\"")
}

fn is_cilium_services(g: &Glance<'_>) -> bool {
    g.any(4, |l| l.trim_start().starts_with("ID") && l.contains("Frontend") && l.contains("Service Type"))
}

fn is_calico(g: &Glance<'_>) -> bool {
    let json = g.json();
    let is_json = json.contains("\"frontend") && json.contains("\"proto\"") && json.contains("\"addr\"");
    is_json || g.any(4, |l| calico_frontend(l).is_some())
}

/// Lines that may say something: not blank, and no prompt with the command.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|l| !l.trim().is_empty() && !l.starts_with(['#', '$']))
}

/// Where a frontend is: address, port, protocol, and whether it is of the internal scope.
type Place = (IpAddr, u16, u8, bool);

/// `10.96.0.1:443/TCP`, `[fd00::1]:443/TCP/i`, `10.96.0.1:443`
fn place(text: &str) -> Option<Place> {
    let mut parts = text.split('/');
    let at: std::net::SocketAddr = parts.next()?.parse().ok()?;
    let (mut protocol, mut internal) = (0, false);
    for part in parts {
        match part {
            "TCP" => protocol = 6,
            "UDP" => protocol = 17,
            "SCTP" => protocol = 132,
            "ANY" | "NONE" => protocol = 0,
            "i" => internal = true,
            _ => return None,
        }
    }
    Some((at.ip(), at.port(), protocol, internal))
}

/// `(3)`
fn number(text: &str) -> Option<u32> {
    text.strip_prefix('(')?.strip_suffix(')')?.parse().ok()
}

/// A frontend with its backends, as texts show it.
#[derive(Default)]
struct Shown {
    reverse_nat: u32,
    flags: u8,
    flags2: u8,
    backends: BTreeMap<u32, (IpAddr, u16, u8)>,
}

/// The bits of the words behind a frontend (`ServiceFlags.String`, `pkg/loadbalancer/loadbalancer.go`).
fn flags(words: &str) -> (u8, u8) {
    let mut all = (0, 0);
    for word in words.trim_matches(['[', ']']).split(',').map(str::trim) {
        match word {
            "ExternalIPs" => all.0 |= 1,
            "NodePort" => all.0 |= 1 << 1,
            "Local" => all.0 |= 1 << 2,
            "HostPort" => all.0 |= 1 << 3,
            "sessionAffinity" => all.0 |= 1 << 4,
            "LoadBalancer" => all.0 |= 1 << 5,
            "check source-range" => all.0 |= 1 << 7,
            "InternalLocal" => all.1 |= 1 << 4,
            "two-scopes" => all.1 |= 1 << 5,
            _ => {}
        }
    }
    all
}

/// A line of the table, or a key of the JSON with one of its values: frontend, slot, and what is behind.
fn lb_entry(service: &str, slot: u32, behind: &str, shown: &mut BTreeMap<Place, Shown>) -> Option<()> {
    let at = place(service)?;
    let mut words = behind.split_whitespace();
    let backend = place(words.next()?)?;
    let reverse = words.next().and_then(number);
    let s = shown.entry(at).or_default();
    if slot == 0 {
        s.reverse_nat = reverse.unwrap_or(0);
        let at = behind.find('[').map_or("", |i| &behind[i..]);
        (s.flags, s.flags2) = flags(at);
    } else {
        s.backends.insert(slot, (backend.0, backend.1, backend.2));
    }
    Some(())
}

fn read_cilium_lb(to: &mut Reader, f: &Found) -> Result<(), String> {
    let mut shown = BTreeMap::new();
    let mut lost = Vec::new();
    if json::begins(&f.text) {
        let (value, why) = json::read(&f.text)?;
        if let Some(why) = why {
            to.unread(f, SourceId::ServiceMaps, UnreadKind::Failed, why);
        }
        for (key, list) in value.as_object().into_iter().flatten() {
            let (service, slot) = match key.rsplit_once(' ') {
                Some((service, slot)) => (service, number(slot)),
                None => (key.as_str(), None),
            };
            for behind in list.as_array().into_iter().flatten().filter_map(Value::as_str) {
                // Without a slot in the key it is the last number behind the backend.
                let slot = slot.or_else(|| behind.split_whitespace().filter_map(number).nth(1));
                if slot.and_then(|n| lb_entry(service, n, behind, &mut shown)).is_none() {
                    lost.push(format!("{key}: {behind}"));
                }
            }
        }
    } else {
        let mut last = "";
        for line in lines(&f.text).filter(|l| !l.contains("SERVICE ADDRESS")) {
            let mut rest = line.trim_start();
            // A blank first column is the service of the line before.
            if rest.len() == line.len() {
                let (service, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
                (last, rest) = (service, after.trim_start());
            }
            let first = rest.split_whitespace().next().and_then(number);
            let behind = match first {
                Some(_) => rest.split_once(char::is_whitespace).map_or("", |r| r.1.trim_start()),
                None => rest,
            };
            let slot = first.or_else(|| behind.split_whitespace().filter_map(number).nth(1));
            if slot.and_then(|n| lb_entry(last, n, behind, &mut shown)).is_none() {
                lost.push(line.trim().to_string());
            }
        }
    }
    to.lines_lost(f, &lost, (SourceId::ServiceMaps, UnreadKind::Failed), " could not be read");
    put_cilium(to, &shown);
    Ok(())
}

/// `1    10.96.0.1:443/TCP      ClusterIP      1 => 172.18.0.3:6443/TCP (active)`
fn read_cilium_services(to: &mut Reader, f: &Found) -> Result<(), String> {
    let mut shown: BTreeMap<Place, Shown> = BTreeMap::new();
    let mut last: Option<Place> = None;
    let mut lost = Vec::new();
    for line in lines(&f.text).filter(|l| !l.contains("Service Type")) {
        let (head, backend) = match line.split_once("=>") {
            Some((head, backend)) => (head, Some(backend)),
            None => (line, None),
        };
        let words: Vec<&str> = head.split_whitespace().collect();
        // The last word before an arrow is the number of the backend.
        let fixed = if backend.is_some() { words.len().saturating_sub(1) } else { words.len() };
        if let (Some(id), Some(at)) =
            (words.first().and_then(|w| w.parse().ok()), words.get(1).and_then(|w| place(w)))
            && fixed >= 3
        {
            let s = shown.entry(at).or_default();
            s.reverse_nat = id;
            (s.flags, s.flags2) = flags(words[2]);
            last = Some(at);
        } else if fixed > 0 {
            lost.push(line.trim().to_string());
            continue;
        }
        let Some(text) = backend else { continue };
        let at = text.split_whitespace().next().and_then(place);
        let active = !text.contains('(') || text.contains("(active)");
        match (at, last.and_then(|l| shown.get_mut(&l))) {
            (Some(b), Some(s)) if active => {
                let next = s.backends.len() as u32 + 1;
                s.backends.insert(next, (b.0, b.1, b.2));
            }
            // Terminating, quarantined: it takes no new flows.
            (Some(_), Some(_)) => {}
            _ => lost.push(line.trim().to_string()),
        }
    }
    to.lines_lost(f, &lost, (SourceId::ServiceMaps, UnreadKind::Failed), " could not be read");
    put_cilium(to, &shown);
    Ok(())
}

fn octets(a: IpAddr) -> Vec<u8> {
    match a {
        IpAddr::V4(a) => a.octets().to_vec(),
        IpAddr::V6(a) => a.octets().to_vec(),
    }
}

/// The maps that hold what was shown.
fn put_cilium(to: &mut Reader, shown: &BTreeMap<Place, Shown>) {
    for (family, digit) in [(IpFamily::V4, '4'), (IpFamily::V6, '6')] {
        let mut ids: HashMap<(IpAddr, u16, u8), u32> = HashMap::new();
        let (mut services, mut backends) = (Vec::new(), Vec::new());
        for ((address, port, protocol, internal), s) in shown.iter().filter(|s| IpFamily::of(s.0.0) == family)
        {
            let key = |slot: u32| {
                let mut key = octets(*address);
                key.extend(port.to_be_bytes());
                key.extend((slot as u16).to_ne_bytes());
                key.extend([*protocol, u8::from(*internal), 0, 0]);
                key
            };
            let value = |first: u32, count: usize| {
                let mut value = first.to_ne_bytes().to_vec();
                value.extend((count as u16).to_ne_bytes());
                value.extend((s.reverse_nat as u16).to_be_bytes());
                value.extend([s.flags, s.flags2, 0, 0]);
                value
            };
            services.push((key(0), value(0, s.backends.len())));
            for (slot, b) in (1..).zip(s.backends.values()) {
                let next = ids.len() as u32 + 1;
                let id = *ids.entry(*b).or_insert(next);
                if id == next {
                    let mut of = octets(b.0);
                    of.extend(b.1.to_be_bytes());
                    of.extend([b.2, 0, 0, 0, 0, 0]);
                    backends.push((id.to_ne_bytes().to_vec(), of));
                }
                services.push((key(slot), value(id, 0)));
            }
        }
        if services.is_empty() {
            continue;
        }
        for (name, entries) in [
            (format!("cilium_lb{digit}_services_v2"), services),
            (format!("cilium_lb{digit}_backends_v3"), backends),
        ] {
            let mut map = layout_map(&name);
            map.set_entries(entries);
            to.maps.push(map);
        }
    }
}

/// A frontend of Calico's.
struct CalicoFrontend {
    address: IpAddr,
    port: u16,
    protocol: u8,
    /// Number, backends, those of this node.
    numbers: [u32; 3],
    flags: u32,
    /// The senders that it is for.
    source: Option<IpNet>,
}

/// `NATFlgExternalLocal`, `NATFlgInternalLocal` (`felix/bpf/nat/maps.go`)
fn calico_flags(words: &str) -> u32 {
    u32::from(words.contains("external-local")) | u32::from(words.contains("internal-local")) << 1
}

/// A number of backends; -1 is printed where packets are dropped.
fn calico_count(n: i64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// `10.96.0.1 port 443 proto 6 id 2 count 1 local 0 flags external-local src 10.0.0.0/8`
fn calico_frontend(line: &str) -> Option<CalicoFrontend> {
    let mut words = line.split_whitespace();
    let address = words.next()?.parse().ok()?;
    let words: Vec<&str> = words.collect();
    let after = |name: &str| words.iter().position(|w| *w == name).and_then(|i| words.get(i + 1)).copied();
    let n = |name: &str| after(name)?.parse::<u32>().ok();
    Some(CalicoFrontend {
        address,
        port: u16::try_from(n("port")?).ok()?,
        protocol: u8::try_from(n("proto")?).ok()?,
        numbers: [n("id")?, calico_count(after("count")?.parse().ok()?), n("local").unwrap_or(0)],
        flags: calico_flags(line.split_once("flags").map_or("", |f| f.1)),
        source: after("src").and_then(|s| s.parse().ok()),
    })
}

/// `        2:0      172.18.0.3:6443`
fn calico_backend(line: &str) -> Option<(u32, u32, std::net::SocketAddr)> {
    let mut words = line.split_whitespace();
    let (id, ordinal) = words.next()?.split_once(':')?;
    Some((id.parse().ok()?, ordinal.parse().ok()?, words.next()?.parse().ok()?))
}

/// The same of JSON.
fn calico_json(v: &Value) -> Option<CalicoFrontend> {
    let n = |key: &str| v.get(key).and_then(Value::as_i64);
    let text = |key: &str| v.get(key).and_then(Value::as_str);
    Some(CalicoFrontend {
        address: text("addr")?.parse().ok()?,
        port: u16::try_from(n("port")?).ok()?,
        protocol: u8::try_from(n("proto")?).ok()?,
        numbers: [u32::try_from(n("id")?).ok()?, calico_count(n("count")?), n("local").unwrap_or(0) as u32],
        flags: calico_flags(text("flags").unwrap_or_default()),
        source: text("src_cidr").and_then(|s| s.parse().ok()),
    })
}

/// The entries of Calico's maps, as they are gathered.
#[derive(Default)]
struct CalicoMaps(BTreeMap<&'static str, Entries>);

type Entries = Vec<(Vec<u8>, Vec<u8>)>;

impl CalicoMaps {
    fn frontend(&mut self, f: &CalicoFrontend) {
        let octets_of = octets(f.address);
        let prefix = f.source.map_or(0, |n| u32::from(n.prefix));
        let mut key = ((octets_of.len() as u32 + 3) * 8 + prefix).to_ne_bytes().to_vec();
        key.extend(&octets_of);
        key.extend(f.port.to_ne_bytes());
        key.push(f.protocol);
        key.extend(f.source.map_or_else(|| vec![0; octets_of.len()], |n| octets(n.addr)));
        key.push(0);
        let all = [f.numbers[0], f.numbers[1], f.numbers[2], 0, f.flags];
        let value = all.iter().flat_map(|n| n.to_ne_bytes()).collect();
        let name = if f.address.is_ipv4() { "cali_v4_nat_fe3" } else { "cali_v6_nat_fe3" };
        self.0.entry(name).or_default().push((key, value));
    }

    fn backend(&mut self, id: u32, ordinal: u32, address: IpAddr, port: u16) {
        let mut value = octets(address);
        value.extend(port.to_ne_bytes());
        value.extend([0, 0]);
        let name = if address.is_ipv4() { "cali_v4_nat_be" } else { "cali_v6_nat_be" };
        self.0.entry(name).or_default().push(([id.to_ne_bytes(), ordinal.to_ne_bytes()].concat(), value));
    }

    /// A frontend or several with their backends; false where it is none.
    fn json(&mut self, v: &Value) -> bool {
        let several = v.get("frontends").and_then(Value::as_array).cloned();
        let list = several.or_else(|| Some(vec![v.get("frontend")?.clone()])).unwrap_or_default();
        let frontends: Vec<CalicoFrontend> = list.iter().filter_map(calico_json).collect();
        frontends.iter().for_each(|f| self.frontend(f));
        let Some(first) = frontends.first() else { return false };
        let backends = v.get("backends").and_then(Value::as_array).into_iter().flatten();
        for (ordinal, b) in (0..).zip(backends) {
            let address = b.get("addr").and_then(Value::as_str).and_then(|a| a.parse().ok());
            let port = b.get("port").and_then(Value::as_u64).and_then(|p| u16::try_from(p).ok());
            // One that is missing in the map is so named.
            if let (Some(address), Some(port)) = (address, port) {
                self.backend(first.numbers[0], ordinal, address, port);
            }
        }
        frontends.len() == list.len()
    }
}

fn read_calico(to: &mut Reader, f: &Found) -> Result<(), String> {
    let mut maps = CalicoMaps::default();
    let mut lost = Vec::new();
    if json::begins(&f.text) {
        let (value, why) = json::read(&f.text)?;
        if let Some(why) = why {
            to.unread(f, SourceId::ServiceMaps, UnreadKind::Failed, why);
        }
        let entries = value.as_array().cloned().unwrap_or_default();
        lost.extend(entries.iter().filter(|v| !maps.json(v)).map(ToString::to_string));
    } else {
        for line in lines(&f.text) {
            if let Some(frontend) = calico_frontend(line) {
                maps.frontend(&frontend);
            } else if let Some((id, ordinal, at)) = calico_backend(line) {
                maps.backend(id, ordinal, at.ip(), at.port());
            } else if !line.ends_with("is missing") {
                lost.push(line.trim().to_string());
            }
        }
    }
    to.lines_lost(f, &lost, (SourceId::ServiceMaps, UnreadKind::Failed), " could not be read");
    for (name, entries) in maps.0 {
        let mut map = layout_map(name);
        map.set_entries(entries);
        to.maps.push(map);
    }
    Ok(())
}
