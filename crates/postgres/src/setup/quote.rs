//! Names and texts of others, as SQL.

/// An identifier. Always quoted: nobody has to know the reserved words of seven versions.
pub(crate) fn name(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// A string constant that means the same whatever `standard_conforming_strings` says.
pub(crate) fn literal(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    if doubled.contains('\\') {
        format!("E'{}'", doubled.replace('\\', "\\\\"))
    } else {
        format!("'{doubled}'")
    }
}

/// Some text on a line that explains: it cannot end the line.
pub(crate) fn in_comment(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_backslashes_cannot_leave_their_quotes() {
        assert_eq!(name("a\"; DROP TABLE b; --"), "\"a\"\"; DROP TABLE b; --\"");
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal("\\'; SELECT 1"), "E'\\\\''; SELECT 1'");
        assert_eq!(in_comment("a\nDROP TABLE b"), "a DROP TABLE b");
    }
}
