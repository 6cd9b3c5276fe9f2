//! `bpf(2)` for a program that reads no kernel.

use crate::{Error, Result};
use std::fs::File;

const WHAT: &str = "asking for eBPF programs";

pub(super) fn query(_target: u32, _attach_type: u32, _effective: bool) -> Result<Vec<u32>> {
    Err(Error::elsewhere(WHAT))
}

pub(super) fn query_at(_cgroup: &File, _attach_type: u32, _effective: bool) -> Result<Vec<u32>> {
    Err(Error::elsewhere(WHAT))
}

pub(super) fn after(_id: u32) -> Result<u32> {
    Err(Error::elsewhere(WHAT))
}

pub(super) fn name(_id: u32) -> Result<Option<String>> {
    Err(Error::elsewhere(WHAT))
}
