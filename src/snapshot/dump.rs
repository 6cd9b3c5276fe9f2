//! Snapshots out of files that other tools wrote.

use super::Snapshot;
use std::path::PathBuf;

/// Reads files and directories.
pub fn read(paths: &[PathBuf]) -> Result<Snapshot, String> {
    Err(format!("{} paths: not yet", paths.len()))
}
