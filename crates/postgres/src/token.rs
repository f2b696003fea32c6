//! Session tokens that a writer takes by SQL alone, after its commit: `pg1.` and the parts that docs/postgres.md names.
//!
//! The text names the log itself, so nobody has to be asked which source it belongs to: the same parts that make the
//! identity of a log we follow make the identity of the one it speaks of. What is not followed here is refused where
//! the token is used, like any token of another log.

use crate::identity::{Identity, timeline_of};
use candor_core::{Epoch, Position, SessionToken};

/// What such a token begins with; the number is the version of its form.
const BEGINNING: &str = "pg1.";

/// PostgreSQL cuts names at this many bytes.
const DATABASE_BYTES_MAX: usize = 63;

/// Whether a text means to be such a token. Candor's own tokens contain no dot.
pub fn is_token(text: &str) -> bool {
    text.starts_with(BEGINNING)
}

/// Reads a token that PostgreSQL wrote. It carries no signature: whoever can write text can make one.
///
/// # Errors
///
/// A sentence that says which part is wrong; all are the client's to mend.
pub fn read_token(text: &str) -> Result<SessionToken, String> {
    let parts = text.strip_prefix(BEGINNING).ok_or("it does not begin with `pg1.`")?;
    let parts: Vec<&str> = parts.split('.').collect();
    let [system, timeline, started, recovered, at, database] = parts[..] else {
        return Err(format!("it has {} parts after `pg1`, and not six", parts.len()));
    };
    let system: i64 = whole(system, "the cluster's number")?;
    let timeline = if timeline.len() == 8 && timeline.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        timeline_of(&format!("x{timeline}"))?
    } else {
        return Err("the timeline is not eight hexadecimal digits".into());
    };
    let started: i64 = whole(started, "the server's start")?;
    let recovered: i64 = whole(recovered, "the last recovery")?;
    let at: u64 = whole(at, "the position")?;
    let identity = Identity {
        system: system.cast_unsigned(),
        timeline,
        // As `STARTED_SQL` mixes them.
        started_micros: started ^ recovered,
        database: database_of(database)?,
    };
    Ok(SessionToken::at(Position { epoch: Epoch { log: identity.log(), era: 0 }, at }))
}

/// Only as PostgreSQL writes numbers: no plus sign, no leading zeros, so that one position has one text.
fn whole<N: std::str::FromStr + ToString>(text: &str, what: &str) -> Result<N, String> {
    let number: Option<N> = text.parse().ok().filter(|number: &N| number.to_string() == text);
    number.ok_or_else(|| format!("{what} is not a whole number in range"))
}

fn database_of(digits: &str) -> Result<String, String> {
    let wrong = || "the database is not a name in hexadecimal digits".to_owned();
    if digits.is_empty() || !digits.is_ascii() || digits.len() > 2 * DATABASE_BYTES_MAX {
        return Err(wrong());
    }
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let bytes: Option<Vec<u8>> =
        pairs.iter().map(|[high, low]| u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()).collect();
    let name = bytes.filter(|_| rest.is_empty()).and_then(|bytes| String::from_utf8(bytes).ok());
    name.ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str =
        "pg1.7350000000000000001.0000000A.1700000000000001.1700000000000002.23456789.73686f70";

    #[test]
    fn a_token_of_sql_names_the_log_its_parts_name() {
        let identity = Identity {
            system: 7_350_000_000_000_000_001,
            timeline: 10,
            started_micros: 1_700_000_000_000_001 ^ 1_700_000_000_000_002,
            database: "shop".into(),
        };
        let position = Position { epoch: Epoch { log: identity.log(), era: 0 }, at: 23_456_789 };
        assert_eq!(read_token(WHOLE), Ok(SessionToken::at(position)));
        assert!(is_token(WHOLE) && !is_token("AQAB"));
    }

    #[test]
    fn every_part_of_a_token_tells_logs_apart() {
        let log = |text: &str| read_token(text).unwrap().positions()[0].epoch.log;
        let parts: Vec<&str> = WHOLE.split('.').collect();
        for (part, other) in [(1, "735"), (2, "0000000B"), (3, "17"), (4, "0"), (6, "73686f71")] {
            let mut bent = parts.clone();
            bent[part] = other;
            assert_ne!(log(&bent.join(".")), log(WHOLE), "{part}");
        }
    }

    #[test]
    fn what_postgresql_never_writes_is_no_token() {
        let parts: Vec<&str> = WHOLE.split('.').collect();
        for (part, wrong) in [
            (1, ""),
            (1, "+7"),
            (1, "9223372036854775808"),
            (2, "A"),
            (2, "0000000g"),
            (2, "+000000A"),
            (3, "1e3"),
            (4, " 0"),
            (5, "-1"),
            (5, "007"),
            (5, "18446744073709551616"),
            (5, "23.5"),
            (6, ""),
            (6, "7"),
            (6, "zz"),
            (6, "ff"),
            (6, "ü"),
            (6, &"61".repeat(64)),
        ] {
            let mut bent = parts.clone();
            bent[part] = wrong;
            assert!(read_token(&bent.join(".")).is_err(), "{part}: {wrong}");
        }
        for text in ["", "pg1.", "pg1", "pg2.1.1.1.1.1.1", &format!("{WHOLE}.1"), &WHOLE[..WHOLE.len() - 9]] {
            assert!(read_token(text).is_err(), "{text}");
        }
    }
}
