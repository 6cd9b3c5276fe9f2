//! Rules -> expressions: conditions are loaded into registers again.

use super::attributes::{counter, set_name, set_number, verdict};
use crate::netlink::Request;
use crate::xtables::extensions;
use nf_ruleset::{
    Comparison, Condition, Counter, Dialect, DnatTo, Field, IpFamily, IpNet, Load, Match, NatRange, Op,
    PortRange, Rule, SetId, Statement, Table, Target, Terminal, Test, meta, nat_flags, octets, payload_base,
    reject,
};
use std::net::IpAddr;

/// The register of a word: all are named as 4 bytes wide (`NFT_REG32_00` is 8).
fn register(word: u32) -> [u8; 4] {
    (8 + word).to_be_bytes()
}

/// Words of registers that may be left out.
type Words = [Option<u32>; 2];

/// The registers of those that are there, as attributes from `kind` on.
fn registers(r: Request, kind: u16, words: Words) -> Request {
    let mut r = r;
    for (kind, word) in (kind..).zip(words) {
        if let Some(word) = word {
            r = r.attr(kind, &register(word));
        }
    }
    r
}

/// `NFT_REG_VERDICT`
const VERDICT: [u8; 4] = [0; 4];

pub(super) struct Encoder<'a> {
    table: &'a Table,
    /// The next free word of the registers.
    next: u32,
}

type Part = Result<Request, String>;

fn expression(list: Request, name: &str, data: impl FnOnce(Request) -> Request) -> Request {
    list.nest(1, |r| r.attr_str(1, name).nest(2, data))
}

/// A value inside an attribute (`NFTA_DATA_VALUE`).
fn plain_value(r: Request, kind: u16, bytes: &[u8]) -> Request {
    r.nest(kind, |r| r.attr(1, bytes))
}

