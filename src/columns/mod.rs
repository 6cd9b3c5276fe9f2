//! The one table of columns: name, unit, meaning, width and value of each. It feeds the panes, sorting, filters,
//! text output and CSV, so that a figure is the same wherever it is.

mod backends;
mod column;
mod filter;
mod services;
mod together;

pub use backends::{API_ONLY, BACKENDS, BackendRow, Backends};
pub use column::{Column, NEVER, Rows, Shape, Value, csv_field};
use column::{figure, words};
pub use filter::{Filter, help as filter_help};
pub use services::{SERVICES, ServiceRow, Services, expected_share, lost_share, skew};
pub use together::together;
