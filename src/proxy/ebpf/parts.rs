//! Pieces that both proxies need: integers in bytes, and Services out of frontends and backends.

use crate::proxy::{Backend, CounterSource, TrafficPolicy};
use crate::ruleset::IpFamily;
use crate::snapshot::facts::BpfMap;
use crate::snapshot::{MapKind, MapLayout, layout_of};
use std::net::IpAddr;

/// An integer in network order.
pub(super) fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|b| u16::from_be_bytes(*b))
}

/// One in the order of the machine that wrote it, which is this machine's.
pub(super) fn ne16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|b| u16::from_ne_bytes(*b))
}

/// See [`ne16`].
pub(super) fn ne32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|b| u32::from_ne_bytes(*b))
}

pub(super) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(a) => a.octets().to_vec(),
        IpAddr::V6(a) => a.octets().to_vec(),
    }
}

/// Bytes of an address.
pub(super) fn width(family: IpFamily) -> usize {
    match family {
        IpFamily::V4 => 4,
        IpFamily::V6 => 16,
    }
}

/// The map of a kind, with its layout; of several versions the one that comes first in the list of layouts.
pub(super) fn map_of(
    maps: &[BpfMap],
    kind: MapKind,
    family: IpFamily,
) -> Option<(&BpfMap, &'static MapLayout)> {
    crate::snapshot::LAYOUTS
        .iter()
        .filter(|l| l.kind == kind && l.family == family)
        .find_map(|l| Some((maps.iter().find(|m| layout_of(m) == Some(l))?, l)))
}

/// Keys with their values.
pub(super) type Entries = Vec<(Vec<u8>, Vec<u8>)>;

/// Maps of a family as a proxy makes them: what is in each kind, and its `enum bpf_map_type`.
pub(super) fn written(
    family: IpFamily,
    max_entries: u32,
    made: impl IntoIterator<Item = (MapKind, Entries, u32)>,
) -> Vec<BpfMap> {
    let map = |(of, entries, kind): (MapKind, Entries, u32)| {
        let layout = crate::snapshot::LAYOUTS.iter().find(|l| l.kind == of && l.family == family)?;
        let mut map = BpfMap {
            name: layout.name.into(),
            kind,
            key_size: layout.key,
            value_size: layout.value,
            max_entries,
            ..BpfMap::default()
        };
        map.set_entries(entries);
        debug_assert!(layout_of(&map).is_some());
        Some(map)
    };
    made.into_iter().filter_map(map).collect()
}

/// Adds a backend under a policy, of which `count` take equal parts.
pub(super) fn add(
    backends: &mut Vec<Backend>,
    (address, port): (IpAddr, u16),
    policy: TrafficPolicy,
    count: usize,
) {
    let at = match backends.iter().position(|b| (b.address, b.port) == (address, port)) {
        Some(at) => at,
        None => {
            backends.push(Backend::new(address, port, CounterSource::Nothing));
            backends.len() - 1
        }
    };
    let b = &mut backends[at];
    let share = Some(1.0 / count.max(1) as f64);
    match policy {
        TrafficPolicy::Cluster => b.share = share,
        TrafficPolicy::Local => {
            b.local_share = share;
            b.local = Some(true);
        }
    }
    b.traffic_policies.add(policy);
}
