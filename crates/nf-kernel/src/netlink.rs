//! Netlink: one loop for requests and dumps, over netlink-sys.
//!
//! Integers of netlink and attribute headers are in host order; what is inside depends on the protocol
//! (`linux/netlink.h`).

use super::{Error, ErrorKind, Result, reads};
pub use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket as RawSocket, SocketAddr};
use std::io;

/// `NLM_F_REQUEST` (`linux/netlink.h`).
const REQUEST: u16 = 0x1;
/// `NLM_F_ACK`
const ACK: u16 = 0x4;
/// `NLM_F_DUMP_INTR`: the dump is not of one instant. It marks single messages, not always the last.
const DUMP_INTR: u16 = 0x10;
/// `NLM_F_ROOT | NLM_F_MATCH`
const DUMP: u16 = 0x300;
/// `NLM_F_EXCL | NLM_F_CREATE`: for what the lab makes.
pub const CREATE: u16 = 0x600;
/// `NLMSG_ERROR`
const MSG_ERROR: u16 = 2;
/// `NLMSG_DONE`
const MSG_DONE: u16 = 3;
/// `NLA_F_NESTED` and `NLA_F_NET_BYTEORDER` are the two upper bits of an attribute's type.
const TYPE_MASK: u16 = 0x3fff;
/// `NLA_F_NESTED`
const NESTED: u16 = 0x8000;

/// One received message: its type and what follows the header.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// `nlmsg_type`
    pub kind: u16,
    /// `nlmsg_flags`
    pub flags: u16,
    /// What follows the netlink header.
    pub payload: &'a [u8],
}

/// A request under construction.
#[derive(Clone, Debug)]
pub struct Request {
    bytes: Vec<u8>,
    open: Vec<usize>,
}

impl Request {
    /// A request of a type, with extra flags.
    pub fn new(kind: u16, flags: u16) -> Request {
        let mut bytes = Vec::with_capacity(64);
        bytes.extend_from_slice(&0u32.to_ne_bytes());
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&(REQUEST | flags).to_ne_bytes());
        bytes.extend_from_slice(&[0; 8]);
        Request { bytes, open: Vec::new() }
    }

    /// A nfnetlink request (`struct nfgenmsg`, `linux/netfilter/nfnetlink.h`).
    pub fn nfnetlink(subsystem: u8, message: u8, flags: u16, family: u8) -> Request {
        Request::new(u16::from(subsystem) << 8 | u16::from(message), flags).raw(&[family, 0, 0, 0])
    }

    /// A generic netlink request (`struct genlmsghdr`, `linux/genetlink.h`).
    pub fn generic(family: u16, command: u8, version: u8, flags: u16) -> Request {
        Request::new(family, flags).raw(&[command, version, 0, 0])
    }

    /// Adds bytes as they are (a protocol's own header).
    pub fn raw(mut self, bytes: &[u8]) -> Request {
        self.bytes.extend_from_slice(bytes);
        self.pad();
        self
    }

    /// Adds an attribute.
    pub fn attr(mut self, kind: u16, value: &[u8]) -> Request {
        self.bytes.extend_from_slice(&((value.len() + 4) as u16).to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.pad();
        self
    }

    /// Adds a 32-bit attribute in host order.
    pub fn attr_u32(self, kind: u16, value: u32) -> Request {
        self.attr(kind, &value.to_ne_bytes())
    }

    /// Adds a 16-bit attribute in host order.
    pub fn attr_u16(self, kind: u16, value: u16) -> Request {
        self.attr(kind, &value.to_ne_bytes())
    }

    /// Adds a string with its NUL.
    pub fn attr_str(self, kind: u16, value: &str) -> Request {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.attr(kind, &bytes)
    }

    /// Adds an attribute that holds those which `inner` adds.
    pub fn nest(mut self, kind: u16, inner: impl FnOnce(Request) -> Request) -> Request {
        self.open.push(self.bytes.len());
        self.bytes.extend_from_slice(&0u16.to_ne_bytes());
        self.bytes.extend_from_slice(&(kind | NESTED).to_ne_bytes());
        let mut done = inner(self);
        if let Some(start) = done.open.pop() {
            let len = (done.bytes.len() - start) as u16;
            done.bytes[start..start + 2].copy_from_slice(&len.to_ne_bytes());
        }
        done
    }

    /// Attributes without a message around them, to be put into one with [`Request::append`].
    pub fn part() -> Request {
        Request { bytes: Vec::new(), open: Vec::new() }
    }

    /// Adds what a [`Request::part`] holds.
    pub fn append(self, part: &Request) -> Request {
        self.append_bytes(&part.bytes)
    }

    /// Adds attributes that are bytes already.
    pub fn append_bytes(mut self, attributes: &[u8]) -> Request {
        self.bytes.extend_from_slice(attributes);
        self.pad();
        self
    }

    /// The bytes of a [`Request::part`].
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Its type.
    pub(crate) fn kind(&self) -> u16 {
        u16::from_ne_bytes([self.bytes[4], self.bytes[5]])
    }

    /// What follows the header.
    pub(crate) fn payload(&self) -> &[u8] {
        &self.bytes[16..]
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// True where nothing was added.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(&mut self, sequence: u32, flags: u16) -> &[u8] {
        let len = self.bytes.len() as u32;
        let old = u16::from_ne_bytes([self.bytes[6], self.bytes[7]]);
        self.bytes[0..4].copy_from_slice(&len.to_ne_bytes());
        self.bytes[6..8].copy_from_slice(&(old | flags).to_ne_bytes());
        self.bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        &self.bytes
    }
}

/// Attributes in `bytes`: type (without its flag bits) and value. Ends at the first that does not fit.
pub fn attrs(bytes: &[u8]) -> Attrs<'_> {
    Attrs { rest: bytes }
}

