//! `kptop watch`: a line is a change, as text or as JSON (`kptop.change/1`).

use super::one_line;
use crate::changes::Change;
use crate::format::duration;
use serde::Serialize;
use std::io::{self, Write};
use std::time::Duration;

/// Writes a line for each, with its time of day.
pub fn write_changes<'a>(
    changes: impl Iterator<Item = &'a Change>,
    time: impl Fn(jiff::Timestamp) -> String,
    out: &mut dyn Write,
) -> io::Result<()> {
    for c in changes {
        let again = c.changed_before.map_or(String::new(), |at| {
            let passed = Duration::try_from(c.seen_at.duration_since(at)).unwrap_or_default();
            format!("  (last {} before)", duration(passed))
        });
        let text = c.text();
        let by = c.by.as_ref().map_or(String::new(), |by| format!("  by {by}"));
        let line = format!("{}: {text}{by}{again}", c.subject);
        writeln!(out, "{}  {} {:<9} {}", time(c.seen_at), c.mark(), c.what.name(), one_line(&line))?;
    }
    out.flush()
}

#[derive(Serialize)]
struct ChangeOut<'a> {
    schema: &'static str,
    seen_at: String,
    /// `came`, `went` or `changed`.
    change: &'static str,
    kind: &'static str,
    subject: &'a str,
    before: Option<&'a str>,
    now: Option<&'a str>,
    /// Who changed it, where nf_tables said so: `nft (4711)`.
    by: Option<&'a str>,
    /// When the same thing changed last.
    changed_before: Option<String>,
}

/// Writes a JSON document a line for each.
pub fn write_changes_json<'a>(
    changes: impl Iterator<Item = &'a Change>,
    out: &mut dyn Write,
) -> io::Result<()> {
    for c in changes {
        let document = ChangeOut {
            schema: "kptop.change/1",
            seen_at: format!("{:.3}", c.seen_at),
            change: match c.mark() {
                '+' => "came",
                '-' => "went",
                _ => "changed",
            },
            kind: c.what.name(),
            subject: &c.subject,
            before: c.before.as_deref(),
            now: c.now.as_deref(),
            by: c.by.as_deref(),
            changed_before: c.changed_before.map(|at| format!("{at:.3}")),
        };
        super::json::write_json(&document, false, out)?;
    }
    Ok(())
}
