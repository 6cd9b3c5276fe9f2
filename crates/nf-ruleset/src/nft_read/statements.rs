//! Statements and expressions of a rule, as text.

use super::text::Parser;
use super::tokens::{Token, address_and_port, duration, literal};
use crate::nft_text::fields as names;
use serde_json::{Map, Value, json};

/// Headers, of which fields are named behind them.
const HEADERS: [&str; 10] = ["ether", "ip", "ip6", "arp", "tcp", "udp", "sctp", "icmp", "icmpv6", "th"];
/// Keys of `meta` that are without it.
const BARE: [&str; 6] = ["iif", "oif", "iifname", "oifname", "iifgroup", "oifgroup"];
/// Deeper expressions are none that nft prints.
const DEEPEST: usize = 20;
/// Operators behind one field, each of which nests what is before it.
const MOST_OPERATORS: usize = 64;

impl<'a> Parser<'a, '_> {
    pub(super) fn statement(&mut self) -> Option<Value> {
        let word = self.peek_word();
        if let Some(v) = self.verdict() {
            return Some(v);
        }
        match word {
            Some("counter") => {
                self.at += 1;
                if self.take_word("name") {
                    return Some(json!({ "counter": self.name()? }));
                }
                let (mut packets, mut bytes) = (0, 0);
                if self.take_word("packets") {
                    packets = self.number()?;
                    bytes = if self.take_word("bytes") { self.number()? } else { 0 };
                }
                Some(json!({"counter": {"packets": packets, "bytes": bytes}}))
            }
            Some("notrack") => {
                self.at += 1;
                Some("notrack".into())
            }
            Some(verb @ ("dnat" | "snat")) => self.nat(verb),
            Some(verb @ ("masquerade" | "redirect")) => {
                self.at += 1;
                let mut o = Map::new();
                if self.take_word("to") {
                    let ports = self.word()?.strip_prefix(':')?;
                    o.insert("port".into(), literal(ports));
                }
                self.nat_flags(&mut o);
                Some(json!({ verb: o }))
            }
            Some("reject") => {
                self.at += 1;
                if !self.take_word("with") {
                    return Some(json!({ "reject": null }));
                }
                match self.word()? {
                    "tcp" => self.take_word("reset").then(|| json!({"reject": {"type": "tcp reset"}})),
                    kind @ ("icmp" | "icmpv6" | "icmpx") => {
                        self.take_word("type");
                        let code = self.word()?;
                        Some(json!({"reject": {"type": kind, "expr": code}}))
                    }
                    _ => None,
                }
            }
            Some("limit") => self.limit(),
            Some("quota") => {
                self.at += 1;
                let over = self.take_word("over");
                self.take_word("until");
                let val = self.number()?;
                Some(json!({"quota": {"val": val, "val_unit": self.word()?, "inv": over}}))
            }
            Some("log") => {
                self.at += 1;
                let mut o = Map::new();
                loop {
                    let key = match self.peek_word() {
                        Some(k @ ("prefix" | "level" | "group" | "snaplen" | "queue-threshold")) => k,
                        Some("flags") => return None,
                        _ => break,
                    };
                    self.at += 1;
                    let v = self.name()?;
                    let v = match key {
                        "prefix" | "level" => v.into(),
                        _ => Value::from(v.parse::<u64>().ok()?),
                    };
                    o.insert(key.into(), v);
                }
                Some(json!({ "log": o }))
            }
            Some(op @ ("add" | "update" | "delete")) => {
                self.at += 1;
                let set = self.word()?.strip_prefix('@')?;
                if !self.take('{') {
                    return None;
                }
                let key = self.expression()?;
                let mut elem = key;
                if self.take_word("timeout") {
                    elem = json!({"elem": {"val": elem, "timeout": duration(self.word()?)?}});
                }
                let mut o = json!({"op": op, "elem": elem, "set": format!("@{set}")});
                if self.take_word("counter") {
                    o["stmt"] = json!([{ "counter": null }]);
                }
                // What else an element may carry is left to the kept text.
                self.take('}').then(|| json!({ "set": o }))
            }
            _ => self.condition(),
        }
    }

    pub(super) fn verdict(&mut self) -> Option<Value> {
        match self.peek_word()? {
            w @ ("accept" | "drop" | "return" | "continue") => {
                self.at += 1;
                Some(json!({ w: null }))
            }
            w @ ("jump" | "goto") => {
                self.at += 1;
                Some(json!({ w: {"target": self.word()?} }))
            }
            _ => None,
        }
    }

    fn nat_flags(&mut self, o: &mut Map<String, Value>) {
        let mut flags = Vec::new();
        while let Some(w @ ("random" | "fully-random" | "persistent")) = self.peek_word() {
            self.at += 1;
            flags.push(Value::from(w));
            self.take(',');
        }
        if !flags.is_empty() {
            o.insert("flags".into(), flags.into());
        }
    }

    fn nat(&mut self, verb: &str) -> Option<Value> {
        self.at += 1;
        let mut o = Map::new();
        if let Some(family @ ("ip" | "ip6")) = self.peek_word() {
            o.insert("family".into(), family.into());
            self.at += 1;
        }
        // `addr . port` belongs to the map, and is the same without.
        if self.take_word("addr") {
            let _ = self.take_word(".") && self.take_word("port");
        }
        if !self.take_word("to") {
            return None;
        }
        let plain = |w: &str| {
            !HEADERS.contains(&w) && !["meta", "numgen", "ct", "fib", "jhash", "symhash"].contains(&w)
        };
        match self.peek_word() {
            Some(w) if plain(w) && !w.starts_with('@') => {
                self.at += 1;
                let (addr, mut port) = address_and_port(w)?;
                // `dnat ip addr . port to 10.0.0.1 . 80`
                if port.is_none() && self.take_word(".") {
                    port = Some(self.word()?);
                }
                o.extend(addr.map(|a| ("addr".to_string(), literal(a))));
                o.extend(port.map(|p| ("port".to_string(), literal(p))));
            }
            _ => drop(o.insert("addr".into(), self.expression()?)),
        }
        self.nat_flags(&mut o);
        Some(json!({ verb: o }))
    }

    fn limit(&mut self) -> Option<Value> {
        self.at += 1;
        if !self.take_word("rate") {
            return None;
        }
        let over = self.take_word("over");
        let rate = self.word()?;
        let mut o = Map::new();
        // `5/second`, or `5 mbytes/second`
        let (number, per) = match rate.split_once('/') {
            Some(both) => both,
            None => {
                let (unit, per) = self.word()?.split_once('/')?;
                o.insert("rate_unit".into(), unit.into());
                (rate, per)
            }
        };
        o.insert("rate".into(), number.parse::<u64>().ok()?.into());
        o.insert("per".into(), per.into());
        o.insert("inv".into(), over.into());
        if self.take_word("burst") {
            o.insert("burst".into(), self.number()?.into());
            o.insert("burst_unit".into(), self.word()?.into());
        }
        Some(json!({ "limit": o }))
    }

    /// An expression that is looked at, or set.
    fn condition(&mut self) -> Option<Value> {
        if self.peek_word() == Some("ct")
            && matches!(self.tokens.get(self.at + 1).map(|t| &t.token), Some(Token::Word("count")))
        {
            self.at += 2;
            let over = self.take_word("over");
            return Some(json!({"ct count": {"val": self.number()?, "inv": over}}));
        }
        let left = self.expression()?;
        if self.take_word("vmap") {
            return Some(json!({"vmap": {"key": left, "data": self.set_name_or_braces()?}}));
        }
        if self.take_word("set") {
            return Some(json!({"mangle": {"key": left, "value": self.value()?}}));
        }
        let op = match self.peek_word() {
            Some(op @ ("==" | "!=" | "<" | "<=" | ">" | ">=" | "!")) => {
                self.at += 1;
                op
            }
            _ => "",
        };
        let flags = left.get("ct").and_then(|c| c.get("key")).and_then(Value::as_str);
        let flags = flags.is_some_and(|k| ["state", "status"].contains(&k))
            || left.get("payload").and_then(|p| p.get("field")).and_then(Value::as_str) == Some("flags");
        let mut right = self.set_name_or_braces().or_else(|| self.value())?;
        // `tcp flags syn / syn,ack`: of these flags, those.
        if flags && self.take_word("/") {
            let mask = self.value()?;
            let masked = json!({"&": [left, mask]});
            return Some(
                json!({"match": {"op": if op == "!=" { "!=" } else { "==" }, "left": masked, "right": right}}),
            );
        }
        if let Some(Value::Array(one)) = Some(&right).filter(|r| r.is_array())
            && one.len() == 1
        {
            right = one[0].clone();
        }
        let op = match op {
            "" if flags && right.get("set").is_none() => "in",
            "" => "==",
            op => op,
        };
        Some(json!({"match": {"op": op, "left": left, "right": right}}))
    }

    fn set_name_or_braces(&mut self) -> Option<Value> {
        if let Some(name) = self.peek_word().filter(|w| w.starts_with('@')) {
            self.at += 1;
            return Some(name.into());
        }
        match self.peek() {
            Some(Token::Sign('{')) => self.braces().map(|list| json!({ "set": list })),
            _ => None,
        }
    }

    /// `{ a, b : c, d comment "x" : e }`
    pub(super) fn braces(&mut self) -> Option<Vec<Value>> {
        if !self.take('{') {
            return None;
        }
        let mut list = Vec::new();
        loop {
            while self.peek() == Some(&Token::Newline) {
                self.at += 1;
            }
            if self.take('}') {
                return Some(list);
            }
            let mut key = self.joined_literal()?;
            let mut details = Map::new();
            while let Some(w) = self.peek_word() {
                match w {
                    "timeout" | "expires" => {
                        self.at += 1;
                        details.insert(w.into(), duration(self.word()?)?.into());
                    }
                    "comment" => {
                        self.at += 1;
                        details.insert("comment".into(), self.name()?.into());
                    }
                    "counter" => {
                        self.at += 1;
                        let packets = if self.take_word("packets") { self.number()? } else { 0 };
                        let bytes = if self.take_word("bytes") { self.number()? } else { 0 };
                        details.insert("counter".into(), json!({"packets": packets, "bytes": bytes}));
                    }
                    _ => break,
                }
            }
            if !details.is_empty() {
                details.insert("val".into(), key);
                key = json!({ "elem": details });
            }
            // Old versions print the colon at the key.
            if self.take_word(":") {
                let data = match self.verdict() {
                    Some(v) => v,
                    None => self.joined_literal()?,
                };
                list.push(json!([key, data]));
            } else {
                list.push(key);
            }
            while self.peek() == Some(&Token::Newline) {
                self.at += 1;
            }
            if !self.take(',') {
                return self.take('}').then_some(list);
            }
        }
    }

    /// `10.0.0.1 . tcp . 80`
    fn joined_literal(&mut self) -> Option<Value> {
        let mut parts = Vec::new();
        loop {
            let part = match self.peek()? {
                Token::Word(w) => literal(w),
                Token::Quoted(q) => Value::from(q.clone()),
                _ => return None,
            };
            self.at += 1;
            parts.push(part);
            if !self.take_word(".") {
                break;
            }
        }
        Some(match <[Value; 1]>::try_from(parts) {
            Ok([one]) => one,
            Err(parts) => json!({ "concat": parts }),
        })
    }

    /// A value on the right side: a literal, flags with commas, or an expression.
    fn value(&mut self) -> Option<Value> {
        match self.peek()? {
            Token::Quoted(q) => {
                let v = Value::from(q.clone());
                self.at += 1;
                Some(v)
            }
            // `tcp` and its kin are protocols here.
            Token::Word(w) if ["meta", "ct", "fib", "numgen"].contains(w) || BARE.contains(w) => {
                self.expression()
            }
            Token::Word(w) => {
                let first = literal(w);
                self.at += 1;
                if self.peek() != Some(&Token::Sign(',')) {
                    return Some(first);
                }
                let mut list = vec![first];
                while self.take(',') {
                    list.push(literal(self.word()?));
                }
                Some(list.into())
            }
            _ => None,
        }
    }

    /// A field, what is done to it, and others behind it.
    pub(super) fn expression(&mut self) -> Option<Value> {
        self.depth += 1;
        self.too_deep |= self.depth > DEEPEST;
        let found = if self.too_deep { None } else { self.whole_expression() };
        self.depth -= 1;
        found
    }

    fn whole_expression(&mut self) -> Option<Value> {
        let mut parts = vec![self.term()?];
        while self.take_word(".") {
            parts.push(self.term()?);
        }
        let mut e = match <[Value; 1]>::try_from(parts) {
            Ok([one]) => one,
            Err(parts) => json!({ "concat": parts }),
        };
        if self.take_word("map") {
            e = json!({"map": {"key": e, "data": self.set_name_or_braces()?}});
        }
        Some(e)
    }

    fn term(&mut self) -> Option<Value> {
        let mut e = self.primary()?;
        let mut operators = 0;
        while let Some(op @ ("&" | "|" | "^" | "<<" | ">>")) = self.peek_word() {
            operators += 1;
            if operators > MOST_OPERATORS {
                self.too_deep = true;
                return None;
            }
            self.at += 1;
            let right = literal(self.word()?);
            e = Value::Object(Map::from_iter([(op.to_string(), Value::Array(vec![e, right]))]));
        }
        Some(e)
    }

    fn primary(&mut self) -> Option<Value> {
        let word = self.word()?;
        if BARE.contains(&word) {
            return Some(json!({"meta": {"key": word}}));
        }
        match word {
            "meta" => Some(json!({"meta": {"key": self.word()?}})),
            "ct" => {
                let mut o = Map::new();
                if let Some(d @ ("original" | "reply")) = self.peek_word() {
                    self.at += 1;
                    o.insert("dir".into(), d.into());
                }
                let mut key = self.word()?.to_string();
                if ["ip", "ip6"].contains(&key.as_str()) {
                    key = format!("{key} {}", self.word()?);
                }
                o.insert("key".into(), key.into());
                Some(json!({ "ct": o }))
            }
            "fib" => {
                let mut flags = vec![Value::from(self.word()?)];
                while self.take_word(".") {
                    flags.push(self.word()?.into());
                }
                let result = self.word()?;
                // `fib … oif missing`: whether there is one.
                let present = matches!(self.peek_word(), Some("missing" | "exists"));
                let result = if present { "check" } else { result };
                Some(json!({"fib": {"result": result, "flags": flags}}))
            }
            "numgen" => {
                let mode = match self.word()? {
                    "inc" => "inc",
                    "random" => "random",
                    _ => return None,
                };
                if !self.take_word("mod") {
                    return None;
                }
                let modulus = self.number()?;
                let offset = if self.take_word("offset") { self.number()? } else { 0 };
                Some(json!({"numgen": {"mode": mode, "mod": modulus, "offset": offset}}))
            }
            header if HEADERS.contains(&header) => {
                let mut field = self.word()?.to_string();
                let known = |f: &str| {
                    let name = format!("{header} {f}");
                    [
                        names::ETHER,
                        names::IP,
                        names::IP6,
                        names::ARP,
                        names::TCP,
                        names::UDP,
                        names::SCTP,
                        names::ICMP_FIELDS,
                        names::ICMP6_FIELDS,
                        names::TRANSPORT,
                    ]
                    .iter()
                    .any(|list| list.iter().any(|x| x.2 == name))
                };
                if !known(&field) {
                    field = format!("{field} {}", self.word()?); // `arp saddr ip`
                }
                known(&field).then(|| json!({"payload": {"protocol": header, "field": field}}))
            }
            _ => None,
        }
    }
}
