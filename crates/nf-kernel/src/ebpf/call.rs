//! The system call `bpf(2)`, for requests that read (`linux/bpf.h`).

use crate::reads::BPF_READS;
use crate::{Error, Result};
use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// `BPF_PROG_GET_NEXT_ID`, `BPF_PROG_GET_FD_BY_ID`, `BPF_OBJ_GET_INFO_BY_FD`, `BPF_PROG_QUERY` (`enum bpf_cmd`)
const GET_NEXT_ID: u32 = 11;
const GET_FD_BY_ID: u32 = 13;
const GET_INFO_BY_FD: u32 = 15;
const QUERY: u32 = 16;
/// Bytes of `union bpf_attr` that are given: an older kernel takes more than it knows where the rest is zero.
const ATTR: usize = 128;
/// Programs of one hook that are asked for; the kernel allows 64 on a cgroup (`BPF_CGROUP_MAX_PROGS`) and on a tcx hook.
const MOST: usize = 64;
/// `BPF_OBJ_NAME_LEN`, and where the name is in `struct bpf_prog_info`.
const NAME_LEN: usize = 16;
const NAME_AT: usize = 64;

/// `union bpf_attr`, as bytes.
#[repr(C, align(8))]
pub(crate) struct Attr([u8; ATTR]);

impl Attr {
    pub(crate) fn new() -> Attr {
        Attr([0; ATTR])
    }

    pub(crate) fn u32(mut self, at: usize, value: u32) -> Attr {
        self.0[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        self
    }

    /// The address of memory that the kernel reads or fills. The caller keeps it alive over the call.
    pub(crate) fn pointer<T>(mut self, at: usize, to: *const T) -> Attr {
        self.0[at..at + 8].copy_from_slice(&(to as u64).to_ne_bytes());
        self
    }

    pub(crate) fn get(&self, at: usize) -> u32 {
        self.0[at..].first_chunk().map_or(0, |b| u32::from_ne_bytes(*b))
    }
}

/// Makes the call.
///
/// # Safety
/// Each pointer in `attr` leads to memory that lives over the call and has room for what the command writes there.
#[allow(unsafe_code)]
pub(crate) unsafe fn bpf(what: &str, command: u32, attr: &mut Attr) -> Result<i32> {
    // SAFETY: `attr` is as large as is said; what it leads to is the caller's promise.
    let answer = unsafe { libc::syscall(libc::SYS_bpf, command, attr.0.as_mut_ptr(), ATTR) };
    match answer {
        0.. => Ok(answer as i32),
        _ => Err(Error::io(what, std::io::Error::last_os_error())),
    }
}

/// The same for a command of [`BPF_READS`]; any other is refused here.
///
/// # Safety
/// As for [`bpf`].
#[allow(unsafe_code)]
pub(crate) unsafe fn read(what: &str, command: u32, attr: &mut Attr) -> Result<i32> {
    if !BPF_READS.iter().any(|r| r.command == command) {
        return Err(Error::protocol(what, "kptop reads eBPF programs and maps, and writes none"));
    }
    // SAFETY: the caller's promise.
    unsafe { bpf(what, command, attr) }
}

/// A descriptor that a command made.
#[allow(unsafe_code)]
pub(crate) fn own(fd: i32) -> OwnedFd {
    // SAFETY: the kernel just made it for this process, and nobody else has it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Numbers of the programs at a hook: of a cgroup (its descriptor) or an interface (its number). With `effective`
/// (`BPF_F_QUERY_EFFECTIVE`) also those that a cgroup has from above.
///
/// # Errors
/// `CAP_NET_ADMIN` is missing, or the kernel does not know the hook (EINVAL).
#[allow(unsafe_code)]
pub(super) fn query(target: u32, attach_type: u32, effective: bool) -> Result<Vec<u32>> {
    let mut ids = [0u32; MOST];
    let mut attr = Attr::new()
        .u32(0, target)
        .u32(4, attach_type)
        .u32(8, effective.into())
        .pointer(16, ids.as_mut_ptr())
        .u32(24, MOST as u32);
    // SAFETY: the one pointer leads to `ids`, which has the room that the attribute says.
    unsafe { read("asking who is at an eBPF hook", QUERY, &mut attr) }?;
    let count = (attr.get(24) as usize).min(MOST);
    Ok(ids[..count].to_vec())
}

/// The same of a cgroup's directory.
///
/// # Errors
/// As [`query`].
pub(super) fn query_at(cgroup: &File, attach_type: u32, effective: bool) -> Result<Vec<u32>> {
    query(cgroup.as_raw_fd() as u32, attach_type, effective)
}

/// The number of the first program after this one.
///
/// # Errors
/// There is none (ENOENT), or `CAP_SYS_ADMIN` is missing.
#[allow(unsafe_code)]
pub(super) fn after(id: u32) -> Result<u32> {
    let mut attr = Attr::new().u32(0, id);
    // SAFETY: this command takes no pointer; it writes into the attribute.
    unsafe { read("asking for the next eBPF program", GET_NEXT_ID, &mut attr) }?;
    Ok(attr.get(4))
}

/// The name of a program; `None` where it has none.
///
/// # Errors
/// `CAP_SYS_ADMIN` is missing (`bpf_prog_get_fd_by_id` in `kernel/bpf/syscall.c`), or the program is gone.
#[allow(unsafe_code)]
pub(super) fn name(id: u32) -> Result<Option<String>> {
    const WHAT: &str = "asking for an eBPF program's name";
    let mut attr = Attr::new().u32(0, id);
    // SAFETY: this command takes no pointer.
    let fd = own(unsafe { read(WHAT, GET_FD_BY_ID, &mut attr) }?);
    // `struct bpf_prog_info` up to its name.
    info::<{ NAME_AT + NAME_LEN }>(WHAT, &fd).map(|info| name_of(&info))
}

/// The first bytes of what the kernel says of an object: `struct bpf_prog_info`, or `struct bpf_map_info`.
#[allow(unsafe_code)]
pub(crate) fn info<const N: usize>(what: &str, fd: &OwnedFd) -> Result<[u8; N]> {
    let mut info = [0u8; N];
    let mut attr =
        Attr::new().u32(0, fd.as_raw_fd() as u32).u32(4, info.len() as u32).pointer(8, info.as_mut_ptr());
    // SAFETY: the one pointer leads to `info`, whose length is in the attribute. A program's lengths of instructions and maps are
    // zero in it, so that the kernel follows none of its pointers; a map's has no pointers.
    unsafe { read(what, GET_INFO_BY_FD, &mut attr) }?;
    Ok(info)
}

fn name_of(info: &[u8]) -> Option<String> {
    let name = crate::netlink::text(info.get(NAME_AT..NAME_AT + NAME_LEN)?);
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(unsafe_code)]
    fn what_writes_is_refused() {
        // BPF_PROG_LOAD, BPF_MAP_CREATE, BPF_PROG_ATTACH
        for command in [5, 0, 8] {
            // SAFETY: no pointer is set, and nothing is sent.
            let refused = unsafe { read("writing", command, &mut Attr::new()) }.unwrap_err();
            assert!(refused.to_string().contains("writes none"), "{refused}");
        }
    }

    #[test]
    fn a_name_ends_at_its_nul() {
        let mut info = [0; NAME_AT + NAME_LEN];
        assert_eq!(name_of(&info), None);
        info[NAME_AT..NAME_AT + 4].copy_from_slice(b"cil_");
        assert_eq!(name_of(&info).as_deref(), Some("cil_"));
        assert_eq!(name_of(&info[..70]), None);
    }
}
