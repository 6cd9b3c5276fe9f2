//! Maps of eBPF that a program pinned in a bpffs: what is in them, by `bpf(2)` on the pinned file alone.
//!
//! The file is opened for reading (`BPF_F_RDONLY`). That takes the file's permission; kernels before 5.19 also ask for `CAP_BPF`
//! where `kernel.unprivileged_bpf_disabled` is not 0. Sizes of keys and values come from the kernel: whoever takes entries apart checks
//! them first.

use crate::ebpf::call::{Attr, info, own, read};
use crate::{Error, Result};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};
use serde::{Deserialize, Serialize};
use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

#[cfg(any(test, feature = "write"))]
pub mod make;

/// `BPF_MAP_LOOKUP_ELEM`, `BPF_MAP_GET_NEXT_KEY`, `BPF_OBJ_GET`, `BPF_MAP_LOOKUP_BATCH` (`enum bpf_cmd`)
const LOOKUP: u32 = 1;
const NEXT_KEY: u32 = 4;
const OBJ_GET: u32 = 7;
const LOOKUP_BATCH: u32 = 24;
/// `BPF_F_RDONLY` (`linux/bpf.h`)
const RDONLY: u32 = 1 << 3;
/// `BPF_MAP_TYPE_HASH`, `BPF_MAP_TYPE_LRU_HASH`, `BPF_MAP_TYPE_LPM_TRIE`: values of others are of another size for the system call, or
/// are no bytes.
pub const HASH: u32 = 1;
/// See [`HASH`].
pub const LRU_HASH: u32 = 9;
/// See [`HASH`].
pub const LPM_TRIE: u32 = 11;
/// Longer keys and values are none of those that are read here.
const LONGEST: u32 = 4096;
/// Entries of one map that are read at most.
const MOST: usize = 1 << 20;
/// Entries that are asked for at once.
const BATCH: usize = 1024;
/// `struct bpf_map_info` up to its flags.
const INFO: usize = 24;

/// True where this is in a bpffs: maps can be pinned nowhere else.
///
/// # Errors
/// There is no such file, or it is not to be seen.
pub fn is_bpffs(path: &Path) -> std::io::Result<bool> {
    Ok(statfs(path)?.filesystem_type() == BPF_FS_MAGIC)
}

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

/// Reads the map that is pinned here.
///
/// # Errors
/// There is no such file, it may not be read, or it is no map. That entries could not be read is said in the map.
#[allow(unsafe_code)]
pub fn read_pinned(path: &Path) -> Result<BpfMap> {
    const WHAT: &str = "opening a pinned eBPF map";
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let c_path = CString::new(path.as_os_str().as_bytes())
        .map_err(|_| Error::protocol(WHAT, "a path with a NUL in it"))?;
    let mut attr = Attr::new().pointer(0, c_path.as_ptr()).u32(12, RDONLY);
    // SAFETY: the one pointer leads to a text with its NUL, which lives over the call.
    let fd = own(unsafe { read(WHAT, OBJ_GET, &mut attr) }?);
    // Programs and links are pinned as maps are.
    let is_map = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()));
    if !is_map.is_ok_and(|l| l.as_os_str().as_bytes() == b"anon_inode:bpf-map") {
        return Err(Error::protocol(WHAT, format!("{} is no map", path.display())));
    }
    let info = info::<INFO>("asking for an eBPF map's sizes", &fd)?;
    let word = |at: usize| info[at..].first_chunk().map_or(0, |b| u32::from_ne_bytes(*b));
    let mut map = BpfMap {
        name,
        kind: word(0),
        key_size: word(8),
        value_size: word(12),
        max_entries: word(16),
        ..BpfMap::default()
    };
    if ![HASH, LRU_HASH, LPM_TRIE].contains(&map.kind) {
        map.unread = Some(format!("its type ({}) is not known here", map.kind));
        return Ok(map);
    }
    if !(1..=LONGEST).contains(&map.key_size) || !(1..=LONGEST).contains(&map.value_size) {
        map.unread = Some(format!("keys of {} and values of {} bytes", map.key_size, map.value_size));
        return Ok(map);
    }
    match read_entries(&fd, &mut map) {
        Ok(true) => {}
        Ok(false) => map.unread = Some(format!("it has more than {MOST} entries")),
        Err(e) => map.unread = Some(e.kind.to_string()),
    }
    Ok(map)
}

