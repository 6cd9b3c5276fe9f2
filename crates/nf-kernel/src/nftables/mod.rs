//! nf_tables by nfnetlink: what `nft` and `iptables-nft` read and (in the lab) write
//! (`linux/netfilter/nf_tables.h`, `net/netfilter/nf_tables_api.c`).
//!
//! A picture is consistent when every message carries the same generation (its low 16 bits are in each
//! `nfgenmsg`), no dump was marked interrupted, and the generation is the same before and after.

#[cfg(any(feature = "write", feature = "fuzzing"))]
mod attributes;
mod data;
mod decode;
#[cfg(any(feature = "write", feature = "fuzzing"))]
mod encode;
mod events;
#[cfg(any(feature = "write", feature = "fuzzing"))]
mod expressions;
#[cfg(feature = "fuzzing")]
pub mod fuzzed;
mod growing;
mod messages;
mod parse;
mod read;

#[cfg(feature = "write")]
pub use encode::{create, delete};
pub use events::{Events, Writer, Writers};
pub use growing::Reading;
use messages::{Index, SUBSYSTEM, message};
pub use read::{Client, Ruleset};
