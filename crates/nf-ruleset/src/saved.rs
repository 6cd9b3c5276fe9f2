//! What reading text gives.

use crate::{Table, TableCounters};

/// A table that was read from text, with the counters that was there (0 where the text had none).
#[derive(Debug)]
pub struct SavedTable {
    /// Structure.
    pub table: Table,
    /// Counters.
    pub counters: TableCounters,
}

/// What could not be read, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct ParseError {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}
