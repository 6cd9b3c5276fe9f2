//! Single packets, made byte by byte: first packets of flows from any address and port, for measuring and for tests.

use crate::kernel::{Error, Result};
use crate::walk::Packet;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, SockaddrIn6, sendto, socket,
};
use std::net::{IpAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, OwnedFd};

/// IP protocol numbers.
const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;

/// Sends packets with their own IP headers from the namespace in which it was opened.
#[derive(Debug)]
pub struct Sender {
    v4: OwnedFd,
    v6: Option<OwnedFd>,
}

impl Sender {
    /// Opens raw sockets in the calling thread's namespace.
    pub fn open() -> Result<Sender> {
        let open = |family| socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Raw);
        let v4 = open(AddressFamily::Inet).map_err(|e| Error::io("opening a raw socket", e.into()))?;
        Ok(Sender { v4, v6: open(AddressFamily::Inet6).ok() })
    }

    /// Sends a packet. TCP asks for a connection, SCTP for an association, UDP carries eight bytes.
    pub fn send(&self, packet: &Packet) -> Result<()> {
        let bytes = encode(packet);
        self.send_bytes(packet.destination, &bytes)
    }

    /// Sends what [`encode`] made.
    pub fn send_bytes(&self, to: IpAddr, bytes: &[u8]) -> Result<()> {
        let sent = match to {
            IpAddr::V4(a) => {
                let to = SockaddrIn::from(SocketAddrV4::new(a, 0));
                sendto(self.v4.as_raw_fd(), bytes, &to, MsgFlags::empty())
            }
            IpAddr::V6(a) => {
                let Some(socket) = &self.v6 else {
                    return Err(Error::missing("sending a packet", "this kernel has no IPv6", None));
                };
                let to = SockaddrIn6::from(SocketAddrV6::new(a, 0, 0, 0));
                sendto(socket.as_raw_fd(), bytes, &to, MsgFlags::empty())
            }
        };
        sent.map(drop).map_err(|e| Error::io(format!("sending a packet to {to}"), e.into()))
    }
}

/// The packet's bytes, IP header first.
pub fn encode(packet: &Packet) -> Vec<u8> {
    let mut body = Vec::with_capacity(40);
    body.extend(packet.source_port.to_be_bytes());
    body.extend(packet.destination_port.to_be_bytes());
    match packet.protocol {
        TCP => {
            body.extend(1u32.to_be_bytes()); // sequence number
            body.extend(0u32.to_be_bytes());
            body.extend([5 << 4, 0x02]); // length in words; SYN
            body.extend(0xffff_u16.to_be_bytes()); // window
            body.extend([0; 4]);
            checksum_at(&mut body, 16, packet);
        }
        SCTP => {
            body.extend([0; 8]); // verification tag, checksum
            body.extend([1, 0, 0, 20]); // INIT
            body.extend(7u32.to_be_bytes()); // initiate tag
            body.extend(0x1_0000_u32.to_be_bytes()); // window
            body.extend([0, 1, 0, 1]); // streams
            body.extend(1u32.to_be_bytes()); // first TSN
            let sum = crc32c(&body);
            body[8..12].copy_from_slice(&sum.to_le_bytes());
        }
        _ => {
            body.extend(16u16.to_be_bytes());
            body.extend([0; 2]);
            body.extend(*b"kptop...");
            checksum_at(&mut body, 6, packet);
        }
    }
    let mut bytes = Vec::with_capacity(80);
    match (packet.source, packet.destination) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let length = 20 + body.len() as u16;
            bytes.extend([0x45, 0]);
            bytes.extend(length.to_be_bytes());
            bytes.extend([0, 0, 0, 0, 64, packet.protocol, 0, 0]); // the kernel puts number and checksum in
            bytes.extend(from.octets());
            bytes.extend(to.octets());
        }
        (from, to) => {
            bytes.extend([0x60, 0, 0, 0]);
            bytes.extend((body.len() as u16).to_be_bytes());
            bytes.extend([packet.protocol, 64]);
            bytes.extend(crate::ruleset::octets(from));
            bytes.extend(crate::ruleset::octets(to));
        }
    }
    bytes.extend(body);
    bytes
}

/// Puts the checksum of TCP and UDP (RFC 1071, with the pseudo header) at `at`.
fn checksum_at(body: &mut [u8], at: usize, packet: &Packet) {
    let mut all = crate::ruleset::octets(packet.source);
    all.extend(crate::ruleset::octets(packet.destination));
    all.extend((body.len() as u32).to_be_bytes());
    all.extend([0, 0, 0, packet.protocol]);
    all.extend(&*body);
    let mut sum: u32 = 0;
    for pair in all.chunks(2) {
        sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let sum = match !(sum as u16) {
        0 if packet.protocol == UDP => 0xffff,
        sum => sum,
    };
    body[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

/// CRC-32C, bit by bit (RFC 9260, appendix A).
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for b in bytes {
        crc ^= u32::from(*b);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_of_sctp_is_the_standards() {
        // RFC 3720, appendix B.4: 32 bytes of zeros, and of ones.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
    }
}
