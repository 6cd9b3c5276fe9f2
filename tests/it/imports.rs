//! The way in which modules build on each other: no two files import each other, in a circle of any length, and modules
//! import only what ARCHITECTURE.md's table allows. The files themselves are read, not the compiler's view.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

type Module = Vec<String>;

/// A crate's modules: the text without comments, strings and tests, and what each imports.
struct Crate {
    texts: BTreeMap<Module, String>,
    /// Names that a module hands on, with where it has them from.
    handed_on: BTreeMap<Module, BTreeMap<String, Vec<String>>>,
}

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => files(&path, found),
            false if path.extension().is_some_and(|x| x == "rs") => found.push(path),
            false => {}
        }
    }
}

fn without_tests_and_comments(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let mut out = String::new();
    for line in code.lines() {
        // `pub(in crate::x)` says who may see it, not where it comes from.
        let line = line.split("//").next().unwrap_or_default().replace("pub(in ", "pub( ");
        let line = match line.split_once("pub( crate::") {
            Some((before, after)) => {
                format!("{before}pub {}", after.split_once(')').map_or("", |a| a.1))
            }
            None => line,
        };
        out.push_str(&line);
        out.push('\n');
    }
    out
}

/// The paths of a `use`: `a::{b, c::{d, e}}` is `a::b`, `a::c::d` and `a::c::e`.
fn paths(tree: &str) -> Vec<Vec<String>> {
    let tree = tree.trim();
    let segments = |s: &str| -> Vec<String> {
        s.split("::").map(|x| x.trim().to_string()).filter(|x| !x.is_empty()).collect()
    };
    let Some((front, rest)) = tree.split_once('{') else {
        let tree = tree.split(" as ").next().unwrap_or_default();
        return vec![segments(tree)];
    };
    let (mut depth, mut part, mut parts) = (0, String::new(), Vec::new());
    for c in rest.trim_end().trim_end_matches('}').chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if c == ',' && depth == 0 {
            parts.push(std::mem::take(&mut part));
        } else {
            part.push(c);
        }
    }
    parts.push(part);
    let front = segments(front);
    let all = parts.iter().filter(|p| !p.trim().is_empty()).flat_map(|p| paths(p));
    all.map(|p| [front.clone(), p].concat()).collect()
}

/// The `use` lines of a module, and whether each hands its names on.
fn uses(text: &str) -> Vec<(bool, String)> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("use ") {
        let before = text[..at].rsplit('\n').next().unwrap_or_default().trim_start();
        let is_pub = before.starts_with("pub");
        if before.is_empty() || is_pub {
            found.push((is_pub, text[at + 4..].split(';').next().unwrap_or_default().to_string()));
        }
    }
    found
}

/// Paths in the code that are not in a `use`: `crate::x::y`, `super::x`.
fn inline_paths(text: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for start in ["crate::", "super::"] {
        for (at, _) in text.match_indices(start) {
            let line = text[..at].rsplit(['\n', ';']).next().unwrap_or_default();
            let inside_name = text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
            if inside_name || line.trim_start().starts_with("use ") || line.trim_start().starts_with("pub") {
                continue;
            }
            let path: String =
                text[at..].chars().take_while(|c| c.is_alphanumeric() || matches!(c, '_' | ':')).collect();
            found.push(path.split("::").filter(|s| !s.is_empty()).map(str::to_string).collect());
        }
    }
    found
}

impl Crate {
    fn read(root: &str) -> Crate {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(root);
        let mut all = Vec::new();
        files(&root, &mut all);
        let mut texts = BTreeMap::new();
        for path in all {
            let relative = path.strip_prefix(&root).unwrap().with_extension("");
            let mut module: Module = relative.iter().map(|s| s.to_str().unwrap().to_string()).collect();
            if module.last().is_some_and(|m| m == "mod") || module == ["lib"] || module == ["main"] {
                module.pop();
            }
            if module.last().is_some_and(|m| m == "tests") {
                continue;
            }
            let text = without_tests_and_comments(&fs::read_to_string(&path).unwrap());
            texts.entry(module).or_insert_with(String::new).push_str(&text);
        }
        let mut handed_on: BTreeMap<Module, BTreeMap<String, Vec<String>>> = BTreeMap::new();
        for (module, text) in &texts {
            for (is_pub, tree) in uses(text) {
                // What `mod.rs` imports for itself, its children have from it.
                if is_pub || texts.keys().any(|m| m.len() > module.len() && m.starts_with(module)) {
                    for path in paths(&tree) {
                        let name = path.last().cloned().unwrap_or_default();
                        handed_on.entry(module.clone()).or_default().insert(name, path);
                    }
                }
            }
        }
        Crate { texts, handed_on }
    }

