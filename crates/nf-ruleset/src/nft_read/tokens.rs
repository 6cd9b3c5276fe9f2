//! Words of what `nft list` prints, and what single ones mean.

use crate::ParseError;
use serde_json::{Value, json};

/// A word of the text.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token<'a> {
    Word(&'a str),
    Quoted(String),
    /// One of `{ } , ;`
    Sign(char),
    /// The end of a line.
    Newline,
}

#[derive(Clone, Debug)]
pub(super) struct Placed<'a> {
    pub(super) token: Token<'a>,
    pub(super) line: usize,
    /// Where it begins in the text, and where it ends.
    pub(super) from: usize,
    pub(super) to: usize,
}

/// The words of a text, and lines with a quote that is not closed: what is behind it is one word.
pub(super) fn tokens(text: &str) -> (Vec<Placed<'_>>, Vec<ParseError>) {
    let (mut out, mut errors) = (Vec::new(), Vec::new());
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
                let (mut to, mut closed) = (end, false);
                while let Some((i, c)) = chars.next_if(|(_, c)| *c != '\n') {
                    to = i + c.len_utf8();
                    if c == '"' {
                        closed = true;
                        break;
                    }
                    quoted.push(c);
                }
                if !closed {
                    errors.push(ParseError { line, what: "a quote that is not closed".into() });
                }
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
    (out, errors)
}

/// `10.0.0.0/8`, `80-90`, `0x4000`, `tcp`
pub(super) fn literal(word: &str) -> Value {
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
        let is_end = |w: &str| w.parse::<std::net::IpAddr>().is_ok() || plain(w).is_u64();
        if is_end(a) && is_end(b) {
            return json!({"range": [plain(a), plain(b)]});
        }
    }
    plain(word)
}

/// `1.2.3.4:80`, `[fd00::1]:80`, `1.2.3.4-1.2.3.8:80-90`, `:80`, `fd00::1`
pub(super) fn address_and_port(word: &str) -> Option<(Option<&str>, Option<&str>)> {
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
pub(super) fn duration(text: &str) -> Option<u64> {
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
pub(super) fn types_of(e: &Value) -> Option<Value> {
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
