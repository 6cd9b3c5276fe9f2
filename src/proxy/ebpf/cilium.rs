//! Cilium in kube-proxy's place: `cilium_lb4_services_v2` and its kin (`bpf/lib/common.h`, `pkg/loadbalancer/maps/types.go`).
//!
//! A Service's frontend is an entry with slot 0; slots 1 to its count name the backends, those behind them are quarantined. With two
//! scopes the external one has the backends of `externalTrafficPolicy: Local`, the internal one all.

use super::parts::{Entries, add, be16, map_of, ne16, ne32, octets, width, written};
use crate::proxy::{Action, Affinity, Engine, Frontend, FrontendKind, Protocol, Service, TrafficPolicy};
use crate::ruleset::{IpFamily, IpNet};
use crate::snapshot::facts::{BpfMap, HASH, LPM_TRIE};
use crate::snapshot::{MapKind, address_at};
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// `SVC_FLAG_EXTERNAL_IP`, `_NODEPORT`, `_EXT_LOCAL_SCOPE`, `_HOSTPORT`, `_AFFINITY`, `_LOADBALANCER`, `_ROUTABLE`, `_SOURCE_RANGE`
const EXTERNAL_IP: u8 = 1 << 0;
const NODE_PORT: u8 = 1 << 1;
const EXTERNAL_LOCAL: u8 = 1 << 2;
const HOST_PORT: u8 = 1 << 3;
const AFFINITY: u8 = 1 << 4;
const LOAD_BALANCER: u8 = 1 << 5;
const ROUTABLE: u8 = 1 << 6;
const SOURCE_RANGE: u8 = 1 << 7;
/// Of the second byte: `SVC_FLAG_L7_LOADBALANCER`, `SVC_FLAG_INT_LOCAL_SCOPE`, `SVC_FLAG_TWO_SCOPES`, of slot 0
/// `SVC_FLAG_SOURCE_RANGE_DENY`
const L7: u8 = 1 << 2;
const INTERNAL_LOCAL: u8 = 1 << 4;
const TWO_SCOPES: u8 = 1 << 5;
const RANGES_DENY: u8 = 1 << 6;
/// `LB_LOOKUP_SCOPE_EXT`, `LB_LOOKUP_SCOPE_INT`
const EXTERNAL: u8 = 0;
const INTERNAL: u8 = 1;
/// Entries of the maps as Cilium makes them (`bpf-lb-map-max`).
const MAX_ENTRIES: u32 = 65_536;

/// Where a frontend is: address, port, protocol.
type Key = (IpAddr, u16, u8);

/// An entry with slot 0.
#[derive(Clone, Copy, Debug)]
struct Head {
    /// Seconds of affinity and the algorithm, or the port of the proxy for layer 7.
    first: u32,
    count: u16,
    reverse_nat: u16,
    flags: u8,
    flags2: u8,
}

/// What is found at one place: by scope the head, and the backends of its slots.
#[derive(Debug, Default)]
struct Found {
    heads: [Option<Head>; 2],
    slots: [BTreeMap<u16, u32>; 2],
}

impl Found {
    /// The backends of a scope that take new flows.
    fn backends<'a>(
        &'a self,
        scope: u8,
        all: &'a HashMap<u32, (IpAddr, u16)>,
    ) -> impl Iterator<Item = (IpAddr, u16)> + 'a {
        let scope = usize::from(scope);
        let count = self.heads[scope].map_or(0, |h| h.count);
        self.slots[scope]
            .range(1..=count.max(1))
            .filter(move |_| count > 0)
            .filter_map(|s| all.get(s.1).copied())
    }
}

/// Reads the Services of Cilium's maps: each frontend is one of its own until the API names it.
pub fn read(maps: &[BpfMap]) -> Vec<Service> {
    [IpFamily::V4, IpFamily::V6].into_iter().flat_map(|f| read_family(maps, f)).collect()
}

