//! eBPF programs at the hooks that packets and connections of Services pass before, or in place of, the rules: `connect` and
//! `sendmsg` of cgroups, tc, tcx and XDP.
//!
//! Programs of tc and XDP are read by rtnetlink, which needs no privilege. Those of cgroups and tcx are asked for by `bpf(2)`,
//! which needs `CAP_NET_ADMIN`; their names need `CAP_SYS_ADMIN`: see [`learn_names`].

#[cfg_attr(not(all(feature = "live", target_os = "linux")), path = "elsewhere/call.rs")]
pub(crate) mod call;
#[cfg(any(test, feature = "write"))]
pub mod make;

use super::netlink::{NETLINK_ROUTE, Request, Socket, attrs, host_uint, text};
use super::procfs::cgroup_root;
use super::{Result, linux};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};
use strum::IntoEnumIterator;

/// `RTM_GETLINK`, `RTM_GETQDISC`, `RTM_GETTFILTER` (`linux/rtnetlink.h`)
const RTM_GETLINK: u16 = 18;
const RTM_GETQDISC: u16 = 38;
const RTM_GETTFILTER: u16 = 46;
/// `IFLA_IFNAME`, `IFLA_XDP` (`linux/if_link.h`)
const IFLA_IFNAME: u16 = 3;
const IFLA_XDP: u16 = 43;
/// `IFLA_XDP_PROG_ID`, and those of a driver, of the stack and of hardware, where several are attached.
const XDP_IDS: [u16; 4] = [4, 5, 6, 7];
/// `TCA_KIND`, `TCA_OPTIONS`; of a filter `bpf` `TCA_BPF_NAME`, `TCA_BPF_ID` (`linux/pkt_cls.h`)
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_ID: u16 = 11;
/// `TC_H_CLSACT`; with `TC_H_MIN_INGRESS` and `TC_H_MIN_EGRESS` (`linux/pkt_sched.h`)
#[cfg(any(test, feature = "write"))]
const CLSACT: u32 = 0xffff_fff1;
const INGRESS: u32 = 0xffff_fff2;
const EGRESS: u32 = 0xffff_fff3;

/// How deep cgroups are looked at below the root: what serves Services is attached at the root, or at `kubepods` and its
/// classes of service.
const DEPTH: usize = 2;
/// Cgroups that are looked at.
const CGROUPS: usize = 64;
/// Programs whose names are remembered.
const PROGRAMS: usize = 4096;

/// Where a program is attached.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    strum::EnumIter,
    strum::Display,
)]
pub enum Hook {
    /// `connect()` of IPv4 sockets in a cgroup.
    #[strum(to_string = "connect4")]
    Connect4,
    /// The same of IPv6.
    #[strum(to_string = "connect6")]
    Connect6,
    /// `sendmsg()` of unconnected IPv4 UDP sockets in a cgroup.
    #[strum(to_string = "sendmsg4")]
    SendMsg4,
    /// The same of IPv6.
    #[strum(to_string = "sendmsg6")]
    SendMsg6,
    /// A filter of tc for what comes in by an interface.
    #[strum(to_string = "tc ingress")]
    TcIngress,
    /// The same for what goes out.
    #[strum(to_string = "tc egress")]
    TcEgress,
    /// tcx (Linux 6.6), for what comes in.
    #[strum(to_string = "tcx ingress")]
    TcxIngress,
    /// tcx, for what goes out.
    #[strum(to_string = "tcx egress")]
    TcxEgress,
    /// netkit (Linux 6.7), on the host's side.
    #[strum(to_string = "netkit primary")]
    NetkitPrimary,
    /// netkit, on the pod's side.
    #[strum(to_string = "netkit peer")]
    NetkitPeer,
    /// XDP, before the stack has the packet.
    #[strum(to_string = "xdp")]
    Xdp,
}

impl Hook {
    /// Its number in `enum bpf_attach_type`, where it is asked for by that.
    fn attach_type(self) -> Option<u32> {
        Some(match self {
            Hook::Connect4 => 10,
            Hook::Connect6 => 11,
            Hook::SendMsg4 => 14,
            Hook::SendMsg6 => 15,
            Hook::TcxIngress => 46,
            Hook::TcxEgress => 47,
            Hook::NetkitPrimary => 54,
            Hook::NetkitPeer => 55,
            Hook::TcIngress | Hook::TcEgress | Hook::Xdp => return None,
        })
    }

