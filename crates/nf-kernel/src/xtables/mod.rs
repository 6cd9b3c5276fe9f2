//! x_tables of the IP families by socket options: what `iptables-legacy` reads and writes
//! (`linux/netfilter_ipv4/ip_tables.h`, `linux/netfilter_ipv6/ip6_tables.h`, `linux/netfilter/x_tables.h`).
//!
//! A table is one blob. It is read into one buffer that is kept; a fingerprint of everything but its counters
//! says whether the structure has to be decoded again.

mod arp;
mod bridge;
mod decode;
mod encode;
pub(super) mod extensions;
mod layout;
mod reader;
#[cfg_attr(not(all(feature = "live", target_os = "linux")), path = "../elsewhere/xtables.rs")]
mod socket;

pub use arp::ArpReader;
pub use bridge::BridgeReader;
pub use decode::{Decoded, EntryRole, decode};
pub use encode::{EncodedTable, blob_size, encode};
pub use layout::TableInfo;
use reader::{LISTS, TRIES, TableCache};
pub use reader::{Reading, TableReader, table_names};
pub use socket::Socket;
