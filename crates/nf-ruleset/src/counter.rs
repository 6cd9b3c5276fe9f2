//! What rules and policies count.

use serde::{Deserialize, Serialize};

/// Packets and bytes that a rule or a policy has seen.
///
/// What that means depends on the table: a rule in `nat` sees the first packet of each flow only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Counter {
    /// Packets.
    pub packets: u64,
    /// Bytes, IP header included.
    pub bytes: u64,
}
