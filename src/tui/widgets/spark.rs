//! Sparklines and bars out of block characters.

use crate::rates::Recent;

const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

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

/// The last readings as one line of blocks, the newest at the right. A value of 0 is a blank base line, so that
/// movement is easy to see.
pub(crate) fn sparkline(history: &Recent, width: usize) -> String {
    let shown = history.cells(width);
    let top = round_up(shown.iter().copied().fold(0.0f32, f32::max));
    let mut line = " ".repeat(width - shown.len());
    for v in shown {
        line.push(if v <= 0.0 || top <= 0.0 {
            '▁'
        } else {
            LEVELS[((v / top * 7.0).round() as usize).clamp(1, 7)]
        });
    }
    line
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

/// The same with a mark where another part ends, unless it is reached: what should be beside what is.
pub(crate) fn marked_bar(part: f64, mark: Option<f64>, width: usize) -> String {
    let text = bar(part, width);
    let Some(mark) = mark.filter(|_| width > 0) else { return text };
    let at = ((mark.clamp(0.0, 1.0) * width as f64).round() as usize).clamp(1, width) - 1;
    let mut cells: Vec<char> = text.chars().collect();
    if cells[at] != '█' {
        cells[at] = '│';
    }
    cells.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_shows_what_is_missing() {
        assert_eq!(marked_bar(0.25, Some(0.5), 8), "██ │    ");
        assert_eq!(marked_bar(1.0, Some(0.5), 4), "████");
        assert_eq!(marked_bar(0.0, None, 2), "  ");
        assert_eq!(marked_bar(0.3, Some(2.0), 0), "");
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
