//! Ports and families of a Service as one line where they agree, or all Services of a namespace.

use crate::config::Fold;
use crate::proxy::Service;
use crate::ruleset::IpFamily;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use unicode_width::UnicodeWidthStr;

/// Columns of the mark that says whether a line is folded, with a blank at each side.
const MARK: usize = 3;

/// Services with the same answer are together; `None` for one that stays alone.
fn key_of(fold: Fold, s: &Service) -> Option<String> {
    let name = s.name.as_ref()?;
    match fold {
        Fold::Services => Some(format!("{}/{}", name.namespace, name.name)),
        Fold::Namespaces => Some(name.namespace.clone()),
        Fold::Ports => None,
    }
}

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A Service port that is with no others.
    Alone,
    /// Several as one line.
    Folded,
    /// The line above several.
    Head,
    /// One below such a line.
    Part,
}

/// A line of the list.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// The Service port that keys act on: the first of the worst.
    pub(super) of: usize,
    pub(super) kind: Kind,
    /// The Service ports that it speaks of, in [`Tree::members`].
    members: Range<usize>,
    /// The number of its group.
    group: u32,
}

impl Line {
    /// True where it speaks of several.
    pub(super) fn is_sum(&self) -> bool {
        matches!(self.kind, Kind::Folded | Kind::Head)
    }
}

/// The lines of the list, and which Service ports belong together.
#[derive(Debug, Default)]
pub(super) struct Tree {
    /// For each Service port its group.
    groups: Vec<u32>,
    /// What groups are called.
    names: Vec<String>,
    /// How many Service ports are in them.
    sizes: Vec<usize>,
    /// What is in them, in words, where there are several.
    notes: Vec<String>,
    /// Groups that the user folded or unfolded, by name.
    chosen: HashMap<String, bool>,
    members: Vec<usize>,
    lines: Vec<Line>,
}

