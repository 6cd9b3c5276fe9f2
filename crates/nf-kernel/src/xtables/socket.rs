//! The socket options themselves: the only `unsafe` code of x_tables.
#![allow(unsafe_code)]

#[cfg(feature = "write")]
mod write;

use super::layout::{ArpInfo, BridgeInfo, Layout, TableInfo, c_str, u32_at};
use crate::{Error, Result};
use nf_ruleset::IpFamily;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

/// `IPT_SO_GET_INFO`, `IPT_SO_GET_ENTRIES` (the same for IPv6).
const GET_INFO: i32 = 64;
const GET_ENTRIES: i32 = 65;
/// `struct ipt_get_entries` before its entries: name (32), size (u32), padding.
const GET_ENTRIES_HEADER: usize = 40;
/// `struct ipt_getinfo`
const GETINFO_SIZE: usize = 84;
/// `SO_IP_SET` and what it can be asked (`linux/netfilter/ipset/ip_set.h`).
const SO_IP_SET: i32 = 83;
const IP_SET_OP_GET_BYINDEX: u32 = 0x7;
const IP_SET_OP_VERSION: u32 = 0x100;

/// An option whose structure holds no pointers.
#[derive(Clone, Copy, Debug)]
struct Plain {
    level: i32,
    number: i32,
}

/// Of the families' own levels, and of `SOL_IP`.
const fn plain(level: i32, number: i32) -> Plain {
    Plain { level, number }
}

/// A socket through which one family's tables are read, in the namespace of the thread that opened it.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    layout: &'static Layout,
    /// Opened in a namespace that this process made.
    #[cfg(feature = "write")]
    own: bool,
}