fn read_family(maps: &[BpfMap], family: IpFamily) -> Vec<Service> {
    let Some((services, _)) = map_of(maps, MapKind::CiliumServices, family) else { return Vec::new() };
    let backends = read_backends(maps, family);
    let ranges = read_ranges(maps, family);
    let mut found: BTreeMap<Key, Found> = BTreeMap::new();
    for (key, value) in services.entries() {
        take(&mut found, family, key, value);
    }
    let everywhere: IpAddr = match family {
        IpFamily::V4 => Ipv4Addr::UNSPECIFIED.into(),
        IpFamily::V6 => Ipv6Addr::UNSPECIFIED.into(),
    };
    let mut all = Vec::new();
    for (key @ (address, port, protocol), f) in &found {
        let Some(head) = f.heads.iter().flatten().next() else { continue };
        // The surrogate stands for the node's addresses, which have an entry each; host ports are no Services; port 0
        // refuses what no Service has.
        let is_copy = head.flags & NODE_PORT != 0
            && *address != everywhere
            && found.contains_key(&(everywhere, *port, *protocol));
        if is_copy || head.flags & HOST_PORT != 0 || *port == 0 {
            continue;
        }
        all.push(service(family, *key, f, everywhere, &backends, &ranges));
    }
    all
}

/// Takes an entry; one that is too short is none.
fn take(found: &mut BTreeMap<Key, Found>, family: IpFamily, key: &[u8], value: &[u8]) -> Option<()> {
    let at = width(family);
    let place = (address_at(key, 0, family)?, be16(key, at)?, *key.get(at + 4)?);
    let slot = ne16(key, at + 2)?;
    let scope = usize::from(*key.get(at + 5)? == INTERNAL);
    let first = ne32(value, 0)?;
    let f = found.entry(place).or_default();
    match slot {
        0 => {
            f.heads[scope] = Some(Head {
                first,
                count: ne16(value, 4)?,
                reverse_nat: be16(value, 6)?,
                flags: *value.get(8)?,
                flags2: *value.get(9)?,
            });
        }
        slot => drop(f.slots[scope].insert(slot, first)),
    }
    Some(())
}

/// Backends by number.
fn read_backends(maps: &[BpfMap], family: IpFamily) -> HashMap<u32, (IpAddr, u16)> {
    let Some((map, layout)) = map_of(maps, MapKind::CiliumBackends, family) else { return HashMap::new() };
    let at = layout.value_address.unwrap_or(0);
    let one = |(key, value): (&[u8], &[u8])| {
        let address = address_at(value, at, family)?;
        Some((ne32(key, 0)?, (address, be16(value, at + width(family))?)))
    };
    map.entries().filter_map(one).collect()
}

/// Networks by the number of the frontend.
fn read_ranges(maps: &[BpfMap], family: IpFamily) -> HashMap<u16, Vec<IpNet>> {
    let mut ranges: HashMap<u16, Vec<IpNet>> = HashMap::new();
    let Some((map, _)) = map_of(maps, MapKind::CiliumSourceRanges, family) else { return ranges };
    for (key, _) in map.entries() {
        // The number and its padding are the first 32 bits of the prefix.
        let prefix = ne32(key, 0).and_then(|n| u8::try_from(n.checked_sub(32)?).ok());
        let parts = (prefix, be16(key, 4), address_at(key, 8, family));
        let (Some(prefix), Some(number), Some(addr)) = parts else { continue };
        if usize::from(prefix) <= width(family) * 8 {
            ranges.entry(number).or_default().push(IpNet { addr, prefix }.masked());
        }
    }
    ranges
}

