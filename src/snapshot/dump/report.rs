//! What was used of the files that were given.

use serde::{Deserialize, Serialize};

/// A part of what was given: the output of one command.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputPart {
    /// The file, with its place in an archive.
    pub file: String,
    /// What it was taken for: `iptables-save`.
    pub form: String,
    /// The command that printed it, where the text says it.
    pub command: Option<String>,
    /// Lines.
    pub lines: u64,
    /// Of them, those that were not used.
    pub unused: u64,
    /// What is to be said of it.
    pub notes: Vec<String>,
}
