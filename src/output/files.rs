//! What was used of the files that were given.

use super::table::{Align, Columns};
use crate::format::count;
use crate::snapshot::{InputPart, Snapshot, Unread, UnreadKind};
use serde::Serialize;
use std::io::{self, Write};

/// What files do not say, and what would.
fn asked_for(s: &Snapshot) -> impl Iterator<Item = &Unread> {
    s.unread.iter().filter(|u| u.kind == UnreadKind::NotGiven || u.hint.is_some() && u.leaves_open())
}

/// Writes it for people.
pub fn write_files(s: &Snapshot, out: &mut dyn Write) -> io::Result<()> {
    let heads = [
        ("FILE", Align::Left),
        ("TAKEN FOR", Align::Left),
        ("LINES", Align::Right),
        ("NOT USED", Align::Right),
    ];
    let mut columns = Columns::new(&heads);
    for p in s.parts.iter() {
        let form = match &p.command {
            Some(command) => format!("{} ({command})", p.form),
            None => p.form.clone(),
        };
        columns.row(vec![p.file.clone(), form, count(p.lines), count(p.unused)]);
    }
    columns.write(out)?;
    let with_notes: Vec<&InputPart> = s.parts.iter().filter(|p| !p.notes.is_empty()).collect();
    if !with_notes.is_empty() {
        writeln!(out, "\nNotes:")?;
        for p in with_notes {
            for note in &p.notes {
                writeln!(out, "  {}: {note}", p.file)?;
            }
        }
    }
    let mut asked: Vec<String> = asked_for(s)
        .map(|u| {
            format!(
                "  {}: {}{}",
                u.what,
                u.why,
                u.hint.as_ref().map_or(String::new(), |h| format!(" -> {h}"))
            )
        })
        .collect();
    asked.dedup();
    if !asked.is_empty() {
        writeln!(out, "\nNot known, and what would say it:")?;
        for line in asked {
            writeln!(out, "{line}")?;
        }
    }
    Ok(())
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    parts: Vec<PartOut<'a>>,
    not_known: Vec<UnknownOut<'a>>,
}

#[derive(Serialize)]
struct PartOut<'a> {
    file: &'a str,
    form: &'a str,
    command: Option<&'a str>,
    lines: u64,
    unused: u64,
    notes: &'a [String],
}

#[derive(Serialize)]
struct UnknownOut<'a> {
    what: &'a str,
    why: &'a str,
    hint: Option<&'a str>,
}

/// Writes it as JSON: `kptop.files/1`.
pub fn write_files_json(s: &Snapshot, out: &mut dyn Write) -> io::Result<()> {
    let parts = s.parts.iter().map(part_of).collect();
    let unknown = |u| {
        let u: &Unread = u;
        UnknownOut { what: &u.what, why: &u.why, hint: u.hint.as_deref() }
    };
    let document =
        Document { schema: "kptop.files/1", parts, not_known: asked_for(s).map(unknown).collect() };
    serde_json::to_writer_pretty(&mut *out, &document)?;
    writeln!(out)
}

fn part_of(p: &InputPart) -> PartOut<'_> {
    PartOut {
        file: &p.file,
        form: &p.form,
        command: p.command.as_deref(),
        lines: p.lines,
        unused: p.unused,
        notes: &p.notes,
    }
}
