//! What native rules of nf_tables load, compare and look up (`net/netfilter/nft_*.c`).

use super::held::Held;
use super::travel::Traveller;
use super::{CtState, Ground};
use crate::ruleset::{
    Comparison, Condition, Data, Element, Field, IpFamily, Load, Op, SetId, Table, Test, ct, meta, octets,
    payload_base,
};
use crate::snapshot::MemoryList;
use std::net::IpAddr;

/// What a field holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Loaded {
    Bytes(Vec<u8>),
    /// The packet has no such thing: the rule does not match (`NFT_BREAK`).
    Break,
    /// A random number below this is needed first.
    Draw(u32),
    /// The snapshot does not tell; what it is.
    Unknown(String),
}

/// `enum nft_ct_keys` beyond those that `ruleset` names.
mod ct_key {
    pub(super) const L3PROTOCOL: u32 = 7;
    pub(super) const SRC: u32 = 8;
    pub(super) const DST: u32 = 9;
    pub(super) const PROTOCOL: u32 = 10;
    pub(super) const PROTO_SRC: u32 = 11;
    pub(super) const PROTO_DST: u32 = 12;
    pub(super) const SRC_IP: u32 = 19;
    pub(super) const DST_IP: u32 = 20;
    pub(super) const SRC_IP6: u32 = 21;
    pub(super) const DST_IP6: u32 = 22;
}

/// `NFTA_FIB_F_*` and `NFT_FIB_RESULT_ADDRTYPE` (`linux/netfilter/nf_tables.h`).
const FIB_SOURCE: u32 = 1;
const FIB_DESTINATION: u32 = 2;
const FIB_ADDRESS_TYPE: u32 = 3;

/// `IPS_SRC_NAT`, `IPS_DST_NAT` (`linux/netfilter/nf_conntrack_common.h`).
const IPS_SRC_NAT: u32 = 1 << 4;
const IPS_DST_NAT: u32 = 1 << 5;

const IFNAMSIZ: usize = 16;

