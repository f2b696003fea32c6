//! `${NAME}` in fields that name a place or hold a secret.
//!
//! `${NAME}` becomes the environment's value and `$$` a dollar sign. A lone `$` is refused rather than kept: someone who
//! writes `$SECRET` means the variable, and must not end up with the seven characters as a secret. SQL is never
//! expanded; there `$1` is a key column.

use std::ops::Range;

/// The environment, as a function, so that tests need not touch the process's own.
pub type Environment<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// The environment of this process. A value that is not UTF-8 counts as missing.
pub fn process_environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// What is wrong, with the bytes of the text it concerns.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ExpandError {
    pub(crate) range: Range<usize>,
    pub(crate) message: String,
    pub(crate) mend: String,
}

/// Replaces every `${NAME}` and `$$`.
pub(crate) fn expand(text: &str, environment: &Environment<'_>) -> Result<String, ExpandError> {
    let mut expanded = String::new();
    let mut at = 0;
    while let Some(offset) = text[at..].find('$') {
        let dollar = at + offset;
        expanded.push_str(&text[at..dollar]);
        let rest = &text[dollar + 1..];
        let fail = |length: usize, message: String, mend: String| ExpandError {
            range: dollar..dollar + length,
            message,
            mend,
        };
        if rest.starts_with('$') {
            expanded.push('$');
            at = dollar + 2;
        } else if let Some(braced) = rest.strip_prefix('{') {
            let Some(length) = braced.find('}') else {
                return Err(fail(
                    2,
                    "`${` is never closed".into(),
                    "write ${NAME}, or $$ for a dollar sign".into(),
                ));
            };
            let name = &braced[..length];
            if !is_name(name) {
                return Err(fail(
                    length + 3,
                    format!("`{name}` cannot be the name of an environment variable"),
                    "use letters, digits and underscores: ${NAME}".into(),
                ));
            }
            let Some(value) = environment(name) else {
                return Err(fail(
                    length + 3,
                    format!("the environment has no variable `{name}`"),
                    format!("set {name} before starting, or write the value here"),
                ));
            };
            expanded.push_str(&value);
            at = dollar + length + 3;
        } else {
            return Err(fail(
                1,
                "a `$` stands alone".into(),
                "write ${NAME} for an environment variable, or $$ for a dollar sign".into(),
            ));
        }
    }
    expanded.push_str(&text[at..]);
    Ok(expanded)
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &str) -> Option<String> {
        (name == "A").then(|| "${B}$".to_owned())
    }

    #[test]
    fn variables_are_replaced_once_and_dollars_survive() {
        for (text, expanded) in
            [("", ""), ("x", "x"), ("é${A}é", "é${B}$é"), ("$$", "$"), ("$${A}", "${A}"), ("$$$$", "$$")]
        {
            assert_eq!(expand(text, &environment).as_deref(), Ok(expanded), "{text}");
        }
    }

    #[test]
    fn everything_doubtful_is_refused_where_it_stands() {
        for (text, range) in [
            ("a$", 1..2),
            ("$A", 0..1),
            ("a${A", 1..3),
            ("${}", 0..3),
            ("${1A}", 0..5),
            ("${A-x}", 0..6),
            ("${A}${NONE}", 4..11),
        ] {
            assert_eq!(expand(text, &environment).map_err(|error| error.range), Err(range), "{text}");
        }
    }
}
