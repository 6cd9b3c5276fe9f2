//! Tables in recordings: fields by name, and ids that are checked while they are read, as they index the table's
//! arenas everywhere.

use super::{
    Chain, ChainId, Counter, Dialect, Family, Match, NfTable, Rule, Set, SetId, StrId, Strings, Table,
    TableBackend,
};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::cell::Cell;

/// How many strings, chains and sets the table that is being read has: an id must be below.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct Bounds {
    strings: u32,
    chains: u32,
    sets: u32,
}

thread_local! {
    static BOUNDS: Cell<Bounds> = const { Cell::new(Bounds { strings: 0, chains: 0, sets: 0 }) };
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

fn id<'de, D: Deserializer<'de>>(d: D, what: &str, bound: fn(Bounds) -> u32) -> Result<u32, D::Error> {
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

/// Counters of policies stand apart from their table: whoever puts both together checks them.
pub(super) fn policies<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<(ChainId, Counter)>, D::Error> {
    let read = Vec::<(u32, Counter)>::deserialize(d)?;
    Ok(read.into_iter().map(|(id, counter)| (ChainId(id), counter)).collect())
}

/// A table as it stands in a recording. `bounds` comes first.
#[derive(Serialize, Deserialize)]
#[serde(rename = "Table")]
struct Recorded<'a> {
    bounds: Bounds,
    family: Family,
    backend: TableBackend,
    name: Cow<'a, str>,
    dialect: Dialect,
    strings: Cow<'a, [String]>,
    chains: Cow<'a, [Chain]>,
    rules: Cow<'a, [Rule]>,
    matches: Cow<'a, [Match]>,
    sets: Cow<'a, [Set]>,
    nf: Option<Box<NfTable>>,
}

impl Serialize for Table {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let bounds = Bounds {
            strings: self.strings.len() as u32,
            chains: self.chains.len() as u32,
            sets: self.sets.len() as u32,
        };
        Recorded {
            bounds,
            family: self.family,
            backend: self.backend,
            name: (&*self.name).into(),
            dialect: self.dialect,
            strings: self.strings.iter().map(str::to_string).collect::<Vec<_>>().into(),
            chains: (&*self.chains).into(),
            rules: (&*self.rules).into(),
            matches: (&*self.matches).into(),
            sets: (&*self.sets).into(),
            nf: self.nf.clone(),
        }
        .serialize(s)
    }
}

impl<'de> Deserialize<'de> for Table {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Table, D::Error> {
        BOUNDS.set(Bounds::default()); // ids before the bounds are none
        let r = Recorded::deserialize(d)?;
        let strings = Strings::of(r.strings.iter());
        let is = Bounds {
            strings: strings.len() as u32,
            chains: r.chains.len() as u32,
            sets: r.sets.len() as u32,
        };
        let rules = r.rules.len() as u32;
        let whole = is == r.bounds
            && r.chains.iter().all(|c| c.rules.start <= c.rules.end && c.rules.end <= rules)
            && r.rules.iter().all(|x| x.first_match as usize + usize::from(x.match_count) <= r.matches.len());
        if !whole {
            return Err(D::Error::custom(format!("table {} does not hang together", r.name)));
        }
        Ok(Table {
            family: r.family,
            backend: r.backend,
            name: r.name.into_owned(),
            chains: r.chains.into_owned(),
            rules: r.rules.into_owned(),
            matches: r.matches.into_owned(),
            dialect: r.dialect,
            sets: r.sets.into_owned(),
            nf: r.nf,
            strings,
        })
    }
}
