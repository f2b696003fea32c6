//! The path after `/v1/views/` or `/v1/explain/`: a view's name and the parts of its key.
//!
//! One segment is one key column, percent-decoded exactly once, after splitting: `%2F` is a slash inside a key. Nothing
//! else is interpreted: no plus for a space, no dots for parents. `user` has no part, `user/` has one empty part.

use super::problem::{Kind, Problem};
use crate::config::KEY_COLUMNS_MAX;
use candor_core::KeyType;
use std::borrow::Cow;

/// Bytes of a path after the prefix. Sixteen columns of text, each with some of it escaped, stay well below.
pub const PATH_BYTES_MAX: usize = 8 * 1024;

/// A view's name and the parts of a key, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewPath<'p> {
    /// The name. Not yet known to exist.
    pub view: Cow<'p, str>,
    /// The parts in order.
    pub parts: Vec<Cow<'p, str>>,
}

/// Splits and decodes the part of the path after the prefix.
///
/// # Errors
///
/// [`Kind::PathTooLong`] or [`Kind::BadKey`].
pub fn split(path: &str) -> Result<ViewPath<'_>, Problem> {
    if path.len() > PATH_BYTES_MAX {
        let detail = format!("the path has {} bytes; at most {PATH_BYTES_MAX} are accepted", path.len());
        return Err(Problem::new(Kind::PathTooLong, detail, "send long keys with POST /v1/views/{view}"));
    }
    let mut segments = path.split('/');
    let view = decode(segments.next().unwrap_or_default())?;
    let given = path.bytes().filter(|byte| *byte == b'/').count();
    if given > KEY_COLUMNS_MAX {
        let detail = format!("the path has {given} key parts; at most {KEY_COLUMNS_MAX} are accepted");
        return Err(bad(detail, "escape a slash inside a key as %2F"));
    }
    let mut parts = Vec::with_capacity(given);
    for segment in segments {
        parts.push(decode(segment)?);
    }
    Ok(ViewPath { view, parts })
}

fn decode(segment: &str) -> Result<Cow<'_, str>, Problem> {
    if !segment.as_bytes().contains(&b'%') {
        check_length(segment.len())?;
        return Ok(Cow::Borrowed(segment));
    }
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let [first, after @ ..] = rest {
        if *first != b'%' {
            bytes.push(*first);
            rest = after;
            continue;
        }
        let digit = |at: usize| after.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(0), digit(1)) else {
            let at = segment.len() - rest.len();
            let shown: String = String::from_utf8_lossy(&rest[..rest.len().min(3)]).into_owned();
            return Err(bad(
                format!("`{shown}` at byte {at} is not an escape"),
                "escape a percent sign as %25",
            ));
        };
        bytes.push((high << 4 | low) as u8);
        rest = &after[2..];
    }
    check_length(bytes.len())?;
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_| {
        bad(
            "a key part is not UTF-8 after its escapes are resolved".to_owned(),
            "encode text as UTF-8 before escaping it",
        )
    })
}

fn check_length(bytes: usize) -> Result<(), Problem> {
    if bytes <= KeyType::TEXT_BYTES_MAX {
        return Ok(());
    }
    let detail = format!("a key part has {bytes} bytes; at most {} are accepted", KeyType::TEXT_BYTES_MAX);
    Err(bad(detail, "use a shorter key"))
}

fn bad(detail: String, mend: &str) -> Problem {
    Problem::new(Kind::BadKey, detail, mend)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts(path: &str) -> Vec<Cow<'_, str>> {
        split(path).unwrap().parts
    }

    #[test]
    fn segments_are_split_first_and_decoded_once() {
        assert_eq!(split("user/42").unwrap(), ViewPath { view: "user".into(), parts: vec!["42".into()] });
        assert_eq!(parts("user"), [""; 0]);
        assert_eq!(parts("user/"), [""]);
        assert_eq!(parts("seat/1//3"), ["1", "", "3"]);
        assert_eq!(parts("v/a%2Fb/%25/%2525/+/../%2e%2E"), ["a/b", "%", "%25", "+", "..", ".."]);
        assert_eq!(parts("v/%C3%bc"), ["ü"]);
        assert_eq!(split("%75ser").unwrap().view, "user");
    }

    #[test]
    fn broken_escapes_and_broken_text_are_refused() {
        for path in ["v/%", "v/%4", "v/%zz", "v/%4é", "v/%+1", "v/%C3", "v/%ff", "v/%C0%80", "%", "v/%é"] {
            assert_eq!(split(path).unwrap_err().kind, Kind::BadKey, "{path}");
        }
        assert!(split("v/ab%zz").unwrap_err().detail.contains("`%zz` at byte 2"));
    }

    #[test]
    fn size_is_bounded_before_anything_is_built() {
        assert_eq!(split(&"x".repeat(8193)).unwrap_err().kind, Kind::PathTooLong);
        assert_eq!(split(&format!("v/{}", "x".repeat(1025))).unwrap_err().kind, Kind::BadKey);
        assert!(split(&format!("v/{}", "%41".repeat(1024))).is_ok());
        assert!(split(&format!("v{}", "/1".repeat(16))).is_ok());
        assert_eq!(split(&format!("v{}", "/1".repeat(17))).unwrap_err().kind, Kind::BadKey);
    }

    proptest! {
        #[test]
        fn every_key_can_be_written_as_a_path(parts in prop::collection::vec("\\PC{0,20}", 0..5)) {
            let escaped = |part: &String| part.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
            let path: String = parts.iter().map(|part| format!("/{}", escaped(part))).collect();
            let path = format!("v{path}");
            prop_assert_eq!(split(&path).unwrap().parts, parts);
        }

        #[test]
        fn splitting_never_panics(path in "[%a-f0-9/é]{0,60}") {
            let _ = split(&path);
        }
    }
}