impl<'a> Encoder<'a> {
    /// For the rules of one table.
    pub(super) fn new(table: &'a Table) -> Encoder<'a> {
        Encoder { table, next: 0 }
    }

    /// The expressions of a rule.
    pub(super) fn rule(&mut self, rule: &Rule, counted: Counter) -> Part {
        let mut list = Request::part();
        let table = self.table;
        let matches = table.matches_of(rule);
        let iptables = table.dialect == Dialect::Iptables;
        let mut ordered: Vec<&Match> = matches.iter().collect();
        if iptables {
            // Protocol first: iptables-nft needs it before ports (`nft_ipv4_add`).
            ordered.sort_by_key(|m| match m {
                Match::InInterface { .. } => 0,
                Match::OutInterface { .. } => 1,
                Match::Protocol { .. } => 2,
                Match::Address4 { .. } | Match::Address6(_) | Match::MaskedAddress(_) => 3,
                Match::Fragment { .. } => 4,
                _ => 5,
            });
        }
        for m in ordered {
            self.next = 0;
            list = self.one(list, m, counted)?;
        }
        if iptables && rule.counted {
            list = expression(list, "counter", |r| counter(r, counted));
        }
        self.next = 0;
        self.target(list, &rule.target)
    }

    /// Loads a field; gives the word of its register.
    /// Two loads that may be left out, with the word of each.
    fn load_each(&mut self, list: Request, loads: [Option<&Load>; 2]) -> Result<(Request, Words), String> {
        let (mut list, mut words) = (list, [None; 2]);
        for (word, load) in words.iter_mut().zip(loads) {
            let Some(load) = load else { continue };
            let (longer, at) = self.load(list, load)?;
            (list, *word) = (longer, Some(at));
        }
        Ok((list, words))
    }

    fn load(&mut self, list: Request, load: &Load) -> Result<(Request, u32), String> {
        let word = self.next;
        self.next += load.len.div_ceil(4).max(1);
        if self.next > 16 {
            return Err("a key of more than 64 bytes".into());
        }
        let list = self.load_at(list, load, word)?;
        Ok((list, word))
    }

    fn load_at(&mut self, list: Request, load: &Load, word: u32) -> Part {
        let dreg = register(word);
        let be = u32::to_be_bytes;
        let mut list = match &load.field {
            Field::Payload { base, offset, len } => expression(list, "payload", |r| {
                r.attr(1, &dreg).attr(2, &be(u32::from(*base))).attr(3, &be(*offset)).attr(4, &be(*len))
            }),
            Field::Meta(key) => expression(list, "meta", |r| r.attr(2, &be(*key)).attr(1, &dreg)),
            Field::Ct { key, direction } => expression(list, "ct", |r| {
                let r = r.attr(1, &dreg).attr(2, &be(*key));
                match direction {
                    Some(d) => r.attr(3, &[*d]),
                    None => r,
                }
            }),
            Field::Fib { result, flags } => {
                expression(list, "fib", |r| r.attr(1, &dreg).attr(2, &be(*result)).attr(3, &be(*flags)))
            }
            Field::Numgen { random, modulus, offset } => expression(list, "numgen", |r| {
                r.attr(1, &dreg).attr(2, &be(*modulus)).attr(3, &be(u32::from(*random))).attr(4, &be(*offset))
            }),
            Field::Exthdr { op, kind, offset, len, present } => expression(list, "exthdr", |r| {
                let r = r.attr(1, &dreg).attr(2, &[*kind]).attr(3, &be(*offset)).attr(4, &be(*len));
                let r = r.attr(6, &be(u32::from(*op)));
                if *present { r.attr(5, &be(1)) } else { r }
            }),
            Field::Hash { key, modulus, seed, offset } => {
                let symmetric = key.is_empty();
                // The key may use the same registers as the hash.
                let (list, first) = self.key_at(list, key, word)?;
                let len: u32 = match &key[..] {
                    [one] => one.len,
                    many => many.iter().map(|l| l.len.next_multiple_of(4)).sum(),
                };
                expression(list, "hash", |r| {
                    let mut r = r.attr(2, &dreg).attr(4, &be(*modulus)).attr(6, &be(*offset));
                    if !symmetric {
                        r = r.attr(1, &register(first)).attr(3, &be(len));
                    }
                    if let Some(seed) = seed {
                        r = r.attr(5, &be(*seed));
                    }
                    r.attr(7, &be(u32::from(symmetric)))
                })
            }
            Field::Rt(key) => expression(list, "rt", |r| r.attr(1, &dreg).attr(2, &be(*key))),
            Field::Socket { key, level } => expression(list, "socket", |r| {
                let r = r.attr(1, &be(*key)).attr(2, &dreg);
                if *key == 3 { r.attr(3, &be(*level)) } else { r } // NFT_SOCKET_CGROUPV2
            }),
            Field::Osf { ttl, flags } => expression(list, "osf", |r| {
                let r = r.attr(1, &dreg).attr(2, &[*ttl]);
                if *flags != 0 { r.attr(3, &be(*flags)) } else { r }
            }),
            Field::Xfrm { key, direction, number } => expression(list, "xfrm", |r| {
                r.attr(1, &dreg).attr(2, &be(*key)).attr(3, &[*direction]).attr(4, &be(*number))
            }),
            Field::Value(bytes) => expression(list, "immediate", |r| plain_value(r.attr(1, &dreg), 2, bytes)),
            Field::Mapped(m) => {
                if m.offset != 0 {
                    return Ok(list); // loaded with the first part
                }
                // The key may use the same registers as the data.
                let (list, first) = self.key_at(list, &m.key, word)?;
                self.lookup(list, m.set, first, Some(register(word)), false)
            }
            Field::Unknown(_) => return Err("an expression that kptop does not know".into()),
        };
        for op in &load.ops {
            list = match op {
                Op::Bitwise { mask, xor } => expression(list, "bitwise", |r| {
                    let r = r.attr(1, &dreg).attr(2, &dreg).attr(3, &be(mask.len() as u32));
                    plain_value(plain_value(r, 4, mask), 5, xor)
                }),
                Op::ShiftLeft(n) | Op::ShiftRight(n) => {
                    let code = if matches!(op, Op::ShiftLeft(_)) { 1 } else { 2 };
                    expression(list, "bitwise", |r| {
                        let r = r.attr(1, &dreg).attr(2, &dreg).attr(3, &be(load.len)).attr(6, &be(code));
                        plain_value(r, 7, &n.to_ne_bytes())
                    })
                }
                Op::Byteorder => expression(list, "byteorder", |r| {
                    r.attr(1, &dreg)
                        .attr(2, &dreg)
                        .attr(3, &be(1)) // NFT_BYTEORDER_HTON
                        .attr(4, &be(load.len))
                        .attr(5, &be(load.len.min(4)))
                }),
            };
        }
        Ok(list)
    }

    fn key(&mut self, list: Request, key: &[Load]) -> Result<(Request, u32), String> {
        self.key_at(list, key, self.next)
    }

    fn key_at(&mut self, list: Request, key: &[Load], word: u32) -> Result<(Request, u32), String> {
        let (mut list, mut at) = (list, word);
        for load in key {
            list = self.load_at(list, load, at)?;
            at += load.len.div_ceil(4).max(1);
            if at > 16 {
                return Err("a key of more than 64 bytes".into());
            }
        }
        self.next = self.next.max(at);
        Ok((list, word))
    }

    /// `dreg`: the register for what a map holds; [`VERDICT`] for its verdict.
    fn lookup(&self, list: Request, id: SetId, sreg: u32, dreg: Option<[u8; 4]>, invert: bool) -> Request {
        let set = self.table.set(id);
        expression(list, "lookup", |r| {
            let r = r
                .attr_str(1, set_name(self.table, set))
                .attr(4, &set_number(id.0 as usize))
                .attr(2, &register(sreg));
            let r = match dreg {
                Some(dreg) => r.attr(3, &dreg),
                None => r,
            };
            if invert { r.attr(5, &1u32.to_be_bytes()) } else { r }
        })
    }

    fn compare(&mut self, list: Request, load: &Load, op: Comparison, value: &[u8]) -> Part {
        self.next = 0;
        let (list, word) = self.load(list, load)?;
        Ok(expression(list, "cmp", |r| {
            let r = r.attr(1, &register(word)).attr(2, &u32::from(op as u8).to_be_bytes());
            plain_value(r, 3, value)
        }))
    }

    fn range(&mut self, list: Request, load: &Load, invert: bool, from: &[u8], to: &[u8]) -> Part {
        self.next = 0;
        let (list, word) = self.load(list, load)?;
        Ok(expression(list, "range", |r| {
            let r = r.attr(1, &register(word)).attr(2, &u32::from(invert).to_be_bytes());
            plain_value(plain_value(r, 3, from), 4, to)
        }))
    }

    fn one(&mut self, list: Request, m: &Match, counted: Counter) -> Part {
        let equal = |invert: bool| if invert { Comparison::NotEqual } else { Comparison::Equal };
        let payload = |base, offset, len| Load::new(Field::Payload { base, offset, len }, len);
        if let Some(a) = m.address() {
            return self.address(list, a.net, !a.destination, a.invert);
        }
        match m {
            Match::MaskedAddress(a) => {
                let (offset, len) = place(a.addr, !a.destination);
                let mut load = payload(payload_base::NETWORK, offset, len);
                let mask = octets(a.mask);
                load.ops.push(Op::Bitwise { xor: vec![0; mask.len()].into(), mask: mask.into() });
                self.compare(list, &load, equal(a.invert), &octets(a.addr))
            }
            Match::InInterface { name, invert } | Match::OutInterface { name, invert } => {
                let key = if matches!(m, Match::InInterface { .. }) { meta::IIFNAME } else { meta::OIFNAME };
                let name = self.table.str(*name);
                let value = match name.strip_suffix('+') {
                    Some(head) => head.as_bytes().to_vec(),
                    None => [name.as_bytes(), &[0]].concat(),
                };
                self.compare(list, &Load::new(Field::Meta(key), 16), equal(*invert), &value)
            }
            Match::Protocol { number, invert } => {
                let load = Load::new(Field::Meta(meta::L4PROTO), 1);
                self.compare(list, &load, equal(*invert), &[*number as u8])
            }
            Match::Fragment { invert } => {
                let mut load = payload(payload_base::NETWORK, 6, 2);
                load.ops.push(Op::Bitwise { mask: Box::new([0x1f, 0xff]), xor: Box::new([0, 0]) });
                self.compare(list, &load, equal(!*invert), &[0, 0])
            }
            Match::Mark { mark, mask, invert } => {
                let mut load = Load::new(Field::Meta(meta::MARK), 4);
                if *mask != u32::MAX {
                    let mask = Box::new(mask.to_ne_bytes());
                    load.ops.push(Op::Bitwise { mask, xor: Box::new([0; 4]) });
                }
                self.compare(list, &load, equal(*invert), &mark.to_ne_bytes())
            }
            // Without anything to ask, iptables-nft keeps the extension.
            Match::Tcp { source: PortRange::ANY, destination: PortRange::ANY, flag_mask: 0, .. }
            | Match::Udp { source: PortRange::ANY, destination: PortRange::ANY, .. }
                if self.table.dialect == Dialect::Iptables =>
            {
                self.extension(list, m)
            }
            Match::Tcp { source, destination, option: 0, flag_mask, flag_set, invert } => {
                let mut list = list;
                if *flag_mask != 0 {
                    let mut load = payload(payload_base::TRANSPORT, 13, 1);
                    load.ops.push(Op::Bitwise { mask: Box::new([*flag_mask]), xor: Box::new([0]) });
                    list = self.compare(list, &load, equal(invert & 4 != 0), &[*flag_set])?;
                }
                self.ports(list, *source, *destination, *invert)
            }
            Match::Udp { source, destination, invert } => self.ports(list, *source, *destination, *invert),
            Match::Sctp { source, destination, invert, .. } if self.table.dialect == Dialect::Nft => {
                self.ports(list, *source, *destination, *invert)
            }
            Match::Counter => Ok(expression(list, "counter", |r| counter(r, counted))),
            Match::Comment(_) if self.table.dialect == Dialect::Nft => Ok(list),
            Match::Native(c) => self.condition(list, c),
            Match::Does(s) => self.statement(list, s),
            other => self.extension(list, other),
        }
    }

    fn address(&mut self, list: Request, net: IpNet, source: bool, invert: bool) -> Part {
        let (offset, len) = place(net.addr, source);
        let op = if invert { Comparison::NotEqual } else { Comparison::Equal };
        let bytes = octets(net.addr);
        // Whole bytes are compared as they are.
        let whole = usize::from(net.prefix) / 8;
        if net.prefix.is_multiple_of(8) && whole > 0 {
            let load = Load::new(
                Field::Payload { base: payload_base::NETWORK, offset, len: whole as u32 },
                whole as u32,
            );
            return self.compare(list, &load, op, &bytes[..whole]);
        }
        let mask: Vec<u8> = (0..len as usize)
            .map(|i| match usize::from(net.prefix).saturating_sub(8 * i) {
                0 => 0,
                bits if bits >= 8 => 0xff,
                bits => 0xff << (8 - bits),
            })
            .collect();
        let mut load = Load::new(Field::Payload { base: payload_base::NETWORK, offset, len }, len);
        let masked: Vec<u8> = bytes.iter().zip(&mask).map(|(b, m)| b & m).collect();
        load.ops.push(Op::Bitwise { xor: vec![0; mask.len()].into(), mask: mask.into() });
        self.compare(list, &load, op, &masked)
    }

    fn ports(&mut self, list: Request, source: PortRange, destination: PortRange, invert: u8) -> Part {
        let mut list = list;
        for (range, offset, bit) in [(source, 0, 1), (destination, 2, 2)] {
            let inverted = invert & bit != 0;
            if range == PortRange::ANY && !inverted {
                continue;
            }
            let field = Field::Payload { base: payload_base::TRANSPORT, offset, len: 2 };
            let load = Load::new(field, 2);
            list = match range.single() {
                Some(port) => {
                    let op = if inverted { Comparison::NotEqual } else { Comparison::Equal };
                    self.compare(list, &load, op, &port.to_be_bytes())?
                }
                None => {
                    self.range(list, &load, inverted, &range.first.to_be_bytes(), &range.last.to_be_bytes())?
                }
            };
        }
        Ok(list)
    }

    fn condition(&mut self, list: Request, c: &Condition) -> Part {
        self.next = 0;
        match (&c.test, &c.key[..]) {
            (Test::Compare { op, value }, [load]) => self.compare(list, load, *op, value),
            (Test::Range { invert, from, to }, [load]) => self.range(list, load, *invert, from, to),
            (Test::Set { set, invert }, key) => {
                let (list, word) = self.key(list, key)?;
                Ok(self.lookup(list, *set, word, None, *invert))
            }
            _ => Err("a comparison of several fields".into()),
        }
    }

    fn statement(&mut self, list: Request, s: &Statement) -> Part {
        let be = u32::to_be_bytes;
        self.next = 0;
        Ok(match s {
            Statement::SetMeta { key, value } => {
                let (list, word) = self.load(list, value)?;
                expression(list, "meta", |r| r.attr(2, &be(*key)).attr(3, &register(word)))
            }
            Statement::SetCt { key, direction, value } => {
                let (list, word) = self.load(list, value)?;
                expression(list, "ct", |r| {
                    let r = r.attr(2, &be(*key)).attr(4, &register(word));
                    match direction {
                        Some(d) => r.attr(3, &[*d]),
                        None => r,
                    }
                })
            }
            Statement::Dynset { op, set, key, data, timeout_ms, flags, carries, .. } => {
                let (mut list, key_word) = self.key(list, key)?;
                let mut data_word = None;
                if !data.is_empty() {
                    let (l, word) = self.key(list, data)?;
                    list = l;
                    data_word = Some(word);
                }
                let name = set_name(self.table, self.table.set(*set));
                expression(list, "dynset", |r| {
                    let mut r = r
                        .attr_str(1, name)
                        .attr(2, &set_number(set.0 as usize))
                        .attr(3, &be(*op))
                        .attr(4, &register(key_word));
                    if let Some(word) = data_word {
                        r = r.attr(5, &register(word));
                    }
                    if let Some(ms) = timeout_ms {
                        r = r.attr(6, &ms.to_be_bytes());
                    }
                    if let [one] = &carries[..] {
                        r = r.nest(7, |r| {
                            r.attr_str(1, self.table.str(one.name)).nest(2, |r| r.append_bytes(&one.bytes))
                        });
                    }
                    if *flags != 0 { r.attr(9, &be(*flags)) } else { r }
                })
            }
            Statement::Limit { rate, seconds, burst, bytes, over } => expression(list, "limit", |r| {
                r.attr(1, &rate.to_be_bytes())
                    .attr(2, &seconds.to_be_bytes())
                    .attr(3, &be(*burst))
                    .attr(4, &be(u32::from(*bytes)))
                    .attr(5, &be(u32::from(*over)))
            }),
            Statement::Quota { bytes, over } => {
                expression(list, "quota", |r| r.attr(1, &bytes.to_be_bytes()).attr(2, &be(u32::from(*over))))
            }
            Statement::Connlimit { count, over } => {
                expression(list, "connlimit", |r| r.attr(1, &be(*count)).attr(2, &be(u32::from(*over))))
            }
            Statement::Log { prefix, group, level, rest } => expression(list, "log", |r| {
                let mut r = r;
                if let Some(group) = group {
                    r = r.attr(1, &group.to_be_bytes());
                }
                if let Some(prefix) = prefix {
                    r = r.attr_str(2, self.table.str(*prefix));
                }
                if let Some(n) = rest[0] {
                    r = r.attr(3, &be(n));
                }
                if let Some(n) = rest[1] {
                    r = r.attr(4, &(n as u16).to_be_bytes());
                }
                if let Some(level) = level {
                    r = r.attr(5, &be(*level));
                }
                match rest[2] {
                    Some(n) => r.attr(6, &be(n)),
                    None => r,
                }
            }),
            Statement::Object { kind, name } => {
                expression(list, "objref", |r| r.attr(1, &be(*kind)).attr_str(2, self.table.str(*name)))
            }
            Statement::Notrack => list.nest(1, |r| r.attr_str(1, "notrack")),
            Statement::SetPayload { base, offset, len, checksum: (kind, at, flags), value } => {
                let (list, word) = self.load(list, value)?;
                expression(list, "payload", |r| {
                    let r = r.attr(5, &register(word)).attr(2, &be(u32::from(*base))).attr(3, &be(*offset));
                    let r = r.attr(4, &be(*len)).attr(6, &be(*kind)).attr(7, &be(*at));
                    if *flags != 0 { r.attr(8, &be(*flags)) } else { r }
                })
            }
            Statement::SetExthdr { op, kind, offset, len, value } => {
                let (list, word) = self.load(list, value)?;
                expression(list, "exthdr", |r| {
                    let r = r.attr(7, &register(word)).attr(2, &[*kind]).attr(3, &be(*offset));
                    r.attr(4, &be(*len)).attr(6, &be(u32::from(*op)))
                })
            }
            Statement::ResetExthdr { op, kind } => {
                expression(list, "exthdr", |r| r.attr(2, &[*kind]).attr(6, &be(u32::from(*op))))
            }
            Statement::ObjectMap { key, set } => {
                let (list, word) = self.key(list, key)?;
                let name = set_name(self.table, self.table.set(*set));
                expression(list, "objref", |r| {
                    r.attr(3, &register(word)).attr_str(4, name).attr(5, &set_number(set.0 as usize))
                })
            }
            Statement::Tproxy { family, addr, port } => {
                let (list, words) = self.load_each(list, [addr.as_ref(), port.as_ref()])?;
                expression(list, "tproxy", |r| registers(r.attr(1, &be(u32::from(*family))), 2, words))
            }
            Statement::Dup { addr, device } => {
                let (list, words) = self.load_each(list, [addr.as_ref(), device.as_ref()])?;
                expression(list, "dup", |r| registers(r, 1, words))
            }
            Statement::FlowAdd(name) => {
                expression(list, "flow_offload", |r| r.attr_str(1, self.table.str(*name)))
            }
            Statement::Last => list.nest(1, |r| r.attr_str(1, "last")),
            Statement::Unknown(u) => {
                list.nest(1, |r| r.attr_str(1, self.table.str(u.name)).nest(2, |r| r.append_bytes(&u.bytes)))
            }
            Statement::Target(t) => self.target(list, t)?,
        })
    }

    /// A match of x_tables (`NFTA_MATCH_*`).
    fn extension(&self, list: Request, m: &Match) -> Part {
        let family = self.ip_family()?;
        match extensions::encode_match(self.table, family, m)? {
            Some(bytes) => Ok(expression(list, "match", |r| extension_data(r, &bytes))),
            None => Err("a match of the header that nf_tables does not have".into()),
        }
    }

    fn ip_family(&self) -> Result<IpFamily, String> {
        self.table
            .family
            .ip()
            .ok_or_else(|| format!("an extension of x_tables in the family {}", self.table.family))
    }

    fn target(&mut self, list: Request, target: &Target) -> Part {
        let native = self.table.dialect == Dialect::Nft;
        Ok(match target {
            Target::None => list,
            Target::Verdict(v) => {
                expression(list, "immediate", |r| r.attr(1, &VERDICT).nest(2, |r| verdict(r, self.table, *v)))
            }
            Target::DnatTo4 { .. } | Target::DnatTo6(_) if native => {
                let Some(DnatTo { addr, port, .. }) = target.as_dnat_to() else { return Ok(list) };
                let addr_load = Load::value(&octets(addr));
                let port_load = Load::value(&port.to_be_bytes());
                let nat = Terminal::Nat {
                    destination: true,
                    family: nfproto(addr),
                    addr: Some((addr_load.clone(), addr_load)),
                    port: Some((port_load.clone(), port_load)),
                    flags: 0,
                };
                self.terminal(list, &nat)?
            }
            Target::Dnat(r) | Target::Snat(r) if native => {
                let nat = Terminal::Nat {
                    destination: matches!(target, Target::Dnat(_)),
                    family: r.addrs.map_or(0, |a| nfproto(a.0)),
                    addr: r.addrs.map(|(a, b)| (Load::value(&octets(a)), Load::value(&octets(b)))),
                    port: (r.flags & nat_flags::PROTO_SPECIFIED != 0).then(|| {
                        (Load::value(&r.ports.0.to_be_bytes()), Load::value(&r.ports.1.to_be_bytes()))
                    }),
                    flags: r.flags,
                };
                self.terminal(list, &nat)?
            }
            Target::Masquerade(r) if native => self.port_nat(list, "masq", r, 1, (2, 3))?,
            Target::Redirect(r) if native => self.port_nat(list, "redir", r, 3, (1, 2))?,
            Target::Reject { with } if native => {
                let (kind, code) = reject::from_iptables(self.table.family, *with);
                self.terminal(list, &Terminal::Reject { kind, code })?
            }
            Target::Native(t) => self.terminal(list, t)?,
            other => {
                let bytes = extensions::encode_target(self.table, self.ip_family()?, other)?;
                expression(list, "target", |r| extension_data(r, &bytes))
            }
        })
    }

    fn port_nat(
        &mut self,
        list: Request,
        name: &str,
        range: &NatRange,
        flags_at: u16,
        ports_at: (u16, u16),
    ) -> Part {
        let mut list = list;
        let mut words = None;
        if range.flags & nat_flags::PROTO_SPECIFIED != 0 {
            let (l, first) = self.load(list, &Load::value(&range.ports.0.to_be_bytes()))?;
            (list, words) = (l, Some((first, first)));
            if range.ports.1 != range.ports.0 {
                let (l, last) = self.load(list, &Load::value(&range.ports.1.to_be_bytes()))?;
                (list, words) = (l, Some((first, last)));
            }
        }
        Ok(expression(list, name, |r| {
            let r = match words {
                Some((a, b)) => r.attr(ports_at.0, &register(a)).attr(ports_at.1, &register(b)),
                None => r,
            };
            if range.flags == 0 { r } else { r.attr(flags_at, &range.flags.to_be_bytes()) }
        }))
    }

    fn terminal(&mut self, list: Request, t: &Terminal) -> Part {
        let be = u32::to_be_bytes;
        Ok(match t {
            Terminal::VerdictMap { key, set } => {
                let (list, word) = self.key(list, key)?;
                self.lookup(list, *set, word, Some(VERDICT), false)
            }
            Terminal::Nat { destination, family, addr, port, flags } => {
                let mut list = list;
                let mut words = [None; 4];
                for (i, load) in
                    [addr.as_ref().map(|a| &a.0), addr.as_ref().filter(|a| a.0 != a.1).map(|a| &a.1)]
                        .into_iter()
                        .chain([
                            port.as_ref().map(|p| &p.0),
                            port.as_ref().filter(|p| p.0 != p.1).map(|p| &p.1),
                        ])
                        .enumerate()
                {
                    let Some(load) = load else { continue };
                    if let Field::Mapped(m) = &load.field
                        && m.offset != 0
                    {
                        words[i] = words[0].map(|w: u32| w + m.offset / 4);
                        continue;
                    }
                    let (l, word) = self.load(list, load)?;
                    // A map's data may be wider than the part that is looked at.
                    if let Field::Mapped(m) = &load.field {
                        self.next = self.next.max(word + self.table.set(m.set).data_len.div_ceil(4));
                    }
                    list = l;
                    words[i] = Some(word);
                }
                expression(list, "nat", |r| {
                    let mut r = r.attr(1, &be(u32::from(*destination))).attr(2, &be(u32::from(*family)));
                    for (kind, word) in
                        [(3, words[0]), (4, words[1].or(words[0])), (5, words[2]), (6, words[3].or(words[2]))]
                    {
                        if let Some(word) = word {
                            r = r.attr(kind, &register(word));
                        }
                    }
                    let flags = flags & !(nat_flags::MAP_IPS | nat_flags::PROTO_SPECIFIED);
                    if flags == 0 { r } else { r.attr(7, &be(flags)) }
                })
            }
            Terminal::Reject { kind, code } => {
                expression(list, "reject", |r| r.attr(1, &be(*kind)).attr(2, &[*code]))
            }
            Terminal::Queue { from, total, flags } => expression(list, "queue", |r| {
                r.attr(1, &from.to_be_bytes()).attr(2, &total.to_be_bytes()).attr(3, &flags.to_be_bytes())
            }),
            Terminal::QueueBy { value, flags } => {
                let (list, word) = self.load(list, value)?;
                expression(list, "queue", |r| r.attr(3, &flags.to_be_bytes()).attr(4, &register(word)))
            }
            Terminal::Forward { device, addr, family } => {
                let (mut list, word) = self.load(list, device)?;
                let mut addr_word = None;
                if let Some(addr) = addr {
                    let (l, w) = self.load(list, addr)?;
                    (list, addr_word) = (l, Some(w));
                }
                expression(list, "fwd", |r| {
                    let r = r.attr(1, &register(word));
                    match addr_word {
                        Some(w) => r.attr(2, &register(w)).attr(3, &be(u32::from(*family))),
                        None => r,
                    }
                })
            }
            Terminal::Synproxy { mss, wscale, flags } => expression(list, "synproxy", |r| {
                r.attr(1, &mss.to_be_bytes()).attr(2, &[*wscale]).attr(3, &be(*flags))
            }),
        })
    }
}

/// Name, revision and data of an extension, out of its form in a blob.
fn extension_data(r: Request, bytes: &[u8]) -> Request {
    let name_end = bytes[2..31].iter().position(|b| *b == 0).unwrap_or(29);
    let name = String::from_utf8_lossy(&bytes[2..2 + name_end]).into_owned();
    r.attr_str(1, &name).attr(2, &u32::from(bytes[31]).to_be_bytes()).attr(3, &bytes[32..])
}

/// Offset and length of an address in its header.
fn place(addr: IpAddr, source: bool) -> (u32, u32) {
    match (addr, source) {
        (IpAddr::V4(_), true) => (12, 4),
        (IpAddr::V4(_), false) => (16, 4),
        (IpAddr::V6(_), true) => (8, 16),
        (IpAddr::V6(_), false) => (24, 16),
    }
}

fn nfproto(addr: IpAddr) -> u8 {
    if addr.is_ipv4() { 2 } else { 10 }
}
