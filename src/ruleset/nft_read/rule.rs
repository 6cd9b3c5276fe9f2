//! Statements of a rule, as `nft -j` prints them -> matches and a target, as the kernel's expressions become them.

use super::value::{bytes, is_flags, named_type, number, type_of};
use crate::ruleset::lower::{self, Lowered};
use crate::ruleset::native::{field_types, set_flag};
use crate::ruleset::nft_text::fields as names;
use crate::ruleset::nft_text::values::{self, Kind, width};
use crate::ruleset::{
    Comparison, Condition, Counter, Data, Dialect, Element, Family, Field, IpFamily, Load, Mapped, Match,
    NatRange, Op, RuleSpec, Set, SetId, Statement, TableBuilder, Target, Terminal, Test, Unknown,
    VERDICT_DATA, Verdict, address, meta, nat_flags, payload_base, reject,
};
use serde_json::Value;

/// A field with how its values are written.
type Known = (Load, Kind);

/// Reads the statements of one rule.
pub(super) struct RuleReader<'a> {
    pub(super) b: &'a mut TableBuilder,
    matches: Vec<Match>,
    target: Target,
    counter: Counter,
    l3: Option<IpFamily>,
    l4: Option<u8>,
}

fn arg<'a>(v: &'a Value, name: &str) -> Option<&'a str> {
    v.get(name)?.as_str()
}

