//! Native rules and elements as `nft list` prints them (checked against nftables 1.0.6 in `tests/nftables.rs`).

mod conditions;
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
use elements::all_elements;
pub(super) use elements::{ElementText, element_texts};
use fields::*;
use std::fmt::{self, Write as _};
use std::net::IpAddr;
use values::*;

/// Writes a whole rule.
pub(super) fn rule(out: &mut String, table: &Table, rule: &Rule) -> fmt::Result {
    let matches = table.matches_of(rule);
    let mut w = Writer::new(table);
    let implied = implied(table, matches, &rule.target);
    let (mut comment, mut skip) = (None, false);
    for (i, m) in matches.iter().enumerate() {
        // The second half of a range.
        if std::mem::take(&mut skip) {
            continue;
        }
        if let Match::Comment(id) = m {
            comment = Some(table.str(*id));
            continue;
        }
        w.learn(m);
        if !implied.contains(&i) {
            out.push(' ');
            skip = w.two_ends(out, m, matches.get(i + 1));
            if !skip {
                w.one(out, m)?;
            }
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
    Writer::new(table).one(out, m)
}

/// The end of a rule of iptables' dialect that only nf_tables has.
pub(super) fn terminal(out: &mut String, table: &Table, target: &Target) -> fmt::Result {
    Writer::new(table).target(out, target)
}

/// The layers of a packet that loads look at: link, network, transport.
#[derive(Clone, Copy, Default)]
struct Layers([bool; 3]);

impl Layers {
    fn of(loads: &[Load]) -> Layers {
        let mut all = Layers::default();
        loads.iter().for_each(|l| all.add(&l.field));
        all
    }

    fn add(&mut self, field: &Field) {
        match field {
            Field::Payload { base, .. } => self.payload(*base),
            Field::Exthdr { op, .. } => self.exthdr(*op),
            Field::Hash { key, .. } => key.iter().for_each(|l| self.add(&l.field)),
            Field::Mapped(m) => m.key.iter().for_each(|l| self.add(&l.field)),
            _ => {}
        }
    }

    fn payload(&mut self, base: u8) {
        if let Some(layer) = self.0.get_mut(usize::from(base)) {
            *layer = true;
        }
    }

    /// Headers of IPv6 and options of IPv4 are the network's, the others the transport's.
    fn exthdr(&mut self, op: u8) {
        self.payload(if matches!(op, 0 | 2) { payload_base::NETWORK } else { payload_base::TRANSPORT });
    }

    fn of_match(m: &Match) -> Layers {
        let mut all = Layers::default();
        match m {
            Match::Address4 { .. } | Match::Address6(_) | Match::MaskedAddress(_) => {
                all.payload(payload_base::NETWORK);
            }
            Match::Tcp { .. } | Match::Udp { .. } | Match::Sctp { .. } => {
                all.payload(payload_base::TRANSPORT);
            }
            Match::Native(c) => return Layers::of(&c.key),
            Match::Does(s) => match &**s {
                Statement::Dynset { key, .. } | Statement::ObjectMap { key, .. } => return Layers::of(key),
                Statement::SetMeta { value, .. } | Statement::SetCt { value, .. } => all.add(&value.field),
                Statement::SetPayload { base, value, .. } => {
                    all.payload(*base);
                    all.add(&value.field);
                }
                Statement::SetExthdr { op, .. } | Statement::ResetExthdr { op, .. } => all.exthdr(*op),
                _ => {}
            },
            _ => {}
        }
        all
    }

    fn of_target(target: &Target) -> Layers {
        let mut all = Layers::default();
        if let Target::Native(t) = target {
            match &**t {
                Terminal::VerdictMap { key, .. } => return Layers::of(key),
                Terminal::Nat { addr, port, .. } => {
                    for (first, last) in addr.iter().chain(port) {
                        all.add(&first.field);
                        all.add(&last.field);
                    }
                }
                // The answer's protocol tells the network layer; nft keeps the transport's (`meta l4proto tcp`).
                Terminal::Reject { kind, .. } => all.0[1] = *kind != reject::ICMPX,
                _ => {}
            }
        }
        all
    }
}

/// Conditions that nft leaves out, as what follows cannot be asked without them (`payload_dependency_kill` in
/// nftables' `src/payload.c`).
fn implied(table: &Table, matches: &[Match], target: &Target) -> Vec<usize> {
    let mut dead = Vec::new();
    // What asked for the link's kind, a tag of a VLAN, the network layer, the transport.
    let (mut link, mut tag): (Option<usize>, Option<usize>) = (None, None);
    let (mut network, mut transport): (Option<usize>, Option<usize>) = (None, None);
    let mut icmp = false;
    let all = matches.iter().map(Layers::of_match).chain([Layers::of_target(target)]);
    for (i, Layers([l, n, t])) in all.enumerate() {
        if l {
            dead.extend(link.take());
            if matches.get(i).is_some_and(is_in_tag) {
                dead.extend(tag.take());
            }
        }
        if n || (t && icmp) {
            dead.extend(network.take());
        }
        if t {
            dead.extend(transport.take());
        }
        match matches.get(i) {
            Some(Match::Protocol { number, invert: false }) => {
                transport = Some(i);
                icmp = matches!(number, 1 | 58);
            }
            Some(Match::Native(c)) => {
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
                if eq && key == Some(&Field::Meta(meta::IIFTYPE)) {
                    link = Some(i);
                }
                if eq && is_tagged(c) {
                    tag = Some(i);
                }
            }
            _ => {}
        }
    }
    dead
}

/// `ether type 8021q`
fn is_tagged(c: &Condition) -> bool {
    let field = Field::Payload { base: payload_base::LINK, offset: 12, len: 2 };
    let value = matches!(&c.test, Test::Compare { op: Comparison::Equal, value } if value[..] == [0x81, 0]);
    value && matches!(&c.key[..], [load] if load.field == field)
}

/// A field of the tag that a VLAN puts behind the link's header.
fn is_in_tag(m: &Match) -> bool {
    let inside =
        |l: &Load| matches!(l.field, Field::Payload { base: payload_base::LINK, offset, .. } if offset >= 14);
    matches!(m, Match::Native(c) if c.key.iter().any(inside))
}

struct Writer<'a> {
    table: &'a Table,
    /// True where the link is known to be Ethernet.
    ethernet: bool,
    tagged: bool,
    l3: Option<IpFamily>,
    l4: Option<u8>,
}

impl<'a> Writer<'a> {
    fn new(table: &'a Table) -> Writer<'a> {
        let ethernet = matches!(table.family, Family::Bridge | Family::Netdev);
        Writer { table, ethernet, tagged: false, l3: table.family.ip(), l4: None }
    }
}

impl Writer<'_> {
    /// What a match says of the layers.
    fn learn(&mut self, m: &Match) {
        match m {
            Match::Protocol { number, invert: false } => self.l4 = u8::try_from(*number).ok(),
            Match::Native(c) => {
                c.learn(&mut self.l3, &mut self.l4);
                let of = c.key.first().map(|l| &l.field);
                // 1 is `ARPHRD_ETHER`.
                let is_ethernet = matches!(&c.test, Test::Compare { op: Comparison::Equal, value }
                    if of == Some(&Field::Meta(meta::IIFTYPE)) && host_number(value) == 1);
                self.ethernet |= is_ethernet;
                self.tagged |= is_tagged(c);
            }
            _ => {}
        }
    }

    fn header(&self, base: u8) -> Fields {
        match base {
            payload_base::LINK if self.ethernet => ETHER,
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
                Some(2) => IGMP,
                Some(33) => DCCP,
                Some(50) => ESP,
                Some(51) => AH,
                Some(108) => COMP,
                Some(136) => UDPLITE,
                _ => TRANSPORT,
            },
            _ => &[],
        }
    }

    /// Fields of a header that are not made of whole bytes.
    fn bit_fields(&self, base: u8) -> BitFields {
        match (base, self.l3, self.l4) {
            (payload_base::LINK, ..) if self.tagged => VLAN_BITS,
            (payload_base::NETWORK, Some(IpFamily::V4), _) => IP_BITS,
            (payload_base::NETWORK, Some(IpFamily::V6), _) => IP6_BITS,
            (payload_base::TRANSPORT, _, Some(6)) => TCP_BITS,
            (payload_base::TRANSPORT, _, Some(33)) => DCCP_BITS,
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
                    None if self.tagged && (*base, *offset, *len) == (payload_base::LINK, 16, 2) => {
                        out.push_str("vlan type");
                        return Kind::EtherType;
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
            Field::Exthdr { op, kind, offset, len, present } => {
                self.exthdr(out, *op, *kind, *offset, *len, *present)
            }
            Field::Hash { key, modulus, seed, offset } => {
                if key.is_empty() {
                    out.push_str("symhash");
                } else {
                    out.push_str("jhash ");
                    self.key(out, key);
                }
                let _ = write!(out, " mod {modulus}");
                if let Some(seed) = seed {
                    let _ = write!(out, " seed {seed:#x}");
                }
                if *offset > 0 {
                    let _ = write!(out, " offset {offset}");
                }
                Kind::HostNumber
            }
            Field::Rt(key) => named_key(out, "rt", RT, *key),
            Field::Socket { key, level } => {
                match key {
                    0 => out.push_str("socket transparent"),
                    1 => out.push_str("socket mark"),
                    2 => out.push_str("socket wildcard"),
                    3 => {
                        let _ = write!(out, "socket cgroupv2 level {level}");
                    }
                    _ => {
                        let _ = write!(out, "socket [key {key}]");
                    }
                }
                if *key == 1 { Kind::Mark } else { Kind::HostNumber }
            }
            Field::Osf { ttl, flags } => {
                out.push_str(match ttl {
                    1 => "osf ttl loose",
                    2 => "osf ttl skip",
                    _ => "osf",
                });
                out.push_str(if flags & 1 != 0 { " version" } else { " name" });
                Kind::Interface
            }
            Field::Xfrm { key, direction, number } => {
                out.push_str(if *direction == 0 { "ipsec in " } else { "ipsec out " });
                if *number > 0 {
                    let _ = write!(out, "spnum {number} ");
                }
                named_key(out, "ipsec", XFRM, *key)
            }
            Field::Value(bytes) => {
                value(out, Kind::Bytes, bytes);
                Kind::Bytes
            }
            Field::Mapped(m) => {
                let sides = self.key(out, &m.key);
                out.push_str(" map ");
                self.set(out, m.set, sides);
                Kind::Bytes
            }
            Field::Unknown(u) => {
                let _ = write!(out, "[{}, {} bytes]", self.table.str(u.name), u.bytes.len());
                Kind::Bytes
            }
        }
    }

    /// An option or extension header, or a part of it.
    fn exthdr(&self, out: &mut String, op: u8, kind: u8, offset: u32, len: u32, present: bool) -> Kind {
        let name = |out: &mut String, prefix: &str, names: &[(u8, &str)]| {
            out.push_str(prefix);
            let _ = named(out, names, kind);
        };
        let mut of = Kind::Number;
        let field = match op {
            0 => {
                let segment =
                    SEGMENT_FIELDS.iter().find(|f| kind == 43 && (f.0, f.1) == (offset * 8, len * 8));
                if let (Some(f), false) = (segment, present) {
                    let _ = write!(out, "srh {}", f.2);
                    return of;
                }
                name(out, if present { "exthdr " } else { "" }, EXTENSION_HEADERS);
                let found = EXTENSION_FIELDS
                    .iter()
                    .find(|f| f.0 == kind && f.1 / 8 == offset && (f.1 % 8 + f.2).div_ceil(8) == len);
                found.map(|f| {
                    of = f.4;
                    f.3
                })
            }
            1 => {
                name(out, "tcp option ", TCP_OPTIONS);
                TCP_OPTION_FIELDS.iter().find(|f| f.0 == kind && (f.1, f.2) == (offset, len)).map(|f| f.3)
            }
            2 => {
                name(out, "ip option ", IP_OPTIONS);
                match (offset, len, kind) {
                    (2, 2, 148) => Some("value"),
                    (2, 1, _) => Some("ptr"),
                    (3, 4, _) => {
                        of = Kind::Ipv4;
                        Some("addr")
                    }
                    _ => None,
                }
            }
            3 => {
                name(out, "sctp chunk ", SCTP_CHUNKS);
                match (offset, len) {
                    (0, 1) => Some("type"),
                    (1, 1) => Some("flags"),
                    (2, 2) => Some("length"),
                    _ => None,
                }
            }
            _ => {
                let _ = write!(out, "dccp option {kind}");
                None
            }
        };
        if present {
            return Kind::Present;
        }
        let common = match (op, offset, len) {
            (1, 0, 1) => Some("kind"),
            (2, 0, 1) => Some("type"),
            (1 | 2, 1, 1) => Some("length"),
            _ => None,
        };
        match field.or(common) {
            Some(f) => {
                let _ = write!(out, " {f}");
            }
            None => {
                // Where nft has no name: kind, offset and length in bits.
                if op == 1 && TCP_OPTIONS.iter().any(|o| o.0 == kind) {
                    out.push_str(" unknown");
                    return Kind::Number;
                } else if op == 1 {
                    out.truncate(out.len() - out.rsplit(' ').next().map_or(0, str::len));
                    let _ = write!(out, "@{kind},{},{}", offset * 8, len * 8);
                } else {
                    let _ = write!(out, " @{},{}", offset * 8, len * 8);
                }
                return Kind::Bytes;
            }
        }
        of
    }

    /// Fields joined to a key; how the values of each are read.
    fn key(&self, out: &mut String, key: &[Load]) -> Vec<Side> {
        let mut sides = Vec::new();
        for (i, load) in key.iter().enumerate() {
            if i > 0 {
                out.push_str(" . ");
            }
            sides.push(self.load(out, load));
        }
        sides
    }

    /// A field with what is done to it.
    fn load(&self, out: &mut String, load: &Load) -> Side {
        let mut rest = &load.ops[..];
        let mut side = match self.bits(load) {
            Some((name, side)) => {
                out.push_str(&name);
                rest = &rest[1..];
                // Moved to the right by as many bits as stand behind it: its own number.
                if let [Op::ShiftRight(n), more @ ..] = rest
                    && *n == side.shift
                {
                    rest = more;
                }
                side
            }
            None => Side::from(self.field(out, load)),
        };
        for op in rest {
            match op {
                Op::Bitwise { mask, xor } => binary(out, side.kind, mask, xor),
                Op::ShiftLeft(n) => {
                    let _ = write!(out, " << {n}");
                }
                Op::ShiftRight(n) => {
                    let _ = write!(out, " >> {n}");
                }
                Op::Byteorder => side.swapped = !side.swapped,
            }
        }
        side
    }

    /// `@name`, or the elements of a set without a name.
    fn set(&self, out: &mut String, id: SetId, key: Vec<Side>) {
        let set = self.table.set(id);
        match &set.elements {
            Some(elements) if set.flags & set_flag::ANONYMOUS != 0 => {
                all_elements(out, self.table, set, elements, Some(key));
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
}

/// A key by its name.
fn named_key(out: &mut String, what: &str, names: &[(u32, &str, Kind)], key: u32) -> Kind {
    match names.iter().find(|n| n.0 == key) {
        Some((_, name, kind)) => {
            out.push_str(name);
            *kind
        }
        None => {
            let _ = write!(out, "{what} [key {key}]");
            Kind::Bytes
        }
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

/// `& mask`, `^ value`, `| value`: the machine has only `(x & mask) ^ xor` (`netlink_parse_bitwise` of nftables).
fn binary(out: &mut String, kind: Kind, mask: &[u8], xor: &[u8]) {
    let both = |f: fn(u8, u8) -> u8| mask.iter().zip(xor).map(|(m, x)| f(*m, *x)).collect::<Vec<u8>>();
    let (or, flipped) = (both(|m, x| x & !m), both(|m, x| x & m));
    let and = both(|m, x| m | x);
    let none = |bytes: &[u8]| bytes.iter().all(|b| *b == 0);
    if !and.iter().all(|b| *b == 0xff) {
        out.push_str(" & ");
        value(out, kind, &and);
    }
    for (sign, bytes) in [(" ^ ", flipped), (" | ", or)] {
        if !none(&bytes) {
            out.push_str(sign);
            value(out, kind, &bytes);
        }
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
