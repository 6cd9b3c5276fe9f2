//! Sparklines and bars out of block characters.

const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The last values of a history as one line of blocks, the newest at the right. A value of 0 is a blank base
/// line, so that movement stands out.
pub(crate) fn sparkline(history: &[f32], width: usize) -> String {
    let from = history.len().saturating_sub(width);
    let shown = &history[from..];
    let top = shown.iter().copied().fold(0.0f32, f32::max);
    let mut line = " ".repeat(width - shown.len());
    for v in shown {
        line.push(if *v <= 0.0 || top <= 0.0 {
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
            let history: Vec<f32> = (0..n).map(|i| i as f32).collect();
            assert_eq!(sparkline(&history, 12).chars().count(), 12);
        }
        assert_eq!(sparkline(&[0.0, 0.0, 4.0], 3), "▁▁█");
        for (part, text) in [(0.0, "    "), (0.5, "██  "), (1.0, "████"), (0.53, "██▏ "), (7.0, "████")]
        {
            assert_eq!(bar(part, 4), text);
        }
    }
}
