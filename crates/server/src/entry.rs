//! What the shared tier holds: the keys of all views in one form, and answers as bytes that are ready to be sent.

use crate::http::ETag;
use bytes::Bytes;
use candor_core::KeyValue;
use std::fmt;

/// The key of an entry: which view, and the key's values in the one encoding in which no two lists are alike.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EntryKey {
    view: u32,
    bytes: Box<[u8]>,
}

/// An answer: JSON with its validator, which is computed once, at the fill. Cloning counts a reference.
#[derive(Clone, PartialEq, Eq)]
pub struct Json(
    /// The text, followed by the validator; one allocation for both.
    Bytes,
);

const TAG_BYTES: usize = size_of::<ETag>();

/// What an allocation and the reference count cost beside the bytes.
const OVERHEAD_BYTES: u64 = 40;

impl EntryKey {
    /// The key of a view, given its index.
    pub(crate) fn new(view: u32, values: &[KeyValue]) -> Self {
        // Exactly, so that nothing has to move when it is boxed: every read makes one.
        let mut bytes = Vec::with_capacity(values.iter().map(KeyValue::encoded_bytes).sum());
        for value in values {
            value.encode(&mut bytes);
        }
        Self { view, bytes: bytes.into() }
    }

    /// The view's index.
    pub(crate) fn view(&self) -> u32 {
        self.view
    }

    /// The values, as they went in.
    pub(crate) fn values(&self) -> Box<[KeyValue]> {
        let mut values = Vec::new();
        let mut rest = &*self.bytes;
        while let Some((value, after)) = decode(rest) {
            values.push(value);
            rest = after;
        }
        debug_assert!(rest.is_empty(), "every key was encoded by `new`");
        values.into()
    }
}

fn decode(bytes: &[u8]) -> Option<(KeyValue, &[u8])> {
    let (kind, rest) = bytes.split_first()?;
    match kind {
        b'i' => {
            let (int, rest) = rest.split_first_chunk::<8>()?;
            Some((KeyValue::Int(i64::from_be_bytes(*int)), rest))
        }
        b't' => {
            let (length, rest) = rest.split_first_chunk::<4>()?;
            let (text, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
            Some((KeyValue::Text(std::str::from_utf8(text).ok()?.into()), rest))
        }
        b'b' => {
            let (truth, rest) = rest.split_first()?;
            Some((KeyValue::Bool(*truth != 0), rest))
        }
        _ => None,
    }
}

impl Json {
    /// JSON as a source wrote it.
    pub(crate) fn new(text: Box<[u8]>) -> Self {
        let tag = ETag::of(&text);
        let mut bytes = text.into_vec();
        bytes.reserve_exact(TAG_BYTES);
        bytes.extend_from_slice(&tag.to_bytes());
        Self(bytes.into())
    }

    /// The text.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0[..self.0.len() - TAG_BYTES]
    }

    /// The text, without copying it.
    pub fn body(&self) -> Bytes {
        self.0.slice(..self.0.len() - TAG_BYTES)
    }

    /// The validator.
    pub fn etag(&self) -> ETag {
        let tag = self.0.last_chunk::<TAG_BYTES>();
        tag.map_or_else(|| ETag::of(&[]), |bytes| ETag::from_bytes(*bytes))
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.as_bytes()))
    }
}

/// What an entry owns on the heap, for the tier.
pub(crate) fn heap_bytes(key: &EntryKey, answer: Option<&Json>) -> u64 {
    let answer = answer.map_or(0, |json| json.0.len() as u64 + OVERHEAD_BYTES);
    key.bytes.len() as u64 + answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value() -> impl Strategy<Value = KeyValue> {
        prop_oneof![
            any::<i64>().prop_map(KeyValue::Int),
            "\\PC{0,12}".prop_map(|text| KeyValue::Text(text.into())),
            any::<bool>().prop_map(KeyValue::Bool),
        ]
    }

    proptest! {
        #[test]
        fn keys_give_back_what_went_in(values in prop::collection::vec(value(), 0..5)) {
            prop_assert_eq!(&*EntryKey::new(7, &values).values(), &*values);
        }
    }

    #[test]
    fn views_never_share_a_key() {
        let values = [KeyValue::Int(1)];
        assert_ne!(EntryKey::new(0, &values), EntryKey::new(1, &values));
    }

    #[test]
    fn an_answer_carries_its_validator_and_only_shows_its_text() {
        let json = Json::new(b"{\"a\":1}".as_slice().into());
        assert_eq!(json.as_bytes(), b"{\"a\":1}");
        assert_eq!(json.body(), "{\"a\":1}");
        assert_eq!(json.etag(), ETag::of(b"{\"a\":1}"));
        assert_eq!(format!("{json:?}"), "{\"a\":1}");
        assert!(size_of::<Json>() <= 32);
    }
}