    /// True where it translates at the socket: no packet to the Service's address is ever made.
    pub fn is_socket(self) -> bool {
        matches!(self, Hook::Connect4 | Hook::Connect6 | Hook::SendMsg4 | Hook::SendMsg6)
    }
}

/// A program at a hook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Where.
    pub hook: Hook,
    /// The cgroup's path under its mount (`/` for the root), or the interface's name.
    pub place: String,
    /// The program's number: `bpftool prog show id N`. `None` for a classic filter of tc.
    pub id: Option<u32>,
    /// Its name; empty where it has none, or where asking for it was not permitted.
    pub name: String,
}

impl Program {
    /// How people find it: its name and number, as far as they are known.
    pub fn label(&self) -> String {
        match (self.name.as_str(), self.id) {
            ("", Some(id)) => format!("program {id}"),
            ("", None) => "a classic filter".into(),
            (name, Some(id)) => format!("{name}, program {id}"),
            (name, None) => name.into(),
        }
    }
}

/// Programs that were found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Programs {
    /// By hook and place.
    pub programs: Vec<Program>,
    /// Why cgroups were not looked at, where they were not.
    pub no_cgroups: Option<String>,
    /// Why tcx was not looked at, where it was not. A kernel without it lacks nothing.
    pub no_tcx: Option<String>,
}

/// Names of programs by number: a program keeps its name, and numbers go on counting.
static NAMES: LazyLock<Mutex<HashMap<u32, String>>> = LazyLock::new(Mutex::default);

/// Remembers the names of the programs that are there now. To be called before `CAP_SYS_ADMIN` is given up; without it
/// nothing is remembered.
pub fn learn_names() {
    let mut last = 0;
    for _ in 0..PROGRAMS {
        let Ok(id) = call::after(last) else { return };
        name_of(id);
        last = id;
    }
}

fn name_of(id: u32) -> Option<String> {
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.get(&id) {
        return Some(known.clone());
    }
    let name = call::name(id).ok()?.unwrap_or_default();
    names.insert(id, name.clone());
    Some(name)
}

/// Reads those of the calling thread's namespace, and those of the cgroups, which have none.
///
/// # Errors
/// rtnetlink refused. What `bpf(2)` refuses is said in the answer.
pub fn read() -> Result<Programs> {
    let mut all = Programs::default();
    let mut socket = Socket::open(NETLINK_ROUTE)?;
    let links = read_links(&mut socket, &mut all.programs)?;
    read_tc(&mut socket, &links, &mut all.programs)?;
    all.no_tcx = read_tcx(&links, &mut all.programs).err().map(|e| e.kind.to_string());
    all.no_cgroups = read_cgroups(&mut all.programs).err().map(|e| e.kind.to_string());
    for p in &mut all.programs {
        if let Some(name) = p.id.and_then(name_of).filter(|n| !n.is_empty()) {
            p.name = name;
        }
    }
    all.programs.sort_by(|a, b| (a.hook, &a.place, a.id).cmp(&(b.hook, &b.place, b.id)));
    Ok(all)
}

/// Interfaces by number, with XDP's programs.
fn read_links(socket: &mut Socket, to: &mut Vec<Program>) -> Result<HashMap<u32, String>> {
    let mut links = HashMap::new();
    // struct ifinfomsg
    let request = Request::new(RTM_GETLINK, 0).raw(&[0; 16]);
    socket.dump("reading the interfaces' XDP programs", request, &mut |m| {
        if let Some((index, name, ids)) = link(m.payload) {
            let xdp =
                |id| Program { hook: Hook::Xdp, place: name.clone(), id: Some(id), name: String::new() };
            to.extend(ids.into_iter().map(xdp));
            links.insert(index, name);
        }
    })?;
    Ok(links)
}

