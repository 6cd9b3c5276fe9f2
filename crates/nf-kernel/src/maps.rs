//! Maps of eBPF that a program pinned in a bpffs: what is in them, by `bpf(2)` on the pinned file alone.
//!
//! The file is opened for reading (`BPF_F_RDONLY`). That takes the file's permission; kernels before 5.19 also ask for `CAP_BPF`
//! where `kernel.unprivileged_bpf_disabled` is not 0. Sizes of keys and values come from the kernel: whoever takes entries apart checks
//! them first.

#[cfg_attr(not(all(feature = "live", target_os = "linux")), path = "elsewhere/pinned.rs")]
mod pinned;

pub use pinned::{is_bpffs, read_pinned};
use serde::{Deserialize, Serialize};

#[cfg(any(test, feature = "write"))]
pub mod make;

/// `BPF_MAP_TYPE_HASH`, `BPF_MAP_TYPE_LRU_HASH`, `BPF_MAP_TYPE_LPM_TRIE`: values of others are of another size for the system call, or
/// are no bytes.
pub const HASH: u32 = 1;
/// See [`HASH`].
pub const LRU_HASH: u32 = 9;
/// See [`HASH`].
pub const LPM_TRIE: u32 = 11;

/// A map, with its entries as bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BpfMap {
    /// The name of the pinned file; the kernel cuts the map's own at 15 characters.
    pub name: String,
    /// `enum bpf_map_type`.
    pub kind: u32,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value.
    pub value_size: u32,
    /// Entries that it holds at most.
    pub max_entries: u32,
    /// The keys one after the other, in order.
    pub keys: Vec<u8>,
    /// Their values.
    pub values: Vec<u8>,
    /// Why its entries, or some of them, were not read.
    pub unread: Option<String>,
}

impl BpfMap {
    /// How many entries were read.
    pub fn len(&self) -> usize {
        self.keys.len().checked_div(self.key_size as usize).unwrap_or(0)
    }

    /// True where no entry was read.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Each entry: key and value.
    pub fn entries(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let keys = self.keys.chunks_exact(self.key_size.max(1) as usize);
        keys.zip(self.values.chunks_exact(self.value_size.max(1) as usize))
    }

    /// With these entries, in the order of their keys; of entries with one key the last.
    pub fn set_entries(&mut self, entries: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>) {
        let ordered: std::collections::BTreeMap<Vec<u8>, Vec<u8>> = entries.into_iter().collect();
        (self.keys, self.values) = (Vec::new(), Vec::new());
        for (key, value) in ordered {
            self.keys.extend(key);
            self.values.extend(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_in_the_order_of_their_keys() {
        let mut map = BpfMap { key_size: 1, value_size: 2, ..BpfMap::default() };
        map.set_entries([(vec![2], vec![2, 2]), (vec![1], vec![9, 9]), (vec![1], vec![1, 1])]);
        assert_eq!(map.entries().collect::<Vec<_>>(), [(&[1][..], &[1, 1][..]), (&[2], &[2, 2])]);
        assert_eq!(map.len(), 2);
        assert!(BpfMap::default().is_empty());
    }
}

/// Needs root.
#[cfg(test)]
mod kernel {
    use super::*;

    /// Each type that is read is made, read back, and is the same.
    #[test]
    fn what_is_pinned_is_read_back() {
        let bpffs = make::Bpffs::new().unwrap();
        let entry = |n: u32| {
            let mut key = 32u32.to_ne_bytes().to_vec();
            key.extend(n.to_be_bytes());
            (key, vec![n as u8; 12])
        };
        for (kind, count) in [(HASH, 3_000), (LRU_HASH, 10), (LPM_TRIE, 1_500), (HASH, 0)] {
            let name = format!("map_{kind}_{count}");
            let mut map =
                BpfMap { name, kind, key_size: 8, value_size: 12, max_entries: 8_192, ..BpfMap::default() };
            map.set_entries((0..count).map(entry));
            bpffs.pin(&map).unwrap();
            assert_eq!(read_pinned(&bpffs.path().join(&map.name)).unwrap(), map);
        }
        let missing = read_pinned(&bpffs.path().join("none")).unwrap_err();
        assert_eq!(missing.errno(), Some(crate::linux::ENOENT), "{missing}");
    }
}
