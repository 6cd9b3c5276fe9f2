//! Private network namespaces with a node, its pods and an outside client; what kptop's own writers install
//! there, and bounded traffic. Used by the demo and by the kernel tests.
//!
//! The one room that writes to a kernel, and only inside namespaces that it made itself. They have no names
//! and no way out, and end with their last thread and descriptor: nothing stays behind, also when killed.

pub mod http;
mod links;
pub mod measure;
mod namespaces;
pub mod packets;
pub mod shop;
mod traffic;

pub use namespaces::{
    CLIENT_IP, FRIEND_IP, Lab, LabOptions, NODE_IP, NODE_IP6, POD_CIDR, POD_CIDR6, become_root_if_needed,
    inside, install_table, put, put_ipvs, written,
};
use namespaces::{new_netns, parse, sysctl};
pub use traffic::{BackendKey, Counted, Counts, Origin, Plan, Stream};
