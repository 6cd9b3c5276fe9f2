//! Where no shell stops jobs.

use super::Result;

/// Does nothing.
pub fn stop(_group: bool) -> Result<()> {
    Ok(())
}
