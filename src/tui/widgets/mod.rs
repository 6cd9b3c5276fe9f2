//! Small pieces of a screen.

mod chart;
mod grid;
mod histogram;
mod pieces;
mod spark;

pub(super) use chart::chart;
pub(super) use grid::{columns_that_fit, draw_list, heads, read_lines};
pub(super) use histogram::histogram;
pub(super) use pieces::{part, put, width};
pub(super) use spark::{bar, difference_bar, shade, shade_tops, sparkline, sparkline_to, top_of};