impl Tree {
    /// Finds what belongs together: once for each structure.
    pub(super) fn take<'a>(&mut self, services: impl Iterator<Item = &'a Service>, fold: Fold) {
        let mut known: HashMap<String, u32> = HashMap::new();
        let mut members: Vec<Vec<&Service>> = Vec::new();
        self.members.clear(); // those of another structure
        self.names.clear();
        self.groups.clear();
        for s in services {
            let next = self.names.len() as u32;
            let key = key_of(fold, s);
            let number = match &key {
                Some(key) => *known.entry(key.clone()).or_insert(next),
                None => next,
            };
            if number == next {
                self.names.push(key.unwrap_or_default());
                members.push(Vec::new());
            }
            members[number as usize].push(s);
            self.groups.push(number);
        }
        let note = |of: &Vec<&Service>| match of.len() {
            1 => String::new(),
            _ => note_of(fold, of.iter().copied()),
        };
        self.notes = members.iter().map(note).collect();
        self.sizes = members.iter().map(Vec::len).collect();
    }

    /// Makes the lines of these Service ports, which come in the order of the model. `order` sorts groups by their members; those of
    /// one group keep their order, unless `sort_parts`. `agrees` says whether a group is one line where the user has not chosen; `of`
    /// names the port that represents it. True where other Service ports are shown than before.
    pub(super) fn arrange<K>(
        &mut self,
        shown: impl Iterator<Item = usize>,
        key: impl Fn(&[usize]) -> K,
        order: impl Fn(&K, &K) -> std::cmp::Ordering,
        agrees: impl Fn(&[usize]) -> bool,
        of: impl Fn(&[usize]) -> usize,
        sort_parts: bool,
    ) -> bool {
        let before = std::mem::take(&mut self.members);
        self.members = shown.filter(|i| *i < self.groups.len()).collect();
        // Ports of a group are next to each other in the model, but for leftovers of other modes.
        self.members.sort_by_key(|i| self.groups[*i]);
        let (members, groups) = (&self.members, &self.groups);
        let mut begin = 0;
        let mut ranges: Vec<(K, Range<usize>)> = members
            .chunk_by(|a, b| groups[*a] == groups[*b])
            .map(|part| {
                let range = begin..begin + part.len();
                begin = range.end;
                (key(part), range)
            })
            .collect();
        ranges.sort_by(|a, b| order(&a.0, &b.0));
        self.lines.clear();
        for (_, range) in ranges {
            let part = &members[range.clone()];
            let group = groups[part[0]];
            let line = |of, kind, members| Line { of, kind, members, group };
            if part.len() == 1 {
                self.lines.push(line(part[0], Kind::Alone, range));
                continue;
            }
            let is_open =
                self.chosen.get(&self.names[group as usize]).copied().unwrap_or_else(|| !agrees(part));
            let kind = if is_open { Kind::Head } else { Kind::Folded };
            self.lines.push(line(of(part), kind, range.clone()));
            if is_open {
                let mut parts: Vec<usize> = range.collect();
                if sort_parts {
                    let keys: HashMap<usize, K> =
                        parts.iter().map(|at| (*at, key(&members[*at..=*at]))).collect();
                    parts.sort_by(|a, b| order(&keys[a], &keys[b]));
                }
                self.lines.extend(parts.into_iter().map(|at| line(members[at], Kind::Part, at..at + 1)));
            }
        }
        self.members != before
    }

    /// How many groups are shown, folded or not.
    pub(super) fn groups(&self) -> usize {
        self.lines.iter().filter(|l| l.kind != Kind::Part).count()
    }

    /// How many lines there are.
    pub(super) fn len(&self) -> usize {
        self.lines.len()
    }

    /// A line by its place.
    pub(super) fn line(&self, at: usize) -> Option<&Line> {
        self.lines.get(at)
    }

    /// Every Service port that a line shows or holds, each once.
    pub(super) fn members(&self) -> &[usize] {
        &self.members
    }

    /// The Service ports that a line speaks of.
    pub(super) fn members_of(&self, line: &Line) -> &[usize] {
        self.members.get(line.members.clone()).unwrap_or_default()
    }

    /// What the group of a line is called: `shop/frontend`, or a namespace.
    pub(super) fn name_of(&self, line: &Line) -> &str {
        self.names.get(line.group as usize).map_or("", String::as_str)
    }

    /// What a line holds: `3 ports v4+v6`, `12 Services`; where a filter holds some back, what is left.
    pub(super) fn note_of<'a>(
        &self,
        fold: Fold,
        line: &Line,
        shown: impl Iterator<Item = &'a Service>,
    ) -> String {
        let group = line.group as usize;
        match self.sizes.get(group).zip(self.notes.get(group)) {
            Some((all, note)) if line.members.len() == *all => note.clone(),
            _ => format!("{} shown", note_of(fold, shown)),
        }
    }

    /// The most columns that the name of a group takes, with what is in it.
    pub(super) fn widest(&self) -> u16 {
        let several = self.names.iter().zip(&self.notes).filter(|(_, note)| !note.is_empty());
        several.map(|(name, note)| name.width() + MARK + note.width()).max().unwrap_or(0) as u16
    }

    /// The line of a Service port; `as_sum` asks for the line above it, where both are there.
    pub(super) fn place_of(&self, service: usize, as_sum: bool) -> Option<usize> {
        let has = |l: &&Line| self.members_of(l).contains(&service);
        let places = || self.lines.iter().enumerate().filter(|(_, l)| has(l));
        let wanted = places().find(|(_, l)| (l.kind == Kind::Head) == as_sum);
        wanted.or_else(|| places().next()).map(|p| p.0)
    }

    /// Folds or unfolds the group of a line; false where it has nothing to fold.
    pub(super) fn set_open(&mut self, at: usize, open: bool) -> bool {
        let Some(line) = self.lines.get(at) else { return false };
        let changes = match line.kind {
            Kind::Alone => false,
            Kind::Folded => open,
            Kind::Head | Kind::Part => !open,
        };
        if changes {
            let name = self.name_of(line).to_string();
            self.chosen.insert(name, open);
        }
        changes
    }
}

/// How many there are of what a line speaks of: `3 ports v4+v6`, `12 Services`.
fn note_of<'a>(fold: Fold, services: impl Iterator<Item = &'a Service>) -> String {
    let (mut ports, mut names, mut families) = (HashSet::new(), HashSet::new(), HashSet::new());
    let mut all = 0;
    for s in services {
        let name = s.name.as_ref();
        names.insert(name.map(|n| n.name.as_str()));
        ports.insert((name.map(|n| n.port.as_str()), s.protocol));
        families.insert(s.family);
        all += 1;
    }
    if fold == Fold::Namespaces {
        return crate::format::plural(names.len() as u64, "Service");
    }
    match (ports.len(), families.len()) {
        (1, 1) if all == 1 => "1 port".into(),
        (1, 1) => format!("in {all} modes"),
        (1, _) => "v4+v6".into(),
        (n, 1) => format!("{n} ports"),
        (n, _) => format!("{n} ports v4+v6"),
    }
}

/// What sets a port apart from the others of its Service: `:dns v6`.
pub(super) fn part_label(fold: Fold, s: &Service) -> String {
    let Some(name) = &s.name else { return s.label() };
    let mut text = match (fold, name.port.as_str()) {
        (Fold::Namespaces, "") => name.name.clone(),
        (Fold::Namespaces, port) => format!("{}:{port}", name.name),
        (_, "") => format!(":{}", s.frontends.first().map_or(0, |f| f.port)),
        (_, port) => format!(":{port}"),
    };
    if s.family == IpFamily::V6 {
        text.push_str(" v6");
    }
    text
}
