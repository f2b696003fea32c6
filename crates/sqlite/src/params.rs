//! The placeholders of a view's SQL.
//!
//! SQLite reads `?2` as the second parameter, but `$2` as a parameter *named* `$2`, numbered by where it first stands.
//! Mixing the two can make them the same parameter, so one kind is accepted per view, and each is mapped by its name.

/// What a scan of SQL text finds. Strings, quoted names and comments are passed over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// Placeholders as written.
    pub(crate) placeholders: Vec<String>,
}

/// Finds placeholders.
pub(crate) fn scan(sql: &str) -> Found {
    let bytes = sql.as_bytes();
    let mut found = Found::default();
    let mut at = 0;
    while at < bytes.len() {
        at = match bytes[at] {
            quote @ (b'\'' | b'"' | b'`') => after(bytes, at + 1, &[quote]),
            b'[' => after(bytes, at + 1, b"]"),
            b'-' if bytes.get(at + 1) == Some(&b'-') => after(bytes, at + 2, b"\n"),
            b'/' if bytes.get(at + 1) == Some(&b'*') => after(bytes, at + 2, b"*/"),
            b'?' | b'$' | b':' | b'@' => {
                let end = word_end(bytes, at + 1);
                if end > at + 1 || bytes[at] == b'?' {
                    found.placeholders.push(String::from_utf8_lossy(&bytes[at..end]).into_owned());
                }
                end
            }
            byte if is_word(byte) => word_end(bytes, at),
            _ => at + 1,
        };
    }
    found
}

/// For each parameter of a statement, the key column it takes; or what is wrong, and the mend.
pub(crate) fn slots(
    sql: &str,
    names: &[Option<String>],
    key_columns: usize,
) -> Result<Vec<usize>, (String, String)> {
    let mend = || "write $1 for the first key column, $2 for the second".to_owned();
    let placeholders = scan(sql).placeholders;
    let is_kind = |kind: char| placeholders.iter().any(|placeholder| placeholder.starts_with(kind));
    if is_kind('$') && is_kind('?') {
        return Err(("the SQL mixes `$1` and `?1`, which SQLite numbers differently".into(), mend()));
    }
    names
        .iter()
        .map(|name| {
            let Some(name) = name else {
                return Err(("the SQL has a placeholder without a number".into(), mend()));
            };
            let number = name.strip_prefix(['$', '?']).and_then(|number| number.parse::<usize>().ok());
            match number.and_then(|number| number.checked_sub(1)) {
                Some(place) if place < key_columns => Ok(place),
                Some(place) => Err((
                    format!("`{name}` asks for key column {}, but the view has {key_columns}", place + 1),
                    format!("declare {} key columns, or lower the number", place + 1),
                )),
                None => Err((format!("`{name}` is not a placeholder of a key column"), mend())),
            }
        })
        .collect()
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

fn word_end(bytes: &[u8], from: usize) -> usize {
    bytes[from..].iter().position(|byte| !is_word(*byte)).map_or(bytes.len(), |length| from + length)
}

/// The place after the next `end`. A doubled quote ends one string and begins the next, which comes to the same.
fn after(bytes: &[u8], from: usize, end: &[u8]) -> usize {
    bytes[from..]
        .windows(end.len())
        .position(|window| window == end)
        .map_or(bytes.len(), |length| from + length + end.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_placeholders_are_placeholders() {
        let sql = "SELECT '?1 it''s $9', \"$8\", [?7], `?6`, a -- $4\n FROM t /* ?3 */ WHERE a = $1 AND b=?2";
        assert_eq!(scan(sql).placeholders, ["$1", "?2"]);
        assert_eq!(scan("SELECT ? , :name, @x").placeholders, ["?", ":name", "@x"]);
        assert_eq!(scan("SELECT 'open").placeholders, [""; 0]);
    }

    #[test]
    fn parameters_find_their_key_columns_by_name() {
        let named = |names: &[&str]| names.iter().map(|name| Some((*name).to_owned())).collect::<Vec<_>>();
        assert_eq!(slots("$2 $1", &named(&["$2", "$1"]), 2), Ok(vec![1, 0]));
        assert!(slots("$1 ?1", &named(&["$1"]), 1).unwrap_err().0.contains("mixes"));
        assert!(slots("$2", &named(&["$2"]), 1).unwrap_err().1.contains("2 key columns"));
        assert!(slots(":a", &named(&[":a"]), 1).is_err());
        assert!(slots("?", &[None], 1).is_err());
    }
}
