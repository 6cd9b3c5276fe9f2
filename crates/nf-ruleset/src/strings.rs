//! Interned strings: one buffer, each distinct string once.

use hashbrown::HashTable;
use serde::Serialize;
use std::hash::BuildHasher;

/// A string in a [`Strings`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct StrId(pub(super) u32);

/// A buffer of strings in which each distinct one is once.
#[derive(Clone, Debug, Default)]
pub struct Strings {
    text: String,
    ends: Vec<u32>,
    index: HashTable<u32>,
    hasher: foldhash::fast::FixedState,
}

impl Strings {
    /// Makes room for `n` more strings, so that they are not hashed again while the index grows.
    pub fn reserve(&mut self, n: usize) {
        let (text, ends, hasher) = (&self.text, &self.ends, &self.hasher);
        self.index.reserve(n, |&i| hasher.hash_one(slice(text, ends, i)));
        self.ends.reserve(n);
    }

    /// Puts a string in, or finds it.
    pub fn intern(&mut self, s: &str) -> StrId {
        let hash = self.hasher.hash_one(s);
        if let Some(&id) = self.index.find(hash, |&id| self.slice(id) == s) {
            return StrId(id);
        }
        self.put(hash, s)
    }

    /// The id of a string that is already there.
    pub fn find(&self, s: &str) -> Option<StrId> {
        self.index.find(self.hasher.hash_one(s), |&id| self.slice(id) == s).map(|&id| StrId(id))
    }

    /// The string behind an id.
    pub fn get(&self, id: StrId) -> &str {
        self.slice(id.0)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// All of them, in the order of their ids.
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        (0..self.ends.len() as u32).map(|i| self.slice(i))
    }

    /// These, under ids in their order: two that are the same stay two, and are found as the first.
    pub(super) fn of(all: impl ExactSizeIterator<Item = impl AsRef<str>>) -> Strings {
        let mut new = Strings::default();
        new.reserve(all.len());
        for s in all {
            let s = s.as_ref();
            let hash = new.hasher.hash_one(s);
            if new.index.find(hash, |&id| new.slice(id) == s).is_none() {
                new.put(hash, s);
            } else {
                new.push(s);
            }
        }
        new
    }

    fn push(&mut self, s: &str) -> u32 {
        let id = self.ends.len() as u32;
        self.text.push_str(s);
        self.ends.push(self.text.len() as u32);
        id
    }

    fn put(&mut self, hash: u64, s: &str) -> StrId {
        let id = self.push(s);
        let (text, ends, hasher) = (&self.text, &self.ends, &self.hasher);
        self.index.insert_unique(hash, id, |&i| hasher.hash_one(slice(text, ends, i)));
        StrId(id)
    }

    /// Gives back what growing took too much.
    pub fn shrink_to_fit(&mut self) {
        // Not the index: it would be hashed again, for less than it costs.
        self.text.shrink_to_fit();
        self.ends.shrink_to_fit();
    }

    /// Bytes in use.
    pub fn memory(&self) -> usize {
        self.text.capacity() + self.ends.capacity() * 4 + self.index.allocation_size()
    }

    fn slice(&self, id: u32) -> &str {
        slice(&self.text, &self.ends, id)
    }
}

fn slice<'a>(text: &'a str, ends: &[u32], id: u32) -> &'a str {
    let id = id as usize;
    let start = if id == 0 { 0 } else { ends[id - 1] as usize };
    &text[start..ends[id] as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interning_is_idempotent() {
        let mut s = Strings::default();
        let ids: Vec<StrId> = (0..1000).map(|i| s.intern(&format!("KUBE-SEP-{i}"))).collect();
        for (i, id) in ids.iter().enumerate() {
            assert_eq!(s.get(*id), format!("KUBE-SEP-{i}"));
            assert_eq!(s.intern(&format!("KUBE-SEP-{i}")), *id);
            assert_eq!(s.find(&format!("KUBE-SEP-{i}")), Some(*id));
        }
        assert_eq!(s.find("absent"), None);
        let empty = s.intern("");
        assert_eq!(s.get(empty), "");
    }
}
