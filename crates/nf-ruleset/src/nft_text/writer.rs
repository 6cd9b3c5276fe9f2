//! Fields of a packet by their names.

use super::elements::all_elements;
use super::fields::*;
use super::values::*;
use crate::Condition;
use crate::nft_text::values::Kind;
use crate::{
    Comparison, Family, Field, IpFamily, Load, Match, Op, SetId, Table, Test, meta, payload_base, set_flag,
};
use std::fmt::Write as _;

pub(super) struct Writer<'a> {
    pub(super) table: &'a Table,
    /// True where the link is known to be Ethernet.
    pub(super) ethernet: bool,
    pub(super) tagged: bool,
    pub(super) l3: Option<IpFamily>,
    pub(super) l4: Option<u8>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(table: &'a Table) -> Writer<'a> {
        let ethernet = matches!(table.family, Family::Bridge | Family::Netdev);
        Writer { table, ethernet, tagged: false, l3: table.family.ip(), l4: None }
    }
}

impl Writer<'_> {
    /// What a match says of the layers.
    pub(super) fn learn(&mut self, m: &Match) {
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

    pub(super) fn header(&self, base: u8) -> Fields {
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
    pub(super) fn bit_fields(&self, base: u8) -> BitFields {
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
    pub(super) fn field(&self, out: &mut String, load: &Load) -> Kind {
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
    pub(super) fn exthdr(
        &self,
        out: &mut String,
        op: u8,
        kind: u8,
        offset: u32,
        len: u32,
        present: bool,
    ) -> Kind {
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
    pub(super) fn key(&self, out: &mut String, key: &[Load]) -> Vec<Side> {
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
    pub(super) fn load(&self, out: &mut String, load: &Load) -> Side {
        let mut rest = &load.ops[..];
        let mut side = match self.bits(load) {
            Some((name, side)) => {
                out.push_str(&name);
                rest = &rest[1..];
                // Moved to the right by as many bits as are behind it: its own number.
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
    pub(super) fn set(&self, out: &mut String, id: SetId, key: Vec<Side>) {
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

/// `ether type 8021q`
pub(super) fn is_tagged(c: &Condition) -> bool {
    let field = Field::Payload { base: payload_base::LINK, offset: 12, len: 2 };
    let value = matches!(&c.test, Test::Compare { op: Comparison::Equal, value } if value[..] == [0x81, 0]);
    value && matches!(&c.key[..], [load] if load.field == field)
}