impl Ground<'_> {
    pub(super) fn condition(&self, table: &Table, t: &Traveller, c: &Condition) -> Held {
        if let Test::Set { set, invert } = &c.test {
            let key = match self.key(table, t, &c.key) {
                Ok(key) => key,
                Err(held) => return held,
            };
            let held = match self.find(table, t, *set, &key) {
                Ok(found) => Held::from(found.is_some()),
                Err(held) => held,
            };
            return match (held, invert) {
                (Held::Yes, true) => Held::No,
                (Held::No, true) => Held::Yes,
                (Held::Either(yes, no), true) => Held::Either(no, yes),
                (held, _) => held,
            };
        }
        let key = match self.key(table, t, &c.key) {
            Ok(key) => key,
            // Which interface it is may not be known; one that leads elsewhere is not loopback.
            Err(held @ Held::Either(..)) => return not_loopback(c).unwrap_or(held),
            Err(held) => return held,
        };
        Held::from(match &c.test {
            Test::Compare { op, value } => {
                // A shorter value is the beginning of a name: `eth*`.
                let n = value.len().min(key.len());
                let order = key[..n].cmp(&value[..n]);
                match op {
                    Comparison::Equal => order.is_eq(),
                    Comparison::NotEqual => order.is_ne(),
                    Comparison::Less => order.is_lt(),
                    Comparison::LessOrEqual => order.is_le(),
                    Comparison::Greater => order.is_gt(),
                    Comparison::GreaterOrEqual => order.is_ge(),
                }
            }
            Test::Range { invert, from, to } => (**from <= key[..] && key[..] <= **to) != *invert,
            Test::Set { .. } => return Held::No, // above
        })
    }

    /// The bytes of a key of one field or several, these on multiples of four.
    pub(super) fn key(&self, table: &Table, t: &Traveller, loads: &[Load]) -> Result<Vec<u8>, Held> {
        let mut key = Vec::with_capacity(40);
        for load in loads {
            match self.load(table, t, load) {
                Loaded::Bytes(bytes) => key.extend(bytes),
                Loaded::Break => return Err(Held::No),
                Loaded::Draw(n) => return Err(Held::Draw(n)),
                Loaded::Unknown(what) => return Err(Held::either(format!("{what} is what the rule wants"))),
            }
            if loads.len() > 1 {
                key.resize(key.len().next_multiple_of(4), 0);
            }
        }
        Ok(key)
    }

    /// The element of a set for a key; the question that remains where its elements are not known.
    pub(super) fn find(
        &self,
        table: &Table,
        t: &Traveller,
        set: SetId,
        key: &[u8],
    ) -> Result<Option<&Element>, Held> {
        t.lookups.set(t.lookups.get() + 1);
        let index = t.here().table;
        if !table.set(set).is_dynamic()
            && let Some(elements) = self.elements(index, set)
        {
            return Ok(elements.find(key));
        }
        let name = table.str(table.set(set).name);
        let list = MemoryList::Set(table.family, table.name.clone(), name.to_string());
        let width = usize::from(t.packet.family().bits() / 8);
        let client = (key.len() == width).then(|| crate::ruleset::address(t.packet.family(), key)).flatten();
        match client {
            Some(client) => Err(self.memory(&list, client, 0, t)),
            None => Err(Held::either(format!("@{name}, whose elements are not known, has the packet"))),
        }
    }

    pub(super) fn load(&self, table: &Table, t: &Traveller, load: &Load) -> Loaded {
        let mut bytes = match self.field(table, t, &load.field, load.len as usize) {
            Loaded::Bytes(bytes) => bytes,
            other => return other,
        };
        for op in &load.ops {
            match op {
                Op::Bitwise { mask, xor } => {
                    for (i, b) in bytes.iter_mut().enumerate() {
                        *b = *b & mask.get(i).unwrap_or(&0xff) ^ xor.get(i).unwrap_or(&0);
                    }
                }
                Op::ShiftLeft(n) | Op::ShiftRight(n) => {
                    let Some(word) = bytes.first_chunk::<4>().map(|w| u32::from_ne_bytes(*w)) else {
                        return Loaded::Unknown("a shifted field".into());
                    };
                    let left = matches!(op, Op::ShiftLeft(_));
                    let moved = if left { word.checked_shl(*n) } else { word.checked_shr(*n) };
                    bytes = moved.unwrap_or(0).to_ne_bytes().to_vec();
                }
                Op::Byteorder if cfg!(target_endian = "little") => bytes.reverse(),
                Op::Byteorder => {}
            }
        }
        Loaded::Bytes(bytes)
    }

    fn field(&self, table: &Table, t: &Traveller, field: &Field, len: usize) -> Loaded {
        let p = &t.packet;
        match field {
            Field::Value(v) => Loaded::Bytes(v.to_vec()),
            Field::Payload { base, offset, len } => payload(t, *base, *offset as usize, *len as usize),
            Field::Meta(key) => match *key {
                meta::PROTOCOL => Loaded::Bytes(match p.family() {
                    IpFamily::V4 => vec![0x08, 0x00],
                    IpFamily::V6 => vec![0x86, 0xdd],
                }),
                meta::MARK => Loaded::Bytes(p.mark.to_ne_bytes().to_vec()),
                meta::NFPROTO => Loaded::Bytes(vec![if p.family() == IpFamily::V4 { 2 } else { 10 }]),
                meta::L4PROTO => Loaded::Bytes(vec![p.protocol]),
                meta::IIFNAME | meta::OIFNAME => {
                    let (name, what) = match *key {
                        meta::IIFNAME => (t.in_interface(), "the interface by which it came"),
                        _ => (t.out_interface(self), "the interface by which it leaves"),
                    };
                    match name {
                        // `nft_meta_get_eval`: no device, no match.
                        Some("") => Loaded::Break,
                        Some(name) => {
                            let mut bytes = name.as_bytes().to_vec();
                            bytes.resize(IFNAMSIZ, 0);
                            Loaded::Bytes(bytes)
                        }
                        None => Loaded::Unknown(what.into()),
                    }
                }
                key => Loaded::Unknown(format!("meta key {key}")),
            },
            Field::Ct { key, direction } => connection(t, *key, *direction, len),
            Field::Fib { result: FIB_ADDRESS_TYPE, flags } if flags & (FIB_SOURCE | FIB_DESTINATION) != 0 => {
                let (addr, masked) = match flags & FIB_SOURCE {
                    0 => (p.destination, false),
                    _ => (p.source, t.masked_source),
                };
                // Limited to an interface, or by mark: another table of routes may answer.
                if flags & !(FIB_SOURCE | FIB_DESTINATION) != 0 || masked {
                    return Loaded::Unknown("the type of the address there".into());
                }
                Loaded::Bytes(u32::from(self.address_type(addr)).to_ne_bytes().to_vec())
            }
            Field::Fib { .. } => Loaded::Unknown("what the routing table answers".into()),
            Field::Numgen { modulus, offset, .. } => match t.drawn {
                Some(n) => Loaded::Bytes((n + offset).to_ne_bytes().to_vec()),
                None => Loaded::Draw((*modulus).max(1)),
            },
            Field::Mapped(m) => {
                let key = match self.key(table, t, &m.key) {
                    Ok(key) => key,
                    Err(Held::Draw(n)) => return Loaded::Draw(n),
                    Err(Held::Either(what, _)) => return Loaded::Unknown(what),
                    Err(_) => return Loaded::Break,
                };
                match self.find(table, t, m.set, &key) {
                    Ok(Some(Element { data: Data::Value(v), .. })) => {
                        let from = m.offset as usize;
                        match v.get(from..from + len) {
                            Some(bytes) => Loaded::Bytes(bytes.to_vec()),
                            None => Loaded::Unknown("a value that the map does not hold whole".into()),
                        }
                    }
                    Ok(_) => Loaded::Break,
                    Err(Held::Either(what, _)) => Loaded::Unknown(what),
                    Err(_) => Loaded::Break,
                }
            }
            Field::Unknown(u) => {
                Loaded::Unknown(format!("`{}`, which kptop does not know,", table.str(u.name)))
            }
        }
    }
}

