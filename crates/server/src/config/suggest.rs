//! "Did you mean …?": the known word nearest to an unknown one.

/// Words of a list that are told; a hundred names help nobody.
const LISTED_MAX: usize = 20;

/// The known word nearest to `word`, if it is near enough to be a slip of the finger.
pub(crate) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    // Nobody slips in a word this long, and the distance costs its square.
    if word.len() > 64 {
        return None;
    }
    let allowed = (word.chars().count() / 3).clamp(1, 3);
    known
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&word.to_lowercase(), &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Known words as a list for a sentence: `a, b and c`.
pub(crate) fn listed<'k>(words: impl IntoIterator<Item = &'k str>) -> String {
    let words: Vec<&str> = words.into_iter().collect();
    match words.as_slice() {
        [first @ .., _, _] if first.len() > LISTED_MAX => {
            format!("{} and {} others", words[..LISTED_MAX].join(", "), words.len() - LISTED_MAX)
        }
        [] => "none".to_owned(),
        [only] => (*only).to_owned(),
        [rest @ .., last] => format!("{} and {last}", rest.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_find_their_word_and_other_words_do_not() {
        let known = ["consistency", "ttl", "sql", "key"];
        for (word, found) in [
            ("consistancy", Some("consistency")),
            ("tlt", Some("ttl")),
            ("KEY", Some("key")),
            ("keys", Some("key")),
            ("owner", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known), found, "{word}");
        }
        assert_eq!(nearest(&"x".repeat(1000), known), None);
    }

    #[test]
    fn lists_read_as_english() {
        assert_eq!(listed([]), "none");
        assert_eq!(listed(["a"]), "a");
        assert_eq!(listed(["a", "b", "c"]), "a, b and c");
        assert!(listed(["a"; 99]).ends_with("a, a and 79 others"));
    }
}
