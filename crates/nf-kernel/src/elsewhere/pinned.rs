//! Pinned maps of a program that reads no kernel.

use super::BpfMap;
use crate::{Error, Result};
use std::path::Path;

/// # Errors
/// Always: no bpffs is mounted here.
pub fn is_bpffs(_path: &Path) -> std::io::Result<bool> {
    Err(std::io::ErrorKind::Unsupported.into())
}

/// # Errors
/// Always: [`ErrorKind::Elsewhere`](crate::ErrorKind::Elsewhere).
pub fn read_pinned(_path: &Path) -> Result<BpfMap> {
    Err(Error::elsewhere("opening a pinned eBPF map"))
}
