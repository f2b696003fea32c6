//! Rules on Rust sources: each file introduces itself, stays small, and hides nothing unfinished.

use super::tree::File;
use super::{Findings, Tree};

/// Product lines from which a file is worth a second look.
const LINES_WARN: usize = 450;

/// Product lines no file may exceed.
const LINES_MAX: usize = 800;

/// What must not be committed, and why. Written in halves, so that this file does not break its own rule.
const UNFINISHED: &[(&str, &str)] = &[
    (concat!("to", "do!"), "unfinished"),
    (concat!("unimple", "mented!"), "unfinished"),
    (concat!("dbg", "!"), "left from debugging"),
    (concat!("#[", "ignore"), "a test that does not run protects nothing"),
    (concat!("FIX", "ME"), "mend it, or write down why it stays"),
    (concat!("XX", "X"), "mend it, or write down why it stays"),
];

pub(super) fn check(tree: &Tree, findings: &mut Findings) {
    for file in tree.rust() {
        if !file.text.starts_with("//!") {
            findings.error(&file.path, 1, "opens with no `//!`: say what it is and where it sits");
        }
        length(file, findings);
        unfinished(file, findings);
    }
}

fn length(file: &File, findings: &mut Findings) {
    let lines = product_lines(&file.text);
    if lines > LINES_MAX {
        findings.error(&file.path, 0, format!("{lines} product lines; at most {LINES_MAX}"));
    } else if lines > LINES_WARN && !is_test(&file.path) {
        findings.warning(&file.path, format!("{lines} product lines; few files should exceed {LINES_WARN}"));
    }
}

/// The lines before the test module. A helper marked `#[cfg(test)]` amid the product ends nothing.
fn product_lines(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let opens_tests = |rest: &[&str]| {
        rest[0] == "#[cfg(test)]"
            && rest[1..]
                .iter()
                .find(|line| !line.starts_with("#["))
                .is_some_and(|line| line.starts_with("mod "))
    };
    (0..lines.len()).find(|&index| opens_tests(&lines[index..])).unwrap_or(lines.len())
}

fn is_test(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/")
}

fn unfinished(file: &File, findings: &mut Findings) {
    for (number, line) in file.lines() {
        for (word, why) in UNFINISHED {
            if has_word(line, word) {
                findings.error(&file.path, number, format!("`{word}`: {why}"));
            }
        }
    }
}

/// Whether `word` stands in `line` and is not a piece of a longer name.
fn has_word(line: &str, word: &str) -> bool {
    let in_name = |c: char| c.is_alphanumeric() || c == '_';
    let ends_in_name = word.ends_with(in_name);
    line.match_indices(word).any(|(start, _)| {
        let starts = !line[..start].ends_with(in_name);
        let ends = !ends_in_name || !line[start + word.len()..].starts_with(in_name);
        starts && ends
    })
}

#[cfg(test)]
mod tests {
    use super::super::told;
    use super::*;

    #[test]
    fn a_file_that_does_not_introduce_itself_is_told() {
        assert_eq!(told(check, &[("crates/a/src/lib.rs", "//! Good.\n")]), [] as [&str; 0]);
        let told = told(check, &[("crates/a/src/lib.rs", "use std::io;\n")]);
        assert_eq!(
            told,
            ["error: crates/a/src/lib.rs:1: opens with no `//!`: say what it is and where it sits"]
        );
    }

    #[test]
    fn length_counts_the_product_and_not_its_tests() {
        let product = |lines: usize| "//! Long.\n".repeat(lines);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "\n".repeat(900));
        let judged = |text: &str| told(check, &[("crates/a/src/lib.rs", text)]);
        assert!(judged(&(product(450) + &tests)).is_empty());
        assert!(judged(&(product(451) + &tests))[0].starts_with("warning: "));
        assert!(judged(&(product(800) + &tests))[0].starts_with("warning: "));
        assert!(judged(&(product(801) + &tests))[0].starts_with("error: "));
        let helper = "#[cfg(test)]\nfn helper() {}\n";
        assert!(judged(&(product(10) + helper + &product(800)))[0].starts_with("error: "));
    }

    #[test]
    fn long_tests_are_not_worth_a_warning() {
        assert!(told(check, &[("crates/a/src/ledger/tests.rs", &"//! T.\n".repeat(500))]).is_empty());
    }

    #[test]
    fn every_unfinished_word_is_found_and_no_longer_name_is() {
        for (word, _) in UNFINISHED {
            let told = told(check, &[("crates/a/src/lib.rs", &format!("//! A.\n    {word}\n"))]);
            assert_eq!(told.len(), 1, "{word}: {told:?}");
            assert!(told[0].starts_with("error: crates/a/src/lib.rs:2: "), "{told:?}");
        }
        let innocent = format!(
            "//! A.\n// my_{}() {}Y mkstemp.{}\n",
            UNFINISHED[0].0,
            UNFINISHED[5].0,
            UNFINISHED[5].0.repeat(2)
        );
        assert!(told(check, &[("crates/a/src/lib.rs", &innocent)]).is_empty());
    }
}
