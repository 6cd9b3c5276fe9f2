//! Native rules and elements as `nft list` prints them (checked against nftables 1.0.6 in `tests/nftables.rs`).

mod elements;
pub(super) mod fields;
mod statements;
mod translation;
pub(super) mod values;

use super::matches::{MaskedAddress, Match, PortRange, Target, Verdict};
use super::native::{
    Comparison, Condition, Field, Load, Op, Statement, Terminal, Test, meta, payload_base, set_flag,
};
use super::text::protocol_name;
use super::{Family, IpFamily, IpNet, Rule, SetId, Table, reject};
pub(super) use elements::ElementText;
use elements::all_elements;
use fields::*;
use std::fmt::{self, Write as _};
use std::net::IpAddr;
use values::*;

/// Writes a whole rule.
pub(super) fn rule(out: &mut String, table: &Table, rule: &Rule) -> fmt::Result {
    let matches = table.matches_of(rule);
    let mut w = Writer { table, l3: table.family.ip(), l4: None };
    let implied = implied(table, matches, &rule.target);
    let mut comment = None;
    for (i, m) in matches.iter().enumerate() {
        if let Match::Comment(id) = m {
            comment = Some(table.str(*id));
            continue;
        }
        w.learn(m);
        if !implied.contains(&i) {
            out.push(' ');
            w.one(out, m)?;
        }
    }
    w.target(out, &rule.target)?;
    if let Some(comment) = comment {
        write!(out, " comment \"{comment}\"")?;
    }
    Ok(())
}

/// A match or statement of nf_tables inside a rule of iptables' dialect.
pub(super) fn single(out: &mut String, table: &Table, m: &Match) -> fmt::Result {
    out.push(' ');
    Writer { table, l3: table.family.ip(), l4: None }.one(out, m)
}

/// The end of a rule of iptables' dialect that only nf_tables has.
pub(super) fn terminal(out: &mut String, table: &Table, target: &Target) -> fmt::Result {
    Writer { table, l3: table.family.ip(), l4: None }.target(out, target)
}

/// Conditions that nft leaves out, as what follows cannot be asked without them (`payload_dependency_kill` in
/// nftables' `src/payload.c`).
fn implied(table: &Table, matches: &[Match], target: &Target) -> Vec<usize> {
    let mut dead = Vec::new();
    let (mut network, mut transport): (Option<usize>, Option<usize>) = (None, None);
    let mut icmp = false;
    let uses = |loads: &[Load]| -> (bool, bool) {
        let has = |b| loads.iter().any(|l| matches!(l.field, Field::Payload { base, .. } if base == b));
        (has(payload_base::NETWORK), has(payload_base::TRANSPORT))
    };
    let mut use_layers = |network: &mut Option<usize>, transport: &mut Option<usize>, (n, t), icmp: bool| {
        if n || (t && icmp) {
            dead.extend(network.take());
        }
        if t {
            dead.extend(transport.take());
        }
    };
    for (i, m) in matches.iter().enumerate() {
        let layers = match m {
            Match::Address4 { .. } | Match::Address6(_) | Match::MaskedAddress(_) => (true, false),
            Match::Tcp { .. } | Match::Udp { .. } | Match::Sctp { .. } => (false, true),
            Match::Native(c) => uses(&c.key),
            Match::Does(s) => match &**s {
                Statement::Dynset { key, .. } => uses(key),
                _ => (false, false),
            },
            _ => (false, false),
        };
        use_layers(&mut network, &mut transport, layers, icmp);
        match m {
            Match::Protocol { number, invert: false } => {
                transport = Some(i);
                icmp = matches!(number, 1 | 58);
            }
            Match::Native(c) => {
                let eq = matches!(c.test, Test::Compare { op: Comparison::Equal, .. });
                let key = c.key.first().map(|l| &l.field);
                let l3 = match table.family {
                    Family::Inet => key == Some(&Field::Meta(meta::NFPROTO)),
                    Family::Bridge | Family::Netdev => key == Some(&Field::Meta(meta::PROTOCOL)),
                    _ => false,
                };
                if eq && l3 {
                    network = Some(i);
                }
            }
            _ => {}
        }
    }
    let layers = match target {
        Target::Native(t) => match &**t {
            Terminal::VerdictMap { key, .. } => uses(key),
            // The answer's protocol tells the network layer; nft keeps the transport's (`meta l4proto tcp`).
            Terminal::Reject { kind, .. } => (*kind != reject::ICMPX, false),
            _ => (false, false),
        },
        _ => (false, false),
    };
    use_layers(&mut network, &mut transport, layers, icmp);
    dead
}

