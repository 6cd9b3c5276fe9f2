//! Colours, by meaning.

use ratatui::style::{Color, Modifier, Style};

/// Styles by what they mean. Symbols and words carry every meaning too: colour is never alone.
#[derive(Clone, Copy, Debug)]
pub struct Theme {
    /// False with `NO_COLOR`.
    pub colour: bool,
}

impl Theme {
    /// Colours unless `NO_COLOR` is set (<https://no-color.org>) or the terminal is dumb.
    pub fn from_environment() -> Theme {
        let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty());
        let dumb = set("TERM").is_none_or(|t| t == "dumb");
        Theme { colour: set("NO_COLOR").is_none() && !dumb }
    }

    fn fg(self, colour: Color) -> Style {
        if self.colour { Style::new().fg(colour) } else { Style::new() }
    }

    /// Ordinary text.
    pub fn text(self) -> Style {
        Style::new()
    }

    /// What matters less.
    pub fn dim(self) -> Style {
        if self.colour { Style::new().fg(Color::DarkGray) } else { Style::new().add_modifier(Modifier::DIM) }
    }

    /// Names of things, titles.
    pub fn accent(self) -> Style {
        self.fg(Color::Cyan).add_modifier(Modifier::BOLD)
    }

    /// The chosen row.
    pub fn selected(self) -> Style {
        if self.colour {
            Style::new().bg(Color::Indexed(238)).add_modifier(Modifier::BOLD)
        } else {
            Style::new().add_modifier(Modifier::REVERSED)
        }
    }

    /// The chosen row of a pane that has not the focus.
    pub fn selected_elsewhere(self) -> Style {
        if self.colour {
            Style::new().bg(Color::Indexed(235))
        } else {
            Style::new().add_modifier(Modifier::UNDERLINED)
        }
    }

    /// All is well.
    pub fn good(self) -> Style {
        self.fg(Color::Green)
    }

    /// Worth a look.
    pub fn warn(self) -> Style {
        self.fg(Color::Yellow)
    }

    /// Traffic dies here.
    pub fn bad(self) -> Style {
        self.fg(Color::Red).add_modifier(Modifier::BOLD)
    }

    /// Movement: rates that are not 0, sparklines.
    pub fn busy(self) -> Style {
        self.fg(Color::LightGreen)
    }

    /// Heads of columns.
    pub fn head(self) -> Style {
        self.fg(Color::Gray).add_modifier(Modifier::BOLD)
    }

    /// The column that sorts.
    pub fn sorted(self) -> Style {
        self.fg(Color::Cyan).add_modifier(Modifier::BOLD | Modifier::UNDERLINED)
    }

    /// Lines around panes.
    pub fn frame(self, focus: bool) -> Style {
        if focus { self.fg(Color::Cyan) } else { self.dim() }
    }

    /// Keys in hints.
    pub fn key(self) -> Style {
        self.fg(Color::Yellow).add_modifier(Modifier::BOLD)
    }
}
