//! Keys: what is taken as a value of a type has one form, and no two lists of values share an encoding.

use candor_core::{KeyType, KeyValue};
use candor_fuzz::Fuzzer;
use std::collections::HashMap;

const WORDS: &[&str] = &[
    "\n",
    "0",
    "-",
    "+",
    "007",
    "9223372036854775807",
    "-9223372036854775808",
    "32768",
    "2147483648",
    "true",
    "false",
    "t",
    "2026-11-21",
    "2028-02-29",
    "0f8fad5b-d9cb-469f-a165-70867728950e",
    "İ",
    "ß",
    "é",
    "e\u{301}",
    "\u{0}",
    "\u{feff}",
    "٣",
];

/// Encodings remembered at a time.
const REMEMBERED_MAX: usize = 100_000;

#[test]
fn a_key_has_one_form_and_no_two_keys_are_stored_alike() {
    let mut known: HashMap<Vec<u8>, Vec<KeyValue>> = HashMap::new();
    let tally = Fuzzer::new("keys", WORDS).run(|input| {
        let text = String::from_utf8_lossy(input);
        let (mut ways, mut key) = (String::new(), Vec::new());
        // A line is a part; its types are tried in turn.
        for (at, part) in text.split('\n').take(16).enumerate() {
            for (name, kind) in KeyType::ALL {
                let Ok(value) = kind.parse(part) else { continue };
                let canonical = value.to_string();
                assert_eq!(
                    kind.parse(&canonical).as_ref(),
                    Ok(&value),
                    "{name}: {part:?} is not the same again"
                );
                assert!(canonical.len() <= part.len() + 4, "{name}: {part:?} grew to {canonical:?}");
                // Taken in a new way means: as new types. Those of all parts have more combinations than there is time.
                if at < 2 {
                    ways.push_str(name);
                }
                if at % 7 == key.len() % 7 {
                    key.push(value);
                }
            }
            if at < 2 {
                ways.push(',');
            }
        }
        let mut encoded = Vec::new();
        key.iter().for_each(|value| value.encode(&mut encoded));
        if known.len() < REMEMBERED_MAX {
            let other = known.entry(encoded).or_insert_with(|| key.clone());
            assert_eq!(*other, key, "two keys with one encoding");
        }
        ways
    });
    assert!(tally.ways > 20, "the fuzzer did nothing: {tally:?}");
}
