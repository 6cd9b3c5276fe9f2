//! The one table of keys: it drives the app, the hints and the help.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Quit,
    Help,
    Down,
    Up,
    PageDown,
    PageUp,
    First,
    Last,
    NextPane,
    ShowServices,
    ShowTables,
    Focus,
    Back,
    Search,
    Sort,
    SortBack,
    Reverse,
    Problems,
    Namespace,
    Mode,
    Pause,
    Once,
    Faster,
    Slower,
    Redraw,
}

/// A line of the table.
pub(super) struct Key {
    ask: Ask,
    /// As the help shows it: names of keys, one blank between two.
    pub(super) keys: &'static str,
    /// Other keys that do the same.
    also: &'static str,
    /// Empty where the line before speaks for both.
    pub(super) help: &'static str,
    /// A word for the hints at the bottom; empty for none.
    pub(super) hint: &'static str,
}

impl Key {
    /// True for what only the Services screen does.
    pub(super) fn services_only(&self) -> bool {
        matches!(self.ask, Ask::Sort | Ask::Problems | Ask::Namespace | Ask::NextPane)
    }
}

const fn key(
    ask: Ask,
    keys: &'static str,
    also: &'static str,
    hint: &'static str,
    help: &'static str,
) -> Key {
    Key { ask, keys, also, help, hint }
}

pub(super) const KEYS: &[Key] = &[
    key(Ask::Quit, "q", "Ctrl-C F10", "quit", "leave (also Ctrl-C)"),
    key(Ask::Help, "?", "h F1", "help", "this help (also h)"),
    key(Ask::Search, "/", "F3", "search", "search a name, address or port; Enter keeps it, Esc clears it"),
    key(Ask::Sort, "s", "> F6", "sort", "sort by the next column; the one before (or click a head)"),
    key(Ask::SortBack, "<", "", "", ""),
    key(Ask::Reverse, "r", "R", "", "turn the order round"),
    key(Ask::Problems, "!", "", "problems", "only Services that reject, drop or are left over"),
    key(Ask::Namespace, "n", "", "namespace", "only the next namespace; after the last, all"),
    key(Ask::Mode, "m", "", "", "only the next mode; after the last, all"),
    key(Ask::Pause, "space", "p", "pause", "stop reading, and go on"),
    key(Ask::Once, "o", "", "", "while paused: read once"),
    key(Ask::Faster, "+", "=", "", "read more often; less often"),
    key(Ask::Slower, "-", "_", "", ""),
    key(Ask::Down, "j ↓", "", "", "down; up"),
    key(Ask::Up, "k ↑", "", "", ""),
    key(Ask::PageDown, "PgDn", "Ctrl-F Ctrl-D", "", "a page down; up"),
    key(Ask::PageUp, "PgUp", "Ctrl-B Ctrl-U", "", ""),
    key(Ask::First, "g Home", "", "", "to the first; the last"),
    key(Ask::Last, "G End", "", "", ""),
    key(Ask::Focus, "Enter →", "l", "", "into the lower pane"),
    key(Ask::Back, "Esc ←", "", "", "back: out of the lower pane, the search off, all filters off"),
    key(Ask::NextPane, "Tab", "BackTab", "rules", "the other screen: Services, Rules"),
    key(Ask::ShowServices, "1", "", "", "Services and their backends; tables, chains and rules"),
    key(Ask::ShowTables, "2", "", "", ""),
    key(Ask::Redraw, "Ctrl-L", "", "", "draw everything anew"),
];

/// The name of a key in the table.
fn name(event: KeyEvent) -> Option<String> {
    let ctrl = event.modifiers.contains(KeyModifiers::CONTROL);
    Some(match event.code {
        KeyCode::Char(c) if ctrl => format!("Ctrl-{}", c.to_ascii_uppercase()),
        KeyCode::Char(' ') => "space".into(),
        KeyCode::Char(c) => c.to_string(),
        KeyCode::F(n) => format!("F{n}"),
        KeyCode::Down => "↓".into(),
        KeyCode::Up => "↑".into(),
        KeyCode::Left => "←".into(),
        KeyCode::Right => "→".into(),
        KeyCode::PageDown => "PgDn".into(),
        KeyCode::PageUp => "PgUp".into(),
        KeyCode::Home => "Home".into(),
        KeyCode::End => "End".into(),
        KeyCode::Enter => "Enter".into(),
        KeyCode::Esc => "Esc".into(),
        KeyCode::Tab => "Tab".into(),
        KeyCode::BackTab => "BackTab".into(),
        _ => return None,
    })
}

/// What a key event asks for, outside of the search line.
pub(super) fn ask(event: KeyEvent) -> Option<Ask> {
    let name = name(event)?;
    let is = |list: &str| list.split(' ').any(|k| k == name);
    KEYS.iter().find(|k| is(k.keys) || is(k.also)).map(|k| k.ask)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_key_stands_twice() {
        let mut seen = HashSet::new();
        for k in KEYS {
            for name in k.keys.split(' ').chain(k.also.split(' ')).filter(|n| !n.is_empty()) {
                assert!(seen.insert(name), "{name} stands twice");
            }
        }
    }

    #[test]
    fn keys_are_found() {
        let key = |code, modifiers| ask(KeyEvent::new(code, modifiers));
        assert_eq!(key(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Ask::Quit));
        assert_eq!(key(KeyCode::Char('G'), KeyModifiers::SHIFT), Some(Ask::Last));
        assert_eq!(key(KeyCode::Char(' '), KeyModifiers::NONE), Some(Ask::Pause));
        assert_eq!(key(KeyCode::F(3), KeyModifiers::NONE), Some(Ask::Search));
        assert_eq!(key(KeyCode::Char('x'), KeyModifiers::NONE), None);
        assert_eq!(key(KeyCode::Char('q'), KeyModifiers::CONTROL), None);
    }
}
