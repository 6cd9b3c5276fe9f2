//! Network and user namespaces.

use super::Netns;
use crate::{Error, Result};
use nix::sched::{CloneFlags, unshare};
use std::fs;

impl Netns {
    /// Makes a new network namespace and moves the calling thread into it. It ends with its last thread,
    /// socket and descriptor. For tests and demos in namespaces of their own (feature `write`).
    pub fn create() -> Result<Netns> {
        unshare(CloneFlags::CLONE_NEWNET).map_err(|e| Error::io("making a network namespace", e.into()))?;
        let made = Netns::current()?;
        crate::reads::own(made.inode);
        Ok(made)
    }
}

/// Turns the calling process, which must have one thread only, into root of a new user namespace: the way in
/// which an ordinary user may make network namespaces. For tests and demos in namespaces of their own (feature `write`).
pub fn enter_user_namespace() -> Result<()> {
    let what = "making a user namespace";
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    unshare(CloneFlags::CLONE_NEWUSER).map_err(|e| Error::io(what, e.into()))?;
    let write = |file: &str, text: String| {
        fs::write(file, text).map_err(|e| Error::io(format!("{what}: writing {file}"), e))
    };
    write("/proc/self/setgroups", "deny".into())?;
    write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    write("/proc/self/gid_map", format!("0 {gid} 1"))
}
