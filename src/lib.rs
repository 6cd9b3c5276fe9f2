//! kptop: `top` for Kubernetes Services on one node.
//!
//! Data flows one way: [`kernel`] reads bytes, [`snapshot`] holds the facts of one instant, [`proxy`] finds
//! the Services in them, [`rates`] compares two instants, [`doctor`] says what is wrong, [`changes`] what is new, and the frontends ([`tui`],
//! [`output`], [`cli`]) show it. See ARCHITECTURE.md.

pub mod api;
#[cfg(feature = "lab")]
pub mod bench;
pub mod by_hand;
pub mod changes;
pub mod cli;
pub mod columns;
pub mod config;
pub mod cost;
pub mod doctor;
pub mod drops;
mod exit;
pub mod explain;
pub mod fleet;
pub mod format;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
pub mod health;
mod input;
pub mod kube_proxy;
#[cfg(feature = "lab")]
pub mod lab;
pub mod nodes;
pub mod observe;
pub mod output;
pub mod plain;
pub mod proxy;
pub mod rates;
pub mod reach;
pub mod recording;
pub mod replay;
mod signals;
pub mod snapshot;
pub mod tool_text;
pub mod tui;
pub mod walk;
mod window;

#[cfg(all(feature = "lab", not(target_os = "linux")))]
compile_error!("kptop's demo, calibrate and bench need Linux: build with --no-default-features");

pub use nf_kernel as kernel;
pub use nf_ruleset as ruleset;
