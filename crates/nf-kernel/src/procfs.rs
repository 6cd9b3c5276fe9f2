//! procfs itself, and what is mounted.

use super::{Error, Result};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// True where procfs is mounted on /proc. A container may have something else there: what a file that is missing says is
/// nothing then.
pub fn procfs_is_there() -> bool {
    nix::sys::statfs::statfs("/proc/thread-self/net")
        .or_else(|_| nix::sys::statfs::statfs("/proc"))
        .is_ok_and(|s| s.filesystem_type() == nix::sys::statfs::PROC_SUPER_MAGIC)
}

/// Where cgroups of version 2 are mounted; `None` where they are not.
///
/// # Errors
/// What is mounted cannot be read.
pub(crate) fn cgroup_root() -> Result<Option<PathBuf>> {
    let mounts = procfs::process::Process::myself().and_then(|p| p.mountinfo());
    let mounts = mounts.map_err(|e| Error::protocol("looking for cgroups", e.to_string()))?;
    Ok(mounts.into_iter().find(|m| m.fs_type == "cgroup2").map(|m| m.mount_point))
}

/// The inode of the calling thread's network namespace.
pub(crate) fn netns_inode() -> Option<u64> {
    std::fs::metadata("/proc/thread-self/ns/net").ok().map(|m| m.ino())
}
