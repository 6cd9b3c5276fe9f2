//! What the pane Drops shows: the drop monitor while it is on, and counters since the screen began.

use super::{App, Section};
use crate::config::PaneName;
use crate::drops::{Counted, Drops, Role, counted, service_of};
use crate::explain::Sender;
use crate::rates::NodeRates;
use crate::snapshot::facts::DroppedPacket;
use crate::snapshot::{DropBatch, Snapshot};
use crate::tui::reader::Order;
use std::sync::Arc;

/// The drop monitor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::tui) enum Monitor {
    #[default]
    Off,
    On,
    /// It could not be switched on.
    Failed(String),
}

/// What is kept for the pane.
#[derive(Debug, Default)]
pub(in crate::tui) struct Dying {
    pub(in crate::tui) monitor: Monitor,
    pub(in crate::tui) drops: Drops,
    pub(in crate::tui) counted: Vec<Counted>,
    first: Option<(Arc<Snapshot>, Arc<NodeRates>)>,
}

impl App {
    /// Takes a reading.
    pub(super) fn find_dying(&mut self) {
        let Some(u) = &self.update else { return };
        let (snapshot, node) =
            self.dying.first.get_or_insert_with(|| (u.snapshot.clone(), u.node.clone())).clone();
        self.dying.counted = counted((&snapshot, &node), (&u.snapshot, &u.node));
    }

    /// Switches the drop monitor on or off.
    pub(super) fn switch_monitor(&mut self) {
        if self.moment().is_some_and(|m| !m.live) {
            self.message = Some("packets die on a live node: this is a recording, or files".into());
            return;
        }
        let on = self.dying.monitor != Monitor::On;
        self.orders.push(Order::Monitor(on));
        if on {
            self.dying.drops = Drops::default();
            self.show(PaneName::Drops);
        } else {
            self.dying.monitor = Monitor::Off;
            self.message = Some("the drop monitor is off again".into());
        }
    }

    /// What became of the wish to switch it on.
    pub fn monitor_is(&mut self, result: Result<(), String>) {
        self.dying.monitor = match result {
            Ok(()) => Monitor::On,
            Err(why) => Monitor::Failed(why),
        };
    }

    /// Takes dropped packets.
    pub fn on_drops(&mut self, batch: DropBatch) {
        let Some(u) = &self.update else { return };
        // The chosen line stays chosen while others overtake it.
        let chosen = self.dying.drops.groups().get(self.drops.chosen).map(|(g, _)| (*g).clone());
        self.dying.drops.add(batch, &u.snapshot, &u.model.services);
        let now = chosen.and_then(|c| self.dying.drops.groups().iter().position(|(g, _)| **g == c));
        self.drops.chosen = now.unwrap_or(self.drops.chosen);
    }

    /// Groups on the screen, with their examples.
    pub(super) fn explain_drop(&mut self) {
        let groups = self.dying.drops.groups();
        let Some((_, tally)) = groups.get(self.drops.chosen) else {
            self.message = Some("w switches the drop monitor on and off".into());
            return;
        };
        let example = tally.example.clone();
        self.explain_packet(&example);
    }

    /// Opens the path of a packet like this one.
    fn explain_packet(&mut self, d: &DroppedPacket) {
        let Some(u) = self.update.clone() else { return };
        let services = &u.model.services;
        let found = d.packet.as_ref().and_then(|h| Some((h, service_of(h, &u.snapshot, services)?)));
        let Some((h, (i, role))) = found else {
            self.message =
                Some("this packet is of no Service: kptop explain ADDRESS:PORT tells its way".into());
            return;
        };
        self.go_to_service(i, Section::Path);
        // An answer goes back the way that its question came.
        let sender = if role == Role::Answer { h.destination } else { h.source };
        let frontends = &u.model.services[i].frontends;
        let frontend = frontends.iter().position(|f| {
            role == Role::ToService
                && h.ports.is_some_and(|p| p.1 == f.port)
                && f.address.is_none_or(|a| a == h.destination)
        });
        self.came_from = Some(PaneName::Drops);
        self.asked.sender = Sender::Address(sender);
        (self.asked.frontend, self.asked.ending) = (frontend.unwrap_or(0), 0);
        self.find_path();
    }
}