impl Socket {
    /// Opens it.
    pub fn open(family: IpFamily) -> Result<Socket> {
        let domain = match family {
            IpFamily::V4 => AddressFamily::Inet,
            IpFamily::V6 => AddressFamily::Inet6,
        };
        let fd = socket(domain, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
            .map_err(|e| Error::io(format!("opening an {family} socket"), e.into()))?;
        Ok(Socket {
            fd,
            layout: Layout::of(family),
            #[cfg(feature = "write")]
            own: crate::reads::is_own(),
        })
    }

    fn what(&self, table: &str) -> String {
        format!("reading the {} table {table}", self.layout.family)
    }

    /// Reads into `buffer` what an option without pointers holds; gives the length that the kernel filled.
    fn get(&self, option: Plain, buffer: &mut [u8]) -> io::Result<usize> {
        // SAFETY: the structures of these options hold no pointers.
        unsafe { self.get_raw(option.level, option.number, buffer) }
    }

    /// The same of any option.
    ///
    /// # Safety
    /// Where the option's structure holds pointers, they must lead to live, writable memory that is as large as the
    /// structure's other fields say the kernel.
    unsafe fn get_raw(&self, level: i32, option: i32, buffer: &mut [u8]) -> io::Result<usize> {
        let mut len = buffer.len() as libc::socklen_t;
        // SAFETY: the pointer and length are those of one live, writable slice, and the kernel writes at most `len` bytes
        // there; what pointers inside it lead to, the caller answers for.
        let rc = unsafe {
            libc::getsockopt(self.fd.as_raw_fd(), level, option, buffer.as_mut_ptr().cast(), &raw mut len)
        };
        if rc == 0 { Ok(len as usize) } else { Err(io::Error::last_os_error()) }
    }

    /// `IPT_SO_GET_INFO`. For a table that does not exist yet this creates it: call it only for those that
    /// [`super::table_names`] lists (or, in the lab, on purpose).
    pub fn info(&self, table: &str) -> Result<TableInfo> {
        let mut bytes = [0u8; GETINFO_SIZE];
        let name =
            table_name(table).ok_or_else(|| Error::protocol(self.what(table), "a name over 31 bytes"))?;
        bytes[..32].copy_from_slice(&name);
        self.get(plain(self.layout.level, GET_INFO), &mut bytes).map_err(|e| self.io(table, e))?;
        let word = |i: usize| u32_at(&bytes, 32 + 4 * i);
        Ok(TableInfo {
            name: table.to_string(),
            valid_hooks: word(0),
            hook_entry: std::array::from_fn(|i| word(1 + i)),
            underflow: std::array::from_fn(|i| word(6 + i)),
            num_entries: word(11),
            size: word(12),
        })
    }

    fn io(&self, table: &str, e: io::Error) -> Error {
        match e.raw_os_error() {
            Some(libc::ENOENT) => Error::missing(
                self.what(table),
                format!("the kernel has no {} table {table}", self.layout.family),
                None,
            ),
            // Nobody registered these socket options; unlike tables, the kernel does not load that part when asked.
            Some(libc::ENOPROTOOPT) => {
                let (module, hint) = match self.layout.family {
                    IpFamily::V4 => ("ip_tables", "modprobe ip_tables"),
                    IpFamily::V6 => ("ip6_tables", "modprobe ip6_tables"),
                };
                Error::missing(self.what(table), format!("the module {module} is not loaded"), Some(hint))
            }
            _ => Error::io(self.what(table), e),
        }
    }

    /// `IPT_SO_GET_ENTRIES`: fills `buffer` with the blob that `info` describes. `false` where the table has
    /// another size by now.
    pub fn entries(&self, info: &TableInfo, buffer: &mut Vec<u8>) -> Result<bool> {
        let size = info.size as usize;
        let len = GET_ENTRIES_HEADER + size;
        if buffer.capacity() < len {
            *buffer = vec![0; len]; // zeroed by the kernel, page by page, as it is filled
            in_huge_pages(buffer);
        } else {
            // The kernel leaves the bytes behind short names as they are (`xt_obj_to_user`): what another table, or
            // an older reading, left there would read as a change of the structure.
            buffer.clear();
            buffer.resize(len, 0);
        }
        if let Some(name) = table_name(&info.name) {
            buffer[..32].copy_from_slice(&name);
        }
        buffer[32..36].copy_from_slice(&info.size.to_ne_bytes());
        match self.get(plain(self.layout.level, GET_ENTRIES), buffer) {
            Ok(_) => {}
            Err(e) if e.raw_os_error() == Some(libc::EAGAIN) => return Ok(false),
            Err(e) => return Err(self.io(&info.name, e)),
        }
        Ok(true)
    }

    /// The name of an ipset, from its index.
    pub fn set_name(&self, index: u16) -> Result<String> {
        let what = || format!("reading the name of ipset {index}");
        let found =
            self.ask_ipset(IP_SET_OP_GET_BYINDEX, &index.to_ne_bytes()).map_err(|e| Error::io(what(), e))?;
        match c_str(&found) {
            Some(name) if !name.is_empty() => Ok(name.to_string()),
            _ => Err(Error::protocol(what(), "no name")),
        }
    }

    /// Asks for an ipset by its name or index; the answer stands where the question stood.
    fn ask_ipset(&self, operation: u32, question: &[u8]) -> io::Result<[u8; 32]> {
        let mut bytes = [0u8; 40];
        // struct ip_set_req_version { op, version }
        bytes[0..4].copy_from_slice(&IP_SET_OP_VERSION.to_ne_bytes());
        self.get(plain(libc::SOL_IP, SO_IP_SET), &mut bytes[..8])?;
        // struct ip_set_req_get_set { op, version, union { name[32], index } }; the version stays as reported.
        bytes[0..4].copy_from_slice(&operation.to_ne_bytes());
        bytes[8..8 + question.len()].copy_from_slice(question);
        self.get(plain(libc::SOL_IP, SO_IP_SET), &mut bytes)?;
        let mut answer = [0; 32];
        answer.copy_from_slice(&bytes[8..40]);
        Ok(answer)
    }
}

/// `ARPT_SO_GET_INFO`, `ARPT_SO_GET_ENTRIES` (`linux/netfilter_arp/arp_tables.h`)
const ARP_GET_INFO: i32 = 96;
const ARP_GET_ENTRIES: i32 = 97;

/// A socket through which tables of legacy arptables are read.
#[derive(Debug)]
pub(super) struct ArpSocket(Socket);

impl ArpSocket {
    pub(super) fn open() -> Result<ArpSocket> {
        Socket::open(IpFamily::V4).map(ArpSocket)
    }

