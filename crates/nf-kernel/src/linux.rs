//! Numbers of Linux, which what is read holds on whatever system this is built for.

/// `AF_INET`, `AF_INET6` (`linux/socket.h`): other systems number them differently.
pub(crate) const AF_INET: i32 = 2;
pub(crate) const AF_INET6: i32 = 10;
/// `SOL_IP`, `SOL_IPV6` (`linux/socket.h`)
pub(crate) const SOL_IP: i32 = 0;
pub(crate) const SOL_IPV6: i32 = 41;

// Errors are numbered by architecture; elsewhere no kernel answers with one.
#[cfg(not(target_os = "linux"))]
pub(crate) use generic::*;
#[cfg(target_os = "linux")]
pub(crate) use libc::{EACCES, EAGAIN, EBUSY, EINVAL, ENODEV, ENOENT, ENOSYS, EOPNOTSUPP, EPERM, ESRCH};

/// `asm-generic/errno-base.h`, `asm-generic/errno.h`
#[cfg(not(target_os = "linux"))]
mod generic {
    pub(crate) const EPERM: i32 = 1;
    pub(crate) const ENOENT: i32 = 2;
    pub(crate) const ESRCH: i32 = 3;
    pub(crate) const EAGAIN: i32 = 11;
    pub(crate) const EACCES: i32 = 13;
    pub(crate) const EBUSY: i32 = 16;
    pub(crate) const ENODEV: i32 = 19;
    pub(crate) const EINVAL: i32 = 22;
    pub(crate) const ENOSYS: i32 = 38;
    pub(crate) const EOPNOTSUPP: i32 = 95;
}
