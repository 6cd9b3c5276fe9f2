//! Calico's eBPF data plane in kube-proxy's place: `cali_v4_nat_fe3`, `cali_v4_nat_be` and those of IPv6 (`felix/bpf/nat/maps.go`,
//! `maps6.go`, `felix/bpf-gpl/nat_types.h`). Ports and integers are in the order of the machine, addresses in the network's.

use super::parts::{Entries, add, map_of, ne16, ne32, octets, width, written};
use crate::proxy::{Action, Affinity, Engine, Frontend, FrontendKind, Protocol, Service, TrafficPolicy};
use crate::ruleset::{IpFamily, IpNet};
use crate::snapshot::facts::{BpfMap, HASH, InterfaceAddress, LPM_TRIE};
use crate::snapshot::{MapKind, address_at};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// `NATFlgExternalLocal`, `NATFlgInternalLocal`, `NATFlgExclude`
const EXTERNAL_LOCAL: u32 = 1;
const INTERNAL_LOCAL: u32 = 2;
const EXCLUDE: u32 = 4;
/// Instead of a number of backends: packets from here are dropped (`BlackHoleCount`).
const DROP: u32 = u32::MAX;
/// Addresses of node ports of any node (`podNPIPStr`, `podNPIPV6Str`, `felix/bpf/proxy/syncer.go`).
const ANY_NODE: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::BROADCAST), IpAddr::V6(Ipv6Addr::from_bits(u128::MAX))];
/// Entries of the maps as Felix makes them.
const MAX_ENTRIES: u32 = 65_536;

/// Where a frontend is: address, port, protocol.
type Key = (IpAddr, u16, u8);

/// What is found at one place.
#[derive(Clone, Debug, Default)]
struct Found {
    id: u32,
    count: u32,
    local: u32,
    affinity_s: u32,
    flags: u32,
    /// Networks of senders that are served; where there are any, others are dropped.
    ranges: Vec<IpNet>,
    drops_others: bool,
}

/// Reads the Services of Calico's maps. Frontends with one number are of one Service. `own`: the node's addresses, by which node ports
/// are known.
pub fn read(maps: &[BpfMap], own: &[InterfaceAddress]) -> Vec<Service> {
    [IpFamily::V4, IpFamily::V6].into_iter().flat_map(|f| read_family(maps, own, f)).collect()
}

fn read_family(maps: &[BpfMap], own: &[InterfaceAddress], family: IpFamily) -> Vec<Service> {
    let Some((frontends, _)) = map_of(maps, MapKind::CalicoFrontends, family) else { return Vec::new() };
    let mut found: BTreeMap<Key, Found> = BTreeMap::new();
    for (key, value) in frontends.entries() {
        take(&mut found, family, key, value);
    }
    let backends = read_backends(maps, family);
    let is_node = |address: IpAddr| ANY_NODE.contains(&address) || own.iter().any(|a| a.address == address);
    let node_ports: HashSet<(u16, u8)> =
        found.keys().filter(|k| is_node(k.0)).map(|(_, port, protocol)| (*port, *protocol)).collect();
    let mut services: BTreeMap<(u32, u8), Service> = BTreeMap::new();
    for ((address, port, protocol), f) in found {
        let Some(known) = Protocol::from_number(u16::from(protocol)) else { continue };
        // A node port at the address of another node leads to that node's endpoints alone, for who is here (`NodePortRemote`).
        let of_other_node = !is_node(address) && node_ports.contains(&(port, protocol));
        if f.flags & EXCLUDE != 0 || of_other_node {
            continue;
        }
        let is_node = is_node(address);
        let s = services
            .entry((f.id, protocol))
            .or_insert_with(|| with_backends(Service::new(known, family, Engine::CalicoEbpf), &f, &backends));
        // Node ports are for who is outside.
        let flags = if is_node { EXTERNAL_LOCAL } else { EXTERNAL_LOCAL | INTERNAL_LOCAL };
        let local = f.flags & flags != 0;
        let takes = if local { f.local } else { f.count };
        let action = match (takes, local && f.count > 0) {
            (0, true) => Action::Drop,
            (0, false) => Action::Reject,
            _ => Action::Balance,
        };
        let kind = is_node.then_some(FrontendKind::NodePort);
        let at = (!is_node).then_some(address);
        // Each address of the node has an entry.
        if s.frontends.iter().any(|known| is_node && known.address == at && known.port == port) {
            continue;
        }
        let mut frontend = Frontend::new(kind, at, port, action);
        frontend.traffic_policy = Some(if local { TrafficPolicy::Local } else { TrafficPolicy::Cluster });
        frontend.source_ranges = f.drops_others.then_some(f.ranges);
        s.frontends.push(frontend);
    }
    services.into_values().collect()
}

/// Takes an entry; one that is too short is none.
fn take(found: &mut BTreeMap<Key, Found>, family: IpFamily, key: &[u8], value: &[u8]) -> Option<()> {
    let w = width(family);
    // Address, port and protocol are the first 56 (152) bits after the length; then comes the sender's network.
    let fixed = (w as u32 + 3) * 8;
    let prefix = ne32(key, 0)?.checked_sub(fixed)?;
    let place = (address_at(key, 4, family)?, ne16(key, 4 + w)?, *key.get(6 + w)?);
    let sender = address_at(key, 7 + w, family)?;
    let entry = found.entry(place).or_default();
    let count = ne32(value, 4)?;
    if count == DROP {
        entry.drops_others = true;
        return Some(());
    }
    (entry.id, entry.count, entry.local) = (ne32(value, 0)?, count, ne32(value, 8)?);
    (entry.affinity_s, entry.flags) = (ne32(value, 12)?, ne32(value, 16)?);
    if prefix > 0 {
        entry.ranges.push(IpNet { addr: sender, prefix: u8::try_from(prefix).ok()? });
    }
    Some(())
}

