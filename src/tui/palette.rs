//! Commands by name, for the palette: all that keys do, and what has no key of its own.

use crate::columns::SERVICES;
use crate::config::ThemeName;
use crate::tui::keys::{Action, KEYS, Key};
use crate::tui::section::Section;

/// Filters that one often wants.
const FILTERS: [(&str, &str); 6] = [
    ("Services that reject: no endpoints", "state:rejecting"),
    ("Services that drop: no local endpoint", "state:dropping"),
    ("Services without backends", "backends<1"),
    ("busy Services", "flows>10"),
    ("UDP Services", "proto:udp"),
    ("Services that refuse packets now", "refused>0"),
];

/// The name of an action, and the keys that do it.
pub(super) fn words(action: Action) -> (String, &'static str) {
    let name = match action {
        Action::UseTheme(name) => format!("theme: {}", name.name()),
        Action::SortBy(i) => format!("sort by {}: {}", SERVICES[i].key, SERVICES[i].help),
        Action::Filter(text) => {
            let words = FILTERS.iter().find(|f| f.1 == text).map_or("", |f| f.0);
            format!("only {words}: {text}")
        }
        Action::Section(s) if Section::OF_SERVICE.contains(&s) => format!("this Service: {}", s.title()),
        Action::Section(s) => format!("Conntrack: {}", s.title()),
        Action::Show(pane) => return (format!("pane: {}", pane.title()), key(action).map_or("", |k| k.keys)),
        action => {
            let Some(at) = KEYS.iter().position(|k| k.action == action) else { return Default::default() };
            // Where one line of help speaks for two keys, each has its half.
            let words = match KEYS[at].help {
                "" => KEYS[..at].iter().rev().find_map(|k| k.help.split_once("; ")).map_or("", |h| h.1),
                help if KEYS.get(at + 1).is_some_and(|k| k.help.is_empty()) => {
                    help.split_once("; ").map_or(help, |h| h.0)
                }
                help => help,
            };
            return (words.to_string(), KEYS[at].keys);
        }
    };
    (name, "")
}

fn key(action: Action) -> Option<&'static Key> {
    KEYS.iter().find(|k| k.action == action)
}

/// Movements that nobody calls by name.
const UNNAMED: [Action; 14] = [
    Action::SortBack,
    Action::LastSection,
    Action::LastPane,
    Action::Palette,
    Action::Down,
    Action::Up,
    Action::PageDown,
    Action::PageUp,
    Action::First,
    Action::Last,
    Action::Back,
    Action::Left,
    Action::Focus,
    Action::Enter,
];

/// All of them.
fn all() -> Vec<Action> {
    let mut all: Vec<Action> = KEYS.iter().map(|k| k.action).filter(|a| !UNNAMED.contains(a)).collect();
    all.extend(FILTERS.iter().map(|f| Action::Filter(f.1)));
    let sections = Section::OF_SERVICE.into_iter().chain(Section::OF_CONNTRACK);
    all.extend(sections.map(Action::Section));
    all.extend(ThemeName::ALL.iter().copied().map(Action::UseTheme));
    all.extend((0..SERVICES.len()).map(Action::SortBy));
    all
}

/// The commands whose name holds every word, or at least its letters in their order; the closest first.
pub(super) fn matching(typed: &str) -> Vec<Action> {
    let typed = typed.to_lowercase();
    let mut found: Vec<(u8, Action)> = all()
        .into_iter()
        .filter_map(|c| {
            let hint = key(c).map_or("", |k| k.hint);
            let name = format!("{} {hint}", words(c).0.to_lowercase());
            let rank = match () {
                () if name.starts_with(&typed) || (!typed.is_empty() && hint.starts_with(&typed)) => 0,
                () if typed.split_whitespace().all(|w| name.contains(w)) => 1,
                // Letters somewhere in a sentence mean nothing.
                () if name.len() <= SHORT && in_order(&typed, &name) => 2,
                () => return None,
            };
            Some((rank, c))
        })
        .collect();
    // Of those that hold the letters somewhere, the shortest is the likeliest.
    found.sort_by_key(|f| (f.0, if f.0 == 2 { words(f.1).0.len() } else { 0 }));
    found.into_iter().map(|f| f.1).collect()
}

/// True where a command is called so from its first letter on.
pub(super) fn starts(action: Action, typed: &str) -> bool {
    let hint = key(action).map_or("", |k| k.hint);
    let typed = typed.to_lowercase();
    let name = words(action).0.to_lowercase();
    let of_pane = name.strip_prefix("pane: ").is_some_and(|n| n.starts_with(&typed));
    !typed.is_empty() && (name.starts_with(&typed) || hint.starts_with(&typed) || of_pane)
}

/// Names up to this long are found by some of their letters.
const SHORT: usize = 24;

fn in_order(letters: &str, name: &str) -> bool {
    let mut rest = name.chars();
    letters.chars().filter(|c| !c.is_whitespace()).all(|c| rest.any(|r| r == c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_name_of_its_own() {
        let mut seen = std::collections::HashSet::new();
        for c in all() {
            let (name, _) = words(c);
            assert!(!name.is_empty(), "{c:?}");
            assert!(seen.insert(name.clone()), "{name} is there twice");
        }
    }

    #[test]
    fn commands_are_found_by_words_and_letters() {
        let first = |t: &str| matching(t).first().map(|c| words(*c).0).unwrap_or_default();
        assert_eq!(first("theme: li"), "theme: light");
        assert_eq!(first("conntrack cpu"), "Conntrack: CPUs");
        assert!(first("sort by ref").starts_with("sort by refused: "));
        assert_eq!(first("pnrls"), "pane: Rules");
        assert!(matching("xyzzy").is_empty());
        assert_eq!(matching("").len(), all().len());
    }
}
