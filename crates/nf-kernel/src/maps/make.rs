//! Maps for tests and the lab, pinned in a bpffs of their own that nobody else sees.

use super::{BpfMap, LPM_TRIE};
use crate::ebpf::call::{Attr, bpf, own};
use crate::{Error, Result};
use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// `BPF_MAP_CREATE`, `BPF_MAP_UPDATE_ELEM`, `BPF_OBJ_PIN` (`enum bpf_cmd`)
const CREATE: u32 = 0;
const UPDATE: u32 = 2;
const PIN: u32 = 6;
/// `BPF_F_NO_PREALLOC`: a trie must have it.
const NO_PREALLOC: u32 = 1;
/// `FSCONFIG_CMD_CREATE` (`linux/mount.h`)
const CMD_CREATE: u32 = 6;

/// A bpffs that is mounted nowhere: it is gone with this value.
#[derive(Debug)]
pub struct Bpffs {
    root: OwnedFd,
}

#[allow(unsafe_code)]
fn fd_of(what: &str, answer: libc::c_long) -> Result<OwnedFd> {
    match answer {
        // SAFETY: the kernel just made it for this process, and nobody else has it.
        0.. => Ok(unsafe { OwnedFd::from_raw_fd(answer as i32) }),
        _ => Err(Error::io(what, std::io::Error::last_os_error())),
    }
}

impl Bpffs {
    /// Makes one.
    ///
    /// # Errors
    /// `CAP_SYS_ADMIN` is missing, or the kernel has no bpffs.
    #[allow(unsafe_code)]
    pub fn new() -> Result<Bpffs> {
        const WHAT: &str = "making a bpffs";
        const KIND: &CStr = c"bpf";
        // SAFETY: a text with its NUL, and no other pointer.
        let fs = fd_of(WHAT, unsafe { libc::syscall(libc::SYS_fsopen, KIND.as_ptr(), 0) })?;
        // SAFETY: this command takes no pointer.
        let made =
            unsafe { libc::syscall(libc::SYS_fsconfig, fs.as_raw_fd(), CMD_CREATE, 0usize, 0usize, 0) };
        if made != 0 {
            return Err(Error::io(WHAT, std::io::Error::last_os_error()));
        }
        // SAFETY: numbers alone.
        let root = fd_of(WHAT, unsafe { libc::syscall(libc::SYS_fsmount, fs.as_raw_fd(), 0, 0) })?;
        Ok(Bpffs { root })
    }

    /// Where it is reached, in this process.
    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.root.as_raw_fd()).into()
    }

    /// Makes a map with its entries, and pins it under its name.
    ///
    /// # Errors
    /// The kernel refused: a size that its type does not take, or a capability that is missing.
    pub fn pin(&self, map: &BpfMap) -> Result<()> {
        pin(&self.path(), map)
    }
}

/// Makes a map with its entries, and pins it under its name in a folder of a bpffs.
///
/// # Errors
/// As of [`Bpffs::pin`].
#[allow(unsafe_code)]
pub fn pin(folder: &Path, map: &BpfMap) -> Result<()> {
    let flags = if map.kind == LPM_TRIE { NO_PREALLOC } else { 0 };
    let mut attr = Attr::new()
        .u32(0, map.kind)
        .u32(4, map.key_size)
        .u32(8, map.value_size)
        .u32(12, map.max_entries)
        .u32(16, flags);
    // SAFETY: this command takes no pointer.
    let fd = own(unsafe { bpf("making an eBPF map", CREATE, &mut attr) }?);
    for (key, value) in map.entries() {
        let mut attr =
            Attr::new().u32(0, fd.as_raw_fd() as u32).pointer(8, key.as_ptr()).pointer(16, value.as_ptr());
        // SAFETY: a key and a value of the map's sizes, which live over the call.
        unsafe { bpf("filling an eBPF map", UPDATE, &mut attr) }?;
    }
    let path = folder.join(&map.name);
    let path = CString::new(std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()))
        .map_err(|_| Error::protocol("pinning an eBPF map", "a name with a NUL in it"))?;
    let mut attr = Attr::new().pointer(0, path.as_ptr()).u32(8, fd.as_raw_fd() as u32);
    // SAFETY: a text with its NUL, which lives over the call.
    unsafe { bpf("pinning an eBPF map", PIN, &mut attr) }.map(|_| ())
}
