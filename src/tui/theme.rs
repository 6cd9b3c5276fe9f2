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
    /// Colours that cannot be read on these backgrounds, and what is taken for them there.
    on_chosen: &'static [(Color, Color)],
}

/// Most of it in the terminal's own colours, so that it goes with them; 24 greys for what lies behind. Each can be read
/// on each background: 4.5 to 1 and better, with xterm's own colours.
const DARK: Palette = Palette {
    dim: Color::Indexed(246),
    accent: Color::Cyan,
    good: Color::Green,
    warn: Color::Yellow,
    bad: Color::LightRed,
    busy: Color::LightGreen,
    head: Color::Gray,
    key: Color::Yellow,
    selected: Color::Indexed(238),
    elsewhere: Color::Indexed(235),
    on_chosen: &[(Color::Indexed(246), Color::Indexed(250)), (Color::LightRed, Color::Indexed(217))],
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
    selected: Color::Indexed(254),
    elsewhere: Color::Indexed(255),
    on_chosen: &[
        (Color::Indexed(243), Color::Indexed(240)),
        (Color::Indexed(28), Color::Indexed(22)),
        (Color::Indexed(130), Color::Indexed(58)),
        (Color::Indexed(160), Color::Indexed(124)),
        (Color::Indexed(29), Color::Indexed(23)),
    ],
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
    on_chosen: &[(Color::LightRed, Color::White)],
};

const ANSI: Palette = Palette {
    dim: Color::Gray,
    accent: Color::Cyan,
    good: Color::Green,
    warn: Color::Yellow,
    bad: Color::LightRed,
    busy: Color::Green,
    head: Color::Reset,
    key: Color::Yellow,
    selected: Color::Blue,
    elsewhere: Color::Reset,
    on_chosen: &[(Color::Green, Color::LightGreen), (Color::LightRed, Color::White)],
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

    /// The colour that takes a text's own place where its row is chosen.
    pub fn on_chosen(self, color: Color) -> Color {
        let changed = self.palette().map_or(&[][..], |p| p.on_chosen);
        changed.iter().find(|c| c.0 == color).map_or(color, |c| c.1)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Red, green and blue of a colour as xterm has it (its `256colres.h` and `XTerm-col.ad`).
    fn rgb(color: Color, reset: [u8; 3]) -> [u8; 3] {
        let basic: [[u8; 3]; 16] = [
            [0, 0, 0],
            [205, 0, 0],
            [0, 205, 0],
            [205, 205, 0],
            [0, 0, 238],
            [205, 0, 205],
            [0, 205, 205],
            [229, 229, 229],
            [127, 127, 127],
            [255, 0, 0],
            [0, 255, 0],
            [255, 255, 0],
            [92, 92, 255],
            [255, 0, 255],
            [0, 255, 255],
            [255, 255, 255],
        ];
        match color {
            Color::Reset => reset,
            Color::Green => basic[2],
            Color::Yellow => basic[3],
            Color::Blue => basic[4],
            Color::Cyan => basic[6],
            Color::Gray => basic[7],
            Color::LightRed => basic[9],
            Color::LightGreen => basic[10],
            Color::LightYellow => basic[11],
            Color::LightCyan => basic[14],
            Color::White => basic[15],
            Color::Indexed(n @ 16..=231) => {
                let level = |v: u8| if v == 0 { 0 } else { 55 + 40 * v };
                let n = n - 16;
                [level(n / 36), level(n / 6 % 6), level(n % 6)]
            }
            Color::Indexed(n @ 232..) => [8 + 10 * (n - 232); 3],
            other => panic!("{other:?} is no colour of a theme"),
        }
    }

    /// Contrast as WCAG 2.2 defines it.
    fn contrast(a: [u8; 3], b: [u8; 3]) -> f64 {
        let light = |c: [u8; 3]| -> f64 {
            let one = |v: u8| match f64::from(v) / 255.0 {
                v if v <= 0.04045 => v / 12.92,
                v => ((v + 0.055) / 1.055).powf(2.4),
            };
            0.2126 * one(c[0]) + 0.7152 * one(c[1]) + 0.0722 * one(c[2])
        };
        let (a, b) = (light(a), light(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn every_text_can_be_read_on_every_background() {
        for &name in ThemeName::ALL {
            let theme = Theme::new(name);
            let Some(p) = theme.palette() else { continue };
            let (paper, ink) = match name {
                ThemeName::Light => ([255; 3], [0; 3]),
                _ => ([0; 3], [229; 3]),
            };
            let colors = [p.dim, p.accent, p.good, p.warn, p.bad, p.busy, p.head, p.key, Color::Reset];
            for color in colors {
                let plain = contrast(rgb(color, ink), paper);
                assert!(plain >= 4.5, "{}: {color:?} has {plain:.1}", name.name());
                for back in [p.selected, p.elsewhere] {
                    let at = theme.on_chosen(color);
                    let chosen = contrast(rgb(at, ink), rgb(back, paper));
                    assert!(chosen >= 4.5, "{}: {at:?} on {back:?} has {chosen:.1}", name.name());
                }
            }
        }
    }
}
