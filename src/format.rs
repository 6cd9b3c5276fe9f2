//! Figures in few characters, and text cut to a width: the same on the screen and in text.

use std::time::Duration;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// A number in at most five characters: `7`, `3.2`, `940`, `1.2k`, `35k`, `2.1M`.
pub fn short(n: f64) -> String {
    const UNITS: [&str; 5] = ["", "k", "M", "G", "T"];
    if n < 0.05 {
        return "0".into();
    }
    let (mut value, mut unit) = (n, 0);
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if value < 9.95 { format!("{value:.1}{}", UNITS[unit]) } else { format!("{value:.0}{}", UNITS[unit]) }
}

/// A count: exact while it fits in six characters.
pub fn count(n: u64) -> String {
    if n < 1_000_000 { n.to_string() } else { short(n as f64) }
}

/// A size in bytes, in powers of 1024.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (n as f64, 0);
    while value >= 1023.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 || value >= 99.5 {
        format!("{value:.0} {}", UNITS[unit])
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

/// Nanoseconds in the unit that people read: `840 ns`, `6.2 µs`, `62 µs`.
pub fn nanoseconds(ns: f64) -> String {
    match ns {
        n if n < 999.5 => format!("{n:.0} ns"),
        n if n < 9_950.0 => format!("{:.1} µs", n / 1e3),
        n if n < 999_500.0 => format!("{:.0} µs", n / 1e3),
        n if n < 9_950_000.0 => format!("{:.1} ms", n / 1e6),
        n if n < 999_500_000.0 => format!("{:.0} ms", n / 1e6),
        n => format!("{:.1} s", n / 1e9),
    }
}

/// A part of the whole in percent.
pub fn share_text(share: Option<f64>) -> String {
    match share {
        Some(s) if s > 0.0 && s < 0.0995 => format!("{:.1}%", s * 100.0),
        // 1/8 and its kin would not add up without their half.
        Some(s) if (s * 200.0 - (s * 200.0).round()).abs() < 1e-6 && (s * 100.0).fract().abs() > 1e-6 => {
            format!("{:.1}%", s * 100.0)
        }
        Some(s) => format!("{:.0}%", s * 100.0),
        None => "-".into(),
    }
}

/// A time in words of one or two units: `840 ms`, `12 s`, `5 min`, `3 h 20 min`, `4 d 2 h`.
pub fn duration(d: Duration) -> String {
    let (ms, s) = (d.as_millis(), d.as_secs());
    match s {
        0 if ms < 10 => format!("{:.1} ms", d.as_secs_f64() * 1000.0),
        0 => format!("{ms} ms"),
        1..10 if ms % 1000 != 0 => format!("{:.1} s", d.as_secs_f64()),
        1..120 => format!("{s} s"),
        120..7200 => format!("{} min", s / 60),
        7200..86_400 => format!("{} h {} min", s / 3600, s / 60 % 60),
        _ => format!("{} d {} h", s / 86_400, s / 3600 % 24),
    }
}

/// `1 rule`, `2 rules`.
pub fn plural(n: u64, what: &str) -> String {
    format!("{} {what}{}", count(n), if n == 1 { "" } else { "s" })
}

/// A point in time as part of a file's name: `20261123-140320`.
pub fn for_file_name(at: jiff::Timestamp) -> String {
    at.to_zoned(zone()).strftime("%Y%m%d-%H%M%S").to_string()
}

/// The time zone of this machine, or the one that `TZ` names. A `TZ` that leads to anything but a small file is left alone:
/// reading `/dev/zero` would never end.
fn zone() -> jiff::tz::TimeZone {
    static ZONE: std::sync::OnceLock<jiff::tz::TimeZone> = std::sync::OnceLock::new();
    let find = || {
        let named = std::env::var_os("TZ").map(|t| t.to_string_lossy().trim_start_matches(':').to_string());
        let path = named.map(std::path::PathBuf::from).filter(|p| p.has_root());
        let is_zone =
            |p: &std::path::PathBuf| std::fs::metadata(p).is_ok_and(|m| m.is_file() && m.len() < 1 << 20);
        match path {
            Some(p) if !is_zone(&p) => jiff::tz::TimeZone::UTC,
            _ => jiff::tz::TimeZone::system(),
        }
    };
    ZONE.get_or_init(find).clone()
}

/// The time of a day, as the node's clock shows it: `14:03:59`.
pub fn time_of_day(at: jiff::Timestamp) -> String {
    at.to_zoned(zone()).strftime("%H:%M:%S").to_string()
}

/// Date and time of day, of this machine's zone.
pub fn date_and_time(at: jiff::Timestamp) -> String {
    at.to_zoned(zone()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// A length of time as people write it: seconds (`90`, `0.5`), or numbers with their units (`250ms`, `10m`, `1h30m`,
/// `2 days`; jiff's friendly form).
///
/// # Errors
/// What can be said.
pub fn time_span(text: &str) -> Result<Duration, String> {
    let wrong =
        || format!("`{text}` is not a number of seconds, or one with its unit: 90, 250ms, 10m, 1h30m");
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).map_err(|_| wrong());
    }
    let span: jiff::Span = text.parse().map_err(|_| wrong())?;
    let days = jiff::SpanRelativeTo::days_are_24_hours();
    span.to_duration(days).ok().and_then(|d| d.try_into().ok()).ok_or_else(wrong)
}

/// The time that a user means in a recording from `first` to `last`: a time of day (`14:03`, `14:03:20`), a whole time
/// (`2026-11-23T14:03:20Z`), so long after the beginning (`+90s`, `+5m`), or before the end (`-30s`).
///
/// # Errors
/// What can be said.
pub fn moment(text: &str, first: jiff::Timestamp, last: jiff::Timestamp) -> Result<jiff::Timestamp, String> {
    let text = text.trim();
    let wrong = || format!("`{text}` is no time: 14:03:20, +90s (after the beginning), -5m (before the end)");
    if let Some(rest) = text.strip_prefix(['+', '-']) {
        let by =
            jiff::SignedDuration::try_from(time_span(rest).map_err(|_| wrong())?).map_err(|_| wrong())?;
        let to = if text.starts_with('+') { first.checked_add(by) } else { last.checked_sub(by) };
        return to.map_err(|_| wrong());
    }
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Ok(time);
    }
    let of_day: jiff::civil::Time = text.parse().map_err(|_| wrong())?;
    let zone = zone();
    // The last time in the recording that the clock showed this; before its beginning, the first day's.
    let mut day = last.to_zoned(zone.clone()).date();
    loop {
        let at = day.to_datetime(of_day).to_zoned(zone.clone()).map_err(|_| wrong())?.timestamp();
        if at <= last || day <= first.to_zoned(zone.clone()).date() {
            return Ok(at);
        }
        day = day.yesterday().map_err(|_| wrong())?;
    }
}

