//! Calling other programs, most of all the cargo that called us.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::stage::Outcome;

/// The workspace root.
///
/// Asked at run time first: cargo sets the variable for `cargo run` and `cargo test`, and a binary built in one clone
/// may be run in another that shares its target directory.
pub(crate) fn root() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    here.ancestors().nth(2).map_or_else(|| here.clone(), Path::to_path_buf)
}

/// The cargo that runs us (so the same toolchain), at the workspace root, with nothing to read.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root()).stdin(Stdio::null());
    command
}

/// Shows what is about to run, as one could type it.
pub(crate) fn show(command: &Command) {
    let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
    let program = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy();
    println!("{program} {}", words.join(" "));
}

/// Runs a command that prints for itself.
pub(crate) fn passes(mut command: Command) -> Outcome {
    show(&command);
    match command.status() {
        Ok(status) if status.success() => Outcome::Passed(String::new()),
        Ok(status) => Outcome::Failed(status.to_string()),
        Err(error) => Outcome::Failed(format!("cannot run {}: {error}", command.get_program().display())),
    }
}

/// Whether a command can be run and succeeds; what it prints is dropped.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// What `cargo metadata` says, with these arguments.
///
/// # Errors
///
/// In words: cargo cannot run, the manifests do not resolve, or a package is neither here nor to be fetched.
pub(crate) fn metadata(arguments: &[&str]) -> Result<serde_json::Value, String> {
    let mut command = cargo(&["metadata", "--format-version", "1"]);
    command.args(arguments);
    let output = command.output().map_err(|error| format!("cannot run cargo metadata: {error}"))?;
    if !output.status.success() {
        return Err(format!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| format!("cargo metadata printed no JSON: {error}"))
}
