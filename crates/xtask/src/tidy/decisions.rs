//! Rules on decision pages: `docs/decisions/NNNN-title.md`, each number once, so that code can refer to a number.

use std::collections::BTreeMap;

use super::{Findings, Tree};

const DIRECTORY: &str = "docs/decisions/";

pub(super) fn check(tree: &Tree, findings: &mut Findings) {
    let mut taken: BTreeMap<&str, &str> = BTreeMap::new();
    for file in tree.files() {
        let Some(name) = file.path.strip_prefix(DIRECTORY) else { continue };
        let Some(number) = number(name) else {
            findings.error(&file.path, 0, "a decision page is called NNNN-title.md");
            continue;
        };
        if let Some(other) = taken.insert(number, name) {
            findings.error(&file.path, 0, format!("its number is taken by {other}"));
        }
    }
}

/// The number in `NNNN-title.md`.
fn number(name: &str) -> Option<&str> {
    let (number, title) = name.strip_suffix(".md")?.split_once('-')?;
    let counts = number.len() == 4 && number.bytes().all(|byte| byte.is_ascii_digit());
    let speaks = !title.is_empty()
        && title.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    (counts && speaks).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::super::told;
    use super::*;

    #[test]
    fn names_and_numbers_are_held() {
        let good = ("docs/decisions/0001-visibility-decides.md", "");
        assert!(told(check, &[good, ("docs/decisions/0002-b.md", ""), ("docs/other.md", "")]).is_empty());
        assert_eq!(
            told(check, &[good, ("docs/decisions/0001-other.md", "")]),
            ["error: docs/decisions/0001-other.md: its number is taken by 0001-visibility-decides.md"]
        );
        for bad in ["1-a.md", "0001.md", "0001-.md", "0001-A b.md", "0001-a.txt", "old/0001-a.md"] {
            assert_eq!(told(check, &[(&format!("{DIRECTORY}{bad}"), "")]).len(), 1, "{bad}");
        }
    }
}