/// A sentence on lines of at most `width` columns; a longer word has a line of its own.
pub fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(last) if last.is_empty() => last.push_str(word),
            Some(last) if last.width() + 1 + word.width() <= width => {
                last.push(' ');
                last.push_str(word);
            }
            _ => lines.push(word.to_string()),
        }
    }
    lines
}

/// Cuts a sentence to a width in columns, with `…` at its end where something is missing.
pub fn clip_end(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_string();
    }
    let (mut head, mut used) = (String::new(), 0);
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used >= width {
            break;
        }
        head.push(c);
    }
    if width > 0 {
        head.push('…');
    }
    head
}

/// Cuts text to a width in columns, with `…` where something is missing: of names, the middle.
pub fn clip(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_string();
    }
    if width <= 1 {
        return "…".chars().take(width).collect();
    }
    let tail_width = (width - 1) / 3;
    let (mut head, mut used) = (String::new(), 0);
    for c in text.chars() {
        let w = c.width().unwrap_or(0);
        if used + w > width - 1 - tail_width {
            break;
        }
        head.push(c);
        used += w;
    }
    let (mut tail, mut used) = (Vec::new(), 0);
    for c in text.chars().rev() {
        let w = c.width().unwrap_or(0);
        if used + w > tail_width {
            break;
        }
        tail.push(c);
        used += w;
    }
    head.push('…');
    head.extend(tail.into_iter().rev());
    head
}

