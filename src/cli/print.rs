//! How commands print, and what they say beside the output.

use crate::output::{self, Form};
use clap::ValueEnum;
use std::io::{self, Write};

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Columns for people.
    Table,
    /// The contract for scripts.
    Json,
    /// Services with every column, for spreadsheets.
    Csv,
}

/// How to print what is not a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum TextOrJson {
    /// For people.
    Text,
    /// The contract for scripts.
    Json,
}

impl TextOrJson {
    pub(super) fn form(self) -> Form {
        match self {
            TextOrJson::Text => Form::Text,
            TextOrJson::Json => Form::Json,
        }
    }
}

/// Prints lines for people through a closure. A closed pipe is not an error: the reader has seen enough.
pub(super) fn print(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), String> {
    print_as(Form::Text, write)
}

/// The same of what has another form. Nothing that comes from outside reaches the terminal unescaped.
pub(super) fn print_as(
    form: Form,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), String> {
    let out = io::BufWriter::with_capacity(64 * 1024, io::stdout().lock());
    let mut out = output::Plain::new(out, form);
    match write(&mut out).and_then(|()| out.flush()) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(e) => Err(format!("writing the output: {e}")),
        Ok(()) => Ok(()),
    }
}

/// Says something beside the output, on standard error.
pub(super) fn say(text: &str) {
    let _ = writeln!(io::stderr(), "kptop: {}", output::visible(text));
}

/// An error with what to do next.
pub(super) fn with_hint(e: &crate::snapshot::Error) -> String {
    match e.hint() {
        Some(hint) if !e.to_string().contains(&hint) => format!("{e}\n  -> {hint}"),
        _ => e.to_string(),
    }
}
