//! Sizes as people write them: `64KiB`, `256MiB`, `1GiB`.

const UNITS: [(&str, u64); 9] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

/// Parses a whole number with one unit into bytes. Zero is allowed.
///
/// # Errors
///
/// A sentence that names the text and, after `; `, shows the accepted form.
pub(super) fn parse(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit_bytes = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, bytes)| *bytes);
    match (number.parse::<u64>(), unit_bytes) {
        (Ok(number), Some(bytes)) => number
            .checked_mul(bytes)
            .ok_or_else(|| format!("the size `{text}` is too large; write a smaller one")),
        _ => Err(format!("`{text}` is not a size; write a whole number and a unit: 64KiB, 256MiB or 1GiB")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary_and_decimal_units_are_told_apart() {
        for (text, bytes) in [("0B", 0), ("64KiB", 65_536), ("1MB", 1_000_000), ("1MiB", 1_048_576)] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused_with_the_accepted_form() {
        for text in ["", "256", "MiB", "-1MiB", "1.5GiB", "256 MiB", "256mib", "99999999999TiB"] {
            assert!(parse(text).unwrap_err().contains("; write"), "{text}");
        }
    }
}
