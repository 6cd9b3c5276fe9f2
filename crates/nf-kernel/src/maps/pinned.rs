//! Reading what is pinned.

use super::{BpfMap, HASH, LPM_TRIE, LRU_HASH};
use crate::ebpf::call::{Attr, info, own, read};
use crate::{Error, Result};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};
use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// `BPF_MAP_LOOKUP_ELEM`, `BPF_MAP_GET_NEXT_KEY`, `BPF_OBJ_GET`, `BPF_MAP_LOOKUP_BATCH` (`enum bpf_cmd`)
const LOOKUP: u32 = 1;
const NEXT_KEY: u32 = 4;
const OBJ_GET: u32 = 7;
const LOOKUP_BATCH: u32 = 24;
/// `BPF_F_RDONLY` (`linux/bpf.h`)
const RDONLY: u32 = 1 << 3;
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
