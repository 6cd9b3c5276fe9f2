//! Fewer privileges than it was started with: capabilities that are not needed go, and none come back.

use super::{Error, Result};
use caps::{CapSet, Capability, CapsHashSet};
use seccompiler::{SeccompAction, SeccompFilter};

/// What reading needs: `CAP_NET_ADMIN` for rules, IPVS, flows and the drop monitor; `CAP_DAC_READ_SEARCH` for the list of
/// x_tables' tables where kptop is not root (`/proc/net/ip_tables_names` is root's, 0440), and for a kubeconfig that is
/// another's.
const READING: [Capability; 2] = [Capability::CAP_NET_ADMIN, Capability::CAP_DAC_READ_SEARCH];

/// What opening a pinned eBPF map needs beside, before Linux 5.19 and where `kernel.unprivileged_bpf_disabled` is not 0 (`__sys_bpf`,
/// `kernel/bpf/syscall.c`); since then the file's own permission is enough.
const MAPS: [Capability; 1] = [Capability::CAP_BPF];

/// True on a kernel that asks for [`MAPS`].
fn asks_for_maps(release: &str) -> bool {
    let mut numbers = release.split(['.', '-']).map_while(|n| n.parse::<u32>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) => (major, minor) < (5, 19),
        _ => false,
    }
}

/// What reading needs on this kernel.
fn reading() -> CapsHashSet {
    let release = nix::sys::utsname::uname().map(|u| u.release().to_string_lossy().into_owned());
    let asks = release.is_ok_and(|r| asks_for_maps(&r));
    let maps = MAPS.into_iter().filter(|_| asks);
    READING.into_iter().chain(maps).collect()
}

/// What entering another namespace needs beside: `setns`, and to look at another process' namespaces.
const ENTERING: [Capability; 2] = [Capability::CAP_SYS_ADMIN, Capability::CAP_SYS_PTRACE];

/// What switching the drop monitor on needs beside: since Linux 6.7, and in the stable kernels since December 2023, only
/// `CAP_SYS_ADMIN` joins its group of events (`GENL_MCAST_CAP_SYS_ADMIN`, `net/core/drop_monitor.c`).
const MONITORING: [Capability; 1] = [Capability::CAP_SYS_ADMIN];

/// Keeps what is needed to read, to enter a namespace where one is named and to switch the drop monitor on where that may be asked for, and takes care that no program that is run
/// gains any. To be called before the first thread is started: threads begin with what their maker has.
///
/// # Errors
/// The kernel refused; everything is as before then.
pub fn keep_reading(entering: bool, monitoring: bool) -> Result<()> {
    nix::sys::prctl::set_no_new_privs().map_err(|e| Error::io("setting no_new_privs", e.into()))?;
    let mut keep = reading();
    if entering {
        keep.extend(ENTERING);
    }
    if monitoring {
        keep.extend(MONITORING);
    }
    shrink(&keep)
}

/// Of the calling thread: keeps what is needed to read. For the time after a namespace was entered, or the drop monitor switched on.
pub fn keep_reading_only() -> Result<()> {
    shrink(&reading())
}

/// Of the calling thread: keeps nothing but the right to read files, for threads that talk to the network.
pub fn keep_files_only() -> Result<()> {
    shrink(&[Capability::CAP_DAC_READ_SEARCH].into_iter().collect())
}

/// Of the calling thread and those that it starts from now on: the kernel refuses to run another program (EPERM), whoever
/// asks for it. Libraries do: crossterm runs `tput`, found through PATH, where it cannot ask a terminal for its size.
///
/// # Errors
/// The kernel refused (it may be built without seccomp): programs can be run as before, and kptop has none to run.
pub fn run_no_program() -> Result<()> {
    const WHAT: &str = "forbidding that other programs are run";
    let refused = |e: seccompiler::BackendError| Error::protocol(WHAT, e.to_string());
    nix::sys::prctl::set_no_new_privs().map_err(|e| Error::io(WHAT, e.into()))?;
    let calls = [libc::SYS_execve, libc::SYS_execveat].into_iter().map(|call| (call, Vec::new()));
    let filter = SeccompFilter::new(
        calls.collect(),
        SeccompAction::Allow,
        SeccompAction::Errno(libc::EPERM as u32),
        std::env::consts::ARCH.try_into().map_err(refused)?,
    );
    let program: seccompiler::BpfProgram = filter.and_then(TryInto::try_into).map_err(refused)?;
    seccompiler::apply_filter(&program).map_err(|e| Error::protocol(WHAT, e.to_string()))
}

fn shrink(keep: &CapsHashSet) -> Result<()> {
    let failed = |e: caps::errors::CapsError| {
        Error::protocol("giving up capabilities that are not needed", e.to_string())
    };
    // What new programs may gain: without CAP_SETPCAP it cannot be made smaller, and no_new_privs does it all the same.
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP).unwrap_or(false) {
        for cap in caps::read(None, CapSet::Bounding).map_err(failed)? {
            if !keep.contains(&cap) {
                caps::drop(None, CapSet::Bounding, cap).map_err(failed)?;
            }
        }
    }
    for set in [CapSet::Ambient, CapSet::Inheritable, CapSet::Effective, CapSet::Permitted] {
        // An older kernel may have no ambient set.
        let Ok(now) = caps::read(None, set) else { continue };
        let left: CapsHashSet = now.intersection(keep).copied().collect();
        if left != now {
            caps::set(None, set, &left).map_err(failed)?;
        }
    }
    Ok(())
}

/// The capabilities that the calling thread has active, by name.
pub fn active() -> Vec<String> {
    let mut all: Vec<String> =
        caps::read(None, CapSet::Effective).into_iter().flatten().map(|c| c.to_string()).collect();
    all.sort_unstable();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_program_is_run() {
        std::thread::spawn(|| {
            std::process::Command::new("true").status().unwrap();
            run_no_program().unwrap();
            let refused = std::process::Command::new("true").status().unwrap_err();
            assert_eq!(refused.raw_os_error(), Some(libc::EPERM));
            let inherited = std::thread::spawn(|| std::process::Command::new("true").status().is_err());
            assert!(inherited.join().unwrap());
        })
        .join()
        .unwrap();
    }

    #[test]
    fn older_kernels_ask_for_more() {
        for (release, asks) in [
            ("5.10.0-30-amd64", true),
            ("5.15.0-101-generic", true),
            ("5.19.0", false),
            ("6.1.0-18-amd64", false),
            ("4.18.0-513.el8.x86_64", true),
            ("", false),
        ] {
            assert_eq!(asks_for_maps(release), asks, "{release}");
        }
    }

    #[test]
    fn what_is_given_up_is_gone() {
        std::thread::spawn(|| {
            keep_reading_only().unwrap();
            let left = active();
            assert!(
                left.iter()
                    .all(|c| ["CAP_NET_ADMIN", "CAP_DAC_READ_SEARCH", "CAP_BPF"].contains(&c.as_str())),
                "{left:?}"
            );
            keep_files_only().unwrap();
            assert!(!active().contains(&"CAP_NET_ADMIN".to_string()));
            // It does not come back.
            keep_reading_only().unwrap();
            assert!(!active().contains(&"CAP_NET_ADMIN".to_string()));
        })
        .join()
        .unwrap();
    }
}
