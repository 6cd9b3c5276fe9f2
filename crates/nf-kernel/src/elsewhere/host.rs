//! The host of a program that reads no kernel.

use super::InterfaceAddress;
use crate::{Error, Result};

/// The host's name, as its shell has it.
pub fn hostname() -> Option<String> {
    ["HOSTNAME", "COMPUTERNAME"].iter().find_map(|name| std::env::var(name).ok()).filter(|n| !n.is_empty())
}

pub(super) fn kernel() -> Option<String> {
    None
}

pub(super) fn cpus() -> Option<usize> {
    None
}

pub(super) fn memory_bytes() -> Option<u64> {
    None
}

pub(super) fn cpu_model() -> Option<String> {
    None
}

pub(super) fn addresses() -> Result<Vec<InterfaceAddress>> {
    Err(Error::elsewhere("reading the node's addresses"))
}
