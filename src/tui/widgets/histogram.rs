//! How often each time was seen, over a logarithmic axis.

use super::put;
use super::spark::LEVELS;
use crate::tui::theme::Theme;
use ratatui::Frame;
use ratatui::layout::Rect;
use std::time::Duration;

/// Columns of a bar at most.
const WIDEST: usize = 4;
/// The least that a bar spans: times are known to 6 %, and bars that are narrower would be a comb.
const FINEST: f64 = 1.13;

/// Bars over a logarithmic axis of time.
#[derive(Debug, PartialEq)]
struct Bars {
    /// Where the axis begins and ends, in seconds.
    from: f64,
    to: f64,
    counts: Vec<u64>,
}

impl Bars {
    /// At most so many bars; `None` without times.
    fn of(times: &[(Duration, u32)], most: usize) -> Option<Bars> {
        let seconds = |t: Duration| t.as_secs_f64().max(1e-7);
        let (first, last) = (seconds(times.first()?.0), seconds(times.last()?.0));
        // A little room at both ends, and never less than a factor of four: one time alone is one bar in the middle.
        let middle = (first * last).sqrt();
        let (from, to) = ((first / 1.2).min(middle / 2.0), (last * 1.2).max(middle * 2.0));
        let finest = ((to / from).ln() / FINEST.ln()).floor() as usize;
        let bars = finest.min(most).max(1);
        let mut counts = vec![0; bars];
        for (t, n) in times {
            let part = (seconds(*t) / from).ln() / (to / from).ln();
            counts[((part * bars as f64) as usize).min(bars - 1)] += u64::from(*n);
        }
        Some(Bars { from, to, counts })
    }

    /// Where a time is on the axis, as a part of it.
    fn part(&self, seconds: f64) -> f64 {
        (seconds / self.from).ln() / (self.to / self.from).ln()
    }
}

/// `10 µs`, `1 ms`: a power of ten.
fn tick(power: i32) -> String {
    let (number, unit) = match power {
        ..-6 => (10f64.powi(power + 9), "ns"),
        -6..-3 => (10f64.powi(power + 6), "µs"),
        -3..0 => (10f64.powi(power + 3), "ms"),
        _ => (10f64.powi(power), "s"),
    };
    format!("{number:.0} {unit}")
}

/// Draws times (in order) and how often each was seen: bars, the axis below them. On less than three lines, nothing.
pub(in crate::tui) fn histogram(frame: &mut Frame<'_>, theme: Theme, area: Rect, times: &[(Duration, u32)]) {
    if area.height < 3 || area.width < 24 {
        return;
    }
    let Some(bars) = Bars::of(times, usize::from(area.width)) else { return };
    let width = (usize::from(area.width) / bars.counts.len()).min(WIDEST);
    let most = bars.counts.iter().copied().max().unwrap_or(0).max(1);
    let height = area.height - 2;
    for (i, n) in bars.counts.iter().enumerate() {
        // What is there is seen, however little.
        let eighths = (*n as f64 / most as f64 * f64::from(height) * 8.0).round() as usize;
        let eighths = if *n > 0 { eighths.max(1) } else { 0 };
        for row in 0..height {
            let level = eighths.saturating_sub(usize::from(row) * 8).min(8);
            if level == 0 {
                break;
            }
            let place = Rect {
                x: area.x + (i * width) as u16,
                y: area.y + height - 1 - row,
                width: width as u16,
                height: 1,
            };
            put(frame, place, &LEVELS[level - 1].repeat(width), theme.busy(), false);
        }
    }
    let long = bars.counts.len() * width;
    let axis = Rect { y: area.y + height, width: long as u16, height: 1, ..area };
    put(frame, axis, &"─".repeat(long), theme.dim(), false);
    let (first, last) = (bars.from.log10().ceil() as i32, bars.to.log10().floor() as i32);
    // Between two powers of ten, halves and fifths say where one is.
    let steps: &[f64] = if last - first >= 1 { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let mut free = 0;
    for power in first - 1..=last {
        for step in steps {
            let part = bars.part(step * 10f64.powi(power));
            if !(0.0..1.0).contains(&part) {
                continue;
            }
            let x = (part * long as f64) as usize;
            put(frame, Rect { x: axis.x + x as u16, width: 1, ..axis }, "┴", theme.dim(), false);
            let text = match *step {
                1.0 => tick(power),
                step => {
                    let one = tick(power);
                    let (number, unit) = one.split_once(' ').unwrap_or((&one, ""));
                    format!("{} {unit}", number.parse::<f64>().unwrap_or(1.0) * step)
                }
            };
            let wide = text.chars().count();
            if x >= free && x + wide <= usize::from(area.width) {
                put(
                    frame,
                    Rect { x: axis.x + x as u16, y: axis.y + 1, width: wide as u16, height: 1 },
                    &text,
                    theme.dim(),
                    false,
                );
                free = x + wide + 2;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn micros(n: u64) -> Duration {
        Duration::from_micros(n)
    }

    #[test]
    fn bars_are_equal_parts_of_a_logarithmic_axis() {
        let bars = Bars::of(&[(micros(10), 3), (micros(100), 5), (micros(1000), 1)], 40).unwrap();
        let at = |n: u64| bars.counts.iter().position(|c| *c == n).unwrap() as f64;
        assert!(((at(5) - at(3)) - (at(1) - at(5))).abs() <= 1.0, "{bars:?}");
        // One time is one bar in the middle, not a wall.
        let one = Bars::of(&[(micros(200), 7)], 40).unwrap();
        assert_eq!(one.counts.iter().filter(|n| **n > 0).count(), 1);
        assert!(one.counts.len() >= 10 && one.counts[0] == 0, "{one:?}");
        assert_eq!(Bars::of(&[], 40), None);
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(
            [-9, -7, -6, -4, -3, -1, 0, 1].map(tick),
            ["1 ns", "100 ns", "1 µs", "100 µs", "1 ms", "100 ms", "1 s", "10 s"]
        );
    }

    proptest! {
        #[test]
        fn every_time_is_in_a_bar(mut times in prop::collection::vec((0u64..1 << 34, 1u32..1000), 1..40), most in 1usize..200) {
            times.sort();
            let times: Vec<(Duration, u32)> = times.into_iter().map(|(t, n)| (micros(t), n)).collect();
            let bars = Bars::of(&times, most).unwrap();
            let all: u64 = times.iter().map(|t| u64::from(t.1)).sum();
            prop_assert_eq!(bars.counts.iter().sum::<u64>(), all);
            prop_assert!(bars.counts.len() <= most && bars.from < bars.to);
        }
    }
}
