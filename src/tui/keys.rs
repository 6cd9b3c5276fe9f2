//! The one table of keys: it drives the app, the hints and the help.

use super::section::Section;
use crate::config::{PaneName, ThemeName};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// What a key, a click or a command does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Quit,
    Stop,
    Help,
    Palette,
    Down,
    Up,
    PageDown,
    PageUp,
    First,
    Last,
    NextPane,
    LastPane,
    Show(PaneName),
    Enter,
    Focus,
    Back,
    Left,
    BackFromJump,
    NextSection,
    LastSection,
    Search,
    Sort,
    SortNext,
    SortBack,
    Reverse,
    Problems,
    ProblemsFirst,
    Namespace,
    Mode,
    Columns,
    Heat,
    Fold,
    Pin,
    Explain,
    NextFrontend,
    Monitor,
    Copy,
    Theme,
    Pause,
    Once,
    Faster,
    Slower,
    Redraw,
    StepBack,
    StepOn,
    MinuteBack,
    MinuteOn,
    FindingBack,
    FindingOn,
    GoTo,
    Newest,
    Save,
    /// To a place of the strip of time, in thousandths.
    ToPart(u16),
    /// Sort by this column, its index in [`SERVICES`](crate::columns::SERVICES).
    SortBy(usize),
    /// Show the Services that pass this filter.
    Filter(&'static str),
    Section(Section),
    UseTheme(ThemeName),
}

/// A line of the table.
pub(super) struct Key {
    pub(super) action: Action,
    /// As the help shows it: names of keys, one blank between two.
    pub(super) keys: &'static str,
    /// Other keys that do the same.
    also: &'static str,
    /// Empty where the line before speaks for both.
    pub(super) help: &'static str,
    /// A word for the hints at the bottom; empty for none.
    pub(super) hint: &'static str,
    /// Whether the hint is shown in every pane; otherwise a pane names it.
    pub(super) everywhere: bool,
}

const fn key(action: Action, keys: &'static str, also: &'static str, help: &'static str) -> Key {
    Key { action, keys, also, help, hint: "", everywhere: false }
}

impl Key {
    const fn hint(self, hint: &'static str) -> Key {
        Key { hint, ..self }
    }

    const fn everywhere(self, hint: &'static str) -> Key {
        Key { hint, everywhere: true, ..self }
    }
}

