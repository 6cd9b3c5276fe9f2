//! What is looked at to know a text, and what several forms do.

use super::json;
use std::borrow::Cow;

/// What is looked at to know a text.
pub(super) struct Glance<'a> {
    pub(super) name: &'a str,
    pub(super) text: &'a str,
}

impl<'a> Glance<'a> {
    pub(super) fn new(name: &'a str, text: &'a str) -> Glance<'a> {
        Glance { name, text }
    }

    /// Lines that are not blank, without the blanks at their ends.
    pub(super) fn lines(&self) -> impl Iterator<Item = &'a str> {
        self.text.lines().map(str::trim_end).filter(|l| !l.trim().is_empty())
    }

    pub(super) fn first(&self) -> &'a str {
        self.lines().next().unwrap_or_default()
    }

    /// True where one of the first `n` lines is so.
    pub(super) fn any(&self, n: usize, is: impl Fn(&str) -> bool) -> bool {
        self.lines().take(n).any(is)
    }

    /// The beginning of JSON; empty for another text.
    pub(super) fn json(&self) -> &'a str {
        match json::begins(self.text) {
            true => &self.text[..self.text.char_indices().nth(4096).map_or(self.text.len(), |c| c.0)],
            false => "",
        }
    }
}

/// Lines of `nft -a list`, without the handles at their ends.
pub(super) fn without_handles(text: &str) -> Cow<'_, str> {
    if !text.contains(" # handle ") {
        return Cow::Borrowed(text);
    }
    let line = |l: &str| match l.rsplit_once(" # handle ") {
        Some((rule, n)) if n.trim().bytes().all(|b| b.is_ascii_digit()) => format!("{rule}\n"),
        _ => format!("{l}\n"),
    };
    Cow::Owned(text.lines().map(line).collect())
}

/// What says of a listing's figures: `12K` is 12,000.
pub(super) fn rounded(text: &str) -> Option<u64> {
    let (number, factor) = match text.char_indices().next_back()? {
        (i, 'K') => (&text[..i], 1000),
        (i, 'M') => (&text[..i], 1_000_000),
        (i, 'G') => (&text[..i], 1_000_000_000),
        (i, 'T') => (&text[..i], 1_000_000_000_000),
        _ => (text, 1),
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_are_no_part_of_a_rule() {
        assert_eq!(without_handles("table ip x { # handle 5\n\tx # y\n"), "table ip x {\n\tx # y\n");
    }
}
