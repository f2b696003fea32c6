//! The placeholders of a view's SQL, found where Postgres finds them: not in strings, quoted names or comments.

/// The pieces of one statement, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pieces<'a>(Vec<Piece<'a>>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece<'a> {
    Text(&'a str),
    /// The number of a placeholder, from one.
    Placeholder(usize),
}

impl<'a> Pieces<'a> {
    /// Takes the SQL apart; a closing semicolon is left out.
    ///
    /// # Errors
    ///
    /// A sentence about SQL that is open at its end or holds more than one statement.
    pub(super) fn of(sql: &'a str) -> Result<Self, String> {
        let bytes = sql.as_bytes();
        let (mut pieces, mut at, mut begin, mut end) = (Vec::new(), 0, 0, None);
        while at < bytes.len() {
            let (next, token) = token(sql, at)?;
            match token {
                Token::Blank => {}
                Token::Semicolon if end.is_none() => end = Some(at),
                Token::Semicolon => {}
                _ if end.is_some() => return Err("the SQL holds more than one statement".into()),
                Token::Placeholder(number) => {
                    pieces.push(Piece::Text(&sql[begin..at]));
                    pieces.push(Piece::Placeholder(number));
                    begin = next;
                }
                Token::Other => {}
            }
            at = next;
        }
        // Behind a semicolon there are only comments.
        pieces.push(Piece::Text(&sql[begin..end.unwrap_or(sql.len())]));
        Ok(Self(pieces))
    }

    /// The highest number of a placeholder.
    pub(super) fn highest(&self) -> usize {
        let numbers = self.0.iter().map(|piece| match piece {
            Piece::Placeholder(number) => *number,
            Piece::Text(_) => 0,
        });
        numbers.max().unwrap_or(0)
    }

    /// The SQL with something else in the place of each placeholder.
    pub(super) fn with(&self, mut instead: impl FnMut(usize) -> String) -> String {
        self.0
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => (*text).to_owned(),
                Piece::Placeholder(number) => instead(*number),
            })
            .collect()
    }
}

enum Token {
    Placeholder(usize),
    Semicolon,
    /// White space or a comment.
    Blank,
    Other,
}

/// The token at a place, and where the next begins.
fn token(sql: &str, at: usize) -> Result<(usize, Token), String> {
    let bytes = sql.as_bytes();
    let next = bytes.get(at + 1);
    Ok(match bytes[at] {
        b'\'' => (after_quote(bytes, at, b'\'', false)?, Token::Other),
        b'"' => (after_quote(bytes, at, b'"', false)?, Token::Other),
        b'-' if next == Some(&b'-') => {
            let length = sql[at..].find(['\n', '\r']).unwrap_or(sql.len() - at);
            (at + length, Token::Blank)
        }
        b'/' if next == Some(&b'*') => (after_comment(bytes, at)?, Token::Blank),
        b'$' => dollar(sql, at)?,
        b';' => (at + 1, Token::Semicolon),
        byte if byte.is_ascii_whitespace() || byte == b'\x0b' => (at + 1, Token::Blank),
        // Only here: the e in `date'…'` escapes nothing.
        b'e' | b'E' if next == Some(&b'\'') => (after_quote(bytes, at + 1, b'\'', true)?, Token::Other),
        // A `$` within a name belongs to it, and so do digits.
        byte if is_name(byte) => {
            let length = bytes[at..].iter().position(|byte| !is_name(*byte) && *byte != b'$');
            (at + length.unwrap_or(bytes.len() - at), Token::Other)
        }
        _ => (at + 1, Token::Other),
    })
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// A placeholder, a dollar-quoted string, or a lone `$`.
fn dollar(sql: &str, at: usize) -> Result<(usize, Token), String> {
    let rest = &sql[at + 1..];
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    if digits > 0 {
        let number =
            rest[..digits].parse().map_err(|_| format!("`${}` is too large a number", &rest[..digits]))?;
        return Ok((at + 1 + digits, Token::Placeholder(number)));
    }
    let name = rest.bytes().take_while(|byte| is_name(*byte)).count();
    if rest.as_bytes().get(name) != Some(&b'$') {
        return Ok((at + 1, Token::Other));
    }
    let mark = &sql[at..at + name + 2];
    let begin = at + mark.len();
    let length =
        sql[begin..].find(mark).ok_or_else(|| format!("a string that begins with {mark} does not end"))?;
    Ok((begin + length + mark.len(), Token::Other))
}

/// The place after a quoted piece. A doubled quote ends one piece and begins the next, which comes to the same.
fn after_quote(bytes: &[u8], at: usize, quote: u8, has_escapes: bool) -> Result<usize, String> {
    let mut place = at + 1;
    while let Some(byte) = bytes.get(place) {
        place += 1;
        if *byte == quote {
            // In an escape string the doubled quote must not end it: what follows has escapes, too.
            if has_escapes && bytes.get(place) == Some(&quote) {
                place += 1;
                continue;
            }
            return Ok(place);
        }
        if has_escapes && *byte == b'\\' {
            place += 1;
        }
    }
    Err(format!("a piece that begins with {} does not end", char::from(quote)))
}

/// The place after a comment; comments nest.
fn after_comment(bytes: &[u8], at: usize) -> Result<usize, String> {
    let (mut depth, mut place) = (0_usize, at);
    while place < bytes.len() {
        match bytes.get(place..place + 2) {
            Some(b"/*") => (depth, place) = (depth + 1, place + 2),
            Some(b"*/") => {
                (depth, place) = (depth - 1, place + 2);
                if depth == 0 {
                    return Ok(place);
                }
            }
            _ => place += 1,
        }
    }
    Err("a comment that begins with /* does not end".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replaced(sql: &str) -> String {
        Pieces::of(sql).unwrap().with(|number| format!("<{number}>"))
    }

    #[test]
    fn placeholders_are_replaced_and_nothing_that_looks_like_them() {
        for (sql, wanted) in [
            ("SELECT $1, $10,$2::int", "SELECT <1>, <10>,<2>::int"),
            ("a$1 = $1", "a$1 = <1>"),
            ("'$1 it''s $1' || $1", "'$1 it''s $1' || <1>"),
            (r"'\' || $1", r"'\' || <1>"),
            (r"E'\'$1' || $1", r"E'\'$1' || <1>"),
            (r"e'a''\'$1' || $1", r"e'a''\'$1' || <1>"),
            (r"date'\' || $1", r"date'\' || <1>"),
            ("\"$1\" = $1", "\"$1\" = <1>"),
            ("$$ $1 $$ || $x$ $1 $$ $x$ || $1", "$$ $1 $$ || $x$ $1 $$ $x$ || <1>"),
            ("$1 -- $1\n $1", "<1> -- $1\n <1>"),
            ("/* $1 /* $1 */ $1 */ $1", "/* $1 /* $1 */ $1 */ <1>"),
            ("é$1 $1é", "é$1 <1>é"),
            ("SELECT $1; -- done ; $2", "SELECT <1>"),
            ("a - -$1 / $1 * $1", "a - -<1> / <1> * <1>"),
        ] {
            assert_eq!(replaced(sql), wanted, "{sql}");
        }
    }

    #[test]
    fn what_does_not_end_or_goes_on_is_refused() {
        for sql in
            ["'a", "\"a", "$$a", "$x$ $$", "/* /* */", "E'\\'", "SELECT 1; SELECT 2", "$99999999999999999999"]
        {
            assert!(Pieces::of(sql).is_err(), "{sql}");
        }
        assert_eq!(Pieces::of("$2 '$9'").unwrap().highest(), 2);
    }
}
