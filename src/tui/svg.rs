//! A frame as SVG: each run of cells of one style is a text, its background a rectangle.

use super::theme::Theme;
use crate::config::ThemeName;
use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier, Style};
use unicode_width::UnicodeWidthStr;

/// Size of a cell.
const W: f64 = 8.4;
const H: f64 = 18.0;

/// The 16 colours as terminals show them, dark and light.
fn ansi(n: u8, light: bool) -> &'static str {
    const DARK: [&str; 16] = [
        "#1b1e27", "#f07178", "#7ec699", "#e5c07b", "#6aa3f0", "#c792ea", "#56c8d8", "#b8bdc9", "#737a8c",
        "#ff8b92", "#9fd8a8", "#ffd68a", "#8fbcff", "#ddb3ff", "#8be9f5", "#f4f6fb",
    ];
    const LIGHT: [&str; 16] = [
        "#1b1e27", "#b3262e", "#217a3c", "#8a5a00", "#1f54b0", "#7a2f9e", "#00707f", "#4a4f5c", "#7b8191",
        "#c8323b", "#2a8f49", "#a06a00", "#2b66cc", "#9040b8", "#00879a", "#1b1e27",
    ];
    if light { LIGHT[usize::from(n & 15)] } else { DARK[usize::from(n & 15)] }
}

fn colour(c: Color, default: &str, light: bool) -> String {
    let of = |n: u8| ansi(n, light).to_string();
    match c {
        Color::Reset => default.into(),
        Color::Black => of(0),
        Color::Red => of(1),
        Color::Green => of(2),
        Color::Yellow => of(3),
        Color::Blue => of(4),
        Color::Magenta => of(5),
        Color::Cyan => of(6),
        Color::Gray => of(7),
        Color::DarkGray => of(8),
        Color::LightRed => of(9),
        Color::LightGreen => of(10),
        Color::LightYellow => of(11),
        Color::LightBlue => of(12),
        Color::LightMagenta => of(13),
        Color::LightCyan => of(14),
        Color::White => of(15),
        Color::Rgb(r, g, b) => format!("#{r:02x}{g:02x}{b:02x}"),
        Color::Indexed(n @ 0..=15) => of(n),
        // A cube of 6 levels each, then 24 greys (xterm's 256colres.h).
        Color::Indexed(n @ 16..=231) => {
            let level = |n: u8| if n == 0 { 0 } else { 55 + 40 * n };
            let n = n - 16;
            format!("#{:02x}{:02x}{:02x}", level(n / 36), level(n / 6 % 6), level(n % 6))
        }
        Color::Indexed(n) => format!("#{0:02x}{0:02x}{0:02x}", 8 + 10 * (n - 232)),
    }
}

/// A colour behind text: terminals have blue in a dark shade, on which light text is read.
fn ground(c: Color, light: bool) -> String {
    match c {
        Color::Blue | Color::Indexed(4) if !light => "#1f4f9e".into(),
        c => colour(c, "none", light),
    }
}

/// Text between tags. What XML 1.0 does not allow (`Char`, section 2.2) is replaced.
fn escape(text: &str) -> String {
    let allowed = |c: char| matches!(c, ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    let text: String = text.chars().map(|c| if allowed(c) { c } else { '\u{fffd}' }).collect();
    text.replace('&', "&amp;").replace('<', "&lt;").replace(' ', "\u{a0}")
}

/// The styles in which two cells look alike.
fn style_of(cell: &Cell) -> (Color, Color, Modifier) {
    let style: Style = cell.style();
    (style.fg.unwrap_or_default(), style.bg.unwrap_or_default(), style.add_modifier)
}

/// The dots of a braille pattern as its bits; 0 for anything else.
fn braille(symbol: &str) -> u8 {
    match symbol.chars().next() {
        Some(c @ '\u{2800}'..='\u{28ff}') => (c as u32 - 0x2800) as u8,
        _ => 0,
    }
}

/// The dots of a cell as a path.
fn dots_of(dots: u8, x: u16, y: u16, ink: &str) -> String {
    // Bits of a pattern by column and row (Unicode, Braille Patterns).
    const BITS: [[u8; 4]; 2] = [[0, 1, 2, 6], [3, 4, 5, 7]];
    let mut path = String::new();
    for (column, bits) in BITS.iter().enumerate() {
        for (row, bit) in bits.iter().enumerate() {
            if dots & 1 << bit != 0 {
                let px = 12.0 + f64::from(x) * W + W * (0.25 + 0.5 * column as f64) - 1.1;
                let py = 12.0 + f64::from(y) * H + H * (0.125 + 0.25 * row as f64) - 1.1;
                path.push_str(&format!("M{px:.1} {py:.1}h2.2v2.2h-2.2z"));
            }
        }
    }
    format!("<path d=\"{path}\" fill=\"{ink}\"/>\n")
}

/// Draws a frame as an SVG file.
pub fn svg(buffer: &Buffer, theme: Theme) -> String {
    let light = theme.name == ThemeName::Light;
    let (ink, paper) = if light { ("#24262d", "#fbfbf8") } else { ("#d7dae0", "#1b1e27") };
    let area = buffer.area;
    let (width, height) = (f64::from(area.width) * W + 24.0, f64::from(area.height) * H + 24.0);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         font-family=\"ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace\" font-size=\"14\">\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"{paper}\"/>\n"
    );
    for y in 0..area.height {
        let mut x = 0;
        while x < area.width {
            let style = style_of(&buffer[(x, y)]);
            let (start, mut run) = (x, String::new());
            while x < area.width && style_of(&buffer[(x, y)]) == style {
                let symbol = buffer[(x, y)].symbol();
                // Fonts of browsers have these in any width: their dots are drawn one by one.
                let dots = braille(symbol);
                if dots != 0 {
                    out.push_str(&dots_of(dots, x, y, &colour(style.0, ink, light)));
                }
                let symbol = if dots != 0 { " " } else { symbol };
                run.push_str(symbol);
                // A wide character is on two cells, the second of which is blank.
                x += (symbol.width() as u16).max(1);
            }
            let (mut fg, mut bg) = (colour(style.0, ink, light), ground(style.1, light));
            if style.2.contains(Modifier::REVERSED) {
                (fg, bg) = (paper.into(), fg);
            }
            let (px, py) = (12.0 + f64::from(start) * W, 12.0 + f64::from(y) * H);
            let length = f64::from(x - start) * W;
            if bg != "none" {
                out.push_str(&format!(
                    "<rect x=\"{px:.1}\" y=\"{py:.1}\" width=\"{length:.1}\" height=\"{H}\" fill=\"{bg}\"/>\n"
                ));
            }
            if run.trim().is_empty() {
                continue;
            }
            let mut more = String::new();
            if style.2.contains(Modifier::BOLD) {
                more.push_str(" font-weight=\"bold\"");
            }
            if style.2.contains(Modifier::UNDERLINED) {
                more.push_str(" text-decoration=\"underline\"");
            }
            if style.2.contains(Modifier::DIM) {
                more.push_str(" opacity=\"0.6\"");
            }
            let blanks = run.chars().take_while(|c| *c == ' ').count();
            let (px, length) = (px + blanks as f64 * W, run.trim().width() as f64 * W);
            out.push_str(&format!(
                "<text x=\"{px:.1}\" y=\"{:.1}\" textLength=\"{length:.1}\" fill=\"{fg}\"{more}>{}</text>\n",
                py + 13.5,
                escape(run.trim())
            ));
        }
    }
    out.push_str("</svg>\n");
    out
}
