//! What a packet on its way holds that is not known: bits of its marks, fields that a rule wrote with something that
//! the snapshot does not say.

use super::packet_state::{PacketState, Written};
use crate::ruleset::{IpFamily, payload_base};
use std::net::IpAddr;

impl PacketState {
    /// A byte of a header, as far as a packet that is only thought of has it.
    pub(super) fn header_byte(&self, base: u8, at: usize) -> Option<u8> {
        let written = self.unsure.written.iter().rev().find(|w| w.base == base && w.at == at);
        match written {
            Some(w) => w.byte,
            None => self.own_byte(base, at),
        }
    }

    /// The same before any rule wrote. Options may follow: not even the header's own length is known.
    fn own_byte(&self, base: u8, at: usize) -> Option<u8> {
        let p = &self.packet;
        let source = |at| byte_of(p.source, at).filter(|_| !self.masked_source);
        let destination = |at| byte_of(p.destination, at).filter(|_| !self.unsure.destination);
        match (base, p.family()) {
            (payload_base::NETWORK, IpFamily::V4) => match at {
                6 | 7 => Some(0), // no fragment
                9 => Some(p.protocol),
                12..16 => source(at - 12),
                16..20 => destination(at - 16),
                _ => None,
            },
            (payload_base::NETWORK, IpFamily::V6) => match at {
                6 => Some(p.protocol),
                8..24 => source(at - 8),
                24..40 => destination(at - 24),
                _ => None,
            },
            (payload_base::TRANSPORT, _) if matches!(p.protocol, 6 | 17 | 132 | 136) => match at {
                0..2 => Some(p.source_port.to_be_bytes()[at]).filter(|_| !self.unsure.source_port),
                2..4 => {
                    Some(p.destination_port.to_be_bytes()[at - 2]).filter(|_| !self.unsure.destination_port)
                }
                13 if p.protocol == 6 => Some(self.tcp_flags()),
                _ => None,
            },
            _ => None,
        }
    }

    /// A rule writes into a header, and mends the checksum or not. What routing decided stays decided: `here` says
    /// whether the packet is for this node.
    pub(super) fn write_header(
        &mut self,
        base: u8,
        offset: usize,
        bytes: Vec<Option<u8>>,
        mends: bool,
        here: bool,
    ) {
        self.unsure.writes += u32::from(bytes.contains(&None));
        self.unsure.hashes.get_mut().clear();
        let end = offset + bytes.len();
        // Long enough for the addresses, too.
        let mut header: Vec<Option<u8>> = (0..end.max(40)).map(|at| self.header_byte(base, at)).collect();
        // IPv6 has no checksum of its header.
        if base == payload_base::NETWORK && self.packet.family() == IpFamily::V4 && !mends {
            let both = || header[offset..end].iter().zip(&bytes);
            self.unsure.broken |= both().any(|(a, b)| a.is_some() && b.is_some() && a != b);
            self.unsure.perhaps_broken |= both().any(|(a, b)| a.is_none() || b.is_none());
        }
        header[offset..end].copy_from_slice(&bytes);
        let part = |from: usize, len: usize| {
            header.get(from..from + len)?.iter().copied().collect::<Option<Vec<u8>>>()
        };
        let touches = |from: usize, len: usize| offset < from + len && from < end;
        match base {
            payload_base::NETWORK => {
                let family = self.packet.family();
                let (source, destination, len) = match family {
                    IpFamily::V4 => (12, 16, 4),
                    IpFamily::V6 => (8, 24, 16),
                };
                if touches(source, len) {
                    match part(source, len).and_then(|b| crate::ruleset::address(family, &b)) {
                        Some(a) => (self.packet.source, self.masked_source) = (a, false),
                        None => self.masked_source = true,
                    }
                }
                if touches(destination, len) {
                    if self.is_routed() {
                        self.local = Some(here);
                    }
                    match part(destination, len).and_then(|b| crate::ruleset::address(family, &b)) {
                        Some(a) => self.set_destination(a),
                        None => self.unsure.destination = true,
                    }
                }
            }
            payload_base::TRANSPORT if matches!(self.packet.protocol, 6 | 17 | 132 | 136) => {
                let number = |at: usize| part(at, 2).map(|b| u16::from_be_bytes([b[0], b[1]]));
                if touches(0, 2) {
                    let port = number(0);
                    self.unsure.source_port = port.is_none();
                    self.packet.source_port = port.unwrap_or(self.packet.source_port);
                }
                if touches(2, 2) {
                    let port = number(2);
                    self.unsure.destination_port = port.is_none();
                    self.packet.destination_port = port.unwrap_or(self.packet.destination_port);
                }
            }
            _ => {}
        }
        // Addresses and ports are the packet's own from here on; the rest is kept.
        let (family, protocol) = (self.packet.family(), self.packet.protocol);
        let placed = bytes.into_iter().enumerate().map(|(i, byte)| Written { base, at: offset + i, byte });
        self.unsure.written.extend(placed.filter(|w| !is_own(base, family, protocol, w.at)));
    }

    /// Another destination, which is known.
    pub(super) fn set_destination(&mut self, to: IpAddr) {
        self.packet.destination = to;
        self.unsure.destination = false;
    }

    /// Something that is not understood had the packet: whatever it can write may be another.
    pub(super) fn doubt_everything(&mut self, here: bool) {
        if self.is_routed() {
            self.local = Some(here);
        }
        self.masked_source = true;
        let u = &mut self.unsure;
        (u.destination, u.source_port, u.destination_port) = (true, true, true);
        (u.mark, u.flow_mark) = (u32::MAX, u32::MAX);
        u.written.iter_mut().for_each(|w| w.byte = None);
        u.meta.iter_mut().for_each(|m| m.1 = None);
        u.hashes.borrow_mut().clear();
        u.writes += 1;
    }

    /// Whether what is asked now is another question than before.
    pub(super) fn version(&self) -> String {
        match self.unsure.writes {
            0 => String::new(),
            n => format!(", as {n} rule{} before left it", if n == 1 { "" } else { "s" }),
        }
    }
}

fn byte_of(address: IpAddr, at: usize) -> Option<u8> {
    match address {
        IpAddr::V4(a) => a.octets().get(at).copied(),
        IpAddr::V6(a) => a.octets().get(at).copied(),
    }
}

/// True for bytes that a packet of the walk has fields for.
fn is_own(base: u8, family: IpFamily, protocol: u8, at: usize) -> bool {
    match (base, family) {
        (payload_base::NETWORK, IpFamily::V4) => (12..20).contains(&at),
        (payload_base::NETWORK, IpFamily::V6) => (8..40).contains(&at),
        (payload_base::TRANSPORT, _) => at < 4 && matches!(protocol, 6 | 17 | 132 | 136),
        _ => false,
    }
}
