//! The placeholders in a view's SQL. Not a parser: it only knows what hides a `$`, so that `'$1'` is text.

use std::ops::Range;

/// A placeholder and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Placeholder {
    pub(super) range: Range<usize>,
    /// The number after the dollar sign; `None` for a form that is not ours (`?`, `:name`, `@name`, `$name`).
    pub(super) number: Option<usize>,
}

/// The placeholders in order. Strings, quoted names and comments hide theirs.
pub(super) fn placeholders(sql: &str) -> Vec<Placeholder> {
    let bytes = sql.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        at += match rest {
            [quote @ (b'\'' | b'"' | b'`'), ..] => 1 + closed_by(&rest[1..], &[*quote]),
            [b'-', b'-', ..] => closed_by(rest, b"\n"),
            [b'/', b'*', ..] => 2 + closed_by(&rest[2..], b"*/"),
            // A cast, not a parameter.
            [b':', b':', ..] => 2,
            [b'$' | b'?' | b':' | b'@', ..] => {
                let word = rest[1..]
                    .iter()
                    .take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_')
                    .count();
                // `a[1:2]` is a slice: a name does not begin with a digit.
                let is_slice = rest[0] == b':' && rest.get(1).is_some_and(u8::is_ascii_digit);
                if rest[0] == b'?' || (word > 0 && !is_slice) {
                    let digits = (rest[0] == b'$').then(|| sql.get(at + 1..at + 1 + word)).flatten();
                    found.push(Placeholder {
                        range: at..at + 1 + word,
                        number: digits.and_then(|digits| digits.parse().ok()),
                    });
                }
                1 + word
            }
            // A dollar sign or a digit inside a word belongs to the word.
            [byte, ..] if is_word(*byte) => {
                rest.iter().take_while(|byte| is_word(**byte) || **byte == b'$').count()
            }
            _ => 1,
        };
    }
    found
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii()
}

/// How many bytes until `end` has passed. A doubled quote ends one string and begins the next, which comes to the same.
fn closed_by(bytes: &[u8], end: &[u8]) -> usize {
    bytes.windows(end.len()).position(|window| window == end).map_or(bytes.len(), |at| at + end.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_real_placeholders_count() {
        for (sql, numbers) in [
            ("SELECT 1", vec![]),
            ("a = $1 AND b=$22", vec![Some(1), Some(22)]),
            ("'$1' || \"$2\" || `$3` -- $4\n /* $5 */ $6", vec![Some(6)]),
            ("'it''s $1' = $2", vec![Some(2)]),
            ("'never closed $1", vec![]),
            ("-- $1", vec![]),
            ("a::text = ? OR b = ?2 OR c = :id OR d = @id OR e = $id", vec![None; 5]),
            ("tags @> $1 AND a[1:2] AND id$2 = 3", vec![Some(1)]),
            ("é$1 = $0", vec![Some(0)]),
            ("$99999999999999999999999", vec![None]),
        ] {
            let found: Vec<Option<usize>> =
                placeholders(sql).into_iter().map(|placeholder| placeholder.number).collect();
            assert_eq!(found, numbers, "{sql}");
        }
        assert_eq!(placeholders("id = $12")[0].range, 5..8);
    }
}
