//! Colours, by meaning.

use crate::config::ThemeName;
use ratatui::style::{Color, Modifier, Style};

/// Styles by what they mean. Symbols and words carry every meaning too: colour is never alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Theme {
    /// Which.
    pub name: ThemeName,
}

/// The colours of a theme.
struct Palette {
    dim: Color,
    accent: Color,
    good: Color,
    warn: Color,
    bad: Color,
    busy: Color,
    head: Color,
    key: Color,
    /// Backgrounds of the chosen row, with and without the focus.
    selected: Color,
    elsewhere: Color,
}

/// Most of it in the terminal's own colours, so that it goes with them; 24 greys for what lies behind.
const DARK: Palette = Palette {
    dim: Color::DarkGray,
    accent: Color::Cyan,
    good: Color::Green,
    warn: Color::Yellow,
    bad: Color::Red,
    busy: Color::LightGreen,
    head: Color::Gray,
    key: Color::Yellow,
    selected: Color::Indexed(238),
    elsewhere: Color::Indexed(235),
};

const LIGHT: Palette = Palette {
    dim: Color::Indexed(243),
    accent: Color::Indexed(25),
    good: Color::Indexed(28),
    warn: Color::Indexed(130),
    bad: Color::Indexed(160),
    busy: Color::Indexed(29),
    head: Color::Indexed(238),
    key: Color::Indexed(90),
    selected: Color::Indexed(252),
    elsewhere: Color::Indexed(255),
};

const HIGH_CONTRAST: Palette = Palette {
    dim: Color::White,
    accent: Color::LightCyan,
    good: Color::LightGreen,
    warn: Color::LightYellow,
    bad: Color::LightRed,
    busy: Color::LightGreen,
    head: Color::White,
    key: Color::LightYellow,
    selected: Color::Blue,
    elsewhere: Color::Indexed(236),
};

const ANSI: Palette = Palette {
    dim: Color::DarkGray,
    accent: Color::Cyan,
    good: Color::Green,
    warn: Color::Yellow,
    bad: Color::Red,
    busy: Color::Green,
    head: Color::Reset,
    key: Color::Yellow,
    selected: Color::Blue,
    elsewhere: Color::Reset,
};

impl Theme {
    /// A theme by name.
    pub fn new(name: ThemeName) -> Theme {
        Theme { name }
    }

    /// The theme that was asked for; none with `NO_COLOR` (<https://no-color.org>) or on a dumb terminal.
    pub fn from_environment(wanted: Option<ThemeName>) -> Theme {
        let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty());
        let dumb = set("TERM").is_none_or(|t| t == "dumb");
        if set("NO_COLOR").is_some() || dumb {
            return Theme::new(ThemeName::None);
        }
        // The Linux console and its like have 16 colours; others that do not say so have 256.
        let few = set("TERM").is_some_and(|t| t == "linux" || t == "vt100" || t == "ansi");
        Theme::new(wanted.unwrap_or(if few { ThemeName::Ansi } else { ThemeName::Dark }))
    }

    /// The one after this.
    #[must_use]
    pub fn next(self) -> Theme {
        let at = ThemeName::ALL.iter().position(|n| *n == self.name).unwrap_or(0);
        Theme::new(ThemeName::ALL[(at + 1) % ThemeName::ALL.len()])
    }

    fn palette(self) -> Option<&'static Palette> {
        match self.name {
            ThemeName::Dark => Some(&DARK),
            ThemeName::Light => Some(&LIGHT),
            ThemeName::HighContrast => Some(&HIGH_CONTRAST),
            ThemeName::Ansi => Some(&ANSI),
            ThemeName::None => None,
        }
    }

    fn fg(self, of: fn(&Palette) -> Color) -> Style {
        match self.palette() {
            Some(p) => Style::new().fg(of(p)),
            None => Style::new(),
        }
    }

    /// Ordinary text.
    pub fn text(self) -> Style {
        Style::new()
    }

    /// Text that must be seen first.
    pub fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// What matters less.
    pub fn dim(self) -> Style {
        match self.palette() {
            Some(p) => Style::new().fg(p.dim),
            None => Style::new().add_modifier(Modifier::DIM),
        }
    }

    /// Names of things, titles.
    pub fn accent(self) -> Style {
        self.fg(|p| p.accent).add_modifier(Modifier::BOLD)
    }

    /// The chosen row.
    pub fn selected(self) -> Style {
        match self.palette() {
            Some(p) => Style::new().bg(p.selected).add_modifier(Modifier::BOLD),
            None => Style::new().add_modifier(Modifier::REVERSED),
        }
    }

    /// The chosen row of a pane that has not the focus.
    pub fn selected_elsewhere(self) -> Style {
        match self.palette() {
            Some(p) if p.elsewhere != Color::Reset => Style::new().bg(p.elsewhere),
            _ => Style::new().add_modifier(Modifier::UNDERLINED),
        }
    }

    /// All is well.
    pub fn good(self) -> Style {
        self.fg(|p| p.good)
    }

    /// Worth a look.
    pub fn warn(self) -> Style {
        self.fg(|p| p.warn)
    }

    /// Traffic dies here.
    pub fn bad(self) -> Style {
        self.fg(|p| p.bad).add_modifier(Modifier::BOLD)
    }

    /// A table that is filled to a part between 0 and 1.
    pub fn fill(self, part: f64) -> Style {
        match part {
            p if p >= 0.95 => self.bad(),
            p if p >= 0.8 => self.warn(),
            _ => self.good(),
        }
    }

    /// Movement: rates that are not 0, sparklines.
    pub fn busy(self) -> Style {
        self.fg(|p| p.busy)
    }

    /// Heads of columns.
    pub fn head(self) -> Style {
        self.fg(|p| p.head).add_modifier(Modifier::BOLD)
    }

    /// The column that sorts.
    pub fn sorted(self) -> Style {
        self.fg(|p| p.accent).add_modifier(Modifier::BOLD | Modifier::UNDERLINED)
    }

    /// Lines around panes.
    pub fn frame(self, focus: bool) -> Style {
        if focus { self.fg(|p| p.accent) } else { self.dim() }
    }

    /// Keys in hints.
    pub fn key(self) -> Style {
        self.fg(|p| p.key).add_modifier(Modifier::BOLD)
    }

    /// A label that is on: the chosen tab.
    pub fn on(self) -> Style {
        self.accent().add_modifier(Modifier::REVERSED)
    }
}