/// Bytes of the packet's headers, as far as a packet that is only thought of has them.
/// The answer to a question for loopback, of an interface that is not known.
fn not_loopback(c: &Condition) -> Option<Held> {
    let [load] = &c.key[..] else { return None };
    let named = matches!(load.field, Field::Meta(meta::IIFNAME | meta::OIFNAME)) && load.ops.is_empty();
    match &c.test {
        Test::Compare { op, value } if named && value.starts_with(b"lo\0") => match op {
            Comparison::Equal => Some(Held::No),
            Comparison::NotEqual => Some(Held::Yes),
            _ => None,
        },
        _ => None,
    }
}

fn payload(t: &Traveller, base: u8, offset: usize, len: usize) -> Loaded {
    let p = &t.packet;
    let mut header: Vec<Option<u8>> = Vec::with_capacity(40);
    let known = |header: &mut Vec<Option<u8>>, bytes: &[u8]| header.extend(bytes.iter().map(|b| Some(*b)));
    match (base, p.family()) {
        (payload_base::NETWORK, family) => {
            if family == IpFamily::V4 {
                header.push(Some(0x45));
                header.extend([None; 5]);
                known(&mut header, &[0, 0]); // no fragment
                header.push(None);
                header.push(Some(p.protocol));
                header.extend([None; 2]);
            } else {
                header.extend([None; 6]);
                header.push(Some(p.protocol));
                header.push(None);
            }
            let source = octets(p.source);
            if t.masked_source {
                header.resize(header.len() + source.len(), None);
            } else {
                known(&mut header, &source);
            }
            known(&mut header, &octets(p.destination));
        }
        (payload_base::TRANSPORT, _) if matches!(p.protocol, 6 | 17 | 132 | 136) => {
            known(&mut header, &p.source_port.to_be_bytes());
            known(&mut header, &p.destination_port.to_be_bytes());
            if p.protocol == 6 {
                header.extend([None; 9]);
                header.push(Some(t.tcp_flags()));
            }
        }
        _ => {}
    }
    match header.get(offset..offset + len).map(|h| h.iter().copied().collect::<Option<Vec<u8>>>()) {
        Some(Some(bytes)) => Loaded::Bytes(bytes),
        _ => {
            let layer = ["link", "network", "transport"].get(usize::from(base)).unwrap_or(&"other");
            Loaded::Unknown(format!("a field of the {layer} header"))
        }
    }
}

fn connection(t: &Traveller, key: u32, direction: Option<u8>, len: usize) -> Loaded {
    let state = t.state();
    // Without a flow only its state can be asked (`nft_ct_get_eval`).
    let tracked = !matches!(state, CtState::Untracked | CtState::Invalid);
    let address = |a: IpAddr| {
        let mut bytes = octets(a);
        bytes.resize(len.max(bytes.len()), 0);
        Loaded::Bytes(bytes)
    };
    let port = |n: u16| Loaded::Bytes(n.to_be_bytes().to_vec());
    let original = direction.is_none_or(|d| d == 0);
    match key {
        ct::STATE => {
            // NF_CT_STATE_BIT, NF_CT_STATE_UNTRACKED_BIT
            let bits: u32 = match state {
                CtState::Invalid => 1,
                CtState::Established => 2,
                CtState::Related => 4,
                CtState::New => 8,
                CtState::Untracked => 64,
            };
            Loaded::Bytes(bits.to_ne_bytes().to_vec())
        }
        _ if !tracked => Loaded::Break,
        ct::DIRECTION => Loaded::Bytes(vec![0]),
        ct::STATUS => {
            let mut bits = 0;
            if t.translated_source {
                bits |= IPS_SRC_NAT;
            }
            if t.translated_destination {
                bits |= IPS_DST_NAT;
            }
            // The other bits say that NAT was tried, that the flow is known, that it was answered.
            if state == CtState::New {
                Loaded::Bytes(u32::to_ne_bytes(bits).to_vec())
            } else {
                Loaded::Unknown("the status of the flow".into())
            }
        }
        ct::MARK if state == CtState::New => Loaded::Bytes(t.flow_mark.to_ne_bytes().to_vec()),
        ct_key::L3PROTOCOL => Loaded::Bytes(vec![if t.packet.family() == IpFamily::V4 { 2 } else { 10 }]),
        ct_key::PROTOCOL => Loaded::Bytes(vec![t.packet.protocol]),
        ct_key::SRC | ct_key::SRC_IP | ct_key::SRC_IP6 if original => address(t.first.source),
        ct_key::DST | ct_key::DST_IP | ct_key::DST_IP6 if original => address(t.first.destination),
        ct_key::PROTO_SRC if original => port(t.first.source_port),
        ct_key::PROTO_DST if original => port(t.first.destination_port),
        key => Loaded::Unknown(format!("ct key {key}")),
    }
}
