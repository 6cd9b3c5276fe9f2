//! All nodes' Services, out of what a store of metrics gathered of `kptop serve`: Prometheus, or another one that answers its query API
//! (Thanos, Mimir, VictoriaMetrics).
//!
//! | file | holds |
//! |---|---|
//! | `query` | what is asked (PromQL), and how an answer is read |
//! | `model` | nodes and Services, as they are shown |
//! | `gather` | which questions make them, and in which order |
//! | `cells` | rows of text, for the screen and for print |
//!
//! The store adds up: 100 nodes with 1,000 Services have a million series, of which some thousand numbers come back.

mod cells;
mod gather;
mod model;
mod query;

pub use cells::{
    Head, NODE_HEADS, PLACE_HEADS, SERVICE_HEADS, node_cells, node_state, place_cells, service_cells,
    state_text, totals,
};
pub use gather::{ServiceOnNode, Store, gather, service_on_nodes};
pub use model::{Difference, Fleet, FleetNode, FleetService, Found, ServiceKey};
pub use query::{Scope, Series, answer};
