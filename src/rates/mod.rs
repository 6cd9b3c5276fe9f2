//! Two snapshots -> figures per second, or the reason why there is none.

mod delta;
mod history;
mod losses;
mod no_rate;
mod node;
mod rate;
mod recent;
mod rules;
mod session;
mod values;

pub use delta::{Delta, Rise, TableDelta};
pub use history::History;
pub use losses::Losses;
pub(crate) use no_rate::SHORTEST;
pub use no_rate::{NoRate, Rate, rate_text};
pub use node::{Cause, CauseKind, ConntrackRates, NodeRates, StatRates};
pub use rate::{Tracker, service_key};
pub use recent::{HISTORY, Recent};
pub use rules::RuleRates;
pub use session::Session;
pub use values::{BackendRates, Rates, ServiceRates};