    /// As [`Socket::info`]: creates a table that does not exist.
    pub(super) fn info(&self, table: &str) -> Result<ArpInfo> {
        let what = || format!("reading the arp table {table}");
        let mut bytes = [0u8; 68];
        let name = table_name(table).ok_or_else(|| Error::protocol(what(), "a name over 31 bytes"))?;
        bytes[..32].copy_from_slice(&name);
        self.0.get(plain(libc::SOL_IP, ARP_GET_INFO), &mut bytes).map_err(|e| Error::io(what(), e))?;
        let word = |i: usize| u32_at(&bytes, 32 + 4 * i);
        Ok(ArpInfo {
            valid_hooks: word(0),
            hook_entry: std::array::from_fn(|i| word(1 + i)),
            underflow: std::array::from_fn(|i| word(4 + i)),
            num_entries: word(7),
            size: word(8),
        })
    }

    /// The blob that `info` describes; `None` where the table has another size by now.
    pub(super) fn entries(&self, table: &str, info: &ArpInfo) -> Result<Option<Vec<u8>>> {
        let mut bytes = vec![0u8; GET_ENTRIES_HEADER + info.size as usize];
        bytes[..32].copy_from_slice(&table_name(table).unwrap_or([0; 32]));
        bytes[32..36].copy_from_slice(&info.size.to_ne_bytes());
        match self.0.get(plain(libc::SOL_IP, ARP_GET_ENTRIES), &mut bytes) {
            Ok(_) => Ok(Some(bytes.split_off(GET_ENTRIES_HEADER))),
            Err(e) if e.raw_os_error() == Some(libc::EAGAIN) => Ok(None),
            Err(e) => Err(Error::io(format!("reading the arp table {table}"), e)),
        }
    }
}

/// `EBT_SO_GET_INFO`, `EBT_SO_GET_ENTRIES` (`linux/netfilter_bridge/ebtables.h`)
const EBT_GET_INFO: i32 = 128;
const EBT_GET_ENTRIES: i32 = 129;
/// `sizeof(struct ebt_replace)` on a 64-bit kernel.
const EBT_REPLACE: usize = 120;

/// A socket through which tables of legacy ebtables are read.
#[derive(Debug)]
pub(super) struct BridgeSocket(Socket);

impl BridgeSocket {
    pub(super) fn open() -> Result<BridgeSocket> {
        Socket::open(IpFamily::V4).map(BridgeSocket)
    }

    /// As [`Socket::info`]: creates a table that does not exist.
    pub(super) fn info(&self, table: &str) -> Result<BridgeInfo> {
        let what = || format!("reading the bridge table {table}");
        let mut bytes = [0u8; EBT_REPLACE];
        let name = table_name(table).ok_or_else(|| Error::protocol(what(), "a name over 31 bytes"))?;
        bytes[..32].copy_from_slice(&name);
        // SAFETY: it fills the structure itself, and neither reads nor follows the pointers in it (`do_ebt_get_ctl`:
        // `EBT_SO_GET_INFO`); they are null.
        unsafe { self.0.get_raw(libc::SOL_IP, EBT_GET_INFO, &mut bytes) }
            .map_err(|e| Error::io(what(), e))?;
        Ok(BridgeInfo { entries: u32_at(&bytes, 36), size: u32_at(&bytes, 40) })
    }

