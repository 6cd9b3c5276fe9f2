//! The one list of requests that kptop sends to the kernel outside of the lab. Any other is refused before it is sent,
//! unless the socket was opened in a network namespace that this process made itself.

use super::{Error, Result, procfs};
use std::collections::HashSet;
use std::sync::{LazyLock, Mutex, PoisonError};

/// The protocol of interfaces, addresses, routes and neighbours (`linux/netlink.h`).
pub const NETLINK_ROUTE: isize = 0;
/// That of packet filters, conntrack and ipsets.
pub const NETLINK_NETFILTER: isize = 12;
/// That of generic netlink.
pub const NETLINK_GENERIC: isize = 16;

/// `GENL_ID_CTRL` (`linux/genetlink.h`): the family that knows the others.
pub(super) const CONTROLLER: u16 = 0x10;

/// A request that reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// Netlink protocol.
    pub protocol: isize,
    /// Family of generic netlink; empty for the other protocols.
    pub family: &'static str,
    /// Type of the message; of nfnetlink the subsystem is in the upper byte; of generic netlink the command.
    pub kind: u16,
    /// Its name in the kernel's headers.
    pub name: &'static str,
    /// What it asks for.
    pub what: &'static str,
}

const fn route(kind: u16, name: &'static str, what: &'static str) -> Read {
    Read { protocol: NETLINK_ROUTE, family: "", kind, name, what }
}

const fn nf(subsystem: u8, message: u8, name: &'static str, what: &'static str) -> Read {
    Read {
        protocol: NETLINK_NETFILTER,
        family: "",
        kind: (subsystem as u16) << 8 | message as u16,
        name,
        what,
    }
}

const fn generic(family: &'static str, command: u8, name: &'static str, what: &'static str) -> Read {
    Read { protocol: NETLINK_GENERIC, family, kind: command as u16, name, what }
}

/// All of them.
pub const READS: &[Read] = &[
    route(18, "RTM_GETLINK", "interfaces"),
    route(22, "RTM_GETADDR", "addresses (asked by getifaddrs)"),
    route(26, "RTM_GETROUTE", "routes"),
    route(30, "RTM_GETNEIGH", "neighbours"),
    route(38, "RTM_GETQDISC", "interfaces that have filters of tc"),
    route(46, "RTM_GETTFILTER", "filters of tc"),
    nf(1, 1, "IPCTNL_MSG_CT_GET", "flows of conntrack"),
    nf(1, 4, "IPCTNL_MSG_CT_GET_STATS_CPU", "statistics of conntrack"),
    nf(6, 7, "IPSET_CMD_LIST", "ipsets"),
    nf(7, 1, "NFNL_MSG_ACCT_GET", "named counters"),
    nf(10, 1, "NFT_MSG_GETTABLE", "tables of nf_tables"),
    nf(10, 4, "NFT_MSG_GETCHAIN", "chains"),
    nf(10, 7, "NFT_MSG_GETRULE", "rules"),
    nf(10, 10, "NFT_MSG_GETSET", "sets"),
    nf(10, 13, "NFT_MSG_GETSETELEM", "elements of sets"),
    nf(10, 16, "NFT_MSG_GETGEN", "the generation of the rules"),
    nf(10, 23, "NFT_MSG_GETFLOWTABLE", "flowtables"),
    nf(12, 0, "NFNL_MSG_HOOK_GET", "who hangs on a hook"),
    generic("nlctrl", 3, "CTRL_CMD_GETFAMILY", "families of generic netlink"),
    generic("IPVS", 4, "IPVS_CMD_GET_SERVICE", "virtual servers"),
    generic("IPVS", 8, "IPVS_CMD_GET_DEST", "real servers"),
    generic("IPVS", 13, "IPVS_CMD_GET_CONFIG", "timeouts of IPVS"),
    generic("IPVS", 15, "IPVS_CMD_GET_INFO", "version and size of IPVS"),
    generic("NET_DM", 6, "NET_DM_CMD_CONFIG_GET", "how the drop monitor is set"),
    generic("NET_DM", 8, "NET_DM_CMD_STATS_GET", "what the drop monitor lost"),
    // Not reads: only `kptop drops` and the key `w` ask for them, and what they switch is put back.
    generic("NET_DM", 2, "NET_DM_CMD_CONFIG", "the drop monitor's mode, on request"),
    generic("NET_DM", 3, "NET_DM_CMD_START", "the drop monitor on, on request"),
    generic("NET_DM", 4, "NET_DM_CMD_STOP", "the drop monitor off again"),
];

/// A command of `bpf(2)` that reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BpfRead {
    /// Its number in `enum bpf_cmd` (`linux/bpf.h`).
    pub command: u32,
    /// Its name there.
    pub name: &'static str,
    /// What it asks for.
    pub what: &'static str,
}