/// A rule's text without its comment, which says least of what it does.
fn without_comment(text: &str) -> String {
    const BEGIN: &str = "-m comment --comment ";
    let Some((head, rest)) = text.split_once(BEGIN) else { return text.to_string() };
    // In quotes where it has blanks; inside, quotes are escaped (`xtables_save_string`).
    let end = match rest.strip_prefix('"') {
        Some(quoted) => {
            let mut escaped = false;
            let close = quoted.find(|c| {
                let found = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                found
            });
            close.map(|n| n + 2)
        }
        None => rest.find(' '),
    };
    match end {
        Some(end) => format!("{head}{}", rest[end..].trim_start()),
        None => text.to_string(),
    }
}

/// Cuts a rule's text: the comment goes first, and its target stays whole.
pub fn clip_rule(text: &str, room: usize) -> String {
    if text.width() <= room {
        return text.to_string();
    }
    let text = without_comment(text);
    match text.rfind("-j ").map(|at| text.split_at(at)) {
        Some((head, target)) if text.width() > room && target.width() + 8 < room => {
            format!("{} {target}", clip_end(head.trim_end(), room - target.width() - 1))
        }
        _ => clip(&text, room),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_rule_the_comment_goes_first() {
        let rule = "-d 10.96.2.9/32 -p tcp -m comment --comment \"shop/cart \\\"x\\\" IP\" -m tcp --dport 80 -j KUBE-SVC-X";
        assert_eq!(clip_rule(rule, 200), rule);
        assert_eq!(clip_rule(rule, 60), "-d 10.96.2.9/32 -p tcp -m tcp --dport 80 -j KUBE-SVC-X");
        assert_eq!(clip_rule(rule, 40), "-d 10.96.2.9/32 -p tcp -m… -j KUBE-SVC-X");
        assert_eq!(clip_rule("-m comment --comment short -j DROP", 12), "-j DROP");
        assert!(clip_rule("ip saddr @a-very-long-name goto somewhere", 20).width() <= 20);
        assert!(clip_rule("-m comment --comment \"cut off", 12).width() <= 12);
    }
    use proptest::prelude::*;

    #[test]
    fn figures_are_short_and_true() {
        for (n, text) in [
            (0.0, "0"),
            (0.3, "0.3"),
            (9.96, "10"),
            (123.4, "123"),
            (999.6, "1.0k"),
            (1234.0, "1.2k"),
            (35_300.0, "35k"),
            (2.13e6, "2.1M"),
        ] {
            assert_eq!(short(n), text);
        }
        assert_eq!(count(999_999), "999999");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(211_328), "206 KiB");
        assert_eq!(share_text(Some(1.0 / 3.0)), "33%");
        assert_eq!(share_text(Some(0.125)), "12.5%");
        assert_eq!(share_text(Some(0.5)), "50%");
        assert_eq!(share_text(None), "-");
        for (ms, text) in [
            (3, "3.0 ms"),
            (840, "840 ms"),
            (1000, "1 s"),
            (2500, "2.5 s"),
            (119_000, "119 s"),
            (300_000, "5 min"),
            (12_000_000, "3 h 20 min"),
            (352_800_000, "4 d 2 h"),
        ] {
            assert_eq!(duration(Duration::from_millis(ms)), text);
        }
        assert_eq!((plural(1, "rule"), plural(1200, "rule")), ("1 rule".into(), "1200 rules".into()));
    }

    proptest! {
        #[test]
        fn clipped_text_fits(text in "\\PC{0,40}", width in 0usize..30) {
            prop_assert!(clip(&text, width).width() <= width);
            prop_assert!(clip_end(&text, width).width() <= width);
        }
    }
}