pub(super) const KEYS: &[Key] = &[
    key(Action::Quit, "q", "Ctrl-C F10", "leave (also Ctrl-C)").everywhere("quit"),
    key(Action::Stop, "Ctrl-Z", "", "stop, back to the shell; its `fg` goes on"),
    key(Action::Help, "?", "h F1", "this help (also h)").everywhere("help"),
    key(Action::Palette, ":", "Ctrl-P", "every command by name").everywhere("commands"),
    key(
        Action::Search,
        "/",
        "F3",
        "search and filter: words, ns:shop proto:udp state:rejecting flows>10; Enter keeps it, Esc clears it",
    )
    .everywhere("search"),
    key(Action::Enter, "Enter", "", "open: a Service, a chain, where a rule jumps to, what a finding, a change or a dropped packet is about")
        .hint("open"),
    key(Action::Back, "Esc", "", "back: out of what was opened, the search off, all filters off"),
    key(Action::Focus, "→", "l", "the next section, or the lower part of the pane; the section before, or back"),
    key(Action::Left, "←", "", ""),
    key(Action::NextSection, "]", "", "the next section of a pane; the one before")
        .hint("section"),
    key(Action::LastSection, "[", "", ""),
    key(Action::Sort, "s", "F6", "sort by a column of a list (or click a head); the same again turns the order").hint("sort"),
    key(Action::SortNext, ">", "", "sort by the next column; the one before"),
    key(Action::SortBack, "<", "", ""),
    key(Action::Reverse, "r", "R", "reverse the order"),
    key(Action::Problems, "!", "", "only Services that reject, drop or are stale")
        .hint("problems"),
    key(Action::ProblemsFirst, "P", "", "those above all others"),
    key(Action::Namespace, "n", "", "only one namespace, out of a list with counts")
        .hint("namespace"),
    key(Action::Mode, "m", "", "only one mode, out of a list with counts"),
    key(Action::Columns, "c", "", "choose and order the columns").hint("columns"),
    key(Action::Heat, "Z", "", "Services over time: a cell a span, the darker the more new flows; again: columns"),
    key(Action::Fold, "z", "", "a line for each Service, for each namespace, or for each port; → and ← unfold and fold one"),
    key(Action::Pin, "*", "", "keep a Service on top, and no longer"),
    key(
        Action::Explain,
        "e",
        "",
        "explain: the path of a packet to this Service, step by step; again: from outside, from the node",
    )
    .hint("explain"),
    key(Action::NextFrontend, "f", "", "in the path: to the next frontend of the Service"),
    key(Action::Monitor, "w", "", "watch packets die: the kernel's drop monitor on, and off again")
        .hint("monitor"),
    key(Action::BackFromJump, "Backspace", "b", "back to the rule that one jumped from")
        .hint("jump back"),
    key(Action::Copy, "y", "", "copy the chosen line (by the terminal, OSC 52)"),
    key(Action::Pause, "space", "p", "stop reading, and go on").everywhere("pause"),
    key(Action::Once, "o", "", "while paused: read once"),
    key(Action::Faster, "+", "=", "read more often; less often"),
    key(Action::Slower, "-", "_", ""),
    key(Action::Down, "j ↓", "", "down; up"),
    key(Action::Up, "k ↑", "", ""),
    key(Action::PageDown, "PgDn", "Ctrl-F Ctrl-D", "a page down; up"),
    key(Action::PageUp, "PgUp", "Ctrl-B Ctrl-U", ""),
    key(Action::First, "g Home", "", "to the first; the last"),
    key(Action::Last, "G End", "", ""),
    key(Action::NextPane, "Tab", "", "the next pane; the one before").everywhere("next pane"),
    key(Action::LastPane, "BackTab", "", ""),
    key(
        Action::Show(PaneName::Overview),
        "1",
        "",
        "Overview, Services, Rules, Compare, Conntrack, Findings, Changes, Drops",
    ),
    key(Action::Show(PaneName::Services), "2", "", ""),
    key(Action::Show(PaneName::Rules), "3", "", ""),
    key(Action::Show(PaneName::Compare), "4", "", ""),
    key(Action::Show(PaneName::Conntrack), "5", "", ""),
    key(Action::Show(PaneName::Findings), "6", "", ""),
    key(Action::Show(PaneName::Changes), "7", "", ""),
    key(Action::Show(PaneName::Drops), "8", "", ""),
    key(Action::StepBack, ",", "", "in time: to the reading before; the next").everywhere("back in time"),
    key(Action::StepOn, ".", "", ""),
    key(Action::MinuteBack, "(", "", "a minute back; a minute on"),
    key(Action::MinuteOn, ")", "", ""),
    key(Action::FindingBack, "{", "", "to where a finding began; to where the next one begins"),
    key(Action::FindingOn, "}", "", ""),
    key(Action::GoTo, "@", "", "to a time: 14:03:20, +90s after the beginning, -5m before the end"),
    key(Action::Newest, "0", "", "to the newest reading: what is now"),
    key(Action::Save, "W", "", "write the last minutes into a file, for kptop replay"),
    key(Action::Theme, "T", "", "the next theme: dark, light, high-contrast, ansi, none"),
    key(Action::Redraw, "Ctrl-L", "", "draw everything again"),
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
        KeyCode::Backspace => "Backspace".into(),
        _ => return None,
    })
}

/// What a key does, outside of the search line.
pub(super) fn action(event: KeyEvent) -> Option<Action> {
    let name = name(event)?;
    let is = |list: &str| list.split(' ').any(|k| k == name);
    KEYS.iter().find(|k| is(k.keys) || is(k.also)).map(|k| k.action)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_key_is_listed_twice() {
        let mut seen = HashSet::new();
        for k in KEYS {
            for name in k.keys.split(' ').chain(k.also.split(' ')).filter(|n| !n.is_empty()) {
                assert!(seen.insert(name), "{name} is listed twice");
            }
        }
    }

    #[test]
    fn keys_are_found() {
        let key = |code, modifiers| action(KeyEvent::new(code, modifiers));
        assert_eq!(key(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Action::Quit));
        assert_eq!(key(KeyCode::Char('G'), KeyModifiers::SHIFT), Some(Action::Last));
        assert_eq!(key(KeyCode::Char(' '), KeyModifiers::NONE), Some(Action::Pause));
        assert_eq!(key(KeyCode::F(3), KeyModifiers::NONE), Some(Action::Search));
        assert_eq!(key(KeyCode::Char('x'), KeyModifiers::NONE), None);
        assert_eq!(key(KeyCode::Char('q'), KeyModifiers::CONTROL), None);
    }
}
