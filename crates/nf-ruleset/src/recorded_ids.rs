//! Ids in recordings: they are checked while they are read, as they index the arenas of a table everywhere.

use crate::{ChainId, Counter, SetId, StrId};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use std::cell::Cell;

/// How many strings, chains and sets the table that is being read has: an id must be below.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Bounds {
    pub(crate) strings: u32,
    pub(crate) chains: u32,
    pub(crate) sets: u32,
}

thread_local! {
    pub(crate) static BOUNDS: Cell<Bounds> = const { Cell::new(Bounds { strings: 0, chains: 0, sets: 0 }) };
}

impl<'de> Deserialize<'de> for Bounds {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Bounds, D::Error> {
        #[derive(Deserialize)]
        struct Counts {
            strings: u32,
            chains: u32,
            sets: u32,
        }
        let Counts { strings, chains, sets } = Counts::deserialize(d)?;
        let bounds = Bounds { strings, chains, sets };
        BOUNDS.set(bounds);
        Ok(bounds)
    }
}

pub(crate) fn id<'de, D: Deserializer<'de>>(
    d: D,
    what: &str,
    bound: fn(Bounds) -> u32,
) -> Result<u32, D::Error> {
    let id = u32::deserialize(d)?;
    match id < bound(BOUNDS.get()) {
        true => Ok(id),
        false => Err(D::Error::custom(format!("{what} {id} is none of the table"))),
    }
}

impl<'de> Deserialize<'de> for StrId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<StrId, D::Error> {
        id(d, "string", |b| b.strings).map(StrId)
    }
}

impl<'de> Deserialize<'de> for ChainId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<ChainId, D::Error> {
        id(d, "chain", |b| b.chains).map(ChainId)
    }
}

impl<'de> Deserialize<'de> for SetId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<SetId, D::Error> {
        id(d, "set", |b| b.sets).map(SetId)
    }
}

/// Counters of policies are apart from their table: whoever puts both together checks them.
pub(crate) fn policies<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<(ChainId, Counter)>, D::Error> {
    let read = Vec::<(u32, Counter)>::deserialize(d)?;
    Ok(read.into_iter().map(|(id, counter)| (ChainId(id), counter)).collect())
}
