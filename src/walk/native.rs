//! What native rules of nf_tables load, compare and look up (`net/netfilter/nft_*.c`).

use super::interface_match::Side;
use super::match_result::MatchResult;
use super::packet_state::PacketState;
use super::ruleset_index::RTN_LOCAL;
use super::{CtState, RulesetIndex};
use crate::ruleset::{
    Comparison, Condition, Data, Element, Field, IpFamily, Load, Match, Op, SetId, Table, Test, ct, meta,
    octets,
};
use crate::snapshot::MemoryList;
use std::net::IpAddr;

/// What a field holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Loaded {
    Bytes(Vec<u8>),
    /// Bytes of which some bits are not known, these bits, and what it is.
    Partly(Vec<u8>, Vec<u8>, String),
    /// The packet has no such thing: the rule does not match (`NFT_BREAK`).
    Break,
    /// A random number below this is needed first.
    Draw(u32),
    /// The snapshot does not say; what it is.
    Unknown(String),
}

/// A key of which some bits may not be known, and what that is.
#[derive(Debug, Default)]
struct Key {
    bytes: Vec<u8>,
    /// Bits of `bytes` that are not known; it may be shorter, and what is missing is known.
    unknown: Vec<u8>,
    why: Option<String>,
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

impl RulesetIndex<'_> {
    /// Whether the packet has the one interface that a condition names, where it is such a condition.
    fn interface_asked(&self, t: &PacketState, c: &Condition) -> Option<MatchResult> {
        let [load] = &c.key[..] else { return None };
        let side = match load.field {
            Field::Meta(meta::IIFNAME) => Side::In,
            Field::Meta(meta::OIFNAME) => Side::Out,
            _ => return None,
        };
        let Test::Compare { value, .. } = &c.test else { return None };
        // A name that does not end is the beginning of names.
        let (name, pattern) = match value.iter().position(|b| *b == 0) {
            Some(end) => (&value[..end], ""),
            None => (&value[..], "+"),
        };
        let name = std::str::from_utf8(name).ok().filter(|_| load.ops.is_empty())?;
        Some(self.has_interface(t, side, &format!("{name}{pattern}")))
    }

    /// Whether the packet is for this node, where a condition asks for just that and nobody knows.
    fn local_asked(&self, t: &PacketState, c: &Condition) -> Option<MatchResult> {
        let [load] = &c.key[..] else { return None };
        let Field::Fib { result: FIB_ADDRESS_TYPE, flags: FIB_DESTINATION } = load.field else { return None };
        let question = self.in_doubt(t.packet.destination).filter(|_| load.ops.is_empty())?;
        let Test::Compare { op, value } = &c.test else { return None };
        let is_local = **value == u32::from(RTN_LOCAL).to_ne_bytes();
        let inverted = *op == Comparison::NotEqual;
        is_local.then(|| MatchResult::Either(question, true).invert(inverted))
    }

