//! Private network namespaces with a node, its pods and an outside client; what kptop's own writers install
//! there, and bounded traffic. Used by the demo and by the kernel tests.
//!
//! The one room that writes to a kernel, and only inside namespaces that it made itself. They have no names
//! and no way out, and end with their last thread and descriptor: nothing stays behind, also when killed.

mod addresses;
mod faults;
pub mod http;
mod install;
mod links;
pub mod measure;
mod namespaces;
mod objects;
pub mod packets;
pub mod shop;
mod traffic;

pub use addresses::{CLIENT_IP, FRIEND_IP, NODE_IP, NODE_IP6, POD_CIDR, POD_CIDR6};
use addresses::{parse, sysctl};
pub use faults::Fault;
pub use install::{install_table, put, put_beside_ipvs, put_ipvs, put_ipvs_mode, written};
use namespaces::new_netns;
pub use namespaces::{Lab, LabOptions, become_root_if_needed, inside};
pub use traffic::{BackendKey, Counted, Counts, Origin, Plan, Stream};