/// Number, name and XDP programs of an interface.
fn link(payload: &[u8]) -> Option<(u32, String, Vec<u32>)> {
    let index = u32::from_ne_bytes(*payload.get(4..)?.first_chunk()?);
    let (mut name, mut ids) = (String::new(), Vec::new());
    for (kind, value) in attrs(payload.get(16..)?) {
        match kind {
            IFLA_IFNAME => name = text(value),
            IFLA_XDP => {
                let of = attrs(value).filter(|a| XDP_IDS.contains(&a.0)).filter_map(|a| host_uint(a.1));
                ids.extend(of.map(|id| id as u32));
            }
            _ => {}
        }
    }
    ids.sort_unstable();
    ids.dedup();
    Some((index, name, ids))
}

/// `struct tcmsg` (`linux/rtnetlink.h`)
fn tcmsg(index: u32, handle: u32, parent: u32, info: u32) -> [u8; 20] {
    let mut head = [0; 20];
    for (i, value) in [index, handle, parent, info].into_iter().enumerate() {
        head[4 + 4 * i..8 + 4 * i].copy_from_slice(&value.to_ne_bytes());
    }
    head
}

fn read_tc(socket: &mut Socket, links: &HashMap<u32, String>, to: &mut Vec<Program>) -> Result<()> {
    let mut with_filters = Vec::new();
    let request = Request::new(RTM_GETQDISC, 0).raw(&tcmsg(0, 0, 0, 0));
    socket.dump("reading the queues of tc", request, &mut |m| {
        let kind = attrs(m.payload.get(20..).unwrap_or_default()).find(|a| a.0 == TCA_KIND);
        let takes_filters = kind.is_some_and(|a| ["clsact", "ingress"].contains(&text(a.1).as_str()));
        if let Some(index) = m.payload.get(4..).and_then(|p| p.first_chunk()).filter(|_| takes_filters) {
            with_filters.push(u32::from_ne_bytes(*index));
        }
    })?;
    for index in with_filters {
        let Some(place) = links.get(&index) else { continue };
        for (parent, hook) in [(INGRESS, Hook::TcIngress), (EGRESS, Hook::TcEgress)] {
            let request = Request::new(RTM_GETTFILTER, 0).raw(&tcmsg(index, 0, parent, 0));
            let read = socket.dump("reading the filters of tc", request, &mut |m| {
                let program = filter(m.payload);
                to.extend(program.map(|(id, name)| Program { hook, place: place.clone(), id, name }));
            });
            // The interface went away meanwhile; `ingress` has no egress.
            if let Err(e) = read
                && !matches!(e.errno(), Some(linux::ENODEV | linux::EINVAL))
            {
                return Err(e);
            }
        }
    }
    Ok(())
}

/// Number and name of a filter's program, where it is one of eBPF.
fn filter(payload: &[u8]) -> Option<(Option<u32>, String)> {
    let mut of = attrs(payload.get(20..)?);
    let all: Vec<(u16, &[u8])> = of.by_ref().collect();
    let find = |wanted| all.iter().find(|a| a.0 == wanted).map(|a| a.1);
    if text(find(TCA_KIND)?) != "bpf" {
        return None;
    }
    let options = find(TCA_OPTIONS)?;
    let option = |wanted| attrs(options).find(|a| a.0 == wanted).map(|a| a.1);
    let id = option(TCA_BPF_ID).and_then(host_uint).map(|n| n as u32);
    Some((id, option(TCA_BPF_NAME).map(text).unwrap_or_default()))
}

fn read_tcx(links: &HashMap<u32, String>, to: &mut Vec<Program>) -> Result<()> {
    let hooks = [Hook::TcxIngress, Hook::TcxEgress, Hook::NetkitPrimary, Hook::NetkitPeer];
    for hook in hooks {
        let Some(attach_type) = hook.attach_type() else { continue };
        for (index, place) in links {
            match call::query(*index, attach_type, false) {
                Ok(ids) => to.extend(ids.into_iter().map(|id| Program {
                    hook,
                    place: place.clone(),
                    id: Some(id),
                    name: String::new(),
                })),
                Err(e) if e.errno() == Some(linux::ENODEV) => {}
                // The kernel has no such hook, or no eBPF at all.
                Err(e) if matches!(e.errno(), Some(linux::EINVAL | linux::ENOSYS)) => {}
                // The interface is none of netkit, or its other side. Whether it is permitted was answered for tcx.
                Err(_) if matches!(hook, Hook::NetkitPrimary | Hook::NetkitPeer) => {}
                Err(e) => return Err(e),
            }
        }
    }
    Ok(())
}

