//! Several nodes in one bundle, told apart by where their files are.

use super::reader::Found;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

/// How deep nodes' directories are looked for.
const DEEPEST: usize = 6;

fn front(place: &Path, depth: usize) -> PathBuf {
    place.components().take(depth).collect()
}

/// What is below the directory of a node.
fn below(place: &Path, depth: usize) -> PathBuf {
    // Names of files often begin with the node's.
    place.components().skip(depth).collect()
}

/// The name of a node, by its directory: `sosreport-worker-2024-…` has it between others.
fn name_of(dir: &Path) -> String {
    let name = dir.components().rev().find_map(|c| match c {
        Component::Normal(n) => Some(n.to_string_lossy().into_owned()),
        _ => None,
    });
    let name = name.unwrap_or_default();
    let name = [".tar.gz", ".tar.xz", ".tgz", ".tar", ".zip"]
        .iter()
        .find_map(|e| name.strip_suffix(e))
        .unwrap_or(&name);
    name.strip_prefix("sosreport-").unwrap_or(name).to_string()
}

/// Directories that each hold a node: the same kinds of files, at the same places below each.
fn dirs_of_nodes(found: &[Found]) -> Option<(usize, Vec<PathBuf>)> {
    let of_node = || found.iter().filter(|f| f.form.is_of_rules());
    for depth in 1..=DEEPEST {
        let mut groups: BTreeMap<PathBuf, BTreeSet<PathBuf>> = BTreeMap::new();
        for f in of_node().filter(|f| f.place.components().count() > depth) {
            groups.entry(front(&f.place, depth)).or_default().insert(below(&f.place, depth));
        }
        let Some(first) = groups.values().next() else { continue };
        let alike =
            |other: &BTreeSet<PathBuf>| 2 * first.intersection(other).count() >= first.len().min(other.len());
        if groups.len() > 1 && groups.values().all(alike) {
            return Some((depth, groups.into_keys().collect()));
        }
    }
    None
}

/// What is of one node: all of it, or where there are several, that of the one that was asked for with what is of none.
///
/// # Errors
/// There are several, and none was asked for, or another.
pub(super) fn of_one(found: Vec<Found>, wanted: Option<&str>) -> Result<Vec<Found>, String> {
    let Some((depth, dirs)) = dirs_of_nodes(&found) else {
        return match wanted {
            None => Ok(found),
            Some(node) => Err(format!("--node {node}: the files are of one node\n  -> leave --node out")),
        };
    };
    let names: Vec<String> = dirs.iter().map(|d| name_of(d)).collect();
    let list = || names.join(", ");
    let Some(wanted) = wanted else {
        return Err(format!("the files are of {} nodes: {}\n  -> --node {}", names.len(), list(), names[0]));
    };
    let exact = names.iter().position(|n| n == wanted);
    let at = exact.or_else(|| {
        let mut part = names.iter().enumerate().filter(|(_, n)| n.contains(wanted));
        part.next().map(|p| p.0).filter(|_| part.next().is_none())
    });
    let Some(at) = at else {
        return Err(format!("--node {wanted}: there are {}", list()));
    };
    let is_mine = |f: &Found| {
        let front = front(&f.place, depth);
        front == dirs[at] || !dirs.contains(&front)
    };
    Ok(found.into_iter().filter(is_mine).collect())
}
