//! Rules on manifests: which crate may build on which.
//!
//! ```text
//! core ← tiers ← engine ← server ← cli;   core ← (each outside system) ← server
//! ```

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::{Findings, Tree};

/// Crates for ourselves, not published. They may use everything; nothing may use them.
const TOOLS: &[&str] = &["fuzz", "model", "sim", "soak", "testbed", "xtask"];

/// What a crate may build on, by directory under `crates/`.
enum May {
    Only(&'static [&'static str]),
    AllBut(&'static [&'static str]),
}

/// A crate that is not named here is an outside system (`sqlite`, `postgres`, `relay` …): it knows the core alone.
fn may(name: &str) -> May {
    match name {
        "core" => May::Only(&[]),
        "engine" => May::Only(&["core", "tiers"]),
        "server" => May::AllBut(&["cli"]),
        "cli" => May::AllBut(&[]),
        tool if TOOLS.contains(&tool) => May::AllBut(&[]),
        _ => May::Only(&["core"]),
    }
}

fn allowed(from: &str, to: &str) -> bool {
    let by_layer = match may(from) {
        May::Only(names) => names.contains(&to),
        May::AllBut(names) => !names.contains(&to),
    };
    by_layer && (!TOOLS.contains(&to) || TOOLS.contains(&from))
}

pub(super) fn check(tree: &Tree, findings: &mut Findings) {
    let mut manifests = BTreeMap::new();
    for file in tree.files() {
        let name = file.path.strip_prefix("crates/").and_then(|path| path.strip_suffix("/Cargo.toml"));
        let Some(name) = name.filter(|name| !name.contains('/')) else { continue };
        match file.text.parse::<Table>() {
            Ok(manifest) => drop(manifests.insert(name, manifest)),
            Err(error) => findings.error(&file.path, 0, format!("not a manifest: {error}")),
        }
    }
    let directories: BTreeMap<String, &str> =
        manifests.iter().map(|(name, manifest)| (package_name(manifest), *name)).collect();
    for (name, manifest) in &manifests {
        let path = format!("crates/{name}/Cargo.toml");
        if manifest.get("lints").and_then(|lints| lints.get("workspace")) != Some(&Value::Boolean(true)) {
            findings.error(&path, 0, "lacks `[lints] workspace = true`");
        }
        if TOOLS.contains(name)
            && manifest.get("package").and_then(|package| package.get("publish"))
                != Some(&Value::Boolean(false))
        {
            findings.error(&path, 0, "a crate for ourselves needs `publish = false`");
        }
        for dependency in dependencies(manifest) {
            if !dependency.from_workspace {
                let what = format!("`{}` does not come from [workspace.dependencies]", dependency.package);
                findings.error(&path, 0, what);
            }
            let Some(to) = directories.get(&dependency.package) else { continue };
            // Tests may look further than the product does; only the core's may not.
            if !allowed(name, to) && (!dependency.dev || *name == "core") {
                findings.error(&path, 0, format!("`{name}` may not build on `{to}`"));
            }
        }
    }
}

fn package_name(manifest: &Table) -> String {
    let name = manifest.get("package").and_then(|package| package.get("name")).and_then(Value::as_str);
    name.unwrap_or_default().to_owned()
}

struct Dependency {
    package: String,
    dev: bool,
    from_workspace: bool,
}

/// All dependencies, those for one platform only included.
fn dependencies(manifest: &Table) -> Vec<Dependency> {
    let for_platforms = manifest.get("target").and_then(Value::as_table).into_iter().flat_map(Table::values);
    let mut found = Vec::new();
    for table in for_platforms.filter_map(Value::as_table).chain([manifest]) {
        for (kind, dev) in
            [("dependencies", false), ("build-dependencies", false), ("dev-dependencies", true)]
        {
            let entries = table.get(kind).and_then(Value::as_table).into_iter().flatten();
            found.extend(entries.map(|(name, value)| Dependency {
                package: value.get("package").and_then(Value::as_str).unwrap_or(name).to_owned(),
                dev,
                from_workspace: value.get("workspace") == Some(&Value::Boolean(true)),
            }));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::told;
    use super::*;

    fn manifest(name: &str, rest: &str) -> (String, String) {
        let package = if name == "engine" { "candor".to_owned() } else { format!("candor-{name}") };
        (
            format!("crates/{name}/Cargo.toml"),
            format!("[package]\nname = \"{package}\"\n{rest}\n[lints]\nworkspace = true\n"),
        )
    }

    fn judged(manifests: &[(String, String)]) -> Vec<String> {
        let files: Vec<_> = manifests.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        told(check, &files)
    }

    #[test]
    fn the_layers_as_drawn_pass() {
        let told = judged(&[
            manifest("core", ""),
            manifest("tiers", "[dependencies]\ncandor-core.workspace = true"),
            manifest("engine", "[dependencies]\ncandor-core.workspace = true\ncandor-tiers.workspace = true"),
            manifest("sqlite", "[dependencies]\ncandor-core.workspace = true"),
            manifest("server", "[dependencies]\ncandor.workspace = true\ncandor-sqlite.workspace = true"),
            manifest("cli", "[dependencies]\ncandor-server.workspace = true"),
        ]);
        assert!(told.is_empty(), "{told:?}");
    }

    #[test]
    fn an_arrow_against_the_layers_is_told() {
        for (from, to, package) in [
            ("core", "tiers", "candor-tiers"),
            ("tiers", "engine", "candor"),
            ("engine", "sqlite", "candor-sqlite"),
            ("sqlite", "engine", "candor"),
            ("server", "cli", "candor-cli"),
        ] {
            let told = judged(&[
                manifest(from, &format!("[dependencies]\n{package}.workspace = true")),
                manifest(to, ""),
            ]);
            assert_eq!(told, [format!("error: crates/{from}/Cargo.toml: `{from}` may not build on `{to}`")]);
        }
    }

    #[test]
    fn tests_may_look_further_except_those_of_the_core() {
        let rest = "[dev-dependencies]\ncandor-sqlite.workspace = true";
        assert!(judged(&[manifest("engine", rest), manifest("sqlite", "")]).is_empty());
        assert_eq!(judged(&[manifest("core", rest), manifest("sqlite", "")]).len(), 1);
    }

    #[test]
    fn nothing_builds_on_a_tool_and_no_tool_is_published() {
        let tool = manifest("sim", "publish = false");
        assert!(judged(std::slice::from_ref(&tool)).is_empty());
        assert_eq!(judged(&[manifest("sim", "")]).len(), 1);
        let user = manifest("cli", "[target.'cfg(unix)'.dependencies]\ncandor-sim.workspace = true");
        assert_eq!(judged(&[tool, user]), ["error: crates/cli/Cargo.toml: `cli` may not build on `sim`"]);
    }

    #[test]
    fn lints_and_versions_come_from_the_workspace() {
        let told = told(
            check,
            &[("crates/a/Cargo.toml", "[package]\nname = \"a\"\n[dependencies]\nlibc = \"0.2\"\n")],
        );
        assert_eq!(
            told,
            [
                "error: crates/a/Cargo.toml: lacks `[lints] workspace = true`",
                "error: crates/a/Cargo.toml: `libc` does not come from [workspace.dependencies]",
            ]
        );
    }
}
