//! eBPF maps in which other proxies hold Services: where they are pinned, and what their keys and values look like.
//!
//! The sizes that the kernel reports decide which layout a map has. One that no layout fits is named, and nothing of it is guessed.

use super::{SourceId, Unread, UnreadKind};
use crate::kernel::maps::{self, BpfMap};
use crate::ruleset::IpFamily;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::Path;

/// What a map holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapKind {
    /// Cilium: frontends (slot 0) and which backends they have.
    CiliumServices,
    /// Cilium: backends by number.
    CiliumBackends,
    /// Cilium: the address of each frontend by its number, for answers.
    CiliumReverseNat,
    /// Cilium: networks that may use a frontend.
    CiliumSourceRanges,
    /// Calico: frontends.
    CalicoFrontends,
    /// Calico: backends by number of the Service and place.
    CalicoBackends,
}

/// How keys and values of a map are made up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapLayout {
    /// The name of the pinned file.
    pub name: &'static str,
    /// What it holds.
    pub kind: MapKind,
    /// Family of its addresses.
    pub family: IpFamily,
    /// Bytes of a key.
    pub key: u32,
    /// Bytes of a value.
    pub value: u32,
    /// Where in a key an address begins.
    pub key_address: Option<usize>,
    /// Where in a value an address begins.
    pub value_address: Option<usize>,
}

const fn layout(
    name: &'static str,
    kind: MapKind,
    family: IpFamily,
    (key, value): (u32, u32),
    key_address: Option<usize>,
    value_address: Option<usize>,
) -> MapLayout {
    MapLayout { name, kind, family, key, value, key_address, value_address }
}

use IpFamily::{V4, V6};
use MapKind::{
    CalicoBackends, CalicoFrontends, CiliumBackends, CiliumReverseNat, CiliumServices, CiliumSourceRanges,
};

/// Those that are known. Cilium: `bpf/lib/common.h` (`struct lb4_key`, `lb4_service`, `lb4_backend`, `lb4_reverse_nat`,
/// `lb4_src_range_key` and those of `lb6`): services_v2 since 1.5, backends_v2 since 1.11, backends_v3 since 1.14. Calico:
/// `felix/bpf/nat/maps.go`, `maps6.go`.
pub const LAYOUTS: &[MapLayout] = &[
    layout("cilium_lb4_services_v2", CiliumServices, V4, (12, 12), Some(0), None),
    layout("cilium_lb6_services_v2", CiliumServices, V6, (24, 12), Some(0), None),
    layout("cilium_lb4_backends_v3", CiliumBackends, V4, (4, 12), None, Some(0)),
    layout("cilium_lb6_backends_v3", CiliumBackends, V6, (4, 24), None, Some(0)),
    layout("cilium_lb4_backends_v2", CiliumBackends, V4, (4, 8), None, Some(0)),
    layout("cilium_lb6_backends_v2", CiliumBackends, V6, (4, 20), None, Some(0)),
    layout("cilium_lb4_reverse_nat", CiliumReverseNat, V4, (2, 6), None, Some(0)),
    layout("cilium_lb6_reverse_nat", CiliumReverseNat, V6, (2, 18), None, Some(0)),
    layout("cilium_lb4_source_range", CiliumSourceRanges, V4, (12, 1), Some(8), None),
    layout("cilium_lb6_source_range", CiliumSourceRanges, V6, (24, 1), Some(8), None),
    layout("cali_v4_nat_fe3", CalicoFrontends, V4, (16, 20), Some(4), None),
    layout("cali_v6_nat_fe3", CalicoFrontends, V6, (40, 20), Some(4), None),
    layout("cali_v4_nat_be", CalicoBackends, V4, (8, 8), None, Some(0)),
    layout("cali_v6_nat_be", CalicoBackends, V6, (8, 20), None, Some(0)),
];

/// How the names of such maps begin, whatever their version.
const STEMS: [&str; 12] = [
    "cilium_lb4_services",
    "cilium_lb6_services",
    "cilium_lb4_backends",
    "cilium_lb6_backends",
    "cilium_lb4_reverse_nat",
    "cilium_lb6_reverse_nat",
    "cilium_lb4_source_range",
    "cilium_lb6_source_range",
    "cali_v4_nat_fe",
    "cali_v6_nat_fe",
    "cali_v4_nat_be",
    "cali_v6_nat_be",
];

/// True for a map that may hold Services.
pub fn is_service_map(name: &str) -> bool {
    STEMS.iter().any(|s| name.starts_with(s))
}

/// The layout of a map; `None` where its name or its sizes are none that are known.
pub fn layout_of(map: &BpfMap) -> Option<&'static MapLayout> {
    LAYOUTS.iter().find(|l| (l.name, l.key, l.value) == (&*map.name, map.key_size, map.value_size))
}

/// An address of a family at a place; `None` where the bytes are too few.
pub fn address_at(bytes: &[u8], at: usize, family: IpFamily) -> Option<IpAddr> {
    let bytes = bytes.get(at..)?;
    Some(match family {
        V4 => IpAddr::from(*bytes.first_chunk::<4>()?),
        V6 => IpAddr::from(*bytes.first_chunk::<16>()?),
    })
}

