//! Expressions of a rule -> matches and a target.
//!
//! The register machine is run on names instead of values: a register holds the field that was loaded into it,
//! and a comparison takes it from there. Attribute numbers: `linux/netfilter/nf_tables.h`.

use super::Index;
use super::data::{counter, data_value, data_verdict, expression, expressions, ip_of};
use crate::netlink::{attrs, be_uint, str_of};
use crate::xtables::extensions;
use nf_ruleset::lower::{self, Lowered};
use nf_ruleset::{
    ChainId, Comparison, Condition, Counter, Dialect, Family, Field, IpFamily, Load, Mapped, Match, NatRange,
    Op, Set, SetId, Statement, Strings, Target, Terminal, Test, Unknown, data_type, nat_flags, reject,
};

/// Words of 4 bytes that the registers have (`NFT_REG32_COUNT`).
const WORDS: usize = 16;
/// All of them together.
const REGISTER_BYTES: u32 = 4 * WORDS as u32;

/// What the rules of a table may name.
#[derive(Debug)]
pub(super) struct Scope<'a> {
    pub(super) family: Family,
    pub(super) dialect: Dialect,
    pub(super) strings: &'a mut Strings,
    pub(super) chains: &'a Index<ChainId>,
    pub(super) set_index: &'a Index<SetId>,
    pub(super) sets: &'a [Set],
    pub(super) set_names: &'a mut dyn SetNames,
}

/// Finds the name of an ipset by its index.
pub(super) trait SetNames: std::fmt::Debug {
    fn name(&mut self, index: u16) -> Option<String>;
}

/// What a rule is made of, besides its matches.
#[derive(Debug)]
pub(super) struct Decoded {
    pub(super) target: Target,
    pub(super) counter: Option<Counter>,
}

/// Decodes rules, one after the other.
#[derive(Debug, Default)]
pub(super) struct RuleDecoder {
    registers: [Option<Load>; WORDS],
    used: Vec<usize>,
    /// An expression that is not understood, if there was one: every register may hold what it wrote.
    overwritten: Option<Unknown>,
    /// Matches of the header, in the order in which iptables prints them.
    head: Vec<Match>,
    /// The others, as they come.
    rest: Vec<Match>,
    target: Option<Target>,
    counter: Option<Counter>,
    /// Which network layer the rule is about, as far as it has said.
    l3: Option<IpFamily>,
    /// Which transport.
    l4: Option<u8>,
}

/// The first word of a register: `NFT_REG_1` to `_4` are 16 bytes wide, `NFT_REG32_*` 4.
fn word(register: u32) -> Option<usize> {
    match register {
        1..=4 => Some((register as usize - 1) * 4),
        8..=23 => Some(register as usize - 8),
        _ => None,
    }
}

/// How many words of the registers a value fills.
fn words(load: &Load) -> usize {
    load.len.div_ceil(4).max(1) as usize
}

/// The attributes of an expression by number, as far as kptop knows them.
struct Parts<'a>([&'a [u8]; 12]);

impl<'a> Parts<'a> {
    fn new(data: &'a [u8]) -> Parts<'a> {
        let mut parts = [&[][..]; 12];
        for (kind, v) in attrs(data) {
            if let Some(p) = parts.get_mut(usize::from(kind)) {
                *p = v;
            }
        }
        Parts(parts)
    }

    fn has(&self, i: usize) -> bool {
        !self.0[i].is_empty()
    }

    fn uint(&self, i: usize) -> u64 {
        be_uint(self.0[i]).unwrap_or(0)
    }

    fn u32(&self, i: usize) -> u32 {
        self.uint(i) as u32
    }

    fn text(&self, i: usize) -> Option<&'a str> {
        str_of(self.0[i])
    }
}

/// Expressions that keep a state of their own, in a rule or in an element.
fn stateful(p: &Parts<'_>, name: &str) -> Option<Statement> {
    Some(match name {
        "limit" => Statement::Limit {
            rate: p.uint(1),
            seconds: p.uint(2),
            burst: p.u32(3),
            bytes: p.u32(4) == 1,
            over: p.u32(5) & 1 != 0,
        },
        "quota" => Statement::Quota { bytes: p.uint(1), over: p.u32(2) & 1 != 0 },
        "connlimit" => Statement::Connlimit { count: p.u32(1), over: p.u32(2) & 1 != 0 },
        "last" => Statement::Last,
        _ => return None,
    })
}

