//! What kube-proxy says of itself, by HTTP on loopback: its configuration, its metrics, its health. Optional everywhere, as
//! [`crate::api`]: without it kptop shows what the kernel says.

mod ask;
mod parse;
mod process;
mod report;
mod watch;

pub use parse::{config, health, metrics};
pub use process::Process;
pub use report::{Answer, Config, FamilyHealth, Healthz, KubeProxy, Metrics, Syncs};
pub use watch::KubeProxyWatch;