/// All commands of `bpf(2)` that kptop sends.
pub const BPF_READS: &[BpfRead] = &[
    BpfRead { command: 1, name: "BPF_MAP_LOOKUP_ELEM", what: "an entry of a pinned eBPF map" },
    BpfRead { command: 4, name: "BPF_MAP_GET_NEXT_KEY", what: "the keys of a pinned eBPF map" },
    BpfRead { command: 7, name: "BPF_OBJ_GET", what: "a pinned eBPF map, opened for reading" },
    BpfRead { command: 11, name: "BPF_PROG_GET_NEXT_ID", what: "the eBPF programs that there are" },
    BpfRead { command: 13, name: "BPF_PROG_GET_FD_BY_ID", what: "an eBPF program, to ask for its name" },
    BpfRead {
        command: 15,
        name: "BPF_OBJ_GET_INFO_BY_FD",
        what: "the name of an eBPF program, the sizes of a map",
    },
    BpfRead { command: 16, name: "BPF_PROG_QUERY", what: "eBPF programs at a hook" },
    BpfRead { command: 24, name: "BPF_MAP_LOOKUP_BATCH", what: "many entries of a pinned eBPF map" },
];

/// Numbers of families of generic netlink that were looked up, with their names. One has the same number everywhere.
static FAMILIES: LazyLock<Mutex<Vec<(u16, &'static str)>>> =
    LazyLock::new(|| Mutex::new(vec![(CONTROLLER, "nlctrl")]));
/// Inodes of the network namespaces that this process made.
static OWN: Mutex<Option<HashSet<u64>>> = Mutex::new(None);

/// Remembers the number of a family.
pub(super) fn learn(id: u16, name: &str) {
    let known = READS.iter().map(|r| r.family).find(|f| *f == name);
    if let Some(name) = known {
        let mut families = FAMILIES.lock().unwrap_or_else(PoisonError::into_inner);
        families.retain(|f| f.0 != id);
        families.push((id, name));
    }
}

#[cfg(any(test, feature = "write"))]
/// Remembers a namespace as made by this process.
pub(super) fn own(inode: u64) {
    OWN.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default().insert(inode);
}

fn is_read(protocol: isize, kind: u16, payload: &[u8]) -> bool {
    let (family, kind) = match protocol {
        NETLINK_GENERIC => {
            let families = FAMILIES.lock().unwrap_or_else(PoisonError::into_inner);
            let Some((_, name)) = families.iter().find(|f| f.0 == kind) else { return false };
            (*name, payload.first().copied().map_or(u16::MAX, u16::from))
        }
        _ => ("", kind),
    };
    READS.iter().any(|r| (r.protocol, r.family, r.kind) == (protocol, family, kind))
}

/// An error for a request that is none of [`READS`], by a socket that is not `own`.
pub(super) fn check(what: &str, own: bool, protocol: isize, kind: u16, payload: &[u8]) -> Result<()> {
    match is_read(protocol, kind, payload) {
        true => Ok(()),
        false => check_write(what, own),
    }
}

/// An error for a write by a socket that was not opened in a namespace that this process made itself.
pub(super) fn check_write(what: &str, own: bool) -> Result<()> {
    match own {
        true => Ok(()),
        false => Err(Error::protocol(what, "kptop writes only into network namespaces that it made itself")),
    }
}

/// True where the calling thread is in a namespace that this process made: a socket that is opened there stays there.
pub(super) fn is_own() -> bool {
    let made = OWN.lock().unwrap_or_else(PoisonError::into_inner);
    // Most processes make none, and need not ask.
    let Some(made) = made.as_ref() else { return false };
    procfs::netns_inode().is_some_and(|i| made.contains(&i))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_request_stands_once() {
        for (i, a) in READS.iter().enumerate() {
            assert!(
                !READS[..i].iter().any(|b| (b.protocol, b.family, b.kind) == (a.protocol, a.family, a.kind)),
                "{}",
                a.name
            );
        }
    }

    /// On a real kernel, in a namespace made for it.
    mod kernel {
        use super::*;
        use crate::netlink::{NETLINK_NETFILTER, Request, Socket};
        use crate::netns::Netns;

        #[test]
        fn nothing_is_written_outside_of_own_namespaces() {
            std::thread::spawn(|| {
                // NFT_MSG_NEWTABLE
                let write = || Request::nfnetlink(10, 0, 0, 2).attr_str(1, "kptop-was-here");
                let mut socket = Socket::open(NETLINK_NETFILTER).unwrap();
                for error in [
                    socket.request("writing", write(), &mut |_| {}).unwrap_err(),
                    socket.batch("writing", vec![write()]).unwrap_err(),
                ] {
                    assert!(
                        error.to_string().contains("only into network namespaces that it made"),
                        "{error}"
                    );
                }
                assert!(
                    is_read(NETLINK_NETFILTER, 10 << 8 | 16, &[]) && is_read(NETLINK_GENERIC, 16, &[3, 1])
                );
                // Of the controller only the list of families is asked.
                assert!(!is_read(NETLINK_GENERIC, 16, &[1, 1]));
                assert!(!is_read(NETLINK_NETFILTER, 10 << 8, &[]) && !is_read(NETLINK_GENERIC, 99, &[4]));
                let ns = Netns::create().unwrap();
                check_write("writing", is_own()).unwrap();
                drop(ns);
            })
            .join()
            .unwrap();
        }
    }
}