impl RuleDecoder {
    /// Decodes a rule; its matches are appended to `matches`.
    pub(super) fn rule(
        &mut self,
        scope: &mut Scope<'_>,
        list: &[u8],
        comment: Option<&str>,
        matches: &mut Vec<Match>,
    ) -> Decoded {
        for i in self.used.drain(..) {
            self.registers[i] = None;
        }
        self.overwritten = None;
        self.head.clear();
        self.rest.clear();
        self.target = None;
        self.counter = None;
        self.l3 = scope.family.ip();
        self.l4 = None;
        for (name, data) in expressions(list) {
            if let Some(done) = self.target.take() {
                // Something follows what looked like the end.
                self.rest.push(Match::Does(Box::new(Statement::Target(done))));
            }
            if self.expression(scope, name, data).is_none() {
                let unknown = Unknown { name: scope.strings.intern(name), revision: 0, bytes: data.into() };
                self.forget(unknown.clone());
                self.rest.push(Match::Does(Box::new(Statement::Unknown(unknown))));
            }
        }
        if let Some(comment) = comment {
            self.rest.push(Match::Comment(scope.strings.intern(comment)));
        }
        matches.append(&mut self.head);
        matches.append(&mut self.rest);
        Decoded { target: self.target.take().unwrap_or(Target::None), counter: self.counter }
    }

    /// After an expression that is not understood no register is known to hold what it held.
    fn forget(&mut self, unknown: Unknown) {
        self.registers.fill(None);
        self.used.clear();
        self.overwritten = Some(unknown);
    }

    fn put(&mut self, register: u32, load: Load) -> Option<()> {
        self.put_at(word(register)?, load)
    }

    fn put_at(&mut self, w: usize, load: Load) -> Option<()> {
        let words = words(&load);
        if w + words > WORDS {
            return None;
        }
        // Wider values that reach in here are no longer whole.
        for before in 0..w {
            if self.registers[before].as_ref().is_some_and(|l| before + self::words(l) > w) {
                self.registers[before] = None;
            }
        }
        self.registers[w..w + words].fill(None);
        self.used.push(w);
        self.registers[w] = Some(load);
        Some(())
    }

    fn get(&self, register: u32) -> Option<Load> {
        self.at(word(register)?, 4)
    }

    /// What is in the registers from this word on, of `len` bytes where that is not known.
    fn at(&self, word: usize, len: u32) -> Option<Load> {
        match self.registers.get(word)? {
            Some(load) => Some(load.clone()),
            None => self.overwritten.clone().map(|u| Load::new(Field::Unknown(Box::new(u)), len)),
        }
    }

    /// The fields that fill `len` bytes from a register on.
    fn key(&self, register: u32, len: u32) -> Option<Vec<Load>> {
        let mut at = word(register)?;
        let (mut key, mut have) = (Vec::new(), 0);
        loop {
            let load = self.at(at, len.saturating_sub(have).max(1))?;
            let words = words(&load);
            key.push(load);
            have += 4 * words as u32;
            at += words;
            if have >= len {
                return Some(key);
            }
        }
    }

    fn accept(&mut self, lowered: Lowered) {
        if let Lowered::Head(Match::Protocol { number, invert: false })
        | Lowered::Rest(Match::Protocol { number, invert: false }) = lowered
        {
            self.l4 = u8::try_from(number).ok();
        }
        match lowered {
            Lowered::Head(m) => {
                let at = self.head.partition_point(|h| lower::rank(h) <= lower::rank(&m));
                self.head.insert(at, m);
            }
            Lowered::Rest(m) => self.rest.push(m),
            Lowered::Merged => {}
        }
    }

    fn condition(&mut self, key: Vec<Load>, test: Test) {
        let condition = Condition { key, test };
        condition.learn(&mut self.l3, &mut self.l4);
        self.rest.push(Match::Native(Box::new(condition)));
    }

    fn does(&mut self, statement: Statement) {
        self.rest.push(Match::Does(Box::new(statement)));
    }