    pub(super) fn condition(&self, table: &Table, t: &PacketState, c: &Condition) -> MatchResult {
        if let Some(held) = self.local_asked(t, c) {
            return held;
        }
        let question = |why: &str| {
            // The same question, whether a rule asks for it or for its opposite.
            let mut plain = c.clone();
            match &mut plain.test {
                Test::Compare { op: op @ Comparison::NotEqual, .. } => *op = Comparison::Equal,
                Test::Range { invert, .. } | Test::Set { invert, .. } => *invert = false,
                Test::Compare { .. } => {}
            }
            let text = table.match_text(&Match::Native(Box::new(plain)));
            // Of the packet itself the answer stays the same; what the kernel knows of it may be another by now.
            let fixed = |l: &Load| matches!(l.field, Field::Payload { .. } | Field::Exthdr { .. });
            let when = match (c.key.iter().all(fixed), t.looped) {
                (true, _) => String::new(),
                (false, false) => format!(" in {}", t.hook.name()),
                (false, true) => format!(" in {} when it comes in again", t.hook.name()),
            };
            MatchResult::either(format!("{why} is what the rule wants: `{text}`{when}{}", t.version()))
        };
        let key = match self.key_in_parts(table, t, &c.key) {
            Ok(key) => key,
            Err(held) => return held,
        };
        let inverted = match &c.test {
            Test::Compare { op, .. } => *op == Comparison::NotEqual,
            Test::Range { invert, .. } | Test::Set { invert, .. } => *invert,
        };
        match (&c.test, &key.why) {
            (Test::Set { set, .. }, None) => {
                let held = match self.find(table, t, *set, &key.bytes) {
                    Ok(found) => MatchResult::from(found.is_some()),
                    Err(held) => held,
                };
                held.invert(inverted)
            }
            // A shorter value is the beginning of a name: `eth*`.
            (Test::Compare { op: Comparison::Equal | Comparison::NotEqual, value }, _) => {
                let unknown = key.unknown.iter().chain(std::iter::repeat(&0));
                let known_to_differ = value
                    .iter()
                    .zip(&key.bytes)
                    .zip(unknown)
                    .any(|((v, b), unknown)| (v ^ b) & !unknown != 0);
                let doubt = key.unknown.iter().take(value.len()).any(|u| *u != 0);
                match &key.why {
                    _ if known_to_differ => MatchResult::from(inverted),
                    Some(why) if doubt => {
                        let named = self.interface_asked(t, c);
                        named.unwrap_or_else(|| question(why)).invert(inverted)
                    }
                    _ => MatchResult::from(!inverted),
                }
            }
            (_, Some(why)) => question(why).invert(inverted),
            (Test::Compare { op, value }, None) => {
                let n = value.len().min(key.bytes.len());
                let order = key.bytes[..n].cmp(&value[..n]);
                MatchResult::from(match op {
                    Comparison::Equal | Comparison::NotEqual => return MatchResult::No, // above
                    Comparison::Less => order.is_lt(),
                    Comparison::LessOrEqual => order.is_le(),
                    Comparison::Greater => order.is_gt(),
                    Comparison::GreaterOrEqual => order.is_ge(),
                })
            }
            (Test::Range { from, to, .. }, None) => {
                MatchResult::from((**from <= key.bytes[..] && key.bytes[..] <= **to) != inverted)
            }
        }
    }

    /// The bytes of a key of one field or several, these on multiples of four.
    pub(super) fn key(&self, table: &Table, t: &PacketState, loads: &[Load]) -> Result<Vec<u8>, MatchResult> {
        let key = self.key_in_parts(table, t, loads)?;
        match key.why {
            None => Ok(key.bytes),
            Some(what) => {
                let place = t.rule_place(table);
                Err(MatchResult::either(format!("{what} is what the rule wants ({place}){}", t.version())))
            }
        }
    }

    fn key_in_parts(&self, table: &Table, t: &PacketState, loads: &[Load]) -> Result<Key, MatchResult> {
        let mut key = Key::default();
        for load in loads {
            match self.load(table, t, load) {
                Loaded::Bytes(bytes) if loads.len() == 1 => key.bytes = bytes,
                Loaded::Bytes(bytes) => key.bytes.extend(bytes),
                Loaded::Partly(bytes, unknown, what) => {
                    key.unknown.resize(key.bytes.len(), 0);
                    key.bytes.extend(bytes);
                    key.unknown.extend(unknown);
                    key.why.get_or_insert(what);
                }
                Loaded::Unknown(what) => {
                    key.unknown.resize(key.bytes.len(), 0);
                    key.bytes.resize(key.bytes.len() + load.len as usize, 0);
                    key.unknown.resize(key.bytes.len(), 0xff);
                    key.why.get_or_insert(what);
                }
                Loaded::Break => return Err(MatchResult::No),
                Loaded::Draw(n) => return Err(MatchResult::Draw(n)),
            }
            if loads.len() > 1 {
                key.bytes.resize(key.bytes.len().next_multiple_of(4), 0);
            }
        }
        Ok(key)
    }

    /// The element of a set for a key; the question that remains where its elements are not known.
    pub(super) fn find(
        &self,
        table: &Table,
        t: &PacketState,
        set: SetId,
        key: &[u8],
    ) -> Result<Option<&Element>, MatchResult> {
        t.count_lookup();
        let index = t.here().table;
        if !table.set(set).is_dynamic()
            && let Some(elements) = self.elements(index, set)
        {
            return Ok(elements.find(key));
        }
        let name = table.str(table.set(set).name);
        let list = MemoryList::Set(table.family, table.name.clone(), name.to_string());
        let width = usize::from(t.packet.family().bits() / 8);
        let client = (key.len() == width && !t.masked_source)
            .then(|| crate::ruleset::address(t.packet.family(), key))
            .flatten();
        match client {
            Some(client) => Err(self.memory(&list, client, 0, t)),
            None => {
                let place = t.rule_place(table);
                Err(MatchResult::either(format!(
                    "@{name}, whose elements are not known, has the packet ({place})"
                )))
            }
        }
    }

