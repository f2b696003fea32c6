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
    /// Whether letters of a string are written otherwise, such as `\x74`, so that its content is not known.
    pub(crate) is_veiled: bool,
}

/// Scans a text.
pub(crate) fn scan(sql: &str) -> Scanned {
    let bytes = sql.as_bytes();
    let mut scanned = Scanned::default();
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        at = match bytes[at] {
            b'\'' => string(sql, start, &mut scanned),
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

/// Takes in the string that begins here, and what continues it; gives where it ends.
fn string(sql: &str, start: usize, scanned: &mut Scanned) -> usize {
    let bytes = sql.as_bytes();
    let before = |back: usize| start.checked_sub(back).and_then(|at| bytes.get(at));
    let ends_name = |back: usize| before(back).is_some_and(|byte| is_word(*byte));
    // A letter before it, if it is not the end of a name.
    let has_escapes = matches!(before(1), Some(b'e' | b'E')) && !ends_name(2);
    let has_unicode = before(1) == Some(&b'&') && matches!(before(2), Some(b'u' | b'U')) && !ends_name(3);
    let mut text = String::new();
    let mut at = start;
    let end = loop {
        let end = after_string(bytes, at + 1, has_escapes);
        text.push_str(sql.get(at + 1..end.saturating_sub(1)).unwrap_or_default());
        match continued(bytes, end) {
            Some(next) => at = next,
            None => break end,
        }
    };
    scanned.is_veiled |= has_unicode;
    let mut shown = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' if has_escapes => match letters.next() {
                // None of these is a letter of a word.
                Some('b' | 'f' | 'n' | 'r' | 't' | '\\' | '\'') => shown.push(' '),
                _ => scanned.is_veiled = true,
            },
            letter => shown.push(letter),
        }
    }
    scanned.strings.push(shown);
    end
}

/// Where a string goes on: after white space with a line's end in it.
fn continued(bytes: &[u8], mut at: usize) -> Option<usize> {
    let mut has_line_end = false;
    loop {
        match bytes.get(at)? {
            b'\n' | b'\r' => has_line_end = true,
            b' ' | b'\t' | 0x0b | 0x0c => {}
            b'-' if bytes.get(at + 1) == Some(&b'-') => {
                // To the line's end, not beyond.
                at = after(bytes, at, b"\n").saturating_sub(1);
                has_line_end |= bytes.get(at) == Some(&b'\n');
            }
            byte => return (*byte == b'\'' && has_line_end).then_some(at),
        }
        at += 1;
    }
}

/// A doubled quote stands for one.
fn after_string(bytes: &[u8], mut at: usize, has_escapes: bool) -> usize {
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' if has_escapes => at += 2,
            b'\'' if bytes.get(at + 1) == Some(&b'\'') => at += 2,
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
            ("E'a''\\'$1' $2", vec![2]),
            ("E'a' -- $1\n '\\'$1' $2", vec![2]),
            ("E'a' '\\' $2", vec![2]),
        ] {
            assert_eq!(numbers(sql), expected, "{sql}");
        }
        assert_eq!(scan("SELECT 'now', $q$today$q$").strings, ["now", "today"]);
        assert_eq!(scan("'to' -- it\n 'day'").strings, ["today"], "a string goes on in the next line");
        for (sql, is_veiled) in [
            (r"'\x74oday'", false),
            (r"E'\x74oday'", true),
            (r"E'to\day'", true),
            (r"E'a\n\\b'", false),
            (r"U&'\0074oday'", true),
            (r"a_u&'today'", false),
        ] {
            assert_eq!(scan(sql).is_veiled, is_veiled, "{sql}");
        }
    }

    #[test]
    fn placeholders_are_replaced_where_they_stand() {
        let sql = "$2 'é $1' $1";
        assert_eq!(replaced(sql, &scan(sql).placeholders, |n| format!("<{n}>")), "<2> 'é $1' <1>");
    }
}