    /// Runs one expression; `None` where it is not understood.
    fn expression(&mut self, scope: &mut Scope<'_>, name: &str, data: &[u8]) -> Option<()> {
        let p = Parts::new(data);
        match name {
            "payload" if p.has(5) => {
                let (base, offset, len) = (p.u32(2) as u8, p.u32(3), p.u32(4));
                let value = self.at(word(p.u32(5))?, len)?;
                let checksum = (p.u32(6), p.u32(7), p.u32(8));
                self.does(Statement::SetPayload { base, offset, len, checksum, value });
            }
            "payload" => {
                let (base, offset, len) = (p.u32(2) as u8, p.u32(3), p.u32(4));
                if offset > u32::from(u8::MAX) || len > REGISTER_BYTES {
                    return None; // `struct nft_payload` has a byte for each
                }
                self.put(p.u32(1), Load::new(Field::Payload { base, offset, len }, len))?;
            }
            "meta" if p.has(3) => {
                let value = self.get(p.u32(3))?;
                self.does(Statement::SetMeta { key: p.u32(2), value });
            }
            "meta" => {
                let key = p.u32(2);
                self.put(p.u32(1), Load::new(Field::Meta(key), lower::meta_len(key)))?;
            }
            "ct" => {
                let key = p.u32(2);
                let direction = p.has(3).then(|| p.u32(3) as u8);
                if p.has(4) {
                    let value = self.get(p.u32(4))?;
                    self.does(Statement::SetCt { key, direction, value });
                } else {
                    self.put(p.u32(1), Load::new(Field::Ct { key, direction }, lower::ct_len(key, self.l3)))?;
                }
            }
            "cmp" => self.cmp(scope, &p)?,
            "range" => {
                let (from, to) = (data_value(p.0[3])?, data_value(p.0[4])?);
                let load = &self.at(word(p.u32(1))?, from.len() as u32)?;
                let invert = p.u32(2) == 1;
                if let Some(l) = lower::range(load, invert, from, to, scope.dialect, self.l4, &mut self.rest)
                {
                    self.accept(l);
                } else {
                    let key = vec![load.clone()];
                    self.condition(key, Test::Range { invert, from: from.into(), to: to.into() });
                }
            }
            "bitwise" => self.bitwise(&p)?,
            "byteorder" => {
                let mut load = self.at(word(p.u32(1))?, p.u32(4).max(1))?;
                load.ops.push(Op::Byteorder);
                self.put(p.u32(2), load)?;
            }
            "immediate" => {
                if p.u32(1) == 0 {
                    let verdict = data_verdict(p.0[2], scope.strings, scope.chains)?;
                    self.target = Some(Target::Verdict(verdict));
                } else {
                    self.put(p.u32(1), Load::value(data_value(p.0[2])?))?;
                }
            }
            "lookup" => self.lookup(scope, &p)?,
            "counter" => {
                self.counter = Some(counter(data));
                if scope.dialect == Dialect::Nft {
                    self.rest.push(Match::Counter);
                }
            }
            "match" => {
                let family = scope.family.ip()?;
                let mut names = |index| scope.set_names.name(index);
                let m = extensions::decode_match(
                    scope.strings,
                    family,
                    p.text(1)?,
                    p.u32(2) as u8,
                    p.0[3],
                    &mut names,
                );
                self.rest.push(m);
            }
            "target" => {
                let family = scope.family.ip()?;
                let revision = p.u32(2) as u8;
                self.target =
                    Some(extensions::decode_target(scope.strings, family, p.text(1)?, revision, p.0[3]));
            }
            "numgen" => {
                let field = Field::Numgen { random: p.u32(3) == 1, modulus: p.u32(2), offset: p.u32(4) };
                self.put(p.u32(1), Load::new(field, 4))?;
            }
            "fib" => {
                let (result, flags) = (p.u32(2), p.u32(3));
                let len = if result == 2 { 16 } else { 4 };
                self.put(p.u32(1), Load::new(Field::Fib { result, flags }, len))?;
            }
            "nat" => self.nat(&p)?,
            "masq" => {
                let range = self.port_range(p.u32(1), p.0[2], p.0[3])?;
                self.target = Some(Target::Masquerade(Box::new(range)));
            }
            "redir" => {
                let range = self.port_range(p.u32(3), p.0[1], p.0[2])?;
                self.target = Some(Target::Redirect(Box::new(range)));
            }
            "reject" => {
                let (kind, code) = (p.u32(1), p.0[2].first().copied().unwrap_or(0));
                self.target = Some(match reject::to_iptables(scope.family, kind, code) {
                    Some(with) => Target::Reject { with },
                    None => Target::Native(Box::new(Terminal::Reject { kind, code })),
                });
            }
            "queue" if p.has(4) => {
                let value = self.get(p.u32(4))?;
                let terminal = Terminal::QueueBy { value, flags: p.u32(3) as u16 };
                self.target = Some(Target::Native(Box::new(terminal)));
            }
            "queue" => {
                let (from, total, flags) = (p.u32(1) as u16, p.u32(2).max(1) as u16, p.u32(3) as u16);
                self.target = Some(Target::Native(Box::new(Terminal::Queue { from, total, flags })));
            }
            "limit" | "quota" | "connlimit" | "last" => self.does(stateful(&p, name)?),
            "log" => {
                let given = |i: usize| p.has(i).then(|| p.u32(i));
                let prefix = p.text(2).filter(|_| p.has(2)).map(|t| scope.strings.intern(t));
                self.does(Statement::Log {
                    prefix,
                    group: given(1).map(|g| g as u16),
                    level: given(5),
                    rest: [given(3), given(4), given(6)],
                });
            }
            "objref" if p.has(2) => {
                let name = scope.strings.intern(p.text(2)?);
                self.does(Statement::Object { kind: p.u32(1), name });
            }
            "objref" => {
                let id = *scope.set_index.get(&scope.strings.find(p.text(4)?)?)?;
                let key = self.key(p.u32(3), scope.sets[id.0 as usize].key_len)?;
                self.does(Statement::ObjectMap { key, set: id });
            }
            "notrack" => self.does(Statement::Notrack),
            "dynset" => self.dynset(scope, &p)?,
            "exthdr" => self.exthdr(&p)?,
            "hash" => {
                let symmetric = p.u32(7) == 1; // NFT_HASH_SYM
                let key = if symmetric { Vec::new() } else { self.key(p.u32(1), p.u32(3))? };
                let seed = p.has(5).then(|| p.u32(5)).filter(|_| !symmetric);
                let field = Field::Hash { key, modulus: p.u32(4), seed, offset: p.u32(6) };
                self.put(p.u32(2), Load::new(field, 4))?;
            }
            "rt" => {
                let key = p.u32(2);
                self.put(p.u32(1), Load::new(Field::Rt(key), lower::rt_len(key)))?;
            }
            "socket" => {
                let (key, level) = (p.u32(1), p.u32(3));
                self.put(p.u32(2), Load::new(Field::Socket { key, level }, lower::socket_len(key)))?;
            }
            "osf" => {
                let field = Field::Osf { ttl: p.u32(2) as u8, flags: p.u32(3) };
                self.put(p.u32(1), Load::new(field, 16))?;
            }
            "xfrm" => {
                let (key, direction, number) = (p.u32(2), p.u32(3) as u8, p.u32(4));
                self.put(p.u32(1), Load::new(Field::Xfrm { key, direction, number }, lower::xfrm_len(key)))?;
            }
            "tproxy" => {
                let addr = if p.has(2) { Some(self.get(p.u32(2))?) } else { None };
                let port = if p.has(3) { Some(self.get(p.u32(3))?) } else { None };
                self.does(Statement::Tproxy { family: p.u32(1) as u8, addr, port });
            }
            "dup" => {
                let addr = if p.has(1) { Some(self.get(p.u32(1))?) } else { None };
                let device = if p.has(2) { Some(self.get(p.u32(2))?) } else { None };
                self.does(Statement::Dup { addr, device });
            }
            "fwd" => {
                let addr = if p.has(2) { Some(self.get(p.u32(2))?) } else { None };
                let terminal =
                    Terminal::Forward { device: self.get(p.u32(1))?, addr, family: p.u32(3) as u8 };
                self.target = Some(Target::Native(Box::new(terminal)));
            }
            "flow_offload" => {
                let name = scope.strings.intern(p.text(1)?);
                self.does(Statement::FlowAdd(name));
            }
            "synproxy" => {
                let terminal =
                    Terminal::Synproxy { mss: p.u32(1) as u16, wscale: p.u32(2) as u8, flags: p.u32(3) };
                self.target = Some(Target::Native(Box::new(terminal)));
            }
            _ => return None,
        }
        Some(())
    }

