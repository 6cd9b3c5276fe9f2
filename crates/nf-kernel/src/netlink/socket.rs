//! The socket itself.

use super::{ACK, DUMP, DUMP_INTR, MSG_DONE, MSG_ERROR, Message, Request, split_message};
use crate::reads;
use crate::{Error, ErrorKind, Result};
use netlink_sys::{Socket as RawSocket, SocketAddr};
use std::io;

/// A netlink socket with its receive buffer. It stays in the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct Socket {
    raw: RawSocket,
    protocol: isize,
    /// Opened in a namespace that this process made.
    own: bool,
    buffer: Vec<u8>,
    sequence: u32,
}

/// Receive buffer: the kernel fills at most 32 KiB of a dump at once (`NLMSG_GOODSIZE` and the size of the
/// last `recv`).
const BUFFER: usize = 64 * 1024;

impl Socket {
    /// Opens a socket of a netlink protocol ([`NETLINK_NETFILTER`](super::NETLINK_NETFILTER), [`NETLINK_GENERIC`](super::NETLINK_GENERIC), [`NETLINK_ROUTE`](super::NETLINK_ROUTE)).
    pub fn open(protocol: isize) -> Result<Socket> {
        Socket::open_with(protocol, BUFFER)
    }

    /// The same with another receive buffer. The kernel makes a message buffer of this size (at most 32 KiB)
    /// twice for each dump, which costs more than what many short dumps hold.
    pub fn open_with(protocol: isize, buffer: usize) -> Result<Socket> {
        let what = || format!("opening a netlink socket (protocol {protocol})");
        let mut raw = RawSocket::new(protocol).map_err(|e| Error::io(what(), e))?;
        raw.bind_auto().map_err(|e| Error::io(what(), e))?;
        raw.connect(&SocketAddr::new(0, 0)).map_err(|e| Error::io(what(), e))?;
        Ok(Socket { raw, protocol, own: reads::is_own(), buffer: Vec::with_capacity(buffer), sequence: 0 })
    }

    /// Sends a dump request and calls `each` with every message of the answer.
    ///
    /// Fails with [`ErrorKind::Interrupted`] (after reading the answer to its end) where the kernel says that
    /// the dump is not of one instant.
    pub fn dump(&mut self, what: &str, request: Request, each: &mut dyn FnMut(Message<'_>)) -> Result<()> {
        self.transact(what, request, DUMP, each)
    }

    /// Sends a request that is answered by at most one message before the acknowledgement.
    pub fn request(&mut self, what: &str, request: Request, each: &mut dyn FnMut(Message<'_>)) -> Result<()> {
        self.transact(what, request, ACK, each)
    }

    /// Sends a request that is answered by exactly one message, or by an error.
    pub fn ask(&mut self, what: &str, request: Request, each: &mut dyn FnMut(Message<'_>)) -> Result<()> {
        self.transact(what, request, 0, each)
    }

    /// Sends messages as one, of which the first and last are its edges. For the lab only: nothing that is read
    /// comes in batches.
    pub fn batch(&mut self, what: &str, messages: Vec<Request>) -> Result<()> {
        reads::check_write(what, self.own)?;
        let mut bytes = Vec::new();
        let inner = messages.len().saturating_sub(2);
        for (i, mut m) in messages.into_iter().enumerate() {
            self.sequence = self.sequence.wrapping_add(1);
            // Only the last one inside: the kernel reports errors of the others anyway.
            let flags = if i == inner { ACK } else { 0 };
            bytes.extend_from_slice(m.finish(self.sequence, flags));
        }
        let room = bytes.len() + 4096;
        nix::sys::socket::setsockopt(&self.raw, nix::sys::socket::sockopt::SndBufForce, &room)
            .or_else(|_| nix::sys::socket::setsockopt(&self.raw, nix::sys::socket::sockopt::SndBuf, &room))
            .map_err(|e| Error::io(what, e.into()))?;
        self.raw.send(&bytes, 0).map_err(|e| Error::io(what, e))?;
        loop {
            self.buffer.clear();
            match self.raw.recv(&mut self.buffer, 0) {
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(Error::io(what, e)),
            }
            let mut rest = &self.buffer[..];
            while let Some((header, payload, after)) = split_message(rest) {
                rest = after;
                if header.kind == MSG_ERROR {
                    let code = payload.first_chunk::<4>().map_or(0, |b| i32::from_ne_bytes(*b));
                    return match code {
                        0 => Ok(()),
                        n => Err(Error::io(what, io::Error::from_raw_os_error(-n))),
                    };
                }
            }
        }
    }

    fn transact(
        &mut self,
        what: &str,
        mut request: Request,
        flags: u16,
        each: &mut dyn FnMut(Message<'_>),
    ) -> Result<()> {
        reads::check(what, self.own, self.protocol, request.kind(), request.payload())?;
        self.sequence = self.sequence.wrapping_add(1);
        let sequence = self.sequence;
        self.raw.send(request.finish(sequence, flags), 0).map_err(|e| Error::io(what, e))?;
        let mut interrupted = false;
        loop {
            self.buffer.clear();
            let len = match self.raw.recv(&mut self.buffer, libc::MSG_TRUNC) {
                Ok(len) => len,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(Error::io(what, e)),
            };
            if len > self.buffer.capacity() {
                return Err(Error::protocol(what, format!("a message of {len} bytes")));
            }
            let mut rest = &self.buffer[..];
            while let Some((header, payload, after)) = split_message(rest) {
                rest = after;
                if header.sequence != sequence {
                    continue; // stale from a request that failed half-way
                }
                interrupted |= header.flags & DUMP_INTR != 0;
                match header.kind {
                    MSG_DONE | MSG_ERROR => {
                        let code = payload.first_chunk::<4>().map_or(0, |b| i32::from_ne_bytes(*b));
                        if code < 0 {
                            return Err(Error::io(what, io::Error::from_raw_os_error(-code)));
                        }
                        if interrupted {
                            return Err(Error {
                                what: what.into(),
                                kind: ErrorKind::Interrupted { tries: 1 },
                            });
                        }
                        return Ok(());
                    }
                    kind => {
                        each(Message { kind, flags: header.flags, payload });
                        if flags == 0 {
                            return Ok(());
                        }
                    }
                }
            }
        }
    }
}
