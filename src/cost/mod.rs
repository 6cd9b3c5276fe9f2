//! What a lookup costs: from a walk's path to nanoseconds, by prices that this node measured (`kptop calibrate`) or by
//! stated defaults; and the same Services under every mode.

mod compare;
mod lookup;
mod moving;
mod one_packet;
mod prices;

pub use compare::{Comparison, Gain, ModeFigures, Spread, compare_modes, cost_over_services};
pub use lookup::{Lookup, lookups};
pub use moving::{Difference, moving};
pub use one_packet::{HOOKS, OnePacket, PacketCost, one_packet};
pub use prices::{Calibration, EnginePrices, Price, Prices, PricesFrom, Sample, VERSION, fit};
