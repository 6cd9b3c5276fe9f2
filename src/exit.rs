//! Exit codes of the program; 0 is fine.

/// Something was found: a fault, a difference.
pub(crate) const FINDINGS: u8 = 1;
/// Could not do it.
pub(crate) const FAILED: u8 = 2;
