//! Notices that the kernel sends by itself to who joined a group: changes of nf_tables, flows, dropped packets.

#![allow(unsafe_code)] // two socket options that no crate at hand knows

use super::netlink::{Message, split_message};
use super::{Error, Result, Step};
use netlink_sys::Socket as RawSocket;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

/// A socket that has joined groups. It stays in the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct Listener {
    raw: RawSocket,
    buffer: Vec<u8>,
}

impl Listener {
    /// Joins groups of a netlink protocol; `room` is the size of the socket's queue in bytes.
    pub fn join(protocol: isize, groups: &[u32], room: usize) -> Result<Listener> {
        Listener::join_filtered(protocol, groups, room, &[])
    }

    /// The same, with a classic BPF program that every message must pass.
    pub fn join_filtered(protocol: isize, groups: &[u32], room: usize, program: &[Step]) -> Result<Listener> {
        use nix::sys::socket::{setsockopt, sockopt};
        let what = || format!("listening to the kernel (netlink protocol {protocol})");
        let mut raw = RawSocket::new(protocol).map_err(|e| Error::io(what(), e))?;
        raw.bind_auto().map_err(|e| Error::io(what(), e))?;
        setsockopt(&raw, sockopt::RcvBufForce, &room)
            .or_else(|_| setsockopt(&raw, sockopt::RcvBuf, &room))
            .map_err(|e| Error::io(what(), e.into()))?;
        if !program.is_empty() {
            attach(&raw, program).map_err(|e| Error::io("filtering notices of the kernel", e))?;
        }
        raw.set_non_blocking(true).map_err(|e| Error::io(what(), e))?;
        for group in groups {
            raw.add_membership(*group).map_err(|e| Error::io(what(), e))?;
        }
        Ok(Listener { raw, buffer: Vec::with_capacity(64 * 1024) })
    }

    /// Joins another group, or leaves it.
    pub(super) fn set_member(&mut self, group: u32, join: bool) -> Result<()> {
        let done = match join {
            true => self.raw.add_membership(group),
            false => self.raw.drop_membership(group),
        };
        done.map_err(|e| Error::io("joining a group of notices", e))
    }

    /// Puts another program in place of the one that messages must pass.
    pub(super) fn filter(&mut self, program: &[Step]) -> Result<()> {
        attach(&self.raw, program).map_err(|e| Error::io("filtering notices of the kernel", e))
    }

    /// Waits until something came; `false` where nothing did in that time.
    pub fn wait(&self, time: Duration) -> Result<bool> {
        let timeout = PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(self.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(n) => Ok(n > 0),
            Err(nix::errno::Errno::EINTR) => Ok(false),
            Err(e) => Err(Error::io("waiting for notices of the kernel", e.into())),
        }
    }

    /// Takes all that came. Notices that found no room are lost: [`Listener::lost`] counts them.
    pub fn receive(&mut self, each: &mut dyn FnMut(Message<'_>)) -> Result<()> {
        // Bounded: where they come faster than they are taken, the caller has its turn in between.
        for _ in 0..10_000 {
            self.buffer.clear();
            match self.raw.recv_from(&mut self.buffer, 0) {
                // Only the kernel may say what the kernel does.
                Ok((_, from)) if from.port_number() != 0 => {}
                Ok(_) => {
                    let mut rest = &self.buffer[..];
                    while let Some((header, payload, after)) = split_message(rest) {
                        rest = after;
                        each(Message { kind: header.kind, flags: header.flags, payload });
                    }
                }
                Err(e) => match e.raw_os_error() {
                    Some(libc::EAGAIN) => return Ok(()),
                    Some(libc::ENOBUFS | libc::EINTR) => {}
                    _ => return Err(Error::io("reading notices of the kernel", e)),
                },
            }
        }
        Ok(())
    }

    /// Notices that found no room in the queue since the socket was opened.
    pub fn lost(&self) -> u64 {
        // SK_MEMINFO_VARS values, of which SK_MEMINFO_DROPS is the ninth (linux/sock_diag.h).
        let mut values = [0u32; 9];
        let mut len = size_of_val(&values) as libc::socklen_t;
        // SAFETY: the kernel writes at most `len` bytes into an array of just that size, and the descriptor is open
        // as long as `self` lives.
        let result = unsafe {
            libc::getsockopt(
                self.raw.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_MEMINFO,
                values.as_mut_ptr().cast(),
                &raw mut len,
            )
        };
        if result == 0 { u64::from(values[8]) } else { 0 }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.raw.as_fd()
    }
}

fn attach(socket: &RawSocket, program: &[Step]) -> io::Result<()> {
    let mut steps: Vec<libc::sock_filter> =
        program.iter().map(|s| libc::sock_filter { code: s.code, jt: s.jt, jf: s.jf, k: s.k }).collect();
    let filter = libc::sock_fprog { len: steps.len() as libc::c_ushort, filter: steps.as_mut_ptr() };
    // SAFETY: the kernel copies the program, which lives over the call and whose length is right, and writes nothing; the descriptor is open.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const filter).cast(),
            size_of_val(&filter) as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