struct Writer<'a> {
    table: &'a Table,
    l3: Option<IpFamily>,
    l4: Option<u8>,
}

impl Writer<'_> {
    /// What a match says of the layers.
    fn learn(&mut self, m: &Match) {
        match m {
            Match::Protocol { number, invert: false } => self.l4 = u8::try_from(*number).ok(),
            Match::Native(c) => c.learn(&mut self.l3, &mut self.l4),
            _ => {}
        }
    }

    fn header(&self, base: u8) -> Fields {
        match base {
            payload_base::LINK => ETHER,
            payload_base::NETWORK => match (self.table.family, self.l3) {
                (Family::Arp, _) => ARP,
                (_, Some(IpFamily::V4)) => IP,
                (_, Some(IpFamily::V6)) => IP6,
                _ => &[],
            },
            payload_base::TRANSPORT => match self.l4 {
                Some(6) => TCP,
                Some(17) => UDP,
                Some(132) => SCTP,
                Some(1) => ICMP_FIELDS,
                Some(58) => ICMP6_FIELDS,
                _ => TRANSPORT,
            },
            _ => &[],
        }
    }

    /// Name and kind of a field.
    fn field(&self, out: &mut String, load: &Load) -> Kind {
        match &load.field {
            Field::Payload { base, offset, len } => {
                match self
                    .header(*base)
                    .iter()
                    .find(|f| f.0 == *offset && (f.1 == *len || load.len < f.1 && f.1 >= 4 && f.1 >= *len))
                {
                    Some((_, _, name, kind)) => {
                        out.push_str(name);
                        return *kind;
                    }
                    None => {
                        let base = ["ll", "nh", "th", "ih"].get(usize::from(*base)).unwrap_or(&"?");
                        let _ = write!(out, "@{base},{},{}", offset * 8, len * 8);
                    }
                }
                Kind::Bytes
            }
            Field::Meta(key) => match META.iter().find(|m| m.0 == *key) {
                Some((_, name, kind)) => {
                    out.push_str(name);
                    *kind
                }
                None => {
                    let _ = write!(out, "meta [key {key}]");
                    Kind::Bytes
                }
            },
            Field::Ct { key, direction } => {
                out.push_str("ct ");
                match direction {
                    Some(0) => out.push_str("original "),
                    Some(_) => out.push_str("reply "),
                    None => {}
                }
                match CT.iter().find(|c| c.0 == *key) {
                    Some((_, name, kind)) => {
                        out.push_str(name);
                        match (kind, load.len) {
                            (Kind::Bytes, 4) => Kind::Ipv4,
                            (Kind::Bytes, 16) => Kind::Ipv6,
                            _ => *kind,
                        }
                    }
                    None => {
                        let _ = write!(out, "[key {key}]");
                        Kind::Bytes
                    }
                }
            }
            Field::Fib { result, flags } => {
                let asked = [(1, "saddr"), (2, "daddr"), (4, "mark"), (8, "iif"), (16, "oif")];
                out.push_str("fib ");
                for (i, (_, name)) in asked.iter().filter(|a| flags & a.0 != 0).enumerate() {
                    let _ = write!(out, "{}{name}", if i > 0 { " . " } else { "" });
                }
                let name = match result {
                    1 => " oif",
                    2 => " oifname",
                    _ => " type",
                };
                out.push_str(name);
                match (result, flags & 32 != 0) {
                    (_, true) => Kind::Present,
                    (2, _) => Kind::Interface,
                    (3, _) => Kind::FibType,
                    _ => Kind::HostNumber,
                }
            }
            Field::Numgen { random, modulus, offset } => {
                let how = if *random { "random" } else { "inc" };
                let _ = write!(out, "numgen {how} mod {modulus}");
                if *offset > 0 {
                    let _ = write!(out, " offset {offset}");
                }
                Kind::HostNumber
            }
            Field::Value(bytes) => {
                value(out, Kind::Bytes, bytes);
                Kind::Bytes
            }
            Field::Mapped(m) => {
                self.key(out, &m.key);
                out.push_str(" map ");
                self.set(out, m.set, m.key.first());
                Kind::Bytes
            }
            Field::Unknown(u) => {
                let _ = write!(out, "[{}, {} bytes]", self.table.str(u.name), u.bytes.len());
                Kind::Bytes
            }
        }
    }

    /// Fields joined to a key.
    fn key(&self, out: &mut String, key: &[Load]) {
        for (i, load) in key.iter().enumerate() {
            if i > 0 {
                out.push_str(" . ");
            }
            self.load(out, load);
        }
    }

    /// A field with what is done to it.
    fn load(&self, out: &mut String, load: &Load) -> Kind {
        let kind = self.field(out, load);
        for op in &load.ops {
            match op {
                Op::Bitwise { mask, xor } => binary(out, kind, mask, xor),
                Op::ShiftLeft(n) => {
                    let _ = write!(out, " << {n}");
                }
                Op::ShiftRight(n) => {
                    let _ = write!(out, " >> {n}");
                }
                Op::Byteorder => {}
            }
        }
        kind
    }

    /// `@name`, or the elements of a set without a name. Numbers of a key that the kernel makes are in host
    /// order.
    fn set(&self, out: &mut String, id: SetId, key: Option<&Load>) {
        let set = self.table.set(id);
        match &set.elements {
            Some(elements) if set.flags & set_flag::ANONYMOUS != 0 => {
                let host = key.is_some_and(|k| {
                    matches!(k.field, Field::Numgen { .. }) && !k.ops.contains(&Op::Byteorder)
                });
                all_elements(out, self.table, set, elements, host.then_some(Kind::HostNumber));
            }
            _ => {
                let _ = write!(out, "@{}", self.table.str(set.name));
            }
        }
    }

    fn one(&mut self, out: &mut String, m: &Match) -> fmt::Result {
        match m {
            Match::Address4 { .. } | Match::Address6(_) => match m.address() {
                Some(a) => address(out, if a.destination { "daddr" } else { "saddr" }, a.net, a.invert),
                None => Ok(()),
            },
            Match::MaskedAddress(a) => {
                let MaskedAddress { destination, addr, mask, invert } = **a;
                let l3 = if addr.is_ipv4() { "ip" } else { "ip6" };
                let side = if destination { "daddr" } else { "saddr" };
                write!(out, "{l3} {side} & {mask} {} {addr}", if invert { "!=" } else { "==" })
            }
            Match::InInterface { name, invert } => self.interface(out, "iifname", *name, *invert),
            Match::OutInterface { name, invert } => self.interface(out, "oifname", *name, *invert),
            Match::Protocol { number, invert } => {
                write!(out, "meta l4proto {}", not(*invert))?;
                protocol(out, *number)
            }
            Match::Mark { mark, mask, invert } if *mask == u32::MAX => {
                write!(out, "meta mark {}{mark:#010x}", not(*invert))
            }
            Match::Mark { mark, mask, invert } => {
                let op = if *invert { "!=" } else { "==" };
                write!(out, "meta mark & {mask:#010x} {op} {mark:#010x}")
            }
            Match::Tcp { source, destination, invert, .. } => {
                ports(out, "tcp", *source, *destination, *invert)
            }
            Match::Udp { source, destination, invert } => ports(out, "udp", *source, *destination, *invert),
            Match::Sctp { source, destination, invert, .. } => {
                ports(out, "sctp", *source, *destination, *invert)
            }
            Match::Counter => out.write_str("counter"),
            Match::Native(c) => self.condition(out, c),
            Match::Does(s) => self.statement(out, s),
            // Extensions of x_tables in a table that is none of iptables'.
            other => super::text::write_extension(out, self.table, other),
        }
    }

    fn interface(&self, out: &mut String, key: &str, name: super::StrId, invert: bool) -> fmt::Result {
        let name = self.table.str(name);
        match name.strip_suffix('+') {
            Some(head) => write!(out, "{key} {}\"{head}*\"", not(invert)),
            None => write!(out, "{key} {}\"{name}\"", not(invert)),
        }
    }

    fn condition(&self, out: &mut String, c: &Condition) -> fmt::Result {
        if let (Test::Compare { op, value: wanted }, [load]) = (&c.test, &c.key[..]) {
            return self.compare(out, load, *op, wanted);
        }
        match &c.test {
            Test::Compare { op, value: wanted } => {
                self.key(out, &c.key);
                write!(out, " {} ", operator(*op))?;
                value(out, Kind::Bytes, wanted);
            }
            Test::Range { invert, from, to } => {
                let mut kind = Kind::Bytes;
                for load in &c.key {
                    kind = self.load(out, load);
                }
                write!(out, " {}", not(*invert))?;
                value(out, kind, from);
                out.push('-');
                value(out, kind, to);
            }
            Test::Set { set, invert } => {
                self.key(out, &c.key);
                write!(out, " {}", not(*invert))?;
                self.set(out, *set, c.key.first());
            }
        }
        Ok(())
    }

    fn compare(&self, out: &mut String, load: &Load, op: Comparison, wanted: &[u8]) -> fmt::Result {
        let bits = match &load.ops[..] {
            [Op::Bitwise { mask, xor }] if xor.iter().all(|b| *b == 0) => Some(mask),
            _ => None,
        };
        let mut name = String::new();
        let bare = Load { ops: Vec::new(), ..load.clone() };
        let kind = self.field(&mut name, &bare);
        let flags = matches!(kind, Kind::CtState | Kind::CtStatus | Kind::TcpFlags);
        if let (Some(mask), true) = (bits, flags) {
            let zero = wanted.iter().all(|b| *b == 0);
            match (op, zero) {
                // Any of these bits.
                (Comparison::NotEqual, true) => {
                    write!(out, "{name} ")?;
                    value(out, kind, mask);
                    return Ok(());
                }
                (Comparison::Equal, true) => {
                    write!(out, "{name} ! ")?;
                    value(out, kind, mask);
                    return Ok(());
                }
                _ => {
                    write!(out, "{name} {}", if op == Comparison::NotEqual { "!= " } else { "" })?;
                    value(out, kind, wanted);
                    out.push_str(" / ");
                    value(out, kind, mask);
                    return Ok(());
                }
            }
        }
        if kind == Kind::Present {
            let there = wanted.iter().any(|b| *b != 0) == (op == Comparison::Equal);
            return write!(out, "{name} {}", if there { "exists" } else { "missing" });
        }
        self.load(out, load);
        match (op, load.ops.is_empty()) {
            (Comparison::Equal, true) => out.push(' '),
            _ => write!(out, " {} ", operator(op))?,
        }
        let whole = usize::try_from(load.len).is_ok_and(|l| l == wanted.len());
        if kind == Kind::Interface && !whole && !wanted.contains(&0) {
            write!(out, "\"{}*\"", String::from_utf8_lossy(wanted))?;
        } else {
            value(out, kind, wanted);
        }
        Ok(())
    }
}

