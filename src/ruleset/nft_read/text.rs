//! `nft list ruleset` -> the objects of `nft -j list ruleset`.
//!
//! As much of nft's grammar as it prints itself (`src/parser_bison.y`, checked against 1.0.6). A statement beyond it is
//! kept as text, with the rest of its rule.

use crate::ruleset::nft_text::fields as names;
use crate::ruleset::save::ParseError;
use serde_json::{Map, Value, json};

/// A word of the text.
#[derive(Clone, Debug, PartialEq)]
enum Token<'a> {
    Word(&'a str),
    Quoted(String),
    /// One of `{ } , ;`
    Sign(char),
    /// The end of a line.
    Newline,
}

#[derive(Clone, Debug)]
struct Placed<'a> {
    token: Token<'a>,
    line: usize,
    /// Where it begins in the text, and where it ends.
    from: usize,
    to: usize,
}

fn tokens(text: &str) -> Result<Vec<Placed<'_>>, ParseError> {
    let mut out = Vec::new();
    let (mut line, mut chars) = (1, text.char_indices().peekable());
    while let Some((from, c)) = chars.next() {
        let end = from + c.len_utf8();
        match c {
            '\n' => {
                out.push(Placed { token: Token::Newline, line, from, to: end });
                line += 1;
            }
            c if c.is_whitespace() => {}
            '#' => while chars.next_if(|(_, c)| *c != '\n').is_some() {},
            '{' | '}' | ',' | ';' => out.push(Placed { token: Token::Sign(c), line, from, to: end }),
            '"' => {
                let mut quoted = String::new();
                let mut to = None;
                for (i, c) in chars.by_ref() {
                    match c {
                        '"' => {
                            to = Some(i + 1);
                            break;
                        }
                        '\n' => break,
                        c => quoted.push(c),
                    }
                }
                let to = to.ok_or(ParseError { line, what: "a quote that is not closed".into() })?;
                out.push(Placed { token: Token::Quoted(quoted), line, from, to });
            }
            _ => {
                let mut to = end;
                while let Some((i, c)) = chars.next_if(|(_, c)| !c.is_whitespace() && !"{},;\"".contains(*c))
                {
                    to = i + c.len_utf8();
                }
                out.push(Placed { token: Token::Word(&text[from..to]), line, from, to });
            }
        }
    }
    Ok(out)
}

/// Reads the text; the error names the line.
pub(super) fn objects(text: &str) -> Result<Vec<Value>, ParseError> {
    let tokens = tokens(text)?;
    let mut p = Parser { text, tokens: &tokens, at: 0, objects: Vec::new(), depth: 0 };
    loop {
        p.skip_lines();
        match p.peek() {
            None => break,
            Some(Token::Word("table")) => p.table()?,
            Some(other) => {
                return Err(p.wrong(&format!("expected `table`, found {}", shown(other))));
            }
        }
    }
    Ok(p.objects)
}

fn shown(t: &Token<'_>) -> String {
    match t {
        Token::Word(w) => format!("`{w}`"),
        Token::Quoted(q) => format!("\"{q}\""),
        Token::Sign(c) => format!("`{c}`"),
        Token::Newline => "the end of the line".into(),
    }
}

/// A table's family and name.
#[derive(Clone, Copy)]
struct Of<'a> {
    family: &'a str,
    table: &'a str,
}

impl Of<'_> {
    fn object(self, kind: &str, name: &str, mut more: Map<String, Value>) -> Value {
        more.insert("family".into(), self.family.into());
        more.insert("table".into(), self.table.into());
        more.insert("name".into(), name.into());
        json!({ kind: more })
    }
}

struct Parser<'a, 'b> {
    text: &'a str,
    tokens: &'b [Placed<'a>],
    at: usize,
    objects: Vec<Value>,
    depth: usize,
}

/// Headers, of which fields are named behind them.
const HEADERS: [&str; 10] = ["ether", "ip", "ip6", "arp", "tcp", "udp", "sctp", "icmp", "icmpv6", "th"];
/// Keys of `meta` that stand without it.
const BARE: [&str; 6] = ["iif", "oif", "iifname", "oifname", "iifgroup", "oifgroup"];
/// Deeper expressions are none that nft prints.
const DEEPEST: usize = 20;