/// All entries, those of many at once where the kernel can (5.6; tries later). False where there are too many.
fn read_entries(fd: &OwnedFd, map: &mut BpfMap) -> Result<bool> {
    let mut all = Vec::new();
    let whole = match read_batches(fd, map, &mut all) {
        Ok(whole) => whole,
        Err(_) => {
            all.clear();
            read_one_by_one(fd, map, &mut all)?
        }
    };
    map.set_entries(all);
    Ok(whole)
}

type Entries = Vec<(Vec<u8>, Vec<u8>)>;

/// `ENOENT` after the last entry, `ENOSPC` where a bucket does not fit.
#[allow(unsafe_code)]
fn read_batches(fd: &OwnedFd, map: &BpfMap, all: &mut Entries) -> Result<bool> {
    const WHAT: &str = "reading an eBPF map";
    let (key, value) = (map.key_size as usize, map.value_size as usize);
    let mut keys = vec![0u8; key * BATCH];
    let mut values = vec![0u8; value * BATCH];
    // Of hash maps a number, of tries a key.
    let mut place = vec![0u8; key.max(8)];
    let mut next = vec![0u8; key.max(8)];
    let mut first = true;
    // The kernel may begin again where the map grows meanwhile.
    for _ in 0..=MOST.div_ceil(BATCH) * 2 {
        let mut attr = Attr::new()
            .pointer(8, next.as_mut_ptr())
            .pointer(16, keys.as_mut_ptr())
            .pointer(24, values.as_mut_ptr())
            .u32(32, BATCH as u32)
            .u32(36, fd.as_raw_fd() as u32);
        if !first {
            attr = attr.pointer(0, place.as_ptr());
        }
        // SAFETY: keys and values have room for as many entries as the attribute says, the places for a key each, and all of them
        // live over the call.
        let done = match unsafe { read(WHAT, LOOKUP_BATCH, &mut attr) } {
            Ok(_) => false,
            Err(e) if e.errno() == Some(libc::ENOENT) => true,
            Err(e) => return Err(e),
        };
        let n = (attr.get(32) as usize).min(BATCH);
        let entries = keys.chunks_exact(key).zip(values.chunks_exact(value)).take(n);
        all.extend(entries.map(|(k, v)| (k.to_vec(), v.to_vec())));
        if done || n == 0 {
            return Ok(true);
        }
        if all.len() >= MOST {
            return Ok(false);
        }
        std::mem::swap(&mut place, &mut next);
        first = false;
    }
    Ok(false)
}

/// Key after key. Where one is deleted meanwhile, the kernel begins with the first again: that is bounded, and entries that come twice
/// are one.
#[allow(unsafe_code)]
fn read_one_by_one(fd: &OwnedFd, map: &BpfMap, all: &mut Entries) -> Result<bool> {
    const WHAT: &str = "reading an eBPF map";
    let mut key: Option<Vec<u8>> = None;
    let bound = (map.max_entries as usize).min(MOST).saturating_mul(2);
    for _ in 0..=bound {
        let mut next = vec![0u8; map.key_size as usize];
        let mut attr = Attr::new().u32(0, fd.as_raw_fd() as u32).pointer(16, next.as_mut_ptr());
        if let Some(key) = &key {
            attr = attr.pointer(8, key.as_ptr());
        }
        // SAFETY: both pointers lead to as many bytes as the map's keys have, which live over the call.
        match unsafe { read(WHAT, NEXT_KEY, &mut attr) } {
            Ok(_) => {}
            Err(e) if e.errno() == Some(libc::ENOENT) => return Ok(true),
            Err(e) => return Err(e),
        }
        let mut value = vec![0u8; map.value_size as usize];
        let mut attr = Attr::new()
            .u32(0, fd.as_raw_fd() as u32)
            .pointer(8, next.as_ptr())
            .pointer(16, value.as_mut_ptr());
        // SAFETY: a key and a value of the map's sizes, which live over the call.
        match unsafe { read(WHAT, LOOKUP, &mut attr) } {
            Ok(_) => all.push((next.clone(), value)),
            // It is gone already.
            Err(e) if e.errno() == Some(libc::ENOENT) => {}
            Err(e) => return Err(e),
        }
        key = Some(next);
    }
    Ok(false)
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
        assert_eq!(missing.errno(), Some(libc::ENOENT), "{missing}");
    }
}