fn family_word(addr: IpAddr) -> &'static str {
    if addr.is_ipv4() { "ip " } else { "ip6 " }
}

fn not(invert: bool) -> &'static str {
    if invert { "!= " } else { "" }
}

fn operator(op: Comparison) -> &'static str {
    match op {
        Comparison::Equal => "==",
        Comparison::NotEqual => "!=",
        Comparison::Less => "<",
        Comparison::LessOrEqual => "<=",
        Comparison::Greater => ">",
        Comparison::GreaterOrEqual => ">=",
    }
}

fn address(out: &mut String, side: &str, net: IpNet, invert: bool) -> fmt::Result {
    write!(out, "{}{side} {}", family_word(net.addr), not(invert))?;
    network(out, net)
}

fn network(out: &mut String, net: IpNet) -> fmt::Result {
    if net.is_host() { write!(out, "{}", net.addr) } else { write!(out, "{net}") }
}

fn protocol(out: &mut String, number: u16) -> fmt::Result {
    match protocol_name(number) {
        Some(name) => out.write_str(name),
        None => write!(out, "{number}"),
    }
}

fn ports(out: &mut String, l4: &str, source: PortRange, destination: PortRange, invert: u8) -> fmt::Result {
    let mut first = true;
    for (range, name, bit) in [(source, "sport", 1), (destination, "dport", 2)] {
        if range == PortRange::ANY && invert & bit == 0 {
            continue;
        }
        write!(out, "{}{l4} {name} {}", if first { "" } else { " " }, not(invert & bit != 0))?;
        first = false;
        match range.single() {
            Some(port) => write!(out, "{port}")?,
            None => write!(out, "{}-{}", range.first, range.last)?,
        }
    }
    Ok(())
}

/// `& mask`, `| value`, `^ value`: the machine has only `(x & mask) ^ xor`.
fn binary(out: &mut String, kind: Kind, mask: &[u8], xor: &[u8]) {
    let none = xor.iter().all(|b| *b == 0);
    let all = mask.iter().all(|b| *b == 0xff);
    let or = mask.iter().zip(xor).all(|(m, x)| *m == !*x);
    if none {
        out.push_str(" & ");
        value(out, kind, mask);
    } else if or {
        out.push_str(" | ");
        value(out, kind, xor);
    } else {
        if !all {
            out.push_str(" & ");
            value(out, kind, mask);
        }
        out.push_str(" ^ ");
        value(out, kind, xor);
    }
}

fn verdict(out: &mut String, table: &Table, v: Verdict) -> fmt::Result {
    match v {
        Verdict::Accept => out.write_str("accept"),
        Verdict::Drop => out.write_str("drop"),
        Verdict::Queue => out.write_str("queue"),
        Verdict::Return => out.write_str("return"),
        Verdict::Continue => out.write_str("continue"),
        Verdict::Jump(c) => write!(out, "jump {}", table.chain_name(c)),
        Verdict::Goto(c) => write!(out, "goto {}", table.chain_name(c)),
    }
}
