//! Frames as few bytes: what a slow SSH line carries. crossterm does the rest of a backend's work; the cells that
//! changed are written here, in the order of their styles and columns, with the shortest way from one to the next. That is
//! 0.6 of the bytes that ratatui's `CrosstermBackend` sends (docs/benchmarks.md), in the same time.

use ratatui::backend::{Backend, ClearType, CrosstermBackend, WindowSize};
use ratatui::buffer::Cell;
use ratatui::layout::{Position, Size};
use ratatui::style::{Color, Modifier};
use std::io::{self, Write};
use unicode_width::UnicodeWidthStr;

/// A backend that sends little, and never asks the terminal where its cursor is. ratatui asks before it clears the
/// screen; on a slow line the answer comes too late, or gets mixed up with keys. A full screen needs no answer.
#[derive(Debug)]
pub struct Wire<W: Write> {
    inner: CrosstermBackend<W>,
    cursor_is_hidden: bool,
    frame: Vec<u8>,
}

impl<W: Write> Wire<W> {
    /// Writes to `out`, which should buffer: a slow line shows no half-drawn frame then.
    pub fn new(out: W) -> Wire<W> {
        Wire { inner: CrosstermBackend::new(out), cursor_is_hidden: false, frame: Vec::new() }
    }
}

/// What a cell looks like apart from its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look {
    fg: Color,
    bg: Color,
    modifier: Modifier,
}

const PLAIN: Look = Look { fg: Color::Reset, bg: Color::Reset, modifier: Modifier::empty() };

/// Cells of one look that are side by side.
struct Run {
    x: u16,
    y: u16,
    look: usize,
    text: String,
    width: u16,
}

/// Parameters of SGR (ECMA-48 8.3.117) for a colour; `base` is 30 for text, 40 for what is behind.
fn colour(c: Color, base: u8, out: &mut Vec<String>) {
    let mut say = |n: u8| out.push(n.to_string());
    match c {
        Color::Reset => say(base + 9),
        Color::Black => say(base),
        Color::Red => say(base + 1),
        Color::Green => say(base + 2),
        Color::Yellow => say(base + 3),
        Color::Blue => say(base + 4),
        Color::Magenta => say(base + 5),
        Color::Cyan => say(base + 6),
        Color::Gray => say(base + 7),
        Color::DarkGray => say(base + 60),
        Color::LightRed => say(base + 61),
        Color::LightGreen => say(base + 62),
        Color::LightYellow => say(base + 63),
        Color::LightBlue => say(base + 64),
        Color::LightMagenta => say(base + 65),
        Color::LightCyan => say(base + 66),
        Color::White => say(base + 67),
        Color::Indexed(n) => out.push(format!("{};5;{n}", base + 8)),
        Color::Rgb(r, g, b) => out.push(format!("{};2;{r};{g};{b}", base + 8)),
    }
}

const MODIFIERS: [(Modifier, u8); 9] = [
    (Modifier::BOLD, 1),
    (Modifier::DIM, 2),
    (Modifier::ITALIC, 3),
    (Modifier::UNDERLINED, 4),
    (Modifier::SLOW_BLINK, 5),
    (Modifier::RAPID_BLINK, 6),
    (Modifier::REVERSED, 7),
    (Modifier::HIDDEN, 8),
    (Modifier::CROSSED_OUT, 9),
];

/// From one look to another.
fn sgr(from: Look, to: Look) -> String {
    if from == to {
        return String::new();
    }
    if to == PLAIN {
        return "\x1b[m".into();
    }
    let mut parts = Vec::new();
    // What is on can be switched off one by one, but not everywhere alike: all off, then on again.
    let from = if to.modifier.contains(from.modifier) {
        from
    } else {
        parts.push("0".to_string());
        PLAIN
    };
    for (modifier, number) in MODIFIERS {
        if to.modifier.contains(modifier) && !from.modifier.contains(modifier) {
            parts.push(number.to_string());
        }
    }
    if to.fg != from.fg {
        colour(to.fg, 30, &mut parts);
    }
    if to.bg != from.bg {
        colour(to.bg, 40, &mut parts);
    }
    format!("\x1b[{}m", parts.join(";"))
}

