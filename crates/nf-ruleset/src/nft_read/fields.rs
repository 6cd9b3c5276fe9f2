//! Fields that a rule looks at, and the sets that are in it without a name.

use super::elements::{elements, plain, verdict_name};
use super::rule::{LoadKind, RuleReader, loads};
use super::value::{arg, bytes, number, type_of};
use crate::lower;
use crate::nft_text::fields as names;
use crate::nft_text::values::{self, Kind, width};
use crate::set_flag;
use crate::{Field, IpFamily, Load, Mapped, Op, Set, SetId, VERDICT_DATA, payload_base};
use serde_json::Value;

impl RuleReader<'_> {
    /// A field by its header and name.
    fn payload(&mut self, protocol: &str, field: &str) -> Option<LoadKind> {
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
    pub(super) fn field(&mut self, e: &Value) -> Option<LoadKind> {
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
    pub(super) fn key(&mut self, e: &Value) -> Option<Vec<LoadKind>> {
        match e.get("concat").and_then(Value::as_array) {
            Some(fields) => fields.iter().map(|f| self.field(f)).collect(),
            None => Some(vec![self.field(e)?]),
        }
    }

    /// The set that is named, or that is here without a name.
    pub(super) fn set_of(&mut self, v: &Value, key: &mut [LoadKind], map: bool) -> Option<SetId> {
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
        if let [(load, kind)] = key
            && kind.is_host()
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

    /// The type of data that are in a map without a name.
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
}