fn put_address(bytes: &mut [u8], at: usize, address: IpAddr) {
    let octets = match address {
        IpAddr::V4(a) => a.octets().to_vec(),
        IpAddr::V6(a) => a.octets().to_vec(),
    };
    if let Some(place) = bytes.get_mut(at..at + octets.len()) {
        place.copy_from_slice(&octets);
    }
}

/// The map with other addresses; without entries where it is not known where they are.
pub fn with_addresses(map: &BpfMap, replace: impl Fn(IpAddr) -> IpAddr) -> BpfMap {
    let mut other = BpfMap { keys: Vec::new(), values: Vec::new(), ..map.clone() };
    let Some(layout) = layout_of(map) else { return other };
    let replaced = |bytes: &[u8], at: Option<usize>| {
        let mut bytes = bytes.to_vec();
        if let Some((at, a)) = at.and_then(|at| Some((at, address_at(&bytes, at, layout.family)?))) {
            put_address(&mut bytes, at, replace(a));
        }
        bytes
    };
    let entry = |(k, v)| {
        let mut key = replaced(k, layout.key_address);
        // A key of Calico's has the network of the source, too.
        if layout.kind == CalicoFrontends {
            key = replaced(&key, Some(if layout.family == V4 { 11 } else { 23 }));
        }
        (key, replaced(v, layout.value_address))
    };
    other.set_entries(map.entries().map(entry));
    other
}

/// Reads the maps that are pinned below a bpffs, or says that there is no bpffs.
pub(super) fn read(bpffs: &Path) -> (Option<Vec<BpfMap>>, Vec<Unread>) {
    let (mut found, mut unread) = (Vec::new(), Vec::new());
    let trouble = |what: String, kind: UnreadKind, why: String, hint: Option<String>| Unread {
        source: SourceId::ServiceMaps,
        what,
        kind,
        why,
        hint,
    };
    let missing = match maps::is_bpffs(bpffs) {
        Ok(is_one) => !is_one,
        // Of one that may not be looked at, the folders below say so.
        Err(e) => e.kind() == ErrorKind::NotFound,
    };
    if missing {
        let why = format!("no bpffs is mounted at {}", bpffs.display());
        let hint = "where Cilium or Calico serve Services: in a container, mount the node's /sys/fs/bpf; or name it with --bpffs";
        let what = "eBPF maps of other proxies".to_string();
        return (None, vec![trouble(what, UnreadKind::Missing, why, Some(hint.to_string()))]);
    }
    // `/sys/fs/bpf/tc/globals` is where Cilium and Calico (`felix/bpf/bpfdefs/defs.go`) pin theirs.
    for dir in [bpffs.join("tc/globals"), bpffs.to_path_buf()] {
        let names = match std::fs::read_dir(&dir) {
            Ok(entries) => entries.flatten().map(|e| e.path()),
            Err(e) if e.kind() == ErrorKind::PermissionDenied => {
                let hint = Some("run as root or with sudo".to_string());
                let what = format!("pinned eBPF maps in {}", dir.display());
                unread.push(trouble(what, UnreadKind::NotPermitted, "no permission".into(), hint));
                break;
            }
            Err(_) => continue,
        };
        let mut paths: Vec<_> =
            names.filter(|p| p.file_name().and_then(|n| n.to_str()).is_some_and(is_service_map)).collect();
        paths.sort();
        for path in paths {
            match maps::read_pinned(&path) {
                Ok(map) => {
                    let what = || format!("the eBPF map {}", map.name);
                    if let Some(why) = &map.unread {
                        unread.push(trouble(what(), UnreadKind::Failed, why.clone(), None));
                    } else if layout_of(&map).is_none() {
                        let sizes = (map.key_size, map.value_size);
                        let why = format!(
                            "keys of {} and values of {} bytes are no layout that this kptop knows",
                            sizes.0, sizes.1
                        );
                        unread.push(trouble(what(), UnreadKind::Failed, why, None));
                    }
                    found.push(map);
                }
                Err(e) => {
                    let what = format!("the eBPF map {}", path.display());
                    unread.push(Unread::of_error(SourceId::ServiceMaps, what, &e.needs("CAP_BPF")));
                }
            }
        }
    }
    (Some(found), unread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layout_is_found_by_its_sizes_and_no_other() {
        for l in LAYOUTS {
            let map =
                BpfMap { name: l.name.into(), key_size: l.key, value_size: l.value, ..BpfMap::default() };
            assert_eq!(layout_of(&map), Some(l));
            assert!(is_service_map(l.name));
            assert_eq!(layout_of(&BpfMap { value_size: l.value + 4, ..map }), None);
        }
        assert!(!is_service_map("cilium_lb4_affinity") && is_service_map("cilium_lb4_services_v3"));
    }

    #[test]
    fn addresses_are_replaced_where_they_are() {
        let mut map =
            BpfMap { name: "cilium_lb4_backends_v2".into(), key_size: 4, value_size: 8, ..BpfMap::default() };
        map.set_entries([(vec![1, 0, 0, 0], vec![10, 0, 0, 1, 31, 144, 6, 0])]);
        let other = with_addresses(&map, |_| [192, 0, 2, 1].into());
        assert_eq!(other.values, [192, 0, 2, 1, 31, 144, 6, 0]);
        // Of a layout that is not known nobody can say where addresses are.
        map.value_size = 4;
        assert!(with_addresses(&map, |a| a).is_empty());
    }
}
