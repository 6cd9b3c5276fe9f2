//! The one table of keys: it drives the app, the hints and the help.

use crate::config::PaneName;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
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
    BackFromJump,
    NextSection,
    LastSection,
    Search,
    Sort,
    SortBack,
    Reverse,
    Problems,
    ProblemsFirst,
    Namespace,
    Mode,
    Columns,
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
}

/// Where a key's hint is shown at the bottom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Where {
    /// Nowhere.
    No,
    /// In every pane.
    All,
    /// In the list of Services.
    Services,
    /// In the Rules pane, where a jump was followed.
    Rules,
    /// Where there are sections.
    Sections,
    /// In the Drops pane.
    Drops,
    /// Where a line leads to what it is about.
    Lists,
    /// Where a Service can be explained.
    Explainable,
}

/// A line of the table.
pub(super) struct Key {
    pub(super) ask: Ask,
    /// As the help shows it: names of keys, one blank between two.
    pub(super) keys: &'static str,
    /// Other keys that do the same.
    also: &'static str,
    /// Empty where the line before speaks for both.
    pub(super) help: &'static str,
    /// A word for the hints at the bottom; empty for none.
    pub(super) hint: &'static str,
    /// Where the hint stands.
    pub(super) shown: Where,
}

const fn key(ask: Ask, keys: &'static str, also: &'static str, help: &'static str) -> Key {
    Key { ask, keys, also, help, hint: "", shown: Where::No }
}

impl Key {
    const fn hint(self, hint: &'static str, shown: Where) -> Key {
        Key { hint, shown, ..self }
    }
}

pub(super) const KEYS: &[Key] = &[
    key(Ask::Quit, "q", "Ctrl-C F10", "leave (also Ctrl-C)").hint("quit", Where::All),
    key(Ask::Stop, "Ctrl-Z", "", "stop, back to the shell; its `fg` goes on"),
    key(Ask::Help, "?", "h F1", "this help (also h)").hint("help", Where::All),
    key(Ask::Palette, ":", "Ctrl-P", "every command by name").hint("commands", Where::All),
    key(
        Ask::Search,
        "/",
        "F3",
        "search and filter: words, ns:shop proto:udp state:rejecting flows>10; Enter keeps it, Esc clears it",
    )
    .hint("search", Where::All),
    key(Ask::Enter, "Enter", "", "open: a Service, a chain, where a rule jumps to, what a finding, a change or a dropped packet is about")
        .hint("open", Where::Lists),
    key(Ask::Back, "Esc ←", "", "back: out of what was opened, the search off, all filters off"),
    key(Ask::Focus, "→", "l", "into the lower part of the pane"),
    key(Ask::NextSection, "]", "", "the next section of a pane; the one before")
        .hint("section", Where::Sections),
    key(Ask::LastSection, "[", "", ""),
    key(Ask::Sort, "s", "> F6", "sort by the next column; the one before (or click a head)")
        .hint("sort", Where::Services),
    key(Ask::SortBack, "<", "", ""),
    key(Ask::Reverse, "r", "R", "turn the order round"),
    key(Ask::Problems, "!", "", "only Services that reject, drop or are left over")
        .hint("problems", Where::Services),
    key(Ask::ProblemsFirst, "P", "", "those above all others"),
    key(Ask::Namespace, "n", "", "only the next namespace; after the last, all")
        .hint("namespace", Where::Services),
    key(Ask::Mode, "m", "", "only the next mode; after the last, all"),
    key(Ask::Columns, "c", "", "choose and order the columns").hint("columns", Where::Services),
    key(
        Ask::Explain,
        "e",
        "",
        "explain: the path of a packet to this Service, step by step; again: from outside, from the node",
    )
    .hint("explain", Where::Explainable),
    key(Ask::NextFrontend, "f", "", "in the path: to the next frontend of the Service"),
    key(Ask::Monitor, "w", "", "watch packets die: the kernel's drop monitor on, and off again")
        .hint("monitor", Where::Drops),
    key(Ask::BackFromJump, "Backspace", "b", "back to the rule that one jumped from")
        .hint("jump back", Where::Rules),
    key(Ask::Copy, "y", "", "copy the chosen line (by the terminal, OSC 52)"),
    key(Ask::Pause, "space", "p", "stop reading, and go on").hint("pause", Where::All),
    key(Ask::Once, "o", "", "while paused: read once"),
    key(Ask::Faster, "+", "=", "read more often; less often"),
    key(Ask::Slower, "-", "_", ""),
    key(Ask::Down, "j ↓", "", "down; up"),
    key(Ask::Up, "k ↑", "", ""),
    key(Ask::PageDown, "PgDn", "Ctrl-F Ctrl-D", "a page down; up"),
    key(Ask::PageUp, "PgUp", "Ctrl-B Ctrl-U", ""),
    key(Ask::First, "g Home", "", "to the first; the last"),
    key(Ask::Last, "G End", "", ""),
    key(Ask::NextPane, "Tab", "", "the next pane; the one before").hint("next pane", Where::All),
    key(Ask::LastPane, "BackTab", "", ""),
    key(
        Ask::Show(PaneName::Overview),
        "1",
        "",
        "Overview, Services, Rules, Compare, Conntrack, Findings, Changes, Drops",
    ),
    key(Ask::Show(PaneName::Services), "2", "", ""),
    key(Ask::Show(PaneName::Rules), "3", "", ""),
    key(Ask::Show(PaneName::Compare), "4", "", ""),
    key(Ask::Show(PaneName::Conntrack), "5", "", ""),
    key(Ask::Show(PaneName::Findings), "6", "", ""),
    key(Ask::Show(PaneName::Changes), "7", "", ""),
    key(Ask::Show(PaneName::Drops), "8", "", ""),
    key(Ask::StepBack, ",", "", "in time: to the reading before; the next").hint("back in time", Where::All),
    key(Ask::StepOn, ".", "", ""),
    key(Ask::MinuteBack, "(", "", "a minute back; a minute on"),
    key(Ask::MinuteOn, ")", "", ""),
    key(Ask::FindingBack, "{", "", "to where a finding began; to where the next one begins"),
    key(Ask::FindingOn, "}", "", ""),
    key(Ask::GoTo, "@", "", "to a time: 14:03:20, +90s after the beginning, -5m before the end"),
    key(Ask::Newest, "0", "", "to the newest reading: what is now"),
    key(Ask::Save, "W", "", "write the last minutes into a file, for kptop replay"),
    key(Ask::Theme, "T", "", "the next theme: dark, light, high-contrast, ansi, none"),
    key(Ask::Redraw, "Ctrl-L", "", "draw everything anew"),
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
