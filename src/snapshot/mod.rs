//! All facts of one instant of one network namespace, and what could not be read and why.
//!
//! Left of here is Linux, right of here is pure: what follows works on a live node, a recording or files
//! alike.

mod drop_watch;
pub mod dump;
mod flow_events;
mod flows;
mod hns;
mod latencies;
pub mod live;
mod reading;
mod service_maps;
mod source;
mod waker;
mod way;

pub use crate::kernel::Error;
pub use drop_watch::{DropBatch, DropWatch, GUARD, guard};
pub use dump::InputPart;
pub use flow_events::{FlowEvents, FlowTurnover, FlowWatch};
pub use flows::{
    FlowFigures, FlowKey, Flows, Followed, MAX_ASTRAY, MAX_FOLLOWED, MAX_GROUPS, MAX_SOURCES,
    ProtocolFigures, SourceFlows, TCP_STATES, UntranslatedFlow,
};
pub use hns::{Hns, HnsEndpoint, HnsLoadBalancer};
pub use latencies::Latencies;
pub use reading::{
    Conntrack, MemoryList, NetnsFact, ReadCost, Reading, Recent, Remembered, RememberedClient, Snapshot,
    TableState, facts,
};
pub use service_maps::{LAYOUTS, MapKind, MapLayout, address_at, is_service_map, layout_of, with_addresses};
pub use source::{SourceId, Unread, UnreadKind};
pub use way::{Obstacle, leaves_by, obstacle, routes_beyond};
