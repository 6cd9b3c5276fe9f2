//! Netlink: one loop for requests and dumps, over netlink-sys.
//!
//! Integers of netlink and attribute headers are in host order; what is inside depends on the protocol
//! (`linux/netlink.h`).

#[cfg_attr(not(all(feature = "live", target_os = "linux")), path = "elsewhere/socket.rs")]
mod socket;

pub use super::reads::{NETLINK_GENERIC, NETLINK_NETFILTER, NETLINK_ROUTE};
use super::{Error, ErrorKind, Result};
pub use socket::Socket;

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