    pub(super) fn load(&self, table: &Table, t: &PacketState, load: &Load) -> Loaded {
        let (mut bytes, mut unknown, what) = match self.field(table, t, &load.field, load.len as usize) {
            Loaded::Bytes(bytes) => (bytes, Vec::new(), None),
            Loaded::Partly(bytes, unknown, what) => (bytes, unknown, Some(what)),
            other => return other,
        };
        for op in &load.ops {
            match op {
                Op::Bitwise { mask, xor } => {
                    for (i, b) in bytes.iter_mut().enumerate() {
                        *b = *b & mask.get(i).unwrap_or(&0xff) ^ xor.get(i).unwrap_or(&0);
                    }
                    for (u, m) in unknown.iter_mut().zip(mask) {
                        *u &= m;
                    }
                }
                Op::ShiftLeft(n) | Op::ShiftRight(n) => {
                    // The kernel shifts whole words of its registers, whatever is in them.
                    let shifted = |bytes: &[u8]| {
                        let mut word = [0; 4];
                        let len = bytes.len().min(4);
                        word[..len].copy_from_slice(&bytes[..len]);
                        let word = u32::from_ne_bytes(word);
                        let left = matches!(op, Op::ShiftLeft(_));
                        let moved = if left { word.checked_shl(*n) } else { word.checked_shr(*n) };
                        moved.unwrap_or(0).to_ne_bytes().to_vec()
                    };
                    if bytes.len() > 4 {
                        return Loaded::Unknown("a shifted field".into());
                    }
                    (bytes, unknown) = (shifted(&bytes), shifted(&unknown));
                }
                Op::Byteorder if cfg!(target_endian = "little") => {
                    bytes.reverse();
                    unknown.reverse();
                }
                Op::Byteorder => {}
            }
        }
        match what {
            Some(what) if unknown.iter().any(|u| *u != 0) => Loaded::Partly(bytes, unknown, what),
            _ => Loaded::Bytes(bytes),
        }
    }