impl<'a> Parser<'a, '_> {
    fn peek(&self) -> Option<&Token<'a>> {
        self.tokens.get(self.at).map(|t| &t.token)
    }

    fn peek_word(&self) -> Option<&'a str> {
        match self.peek() {
            Some(Token::Word(w)) => Some(w),
            _ => None,
        }
    }

    fn wrong(&self, what: &str) -> ParseError {
        let line = self.tokens.get(self.at).or(self.tokens.last()).map_or(1, |t| t.line);
        ParseError { line, what: what.to_string() }
    }

    fn take(&mut self, sign: char) -> bool {
        let found = self.peek() == Some(&Token::Sign(sign));
        self.at += usize::from(found);
        found
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = self.peek_word() == Some(word);
        self.at += usize::from(found);
        found
    }

    fn word(&mut self) -> Option<&'a str> {
        let w = self.peek_word()?;
        self.at += 1;
        Some(w)
    }

    /// A word or a quoted one.
    fn name(&mut self) -> Option<String> {
        let name = match self.peek()? {
            Token::Word(w) => w.to_string(),
            Token::Quoted(q) => q.clone(),
            _ => return None,
        };
        self.at += 1;
        Some(name)
    }

    fn number(&mut self) -> Option<u64> {
        let n = self.peek_word()?.parse().ok()?;
        self.at += 1;
        Some(n)
    }

    fn skip_lines(&mut self) {
        while matches!(self.peek(), Some(Token::Newline | Token::Sign(';'))) {
            self.at += 1;
        }
    }

    fn need(&mut self, sign: char) -> Result<(), ParseError> {
        match self.take(sign) {
            true => Ok(()),
            false => {
                let found = self.peek().map_or("the end of the text".to_string(), shown);
                Err(self.wrong(&format!("expected `{sign}`, found {found}")))
            }
        }
    }

    /// Passes over a block that is not read, up to its closing brace.
    fn skip_block(&mut self) -> Result<(), ParseError> {
        let mut open = 0;
        while let Some(t) = self.peek() {
            match t {
                Token::Sign('{') => open += 1,
                Token::Sign('}') => {
                    open -= 1;
                    if open == 0 {
                        self.at += 1;
                        return Ok(());
                    }
                }
                _ => {}
            }
            self.at += 1;
        }
        Err(self.wrong("the text ends inside a block (was the file cut off?)"))
    }

    fn skip_line(&mut self) {
        while !matches!(self.peek(), None | Some(Token::Newline | Token::Sign('}'))) {
            self.at += 1;
        }
    }

    fn table(&mut self) -> Result<(), ParseError> {
        self.at += 1;
        let (Some(family), Some(name)) = (self.word(), self.word()) else {
            return Err(self.wrong("a table without family and name"));
        };
        let of = Of { family, table: name };
        let place = self.objects.len();
        let mut comment = Value::Null;
        self.need('{')?;
        loop {
            self.skip_lines();
            if self.take('}') {
                break;
            }
            match self.peek_word() {
                Some("comment") => {
                    self.at += 1;
                    comment = self.name().map_or(Value::Null, Value::from);
                }
                Some("chain") => self.chain(of)?,
                Some(kind @ ("set" | "map")) => self.set(of, kind)?,
                Some("flags") => self.skip_line(),
                Some(_) => {
                    // Objects and flowtables: what counts is what rules do with them.
                    while !matches!(self.peek(), None | Some(Token::Sign('{'))) {
                        self.at += 1;
                    }
                    self.skip_block()?;
                }
                None if self.peek().is_none() => {
                    return Err(
                        self.wrong(&format!("table {name} ends without `}}` (was the file cut off?)"))
                    );
                }
                None => return Err(self.wrong("expected a chain, a set or a map")),
            }
        }
        let table = json!({"table": {"family": family, "name": name, "comment": comment}});
        self.objects.insert(place, table);
        Ok(())
    }

    fn set(&mut self, of: Of<'a>, kind: &str) -> Result<(), ParseError> {
        self.at += 1;
        let name = self.word().ok_or_else(|| self.wrong("a set without a name"))?;
        self.need('{')?;
        let mut set = Map::new();
        loop {
            self.skip_lines();
            if self.take('}') {
                break;
            }
            match self.word() {
                Some("type") => {
                    set.insert("type".into(), self.types());
                    if self.take_word(":") {
                        set.insert("map".into(), self.types());
                    }
                }
                Some("typeof") => {
                    // Types by the fields that have them.
                    let of_field = |p: &mut Self| {
                        let e = p.expression();
                        e.as_ref().and_then(types_of).unwrap_or(Value::Null)
                    };
                    let key = of_field(self);
                    set.insert("type".into(), key);
                    if self.take_word(":") {
                        let data = match self.peek_word() {
                            Some("verdict") => self.types(),
                            _ => of_field(self),
                        };
                        set.insert("map".into(), data);
                    }
                }
                Some("flags") => {
                    let mut flags = Vec::new();
                    while let Some(w) = self.word() {
                        flags.push(Value::from(w));
                        if !self.take(',') {
                            break;
                        }
                    }
                    set.insert("flags".into(), flags.into());
                }
                Some(key @ ("timeout" | "gc-interval")) => {
                    let seconds = self.word().and_then(duration);
                    set.insert(key.into(), seconds.map_or(Value::Null, Value::from));
                }
                Some("size") => {
                    let n = self.word().and_then(|w| w.parse::<u64>().ok());
                    set.insert("size".into(), n.map_or(Value::Null, Value::from));
                }
                Some("comment") => {
                    set.insert("comment".into(), self.name().map_or(Value::Null, Value::from));
                }
                Some("elements") => {
                    self.take_word("=");
                    let line = self.at;
                    match self.braces() {
                        Some(list) => drop(set.insert("elem".into(), list.into())),
                        None => {
                            self.at = line;
                            return Err(self.wrong(&format!("elements of {name} that are none")));
                        }
                    }
                }
                Some(_) => self.skip_line(),
                None if self.peek().is_none() => {
                    return Err(
                        self.wrong(&format!("{kind} {name} ends without `}}` (was the file cut off?)"))
                    );
                }
                None => self.at += 1,
            }
        }
        self.objects.push(of.object(kind, name, set));
        Ok(())
    }

    /// `ipv4_addr . inet_service`
    fn types(&mut self) -> Value {
        let mut list = Vec::new();
        while let Some(w) = self.word() {
            list.push(Value::from(w));
            if !self.take_word(".") {
                break;
            }
        }
        match <[Value; 1]>::try_from(list) {
            Ok([one]) => one,
            Err(list) => list.into(),
        }
    }

    fn chain(&mut self, of: Of<'a>) -> Result<(), ParseError> {
        self.at += 1;
        let name = self.word().ok_or_else(|| self.wrong("a chain without a name"))?;
        self.need('{')?;
        let mut chain = Map::new();
        let place = self.objects.len();
        loop {
            self.skip_lines();
            if self.take('}') {
                break;
            }
            match self.peek_word() {
                Some("type") => self.hook(&mut chain),
                Some("policy") => {
                    self.at += 1;
                    chain.insert("policy".into(), self.word().map_or(Value::Null, Value::from));
                }
                // A comment of the chain stands alone on its line.
                Some("comment") => {
                    self.at += 1;
                    chain.insert("comment".into(), self.name().map_or(Value::Null, Value::from));
                }
                _ if self.peek().is_none() => {
                    return Err(
                        self.wrong(&format!("chain {name} ends without `}}` (was the file cut off?)"))
                    );
                }
                _ => {
                    let rule = self.rule(of, name)?;
                    self.objects.push(rule);
                }
            }
        }
        self.objects.insert(place, of.object("chain", name, chain));
        Ok(())
    }

    /// `type filter hook input priority filter - 3; policy drop;`
    fn hook(&mut self, chain: &mut Map<String, Value>) {
        self.at += 1;
        chain.insert("type".into(), self.word().map_or(Value::Null, Value::from));
        while let Some(w) = self.word() {
            match w {
                "hook" => drop(chain.insert("hook".into(), self.word().map_or(Value::Null, Value::from))),
                "device" => drop(self.name()),
                "devices" => {
                    self.take_word("=");
                    let _ = self.skip_block();
                }
                "priority" => {
                    let base = self.word().unwrap_or("0");
                    let named = |n: &str| match n {
                        "raw" => Some(-300),
                        "mangle" => Some(-150),
                        "dstnat" => Some(-100),
                        "filter" => Some(0),
                        "security" => Some(50),
                        "srcnat" => Some(100),
                        "out" => Some(100),
                        _ => n.parse::<i64>().ok(),
                    };
                    let mut priority = named(base).unwrap_or(0);
                    for (sign, factor) in [("+", 1), ("-", -1)] {
                        if self.take_word(sign) {
                            priority += factor * self.word().and_then(|w| w.parse::<i64>().ok()).unwrap_or(0);
                        }
                    }
                    chain.insert("prio".into(), priority.into());
                }
                _ => {}
            }
        }
        self.take(';');
    }

    /// A line of a chain.
    fn rule(&mut self, of: Of<'a>, chain: &str) -> Result<Value, ParseError> {
        let mut statements = Vec::new();
        let mut rule = Map::new();
        while !matches!(self.peek(), None | Some(Token::Newline | Token::Sign('}' | ';'))) {
            let begin = self.at;
            if self.take_word("comment") {
                rule.insert("comment".into(), self.name().map_or(Value::Null, Value::from));
                continue;
            }
            match self.statement() {
                Some(s) if self.at > begin => statements.push(s),
                _ => {
                    // What is not understood, and all behind it but a comment.
                    self.at = begin;
                    statements.push(json!({ "unread": self.rest_of_rule()? }));
                }
            }
        }
        rule.insert("expr".into(), statements.into());
        rule.insert("family".into(), of.family.into());
        rule.insert("table".into(), of.table.into());
        rule.insert("chain".into(), chain.into());
        Ok(json!({ "rule": rule }))
    }

    fn rest_of_rule(&mut self) -> Result<&'a str, ParseError> {
        let from = self.tokens[self.at].from;
        let mut to = from;
        let mut open = 0usize;
        while let Some(t) = self.tokens.get(self.at) {
            match &t.token {
                Token::Newline | Token::Sign(';') if open == 0 => break,
                Token::Sign('}') if open == 0 => break,
                Token::Word("comment") if open == 0 && to > from => break,
                Token::Sign('{') => open += 1,
                Token::Sign('}') => open -= 1,
                _ => {}
            }
            to = t.to;
            self.at += 1;
        }
        match open {
            0 => Ok(&self.text[from..to]),
            _ => Err(self.wrong("a rule ends inside braces (was the file cut off?)")),
        }
    }

    fn statement(&mut self) -> Option<Value> {
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

    fn verdict(&mut self) -> Option<Value> {
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
                let (addr, port) = address_and_port(w)?;
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
    fn braces(&mut self) -> Option<Vec<Value>> {
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
    fn expression(&mut self) -> Option<Value> {
        self.depth += 1;
        let found = if self.depth > DEEPEST { None } else { self.whole_expression() };
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
        while let Some(op @ ("&" | "|" | "^" | "<<" | ">>")) = self.peek_word() {
            self.at += 1;
            let right = literal(self.word()?);
            e = json!({ op: [e, right] });
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

/// `10.0.0.0/8`, `80-90`, `0x4000`, `tcp`
fn literal(word: &str) -> Value {
    let plain = |w: &str| match w.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).map_or(Value::from(w), Value::from),
        None => w.parse::<u64>().map_or_else(|_| Value::from(w.trim_matches('"')), Value::from),
    };
    if let Some((addr, len)) = word.split_once('/')
        && let Ok(len) = len.parse::<u64>()
        && addr.parse::<std::net::IpAddr>().is_ok()
    {
        return json!({"prefix": {"addr": addr, "len": len}});
    }
    // Names hold hyphens, too: only addresses and numbers make ranges.
    if let Some((a, b)) = word.split_once('-') {
        let is_end = |w: &str| w.parse::<std::net::IpAddr>().is_ok() || w.parse::<u64>().is_ok();
        if is_end(a) && is_end(b) {
            return json!({"range": [plain(a), plain(b)]});
        }
    }
    plain(word)
}

/// `1.2.3.4:80`, `[fd00::1]:80`, `1.2.3.4-1.2.3.8:80-90`, `:80`, `fd00::1`
fn address_and_port(word: &str) -> Option<(Option<&str>, Option<&str>)> {
    if let Some(rest) = word.strip_prefix('[') {
        let (addr, rest) = rest.split_once(']')?;
        return match rest {
            "" => Some((Some(addr), None)),
            rest => Some((Some(addr), Some(rest.strip_prefix(':')?))),
        };
    }
    match word.split_once(':') {
        Some((_, rest)) if rest.contains(':') => Some((Some(word), None)),
        Some(("", port)) => Some((None, Some(port))),
        Some((addr, port)) => Some((Some(addr), Some(port))),
        None => Some((Some(word), None)),
    }
}

/// `3h`, `1d2h3m4s`, `2h59m53s`, `500ms`: whole seconds.
fn duration(text: &str) -> Option<u64> {
    let (mut sum, mut number, mut rest) = (0u64, String::new(), text);
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        if c.is_ascii_digit() {
            number.push(c);
            continue;
        }
        let n: u64 = number.parse().ok()?;
        number.clear();
        let factor = match c {
            'd' => 86_400,
            'h' => 3600,
            'm' if rest.starts_with('s') => {
                rest = &rest[1..];
                0
            }
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        sum = sum.checked_add(n.checked_mul(factor)?)?;
    }
    number.is_empty().then_some(sum)
}

/// Types of the fields of an expression (`typeof`).
fn types_of(e: &Value) -> Option<Value> {
    if let Some(parts) = e.get("concat").and_then(Value::as_array) {
        return parts.iter().map(types_of).collect::<Option<Vec<Value>>>().map(Value::from);
    }
    let (what, v) = e.as_object()?.iter().next()?;
    let text = |k: &str| v.get(k).and_then(Value::as_str).unwrap_or_default();
    Some(
        match (what.as_str(), text("protocol"), text("field"), text("key")) {
            ("payload", "ip", "saddr" | "daddr", _) => "ipv4_addr",
            ("payload", "ip6", "saddr" | "daddr", _) => "ipv6_addr",
            ("payload", _, "sport" | "dport", _) => "inet_service",
            ("payload", "ip", "protocol", _) | ("meta", _, _, "l4proto") => "inet_proto",
            ("payload", "ether", "saddr" | "daddr", _) => "ether_addr",
            ("meta", _, _, "iifname" | "oifname") => "ifname",
            ("meta" | "ct", _, _, "mark") => "mark",
            _ => return None,
        }
        .into(),
    )
}