    /// The module that a path leads to, through names that are handed on; `None` outside of the crate.
    fn target(&self, from: &Module, path: &[String], depth: usize) -> Option<Module> {
        let mut at = from.clone();
        let mut rest = path;
        match rest.first()?.as_str() {
            "crate" => {
                at.clear();
                rest = &rest[1..];
            }
            "self" => rest = &rest[1..],
            "super" => {
                while rest.first().is_some_and(|s| s == "super") {
                    at.pop();
                    rest = &rest[1..];
                }
            }
            first => {
                let child = [at.clone(), vec![first.to_string()]].concat();
                if !self.texts.contains_key(&child) {
                    return None;
                }
            }
        }
        while let Some(next) = rest.first() {
            let child = [at.clone(), vec![next.clone()]].concat();
            if !self.texts.contains_key(&child) {
                break;
            }
            at = child;
            rest = &rest[1..];
        }
        if let (Some(name), true) = (rest.first(), depth < 8)
            && let Some(path) = self.handed_on.get(&at).and_then(|h| h.get(name))
            && path.as_slice() != rest
            && let Some(further) = self.target(&at, path, depth + 1)
        {
            return Some(further);
        }
        Some(at)
    }

    /// What each module imports of its own crate.
    fn edges(&self) -> BTreeMap<&Module, BTreeSet<Module>> {
        let of = |module: &Module, text: &str| -> BTreeSet<Module> {
            let used = uses(text).into_iter().filter(|u| !u.0).flat_map(|u| paths(&u.1));
            let all = used.chain(inline_paths(text));
            all.filter_map(|p| self.target(module, &p, 0)).filter(|t| t != module).collect()
        };
        self.texts.iter().map(|(m, text)| (m, of(m, text))).collect()
    }
}

/// A circle, where there is one.
fn circle(edges: &BTreeMap<&Module, BTreeSet<Module>>) -> Option<Vec<String>> {
    fn visit<'a>(
        at: &'a Module,
        edges: &'a BTreeMap<&Module, BTreeSet<Module>>,
        path: &mut Vec<&'a Module>,
        done: &mut BTreeSet<&'a Module>,
    ) -> Option<Vec<String>> {
        if let Some(begin) = path.iter().position(|m| *m == at) {
            return Some(path[begin..].iter().chain([&at]).map(|m| m.join("/")).collect());
        }
        if !done.insert(at) {
            return None;
        }
        path.push(at);
        for next in edges.get(at).into_iter().flatten() {
            if let Some(found) = visit(next, edges, path, done) {
                return Some(found);
            }
        }
        path.pop();
        None
    }
    let mut done = BTreeSet::new();
    edges.keys().find_map(|m| visit(m, edges, &mut Vec::new(), &mut done))
}

#[test]
fn no_files_import_each_other() {
    for root in ["src", "crates/nf-ruleset/src", "crates/nf-kernel/src"] {
        let found = Crate::read(root);
        let edges = found.edges();
        assert!(edges.values().map(BTreeSet::len).sum::<usize>() > 40, "{root}: imports were not found");
        if let Some(circle) = circle(&edges) {
            panic!("{root}: {}", circle.join(" -> "));
        }
    }
}

/// Modules at the top from left to right: none imports one that is further right, and those in one row not each other.
/// The vocabulary (`nf-ruleset`) is for all.
const ROWS: &[&[&str]] = &[
    &["plain", "input", "window", "signals", "format", "exit"],
    &["api", "kube_proxy"],
    &["snapshot"],
    &["proxy"],
    &["rates", "walk"],
    &["reach"],
    &["cost"],
    &["by_hand", "tool_text"],
    &["changes", "doctor", "drops", "explain", "recording"],
    &["health"],
    &["columns"],
    &["config"],
    &["bench", "observe"],
    &["fleet", "lab", "nodes", "replay"],
    &["output", "tui"],
    &["cli"],
    &["fuzz"],
];

#[test]
fn imports_go_one_way() {
    let row = |name: &str| ROWS.iter().position(|r| r.contains(&name));
    let found = Crate::read("src");
    let mut wrong = BTreeSet::new();
    for (module, imports) in found.edges() {
        let Some(from) = module.first() else { continue };
        let at = row(from)
            .unwrap_or_else(|| panic!("{from} is in no row: give it its place, here and in ARCHITECTURE.md"));
        for to in imports.iter().filter_map(|m| m.first()).filter(|to| *to != from) {
            if row(to).is_none_or(|r| r >= at) {
                wrong.insert(format!("{} imports {to}", module.join("/")));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Frontends and what is pure never see the kernel; the vocabulary knows nothing of it.
#[test]
fn only_the_left_side_reads_the_kernel() {
    const READERS: [&str; 6] = ["snapshot", "lab", "fuzz", "api", "kube_proxy", "cli"];
    let found = Crate::read("src");
    for (module, text) in &found.texts {
        let reads = text.contains("crate::kernel::") || text.contains("nf_kernel::");
        let may = module.first().is_none_or(|m| READERS.contains(&m.as_str()));
        assert!(may || !reads, "{} imports nf-kernel", module.join("/"));
    }
    let words = ["KUBE-", "kube-proxy", "Kubernetes", "Service"];
    for root in ["crates/nf-kernel/src", "crates/nf-ruleset/src"] {
        for (module, text) in &Crate::read(root).texts {
            let code: String = text.lines().filter(|l| !l.trim_start().starts_with('#')).collect();
            for word in words {
                assert!(!code.contains(word), "{root}: {} knows {word}", module.join("/"));
            }
        }
    }
}
