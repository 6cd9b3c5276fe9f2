//! Network namespaces: finding one by name, path or process, and entering it.

#[cfg(feature = "write")]
mod write;

#[cfg(feature = "write")]
pub use write::enter_user_namespace;

use super::{Error, Result};
use nix::fcntl::OFlag;
use nix::sched::{CloneFlags, setns};
use nix::sys::stat::Mode;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Where `ip netns` keeps its names.
const RUN_NETNS: &str = "/run/netns";

/// A network namespace that was asked for.
#[derive(Debug)]
pub struct Netns {
    /// Its name under `/run/netns`, or what the user gave.
    pub name: Option<String>,
    /// Its inode, which distinguishes namespaces.
    pub inode: u64,
    fd: OwnedFd,
}

impl Netns {
    /// Finds a namespace: a name under `/run/netns`, a path, or the number of a process.
    pub fn find(spec: &str) -> Result<Netns> {
        let what = format!("opening the network namespace `{spec}`");
        let named = Path::new(RUN_NETNS).join(spec);
        let path: PathBuf = if spec.is_empty() {
            return Err(Error::missing(what, "no name was given", Some("give a name, a path or a process")));
        } else if spec.contains('/') {
            spec.into()
        } else if named.exists() {
            named
        } else if spec.bytes().all(|b| b.is_ascii_digit()) && !spec.is_empty() {
            let path: PathBuf = format!("/proc/{spec}/ns/net").into();
            if !Path::new(&format!("/proc/{spec}")).exists() {
                return Err(Error::missing(
                    what,
                    format!("there is no process {spec}"),
                    Some("give a name that `ip netns` lists, a path, or a running process"),
                ));
            }
            path
        } else {
            let known = known_names();
            let hint = if known.is_empty() {
                "there are no named namespaces here; give a path like /proc/PID/ns/net, or a process".into()
            } else {
                format!("known names: {}", known.join(", "))
            };
            return Err(Error::missing(
                what,
                format!("there is no {RUN_NETNS}/{spec}, and it is no path and no process"),
                Some(&hint),
            ));
        };
        let mut ns = Netns::open(&path).map_err(|mut e| {
            e.what = what;
            e
        })?;
        ns.name = Some(spec.to_string());
        Ok(ns)
    }

    /// The namespace of the calling thread.
    pub fn current() -> Result<Netns> {
        Netns::open(Path::new("/proc/thread-self/ns/net"))
    }

    fn open(path: &Path) -> Result<Netns> {
        let what = || format!("opening {}", path.display());
        let fd = nix::fcntl::open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
            .map_err(|e| Error::io(what(), e.into()))?;
        let inode = fs::metadata(path).map_err(|e| Error::io(what(), e))?.ino();
        Ok(Netns { name: None, inode, fd })
    }

    /// Moves the calling thread into this namespace. Sockets opened before stay where they were.
    pub fn enter(&self) -> Result<()> {
        setns(self.fd.as_fd(), CloneFlags::CLONE_NEWNET).map_err(|e| {
            let what = format!("entering the network namespace {}", self.label());
            if e == nix::errno::Errno::EINVAL {
                let hint = "give a name that `ip netns` lists, /proc/PID/ns/net, or a process";
                return Error::missing(what, "this is not a network namespace", Some(hint));
            }
            let mut err = Error::io(what, e.into());
            if let super::ErrorKind::Permission { needs } = &mut err.kind {
                *needs = "CAP_SYS_ADMIN";
            }
            err
        })
    }

    /// Its descriptor, for attaching interfaces to it.
    pub fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// A name for people.
    pub fn label(&self) -> String {
        self.name.clone().unwrap_or_else(|| format!("net:[{}]", self.inode))
    }
}

fn known_names() -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(RUN_NETNS)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|e| e.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}
