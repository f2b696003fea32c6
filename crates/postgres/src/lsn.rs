//! Positions in the write-ahead log, as Postgres writes them: `1/16B3748`.

use std::fmt;
use std::str::FromStr;

/// A log sequence number: bytes from the beginning of the write-ahead log.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

impl FromStr for Lsn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refusal = || format!("`{text}` is not a log position such as 1/16B3748");
        let (high, low) = text.split_once('/').ok_or_else(refusal)?;
        let part = |digits: &str| {
            let plain =
                (1..=8).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            plain.then(|| u64::from_str_radix(digits, 16).ok()).flatten().ok_or_else(refusal)
        };
        Ok(Self(part(high)? << 32 | part(low)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_reads_back_what_it_writes() {
        for number in [0, 1, 0x0001_016B_3748, u64::MAX] {
            assert_eq!(Lsn(number).to_string().parse(), Ok(Lsn(number)));
        }
        for text in ["", "1", "1/", "/1", "+1/2", "1/123456789", "g/0", "1/2/3"] {
            assert!(text.parse::<Lsn>().is_err(), "{text}");
        }
    }
}
