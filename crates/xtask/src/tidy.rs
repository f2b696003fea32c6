//! Tidy: the house rules a program can judge.
//!
//! Each rule is a function from the [`Tree`] to [`Findings`], so a test can hand it a tree of two lines and see it
//! object. The rules on files run as an ordinary test too; only [`dependencies`], which asks cargo, waits for
//! `cargo x tidy`.

mod crates;
mod decisions;
mod dependencies;
mod links;
mod rust_files;
mod text;
mod tree;

use std::fmt;

pub(crate) use tree::Tree;

use crate::cargo;

/// One place that breaks a rule.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    path: String,
    /// Counted from one; zero when the whole file is meant.
    line: usize,
    warning: bool,
    what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weight = if self.warning { "warning" } else { "error" };
        match self.line {
            0 => write!(f, "{weight}: {}: {}", self.path, self.what),
            line => write!(f, "{weight}: {}:{line}: {}", self.path, self.what),
        }
    }
}

/// What the rules found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    found: Vec<Finding>,
    pub(crate) files_read: usize,
}

impl Findings {
    /// A broken rule. `line` is counted from one, or zero for the file as a whole.
    fn error(&mut self, path: &str, line: usize, what: impl Into<String>) {
        self.found.push(Finding { path: path.to_owned(), line, warning: false, what: what.into() });
    }

    /// Something to look at that fails nothing.
    fn warning(&mut self, path: &str, what: impl Into<String>) {
        self.found.push(Finding { path: path.to_owned(), line: 0, warning: true, what: what.into() });
    }

    pub(crate) fn all(&self) -> &[Finding] {
        &self.found
    }

    /// How many errors, how many warnings.
    pub(crate) fn count(&self) -> (usize, usize) {
        let warnings = self.found.iter().filter(|finding| finding.warning).count();
        (self.found.len() - warnings, warnings)
    }
}

/// Every rule, on this workspace.
pub(crate) fn everything() -> Findings {
    let root = cargo::root();
    let mut findings = Findings::default();
    match Tree::read(&root) {
        Ok(tree) => {
            on_files(&tree, &mut findings);
            dependencies::check(&tree, &mut findings);
        }
        Err(error) => findings.error(".", 0, format!("the tree cannot be read: {error}")),
    }
    findings
}

/// The rules that need nothing but the files.
fn on_files(tree: &Tree, findings: &mut Findings) {
    findings.files_read = tree.files().len();
    rust_files::check(tree, findings);
    text::check(tree, findings);
    crates::check(tree, findings);
    decisions::check(tree, findings);
    links::check(tree, findings);
}

/// What a rule says about files given as (path, text); for the tests of the rules.
#[cfg(test)]
fn told(rule: fn(&Tree, &mut Findings), files: &[(&str, &str)]) -> Vec<String> {
    let mut findings = Findings::default();
    rule(&Tree::of(files), &mut findings);
    findings.found.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_tree_is_tidy() {
        let mut findings = Findings::default();
        on_files(&Tree::read(&cargo::root()).expect("the tree can be read"), &mut findings);
        let errors: Vec<_> =
            findings.all().iter().filter(|finding| !finding.warning).map(ToString::to_string).collect();
        assert!(findings.files_read > 0, "no file was read");
        assert!(errors.is_empty(), "\n{}\n", errors.join("\n"));
    }
}