fn read_cgroups(to: &mut Vec<Program>) -> Result<()> {
    // Without cgroup2 there is no hook.
    let Some(root) = cgroup_root()? else { return Ok(()) };
    for (i, path) in cgroups(&root).into_iter().enumerate() {
        let Ok(dir) = File::open(&path) else { continue };
        let place = Path::new("/").join(path.strip_prefix(&root).unwrap_or(&path)).display().to_string();
        for hook in Hook::iter().filter(|h| h.is_socket()) {
            let Some(attach_type) = hook.attach_type() else { continue };
            // At the root also what is above it: a container sees its own cgroup as the root.
            match call::query_at(&dir, attach_type, i == 0) {
                Ok(ids) => to.extend(ids.into_iter().map(|id| Program {
                    hook,
                    place: place.clone(),
                    id: Some(id),
                    name: String::new(),
                })),
                // A kernel without eBPF, or without it at cgroups.
                Err(e) if matches!(e.errno(), Some(linux::EINVAL | linux::ENOSYS)) => return Ok(()),
                Err(e) => return Err(e),
            }
        }
    }
    Ok(())
}

/// A cgroup and those below it, the upper ones first.
fn cgroups(root: &Path) -> Vec<PathBuf> {
    let mut all = vec![root.to_path_buf()];
    let mut from = 0;
    for _ in 0..DEPTH {
        let until = all.len();
        for i in from..until {
            let below = fs::read_dir(&all[i]).into_iter().flatten().flatten();
            let mut dirs: Vec<PathBuf> =
                below.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()).collect();
            dirs.sort();
            all.extend(dirs);
            all.truncate(CGROUPS);
        }
        from = until.min(all.len());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (link(&bytes), filter(&bytes));
        }
    }

    /// On a real kernel, in a namespace and a cgroup made for it.
    mod kernel {
        use super::*;
        use crate::netns::Netns;

        /// A cgroup that goes with its program.
        struct Cgroup(PathBuf);

        impl Drop for Cgroup {
            fn drop(&mut self) {
                let _ = fs::remove_dir(&self.0);
            }
        }

        #[test]
        fn each_hook_is_read() {
            let found = std::thread::spawn(|| {
                let _ns = Netns::create().unwrap();
                let mounts = procfs::process::Process::myself().unwrap().mountinfo().unwrap();
                let root = mounts.into_iter().find(|m| m.fs_type == "cgroup2").unwrap().mount_point;
                let group = Cgroup(root.join(format!("nf-kernel-test-{}", std::process::id())));
                fs::create_dir(&group.0).unwrap();
                make::at_cgroup("cil_sock4_connect", Hook::Connect4, &group.0).unwrap();
                make::at_cgroup("cil_sock6_sendmsg", Hook::SendMsg6, &group.0).unwrap();
                let held = [
                    make::at_interface("kept_xdp", Hook::Xdp, 1).unwrap(),
                    make::at_interface("kept_tcx", Hook::TcxEgress, 1).unwrap(),
                ];
                make::at_tc("tc_by_name", 1).unwrap();
                let found = read().unwrap();
                drop(held);
                assert!(found.no_cgroups.is_none() && found.no_tcx.is_none(), "{found:?}");
                let own = format!("/{}", group.0.file_name().unwrap().display());
                found.programs.into_iter().filter(|p| p.place == "lo" || p.place == own).collect::<Vec<_>>()
            });
            let found = found.join().unwrap();
            let seen: Vec<(Hook, &str)> = found.iter().map(|p| (p.hook, p.name.as_str())).collect();
            let wanted = [
                (Hook::Connect4, "cil_sock4_conne"), // 15 characters
                (Hook::SendMsg6, "cil_sock6_sendm"),
                (Hook::TcIngress, "tc_by_name"),
                (Hook::TcxEgress, "kept_tcx"),
                (Hook::Xdp, "kept_xdp"),
            ];
            assert_eq!(seen, wanted);
            assert!(found.iter().all(|p| p.id.is_some()));
        }
    }
}