fn service(
    family: IpFamily,
    (address, port, protocol): Key,
    found: &Found,
    everywhere: IpAddr,
    all: &HashMap<u32, (IpAddr, u16)>,
    ranges: &HashMap<u16, Vec<IpNet>>,
) -> Service {
    // What has no protocol (before 1.17) is of any.
    let protocol = Protocol::from_number(u16::from(protocol)).unwrap_or(Protocol::Any);
    let mut s = Service::new(protocol, family, Engine::Cilium);
    let [external, internal] = found.heads;
    let Some(head) = external.or(internal) else { return s };
    let both = external.is_some() && internal.is_some();
    let kind = kind_of(head.flags);
    let local = match kind {
        FrontendKind::ClusterIp => head.flags2 & INTERNAL_LOCAL != 0,
        _ => head.flags & EXTERNAL_LOCAL != 0,
    };
    // Of two scopes each has the policy of its side; a single one has that of the frontend.
    let of = |local: bool| if local { TrafficPolicy::Local } else { TrafficPolicy::Cluster };
    let sides = match both {
        true => [head.flags & EXTERNAL_LOCAL != 0, head.flags2 & INTERNAL_LOCAL != 0],
        false => [local, local],
    };
    for (scope, is_local) in [(INTERNAL, sides[1]), (EXTERNAL, sides[0])] {
        let mine: Vec<_> = found.backends(scope, all).collect();
        for b in &mine {
            add(&mut s.backends, *b, of(is_local), mine.len());
        }
    }
    let policy = of(local);
    let none = !s.backends.iter().any(|b| b.traffic_policies.contains(policy));
    let action = match (none, local && both && !s.backends.is_empty()) {
        (false, _) => Action::Balance,
        (true, true) => Action::Drop,
        (true, false) => Action::Reject,
    };
    let mut f = Frontend::new(Some(kind), (address != everywhere).then_some(address), port, action);
    f.traffic_policy = Some(policy);
    if head.flags & SOURCE_RANGE != 0 && head.flags2 & RANGES_DENY == 0 {
        let mut mine = ranges.get(&head.reverse_nat).cloned().unwrap_or_default();
        mine.sort_by_key(|n| (n.addr, n.prefix));
        f.source_ranges = Some(mine);
    }
    s.frontends.push(f);
    if head.flags2 & L7 != 0 {
        s.scheduler = Some("L7 proxy".into());
    } else {
        let seconds = head.first & 0x00ff_ffff;
        s.session_affinity = (head.flags & AFFINITY != 0).then_some(Affinity::For(seconds));
        s.scheduler = match head.first >> 24 {
            1 => Some("random".into()),
            2 => Some("maglev".into()),
            _ => None,
        };
    }
    s
}

fn kind_of(flags: u8) -> FrontendKind {
    match flags {
        f if f & NODE_PORT != 0 => FrontendKind::NodePort,
        f if f & LOAD_BALANCER != 0 => FrontendKind::LoadBalancerIp,
        f if f & EXTERNAL_IP != 0 => FrontendKind::ExternalIp,
        _ => FrontendKind::ClusterIp,
    }
}

/// Writes the maps that Cilium would have for these Services: services_v2 and backends_v3, reverse NAT and source ranges. What rules
/// would lead to (stale Services, marks) is left out.
pub fn write(services: &[Service]) -> Vec<BpfMap> {
    [IpFamily::V4, IpFamily::V6].into_iter().flat_map(|f| write_family(services, f)).collect()
}

/// The entries of one family, as they are made.
#[derive(Default)]
struct Written {
    services: Entries,
    backends: Entries,
    reverse: Entries,
    ranges: Entries,
    numbers: HashMap<(IpAddr, u16, u8), u32>,
    frontends: u16,
}

impl Written {
    fn number(&mut self, address: IpAddr, port: u16, protocol: u8) -> u32 {
        let next = self.numbers.len() as u32 + 1;
        let number = *self.numbers.entry((address, port, protocol)).or_insert(next);
        if number == next {
            // Address, port, protocol, flags; cluster and zone are 0.
            let mut value = octets(address);
            value.extend(port.to_be_bytes());
            value.extend([protocol, 0]);
            value.extend([0; 4]);
            self.backends.push((number.to_ne_bytes().to_vec(), value));
        }
        number
    }

    fn entry(&mut self, (address, port, protocol): Key, slot: u16, scope: u8, value: [u8; 12]) {
        let mut key = octets(address);
        key.extend(port.to_be_bytes());
        key.extend(slot.to_ne_bytes());
        key.extend([protocol, scope, 0, 0]);
        self.services.push((key, value.to_vec()));
    }

