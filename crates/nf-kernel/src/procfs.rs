//! procfs itself.

/// True where procfs is mounted on /proc. A container may have something else there: what a file that is missing says is
/// nothing then.
pub fn procfs_is_there() -> bool {
    nix::sys::statfs::statfs("/proc/thread-self/net")
        .or_else(|_| nix::sys::statfs::statfs("/proc"))
        .is_ok_and(|s| s.filesystem_type() == nix::sys::statfs::PROC_SUPER_MAGIC)
}
