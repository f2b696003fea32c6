//! Durations as people write them: `250ms`, `2s`, `10m`, `1h`, `7d`.

use std::time::Duration;

const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Parses a whole number with one unit. Zero is allowed.
///
/// # Errors
///
/// A sentence that names the text and shows the accepted form.
pub fn parse(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let millis = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, millis)| *millis);
    let number = number.parse::<u64>().ok();
    match (number, millis) {
        (Some(number), Some(millis)) => match number.checked_mul(millis) {
            Some(total) => Ok(Duration::from_millis(total)),
            None => Err(format!("the duration `{text}` is too long")),
        },
        _ => Err(format!(
            "`{text}` is not a duration; write a whole number and a unit: 250ms, 2s, 10m, 1h or 7d"
        )),
    }
}

/// The shortest form that [`parse`] reads back; rounds up to a millisecond.
pub fn format(duration: Duration) -> String {
    let millis = millis_up(duration);
    let (name, unit) = UNITS
        .iter()
        .rev()
        .find(|(_, unit)| millis >= *unit && millis.is_multiple_of(*unit))
        .unwrap_or(&UNITS[0]);
    format!("{}{name}", millis / unit)
}

/// Whole milliseconds, rounded up: what a bound must be rounded to so that it claims no more than was proven.
pub fn millis_up(duration: Duration) -> u64 {
    // In 64 bits: every receipt asks for it.
    let rest = u64::from(duration.subsec_nanos().div_ceil(1_000_000));
    duration.as_secs().saturating_mul(1000).saturating_add(rest)
}

/// Whole milliseconds, rounded down.
pub fn millis_down(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1000).saturating_add(u64::from(duration.subsec_millis()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_read_and_written_back() {
        for (text, millis) in [
            ("250ms", 250),
            ("2s", 2_000),
            ("10m", 600_000),
            ("1h", 3_600_000),
            ("7d", 604_800_000),
            ("0ms", 0),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
            assert_eq!(format(Duration::from_millis(millis)), text);
        }
        assert_eq!(format(Duration::from_millis(90_000)), "90s");
    }

    #[test]
    fn anything_else_is_refused_with_the_accepted_form() {
        for text in [
            "",
            "5",
            "s",
            "-1s",
            "1.5s",
            "2 s",
            "2S",
            "1h30m",
            "99999999999999999999s",
            "18446744073709551615d",
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(text), "{error}");
        }
    }

    #[test]
    fn bounds_round_up() {
        assert_eq!(millis_up(Duration::from_nanos(1)), 1);
        assert_eq!(millis_up(Duration::from_millis(3)), 3);
    }
}
