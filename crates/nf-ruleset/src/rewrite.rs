//! A table with other names and addresses: for recordings that are given away.

use crate::nft_read::as_ends;
use crate::nft_text::values::{Kind, kinds, split};
use crate::{Condition, Field, Load, Statement, Terminal, Test, payload_base};
use crate::{
    Data, Element, IpFamily, IpNet, Match, NatRange, Set, Strings, Table, Target, address, address_number,
    octets, with_last_keys,
};
use std::net::IpAddr;

/// What other names and addresses are.
pub struct Rewrite<'a> {
    /// Of a name or comment.
    pub text: &'a dyn Fn(&str) -> String,
    /// Of an address. It must keep what addresses have in common at their beginning, as networks are rewritten, too.
    pub address: &'a dyn Fn(IpAddr) -> IpAddr,
}

impl Table {
    /// The same rules with other names and addresses.
    pub fn rewritten(&self, r: &Rewrite<'_>) -> Table {
        let mut t = self.clone();
        t.strings = Strings::of(self.strings.iter().map(r.text));
        t.matches.iter_mut().for_each(|m| r.one(m));
        t.rules.iter_mut().for_each(|rule| r.target(&mut rule.target));
        t.sets.iter_mut().for_each(|s| r.set(s));
        if let Some(nf) = &mut t.nf {
            nf.comment = nf.comment.take().map(|c| (r.text)(&c));
            nf.chain_comments.iter_mut().for_each(|c| c.1 = (r.text)(&c.1));
        }
        t
    }
}

/// An address without the bits behind its prefix.
fn masked(addr: IpAddr, prefix: u8) -> IpAddr {
    let mut bytes = octets(addr);
    for (i, b) in bytes.iter_mut().enumerate() {
        let kept = usize::from(prefix).saturating_sub(i * 8).min(8);
        *b &= !(0xffu16 >> kept) as u8;
    }
    address(IpFamily::of(addr), &bytes).unwrap_or(addr)
}