    /// Entries and counters; `None` where the table has another size by now.
    pub(super) fn entries(&self, table: &str, info: BridgeInfo) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        let mut entries = vec![0u8; info.size as usize];
        let mut counters = vec![0u8; info.entries as usize * 16];
        let mut bytes = vec![0u8; EBT_REPLACE + entries.len() + counters.len()];
        bytes[..32].copy_from_slice(&table_name(table).unwrap_or([0; 32]));
        bytes[36..40].copy_from_slice(&info.entries.to_ne_bytes());
        bytes[40..44].copy_from_slice(&info.size.to_ne_bytes());
        bytes[96..100].copy_from_slice(&info.entries.to_ne_bytes());
        bytes[104..112].copy_from_slice(&(counters.as_mut_ptr() as u64).to_ne_bytes());
        bytes[112..120].copy_from_slice(&(entries.as_mut_ptr() as u64).to_ne_bytes());
        // SAFETY: the structure holds two pointers, to which the kernel writes: `num_counters` counters of 16 bytes and
        // `entries_size` bytes of entries, which is what both vectors hold. It refuses (EINVAL) where the table's numbers are
        // others than these (`copy_everything_to_user`). Both vectors outlive the call.
        match unsafe { self.0.get_raw(libc::SOL_IP, EBT_GET_ENTRIES, &mut bytes) } {
            Ok(_) => Ok(Some((entries, counters))),
            Err(e) if e.raw_os_error() == Some(libc::EINVAL) => Ok(None),
            Err(e) => Err(Error::io(format!("reading the bridge table {table}"), e)),
        }
    }
}

/// The whole huge pages of a large buffer. Smaller ones may be parts of the heap (glibc: `DEFAULT_MMAP_THRESHOLD_MAX`).
fn huge_pages(buffer: &mut [u8]) -> Option<std::ops::Range<usize>> {
    const HUGE: usize = 2 << 20;
    const OWN_PAGES: usize = 32 << 20;
    let range = buffer.as_mut_ptr_range();
    let (begin, end) = ((range.start as usize).next_multiple_of(HUGE), range.end as usize / HUGE * HUGE);
    (buffer.len() > OWN_PAGES && begin < end).then_some(begin..end)
}

/// Asks for huge pages for a large buffer: 100,000 rules are 60 MB, and a fault for every 4 KiB of them is a tenth of the time
/// that their reading takes. No more memory is used: the kernel takes huge pages only inside what the buffer alone has.
fn in_huge_pages(buffer: &mut [u8]) {
    if let Some(pages) = huge_pages(buffer) {
        // SAFETY: the pages are those of the buffer alone, and the advice changes nothing of what they hold. A kernel without
        // huge pages refuses it, which is as good.
        unsafe { libc::madvise(pages.start as *mut libc::c_void, pages.len(), libc::MADV_HUGEPAGE) };
    }
}

/// Gives the memory of a large part of a buffer back to the kernel. What it holds is not to be used any more: most of it is 0.
pub(super) fn give_back(part: &mut [u8]) {
    if let Some(pages) = huge_pages(part) {
        // SAFETY: the pages are those of this part alone, which is borrowed for writing. They are anonymous and private, as an
        // allocator's are: the kernel gives others in their place, full of zeros, to who touches them again.
        unsafe { libc::madvise(pages.start as *mut libc::c_void, pages.len(), libc::MADV_DONTNEED) };
    }
}

/// The blob inside a buffer that [`Socket::entries`] filled.
pub(super) fn blob(buffer: &mut [u8]) -> &mut [u8] {
    buffer.get_mut(GET_ENTRIES_HEADER..).unwrap_or_default()
}

fn table_name(name: &str) -> Option<[u8; 32]> {
    let mut bytes = [0u8; 32];
    if name.len() > 31 {
        return None;
    }
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    Some(bytes)
}
