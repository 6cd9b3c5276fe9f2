//! Tables of x_tables.

#![allow(unsafe_code)]

use super::{Socket, table_name};
use crate::xtables::{EncodedTable, TRIES};
use crate::{Error, Result};
use std::io;
use std::os::fd::AsRawFd;

/// `IPT_SO_SET_REPLACE` (the same for IPv6)
const SET_REPLACE: i32 = 64;

/// `IP_SET_OP_GET_BYNAME` (`linux/netfilter/ipset/ip_set.h`)
const IP_SET_OP_GET_BYNAME: u32 = 0x6;

impl Socket {
    /// The index of an ipset, by which rules name it. For what is written (feature `write`).
    pub fn set_index(&self, name: &str) -> Result<u16> {
        let what = || format!("reading the index of ipset {name}");
        let named = table_name(name).ok_or_else(|| Error::protocol(what(), "a name over 31 bytes"))?;
        let found = self.ask_ipset(IP_SET_OP_GET_BYNAME, &named).map_err(|e| Error::io(what(), e))?;
        match u16::from_ne_bytes([found[0], found[1]]) {
            // IPSET_INVALID_ID
            u16::MAX => Err(Error::protocol(what(), "there is none")),
            index => Ok(index),
        }
    }

    /// `IPT_SO_SET_REPLACE`: puts a whole table in the place of the present one. For tests and demos in namespaces of their own (feature `write`).
    pub fn replace(&self, table: &EncodedTable) -> Result<()> {
        let what = || format!("writing the {} table {}", self.layout.family, table.name);
        crate::reads::check_write(&what(), self.own)?;
        for _ in 0..TRIES {
            let old = self.info(&table.name)?;
            let mut counters = vec![0u8; old.num_entries as usize * 16];
            // struct ipt_replace, then the entries.
            let mut bytes = Vec::with_capacity(96 + table.blob.len());
            bytes.extend_from_slice(&table_name(&table.name).unwrap_or([0; 32]));
            for word in [table.valid_hooks, table.num_entries, table.blob.len() as u32]
                .iter()
                .chain(&table.hook_entry)
                .chain(&table.underflow)
                .chain(&[old.num_entries])
            {
                bytes.extend_from_slice(&word.to_ne_bytes());
            }
            // The structure holds a pointer, to which the kernel writes the old counters.
            bytes.extend_from_slice(&(counters.as_mut_ptr() as u64).to_ne_bytes());
            bytes.extend_from_slice(&table.blob);
            // SAFETY: pointer and length are those of one live slice that the kernel only reads; the pointer
            // inside it is to `counters`, which lives past the call and holds the 16 bytes for each of the
            // `num_counters` that the kernel may write (it refuses another number with EAGAIN).
            let rc = unsafe {
                libc::setsockopt(
                    self.fd.as_raw_fd(),
                    self.layout.level,
                    SET_REPLACE,
                    bytes.as_ptr().cast(),
                    bytes.len() as libc::socklen_t,
                )
            };
            if rc == 0 {
                return Ok(());
            }
            let e = io::Error::last_os_error();
            if e.raw_os_error() != Some(libc::EAGAIN) {
                return Err(Error::io(what(), e));
            }
        }
        Err(Error { what: what(), kind: crate::ErrorKind::Interrupted { tries: TRIES } })
    }
}