    fn field(&self, table: &Table, t: &PacketState, field: &Field, len: usize) -> Loaded {
        let p = &t.packet;
        if let Field::Meta(key) = field
            && let Some((_, value)) = t.unsure.meta.iter().find(|m| m.0 == *key)
        {
            return match value {
                Some(bytes) => Loaded::Bytes(bytes.clone()),
                None => Loaded::Unknown("what a rule set".into()),
            };
        }
        match field {
            Field::Value(v) => Loaded::Bytes(v.to_vec()),
            Field::Payload { base, offset, len } => payload(t, *base, *offset as usize, *len as usize),
            Field::Meta(key) => match *key {
                meta::PROTOCOL => Loaded::Bytes(match p.family() {
                    IpFamily::V4 => vec![0x08, 0x00],
                    IpFamily::V6 => vec![0x86, 0xdd],
                }),
                meta::MARK => partly(p.mark, t.unsure.mark, "the mark"),
                meta::NFPROTO => Loaded::Bytes(vec![if p.family() == IpFamily::V4 { 2 } else { 10 }]),
                meta::L4PROTO => Loaded::Bytes(vec![p.protocol]),
                meta::IIFNAME | meta::OIFNAME => {
                    let (name, what) = match *key {
                        meta::IIFNAME => (t.in_interface(), "the interface by which it came"),
                        _ => (t.out_interface(self), "the interface by which it leaves"),
                    };
                    match name {
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
                    0 => (p.destination, t.unsure.destination),
                    _ => (p.source, t.masked_source),
                };
                // Limited to an interface, or by mark: another table of routes may answer.
                let open = flags & FIB_SOURCE == 0 && self.in_doubt(addr).is_some();
                if flags & !(FIB_SOURCE | FIB_DESTINATION) != 0 || masked || open {
                    return Loaded::Unknown("the type of the address there".into());
                }
                Loaded::Bytes(u32::from(self.address_type(addr)).to_ne_bytes().to_vec())
            }
            Field::Fib { .. } => Loaded::Unknown("what the routing table answers".into()),
            Field::Numgen { modulus, offset, .. } => match t.drawn {
                Some(n) => Loaded::Bytes(n.wrapping_add(*offset).to_ne_bytes().to_vec()),
                None if *modulus > MOST_DRAWN => Loaded::Unknown("the number that the kernel draws".into()),
                None => Loaded::Draw((*modulus).max(1)),
            },
            Field::Hash { modulus, offset, .. } => {
                let known = t.unsure.hashes.borrow().iter().find(|h| h.0 == *field).map(|h| h.1);
                match known.or(t.drawn) {
                    Some(n) => {
                        if known.is_none() {
                            t.unsure.hashes.borrow_mut().push((field.clone(), n));
                        }
                        Loaded::Bytes(n.wrapping_add(*offset).to_ne_bytes().to_vec())
                    }
                    None if *modulus > MOST_DRAWN => Loaded::Unknown("a hash of the packet".into()),
                    None => Loaded::Draw((*modulus).max(1)),
                }
            }
            // Without such a header there is none of its options (`nft_exthdr_*_eval`: 0 for presence, else `NFT_BREAK`).
            Field::Exthdr { op, present, .. } if !may_have(p.protocol, p.family(), *op) => match present {
                true => Loaded::Bytes(vec![0]),
                false => Loaded::Break,
            },
            Field::Exthdr { .. } => Loaded::Unknown("an option or extension of the header".into()),
            Field::Rt(_) => Loaded::Unknown("a fact of the route".into()),
            Field::Socket { .. } => Loaded::Unknown("the socket that the packet is for".into()),
            // `nft_osf_eval`
            Field::Osf { .. } if p.protocol != 6 => Loaded::Break,
            Field::Osf { .. } => Loaded::Unknown("the sender's operating system".into()),
            Field::Xfrm { .. } => Loaded::Unknown("the packet's IPsec state".into()),
            Field::Mapped(m) => {
                let key = match self.key(table, t, &m.key) {
                    Ok(key) => key,
                    Err(MatchResult::Draw(n)) => return Loaded::Draw(n),
                    Err(MatchResult::Either(what, _)) => return Loaded::Unknown(what.to_string()),
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
                    Err(MatchResult::Either(what, _)) => Loaded::Unknown(what.to_string()),
                    Err(_) => Loaded::Break,
                }
            }
            Field::Unknown(u) => {
                Loaded::Unknown(format!("`{}`, which kptop does not know,", table.str(u.name)))
            }
        }
    }
}

/// Numbers that are drawn one by one, at most: each is a way of its own.
const MOST_DRAWN: u32 = 1_024;

/// A number in host order of which some bits are not known.
fn partly(value: u32, unknown: u32, what: &str) -> Loaded {
    match unknown {
        0 => Loaded::Bytes(value.to_ne_bytes().to_vec()),
        _ => Loaded::Partly(value.to_ne_bytes().to_vec(), unknown.to_ne_bytes().to_vec(), what.to_string()),
    }
}

/// Whether a packet can have what an `exthdr` asks for: 0 IPv6, 1 TCP option, 2 IPv4 option, 3 SCTP, 4 DCCP.
pub(super) fn may_have(protocol: u8, family: IpFamily, op: u8) -> bool {
    match op {
        0 => family == IpFamily::V6,
        1 => protocol == 6,
        2 => family == IpFamily::V4,
        3 => protocol == 132,
        4 => protocol == 33,
        _ => true,
    }
}

fn payload(t: &PacketState, base: u8, offset: usize, len: usize) -> Loaded {
    let field = || (offset..offset + len).map(|at| t.header_byte(base, at));
    if let Some(bytes) = field().collect() {
        return Loaded::Bytes(bytes);
    }
    let layer = ["link", "network", "transport"].get(usize::from(base)).unwrap_or(&"other");
    let unknown = field().map(|b| if b.is_none() { 0xff } else { 0 }).collect();
    let bytes = field().map(Option::unwrap_or_default).collect();
    Loaded::Partly(bytes, unknown, format!("a field of the {layer} header"))
}

fn connection(t: &PacketState, key: u32, direction: Option<u8>, len: usize) -> Loaded {
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
        // Of a flow whose first packet it is not nothing else is known.
        _ if state != CtState::New => Loaded::Unknown(format!("ct key {key}")),
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
            Loaded::Bytes(u32::to_ne_bytes(bits).to_vec())
        }
        ct::MARK => partly(t.flow_mark, t.unsure.flow_mark, "the flow's mark"),
        ct_key::L3PROTOCOL => Loaded::Bytes(vec![if t.packet.family() == IpFamily::V4 { 2 } else { 10 }]),
        ct_key::PROTOCOL => Loaded::Bytes(vec![t.packet.protocol]),
        ct_key::SRC | ct_key::SRC_IP | ct_key::SRC_IP6 if original => address(t.first.source),
        ct_key::DST | ct_key::DST_IP | ct_key::DST_IP6 if original => address(t.first.destination),
        ct_key::PROTO_SRC if original => port(t.first.source_port),
        ct_key::PROTO_DST if original => port(t.first.destination_port),
        key => Loaded::Unknown(format!("ct key {key}")),
    }
}