impl<'a> RuleReader<'a> {
    pub(super) fn new(b: &'a mut TableBuilder) -> RuleReader<'a> {
        let l3 = b.family().ip();
        RuleReader { b, matches: Vec::new(), target: Target::None, counter: Counter::default(), l3, l4: None }
    }

    /// A rule; what is not understood of it is kept as it stands.
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
                let name = self.b.strings.intern(super::UNREAD);
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
    fn need_l4(&mut self, protocol: u8) {
        if self.l4 != Some(protocol) {
            self.l4 = Some(protocol);
            self.matches.push(Match::Protocol { number: u16::from(protocol), invert: false });
        }
    }

    fn need_l3(&mut self, family: IpFamily) {
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

    /// A field by its header and name.
    fn payload(&mut self, protocol: &str, field: &str) -> Option<Known> {
        let name = format!("{protocol} {field}");
        let lists: [(u8, names::Fields); 10] = [
            (payload_base::LINK, names::ETHER),
            (payload_base::NETWORK, names::IP),
            (payload_base::NETWORK, names::IP6),
            (payload_base::NETWORK, names::ARP),
            (payload_base::TRANSPORT, names::TCP),
            (payload_base::TRANSPORT, names::UDP),
            (payload_base::TRANSPORT, names::SCTP),
            (payload_base::TRANSPORT, names::ICMP_FIELDS),
            (payload_base::TRANSPORT, names::ICMP6_FIELDS),
            (payload_base::TRANSPORT, names::TRANSPORT),
        ];
        let (base, &(offset, len, _, kind)) =
            lists.iter().find_map(|(base, list)| Some((*base, list.iter().find(|f| f.2 == name)?)))?;
        match protocol {
            "ip" => self.need_l3(IpFamily::V4),
            "ip6" => self.need_l3(IpFamily::V6),
            "tcp" => self.need_l4(6),
            "udp" => self.need_l4(17),
            "sctp" => self.need_l4(132),
            "icmp" => self.need_l4(1),
            "icmpv6" => self.need_l4(58),
            _ => {}
        }
        Some((Load::new(Field::Payload { base, offset, len }, len), kind))
    }

    /// One field, with what is done to it.
    fn field(&mut self, e: &Value) -> Option<Known> {
        let (what, v) = e.as_object()?.iter().next()?;
        match what.as_str() {
            "payload" => match (arg(v, "protocol"), arg(v, "field")) {
                (Some(protocol), Some(field)) => self.payload(protocol, field),
                _ => {
                    let base = match arg(v, "base")? {
                        "ll" => payload_base::LINK,
                        "nh" => payload_base::NETWORK,
                        "th" => payload_base::TRANSPORT,
                        _ => return None,
                    };
                    let bits = |n: &str| Some(number(v.get(n)?)? as u32).filter(|b| b % 8 == 0 && *b < 2048);
                    let (offset, len) = (bits("offset")? / 8, bits("len")? / 8);
                    Some((Load::new(Field::Payload { base, offset, len }, len), Kind::Number))
                }
            },
            "meta" => {
                let key = arg(v, "key")?;
                let own = |name: &str| name == key || name.strip_prefix("meta ") == Some(key);
                let (n, _, kind) = names::META.iter().find(|m| own(m.1))?;
                Some((Load::new(Field::Meta(*n), lower::meta_len(*n)), *kind))
            }
            "ct" => {
                let key = arg(v, "key")?;
                let direction = match arg(v, "dir") {
                    Some("original") => Some(0),
                    Some("reply") => Some(1),
                    Some(_) => return None,
                    None => None,
                };
                let (n, _, kind) = names::CT.iter().find(|c| c.1 == key)?;
                let len = lower::ct_len(*n, self.l3);
                let kind = match (kind, len) {
                    (Kind::Bytes, 4) => Kind::Ipv4,
                    (Kind::Bytes, 16) => Kind::Ipv6,
                    (k, _) => *k,
                };
                Some((Load::new(Field::Ct { key: *n, direction }, len), kind))
            }
            "fib" => {
                // NFTA_FIB_F_*, enum nft_fib_result
                let one = |f: &str| {
                    ["saddr", "daddr", "mark", "iif", "oif"].iter().position(|n| *n == f).map(|i| 1 << i)
                };
                let mut flags = match v.get("flags")? {
                    Value::Array(list) => list.iter().map(|f| one(f.as_str()?)).sum::<Option<u32>>()?,
                    f => one(f.as_str()?)?,
                };
                let (result, len, kind) = match arg(v, "result")? {
                    "oif" => (1, 4, Kind::HostNumber),
                    "oifname" => (2, 16, Kind::Interface),
                    "type" => (3, 4, Kind::FibType),
                    "check" | "present" => {
                        flags |= 32;
                        (1, 1, Kind::Present)
                    }
                    _ => return None,
                };
                Some((Load::new(Field::Fib { result, flags }, len), kind))
            }
            "numgen" => {
                let random = arg(v, "mode")? == "random";
                let modulus = number(v.get("mod")?)? as u32;
                let offset = v.get("offset").and_then(number).unwrap_or(0) as u32;
                Some((Load::new(Field::Numgen { random, modulus, offset }, 4), Kind::HostNumber))
            }
            op @ ("&" | "|" | "^" | "<<" | ">>") => {
                let (mut load, kind) = self.field(v.get(0)?)?;
                let len = load.len as usize;
                let word = v.get(1)?;
                let ones = || vec![0xff; len];
                let not = |b: &[u8]| b.iter().map(|x| !x).collect::<Vec<u8>>();
                load.ops.push(match op {
                    "&" => Op::Bitwise { mask: bytes(word, kind, len)?.into(), xor: vec![0; len].into() },
                    "|" => {
                        let b = bytes(word, kind, len)?;
                        Op::Bitwise { mask: not(&b).into(), xor: b.into() }
                    }
                    "^" => Op::Bitwise { mask: ones().into(), xor: bytes(word, kind, len)?.into() },
                    "<<" => Op::ShiftLeft(number(word)? as u32),
                    _ => Op::ShiftRight(number(word)? as u32),
                });
                Some((load, kind))
            }
            "map" => {
                let mut key = self.key(v.get("key")?)?;
                let set = self.set_of(v.get("data")?, &mut key, true)?;
                let s = &self.b.sets[set.0 as usize];
                let kinds = values::kinds(s.data_type);
                let kind = *kinds.first()?;
                let mapped = Mapped { key: loads(&key), set, offset: 0 };
                Some((Load::new(Field::Mapped(Box::new(mapped)), width(kind) as u32), kind))
            }
            _ => None,
        }
    }

    /// One field or several.
    fn key(&mut self, e: &Value) -> Option<Vec<Known>> {
        match e.get("concat").and_then(Value::as_array) {
            Some(fields) => fields.iter().map(|f| self.field(f)).collect(),
            None => Some(vec![self.field(e)?]),
        }
    }

    /// The set that is named, or that stands here without a name.
    fn set_of(&mut self, v: &Value, key: &mut [Known], map: bool) -> Option<SetId> {
        if let Some(name) = v.as_str() {
            let id = self.b.strings.find(name.strip_prefix('@')?)?;
            return self.b.sets.iter().position(|s| s.name == id).map(|i| SetId(i as u32));
        }
        let list = v.get("set")?;
        let list = list.as_array().map_or_else(|| std::slice::from_ref(list), Vec::as_slice);
        // Ranges want the order of the network: numbers of the host are turned before they are looked up.
        let first = |e: &Value| if map { e.get(0).cloned() } else { Some(e.clone()) };
        let is_range = |e: &Value| {
            first(e).is_some_and(|e| plain(&e).get("range").or_else(|| plain(&e).get("prefix")).is_some())
        };
        if let [(load, kind @ (Kind::HostNumber | Kind::Mark))] = key
            && list.iter().any(is_range)
        {
            *kind = Kind::Number;
            load.ops.push(Op::Byteorder);
        }
        let kinds: Vec<Kind> = key.iter().map(|k| k.1).collect();
        let mut set = Set::new(
            self.b.strings.intern(if map { "__map%d" } else { "__set%d" }),
            set_flag::ANONYMOUS | set_flag::CONSTANT,
        );
        set.key_type = kinds.iter().fold(0, |n, k| n << 6 | type_of(*k));
        set.key_len = match kinds[..] {
            [_] => key[0].0.len,
            _ => kinds.iter().map(|k| width(*k).next_multiple_of(4) as u32).sum(),
        };
        if kinds.len() > 1 {
            set.flags |= set_flag::CONCAT;
        }
        if map {
            set.flags |= set_flag::MAP;
            let data = list.first().and_then(|e| plain(e).get(1)).map(|d| self.data_type(d))?;
            (set.data_type, set.data_len) = data?;
        }
        let id = self.b.set(set);
        let done = elements(self.b, id, list, &kinds);
        if done.is_none() {
            self.b.sets.truncate(id.0 as usize);
        }
        done.map(|()| id)
    }

    /// The type of data that stand in a map without a name.
    fn data_type(&self, v: &Value) -> Option<(u32, u32)> {
        if verdict_name(v).is_some() {
            return Some((VERDICT_DATA, 16));
        }
        let one = |v: &Value| -> Kind {
            match v.as_str() {
                Some(t) if t.parse::<std::net::Ipv4Addr>().is_ok() => Kind::Ipv4,
                Some(t) if t.parse::<std::net::Ipv6Addr>().is_ok() => Kind::Ipv6,
                None if number(v).is_some_and(|n| n <= 0xffff) => Kind::Port,
                _ => Kind::HostNumber,
            }
        };
        let parts = v.get("concat").and_then(Value::as_array);
        let kinds: Vec<Kind> = match parts {
            Some(parts) => parts.iter().map(one).collect(),
            None => vec![one(v)],
        };
        let data_type = kinds.iter().fold(0, |n, k| n << 6 | type_of(*k));
        Some((data_type, kinds.iter().map(|k| width(*k).next_multiple_of(4) as u32).sum()))
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
                    s.get("counter")?; // what else elements may carry is left as it stands
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
        let asked = left.get("fib").filter(|_| right.is_boolean()).map(|fib| {
            let mut fib = fib.clone();
            fib["result"] = "check".into();
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

fn loads(key: &[Known]) -> Vec<Load> {
    key.iter().map(|k| k.0.clone()).collect()
}

/// A verdict's name, and where it leads.
fn verdict_name(v: &Value) -> Option<(&str, Option<&str>)> {
    let (name, arg) = match v {
        Value::Object(o) if o.len() == 1 => o.iter().next().map(|(k, v)| (k.as_str(), v))?,
        Value::String(s) => (s.as_str(), &Value::Null),
        _ => return None,
    };
    let to = arg.get("target").and_then(Value::as_str);
    match name {
        "accept" | "drop" | "return" | "continue" => Some((name, None)),
        "jump" | "goto" => Some((name, Some(to?))),
        _ => None,
    }
}

fn verdict(b: &mut TableBuilder, v: &Value) -> Option<Verdict> {
    let (name, to) = verdict_name(v)?;
    Some(match (name, to) {
        ("accept", _) => Verdict::Accept,
        ("drop", _) => Verdict::Drop,
        ("return", _) => Verdict::Return,
        ("continue", _) => Verdict::Continue,
        ("jump", Some(to)) => Verdict::Jump(b.chain(to)),
        ("goto", Some(to)) => Verdict::Goto(b.chain(to)),
        _ => return None,
    })
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

/// The value of an element without its comment and times.
fn plain(e: &Value) -> &Value {
    e.get("elem").and_then(|e| e.get("val")).unwrap_or(e)
}

/// Fills a set. `None` where an element is not understood.
pub(super) fn elements(b: &mut TableBuilder, id: SetId, list: &[Value], kinds: &[Kind]) -> Option<()> {
    let (data_type, is_map) = {
        let set = &b.sets[id.0 as usize];
        (set.data_type, set.is_map())
    };
    let mut all = Vec::new();
    let mut ranges = false;
    let mut count = 0;
    for e in list {
        // A map's elements are pairs; comments and times belong to the key.
        let (left, data) = match e.as_array() {
            Some(pair) if is_map => (pair.first()?, Some(pair.get(1)?)),
            _ => (e, None),
        };
        let details = left.get("elem").or_else(|| e.get("elem"));
        let val = plain(left);
        let mut element = Element::new(&[], Data::None);
        if let Some(d) = details {
            let ms = |k: &str| d.get(k).and_then(number).map(|s| s * 1000);
            (element.timeout_ms, element.expires_ms) = (ms("timeout"), ms("expires"));
            element.comment = arg(d, "comment").map(|c| b.strings.intern(c));
            element.counter = d.get("counter").map(|c| {
                let n = |k: &str| c.get(k).and_then(number).unwrap_or(0);
                Counter { packets: n("packets"), bytes: n("bytes") }
            });
        }
        if let Some(d) = data {
            element.data = match verdict(b, d) {
                Some(v) => Data::Verdict(v),
                None if b.sets[id.0 as usize].flags & set_flag::OBJECT != 0 => {
                    Data::Object(b.strings.intern(d.as_str()?))
                }
                None => {
                    let kinds: Vec<Kind> = values::kinds(data_type);
                    Data::Value(joined(d, &kinds)?.0.into())
                }
            };
        }
        count += 1;
        if val.as_str() == Some("*") {
            element.catch_all = true;
            all.push((element, None));
            continue;
        }
        let (key, end) = joined(val, kinds)?;
        element.key = key.into();
        ranges |= end.is_some();
        all.push((element, end));
    }
    let set = &mut b.sets[id.0 as usize];
    set.count = Some(count);
    if ranges {
        set.flags |= set_flag::INTERVAL;
    }
    set.elements = Some(match (set.flags & set_flag::INTERVAL != 0, kinds.len() > 1) {
        (false, _) => all.into_iter().map(|e| e.0).collect(),
        (true, true) => all
            .into_iter()
            .map(|(mut e, end)| {
                e.key_end = Some(end.map_or_else(|| e.key.clone(), Into::into));
                e
            })
            .collect(),
        (true, false) => as_ends(all),
    });
    Some(())
}

/// Ranges of one field, as the kernel holds them: where each begins, and where it ends.
pub(in crate::ruleset) fn as_ends(mut all: Vec<(Element, Option<Vec<u8>>)>) -> Vec<Element> {
    all.sort_by(|a, b| (a.0.catch_all, &a.0.key).cmp(&(b.0.catch_all, &b.0.key)));
    let mut out: Vec<Element> = Vec::new();
    let first = all.iter().find(|e| !e.0.catch_all).map(|e| e.0.key.clone());
    if let Some(first) = first.filter(|k| k.iter().any(|b| *b != 0)) {
        out.push(Element { end: true, ..Element::new(&vec![0; first.len()], Data::None) });
    }
    for (e, end) in all {
        if e.catch_all {
            out.push(e);
            continue;
        }
        let mut next = end.unwrap_or_else(|| e.key.to_vec());
        out.push(e);
        // The first key behind it, where there is one.
        let mut carry = true;
        for b in next.iter_mut().rev() {
            if carry {
                (*b, carry) = b.overflowing_add(1);
            }
        }
        if !carry {
            out.push(Element { end: true, ..Element::new(&next, Data::None) });
        }
    }
    out
}

/// The bytes of a value of these fields, and where it is a range its last ones.
fn joined(v: &Value, kinds: &[Kind]) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
    let parts = match v.get("concat").and_then(Value::as_array) {
        Some(parts) => parts.as_slice(),
        None => std::slice::from_ref(v),
    };
    if parts.len() != kinds.len() {
        return None;
    }
    let (mut from, mut to, mut is_range) = (Vec::new(), Vec::new(), false);
    for (part, kind) in parts.iter().zip(kinds) {
        let len = width(*kind);
        let (a, b) = if let Some([a, b]) = part.get("range").and_then(Value::as_array).map(Vec::as_slice) {
            is_range = true;
            (bytes(a, *kind, len)?, bytes(b, *kind, len)?)
        } else if let Some(p) = part.get("prefix") {
            is_range = true;
            let (mut a, prefix) = (bytes(p.get("addr")?, *kind, len)?, number(p.get("len")?)? as usize);
            let mut b = a.clone();
            for i in prefix..len * 8 {
                a[i / 8] &= !(0x80 >> (i % 8));
                b[i / 8] |= 0x80 >> (i % 8);
            }
            (a, b)
        } else {
            let mut a = bytes(part, *kind, len)?;
            a.resize(len.max(a.len()), 0); // a name that ends in `*`
            (a.clone(), a)
        };
        from.extend(a);
        to.extend(b);
        if kinds.len() > 1 {
            from.resize(from.len().next_multiple_of(4), 0);
            to.resize(to.len().next_multiple_of(4), 0);
        }
    }
    Some((from, is_range.then_some(to)))
}

/// Kinds of a named set's key or data: `"ipv4_addr"` or a list of such.
pub(super) fn kinds_of(v: &Value) -> Option<(u32, u32, Vec<Kind>)> {
    let names: Vec<&str> = match v {
        Value::Array(list) => list.iter().map(Value::as_str).collect::<Option<_>>()?,
        _ => vec![v.as_str()?],
    };
    let types: Vec<(u32, Kind)> = names.iter().map(|n| named_type(n)).collect();
    let id = types.iter().fold(0u32, |n, t| n << 6 | t.0);
    debug_assert!(types.len() < 2 || field_types(id).len() == types.len());
    let len = match types[..] {
        [(_, kind)] => width(kind) as u32,
        _ => types.iter().map(|t| width(t.1).next_multiple_of(4) as u32).sum(),
    };
    Some((id, len, types.into_iter().map(|t| t.1).collect()))
}