/// The shortest way of the cursor from one place to another: straight down, then aside (ECMA-48 8.3.19, 8.3.5, 8.3.18
/// and 8.3.20). A line feed would be shorter, but scrolls where a terminal has another bottom in mind.
fn way(from: Option<(u16, u16)>, to: (u16, u16)) -> String {
    let absolute = format!("\x1b[{};{}H", to.1 + 1, to.0 + 1);
    let Some((x, y)) = from.filter(|f| f.1 <= to.1) else { return absolute };
    let down = match to.1 - y {
        0 => String::new(),
        1 => "\x1b[B".into(),
        n => format!("\x1b[{n}B"),
    };
    let aside = match (to.0 >= x, to.0.abs_diff(x)) {
        (_, 0) => String::new(),
        (false, n @ 1..=4) => "\x08".repeat(usize::from(n)),
        (false, n) => format!("\x1b[{n}D"),
        (true, 1) => "\x1b[C".into(),
        (true, n) => format!("\x1b[{n}C"),
    };
    let relative = down + &aside;
    if relative.len() < absolute.len() { relative } else { absolute }
}

/// Writes changed cells. Begins and ends with a plain look, the cursor anywhere.
fn encode<'a>(cells: impl Iterator<Item = (u16, u16, &'a Cell)>, columns: u16, out: &mut Vec<u8>) {
    let mut looks: Vec<Look> = Vec::new();
    let mut runs: Vec<Run> = Vec::new();
    for (x, y, cell) in cells {
        let look = Look { fg: cell.fg, bg: cell.bg, modifier: cell.modifier };
        let at = looks.iter().position(|l| *l == look).unwrap_or_else(|| {
            looks.push(look);
            looks.len() - 1
        });
        // What turns the direction of text, or is a control character, is drawn as nothing.
        let symbol = crate::plain::visible(cell.symbol());
        let symbol = if symbol == cell.symbol() { cell.symbol() } else { "\u{fffd}" };
        let width = (symbol.width() as u16).max(1);
        match runs.last_mut() {
            Some(r) if r.y == y && r.x + r.width == x && r.look == at => {
                r.text.push_str(symbol);
                r.width += width;
            }
            _ => runs.push(Run { x, y, look: at, text: symbol.to_string(), width }),
        }
    }
    // Changes of a list are below each other in the same colours, figures with the same right edge.
    runs.sort_by_key(|r| (r.look, r.x + r.width, r.y));
    let (mut look, mut at) = (PLAIN, None);
    for r in &runs {
        out.extend_from_slice(sgr(look, looks[r.look]).as_bytes());
        look = looks[r.look];
        out.extend_from_slice(way(at, (r.x, r.y)).as_bytes());
        out.extend_from_slice(r.text.as_bytes());
        // Behind the last column terminals differ in where the cursor is.
        let end = r.x + r.width;
        at = (end < columns && r.text.is_ascii()).then_some((end, r.y));
        // Blocks are one column wide everywhere; of other letters terminals have their own opinions.
        if at.is_none() && end < columns && r.text.chars().all(|c| matches!(c, ' '..='~' | '─'..='▟')) {
            at = Some((end, r.y));
        }
    }
    out.extend_from_slice(sgr(look, PLAIN).as_bytes());
}

impl<W: Write> Backend for Wire<W> {
    type Error = io::Error;

    fn draw<'a, I>(&mut self, content: I) -> io::Result<()>
    where
        I: Iterator<Item = (u16, u16, &'a Cell)>,
    {
        self.frame.clear();
        // Only used to know the last column: a terminal that is narrower by now is drawn again anyway.
        let columns = crate::window::size().map_or(u16::MAX, |s| s.0);
        encode(content, columns, &mut self.frame);
        self.inner.write_all(&self.frame)
    }

    fn hide_cursor(&mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.cursor_is_hidden, true) {
            return Ok(());
        }
        self.inner.hide_cursor()
    }

    fn show_cursor(&mut self) -> io::Result<()> {
        self.cursor_is_hidden = false;
        // ratatui prints an error of this at its end, and panics where standard error is the same dead terminal.
        let _ = self.inner.show_cursor();
        Ok(())
    }

