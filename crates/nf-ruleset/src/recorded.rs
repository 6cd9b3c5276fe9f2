//! Tables in recordings: fields by name.

use crate::recorded_ids::{BOUNDS, Bounds};
use crate::{Chain, Dialect, Family, Match, NfTable, Rule, Set, Strings, Table, TableBackend};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;

/// A table as it is in a recording. `bounds` comes first.
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
