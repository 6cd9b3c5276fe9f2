//! The socket of a program that reads no kernel.

use super::{Message, Request};
use crate::{Error, Result};
use std::convert::Infallible;

/// A netlink socket: here there is none.
#[derive(Debug)]
pub struct Socket(Infallible);

impl Socket {
    /// # Errors
    /// Always: [`ErrorKind::Elsewhere`](crate::ErrorKind::Elsewhere).
    pub fn open(protocol: isize) -> Result<Socket> {
        Socket::open_with(protocol, 0)
    }

    /// As [`Socket::open`].
    pub fn open_with(protocol: isize, _buffer: usize) -> Result<Socket> {
        Err(Error::elsewhere(format!("opening a netlink socket (protocol {protocol})")))
    }

    /// Never called.
    pub fn dump(&mut self, _what: &str, _request: Request, _each: &mut dyn FnMut(Message<'_>)) -> Result<()> {
        match self.0 {}
    }

    /// Never called.
    pub fn request(
        &mut self,
        _what: &str,
        _request: Request,
        _each: &mut dyn FnMut(Message<'_>),
    ) -> Result<()> {
        match self.0 {}
    }

    /// Never called.
    pub fn ask(&mut self, _what: &str, _request: Request, _each: &mut dyn FnMut(Message<'_>)) -> Result<()> {
        match self.0 {}
    }
}
