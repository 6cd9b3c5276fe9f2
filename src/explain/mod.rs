//! What happens to a packet to a Service or an address: the question as people ask it, the walk, and its answer in
//! lines that every frontend shows.

mod answer;
mod by_maps;
mod destination;
mod lines;

pub use answer::{Ending, Explanation, Sender, explain, verdict};
pub(crate) use destination::address;
pub use destination::{Destination, destinations, frontend_destination};
pub use lines::{Line, LineKind, percent};