    /// `NFTA_EXTHDR_*`: 1 dreg, 2 type, 3 offset, 4 len, 5 flags, 6 op, 7 sreg.
    fn exthdr(&mut self, p: &Parts<'_>) -> Option<()> {
        let (op, kind, offset, len) = (p.u32(6) as u8, p.u32(2) as u8, p.u32(3), p.u32(4));
        if offset > u32::from(u8::MAX) || len > REGISTER_BYTES {
            return None; // `struct nft_exthdr` has a byte for each
        }
        if p.has(1) {
            let present = p.u32(5) & 1 != 0;
            let width = if present { 1 } else { len };
            return self.put(p.u32(1), Load::new(Field::Exthdr { op, kind, offset, len, present }, width));
        }
        self.does(match p.has(7) {
            true => {
                let value = self.at(word(p.u32(7))?, len)?;
                Statement::SetExthdr { op, kind, offset, len, value }
            }
            false => Statement::ResetExthdr { op, kind },
        });
        Some(())
    }

    fn cmp(&mut self, scope: &mut Scope<'_>, p: &Parts<'_>) -> Option<()> {
        let op = match p.u32(2) {
            0 => Comparison::Equal,
            1 => Comparison::NotEqual,
            2 => Comparison::Less,
            3 => Comparison::LessOrEqual,
            4 => Comparison::Greater,
            5 => Comparison::GreaterOrEqual,
            _ => return None,
        };
        let value = data_value(p.0[3])?;
        let mut key = self.key(p.u32(1), value.len() as u32)?;
        let [load] = &key[..] else {
            self.condition(key, Test::Compare { op, value: value.into() });
            return Some(());
        };
        let lowered = match op {
            Comparison::Equal | Comparison::NotEqual => {
                let invert = op == Comparison::NotEqual;
                lower::compare(
                    load,
                    invert,
                    value,
                    (scope.dialect, scope.strings),
                    self.l3,
                    self.l4,
                    &mut self.rest,
                )
            }
            _ => None,
        };
        match lowered {
            Some(l) => self.accept(l),
            None => {
                key.truncate(1);
                self.condition(key, Test::Compare { op, value: value.into() });
            }
        }
        Some(())
    }

