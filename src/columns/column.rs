//! What a column is.

use crate::format::{clip, count, nanoseconds, share_text, short};
use crate::rates::{NoRate, Rate};
use std::cmp::Ordering;
use std::fmt;

/// What a cell holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Words.
    Text(String),
    /// A figure, in the column's unit.
    Number(f64),
    /// No figure, and why.
    Missing(NoRate),
    /// Rows keep the order that they have: names are sorted already.
    AsListed(String),
}

impl Value {
    /// The figure of a rate, or why there is none.
    pub fn rate(rate: Rate) -> Value {
        match rate {
            Ok(n) => Value::Number(n),
            Err(why) => Value::Missing(why),
        }
    }

    /// A count, where it is known.
    pub fn count(n: Option<u64>) -> Value {
        n.map_or(Value::Missing(NoRate::NotCounted), |n| Value::Number(n as f64))
    }

    /// A part of the whole, where it is known.
    pub fn share(part: Option<f64>) -> Value {
        part.map_or(Value::Missing(NoRate::NotCounted), Value::Number)
    }

    /// How two cells of a column are to each other: figures falling, what is unknown below them; words rising.
    pub fn order(&self, other: &Value) -> Ordering {
        use Value::{AsListed, Missing, Number, Text};
        match (self, other) {
            (Number(a), Number(b)) => b.total_cmp(a),
            (Number(_), Missing(_)) => Ordering::Less,
            (Missing(_), Number(_)) => Ordering::Greater,
            (Text(a), Text(b)) => a.cmp(b),
            (AsListed(_), _) | (_, AsListed(_)) | (Missing(_), Missing(_)) => Ordering::Equal,
            // A column holds words or figures, never both; what is missing is below.
            (Text(_), _) => Ordering::Less,
            (_, Text(_)) => Ordering::Greater,
        }
    }
}

/// How a column's values are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A symbol of one column.
    Symbol,
    /// Words, cut in the middle.
    Text,
    /// A whole number.
    Count,
    /// A figure a second, in few characters.
    Rate,
    /// A part of the whole.
    Share,
    /// A part of the whole in whole percent: more digits would only flicker.
    Percent,
    /// A time in nanoseconds.
    Nanoseconds,
    /// A bar of a part of the whole.
    Bar,
    /// The last readings as a line of blocks: nothing for text.
    Trend,
}

/// A kind of rows.
pub trait Rows {
    /// What is behind one row.
    type Row<'a>;
}

/// A column.
pub struct Column<R: Rows> {
    /// Its name in filters, the config file and CSV: one word.
    pub key: &'static str,
    /// Its head on the screen.
    pub head: &'static str,
    /// Unit of its figures; empty for words.
    pub unit: &'static str,
    /// What it means and how to read it.
    pub help: &'static str,
    /// Columns of the screen; 0 takes what is left.
    pub width: u16,
    /// Kept to the right.
    pub right: bool,
    /// Shown from this screen width on; [`NEVER`] only where it is asked for.
    pub from: u16,
    /// How it is drawn.
    pub shape: Shape,
    /// What is in it.
    pub value: for<'a> fn(&R::Row<'a>) -> Value,
}

/// A column of figures: a table's row.
#[allow(clippy::too_many_arguments)]
pub(super) const fn figure<R: Rows>(
    key: &'static str,
    head: &'static str,
    unit: &'static str,
    shape: Shape,
    from: u16,
    help: &'static str,
    value: for<'a> fn(&R::Row<'a>) -> Value,
) -> Column<R> {
    Column { key, head, unit, help, width: 6, right: true, from, shape, value }
}

/// A column of words, kept to the left.
pub(super) const fn words<R: Rows>(
    key: &'static str,
    head: &'static str,
    width: u16,
    from: u16,
    help: &'static str,
    value: for<'a> fn(&R::Row<'a>) -> Value,
) -> Column<R> {
    Column { key, head, unit: "", help, width, right: false, from, shape: Shape::Text, value }
}

/// No screen is so wide: the column is shown where a user chose it.
pub const NEVER: u16 = u16::MAX;

impl<R: Rows> fmt::Debug for Column<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Column({})", self.key)
    }
}

impl<R: Rows> Column<R> {
    /// The text of a cell in at most `width` columns.
    pub fn text(&self, row: &R::Row<'_>, width: usize) -> String {
        self.text_of(&(self.value)(row), width)
    }

    /// The text of a value in this column.
    pub fn text_of(&self, value: &Value, width: usize) -> String {
        match (self.shape, value) {
            (_, Value::Text(t) | Value::AsListed(t)) => clip(t, width),
            (_, Value::Missing(why)) => clip(why.short(), width),
            // Bytes in powers of 1000, too, as rates of links are.
            (Shape::Rate, Value::Number(n)) => short(*n),
            (Shape::Percent, Value::Number(n)) => format!("{:.0}%", n * 100.0),
            (Shape::Share | Shape::Bar, Value::Number(n)) => share_text(Some(*n)),
            (Shape::Nanoseconds, Value::Number(n)) => nanoseconds(*n),
            (_, Value::Number(n)) => count(*n as u64),
        }
    }

    /// The cell for scripts: the exact figure, and nothing where there is none.
    pub fn exact(&self, row: &R::Row<'_>) -> String {
        match (self.value)(row) {
            Value::Text(t) | Value::AsListed(t) => t,
            Value::Missing(_) => String::new(),
            Value::Number(n) if n.fract() == 0.0 => format!("{n:.0}"),
            Value::Number(n) => format!("{n:.4}"),
        }
    }

    /// Head and unit for scripts: `flows (1/s)`.
    pub fn title(&self) -> String {
        if self.unit.is_empty() { self.key.to_string() } else { format!("{} ({})", self.key, self.unit) }
    }

    /// Meaning with unit, for people.
    pub fn meaning(&self) -> String {
        if self.unit.is_empty() { self.help.to_string() } else { format!("{} [{}]", self.help, self.unit) }
    }
}

/// A field of CSV (RFC 4180): quoted where it must be.
pub fn csv_field(text: &str) -> String {
    // A spreadsheet takes such a cell for a formula, and runs it: as text it begins with an apostrophe.
    let formula =
        text.len() > 1 && text.starts_with(['=', '+', '-', '@', '\t', '\r']) && text.parse::<f64>().is_err();
    let defused = if formula { format!("'{text}") } else { text.to_string() };
    let text = defused.as_str();
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::{BACKENDS, SERVICES};
    use std::collections::HashSet;

    #[test]
    fn keys_are_words_that_stand_once() {
        let mut seen = HashSet::new();
        for key in SERVICES.iter().map(|c| c.key) {
            assert!(key.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{key}");
            assert!(seen.insert(key), "{key} is twice");
        }
        seen.clear();
        for key in BACKENDS.iter().map(|c| c.key) {
            assert!(seen.insert(key), "{key} is twice");
        }
    }

    #[test]
    fn figures_fall_and_words_rise() {
        use Value::{Missing, Number, Text};
        assert_eq!(Number(2.0).order(&Number(1.0)), Ordering::Less);
        assert_eq!(Number(0.0).order(&Missing(NoRate::NotCounted)), Ordering::Less);
        assert_eq!(Text("a".into()).order(&Text("b".into())), Ordering::Less);
    }

    #[test]
    fn fields_of_csv_are_quoted_where_they_must_be() {
        assert_eq!(csv_field("a b"), "a b");
        assert_eq!(csv_field("a,\"b\""), "\"a,\"\"b\"\"\"");
    }
}
