//! Privileges, for a program that reads no kernel: it has none that it could give up.

use super::Result;

/// Nothing to give up.
pub fn keep_reading(_entering: bool, _monitoring: bool) -> Result<()> {
    Ok(())
}

/// Nothing to give up.
pub fn keep_reading_only() -> Result<()> {
    Ok(())
}

/// Nothing to give up.
pub fn keep_files_only() -> Result<()> {
    Ok(())
}

/// No system call is refused here.
pub fn run_no_program() -> Result<()> {
    Ok(())
}

/// None.
pub fn active() -> Vec<String> {
    Vec::new()
}