    fn bitwise(&mut self, p: &Parts<'_>) -> Option<()> {
        let mut load = self.at(word(p.u32(1))?, p.u32(3).max(1))?;
        let op = match p.u32(6) {
            0 => Op::Bitwise { mask: data_value(p.0[4])?.into(), xor: data_value(p.0[5])?.into() },
            1 | 2 => {
                let bytes = data_value(p.0[7])?;
                let bits = u32::from_ne_bytes(*bytes.first_chunk::<4>()?);
                if p.u32(6) == 1 { Op::ShiftLeft(bits) } else { Op::ShiftRight(bits) }
            }
            _ => return None, // of two registers
        };
        load.ops.push(op);
        // The rest of a masked value may be cut off: an address whose last bytes do not matter.
        load.len = load.len.min(p.u32(3).max(1));
        self.put(p.u32(2), load)
    }

    fn lookup(&mut self, scope: &mut Scope<'_>, p: &Parts<'_>) -> Option<()> {
        let id = *scope.set_index.get(&scope.strings.find(p.text(1)?)?)?;
        let set = &scope.sets[id.0 as usize];
        let key = self.key(p.u32(2), set.key_len)?;
        if set.data_len > REGISTER_BYTES {
            return None;
        }
        if !p.has(3) {
            self.condition(key, Test::Set { set: id, invert: p.u32(5) & 1 != 0 });
        } else if p.u32(3) == 0 {
            self.target = Some(Target::Native(Box::new(Terminal::VerdictMap { key, set: id })));
        } else {
            // One load for each field of the data, each in its register.
            let first = word(p.u32(3))?;
            let mut lens = lower::field_lens(set.data_type, set.data_len);
            // Networks for networks: the first address and the last.
            if let (8 | 32, [len]) = (set.data_len, &mut lens[..])
                && matches!(set.data_type, data_type::IPV4_ADDR | data_type::IPV6_ADDR)
            {
                *len /= 2;
                lens.push(lens[0]);
            }
            let mut offset = 0;
            for len in lens {
                let mapped = Mapped { key: key.clone(), set: id, offset };
                let load = Load::new(Field::Mapped(Box::new(mapped)), len);
                self.put_at(first + offset as usize / 4, load)?;
                offset += len.next_multiple_of(4);
            }
        }
        Some(())
    }