    fn frontend(&mut self, s: &Service, f: &Frontend, everywhere: IpAddr) {
        let protocol = s.protocol.number();
        let address = f.address.unwrap_or(everywhere);
        self.frontends += 1;
        let number = self.frontends;
        let local = f.traffic_policy == Some(TrafficPolicy::Local);
        let cluster_ip = f.kind.is_none_or(|k| k == FrontendKind::ClusterIp);
        let both = local && !cluster_ip;
        let (mut flags, mut flags2) = match f.kind {
            Some(FrontendKind::NodePort) => (NODE_PORT | ROUTABLE, 0),
            Some(FrontendKind::LoadBalancerIp) => (LOAD_BALANCER | ROUTABLE, 0),
            Some(FrontendKind::ExternalIp) => (EXTERNAL_IP | ROUTABLE, 0),
            _ => (0, 0),
        };
        match (local, cluster_ip) {
            (true, true) => flags2 |= INTERNAL_LOCAL,
            (true, false) => {
                flags |= EXTERNAL_LOCAL;
                flags2 |= TWO_SCOPES;
            }
            (false, _) => {}
        }
        let mut first = u32::from(s.scheduler.as_deref() == Some("maglev")) * (2 << 24);
        first |= u32::from(s.scheduler.as_deref() == Some("random")) << 24;
        if let Some(seconds) = s.session_affinity.map(Affinity::seconds_or_default) {
            flags |= AFFINITY;
            first |= seconds & 0x00ff_ffff;
        }
        if let Some(ranges) = &f.source_ranges {
            flags |= SOURCE_RANGE;
            for net in ranges {
                let mut key = (32 + u32::from(net.prefix)).to_ne_bytes().to_vec();
                key.extend(number.to_be_bytes());
                key.extend([0, 0]);
                key.extend(octets(net.addr));
                self.ranges.push((key, vec![0]));
            }
        }
        let place = (address, f.port, protocol);
        let scopes: &[(u8, TrafficPolicy)] = match (both, local) {
            (true, _) => &[(EXTERNAL, TrafficPolicy::Local), (INTERNAL, TrafficPolicy::Cluster)],
            (false, true) => &[(EXTERNAL, TrafficPolicy::Local)],
            (false, false) => &[(EXTERNAL, TrafficPolicy::Cluster)],
        };
        for (scope, policy) in scopes {
            // A frontend that refuses under its own policy has no slots there.
            let refuses = f.action != Action::Balance && (f.traffic_policy == Some(*policy) || !both);
            let has = |b: &&crate::proxy::Backend| b.traffic_policies.contains(*policy) && !refuses;
            let mine: Vec<(IpAddr, u16)> =
                s.backends.iter().filter(has).map(|b| (b.address, b.port)).collect();
            let mut head = [0; 12];
            head[..4].copy_from_slice(&first.to_ne_bytes());
            head[4..6].copy_from_slice(&(mine.len() as u16).to_ne_bytes());
            head[6..8].copy_from_slice(&number.to_be_bytes());
            (head[8], head[9]) = (flags, flags2);
            self.entry(place, 0, *scope, head);
            for (slot, (a, p)) in (1..).zip(mine) {
                let mut value = [0; 12];
                value[..4].copy_from_slice(&self.number(a, p, protocol).to_ne_bytes());
                value[6..8].copy_from_slice(&number.to_be_bytes());
                (value[8], value[9]) = (flags, flags2 & !RANGES_DENY);
                self.entry(place, slot, *scope, value);
            }
        }
        let mut reverse = octets(address);
        reverse.extend(f.port.to_be_bytes());
        self.reverse.push((number.to_be_bytes().to_vec(), reverse));
    }
}

fn write_family(services: &[Service], family: IpFamily) -> Vec<BpfMap> {
    let everywhere: IpAddr = match family {
        IpFamily::V4 => Ipv4Addr::UNSPECIFIED.into(),
        IpFamily::V6 => Ipv6Addr::UNSPECIFIED.into(),
    };
    let mut w = Written::default();
    for s in services.iter().filter(|s| s.family == family && !s.stale) {
        for f in s.frontends.iter().filter(|f| !f.kind.is_some_and(FrontendKind::is_mark)) {
            w.frontend(s, f, everywhere);
        }
    }
    let made = [
        (MapKind::CiliumServices, w.services, HASH),
        (MapKind::CiliumBackends, w.backends, HASH),
        (MapKind::CiliumReverseNat, w.reverse, HASH),
        (MapKind::CiliumSourceRanges, w.ranges, LPM_TRIE),
    ];
    written(family, MAX_ENTRIES, made)
}
