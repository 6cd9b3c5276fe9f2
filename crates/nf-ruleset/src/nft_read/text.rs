//! `nft list ruleset` -> the objects of `nft -j list ruleset`.
//!
//! As much of nft's grammar as it prints itself (`src/parser_bison.y`, checked against 1.0.6). A statement beyond it is
//! kept as text, with the rest of its rule.

use super::tokens::{Placed, Token, duration, tokens, types_of};
use crate::ParseError;
use serde_json::{Map, Value, json};

/// Reads the text; the error names the line.
pub(super) fn objects(text: &str) -> Result<Vec<Value>, ParseError> {
    let tokens = tokens(text)?;
    let mut p = Parser { text, tokens: &tokens, at: 0, objects: Vec::new(), depth: 0, too_deep: false };
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

pub(super) struct Parser<'a, 'b> {
    text: &'a str,
    pub(super) tokens: &'b [Placed<'a>],
    pub(super) at: usize,
    objects: Vec<Value>,
    pub(super) depth: usize,
    /// True where an expression was nested deeper than any that nft prints.
    pub(super) too_deep: bool,
}

impl<'a> Parser<'a, '_> {
    pub(super) fn peek(&self) -> Option<&Token<'a>> {
        self.tokens.get(self.at).map(|t| &t.token)
    }

    pub(super) fn peek_word(&self) -> Option<&'a str> {
        match self.peek() {
            Some(Token::Word(w)) => Some(w),
            _ => None,
        }
    }

    fn wrong(&self, what: &str) -> ParseError {
        let line = self.tokens.get(self.at).or(self.tokens.last()).map_or(1, |t| t.line);
        ParseError { line, what: what.to_string() }
    }

    pub(super) fn take(&mut self, sign: char) -> bool {
        let found = self.peek() == Some(&Token::Sign(sign));
        self.at += usize::from(found);
        found
    }

    pub(super) fn take_word(&mut self, word: &str) -> bool {
        let found = self.peek_word() == Some(word);
        self.at += usize::from(found);
        found
    }

    pub(super) fn word(&mut self) -> Option<&'a str> {
        let w = self.peek_word()?;
        self.at += 1;
        Some(w)
    }

    /// A word or a quoted one.
    pub(super) fn name(&mut self) -> Option<String> {
        let name = match self.peek()? {
            Token::Word(w) => w.to_string(),
            Token::Quoted(q) => q.clone(),
            _ => return None,
        };
        self.at += 1;
        Some(name)
    }

    pub(super) fn number(&mut self) -> Option<u64> {
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
                // A comment of the chain is alone on its line.
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
                _ if self.too_deep => return Err(self.wrong("an expression with too many operators")),
                _ => {
                    // What is not understood, and all behind it but the verdict and a comment.
                    self.at = begin;
                    let unread = self.rest_of_rule()?;
                    statements.push(json!({ "unread": unread }));
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
        let begin = self.at;
        let from = self.tokens[begin].from;
        let mut open = 0usize;
        while let Some(t) = self.tokens.get(self.at) {
            match &t.token {
                Token::Newline | Token::Sign(';') if open == 0 => break,
                Token::Sign('}') if open == 0 => break,
                Token::Word("comment") if open == 0 && self.at > begin => break,
                Token::Sign('{') => open += 1,
                Token::Sign('}') => open -= 1,
                _ => {}
            }
            self.at += 1;
        }
        if open != 0 {
            return Err(self.wrong("a rule ends inside braces (was the file cut off?)"));
        }
        // What the rule does with the packet is its last word, or its last two.
        let end = self.at;
        for verdict in [end.saturating_sub(2), end.saturating_sub(1)] {
            if verdict > begin {
                self.at = verdict;
                if self.verdict().is_some() && self.at == end {
                    self.at = verdict;
                    break;
                }
            }
            self.at = end;
        }
        let to = self.tokens[self.at - 1].to;
        Ok(&self.text[from..to])
    }
}
