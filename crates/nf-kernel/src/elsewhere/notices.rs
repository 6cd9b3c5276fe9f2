//! Notices for a program that reads no kernel: there are none.

use crate::netlink::Message;
use crate::{Error, Result, Step};
use std::convert::Infallible;
use std::time::Duration;

/// A socket that has joined groups: here there is none.
#[derive(Debug)]
pub struct Listener(Infallible);

impl Listener {
    /// # Errors
    /// Always: [`ErrorKind::Elsewhere`](crate::ErrorKind::Elsewhere).
    pub fn join(protocol: isize, groups: &[u32], room: usize) -> Result<Listener> {
        Listener::join_filtered(protocol, groups, room, &[])
    }

    /// As [`Listener::join`].
    pub fn join_filtered(
        protocol: isize,
        _groups: &[u32],
        _room: usize,
        _program: &[Step],
    ) -> Result<Listener> {
        Err(Error::elsewhere(format!("listening to the kernel (netlink protocol {protocol})")))
    }

    pub(super) fn set_member(&mut self, _group: u32, _join: bool) -> Result<()> {
        match self.0 {}
    }

    pub(super) fn filter(&mut self, _program: &[Step]) -> Result<()> {
        match self.0 {}
    }

    /// Never called.
    pub fn wait(&self, _time: Duration) -> Result<bool> {
        match self.0 {}
    }

    /// Never called.
    pub fn receive(&mut self, _each: &mut dyn FnMut(Message<'_>)) -> Result<()> {
        match self.0 {}
    }

    /// Never called.
    pub fn lost(&self) -> u64 {
        match self.0 {}
    }
}