    fn nat(&mut self, p: &Parts<'_>) -> Option<()> {
        let destination = p.u32(1) == 1;
        let family = p.u32(2) as u8;
        let flags = p.u32(7);
        let pair = |first: usize, last: usize| -> Option<Option<(Load, Load)>> {
            if !p.has(first) {
                return Some(None);
            }
            let from = self.get(p.u32(first))?;
            let to = if p.has(last) { self.get(p.u32(last))? } else { from.clone() };
            Some(Some((from, to)))
        };
        let (addr, port) = (pair(3, 4)?, pair(5, 6)?);
        let constant = |pair: &Option<(Load, Load)>| match pair {
            None => true,
            Some((a, b)) => a.constant().is_some() && b.constant().is_some(),
        };
        self.target = Some(if constant(&addr) && constant(&port) {
            self.constant_nat(destination, family, flags, &addr, &port)?
        } else {
            Target::Native(Box::new(Terminal::Nat { destination, family, addr, port, flags }))
        });
        Some(())
    }

    fn constant_nat(
        &self,
        destination: bool,
        family: u8,
        flags: u32,
        addr: &Option<(Load, Load)>,
        port: &Option<(Load, Load)>,
    ) -> Option<Target> {
        let ip = |l: &Load| ip_of(l.constant()?, family);
        let number = |l: &Load| Some(u16::from_be_bytes(*l.constant()?.first_chunk::<2>()?));
        let addrs = match addr {
            Some((a, b)) => Some((ip(a)?, ip(b)?)),
            None => None,
        };
        let ports = match port {
            Some((a, b)) => Some((number(a)?, number(b)?)),
            None => None,
        };
        Some(lower::constant_nat(destination, flags, addrs, ports))
    }

    /// Ports of `masquerade` and `redirect`, by the attributes with their registers.
    fn port_range(&self, flags: u32, first: &[u8], last: &[u8]) -> Option<NatRange> {
        let mut range = NatRange { flags, addrs: None, ports: (0, 0, 0), revision: 0 };
        if !first.is_empty() {
            let number = |r: &[u8]| {
                let load = self.get(be_uint(r)? as u32)?;
                Some(u16::from_be_bytes(*load.constant()?.first_chunk::<2>()?))
            };
            let last = if last.is_empty() { number(first)? } else { number(last)? };
            let first = number(first)?;
            range.ports = (first, last, 0);
            range.flags |= nat_flags::PROTO_SPECIFIED;
        }
        Some(range)
    }

    fn dynset(&mut self, scope: &mut Scope<'_>, p: &Parts<'_>) -> Option<()> {
        let id = *scope.set_index.get(&scope.strings.find(p.text(1)?)?)?;
        let set = &scope.sets[id.0 as usize];
        let key = self.key(p.u32(4), set.key_len)?;
        let data = if p.has(5) { self.key(p.u32(5), set.data_len)? } else { Vec::new() };
        let mut carries = Vec::new();
        let mut does = Vec::new();
        let one = p.has(7).then(|| expression(p.0[7]));
        for (name, data) in one.into_iter().chain(expressions(p.0[10])) {
            // As many as are understood from the first on: the text shows the others by their names.
            if let (true, Some(s)) = (does.len() == carries.len(), stateful(&Parts::new(data), name)) {
                does.push(s);
            }
            carries.push(Unknown { name: scope.strings.intern(name), revision: 0, bytes: data.into() });
        }
        self.does(Statement::Dynset {
            op: p.u32(3),
            set: id,
            key,
            data,
            timeout_ms: Some(p.uint(6)).filter(|ms| *ms > 0),
            flags: p.u32(9),
            carries,
            does,
        });
        Some(())
    }
}
