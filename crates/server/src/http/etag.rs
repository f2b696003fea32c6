//! Validators: whether a client already holds these very bytes.
//!
//! The tag is a hash of the body, so it is the same in every instance, after every restart and for every level: it says
//! nothing about freshness. 128 bits, because two bodies with one tag would be a wrong answer, and at 64 bits a busy
//! service would meet one by chance.

use ::http::HeaderMap;
use ::http::header::IF_NONE_MATCH;
use std::fmt;
use xxhash_rust::xxh3::xxh3_128;

/// A strong validator.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct ETag(u128);

impl ETag {
    /// The validator of a body.
    pub fn of(body: &[u8]) -> Self {
        Self(xxh3_128(body))
    }

    /// As it is kept beside a body.
    pub(crate) fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// The reverse of [`Self::to_bytes`].
    pub(crate) fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }

    /// The header's value: 32 digits in quotes. By hand, because the standard library takes four times as long for it, and
    /// every answer has one.
    fn text(self) -> [u8; 34] {
        let mut text = [b'"'; 34];
        for (pair, byte) in text[1..33].as_chunks_mut::<2>().0.iter_mut().zip(self.0.to_be_bytes()) {
            *pair = [byte >> 4, byte & 15].map(|digit| b"0123456789abcdef"[usize::from(digit)]);
        }
        text
    }

    /// Whether `If-None-Match` says that the client holds this body (RFC 9110, 13.1.2): then 304. Only to be asked
    /// where the answer would be 200.
    ///
    /// A header that cannot be read matches nothing; the client then merely gets bytes it had.
    pub fn is_held(self, headers: &HeaderMap) -> bool {
        headers.get_all(IF_NONE_MATCH).iter().any(|value| {
            // The standard's weak comparison: a weak tag of the same text counts.
            value.as_bytes().trim_ascii() == b"*" || tags(value.as_bytes()).any(|tag| tag == self.text())
        })
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(str::from_utf8(&self.text()).unwrap_or_default())
    }
}

/// The tags of a list, in quotes and without `W/`. Ends at the first thing that is not a tag.
fn tags(mut list: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        while let [b' ' | b'\t' | b',', rest @ ..] = list {
            list = rest;
        }
        let quoted = list.strip_prefix(b"W/").unwrap_or(list);
        // A tag may hold a comma, so the list cannot be split at commas.
        let inner = quoted.strip_prefix(b"\"")?;
        let length = inner.iter().position(|byte| *byte == b'"')?;
        let (tag, rest) = quoted.split_at(length + 2);
        list = rest;
        Some(tag)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::http::HeaderValue;

    fn is_held(values: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(IF_NONE_MATCH, HeaderValue::from_str(value).unwrap());
        }
        ETag::of(b"{}").is_held(&headers)
    }

    #[test]
    fn the_tag_depends_on_the_bytes_alone_and_does_not_move() {
        assert_eq!(ETag::of(b"{}"), ETag::of(b"{}"));
        assert_ne!(ETag::of(b"{}"), ETag::of(b"{ }"));
        assert_eq!(ETag::of(b"").to_string(), "\"99aa06d3014798d86001c324468d497f\"");
        assert_eq!(ETag::from_bytes([1; 16]).to_string(), format!("\"{}\"", "01".repeat(16)));
    }

    #[test]
    fn lists_weak_tags_and_stars_match() {
        let own = ETag::of(b"{}").to_string();
        for value in [
            own.clone(),
            format!("W/{own}"),
            format!("\"a,b\", {own}"),
            format!(" \"\",,W/\"x\" ,{own},\"y\""),
            "*".to_owned(),
            " * ".to_owned(),
        ] {
            assert!(is_held(&[&value]), "{value}");
        }
        assert!(is_held(&["\"other\"", &own]), "several headers are one list");
    }

    #[test]
    fn anything_else_does_not() {
        let own = ETag::of(b"{}").to_string();
        let bare = own.trim_matches('"');
        for value in [
            bare,
            &own[..own.len() - 1],
            "",
            "\"other\"",
            &format!("x, {own}"),
            "\"*\"",
            &own.to_uppercase(),
            &format!("w/{own}"),
        ] {
            assert!(!is_held(&[value]), "{value}");
        }
        assert!(!is_held(&[]));
    }
}