/// Backends by the number of the Service, in their order.
fn read_backends(maps: &[BpfMap], family: IpFamily) -> HashMap<u32, BTreeMap<u32, (IpAddr, u16)>> {
    let mut all: HashMap<u32, BTreeMap<u32, (IpAddr, u16)>> = HashMap::new();
    let Some((map, _)) = map_of(maps, MapKind::CalicoBackends, family) else { return all };
    for (key, value) in map.entries() {
        let parts = (ne32(key, 0), ne32(key, 4), address_at(value, 0, family), ne16(value, width(family)));
        let (Some(id), Some(ordinal), Some(address), Some(port)) = parts else { continue };
        all.entry(id).or_default().insert(ordinal, (address, port));
    }
    all
}

/// The first `local` of the backends are on this node.
fn with_backends(mut s: Service, f: &Found, all: &HashMap<u32, BTreeMap<u32, (IpAddr, u16)>>) -> Service {
    let mine = || all.get(&f.id).into_iter().flatten().filter(|b| *b.0 < f.count);
    let count = mine().count();
    for (ordinal, at) in mine() {
        add(&mut s.backends, *at, TrafficPolicy::Cluster, count);
        if *ordinal < f.local {
            add(&mut s.backends, *at, TrafficPolicy::Local, f.local as usize);
        }
    }
    s.session_affinity = (f.affinity_s > 0).then_some(Affinity::For(f.affinity_s));
    s
}

/// Writes the maps that Calico would have for these Services.
pub fn write(services: &[Service], own: &[IpAddr]) -> Vec<BpfMap> {
    [IpFamily::V4, IpFamily::V6].into_iter().flat_map(|f| write_family(services, own, f)).collect()
}

fn frontend_key(family: IpFamily, (address, port, protocol): Key, sender: Option<IpNet>) -> Vec<u8> {
    let w = width(family);
    let prefix = (w as u32 + 3) * 8 + sender.map_or(0, |n| u32::from(n.prefix));
    let mut key = prefix.to_ne_bytes().to_vec();
    key.extend(octets(address));
    key.extend(port.to_ne_bytes());
    key.push(protocol);
    key.extend(sender.map_or_else(|| vec![0; w], |n| octets(n.addr)));
    key.push(0);
    key
}

fn write_family(services: &[Service], own: &[IpAddr], family: IpFamily) -> Vec<BpfMap> {
    let (mut frontends, mut backends): (Entries, Entries) = Default::default();
    let mine = services.iter().filter(|s| s.family == family && !s.stale);
    for (id, s) in (1u32..).zip(mine) {
        let mut ordered: Vec<_> = s.backends.iter().collect();
        let is_local = |b: &&crate::proxy::Backend| b.traffic_policies.contains(TrafficPolicy::Local);
        ordered.sort_by_key(|b| !is_local(b));
        let local = ordered.iter().filter(|b| is_local(b)).count() as u32;
        for (ordinal, b) in (0u32..).zip(&ordered) {
            let mut value = octets(b.address);
            value.extend(b.port.to_ne_bytes());
            value.extend([0, 0]);
            backends.push(([id.to_ne_bytes(), ordinal.to_ne_bytes()].concat(), value));
        }
        for f in s.frontends.iter().filter(|f| !f.kind.is_some_and(FrontendKind::is_mark)) {
            let flags = match (f.traffic_policy, f.kind) {
                (Some(TrafficPolicy::Local), Some(FrontendKind::ClusterIp)) => INTERNAL_LOCAL,
                (Some(TrafficPolicy::Local), _) => EXTERNAL_LOCAL,
                _ => 0,
            };
            let numbers = [
                id,
                ordered.len() as u32,
                local,
                s.session_affinity.map_or(0, Affinity::seconds_or_default),
                flags,
            ];
            let value: Vec<u8> = numbers.iter().flat_map(|n| n.to_ne_bytes()).collect();
            let at: Vec<IpAddr> = match f.address {
                Some(a) => vec![a],
                None => own.iter().copied().filter(|a| IpFamily::of(*a) == family).collect(),
            };
            for address in at {
                let place = (address, f.port, s.protocol.number());
                match &f.source_ranges {
                    None => frontends.push((frontend_key(family, place, None), value.clone())),
                    Some(ranges) => {
                        let drops: Vec<u8> =
                            [id, DROP, 0, 0, 0].iter().flat_map(|n| n.to_ne_bytes()).collect();
                        frontends.push((frontend_key(family, place, None), drops));
                        for net in ranges {
                            frontends.push((frontend_key(family, place, Some(*net)), value.clone()));
                        }
                    }
                }
            }
        }
    }
    let made = [(MapKind::CalicoFrontends, frontends, LPM_TRIE), (MapKind::CalicoBackends, backends, HASH)];
    written(family, MAX_ENTRIES, made)
}
