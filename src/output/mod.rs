//! Text, JSON and CSV.

#[cfg(feature = "lab")]
mod bench;
mod changes;
mod compare;
mod csv;
mod diff;
mod doctor;
mod drops;
mod explain;
mod files;
mod fleet;
mod json;
mod openmetrics;
mod proxy;
mod table;

pub use crate::plain::{Form, Plain, one_line, visible};
#[cfg(feature = "lab")]
pub use bench::{BenchSetup, write_bench, write_bench_csv, write_bench_json, write_bench_markdown};
pub use changes::{write_changes, write_changes_json};
pub use compare::{write_comparison, write_comparison_json, write_moving};
pub use csv::write_snapshot as write_snapshot_csv;
pub use diff::{write_diff, write_diff_json};
pub use doctor::{examination_line, write_examination, write_examination_json, write_finding};
pub use drops::{write_drops, write_drops_head, write_drops_json, write_drops_lines};
pub use explain::{write_explanation, write_explanation_json};
pub use files::{write_files, write_files_json};
pub use fleet::{write_fleet, write_fleet_json};
pub use json::write_snapshot as write_snapshot_json;
pub use openmetrics::{Cardinality, METRICS, Metric, Samples, open_metrics, prometheus_text, samples};
pub use table::write_snapshot as write_snapshot_table;
pub use table::{Align, Columns};
