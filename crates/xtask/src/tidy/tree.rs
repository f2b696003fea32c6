//! The files the rules judge: what a clean clone would hold once everything here is committed.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::{fs, io};

/// Directories that tools write and nobody commits, wherever they stand.
const LEFT_BEHIND: &[&str] = &[".git", "target", "node_modules"];

/// One text file.
#[derive(Debug)]
pub(crate) struct File {
    /// From the root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl File {
    /// The lines with their numbers, counted from one.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }
}

/// All files; the text of those that are text.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    files: Vec<File>,
    /// Every path that exists, directories included.
    paths: BTreeSet<String>,
}

impl Tree {
    /// Reads the tree under `root`.
    ///
    /// # Errors
    ///
    /// If a file that is listed cannot be read, for any reason but having been deleted.
    pub(crate) fn read(root: &Path) -> io::Result<Self> {
        let listed = match listed_by_git(root) {
            Some(listed) => listed,
            None => walked(root)?,
        };
        let mut tree = Self::default();
        for path in listed {
            if path.split('/').any(|part| LEFT_BEHIND.contains(&part)) {
                continue;
            }
            match fs::read(root.join(&path)) {
                Ok(bytes) => tree.add(path, String::from_utf8(bytes).ok()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) if error.kind() == io::ErrorKind::IsADirectory => {}
                Err(error) => return Err(error),
            }
        }
        Ok(tree)
    }

    /// A tree of these files, given as (path, text).
    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let mut tree = Self::default();
        for (path, text) in files {
            tree.add((*path).to_owned(), Some((*text).to_owned()));
        }
        tree
    }

    pub(crate) fn files(&self) -> &[File] {
        &self.files
    }

    /// The Rust sources.
    pub(crate) fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.path.ends_with(".rs"))
    }

    /// The file at exactly this path, if it is text.
    pub(crate) fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    /// Whether a file or directory has this path; the root is the empty path.
    pub(crate) fn has(&self, path: &str) -> bool {
        path.is_empty() || self.paths.contains(path)
    }

    fn add(&mut self, path: String, text: Option<String>) {
        self.paths.extend(path.match_indices('/').map(|(end, _)| path[..end].to_owned()));
        self.paths.insert(path.clone());
        if let Some(text) = text.filter(|text| !text.contains('\0')) {
            self.files.push(File { path, text });
        }
    }
}

/// Tracked files, and new ones that are not ignored: they are about to be committed.
fn listed_by_git(root: &Path) -> Option<Vec<String>> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .ok()?;
    let listed: Vec<String> =
        String::from_utf8(output.stdout).ok()?.split_terminator('\0').map(str::to_owned).collect();
    (output.status.success() && !listed.is_empty()).then_some(listed)
}

/// For a tree without git, such as an unpacked archive: everything but what builds leave behind.
fn walked(root: &Path) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    let mut open = vec![String::new()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(root.join(&directory))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if directory.is_empty() { name.clone() } else { format!("{directory}/{name}") };
            if !entry.file_type()?.is_dir() {
                found.push(path);
            } else if !LEFT_BEHIND.contains(&name.as_str()) {
                open.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cargo::root;

    #[test]
    fn without_git_the_same_sources_are_found() {
        let walked = walked(&root()).unwrap();
        assert!(walked.iter().any(|path| path == "crates/xtask/src/tidy/tree.rs"));
        assert!(!walked.iter().any(|path| path.starts_with(".git/") || path.starts_with("target/")));
    }

    #[test]
    fn a_directory_exists_through_its_files_and_bytes_are_not_text() {
        let mut tree = Tree::of(&[("a/b/c.md", "")]);
        tree.add("d.bin".to_owned(), None);
        assert!(
            tree.has("") && tree.has("a") && tree.has("a/b") && tree.has("a/b/c.md") && tree.has("d.bin")
        );
        assert!(!tree.has("a/c.md"));
        assert_eq!(tree.files().len(), 1);
    }
}
