//! kptop: `top` for Kubernetes Services on one node.
//!
//! Data flows one way: [`kernel`] reads bytes, [`snapshot`] holds the facts of one instant, [`proxy`] finds
//! the Services in them, [`rates`] compares two instants, and the faces ([`tui`], [`output`], [`cli`]) show
//! it. See ARCHITECTURE.md.

pub mod cli;
#[cfg(test)]
mod fuzz;
pub mod kernel;
pub mod lab;
pub mod output;
pub mod proxy;
pub mod rates;
pub mod ruleset;
pub mod snapshot;
pub mod tui;
