//! Values of flags, as people write them.

use crate::config::interval;
use crate::format::time_span;
use std::time::Duration;

/// A time between readings.
pub(super) fn parse_interval(text: &str) -> Result<Duration, String> {
    interval(time_span(text)?.as_secs_f64()).map_err(str::to_string)
}

/// How long to go on: up to a week.
pub(super) fn parse_span(text: &str) -> Result<Duration, String> {
    const WEEK: Duration = Duration::from_secs(7 * 86_400);
    match time_span(text)? {
        t if (Duration::from_millis(100)..=WEEK).contains(&t) => Ok(t),
        _ => Err("choose between 0.1 seconds and a week".into()),
    }
}

/// Bytes, or a number with k, M or G.
pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    let (number, unit) = match text.char_indices().next_back() {
        Some((i, 'k' | 'K')) => (&text[..i], 1u64 << 10),
        Some((i, 'm' | 'M')) => (&text[..i], 1 << 20),
        Some((i, 'g' | 'G')) => (&text[..i], 1 << 30),
        _ => (text, 1),
    };
    match number.parse::<f64>() {
        Ok(n) if n > 0.0 && n * unit as f64 >= 64.0 * 1024.0 => Ok((n * unit as f64) as u64),
        Ok(_) => Err("choose 64k or more".into()),
        Err(_) => Err(format!("`{text}` is no size: 500M, 2G")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_read_as_one_writes_them() {
        assert_eq!(parse_span("90"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_span("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(parse_span("1.5h"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse_span("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse_size("2G"), Ok(2 << 30));
        assert_eq!(parse_size("64k"), Ok(65_536));
        for bad in ["", "m", "-1", "1x", "9999d", "0"] {
            assert!(parse_span(bad).is_err(), "{bad}");
        }
        for bad in ["", "G", "-1G", "1", "1x"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }
}
