//! Sockets of x_tables, for a program that reads no kernel.

use super::layout::{ArpInfo, BridgeInfo, TableInfo};
use crate::{Error, Result};
use nf_ruleset::IpFamily;
use std::convert::Infallible;

/// A socket through which one family's tables are read: here there is none.
#[derive(Debug)]
pub struct Socket(Infallible);

impl Socket {
    /// # Errors
    /// Always: [`ErrorKind::Elsewhere`](crate::ErrorKind::Elsewhere).
    pub fn open(family: IpFamily) -> Result<Socket> {
        Err(Error::elsewhere(format!("opening an {family} socket")))
    }

    /// Never called.
    pub fn info(&self, _table: &str) -> Result<TableInfo> {
        match self.0 {}
    }

    /// Never called.
    pub fn entries(&self, _info: &TableInfo, _buffer: &mut Vec<u8>) -> Result<bool> {
        match self.0 {}
    }

    /// Never called.
    pub fn set_name(&self, _index: u16) -> Result<String> {
        match self.0 {}
    }
}

#[derive(Debug)]
pub(super) struct ArpSocket(Socket);

impl ArpSocket {
    pub(super) fn open() -> Result<ArpSocket> {
        Socket::open(IpFamily::V4).map(ArpSocket)
    }

    pub(super) fn info(&self, _table: &str) -> Result<ArpInfo> {
        match self.0.0 {}
    }

    pub(super) fn entries(&self, _table: &str, _info: &ArpInfo) -> Result<Option<Vec<u8>>> {
        match self.0.0 {}
    }
}

#[derive(Debug)]
pub(super) struct BridgeSocket(Socket);

impl BridgeSocket {
    pub(super) fn open() -> Result<BridgeSocket> {
        Socket::open(IpFamily::V4).map(BridgeSocket)
    }

    pub(super) fn info(&self, _table: &str) -> Result<BridgeInfo> {
        match self.0.0 {}
    }

    pub(super) fn entries(&self, _table: &str, _info: BridgeInfo) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        match self.0.0 {}
    }
}

pub(super) fn blob(buffer: &mut [u8]) -> &mut [u8] {
    buffer
}

pub(super) fn give_back(_part: &mut [u8]) {}
