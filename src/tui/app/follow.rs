//! From a finding or a change to what it is about, and back.

use super::{App, Section, TableRow};
use crate::changes::{About, Change};
use crate::config::PaneName;
use crate::doctor::Subject;
use crate::rates::service_key;
use crate::tui::reader::Update;

impl App {
    pub(super) fn open_finding(&mut self) {
        let Some(u) = self.update.clone() else { return };
        match u.examination.findings.get(self.findings.chosen).map(|f| &f.subject) {
            Some(Subject::Service(i)) => self.go_to_service(*i, Section::Backends),
            Some(Subject::Rule(r)) => self.go_to_rule(r.table, r.rule),
            Some(Subject::Table(i)) => {
                self.show(PaneName::Rules);
                self.choose_row(TableRow::Table(*i));
            }
            Some(Subject::Node) => self.message = Some("this is about the node as a whole".into()),
            None => {}
        }
        if self.pane != PaneName::Findings {
            self.came_from = Some(PaneName::Findings);
        }
    }

    /// Goes to the Service that a change is about.
    pub(super) fn open_change(&mut self) {
        let Some(u) = self.update.clone() else { return };
        let Some(change) = u.changes.all().rev().nth(self.changes.chosen) else { return };
        if let Some(i) = changed_service(&u, change) {
            self.go_to_service(i, Section::Backends);
        } else if let Some(i) = changed_table(&u, change) {
            self.show(PaneName::Rules);
            self.choose_row(TableRow::Table(i));
        } else {
            self.message = Some("this is about nothing that is there now".into());
            return;
        }
        self.came_from = Some(PaneName::Changes);
    }

    /// Opens a Service, whatever the filters hold back.
    pub(super) fn go_to_service(&mut self, i: usize, section: Section) {
        self.show(PaneName::Services);
        if !self.rows.contains(&i) {
            self.clear_filters();
        }
        self.chosen_key = self.update.as_ref().and_then(|u| u.model.services.get(i)).map(service_key);
        self.arrange();
        self.show_section(section);
    }
}

/// The Service that a change is about, where it is there.
pub(in crate::tui) fn changed_service(u: &Update, change: &Change) -> Option<usize> {
    let About::Service(key) = change.about else { return None };
    u.model.services.iter().position(|s| service_key(s) == key)
}

/// The table that a change is about, where it is there.
pub(in crate::tui) fn changed_table(u: &Update, change: &Change) -> Option<usize> {
    let About::Table(backend, family, name) = &change.about else { return None };
    u.snapshot.tables.iter().position(|t| (t.backend, t.family, &t.table.name) == (*backend, *family, name))
}
