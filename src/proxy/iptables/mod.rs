//! kube-proxy's iptables mode: rules -> Services and Services -> rules.
//!
//! Source of every chain and comment: `pkg/proxy/iptables/proxier.go` of kube-proxy 1.20 to 1.36, and the
//! rules that 1.20.2 and 1.36.2 wrote (`tests/rules`).

mod chains;
mod old;
mod read;
mod write;

pub use read::{Indexed, read};
pub use write::{WriteOptions, always_written, observable, write};

use super::chain;
