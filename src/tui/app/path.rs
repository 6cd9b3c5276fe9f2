//! The path of a packet to the opened Service: who asks, and to which frontend.

use super::{App, Origin, Section};
use crate::config::PaneName;
use crate::explain::{Line, LineKind};
use crate::explain::{Sender, explain, frontend_destination};

/// Who asks for the path of a packet, and to which frontend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tui) struct Asked {
    pub(in crate::tui) sender: Sender,
    pub(in crate::tui) frontend: usize,
    /// The end whose way is shown.
    pub(in crate::tui) ending: usize,
}

impl Default for Asked {
    fn default() -> Asked {
        Asked { sender: Sender::Pod, frontend: 0, ending: 0 }
    }
}

impl App {
    /// Shows the path; where it is shown already, that of the next sender.
    pub(super) fn ask_path(&mut self) {
        if self.pane == PaneName::Services && self.opened == Some(Section::Path) {
            self.asked.sender = match self.asked.sender {
                Sender::Pod => Sender::Outside,
                Sender::Outside => Sender::Node,
                _ => Sender::Pod,
            };
            self.asked.ending = 0;
            self.below.go_to_top();
            self.find_path();
        } else if self.pane == PaneName::Services {
            (self.asked.frontend, self.asked.ending) = (0, 0);
            self.show_section(Section::Path);
        } else if let Some(i) = self.finding_service() {
            (self.asked.frontend, self.asked.ending) = (0, 0);
            self.go_to_service(i, Section::Path);
            self.came_from = Some(PaneName::Findings);
        } else if self.pane == PaneName::Drops {
            self.explain_drop();
        } else {
            self.message = Some("choose a Service in the pane Services: e explains the path to it".into());
        }
    }

    /// The Service that the chosen finding is about.
    fn finding_service(&self) -> Option<usize> {
        let u = self.update.as_ref().filter(|_| self.pane == PaneName::Findings)?;
        match u.examination.findings.get(self.findings.chosen)?.subject {
            crate::doctor::Subject::Service(i) => Some(i),
            _ => None,
        }
    }

    pub(super) fn next_frontend(&mut self) {
        if self.opened != Some(Section::Path) {
            self.message = Some("f goes through the frontends in the section Path of a Service".into());
            return;
        }
        let count = self.chosen_service().map_or(1, |s| s.frontends.len());
        self.asked.frontend = (self.asked.frontend + 1) % count.max(1);
        self.asked.ending = 0;
        self.below.go_to_top();
        self.find_path();
    }

    /// Walks the packet that is asked for, where its path is on the screen.
    pub(super) fn find_path(&mut self) {
        self.path.clear();
        if self.opened != Some(Section::Path) {
            return;
        }
        let (Some(u), Some(i)) = (&self.update, self.chosen()) else { return };
        let frontends = u.model.services.get(i).map_or(0, |s| s.frontends.len());
        let frontend = self.asked.frontend.min(frontends.saturating_sub(1));
        let remark = |text: String| Line {
            kind: LineKind::Note,
            place: String::new(),
            text,
            figure: String::new(),
            rule: None,
            ending: None,
        };
        self.path = match frontend_destination(&u.snapshot, &u.model, i, frontend) {
            None => vec![remark(
                "There is no address to ask: the Service has none, or the node's own were not read.".into(),
            )],
            Some(to) => match explain(&u.snapshot, &u.model, &to, self.asked.sender, None) {
                Ok(answer) => answer.lines(&u.snapshot, &u.model, self.asked.ending),
                Err(why) => vec![remark(why)],
            },
        };
    }

    /// Goes to the rule of the chosen step, or shows the way to the chosen end.
    pub(super) fn enter_path(&mut self) {
        let Some(line) = self.path.get(self.below.chosen) else { return };
        match (line.rule, line.ending) {
            (Some(r), _) => {
                self.jumps.push(Origin::Path(self.below.chosen));
                self.go_to_rule(r.table, r.rule);
            }
            (None, Some(end)) => {
                self.asked.ending = end;
                self.find_path();
            }
            (None, None) => self.message = Some("Enter on an end shows its way, on a rule goes there".into()),
        }
    }
}
