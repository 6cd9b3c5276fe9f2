//! Sparklines and bars out of block characters.

use crate::rates::Recent;

/// A cell that is filled by eighths, from below.
pub(super) const LEVELS: [&str; 8] = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];

/// The next round figure: a line whose scale changes moves as a whole.
fn round_up(top: f32) -> f32 {
    if top <= 0.0 {
        return 0.0;
    }
    let decade = 10f32.powi(top.log10().floor() as i32);
    [1.0, 1.5, 2.0, 3.0, 5.0, 7.0]
        .map(|n| n * decade)
        .into_iter()
        .find(|n| *n >= top)
        .unwrap_or(10.0 * decade)
}

/// The highest figure on a line of this width, rounded up. The newest reading is on it as soon as its cell is full, and is within it before.
pub(crate) fn top_of(history: &Recent, width: usize) -> f32 {
    round_up(history.cells(width).into_iter().chain(history.newest()).fold(0.0f32, f32::max))
}

/// The last readings as one line of blocks, the newest at the right, on a scale of its own.
pub(crate) fn sparkline(history: &Recent, width: usize) -> String {
    sparkline_to(history, width, top_of(history, width))
}

/// The same on a given scale. A value of 0 is a blank base line, so that movement is easy to see.
pub(crate) fn sparkline_to(history: &Recent, width: usize, top: f32) -> String {
    let shown = history.cells(width);
    let mut line = " ".repeat(width - shown.len());
    for v in shown {
        line.push_str(if v <= 0.0 || top <= 0.0 {
            LEVELS[0]
        } else {
            LEVELS[((v / top * 7.0).round() as usize).clamp(1, 7)]
        });
    }
    line
}

/// From the least to the most.
const SHADES: [&str; 4] = ["░", "▒", "▓", "█"];

/// A cell: a part of the most on a logarithmic scale, as a few Services have nearly all of the traffic.
pub(crate) fn shade(value: f32, top: f32) -> &'static str {
    if value <= 0.0 || top <= 0.0 {
        return "·";
    }
    let part = (1.0 + value).ln() / (1.0 + top).ln();
    SHADES[((part * SHADES.len() as f32).ceil() as usize).clamp(1, SHADES.len()) - 1]
}

/// Each shade, and the most that it stands for where the most of all is `top`.
pub(crate) fn shade_tops(top: f32) -> [(&'static str, f32); SHADES.len()] {
    let of = |i: usize| ((1.0 + top).ln() * (i + 1) as f32 / SHADES.len() as f32).exp() - 1.0;
    std::array::from_fn(|i| (SHADES[i], of(i)))
}

/// A bar of `width` columns, filled to a part between 0 and 1 in steps of an eighth.
pub(crate) fn bar(part: f64, width: usize) -> String {
    const EIGHTHS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
    let eighths = (part.clamp(0.0, 1.0) * width as f64 * 8.0).round() as usize;
    let (full, rest) = (eighths / 8, eighths % 8);
    let mut text = "█".repeat(full.min(width));
    if full < width {
        text.push(EIGHTHS[rest]);
        text.push_str(&" ".repeat(width - full - 1));
    }
    text
}

/// By how much a figure differs from what it should be, from a line in the middle: to the left where it is less, to the
/// right where it is more. A full side is nothing at all, and twice as much.
pub(crate) fn difference_bar(real: f64, expected: f64, width: usize) -> String {
    if width < 3 || expected <= 0.0 {
        return " ".repeat(width);
    }
    let side = (width - 1) / 2;
    let difference = (real / expected - 1.0).clamp(-1.0, 1.0);
    let right = bar(difference.max(0.0), side);
    // There is one block that fills a cell from the right: half of it.
    let halves = (-difference.min(0.0) * side as f64 * 2.0).round() as usize;
    let left = format!("{}{}", if halves % 2 == 1 { "▐" } else { "" }, "█".repeat(halves / 2));
    format!("{left:>side$}│{right}{}", " ".repeat(width - 1 - 2 * side))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_is_seen_beside_much() {
        assert_eq!([0.0, 0.2, 9.0, 90.0, 1000.0].map(|v| shade(v, 1000.0)), ["·", "░", "▒", "▓", "█"]);
        assert_eq!(shade(1.0, 0.0), "·");
        // The legend says where one shade ends and the next begins.
        for (mark, most) in shade_tops(1000.0) {
            assert_eq!(shade(most * 0.999, 1000.0), mark);
        }
    }

    #[test]
    fn a_difference_goes_to_its_side() {
        assert_eq!(difference_bar(0.25, 0.25, 9), "    │    ");
        assert_eq!(difference_bar(0.0, 0.25, 9), "████│    ");
        assert_eq!(difference_bar(0.125, 0.25, 10), "  ██│     ");
        assert_eq!(difference_bar(0.375, 0.25, 9), "    │██  ");
        assert_eq!(difference_bar(0.9, 0.25, 9), "    │████");
        assert_eq!(difference_bar(0.22, 0.25, 9), "   ▐│    ");
        assert_eq!(difference_bar(0.3, 0.0, 4), "    ");
        for (width, real) in (0..14).flat_map(|w| [0.0, 0.1, 0.3, 7.0].map(|r| (w, r))) {
            assert_eq!(difference_bar(real, 0.2, width).chars().count(), width);
        }
    }

    #[test]
    fn lines_have_their_width() {
        for n in [0, 1, 5, 50] {
            let history = Recent::of(0, (0..n).map(|i| i as f32).collect());
            assert_eq!(sparkline(&history, 12).chars().count(), 12);
        }
        assert_eq!(sparkline(&Recent::of(0, vec![0.0, 0.0, 5.0]), 3), "▁▁█");
        assert_eq!(sparkline(&Recent::default(), 3), "   ");
        for (top, round) in [(0.0, 0.0), (1.0, 1.0), (4.2, 5.0), (71.0, 100.0), (0.12, 0.15)] {
            assert!((round_up(top) - round).abs() < 1e-5, "{top}: {}", round_up(top));
        }
        for (part, text) in [(0.0, "    "), (0.5, "██  "), (1.0, "████"), (0.53, "██▏ "), (7.0, "████")]
        {
            assert_eq!(bar(part, 4), text);
        }
    }
}
