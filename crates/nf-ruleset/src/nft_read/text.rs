//! `nft list ruleset` -> the objects of `nft -j list ruleset`.
//!
//! As much of nft's grammar as it prints itself (`src/parser_bison.y`, checked against 1.0.6). A statement beyond it is
//! kept as text, with the rest of its rule.

use super::tokens::{Placed, Token, duration, tokens, types_of};
use crate::ParseError;
use serde_json::{Map, Value, json};

/// The objects of a text, with what is wrong with it.
pub(super) struct Objects {
    pub(super) list: Vec<Value>,
    /// Lines that are left out, or of which something is: each costs itself.
    pub(super) errors: Vec<ParseError>,
    /// Rules of which nothing was understood, kept as text.
    pub(super) kept: Vec<ParseError>,
    /// That the text ends inside a table.
    pub(super) cut: Option<ParseError>,
}

/// Reads the text.
pub(super) fn objects(text: &str) -> Objects {
    let (tokens, errors) = tokens(text);
    let mut p = Parser {
        text,
        tokens: &tokens,
        at: 0,
        objects: Vec::new(),
        depth: 0,
        too_deep: false,
        errors,
        kept: Vec::new(),
        cut: None,
    };
    loop {
        p.skip_lines();
        match p.peek() {
            None => break,
            Some(Token::Word("table")) => p.table(),
            Some(other) => {
                let what = format!("expected `table`, found {}", shown(other));
                p.leave_out_line(&what);
            }
        }
    }
    p.errors.sort_by_key(|e| e.line);
    Objects { list: p.objects, errors: p.errors, kept: p.kept, cut: p.cut }
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
    errors: Vec<ParseError>,
    kept: Vec<ParseError>,
    cut: Option<ParseError>,
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
        self.wrong_at(self.at, what)
    }

    fn wrong_at(&self, at: usize, what: &str) -> ParseError {
        let line = self.tokens.get(at).or(self.tokens.last()).map_or(1, |t| t.line);
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

    /// Remembers what is wrong here, and goes on behind this line.
    fn leave_out_line(&mut self, what: &str) {
        let error = self.wrong(what);
        self.errors.push(error);
        while !matches!(self.peek(), None | Some(Token::Newline)) {
            self.at += 1;
        }
    }

    /// The text ends here, inside something.
    fn cut_off(&mut self, what: &str) {
        let error = self.wrong(&format!("{what} (was the file cut off?)"));
        self.cut.get_or_insert(error);
    }

    /// The brace that opens a block; false where there is none, and the line is left out.
    fn opens(&mut self) -> bool {
        if self.take('{') {
            return true;
        }
        match self.peek() {
            None => self.cut_off("the text ends before a block"),
            Some(other) => {
                let what = format!("expected `{{`, found {}", shown(other));
                self.leave_out_line(&what);
            }
        }
        false
    }

    /// Passes over a block that is not read, up to its closing brace.
    fn skip_block(&mut self) {
        let mut open = 0;
        while let Some(t) = self.peek() {
            match t {
                Token::Sign('{') => open += 1,
                Token::Sign('}') => {
                    open -= 1;
                    if open == 0 {
                        self.at += 1;
                        return;
                    }
                }
                _ => {}
            }
            self.at += 1;
        }
        self.cut_off("the text ends inside a block");
    }

    /// True where a line opens a block.
    fn line_opens_block(&self) -> bool {
        let line = self.tokens[self.at..].iter().take_while(|t| t.token != Token::Newline);
        line.into_iter().any(|t| t.token == Token::Sign('{'))
    }

    fn skip_line(&mut self) {
        while !matches!(self.peek(), None | Some(Token::Newline | Token::Sign('}'))) {
            self.at += 1;
        }
    }

    fn table(&mut self) {
        self.at += 1;
        let (Some(family), Some(name)) = (self.word(), self.word()) else {
            return self.leave_out_line("a table without family and name");
        };
        let of = Of { family, table: name };
        let place = self.objects.len();
        let mut comment = Value::Null;
        if !self.opens() {
            return;
        }
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
                Some("chain") => self.chain(of),
                Some(kind @ ("set" | "map")) => self.set(of, kind),
                Some("flags") => self.skip_line(),
                // Objects and flowtables: what counts is what rules do with them.
                Some(_) if self.line_opens_block() => {
                    while !matches!(self.peek(), None | Some(Token::Sign('{'))) {
                        self.at += 1;
                    }
                    self.skip_block();
                }
                _ if self.peek().is_none() => {
                    self.cut_off(&format!("table {name} ends without `}}`"));
                    break;
                }
                _ => self.leave_out_line("expected a chain, a set or a map"),
            }
        }
        let table = json!({"table": {"family": family, "name": name, "comment": comment}});
        self.objects.insert(place, table);
    }

    fn set(&mut self, of: Of<'a>, kind: &str) {
        self.at += 1;
        let Some(name) = self.word() else { return self.leave_out_line("a set without a name") };
        if !self.opens() {
            return;
        }
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
                    let begin = self.at;
                    match self.braces() {
                        Some(list) => drop(set.insert("elem".into(), list.into())),
                        None => {
                            // Which they are is not known, nor how many.
                            self.at = begin;
                            let error = self.wrong(&format!("elements of {name} that are none"));
                            self.skip_block();
                            if self.peek().is_some() {
                                self.errors.push(error);
                            }
                            set.insert("elem".into(), "unread".into());
                        }
                    }
                }
                Some(_) => self.skip_line(),
                None if self.peek().is_none() => {
                    self.cut_off(&format!("{kind} {name} ends without `}}`"));
                    break;
                }
                None => self.at += 1,
            }
        }
        self.objects.push(of.object(kind, name, set));
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

    fn chain(&mut self, of: Of<'a>) {
        self.at += 1;
        let Some(name) = self.word() else { return self.leave_out_line("a chain without a name") };
        if !self.opens() {
            return;
        }
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
                    self.cut_off(&format!("chain {name} ends without `}}`"));
                    break;
                }
                _ => {
                    let begin = self.at;
                    match self.rule(of, name) {
                        Ok(rule) => self.objects.push(rule),
                        Err(e) => {
                            self.errors.push(e);
                            self.at = begin;
                            self.skip_rule();
                        }
                    }
                }
            }
        }
        self.objects.insert(place, of.object("chain", name, chain));
    }

    /// Goes to the end of a rule that is left out.
    fn skip_rule(&mut self) {
        while !matches!(self.peek(), None | Some(Token::Newline)) {
            self.at += 1;
        }
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
                    self.skip_block();
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
                    if statements.is_empty() {
                        let what = format!("not understood, kept as text: `{unread}`");
                        self.kept.push(self.wrong_at(begin, &what));
                    }
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
