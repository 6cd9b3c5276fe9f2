//! Commands by name, for the palette: all that keys do, and what has no key of its own.

use super::Section;
use crate::columns::SERVICES;
use crate::config::ThemeName;
use crate::tui::keys::{Ask, KEYS};

/// What a command does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tui) enum Command {
    Ask(Ask),
    Theme(ThemeName),
    Sort(usize),
    Filter(&'static str),
    Section(Section),
}

/// Filters that one often wants.
const FILTERS: [(&str, &str); 6] = [
    ("Services that reject: no endpoints", "state:rejecting"),
    ("Services that drop: no local endpoint", "state:dropping"),
    ("Services without backends", "backends<1"),
    ("busy Services", "flows>10"),
    ("UDP Services", "proto:udp"),
    ("Services that refuse packets now", "refused>0"),
];

impl Command {
    /// Its name, and the keys that do the same.
    pub(in crate::tui) fn words(self) -> (String, &'static str) {
        match self {
            Command::Ask(Ask::Show(pane)) => {
                let keys = KEYS.iter().find(|k| k.ask == Ask::Show(pane)).map_or("", |k| k.keys);
                (format!("pane: {}", pane.title()), keys)
            }
            Command::Ask(ask) => {
                let Some(at) = KEYS.iter().position(|k| k.ask == ask) else { return (String::new(), "") };
                // Where one line of help speaks for two keys, each has its half.
                let words = match KEYS[at].help {
                    "" => KEYS[..at].iter().rev().find_map(|k| k.help.split_once("; ")).map_or("", |h| h.1),
                    help if KEYS.get(at + 1).is_some_and(|k| k.help.is_empty()) => {
                        help.split_once("; ").map_or(help, |h| h.0)
                    }
                    help => help,
                };
                (words.to_string(), KEYS[at].keys)
            }
            Command::Theme(name) => (format!("theme: {}", name.name()), ""),
            Command::Sort(i) => {
                let c = &SERVICES[i];
                (format!("sort by {}: {}", c.key, c.help), "")
            }
            Command::Filter(text) => {
                let words = FILTERS.iter().find(|f| f.1 == text).map_or("", |f| f.0);
                (format!("only {words}: {text}"), "")
            }
            Command::Section(s) if Section::OF_SERVICE.contains(&s) => {
                (format!("this Service: {}", s.title()), "")
            }
            Command::Section(s) => (format!("Conntrack: {}", s.title()), ""),
        }
    }
}

impl Command {
    /// The word that the bottom of the screen has for it.
    fn hint(self) -> &'static str {
        match self {
            Command::Ask(ask) => KEYS.iter().find(|k| k.ask == ask).map_or("", |k| k.hint),
            _ => "",
        }
    }
}

/// Movements that nobody calls by name.
const UNNAMED: [Ask; 13] = [
    Ask::SortBack,
    Ask::LastSection,
    Ask::LastPane,
    Ask::Palette,
    Ask::Down,
    Ask::Up,
    Ask::PageDown,
    Ask::PageUp,
    Ask::First,
    Ask::Last,
    Ask::Back,
    Ask::Focus,
    Ask::Enter,
];

/// All of them.
fn all() -> Vec<Command> {
    let mut all: Vec<Command> =
        KEYS.iter().map(|k| k.ask).filter(|a| !UNNAMED.contains(a)).map(Command::Ask).collect();
    all.extend(FILTERS.iter().map(|f| Command::Filter(f.1)));
    let sections = Section::OF_SERVICE.into_iter().chain(Section::OF_CONNTRACK);
    all.extend(sections.map(Command::Section));
    all.extend(ThemeName::ALL.into_iter().map(Command::Theme));
    all.extend((0..SERVICES.len()).map(Command::Sort));
    all
}

/// The commands whose name holds every word, or at least its letters in their order; the closest first.
pub(in crate::tui) fn matching(typed: &str) -> Vec<Command> {
    let typed = typed.to_lowercase();
    let mut found: Vec<(u8, Command)> = all()
        .into_iter()
        .filter_map(|c| {
            let hint = c.hint();
            let name = format!("{} {hint}", c.words().0.to_lowercase());
            let rank = match () {
                () if name.starts_with(&typed) || (!typed.is_empty() && hint.starts_with(&typed)) => 0,
                () if typed.split_whitespace().all(|w| name.contains(w)) => 1,
                () if in_order(&typed, &name) => 2,
                () => return None,
            };
            Some((rank, c))
        })
        .collect();
    // Of those that hold the letters somewhere, the shortest is the likeliest.
    found.sort_by_key(|f| (f.0, if f.0 == 2 { f.1.words().0.len() } else { 0 }));
    found.into_iter().map(|f| f.1).collect()
}

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
            let (name, _) = c.words();
            assert!(!name.is_empty(), "{c:?}");
            assert!(seen.insert(name.clone()), "{name} stands twice");
        }
    }

    #[test]
    fn commands_are_found_by_words_and_letters() {
        let first = |t: &str| matching(t).first().map(|c| c.words().0).unwrap_or_default();
        assert_eq!(first("theme: li"), "theme: light");
        assert_eq!(first("conntrack cpu"), "Conntrack: CPUs");
        assert!(first("sort by ref").starts_with("sort by refused: "));
        assert_eq!(first("pnrls"), "pane: Rules");
        assert!(matching("xyzzy").is_empty());
        assert_eq!(matching("").len(), all().len());
    }
}
