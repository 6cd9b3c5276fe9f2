//! Conditions: a field, and what it must be.

use super::fields::{EXTENSION_FIELDS, EXTENSION_HEADERS};
use super::values::{Kind, Side, named, range, side_value, value};
use super::words::{not, operator};
use super::writer::Writer;
use crate::Match;
use crate::{Comparison, Condition, Field, Load, Op, Test};
use std::fmt::{self, Write as _};

impl Writer<'_> {
    /// A field that is not made of whole bytes: its name, and how its values are read.
    pub(super) fn bits(&self, load: &Load) -> Option<(String, Side)> {
        let Some(Op::Bitwise { mask, xor }) = load.ops.first() else { return None };
        if mask.len() > 16 || xor.iter().any(|b| *b != 0) {
            return None;
        }
        let bits = mask.iter().fold(0u128, |n, b| n << 8 | u128::from(*b));
        let (len, shift) = (bits.count_ones(), bits.checked_ilog2().map(|_| bits.trailing_zeros())?);
        // One run of ones.
        if bits >> shift != u128::MAX >> (128 - len) {
            return None;
        }
        let lead = 8 * mask.len() as u32 - len - shift;
        match &load.field {
            Field::Payload { base, offset, .. } => {
                let at = 8 * offset + lead;
                let found = self.bit_fields(*base).iter().find(|f| (f.0, f.1) == (at, len))?;
                Some((found.2.to_string(), Side { shift, ..Side::from(found.3) }))
            }
            Field::Exthdr { op: 0, kind, offset, present: false, .. } => {
                let at = 8 * offset + lead;
                let found = EXTENSION_FIELDS.iter().find(|f| f.0 == *kind && (f.1, f.2) == (at, len))?;
                let mut name = String::new();
                let _ = named(&mut name, EXTENSION_HEADERS, *kind);
                Some((format!("{name} {}", found.3), Side { shift, ..Side::from(found.4) }))
            }
            _ => None,
        }
    }

    /// Two comparisons of the same field are a range; true where they were written as one.
    pub(super) fn two_ends(&self, out: &mut String, m: &Match, next: Option<&Match>) -> bool {
        let ends = |m: &Match, wanted: Comparison| match m {
            Match::Native(c) => match (&c.key[..], &c.test) {
                ([load], Test::Compare { op, value }) if *op == wanted => Some((load.clone(), value.clone())),
                _ => None,
            },
            _ => None,
        };
        let first = ends(m, Comparison::GreaterOrEqual);
        let last = next.and_then(|n| ends(n, Comparison::LessOrEqual));
        match (first, last) {
            (Some((load, from)), Some((same, to))) if load == same => {
                let side = self.load(out, &load);
                out.push(' ');
                // nft makes a prefix of two comparisons only where it made them of one.
                range_of_two(out, side, &from, &to);
                true
            }
            _ => false,
        }
    }

    pub(super) fn condition(&self, out: &mut String, c: &Condition) -> fmt::Result {
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
                let sides = self.key(out, &c.key);
                write!(out, " {}", not(*invert))?;
                let side = sides.first().copied().unwrap_or(Kind::Bytes.into());
                range_of_two(out, side, from, to);
            }
            Test::Set { set, invert } => {
                let sides = self.key(out, &c.key);
                write!(out, " {}", not(*invert))?;
                self.set(out, *set, sides);
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
        if let (Some(mask), true) = (bits, kind.is_flags()) {
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
        if op == Comparison::Equal && load.ops.is_empty() && self.several(out, load, wanted) {
            return Ok(());
        }
        // Its first bytes: a network, or the beginning of a name.
        let cut = wanted.len() < load.len as usize || wanted.len() < whole(kind);
        let plain = load.ops.is_empty() || self.bits(load).is_some_and(|_| load.ops.len() == 1);
        let side = self.load(out, load);
        let plain = plain || load.ops.iter().all(|o| *o == Op::Byteorder);
        match (op, plain) {
            (Comparison::Equal, true) => out.push(' '),
            _ => write!(out, " {} ", operator(op))?,
        }
        match kind {
            Kind::Interface if cut && !wanted.contains(&0) => {
                write!(out, "\"{}*\"", String::from_utf8_lossy(wanted))?;
            }
            Kind::Ether if cut => {
                let mut whole = wanted.to_vec();
                whole.resize(6, 0);
                value(out, kind, &whole);
                write!(out, "/{}", 8 * wanted.len())?;
            }
            _ => side_value(out, side, wanted),
        }
        Ok(())
    }

    /// Fields side by side are loaded as one: each with its own value again (`payload_expr_expand` of nftables).
    fn several(&self, out: &mut String, load: &Load, wanted: &[u8]) -> bool {
        let Field::Payload { base, offset, len } = load.field else { return false };
        if wanted.len() != len as usize {
            return false;
        }
        let (mut at, mut text) = (offset, String::new());
        let mut fields = 0;
        while at < offset + len {
            let left = offset + len - at;
            let Some(f) = self.header(base).iter().find(|f| f.0 == at && f.1 <= left) else { return false };
            let from = (at - offset) as usize;
            let _ = write!(text, "{}{} ", if fields > 0 { " " } else { "" }, f.2);
            value(&mut text, f.3, &wanted[from..from + f.1 as usize]);
            at += f.1;
            fields += 1;
        }
        if fields < 2 {
            return false;
        }
        out.push_str(&text);
        true
    }
}

/// Bytes that a value of a kind has where none is left out; 0 where that is not known.
fn whole(kind: Kind) -> usize {
    match kind {
        Kind::Ether => 6,
        _ => 0,
    }
}

/// Both ends, which nft does not join to a network.
fn range_of_two(out: &mut String, side: Side, from: &[u8], to: &[u8]) {
    if matches!(side.kind, Kind::Ipv4 | Kind::Ipv6) {
        side_value(out, side, from);
        out.push('-');
        side_value(out, side, to);
    } else {
        range(out, side, from, to);
    }
}
