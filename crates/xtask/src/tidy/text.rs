//! Rules on every text file: clean lines, and no path that exists on one machine only.

use super::tree::File;
use super::{Findings, Tree};

/// Files we write by hand. Others (licences, captured output, generated code) may keep their own white space.
const HAND_WRITTEN: &[&str] = &[
    ".rs", ".toml", ".md", ".sh", ".sql", ".py", ".ts", ".svelte", ".css", ".html", ".yml", ".yaml", ".json",
    ".ci/run",
];

/// Directories that builds of ours write and that are committed all the same.
const GENERATED: &[&str] = &["/dist/"];

/// Beginnings of paths that mean something on one machine only. Written in halves, so that this file passes.
const MACHINE_PATHS: &[&str] = &[concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/tmp/", "target")];

pub(super) fn check(tree: &Tree, findings: &mut Findings) {
    for file in tree.files() {
        machine_paths(file, findings);
        let generated = GENERATED.iter().any(|part| file.path.contains(part));
        if HAND_WRITTEN.iter().any(|end| file.path.ends_with(end)) && !generated {
            white_space(file, findings);
        }
    }
}

fn machine_paths(file: &File, findings: &mut Findings) {
    for (number, line) in file.lines() {
        for path in MACHINE_PATHS {
            // `crates/work/…` and `https://example.org/work/…` are other things.
            let stands_alone = |start: usize| {
                !line[..start].ends_with(|c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '}'))
            };
            if line.match_indices(path).any(|(start, _)| stands_alone(start)) {
                findings.error(&file.path, number, format!("`{path}`: a path of one machine"));
            }
        }
    }
}

fn white_space(file: &File, findings: &mut Findings) {
    for (number, line) in file.text.split('\n').enumerate().map(|(index, line)| (index + 1, line)) {
        if line.ends_with('\r') {
            findings.error(&file.path, number, "ends in a carriage return");
        } else if line.trim_end() != line {
            findings.error(&file.path, number, "white space at the end");
        }
        if line.contains('\t') {
            findings.error(&file.path, number, "a tab");
        }
    }
    if !file.text.is_empty() && !file.text.ends_with('\n') {
        findings.error(&file.path, file.text.lines().count(), "no newline at the end of the file");
    }
    if file.text.ends_with("\n\n") {
        findings.error(&file.path, file.text.lines().count(), "an empty line at the end of the file");
    }
}

#[cfg(test)]
mod tests {
    use super::super::told;
    use super::*;

    #[test]
    fn white_space_is_told_by_line() {
        assert!(told(check, &[("a.md", "one\n\ntwo\n"), ("empty.md", "")]).is_empty());
        assert_eq!(told(check, &[("a.md", "one \n")]), ["error: a.md:1: white space at the end"]);
        assert_eq!(told(check, &[("a.toml", "a =\t1\n")]), ["error: a.toml:1: a tab"]);
        assert_eq!(
            told(check, &[("a.rs", "one\ntwo")]),
            ["error: a.rs:2: no newline at the end of the file"]
        );
        assert_eq!(
            told(check, &[("a.rs", "one\n\n")]),
            ["error: a.rs:2: an empty line at the end of the file"]
        );
        assert_eq!(told(check, &[("a.sql", "one\r\n")]), ["error: a.sql:1: ends in a carriage return"]);
    }

    #[test]
    fn generated_and_captured_text_keeps_its_white_space() {
        assert!(told(check, &[("ui/dist/app.css", "a\t"), ("tests/ui/a.stderr", "a \n")]).is_empty());
    }

    #[test]
    fn a_path_of_one_machine_is_told_in_any_text() {
        for path in MACHINE_PATHS {
            let told = told(check, &[("captured.stderr", &format!("one\nat {path}x\n"))]);
            assert_eq!(told, [format!("error: captured.stderr:2: `{path}`: a path of one machine")]);
            let innocent = format!("https://example.org{path}x crates{path}x $HOME{path}x\n");
            assert!(super::super::told(check, &[("a.md", &innocent)]).is_empty());
        }
    }
}
