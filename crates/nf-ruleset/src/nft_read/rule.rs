//! Statements of a rule, as `nft -j` prints them -> matches and a target, as the kernel's expressions become them.

use super::elements::verdict;
use super::value::{arg, bytes, is_flags, number};
use crate::lower::{self, Lowered};
use crate::nft_text::values::{self, Kind};
use crate::set_flag;
use crate::{
    Comparison, Condition, Counter, Dialect, Family, Field, IpFamily, Load, Mapped, Match, NatRange, Op,
    RuleSpec, Statement, TableBuilder, Target, Terminal, Test, Unknown, address, meta, nat_flags, reject,
};
use serde_json::Value;

/// A field with how its values are written.
pub(super) type LoadKind = (Load, Kind);

/// Reads the statements of one rule.
pub(super) struct RuleReader<'a> {
    pub(super) b: &'a mut TableBuilder,
    matches: Vec<Match>,
    target: Target,
    counter: Counter,
    pub(super) l3: Option<IpFamily>,
    l4: Option<u8>,
}

impl<'a> RuleReader<'a> {
    pub(super) fn new(b: &'a mut TableBuilder) -> RuleReader<'a> {
        let l3 = b.family().ip();
        RuleReader { b, matches: Vec::new(), target: Target::None, counter: Counter::default(), l3, l4: None }
    }

    /// A rule; what is not understood of it is kept as it is.
    pub(super) fn rule(mut self, statements: &[Value], comment: Option<&str>) -> RuleSpec {
        for s in statements {
            if self.target != Target::None {
                let done = std::mem::replace(&mut self.target, Target::None);
                self.does(Statement::Target(done));
            }
            let (before, l4) = (self.matches.len(), self.l4);
            if self.statement(s).is_none() {
                self.matches.truncate(before);
                self.l4 = l4;
                let name = self.b.strings.intern(crate::UNREAD);
                let text =
                    s.get("unread").and_then(Value::as_str).map_or_else(|| s.to_string(), str::to_string);
                self.does(Statement::Unknown(Unknown { name, revision: 0, bytes: text.into_bytes().into() }));
            }
        }
        if let Some(comment) = comment {
            let m = self.b.comment(comment);
            self.matches.push(m);
        }
        RuleSpec { matches: self.matches, target: self.target, counter: self.counter }
    }

    fn does(&mut self, s: Statement) {
        self.matches.push(Match::Does(Box::new(s)));
    }

    fn accept(&mut self, lowered: Lowered) {
        if let Lowered::Head(m) | Lowered::Rest(m) = lowered {
            if let Match::Protocol { number, invert: false } = m {
                self.l4 = u8::try_from(number).ok();
            }
            self.matches.push(m);
        }
    }

    fn condition(&mut self, key: Vec<Load>, test: Test) {
        let condition = Condition { key, test };
        condition.learn(&mut self.l3, &mut self.l4);
        self.matches.push(Match::Native(Box::new(condition)));
    }

    fn compare(&mut self, load: Load, op: Comparison, value: Vec<u8>) {
        let invert = op == Comparison::NotEqual;
        let lowered = matches!(op, Comparison::Equal | Comparison::NotEqual).then(|| {
            let place = (Dialect::Nft, &mut self.b.strings);
            lower::compare(&load, invert, &value, place, self.l3, self.l4, &mut self.matches)
        });
        match lowered.flatten() {
            Some(l) => self.accept(l),
            None => self.condition(vec![load], Test::Compare { op, value: value.into() }),
        }
    }

    /// Without it the offsets of a header mean nothing: nft writes it into the kernel and does not print it.
    pub(super) fn need_l4(&mut self, protocol: u8) {
        if self.l4 != Some(protocol) {
            self.l4 = Some(protocol);
            self.matches.push(Match::Protocol { number: u16::from(protocol), invert: false });
        }
    }

    pub(super) fn need_l3(&mut self, family: IpFamily) {
        if self.l3 == Some(family) {
            return;
        }
        let (key, len, value) = match (self.b.family(), family) {
            (Family::Inet, IpFamily::V4) => (meta::NFPROTO, 1, vec![2]),
            (Family::Inet, IpFamily::V6) => (meta::NFPROTO, 1, vec![10]),
            (_, IpFamily::V4) => (meta::PROTOCOL, 2, vec![0x08, 0x00]),
            (_, IpFamily::V6) => (meta::PROTOCOL, 2, vec![0x86, 0xdd]),
        };
        self.condition(
            vec![Load::new(Field::Meta(key), len)],
            Test::Compare { op: Comparison::Equal, value: value.into() },
        );
        self.l3 = Some(family);
    }

    fn statement(&mut self, s: &Value) -> Option<()> {
        if let Some(name) = s.as_str() {
            return (name == "notrack").then(|| self.does(Statement::Notrack));
        }
        let (what, v) = s.as_object()?.iter().next()?;
        if let Some(verdict) = verdict(self.b, s) {
            self.target = Target::Verdict(verdict);
            return Some(());
        }
        match what.as_str() {
            "match" => return self.matched(v),
            "counter" => {
                if let Some(name) = v.as_str() {
                    let name = self.b.strings.intern(name);
                    self.does(Statement::Object { kind: 1, name }); // NFT_OBJECT_COUNTER
                } else {
                    let n = |k: &str| v.get(k).and_then(number).unwrap_or(0);
                    self.counter = Counter { packets: n("packets"), bytes: n("bytes") };
                    self.matches.push(Match::Counter);
                }
            }
            "mangle" => {
                let key = v.get("key")?;
                let (load, kind) = self.field(key)?;
                let value = match self.field(v.get("value")?) {
                    Some((value, _)) => value,
                    None => Load::value(&bytes(v.get("value")?, kind, load.len as usize)?),
                };
                match load.field {
                    Field::Meta(key) => self.does(Statement::SetMeta { key, value }),
                    Field::Ct { key, direction } => self.does(Statement::SetCt { key, direction, value }),
                    _ => return None,
                }
            }
            "vmap" => {
                let mut key = self.key(v.get("key")?)?;
                let set = self.set_of(v.get("data")?, &mut key, true)?;
                self.target = Target::Native(Box::new(Terminal::VerdictMap { key: loads(&key), set }));
            }
            "dnat" => self.target = self.nat(v, true)?,
            "snat" => self.target = self.nat(v, false)?,
            "masquerade" => self.target = Target::Masquerade(Box::new(ports_only(v)?)),
            "redirect" => self.target = Target::Redirect(Box::new(ports_only(v)?)),
            "reject" => {
                let (kind, code) = answer(self.b.family(), v)?;
                match arg(v, "type") {
                    Some("icmp") => self.need_l3(IpFamily::V4),
                    Some("icmpv6") => self.need_l3(IpFamily::V6),
                    Some("tcp reset") => self.need_l4(6),
                    _ => {}
                }
                self.target = match reject::to_iptables(self.b.family(), kind, code) {
                    Some(with) => Target::Reject { with },
                    None => Target::Native(Box::new(Terminal::Reject { kind, code })),
                };
            }
            "limit" => {
                let unit = |name: Option<&str>| match name {
                    None | Some("packets" | "bytes") => Some(1),
                    Some("kbytes") => Some(1 << 10),
                    Some("mbytes") => Some(1u64 << 20),
                    _ => None,
                };
                let per = arg(v, "per").unwrap_or("second");
                let seconds = match per {
                    "second" => 1,
                    "minute" => 60,
                    "hour" => 3600,
                    "day" => 86_400,
                    "week" => 604_800,
                    _ => return None,
                };
                let bytes = arg(v, "rate_unit").is_some_and(|u| u.ends_with("bytes"));
                let burst = v.get("burst").and_then(number);
                let given = burst.map(|b| Some(b * unit(arg(v, "burst_unit"))?));
                self.does(Statement::Limit {
                    rate: number(v.get("rate")?)? * unit(arg(v, "rate_unit"))?,
                    seconds,
                    burst: given.unwrap_or(Some(if bytes { 0 } else { 5 }))? as u32,
                    bytes,
                    over: v.get("inv").and_then(Value::as_bool).unwrap_or(false),
                });
            }
            "quota" => {
                let factor = match arg(v, "val_unit") {
                    None | Some("bytes") => 1,
                    Some("kbytes") => 1 << 10,
                    Some("mbytes") => 1u64 << 20,
                    _ => return None,
                };
                self.does(Statement::Quota {
                    bytes: number(v.get("val")?)? * factor,
                    over: v.get("inv").and_then(Value::as_bool).unwrap_or(false),
                });
            }
            "ct count" => self.does(Statement::Connlimit {
                count: number(v.get("val")?)? as u32,
                over: v.get("inv").and_then(Value::as_bool).unwrap_or(false),
            }),
            "log" => {
                let n = |k: &str| v.get(k).and_then(number);
                let level = arg(v, "level").map(|l| {
                    ["emerg", "alert", "crit", "err", "warn", "notice", "info", "debug"]
                        .iter()
                        .position(|x| *x == l)
                        .map(|i| i as u32)
                });
                let level = match level {
                    Some(None) => return None,
                    Some(l) => l,
                    None => None,
                };
                let prefix = arg(v, "prefix").map(|t| self.b.strings.intern(t));
                let rest = [n("snaplen").map(|x| x as u32), n("queue-threshold").map(|x| x as u32), None];
                self.does(Statement::Log { prefix, group: n("group").map(|g| g as u16), level, rest });
            }
            "set" | "map" if v.get("op").is_some() => {
                let op = match arg(v, "op")? {
                    "add" => 0,
                    "update" => 1,
                    "delete" => 2,
                    _ => return None,
                };
                let elem = v.get("elem")?;
                let (val, timeout) = match elem.get("elem") {
                    Some(e) => (e.get("val")?, e.get("timeout").and_then(number)),
                    None => (elem, None),
                };
                let mut key = self.key(val)?;
                let set = self.set_of(v.get("set").or_else(|| v.get("map"))?, &mut key, false)?;
                self.b.sets[set.0 as usize].flags |= set_flag::EVAL;
                let mut carries = Vec::new();
                for s in v.get("stmt").and_then(Value::as_array).into_iter().flatten() {
                    s.get("counter")?; // what else elements may carry is left as it is
                    let name = self.b.strings.intern("counter");
                    carries.push(Unknown { name, revision: 0, bytes: Box::default() });
                }
                let timeout_ms = timeout.map(|s| s * 1000);
                self.does(Statement::Dynset {
                    op,
                    set,
                    key: loads(&key),
                    data: Vec::new(),
                    timeout_ms,
                    flags: 0,
                    carries,
                    does: Vec::new(),
                });
            }
            _ => return None,
        }
        Some(())
    }

    fn matched(&mut self, v: &Value) -> Option<()> {
        let (left, right) = (v.get("left")?, v.get("right")?);
        let op = match arg(v, "op")? {
            "==" | "in" => Comparison::Equal,
            "!=" | "!" => Comparison::NotEqual,
            "<" => Comparison::Less,
            "<=" => Comparison::LessOrEqual,
            ">" => Comparison::Greater,
            ">=" => Comparison::GreaterOrEqual,
            _ => return None,
        };
        let invert = op == Comparison::NotEqual;
        let any_flag = ["in", "!"].contains(&arg(v, "op")?);
        // Whether there is a route: the answer is yes or no instead of a number.
        let asked = left.get("fib").and_then(Value::as_object).filter(|_| right.is_boolean()).map(|fib| {
            let mut fib = fib.clone();
            fib.insert("result".into(), "check".into());
            serde_json::json!({ "fib": fib })
        });
        let mut key = self.key(asked.as_ref().unwrap_or(left))?;
        if right.get("set").is_some() || right.as_str().is_some_and(|r| r.starts_with('@')) {
            let set = self.set_of(right, &mut key, false)?;
            self.condition(loads(&key), Test::Set { set, invert });
            return Some(());
        }
        let [(load, kind)] = &key[..] else { return None };
        let (mut load, kind, len) = (load.clone(), *kind, load.len as usize);
        // Order is that of the network: numbers of the host are turned first, as nft does it.
        let ordered = right.get("range").is_some() || !matches!(op, Comparison::Equal | Comparison::NotEqual);
        let turned = ordered && kind.is_host() && len > 1;
        if turned {
            load.ops.push(Op::Byteorder);
        }
        let bytes = |v: &Value, kind: Kind, len: usize| {
            let mut found = bytes(v, kind, len)?;
            if turned && cfg!(target_endian = "little") {
                found.reverse();
            }
            Some(found)
        };
        if let Some([from, to]) = right.get("range").and_then(Value::as_array).map(Vec::as_slice) {
            let (from, to) = (bytes(from, kind, len)?, bytes(to, kind, len)?);
            let lowered = lower::range(&load, invert, &from, &to, Dialect::Nft, self.l4, &mut self.matches);
            match lowered {
                Some(l) => self.accept(l),
                None => {
                    self.condition(vec![load], Test::Range { invert, from: from.into(), to: to.into() });
                }
            }
            return Some(());
        }
        if let Some(p) = right.get("prefix") {
            let addr = bytes(p.get("addr")?, kind, len)?;
            let prefix = number(p.get("len")?)? as usize;
            if prefix > len * 8 {
                return None;
            }
            let mut mask = vec![0u8; len];
            for i in 0..prefix {
                mask[i / 8] |= 0x80 >> (i % 8);
            }
            load.ops.push(Op::Bitwise { mask: mask.into(), xor: vec![0; len].into() });
            self.compare(load, op, addr);
            return Some(());
        }
        let value = bytes(right, kind, len)?;
        // `ct state new`: one of the flags is set.
        let several = right.is_array();
        if is_flags(kind) && load.ops.is_empty() && (any_flag || (several && op == Comparison::Equal)) {
            load.ops.push(Op::Bitwise { mask: value.into(), xor: vec![0; len].into() });
            let none = Test::Compare {
                op: if invert { Comparison::Equal } else { Comparison::NotEqual },
                value: vec![0; len].into(),
            };
            self.condition(vec![load], none);
            return Some(());
        }
        // A name that ends in `*` is compared up to there.
        load.len = value.len() as u32;
        self.compare(load, op, value);
        Some(())
    }

    fn nat(&mut self, v: &Value, destination: bool) -> Option<Target> {
        let family = match (arg(v, "family"), self.b.family().ip(), self.l3) {
            (Some("ip"), ..) | (None, Some(IpFamily::V4), _) | (None, None, Some(IpFamily::V4)) => 2,
            (Some("ip6"), ..) | (None, Some(IpFamily::V6), _) | (None, None, Some(IpFamily::V6)) => 10,
            _ => return None,
        };
        let flags = nat_bits(v.get("flags"))?;
        let (ip, ip_len) = if family == 2 { (Kind::Ipv4, 4) } else { (Kind::Ipv6, 16) };
        let (addr, port) = (v.get("addr"), v.get("port"));
        // Address and port out of one map.
        if let (Some(map), None) = (addr.and_then(|a| a.get("map")), port) {
            let mut key = self.key(map.get("key")?)?;
            let set = self.set_of(map.get("data")?, &mut key, true)?;
            let kinds = values::kinds(self.b.sets[set.0 as usize].data_type);
            let mapped = |offset: u32, len: u32| {
                let m = Mapped { key: loads(&key), set, offset };
                let load = Load::new(Field::Mapped(Box::new(m)), len);
                (load.clone(), load)
            };
            let port = (kinds.len() == 2).then(|| mapped(ip_len, 2));
            return Some(Target::Native(Box::new(Terminal::Nat {
                destination,
                family,
                addr: Some(mapped(0, ip_len)),
                port,
                flags,
            })));
        }
        let constant = |v: &Value, kind: Kind, len: usize| -> Option<(Vec<u8>, Vec<u8>)> {
            match v.get("range").and_then(Value::as_array).map(Vec::as_slice) {
                Some([a, b]) => Some((bytes(a, kind, len)?, bytes(b, kind, len)?)),
                _ => bytes(v, kind, len).map(|b| (b.clone(), b)),
            }
        };
        let addrs = addr.map(|a| constant(a, ip, ip_len as usize));
        let ports = port.map(|p| constant(p, Kind::Port, 2));
        if let (None | Some(Some(_)), None | Some(Some(_))) = (&addrs, &ports) {
            let of = if family == 2 { IpFamily::V4 } else { IpFamily::V6 };
            let addrs = match addrs.flatten() {
                Some((a, b)) => Some((address(of, &a)?, address(of, &b)?)),
                None => None,
            };
            let two = |b: &[u8]| Some(u16::from_be_bytes(*b.first_chunk::<2>()?));
            let ports = match ports.flatten() {
                Some((a, b)) => Some((two(&a)?, two(&b)?)),
                None => None,
            };
            return Some(lower::constant_nat(destination, flags, addrs, ports));
        }
        let pair = |r: &mut Self, v: Option<&Value>, kind: Kind, len: usize| match v {
            None => Some(None),
            Some(v) => match r.field(v) {
                Some((load, _)) => Some(Some((load.clone(), load))),
                None => bytes(v, kind, len).map(|b| Some((Load::value(&b), Load::value(&b)))),
            },
        };
        let addr = pair(self, addr, ip, ip_len as usize)?;
        let port = pair(self, port, Kind::Port, 2)?;
        Some(Target::Native(Box::new(Terminal::Nat { destination, family, addr, port, flags })))
    }
}

pub(super) fn loads(key: &[LoadKind]) -> Vec<Load> {
    key.iter().map(|k| k.0.clone()).collect()
}

fn nat_bits(flags: Option<&Value>) -> Option<u32> {
    let one = |f: &Value| match f.as_str()? {
        "random" => Some(nat_flags::PROTO_RANDOM),
        "fully-random" => Some(nat_flags::PROTO_RANDOM_FULLY),
        "persistent" => Some(nat_flags::PERSISTENT),
        _ => None,
    };
    match flags {
        None | Some(Value::Null) => Some(0),
        Some(Value::Array(list)) => list.iter().map(one).sum(),
        Some(f) => one(f),
    }
}

/// `masquerade` and `redirect`.
fn ports_only(v: &Value) -> Option<NatRange> {
    let mut range = NatRange { flags: nat_bits(v.get("flags"))?, addrs: None, ports: (0, 0, 0), revision: 0 };
    if let Some(p) = v.get("port") {
        let (a, b) = match p.get("range").and_then(Value::as_array).map(Vec::as_slice) {
            Some([a, b]) => (number(a)?, number(b)?),
            _ => (number(p)?, number(p)?),
        };
        range.ports = (u16::try_from(a).ok()?, u16::try_from(b).ok()?, 0);
        range.flags |= nat_flags::PROTO_SPECIFIED;
    }
    Some(range)
}

/// Kind and code of a refusal's answer; what is not said is nft's own choice (`src/evaluate.c`, `stmt_reject_default`).
fn answer(family: Family, v: &Value) -> Option<(u32, u8)> {
    let code = |list: &[(u8, &str)]| {
        let e = v.get("expr")?;
        let named = e.as_str().and_then(|t| list.iter().find(|c| c.1 == t)).map(|c| c.0);
        named.or_else(|| number(e).and_then(|n| u8::try_from(n).ok()))
    };
    Some(match arg(v, "type") {
        Some("tcp reset") => (1, 0),
        Some("icmp") => (0, code(values::ICMP_CODES)?),
        Some("icmpv6") => (0, code(values::ICMP6_CODES)?),
        Some("icmpx") => (2, code(values::ICMPX_CODES)?),
        Some(_) => return None,
        None => match family {
            Family::Ip => (0, 3),
            Family::Ip6 => (0, 4),
            _ => (2, 1),
        },
    })
}
