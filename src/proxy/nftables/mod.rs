//! kube-proxy's nftables mode: table `kube-proxy` -> Services and back.
//!
//! Source of every chain, set and map: `pkg/proxy/nftables/proxier.go` of kube-proxy 1.29 to 1.36, and the
//! rules that 1.30 to 1.36 wrote (`tests/rules`). Nothing in them counts.

mod expressions;
mod names;
mod observable;
mod read;
mod write;

pub use names::TABLE;
use names::parse_base;
pub(crate) use names::{chain_base, endpoint_base, name};
pub use observable::observable;
pub use read::read;
pub use write::{WriteOptions, write};
