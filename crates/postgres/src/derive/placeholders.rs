//! The placeholders of a view's SQL, found as PostgreSQL's own scanner finds them: not in strings, quoted names, comments
//! or the middle of a name.

use std::ops::Range;

/// A placeholder in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placeholder {
    /// `1` for `$1`.
    pub(crate) number: usize,
    /// Where it stands, in bytes.
    pub(crate) at: Range<usize>,
}

/// What a text holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scanned {
    pub(crate) placeholders: Vec<Placeholder>,
    /// The contents of strings, as they are written.
    pub(crate) strings: Vec<String>,
}

/// Scans a text.
pub(crate) fn scan(sql: &str) -> Scanned {
    let bytes = sql.as_bytes();
    let mut scanned = Scanned::default();
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        at = match bytes[at] {
            b'\'' => {
                // A string with escapes, if an E stands before it that is not the end of a name.
                let escapes =
                    at > 0 && matches!(bytes[at - 1], b'e' | b'E') && !(at > 1 && is_word(bytes[at - 2]));
                let end = after_string(bytes, at + 1, escapes);
                scanned.strings.push(sql.get(start + 1..end.saturating_sub(1)).unwrap_or_default().into());
                end
            }
            b'"' => after(bytes, at + 1, b"\""),
            b'-' if bytes.get(at + 1) == Some(&b'-') => after(bytes, at + 2, b"\n"),
            b'/' if bytes.get(at + 1) == Some(&b'*') => after_comment(bytes, at + 2),
            b'$' => {
                let digits = bytes[at + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
                if digits > 0 {
                    let end = at + 1 + digits;
                    // A number too large is none of ours either.
                    let number = sql[at + 1..end].parse().unwrap_or(usize::MAX);
                    scanned.placeholders.push(Placeholder { number, at: at..end });
                    end
                } else {
                    let tag = bytes[at + 1..].iter().take_while(|byte| is_word(**byte)).count();
                    let open = at + 1 + tag;
                    if bytes.get(open) == Some(&b'$') {
                        let end = after(bytes, open + 1, &bytes[at..=open]);
                        let inner = sql.get(open + 1..end.saturating_sub(tag + 2)).unwrap_or_default();
                        scanned.strings.push(inner.into());
                        end
                    } else {
                        at + 1
                    }
                }
            }
            // A name may hold dollars, but not begin with one.
            byte if is_word(byte) => {
                let rest = bytes[at..].iter().take_while(|byte| is_word(**byte) || **byte == b'$').count();
                at + rest
            }
            _ => at + 1,
        };
    }
    scanned
}

/// The text with each placeholder replaced.
pub(crate) fn replaced(sql: &str, placeholders: &[Placeholder], with: impl Fn(usize) -> String) -> String {
    let mut text = String::with_capacity(sql.len() + placeholders.len() * 24);
    let mut from = 0;
    for placeholder in placeholders {
        text.push_str(&sql[from..placeholder.at.start]);
        text.push_str(&with(placeholder.number));
        from = placeholder.at.end;
    }
    text.push_str(&sql[from..]);
    text
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// A doubled quote ends one string and begins the next, which comes to the same.
fn after_string(bytes: &[u8], mut at: usize, escapes: bool) -> usize {
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' if escapes => at += 2,
            b'\'' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// Comments nest.
fn after_comment(bytes: &[u8], mut at: usize) -> usize {
    let mut depth = 1;
    while at < bytes.len() {
        match bytes.get(at..at + 2) {
            Some(b"*/") => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            Some(b"/*") => {
                depth += 1;
                at += 2;
            }
            _ => at += 1,
        }
    }
    bytes.len()
}

fn after(bytes: &[u8], from: usize, end: &[u8]) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    rest.windows(end.len())
        .position(|window| window == end)
        .map_or(bytes.len(), |length| from + length + end.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_placeholders_are_placeholders() {
        let numbers = |sql: &str| scan(sql).placeholders.iter().map(|found| found.number).collect::<Vec<_>>();
        for (sql, expected) in [
            ("a = $1 AND b=$2", vec![1, 2]),
            ("'$1' \"$2\" -- $3\n $4", vec![4]),
            ("'it''s $1' $2", vec![2]),
            (r"E'it\'s $1' $2", vec![2]),
            (r"'\' || $1", vec![1]),
            ("/* $1 /* $2 */ $3 */ $4", vec![4]),
            ("$$ $1 $$ $a$ $2 $b$ $a$ $3", vec![3]),
            ("a$1 + $2", vec![2]),
            ("$1::text", vec![1]),
            ("nE'\\' $1", vec![1]),
            ("'open $1", vec![]),
        ] {
            assert_eq!(numbers(sql), expected, "{sql}");
        }
        assert_eq!(scan("SELECT 'now', $q$today$q$").strings, ["now", "today"]);
    }

    #[test]
    fn placeholders_are_replaced_where_they_stand() {
        let sql = "$2 'é $1' $1";
        assert_eq!(replaced(sql, &scan(sql).placeholders, |n| format!("<{n}>")), "<2> 'é $1' <1>");
    }
}
