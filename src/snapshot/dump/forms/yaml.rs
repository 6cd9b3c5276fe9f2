//! `kubectl get … -o yaml`.

use crate::snapshot::dump::glance::Glance;
use crate::snapshot::dump::reader::{Form, Found, Reader};
use crate::snapshot::{SourceId, UnreadKind};
use serde_json::Value;
use std::borrow::Cow;

pub(super) static FORM: Form =
    Form { words: "kubectl get -o yaml", source: SourceId::Api, repeats: true, is, read };

fn is(g: &Glance<'_>) -> bool {
    g.any(10, |l| l.starts_with("apiVersion: ") || l == "items:" || l.starts_with("- apiVersion: "))
}

/// Lines that are left out before a text is given up.
const MOST_LINES: usize = 8;

/// The value of a text, without lines that are none of it; with these, and the first error.
fn value(text: &str) -> Result<(Value, usize), String> {
    let mut text = Cow::Borrowed(text);
    let mut left_out = 0;
    let mut first = None;
    loop {
        let e = match serde_saphyr::from_str::<Value>(&text) {
            Ok(value) if value.is_object() || value.is_array() => return Ok((value, left_out)),
            Ok(_) => return Err(first.unwrap_or_else(|| "it has no objects".into())),
            Err(e) => e.to_string(),
        };
        let e = e.lines().next().unwrap_or_default().to_string();
        // `error: line 4 column 1: simple key expected ':'`
        let line =
            e.split_once("line ").and_then(|r| r.1.split([' ', ':', ',']).next()?.parse::<usize>().ok());
        first.get_or_insert(e);
        // What is wrong is often the line before: a strange one is taken for the begin of something.
        let strange =
            |l: &str| !l.starts_with(' ') && !l.contains(": ") && !l.ends_with(':') && !l.starts_with("- ");
        let Some(at) = line.and_then(|n| {
            let near = [n.checked_sub(1)?, n.saturating_sub(2)];
            near.into_iter().find(|i| text.lines().nth(*i).is_some_and(strange))
        }) else {
            return Err(first.unwrap_or_default());
        };
        if left_out == MOST_LINES {
            return Err(first.unwrap_or_default());
        }
        left_out += 1;
        text = Cow::Owned(
            text.lines().enumerate().filter(|(i, _)| *i != at).map(|(_, l)| format!("{l}\n")).collect(),
        );
    }
}

fn read(to: &mut Reader, f: &Found) -> Result<(), String> {
    let label = f.path.display().to_string();
    let why = match value(&f.text) {
        Ok((value, left_out)) => {
            to.unused(left_out);
            to.objects.push((label, value));
            return Ok(());
        }
        Err(why) => why,
    };
    // Of a text that was cut off: the items that are whole.
    let items: Vec<Value> = items(&f.text).filter_map(|i| serde_saphyr::from_str::<Value>(&i).ok()).collect();
    if items.is_empty() {
        return Err(why);
    }
    to.partial_objects = true;
    let why = format!("{} items were read, and not all: {why}", items.len());
    to.unread(f, SourceId::Api, UnreadKind::Failed, why);
    to.objects.extend(items.into_iter().map(|i| (label.clone(), i)));
    Ok(())
}

/// The items of a list, each as a text of its own: kubectl begins each with `- apiVersion:`.
fn items(text: &str) -> impl Iterator<Item = String> + '_ {
    let mut parts: Vec<String> = Vec::new();
    for line in text.lines() {
        match line.strip_prefix("- ") {
            Some(rest) if rest.starts_with("apiVersion:") => parts.push(format!("{rest}\n")),
            _ => {
                if let Some(last) = parts.last_mut() {
                    // What is not further in is none of the item.
                    if let Some(rest) = line.strip_prefix("  ") {
                        last.push_str(&format!("{rest}\n"));
                    }
                }
            }
        }
    }
    parts.into_iter()
}
