//! Prices of lookups that `kptop calibrate` kept.

use crate::cost::{Calibration, Prices};
use crate::snapshot::facts::node_identity;
use std::path::PathBuf;
use std::sync::Arc;

/// Where prices are kept.
pub(super) fn default_file() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|p| p.is_absolute());
    let home = || std::env::var_os("HOME").map(|h| PathBuf::from(h).join(".local/state"));
    Some(state.or_else(home)?.join("kptop/calibration.json"))
}

/// Prices of lookups: those that `kptop calibrate` kept for this kernel and CPU, else the defaults.
pub(super) fn prices() -> Arc<Prices> {
    let text = default_file().and_then(|f| std::fs::read_to_string(f).ok());
    let kept: Option<Calibration> = text.and_then(|t| serde_json::from_str(&t).ok());
    let (kernel, cpu) = node_identity();
    Arc::new(Prices::choose(kept, kernel.as_deref(), cpu.as_deref()))
}
