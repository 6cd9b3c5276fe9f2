//! Text and JSON.

mod json;
mod table;

pub use json::write_snapshot as write_snapshot_json;
pub use table::write_snapshot as write_snapshot_table;
pub use table::{Align, Columns};