/// See [`attrs`].
#[derive(Clone, Debug)]
pub struct Attrs<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Attrs<'a> {
    type Item = (u16, &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<(u16, &'a [u8])> {
        let head = self.rest.first_chunk::<4>()?;
        let len = usize::from(u16::from_ne_bytes([head[0], head[1]]));
        let kind = u16::from_ne_bytes([head[2], head[3]]) & TYPE_MASK;
        let value = self.rest.get(4..len)?;
        self.rest = self.rest.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        Some((kind, value))
    }
}

/// An unsigned integer in host order, of any width that netlink uses.
#[inline]
pub fn host_uint(value: &[u8]) -> Option<u64> {
    Some(match value.len() {
        1 => u64::from(value[0]),
        2 => u64::from(u16::from_ne_bytes(value.try_into().ok()?)),
        4 => u64::from(u32::from_ne_bytes(value.try_into().ok()?)),
        8 => u64::from_ne_bytes(value.try_into().ok()?),
        _ => return None,
    })
}

/// An unsigned integer in network order, of any width that nfnetlink uses.
#[inline]
pub fn be_uint(value: &[u8]) -> Option<u64> {
    Some(match value.len() {
        1 => u64::from(value[0]),
        2 => u64::from(u16::from_be_bytes(value.try_into().ok()?)),
        4 => u64::from(u32::from_be_bytes(value.try_into().ok()?)),
        8 => u64::from_be_bytes(value.try_into().ok()?),
        _ => return None,
    })
}

/// Text up to its NUL.
pub fn text(value: &[u8]) -> String {
    let end = value.iter().position(|b| *b == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

/// The attributes of an nfnetlink message, behind its `struct nfgenmsg` (`linux/netfilter/nfnetlink.h`).
pub fn nfnetlink_body(payload: &[u8]) -> &[u8] {
    payload.get(4..).unwrap_or(&[])
}

/// Text up to its NUL, in place; `None` where it is no UTF-8.
#[inline]
pub fn str_of(value: &[u8]) -> Option<&str> {
    let end = value.iter().position(|b| *b == 0).unwrap_or(value.len());
    std::str::from_utf8(&value[..end]).ok()
}

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
    /// Opens a socket of a netlink protocol ([`NETLINK_NETFILTER`], `NETLINK_GENERIC` 16, `NETLINK_ROUTE` 0).
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

pub(super) struct Header {
    pub(super) kind: u16,
    pub(super) flags: u16,
    sequence: u32,
}

/// Takes one message from the front: header, payload and what follows.
pub(super) fn split_message(bytes: &[u8]) -> Option<(Header, &[u8], &[u8])> {
    let head = bytes.first_chunk::<16>()?;
    let len = u32::from_ne_bytes([head[0], head[1], head[2], head[3]]) as usize;
    let payload = bytes.get(16..len)?;
    let header = Header {
        kind: u16::from_ne_bytes([head[4], head[5]]),
        flags: u16::from_ne_bytes([head[6], head[7]]),
        sequence: u32::from_ne_bytes([head[8], head[9], head[10], head[11]]),
    };
    Some((header, payload, bytes.get(len.next_multiple_of(4)..).unwrap_or(&[])))
}

/// How often a dump that the kernel calls interrupted is tried.
pub const TRIES: u32 = 4;

/// Runs `read` again while it reports an interrupted dump, at most [`TRIES`] times.
pub fn retry<T>(mut read: impl FnMut() -> Result<T>) -> Result<T> {
    let mut tries = 1;
    loop {
        match read() {
            Err(e) if matches!(e.kind, ErrorKind::Interrupted { .. }) => {
                if tries == TRIES {
                    return Err(Error { what: e.what, kind: ErrorKind::Interrupted { tries } });
                }
                tries += 1;
            }
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_is_read() {
        let mut r = Request::generic(20, 4, 1, 0)
            .attr_u16(1, 2)
            .nest(3, |r| r.attr_u32(7, 0xdead_beef).attr_str(8, "rr"))
            .attr(9, &[1, 2, 3]);
        let bytes = r.finish(5, DUMP).to_vec();
        let (header, payload, rest) = split_message(&bytes).unwrap();
        assert_eq!((header.kind, header.flags, header.sequence), (20, REQUEST | DUMP, 5));
        assert!(rest.is_empty());
        let found: Vec<_> = attrs(&payload[4..]).collect();
        assert_eq!(found.len(), 3);
        assert_eq!(host_uint(found[0].1), Some(2));
        let inner: Vec<_> = attrs(found[1].1).collect();
        assert_eq!(found[1].0, 3);
        assert_eq!(host_uint(inner[0].1), Some(0xdead_beef));
        assert_eq!(text(inner[1].1), "rr");
        assert_eq!(found[2], (9, &[1u8, 2, 3][..]));
    }

    #[test]
    fn a_dump_that_keeps_changing_is_given_up() {
        let mut calls = 0;
        let result: Result<()> = retry(|| {
            calls += 1;
            Err(Error { what: "x".into(), kind: ErrorKind::Interrupted { tries: 1 } })
        });
        assert_eq!(calls, TRIES);
        assert!(result.unwrap_err().to_string().contains("4 tries"));
    }

    proptest! {
        #[test]
        fn any_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let total: usize = attrs(&bytes).map(|a| a.1.len()).sum();
            prop_assert!(total <= bytes.len());
            let mut rest = &bytes[..];
            let mut steps = 0;
            while let Some((_, _, after)) = split_message(rest) {
                rest = after;
                steps += 1;
                prop_assert!(steps <= 20);
            }
        }
    }
}
