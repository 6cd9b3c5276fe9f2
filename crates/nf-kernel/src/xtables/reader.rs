//! Reading tables, decoded again only where their structure changed.

use super::super::{Error, Result};
use super::decode::{Decoded, EntryRole, decode_last};
use super::layout::TableInfo;
use super::socket::Socket;
use nf_ruleset::{IpFamily, Table, TableCounters};
use std::fs;
use std::sync::Arc;

/// The tables that exist, in the calling thread's network namespace.
///
/// Asking x_tables for a table that does not exist creates it, so this list is read first. An absent file
/// means that the kernel has no x_tables for this family (or has not loaded it): no tables.
pub fn table_names(family: IpFamily) -> Result<Vec<String>> {
    let file = match family {
        IpFamily::V4 => "/proc/thread-self/net/ip_tables_names",
        IpFamily::V6 => "/proc/thread-self/net/ip6_tables_names",
    };
    match fs::read_to_string(file) {
        Ok(text) => {
            let mut names: Vec<String> = text.lines().map(str::to_string).collect();
            names.sort();
            names.dedup();
            Ok(names)
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => match crate::procfs_is_there() {
            true => Ok(Vec::new()),
            false => Err(Error::hidden(format!("reading the list of {family} tables"), file)),
        },
        Err(e) => Err(Error::io(format!("reading the list of {family} tables"), e).needs(LISTS)),
    }
}

/// Lists of tables are files of root, 0440 (`xt_proto_init`): `CAP_NET_ADMIN` alone cannot read them.
pub(super) const LISTS: &str = "root, or CAP_DAC_READ_SEARCH beside CAP_NET_ADMIN";

/// One reading of a table.
#[derive(Clone, Debug)]
pub struct Reading {
    /// Structure: the same `Arc` as in the reading before, where nothing but counters changed.
    pub table: Arc<Table>,
    /// Counters: the same `Arc` as in the reading before, where nothing was counted.
    pub counters: Arc<TableCounters>,
    /// Size of the blob in the kernel.
    pub bytes: u64,
}

/// Readings of before by table: where nothing but counters changed, the structure stays the same `Arc`.
#[derive(Debug, Default)]
pub(super) struct TableCache(std::collections::HashMap<String, (u64, Arc<Table>)>);

impl TableCache {
    /// Takes a reading with the fingerprint of everything but its counters.
    pub(super) fn settle(&mut self, name: &str, fingerprint: u64, mut reading: Reading) -> Reading {
        match self.0.get(name) {
            Some((print, table)) if *print == fingerprint => reading.table = table.clone(),
            _ => {
                self.0.insert(name.into(), (fingerprint, reading.table.clone()));
            }
        }
        reading
    }
}

/// Reads one table again and again, with the least work.
#[derive(Debug)]
pub struct TableReader {
    family: IpFamily,
    name: String,
    cached: Option<Cached>,
}

#[derive(Debug)]
pub(super) struct Cached {
    info: TableInfo,
    fingerprint: u64,
    table: Arc<Table>,
    counters: Arc<TableCounters>,
    roles: Vec<EntryRole>,
}

/// How often a table is read again that was replaced meanwhile.
pub(super) const TRIES: u32 = 8;

impl TableReader {
    /// A reader that has read nothing yet.
    pub fn new(family: IpFamily, name: &str) -> TableReader {
        TableReader { family, name: name.to_string(), cached: None }
    }

    /// Its table's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its family.
    pub fn family(&self) -> IpFamily {
        self.family
    }

    /// Reads the table, using `buffer` for the blob.
    pub fn read(&mut self, socket: &Socket, buffer: &mut Vec<u8>) -> Result<Reading> {
        for _ in 0..TRIES {
            let info = socket.info(&self.name)?;
            if !socket.entries(&info, buffer)? {
                continue; // replaced by one of another size
            }
            // One of the same size may have come between both calls: its chains would begin elsewhere.
            if socket.info(&self.name)? != info {
                continue;
            }
            return self.understand(socket, info, super::socket::blob(buffer));
        }
        Err(Error { what: self.what(), kind: crate::ErrorKind::Interrupted { tries: TRIES } })
    }

    fn what(&self) -> String {
        format!("reading the {} table {}", self.family, self.name)
    }

    fn understand(&mut self, socket: &Socket, info: TableInfo, blob: &mut [u8]) -> Result<Reading> {
        let (layout, bytes) = (super::layout::Layout::of(self.family), blob.len() as u64);
        if let Some(cached) = self.cached.as_mut().filter(|c| c.info == info)
            && let Some((fingerprint, counters)) =
                super::decode::scan(layout, blob, &cached.roles, cached.table.rules.len())
            && fingerprint == cached.fingerprint
        {
            let mut counters = counters;
            super::decode::name_policies(&mut counters, &cached.table);
            if counters != *cached.counters {
                cached.counters = Arc::new(counters);
            }
            return Ok(Reading { table: cached.table.clone(), counters: cached.counters.clone(), bytes });
        }
        let mut names = std::collections::HashMap::new();
        let mut set_name =
            |index: u16| names.entry(index).or_insert_with(|| socket.set_name(index).ok()).clone();
        let Decoded { table, counters, roles, fingerprint } =
            decode_last(self.family, &info, blob, &mut set_name)
                .map_err(|why| Error::protocol(self.what(), why))?;
        let (table, counters) = (Arc::new(table), Arc::new(counters));
        self.cached =
            Some(Cached { info, fingerprint, table: table.clone(), counters: counters.clone(), roles });
        Ok(Reading { table, counters, bytes })
    }
}
