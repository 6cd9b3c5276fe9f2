//! JSON, also where its end is missing.

use serde_json::Value;
use std::borrow::Cow;

/// True for a text that begins as JSON does. A rule's counters begin with a bracket, too.
pub(super) fn begins(text: &str) -> bool {
    let text = text.trim_start();
    text.starts_with('{') && !text.starts_with("{ pkts")
        || text.strip_prefix('[').is_some_and(|r| r.trim_start().starts_with(['{', '"', ']']))
}

/// Lines that are left out of JSON before it is given up.
const MOST_LINES: usize = 8;

/// A value, and why it is not whole where it is not: of a text that was cut off what came before, and without a line that is
/// none of it.
pub(super) fn read(text: &str) -> Result<(Value, Option<String>), String> {
    let mut text = Cow::Borrowed(text);
    let mut left_out = Vec::new();
    loop {
        let e = match serde_json::from_str(&text) {
            Ok(value) => {
                let why = left_out
                    .first()
                    .map(|first: &String| format!("{} lines were left out: {first}", left_out.len()));
                return Ok((value, why));
            }
            Err(e) => e,
        };
        // What follows the value is none of it.
        if let Some(Ok(value)) = serde_json::Deserializer::from_str(&text).into_iter::<Value>().next() {
            return Ok((value, Some(format!("what follows the JSON is left out: {e}"))));
        }
        if e.is_eof() {
            let closed = closed(&text).ok_or_else(|| format!("{e} (was the file cut off?)"))?;
            let value = serde_json::from_str(&closed).map_err(|e| e.to_string())?;
            return Ok((value, Some(format!("the text ends early (was the file cut off?): {e}"))));
        }
        let line = text.lines().nth(e.line().saturating_sub(1)).unwrap_or_default().to_string();
        // A text of one line has none to leave out.
        if left_out.len() == MOST_LINES || line.len() > 4096 || text.lines().count() < 3 {
            return Err(format!("{e} (was the file cut off?)"));
        }
        let rest: String = text
            .lines()
            .enumerate()
            .filter(|(i, _)| i + 1 != e.line())
            .map(|(_, l)| format!("{l}\n"))
            .collect();
        left_out.push(format!("`{}`", line.trim()));
        text = Cow::Owned(rest);
    }
}

/// A text that was cut off, up to the last value of a list that is whole, with its brackets closed.
fn closed(text: &str) -> Option<String> {
    let (mut open, mut quoted, mut escaped) = (Vec::new(), false, false);
    let mut last: Option<(usize, Vec<u8>)> = None;
    for (i, b) in text.bytes().enumerate() {
        match b {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'{' => open.push(b'}'),
            b'[' => open.push(b']'),
            b'}' | b']' => {
                if open.pop() != Some(b) {
                    return None;
                }
                // A value of a list is whole.
                if open.last() == Some(&b']') {
                    last = Some((i + 1, open.clone()));
                }
            }
            _ => {}
        }
    }
    let (end, open) = last?;
    let closing: String = open.iter().rev().map(|b| char::from(*b)).collect();
    Some(format!("{}{closing}", &text[..end]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_cut_off_gives_what_came_before() {
        let whole = r#"{"items": [{"a": "x]{"}, {"a": [1, 2]}, {"a": 3}]}"#;
        assert_eq!(read(whole).unwrap(), (serde_json::from_str(whole).unwrap(), None));
        let (value, why) = read(&whole[..whole.len() - 6]).unwrap();
        assert_eq!(value["items"].as_array().unwrap().len(), 2);
        assert!(why.unwrap().contains("cut off"));
        assert_eq!(read("{\"a\": 1}\nroot@node:~# ").unwrap().0["a"], 1);
        assert!(read("{\"a\": ").is_err() && read("{]").is_err());
        assert!(begins(" [ {") && begins("{") && !begins("[1:60] -A X") && !begins("{ pkts = 1"));
    }

    proptest! {
        #[test]
        fn any_cut_is_survived(at in 0usize..60) {
            let whole = r#"{"items": [{"a": "x]{"}, {"a": [1, 2, {"b": null}]}, {"a": 3}]}"#;
            let text = &whole[..at.min(whole.len())];
            if let Ok((value, _)) = read(text) {
                prop_assert!(value.get("items").is_some());
            }
        }
    }
}
