//! Dropped packets: by reason, place and Service. Pure.

mod counted;
mod tally;

pub use counted::{Counted, counted};
pub use tally::{Drops, Group, Owner, Role, Seen, Tally, is_loss, packet_text, service_of};
