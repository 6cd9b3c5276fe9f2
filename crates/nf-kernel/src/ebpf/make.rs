//! Programs for tests: one that lets everything pass, at each kind of hook.

use super::Hook;
use super::call::{Attr, bpf, own};
use crate::netlink::{Request, Socket};
use crate::{Error, Result};
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

/// `BPF_PROG_LOAD`, `BPF_PROG_ATTACH`, `BPF_LINK_CREATE` (`enum bpf_cmd`)
const LOAD: u32 = 5;
const ATTACH: u32 = 8;
const LINK_CREATE: u32 = 28;
/// `BPF_XDP` (`enum bpf_attach_type`)
const XDP: u32 = 37;

/// `BPF_PROG_TYPE_*`, and what the program answers for "go on": `TC_ACT_OK` 0, `XDP_PASS` 2, 1 at a cgroup.
fn kind(hook: Hook) -> (u32, i32) {
    match hook {
        Hook::Connect4 | Hook::Connect6 | Hook::SendMsg4 | Hook::SendMsg6 => (18, 1),
        Hook::Xdp => (6, 2),
        _ => (3, 0),
    }
}

/// Loads a program that lets everything pass.
#[allow(unsafe_code)]
fn load(name: &str, hook: Hook) -> Result<OwnedFd> {
    let (kind, answer) = kind(hook);
    // `r0 = answer; exit` (`linux/bpf_common.h`: BPF_ALU64 | BPF_MOV | BPF_K, BPF_JMP | BPF_EXIT)
    let mut code = [0u8; 16];
    (code[0], code[8]) = (0xb7, 0x95);
    code[4..8].copy_from_slice(&answer.to_ne_bytes());
    let mut short = [0u8; 16];
    let length = name.len().min(15);
    short[..length].copy_from_slice(&name.as_bytes()[..length]);
    let mut attr = Attr::new().u32(0, kind).u32(4, 2).pointer(8, code.as_ptr()).pointer(16, c"GPL".as_ptr());
    for (i, four) in short.chunks_exact(4).enumerate() {
        attr = attr.u32(48 + 4 * i, u32::from_ne_bytes([four[0], four[1], four[2], four[3]]));
    }
    if let Some(attach_type) = hook.attach_type().filter(|_| kind == 18) {
        attr = attr.u32(68, attach_type);
    }
    // SAFETY: the pointers lead to two instructions, as is said, and to a text with its NUL; the kernel only reads them.
    unsafe { bpf("loading an eBPF program", LOAD, &mut attr) }.map(own)
}

/// A program at a hook of a cgroup, until the cgroup is removed.
///
/// # Errors
/// The kernel has no eBPF at cgroups, or refused.
#[allow(unsafe_code)]
pub fn at_cgroup(name: &str, hook: Hook, cgroup: &Path) -> Result<()> {
    const WHAT: &str = "attaching an eBPF program to a cgroup";
    let program = load(name, hook)?;
    let dir = File::open(cgroup).map_err(|e| Error::io(WHAT, e))?;
    let attach_type = hook.attach_type().ok_or_else(|| Error::protocol(WHAT, "no hook of a cgroup"))?;
    let mut attr =
        Attr::new().u32(0, dir.as_raw_fd() as u32).u32(4, program.as_raw_fd() as u32).u32(8, attach_type);
    // SAFETY: this command takes no pointer.
    unsafe { bpf(WHAT, ATTACH, &mut attr) }.map(|_| ())
}

/// A program at an interface's hook (tcx or XDP), as long as what is given back lives.
///
/// # Errors
/// The kernel has no such hook, or refused.
#[allow(unsafe_code)]
pub fn at_interface(name: &str, hook: Hook, index: u32) -> Result<OwnedFd> {
    let program = load(name, hook)?;
    let attach_type = hook.attach_type().unwrap_or(XDP);
    let mut attr = Attr::new().u32(0, program.as_raw_fd() as u32).u32(4, index).u32(8, attach_type);
    // SAFETY: this command takes no pointer.
    unsafe { bpf("attaching an eBPF program to an interface", LINK_CREATE, &mut attr) }.map(own)
}

/// A filter of tc at an interface's clsact, which this makes.
///
/// # Errors
/// The kernel has no clsact, or refused; it refuses outside of namespaces that this process made.
pub fn at_tc(name: &str, index: u32) -> Result<()> {
    // RTM_NEWQDISC, RTM_NEWTFILTER; TCA_BPF_FD, TCA_BPF_NAME, TCA_BPF_FLAGS with TCA_BPF_FLAG_ACT_DIRECT
    const NEW_QDISC: u16 = 36;
    const NEW_FILTER: u16 = 44;
    let program = load(name, Hook::TcIngress)?;
    let mut socket = Socket::open(super::NETLINK_ROUTE)?;
    let qdisc = super::tcmsg(index, 0xffff_0000, super::CLSACT, 0);
    let request = Request::new(NEW_QDISC, crate::netlink::CREATE).raw(&qdisc);
    socket.request("making a clsact", request.attr_str(super::TCA_KIND, "clsact"), &mut |_| {})?;
    // Of every protocol (ETH_P_ALL, in network order), with priority 1.
    let all = u32::from(3u16.to_be()) | 1 << 16;
    let filter = super::tcmsg(index, 0, super::INGRESS, all);
    let request = Request::new(NEW_FILTER, crate::netlink::CREATE).raw(&filter);
    let request = request.attr_str(super::TCA_KIND, "bpf").nest(super::TCA_OPTIONS, |r| {
        r.attr_u32(6, program.as_raw_fd() as u32).attr_str(super::TCA_BPF_NAME, name).attr_u32(8, 1)
    });
    socket.request("making a filter of tc", request, &mut |_| {})
}
