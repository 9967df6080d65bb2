//! Numbers and names as they fit into columns.

/// Characters of a name or of a daemon's text that are kept.
const TEXT_MAX: usize = 200;

/// What may reach the terminal: names of peers and what daemons say come from files and
/// sockets. Control characters (also of C1), and those that are not seen but turn or
/// hide what stands beside them, become a dot.
#[must_use]
pub fn clean(text: &str) -> String {
    let unsafe_to_show = |c: char| {
        c.is_control()
            || matches!(c,
                '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
    };
    let shown = text.chars().take(TEXT_MAX);
    shown
        .map(|c| if unsafe_to_show(c) { '·' } else { c })
        .collect()
}

/// A rate for a column of 7: `812`, `1.24k`, `12.4M`, `124G`; a dot for nothing.
#[must_use]
pub fn rate(per_second: f64) -> String {
    if per_second < 0.5 {
        return "·".to_owned();
    }
    scaled(per_second, 1000.0, &["", "k", "M", "G", "T", "P", "E"])
}

/// A number of bytes for a column of 9: `812 B`, `1.24 KiB`, `124 GiB`.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
pub fn bytes(n: u64) -> String {
    if n == 0 {
        return "·".to_owned();
    }
    let units = [" B", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB"];
    scaled(n as f64, 1024.0, &units)
}

/// A count with commas: `10,000`.
#[must_use]
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Seconds for a column of 7: `4s`, `1m 05s`, `3h 12m`, `12d 4h`, `2y 30d`.
#[must_use]
pub fn age(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m {:02}s", seconds % 60),
        3600..86_400 => format!("{hours}h {:02}m", minutes % 60),
        86_400..31_536_000 => format!("{days}d {:02}h", hours % 24),
        _ => format!("{}y {}d", days / 365, days % 365),
    }
}

/// Three digits and a unit.
fn scaled(value: f64, step: f64, units: &[&str]) -> String {
    let mut value = value;
    let mut unit = 0;
    // From here on it would be rounded to four digits.
    while value >= 999.5 && unit + 1 < units.len() {
        value /= step;
        unit += 1;
    }
    let digits = match value {
        _ if unit == 0 => 0,
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.digits$}{}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_and_fit_their_columns() {
        for (value, text) in [
            (0.0, "·"),
            (812.0, "812"),
            (999.6, "1.00k"),
            (1240.0, "1.24k"),
            (12_400.0, "12.4k"),
            (999_499.0, "999k"),
            (999_600.0, "1.00M"),
            (1.21e9, "1.21G"),
        ] {
            assert_eq!(rate(value), text);
        }
        assert_eq!(bytes(812), "812 B");
        assert_eq!(bytes(1536), "1.50 KiB");
        assert_eq!(bytes(1023 << 10), "1.00 MiB");
        assert_eq!(bytes(u64::MAX), "16.0 EiB");
        assert_eq!(count(0), "0");
        assert_eq!(count(10_000), "10,000");
        assert_eq!(count(1_234_567), "1,234,567");
    }

    #[test]
    fn ages_have_two_units() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (65, "1m 05s"),
            (11_520, "3h 12m"),
            (1_051_200, "12d 04h"),
            (65_664_000, "2y 30d"),
        ] {
            assert_eq!(age(seconds), text);
            assert!(text.len() <= 7);
        }
    }

    #[test]
    fn nothing_that_steers_a_terminal_is_left() {
        let hostile = "a\u{1b}[2Jb\u{9b}31mc\u{202e}d\u{200b}\r\n\u{7}\u{7f}";
        assert_eq!(clean(hostile), "a·[2Jb·31mc·d·····");
        assert_eq!(clean("Büro 日本 ☎"), "Büro 日本 ☎");
        assert_eq!(clean(&"x".repeat(9999)).len(), TEXT_MAX);
    }
}
