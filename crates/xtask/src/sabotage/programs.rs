//! The test programs of a build that contains the switches.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::cargo::{cargo, show};

/// Whose tests are run with defences taken out. Always all of them: another choice would build what they share anew.
const PACKAGES: [&str; 6] =
    ["candor", "candor-core", "candor-postgres", "candor-server", "candor-sim", "candor-soak"];

/// Every test program of these packages.
#[derive(Debug)]
pub(super) struct Programs(Vec<Program>);

/// One of them.
#[derive(Debug)]
pub(super) struct Program {
    /// The package and the target, such as `candor-postgres main`; the target of unit tests is the library's.
    pub(super) name: String,
    executable: PathBuf,
    /// Where cargo would run it.
    folder: PathBuf,
}

impl Programs {
    /// Builds them.
    ///
    /// # Errors
    ///
    /// In words, when cargo cannot be run or does not succeed; what it says goes to the terminal.
    pub(super) fn build() -> Result<Self, String> {
        let mut command = cargo(&["test", "--no-run", "--message-format=json-render-diagnostics"]);
        for package in PACKAGES {
            command.args(["--package", package]);
        }
        crate::sim::sabotaged(&mut command);
        show(&command);
        let output = command.stderr(Stdio::inherit()).output();
        let output = output.map_err(|error| format!("cannot run cargo: {error}"))?;
        if !output.status.success() {
            return Err(format!("the build with switches: {}", output.status));
        }
        let told = String::from_utf8_lossy(&output.stdout);
        Ok(Self(told.lines().filter_map(Program::of_message).collect()))
    }

    /// Those of some packages.
    pub(super) fn of(&self, packages: &[&str]) -> impl Iterator<Item = &Program> {
        let is_of =
            |program: &Program| program.name.split(' ').next().is_some_and(|of| packages.contains(&of));
        self.0.iter().filter(move |program| is_of(program))
    }

    /// The one with this name.
    pub(super) fn named(&self, name: &str) -> Option<&Program> {
        self.0.iter().find(|program| program.name == name)
    }
}

impl Program {
    /// Reads what cargo says of one thing it built; `None` if that is no test program.
    fn of_message(line: &str) -> Option<Self> {
        let message: Value = serde_json::from_str(line).ok()?;
        let text = |path: &str| message.pointer(path).and_then(Value::as_str);
        let executable = PathBuf::from(text("/executable")?);
        if message.pointer("/profile/test") != Some(&Value::Bool(true)) {
            return None;
        }
        let folder = PathBuf::from(text("/manifest_path")?).parent()?.to_path_buf();
        // Ends in `path#name@version`, or in `folder#version` where the folder is called as the package.
        let id = text("/package_id")?;
        let (path, last) = id.rsplit_once('#')?;
        let package =
            last.split_once('@').map_or_else(|| path.rsplit('/').next().unwrap_or(path), |(name, _)| name);
        Some(Self { name: format!("{package} {}", text("/target/name")?), executable, folder })
    }

    /// Calls it as cargo would.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.executable);
        command.current_dir(&self.folder).stdin(Stdio::null());
        command
    }

    /// The names of its tests.
    pub(super) fn tests(&self) -> Vec<String> {
        let listed = self.command().args(["--list", "--format=terse"]).output();
        let listed =
            listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        listed.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_programs_are_told_from_everything_else_that_is_built() {
        let message = |id: &str, test: bool| {
            format!(
                r#"{{"reason":"compiler-artifact","package_id":"{id}","manifest_path":"/w/crates/postgres/Cargo.toml",
                "target":{{"name":"main"}},"profile":{{"test":{test}}},"executable":"/t/main-1"}}"#
            )
        };
        for id in
            ["path+file:///w/crates/postgres#candor-postgres@0.1.0", "path+file:///w/candor-postgres#0.1.0"]
        {
            let found = Program::of_message(&message(id, true)).expect("a test program");
            assert_eq!(
                (found.name.as_str(), found.folder),
                ("candor-postgres main", "/w/crates/postgres".into())
            );
            assert!(Program::of_message(&message(id, false)).is_none());
        }
        assert!(Program::of_message("Compiling").is_none());
    }
}
