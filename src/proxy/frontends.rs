//! Services by where they are reached.

use super::Model;
use crate::snapshot::Snapshot;
use std::collections::HashMap;
use std::net::IpAddr;

/// Where Services at work are reached.
#[derive(Debug, Default)]
pub struct Frontends {
    /// A node port stands on every address of the node: a key without an address.
    at: HashMap<(u8, Option<IpAddr>, u16), usize, foldhash::fast::FixedState>,
    own: Vec<IpAddr>,
}

impl Frontends {
    /// Of a model.
    pub fn new(snapshot: &Snapshot, model: &Model) -> Frontends {
        let own = snapshot.addresses.iter().map(|a| a.address).collect();
        let mut frontends = Frontends { own, ..Frontends::default() };
        for (i, s) in model.services.iter().enumerate().filter(|(_, s)| !s.leftover) {
            for f in &s.frontends {
                frontends.at.insert((s.protocol.number(), f.address, f.port), i);
            }
        }
        frontends
    }

    /// The Service that is reached here, by its place in the model.
    pub fn find(&self, protocol: u8, address: IpAddr, port: u16) -> Option<usize> {
        let at = |address| self.at.get(&(protocol, address, port)).copied();
        at(Some(address)).or_else(|| at(None).filter(|_| self.own.contains(&address)))
    }
}
