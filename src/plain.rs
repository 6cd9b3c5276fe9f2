//! What comes from outside, made harmless: the one place where control characters are escaped before they reach a
//! terminal. Names of tables and chains, comments, host names, objects and messages of the API, file names: each may
//! hold what clears a screen, sets its title or fills the clipboard.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};

/// Characters that do something instead of being shown: C0 but for the end of a line, DEL, C1 (which terminals take as
/// escape sequences of one character), what turns the direction of text or ends a line (UAX #9, UAX #14).
fn does_something(c: char) -> bool {
    match c {
        '\n' => false,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' => true,
        '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => true,
        '\u{feff}' | '\u{fff9}'..='\u{fffb}' => true,
        _ => false,
    }
}

/// True for bytes that are all printable ASCII or ends of lines: nearly all that is written. Without an exit from the
/// inner loop the compiler makes vector code of it.
fn is_plain_ascii(bytes: &[u8]) -> bool {
    bytes.chunks(64).all(|chunk| {
        let plain = |b: &u8| (b' '..0x7f).contains(b) | (*b == b'\n');
        chunk.iter().fold(true, |all, b| all & plain(b))
    })
}

/// A text whose control characters are shown escaped, as Rust writes them: `\x1b`, `\u{202e}`. Ends of lines stay.
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(does_something) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if !does_something(c) => out.push(c),
            c if u32::from(c) < 0x80 => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
        }
    }
    Cow::Owned(out)
}

/// A text that is part of a line: its own ends of lines are shown as `\n` and `\r`. The kernel takes any byte in names of
/// nf_tables, and what follows a line's end would read as kptop's own words.
pub fn one_line(text: &str) -> Cow<'_, str> {
    match text.contains(['\n', '\r']) {
        false => Cow::Borrowed(text),
        true => Cow::Owned(text.replace('\n', "\\n").replace('\r', "\\r")),
    }
}

/// The same inside JSON, whose own escapes every reader knows.
fn visible_json(text: &str) -> Cow<'_, str> {
    if !text.contains(|c| does_something(c) && !matches!(c, '\t' | '\r')) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            c if does_something(c) && !matches!(c, '\t' | '\r') => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Lines for people, and tables for spreadsheets.
    Text,
    /// JSON.
    Json,
    /// CSV: its lines end in CR LF.
    Csv,
    /// What kptop itself holds: man pages, completions, the default configuration.
    Own,
}

/// A writer through which nothing passes that does something to a terminal.
pub struct Plain<W> {
    inner: W,
    form: Form,
    /// The beginning of a character whose rest comes with the next bytes.
    cut: Vec<u8>,
}

impl<W> std::fmt::Debug for Plain<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plain").field("form", &self.form).finish_non_exhaustive()
    }
}

impl<W: Write> Plain<W> {
    /// Writes to `inner`.
    pub fn new(inner: W, form: Form) -> Plain<W> {
        Plain { inner, form, cut: Vec::new() }
    }

    fn text(&mut self, text: &str) -> io::Result<()> {
        let safe = match self.form {
            Form::Text => visible(text),
            Form::Json => visible_json(text),
            Form::Csv => {
                for (i, line) in text.split("\r\n").enumerate() {
                    if i > 0 {
                        self.inner.write_all(b"\r\n")?;
                    }
                    self.inner.write_all(visible(line).as_bytes())?;
                }
                return Ok(());
            }
            Form::Own => Cow::Borrowed(text),
        };
        self.inner.write_all(safe.as_bytes())
    }
}

impl<W: Write> Write for Plain<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.cut.is_empty() && is_plain_ascii(bytes) {
            return self.inner.write_all(bytes).map(|()| bytes.len());
        }
        let joined;
        let mut rest = match self.cut.is_empty() {
            true => bytes,
            false => {
                joined = [std::mem::take(&mut self.cut).as_slice(), bytes].concat();
                &joined
            }
        };
        while !rest.is_empty() {
            match std::str::from_utf8(rest) {
                Ok(text) => {
                    self.text(text)?;
                    break;
                }
                Err(e) => {
                    let (valid, more) = rest.split_at(e.valid_up_to());
                    self.text(std::str::from_utf8(valid).unwrap_or_default())?;
                    match e.error_len() {
                        Some(n) => {
                            self.text("\u{fffd}")?;
                            rest = &more[n..];
                        }
                        None => {
                            self.cut = more.to_vec();
                            break;
                        }
                    }
                }
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn through(form: Form, pieces: &[&[u8]]) -> String {
        let mut out = Vec::new();
        let mut plain = Plain::new(&mut out, form);
        pieces.iter().for_each(|p| plain.write_all(p).unwrap());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_does_something_is_shown() {
        assert_eq!(visible("shop/cart: ✓ über 10.0.0.1\n"), "shop/cart: ✓ über 10.0.0.1\n");
        assert_eq!(visible("\x1b]0;x\x07\u{9b}31m\u{202e}\t\r"), "\\x1b]0;x\\x07\\u{9b}31m\\u{202e}\\t\\r");
        assert_eq!(
            through(Form::Json, &["\"\u{9b}\u{202e}\u{7f}\"".as_bytes()]),
            "\"\\u009b\\u202e\\u007f\""
        );
        assert_eq!(through(Form::Csv, &[b"a,\x1bb\r\nc\r\n"]), "a,\\x1bb\r\nc\r\n");
        // A character in two pieces, and bytes that are none.
        assert_eq!(through(Form::Text, &[b"\xc3", b"\xbc", b"\xff!"]), "ü\u{fffd}!");
    }

    proptest! {
        #[test]
        fn nothing_passes(bytes in proptest::collection::vec(any::<u8>(), 0..80), at in 0usize..80) {
            let at = at.min(bytes.len());
            let text = through(Form::Text, &[&bytes[..at], &bytes[at..]]);
            prop_assert!(!text.contains(does_something), "{text:?}");
        }

        #[test]
        fn json_stays_the_same(text in "\\PC*[\u{0}-\u{ff}\u{2028}\u{202e}]{0,6}") {
            let json = serde_json::to_string(&text).unwrap();
            let safe = through(Form::Json, &[json.as_bytes()]);
            prop_assert!(!safe.contains(does_something), "{safe:?}");
            prop_assert_eq!(serde_json::from_str::<String>(&safe).unwrap(), text);
        }
    }
}