    fn get_cursor_position(&mut self) -> io::Result<Position> {
        Ok(Position::ORIGIN)
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> io::Result<()> {
        self.inner.set_cursor_position(position)
    }

    fn clear(&mut self) -> io::Result<()> {
        self.inner.clear()
    }

    fn clear_region(&mut self, region: ClearType) -> io::Result<()> {
        self.inner.clear_region(region)
    }

    fn size(&self) -> io::Result<Size> {
        let (width, height) = crate::window::size()?;
        Ok(Size { width, height })
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        Ok(WindowSize { columns_rows: self.size()?, pixels: Size::ZERO }) // pixels are for pictures only
    }

    fn flush(&mut self) -> io::Result<()> {
        Backend::flush(&mut self.inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use ratatui::buffer::Buffer;
    use ratatui::layout::Rect;
    use ratatui::style::Style;

    fn vt_colour(c: Color) -> vt100::Color {
        let named = [
            Color::Black,
            Color::Red,
            Color::Green,
            Color::Yellow,
            Color::Blue,
            Color::Magenta,
            Color::Cyan,
            Color::Gray,
            Color::DarkGray,
            Color::LightRed,
            Color::LightGreen,
            Color::LightYellow,
            Color::LightBlue,
            Color::LightMagenta,
            Color::LightCyan,
            Color::White,
        ];
        match c {
            Color::Reset => vt100::Color::Default,
            Color::Indexed(n) => vt100::Color::Idx(n),
            Color::Rgb(r, g, b) => vt100::Color::Rgb(r, g, b),
            other => vt100::Color::Idx(named.iter().position(|n| *n == other).unwrap() as u8),
        }
    }

    fn style() -> impl Strategy<Value = Style> {
        let colour = || {
            prop_oneof![
                Just(Color::Reset),
                Just(Color::Green),
                Just(Color::LightRed),
                Just(Color::DarkGray),
                (16u8..=255).prop_map(Color::Indexed),
                Just(Color::Rgb(1, 2, 3)),
            ]
        };
        let modifier = prop_oneof![
            Just(Modifier::empty()),
            Just(Modifier::BOLD),
            Just(Modifier::UNDERLINED | Modifier::BOLD),
            Just(Modifier::REVERSED),
        ];
        (colour(), colour(), modifier).prop_map(|(fg, bg, m)| Style::new().fg(fg).bg(bg).add_modifier(m))
    }

    proptest! {
        /// A terminal shows what was drawn, frame after frame.
        #[test]
        fn a_terminal_shows_what_was_drawn(
            frames in proptest::collection::vec(
                proptest::collection::vec((0u16..20, 0u16..6, "[a-z▁█│ é]{1,9}", style()), 0..12),
                1..5,
            ),
        ) {
            let area = Rect::new(0, 0, 20, 6);
            let mut terminal = vt100::Parser::new(area.height, area.width, 0);
            let mut before = Buffer::empty(area);
            for frame in frames {
                let mut now = Buffer::empty(area);
                for (x, y, text, style) in frame {
                    now.set_stringn(x, y, text, usize::from(area.width - x), style);
                }
                let mut bytes = Vec::new();
                encode(before.diff(&now).into_iter(), area.width, &mut bytes);
                terminal.process(&bytes);
                for y in 0..area.height {
                    let mut x = 0;
                    while x < area.width {
                        let (want, got) = (&now[(x, y)], terminal.screen().cell(y, x).unwrap());
                        let shown = if got.contents().is_empty() { " " } else { got.contents() };
                        prop_assert_eq!(want.symbol(), shown, "{} {}: {:?}", x, y, String::from_utf8_lossy(&bytes));
                        prop_assert_eq!(vt_colour(want.fg), got.fgcolor());
                        prop_assert_eq!(vt_colour(want.bg), got.bgcolor());
                        prop_assert_eq!(want.modifier.contains(Modifier::BOLD), got.bold());
                        prop_assert_eq!(want.modifier.contains(Modifier::REVERSED), got.inverse());
                        prop_assert_eq!(want.modifier.contains(Modifier::UNDERLINED), got.underline());
                        x += (want.symbol().width() as u16).max(1);
                    }
                }
                before = now;
            }
        }
    }

    #[test]
    fn wide_letters_break_no_column() {
        let area = Rect::new(0, 0, 20, 2);
        let mut terminal = vt100::Parser::new(area.height, area.width, 0);
        let (before, mut now) = (Buffer::empty(area), Buffer::empty(area));
        now.set_string(0, 0, "漢字 ab", Style::new());
        now.set_string(18, 0, "漢", Style::new());
        now.set_string(2, 1, "é漢b", Style::new().fg(Color::Red));
        let mut bytes = Vec::new();
        encode(before.diff(&now).into_iter(), area.width, &mut bytes);
        terminal.process(&bytes);
        assert_eq!(terminal.screen().contents(), "漢字 ab           漢\n  é漢b");
    }

    #[test]
    fn a_column_of_figures_costs_little() {
        let area = Rect::new(0, 0, 80, 24);
        let (mut before, mut now) = (Buffer::empty(area), Buffer::empty(area));
        for y in 2..22 {
            before.set_string(40, y, "1", Style::new().fg(Color::Green));
            now.set_string(40, y, "2", Style::new().fg(Color::Green));
        }
        let mut bytes = Vec::new();
        encode(before.diff(&now).into_iter(), area.width, &mut bytes);
        // Down, left, figure.
        assert!(bytes.len() < 20 * 5 + 20, "{} {:?}", bytes.len(), String::from_utf8_lossy(&bytes));
    }
}
