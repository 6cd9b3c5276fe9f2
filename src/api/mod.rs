//! What the Kubernetes API reports of Services: names, endpoints, this node. Optional everywhere: without it kptop
//! shows what the kernel says.

mod client;
mod cluster;
mod endpoints;
mod errors;
mod objects;
mod signs;
mod watch;

pub use cluster::{
    ApiState, Cluster, ClusterEndpoint, ClusterNode, ClusterPort, ClusterService, Removed, Trouble,
};
pub use objects::{node, read_list, service, slice};
pub use watch::{ApiOptions, ApiWatch};