impl Rewrite<'_> {
    /// A network.
    pub fn net(&self, net: IpNet) -> IpNet {
        IpNet { addr: masked((self.address)(net.addr), net.prefix), prefix: net.prefix }
    }

    /// First and last address of a range: a network stays one, another keeps its size.
    fn range(&self, from: IpAddr, to: IpAddr) -> (IpAddr, IpAddr) {
        let family = IpFamily::of(from);
        let bits = u32::from(family.bits());
        let size = address_number(to).wrapping_sub(address_number(from));
        let is_network = (size.wrapping_add(1)).is_power_of_two() && address_number(from) & size == 0;
        let new = (self.address)(from);
        let new = match is_network {
            true => masked(new, (bits - size.count_ones()) as u8),
            false => new,
        };
        let most = if bits == 128 { u128::MAX } else { (1 << bits) - 1 };
        let last = address_number(new).saturating_add(size).min(most).to_be_bytes();
        (new, address(family, &last[16 - bits as usize / 8..]).unwrap_or(new))
    }

    fn one(&self, m: &mut Match) {
        match m {
            Match::Address4 { addr, prefix, .. } => {
                if let IpAddr::V4(new) = self.net(IpNet { addr: (*addr).into(), prefix: *prefix }).addr {
                    *addr = new;
                }
            }
            Match::Address6(a) => a.net = self.net(a.net),
            Match::MaskedAddress(a) => a.addr = (self.address)(a.addr),
            Match::Ipvs(i) => i.address = (self.address)(i.address),
            Match::Native(c) => self.condition(c),
            Match::Does(s) => self.statement(s),
            // What is not understood may hold anything.
            Match::Unknown(u) => u.bytes = vec![0; u.bytes.len()].into(),
            _ => {}
        }
    }

    fn bytes(&self, bytes: &mut Box<[u8]>) {
        let family = match bytes.len() {
            4 => IpFamily::V4,
            16 => IpFamily::V6,
            _ => return,
        };
        if let Some(a) = address(family, bytes) {
            *bytes = octets((self.address)(a)).into();
        }
    }

    fn condition(&self, c: &mut Condition) {
        if !matches!(&c.key[..], [one] if is_address(one)) {
            return;
        }
        match &mut c.test {
            Test::Compare { value, .. } => self.bytes(value),
            Test::Range { from, to, .. } => {
                let family = if from.len() == 4 { IpFamily::V4 } else { IpFamily::V6 };
                if let (Some(a), Some(b)) = (address(family, from), address(family, to)) {
                    let (a, b) = self.range(a, b);
                    (*from, *to) = (octets(a).into(), octets(b).into());
                }
            }
            Test::Set { .. } => {}
        }
    }

    fn statement(&self, s: &mut Statement) {
        match s {
            Statement::Target(t) => self.target(t),
            Statement::Unknown(u) => u.bytes = vec![0; u.bytes.len()].into(),
            Statement::SetPayload { base, offset, len, value, .. } => {
                let field = Field::Payload { base: *base, offset: *offset, len: *len };
                if is_address(&Load::new(field, *len)) {
                    self.constant(value);
                }
            }
            Statement::Tproxy { addr: Some(load), .. } | Statement::Dup { addr: Some(load), .. } => {
                self.constant(load);
            }
            _ => {}
        }
    }

    /// An address that is in a rule as it is.
    fn constant(&self, load: &mut Load) {
        if let Field::Value(v) = &mut load.field {
            self.bytes(v);
        }
    }

    fn nat(&self, range: &mut NatRange) {
        if let Some((a, b)) = range.addrs {
            range.addrs = Some(self.range(a, b));
        }
    }

    fn target(&self, t: &mut Target) {
        match t {
            Target::DnatTo4 { addr, .. } => {
                if let IpAddr::V4(new) = (self.address)((*addr).into()) {
                    *addr = new;
                }
            }
            Target::DnatTo6(d) => d.addr = (self.address)(d.addr),
            Target::Dnat(r) | Target::Snat(r) | Target::Masquerade(r) | Target::Redirect(r) => self.nat(r),
            Target::Native(n) => match &mut **n {
                Terminal::Nat { addr: Some((a, b)), .. } => {
                    self.constant(a);
                    self.constant(b);
                }
                Terminal::Forward { addr: Some(a), .. } => self.constant(a),
                _ => {}
            },
            Target::Unknown(u) => u.bytes = vec![0; u.bytes.len()].into(),
            _ => {}
        }
    }

    /// A key or data, field by field.
    fn fields(&self, of: &[Kind], bytes: &[u8]) -> Box<[u8]> {
        self.field_ranges(of, bytes, bytes).0
    }

    /// First and last key where each field is a range of its own.
    fn field_ranges(&self, of: &[Kind], from: &[u8], to: &[u8]) -> (Box<[u8]>, Box<[u8]>) {
        let (mut first, mut last) = (from.to_vec(), to.to_vec());
        let mut at = 0;
        for ((kind, a), (_, b)) in split(of, from).into_iter().zip(split(of, to)) {
            let family = match kind {
                Kind::Ipv4 => Some(IpFamily::V4),
                Kind::Ipv6 => Some(IpFamily::V6),
                _ => None,
            };
            if let Some((a, b)) = family.and_then(|f| Some((address(f, a)?, address(f, b)?))) {
                for (out, new) in [&mut first, &mut last].into_iter().zip(<[_; 2]>::from(self.range(a, b))) {
                    let new = octets(new);
                    out[at..at + new.len()].copy_from_slice(&new);
                }
            }
            at += a.len().next_multiple_of(4);
        }
        (first.into(), last.into())
    }

    fn set(&self, set: &mut Set) {
        let of = kinds(set.key_type);
        let data = kinds(set.data_type);
        let holds_ranges = set.holds_ranges();
        let Some(elements) = &mut set.elements else { return };
        for e in elements.iter_mut() {
            if let Data::Value(v) = &e.data {
                e.data = Data::Value(self.fields(&data, v));
            }
        }
        if !of.iter().any(|k| matches!(k, Kind::Ipv4 | Kind::Ipv6)) {
            return;
        }
        if !holds_ranges {
            for e in elements.iter_mut().filter(|e| !e.catch_all) {
                match &e.key_end {
                    Some(end) => {
                        let (first, last) = self.field_ranges(&of, &e.key, end);
                        (e.key, e.key_end) = (first, Some(last));
                    }
                    None => e.key = self.fields(&of, &e.key),
                }
            }
            return;
        }
        let mut sorted: Vec<&Element> = elements.iter().filter(|e| !e.catch_all).collect();
        sorted.sort_by(|a, b| (&a.key, !a.end).cmp(&(&b.key, !b.end)));
        let family = if of[0] == Kind::Ipv4 { IpFamily::V4 } else { IpFamily::V6 };
        let mut new: Vec<(Element, Option<Vec<u8>>)> = with_last_keys(&sorted)
            .filter_map(|(e, last)| {
                let (from, to) = self.range(address(family, &e.key)?, address(family, &last)?);
                Some((Element { key: octets(from).into(), ..e.clone() }, Some(octets(to))))
            })
            .collect();
        new.extend(elements.iter().filter(|e| e.catch_all).map(|e| (e.clone(), None)));
        *elements = as_ends(new);
    }
}

/// True for a field that holds an address, by where it is (see `nft_text::fields`).
fn is_address(load: &Load) -> bool {
    match load.field {
        Field::Payload { base: payload_base::NETWORK, offset: 12 | 16, len: 4 } => true,
        Field::Payload { base: payload_base::NETWORK, offset: 8 | 24, len: 16 } => true,
        // Addresses of conntrack's tuples.
        Field::Ct { key: 8 | 9 | 19..=22, .. } => true,
        _ => false,
    }
}
