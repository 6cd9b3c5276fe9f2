//! What is shown from outside a pane.

use super::section::Section;
use crate::explain::Sender;
use crate::proxy::{Mode, RuleRef};

/// What is shown from outside a pane: what another pane leads to, and what a jump came from.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Request {
    /// A Service, by its index in the model, at a section.
    Service(usize, Section),
    /// The path of a packet to a Service, from a sender to one of its frontends.
    Path(usize, Sender, usize),
    /// A Service, and the frontend and sender whose path is asked for next.
    Frontend(usize, Sender, usize),
    /// A Service, at one of its backends.
    Backend(usize, usize),
    /// The list of Services with this search.
    Search(String),
    /// The opened Service once more, at a section and a line.
    SameService(Section, usize),
    Rule(RuleRef),
    Table(usize),
    /// A row of the tree of tables, by its name and index, and a rule in it.
    TableRow(usize, u32, usize),
    /// Columns of the list of Services, in order; `None` for the default.
    Columns(Option<Vec<usize>>),
    /// The list of Services of one namespace; `None` for all.
    Namespace(Option<String>),
    /// The list of Services of one mode; `None` for all.
    Mode(Option<Mode>),
    /// The list of Services sorted by this column.
    SortBy(usize),
    /// Whatever holds Services back is taken away.
    ClearFilters,
}
