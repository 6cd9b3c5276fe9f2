//! kptop: `top` for Kubernetes Services on one node.
//!
//! Data flows one way: [`kernel`] reads bytes, [`snapshot`] holds the facts of one instant, [`proxy`] finds
//! the Services in them, [`rates`] compares two instants, [`doctor`] says what is wrong, [`changes`] what is new, and the faces ([`tui`],
//! [`output`], [`cli`]) show it. See ARCHITECTURE.md.

pub mod api;
pub mod bench;
pub mod changes;
pub mod cli;
pub mod columns;
pub mod config;
pub mod cost;
pub mod doctor;
pub mod drops;
pub mod explain;
pub mod format;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod input;
pub mod kernel;
pub mod lab;
pub mod observe;
pub mod output;
pub mod plain;
pub mod proxy;
pub mod rates;
pub mod recording;
pub mod replay;
pub mod ruleset;
pub mod snapshot;
pub mod tui;
pub mod walk;
mod window;
