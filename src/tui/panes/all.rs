//! The list of panes.

use super::{changes, compare, conntrack, drops, findings, overview, rules, services};
use crate::config::{PaneName, ServicesConfig};
use crate::tui::pane::Pane;

/// Makes a pane.
pub(in crate::tui) fn make(name: PaneName, config: &ServicesConfig) -> Box<dyn Pane> {
    match name {
        PaneName::Overview => Box::new(overview::Overview::default()),
        PaneName::Services => Box::new(services::Services::new(config)),
        PaneName::Rules => Box::new(rules::Rules::default()),
        PaneName::Compare => Box::new(compare::Compare::default()),
        PaneName::Conntrack => Box::new(conntrack::ConntrackPane::new()),
        PaneName::Findings => Box::new(findings::Findings::default()),
        PaneName::Changes => Box::new(changes::Changes::default()),
        PaneName::Drops => Box::new(drops::DropsPane::default()),
    }
}
