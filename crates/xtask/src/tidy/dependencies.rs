//! Rules on what comes from outside: licences, bans and sources, as `deny.toml` lists them.
//!
//! The same list that cargo-deny reads, held against `cargo metadata`, so that the rules hold on a machine without
//! cargo-deny. Less than cargo-deny does: a licence is what the package declares, not what its files say, and nothing is
//! asked about advisories.

use serde_json::Value as Json;
use toml::{Table, Value};

use super::{Findings, Tree};
use crate::cargo;

const LIST: &str = "deny.toml";

pub(super) fn check(tree: &Tree, findings: &mut Findings) {
    let policy =
        match tree.file(LIST).ok_or("it is missing".to_owned()).and_then(|file| Policy::read(&file.text)) {
            Ok(policy) => policy,
            Err(error) => return findings.error(LIST, 0, error),
        };
    match cargo::metadata(&["--all-features"]) {
        Ok(metadata) => {
            for package in metadata["packages"].as_array().into_iter().flatten() {
                policy.judge(package, findings);
            }
        }
        Err(error) => findings.error("Cargo.toml", 0, error),
    }
}

/// What `deny.toml` says.
#[derive(Debug)]
struct Policy {
    licences: Vec<String>,
    registries: Vec<String>,
    bans: Vec<Ban>,
}

#[derive(Debug)]
struct Ban {
    name: String,
    versions: Versions,
    reason: String,
}

#[derive(Debug)]
enum Versions {
    All,
    Below(Version),
    Exactly(Version),
}

/// Major, minor, patch. What follows is not compared: no floor of ours is a pre-release.
type Version = [u64; 3];

impl Policy {
    fn read(text: &str) -> Result<Self, String> {
        let list: Table = text.parse().map_err(|error| format!("not TOML: {error}"))?;
        let entry = |section: &str, key: &str| {
            let values = list.get(section).and_then(|section| section.get(key)).and_then(Value::as_array);
            values.cloned().ok_or_else(|| format!("lacks [{section}] {key}"))
        };
        let words = |values: Vec<Value>| values.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        Ok(Self {
            licences: words(entry("licenses", "allow")?),
            registries: words(entry("sources", "allow-registry")?),
            bans: entry("bans", "deny")?.iter().map(Ban::read).collect::<Result<_, _>>()?,
        })
    }

    fn judge(&self, package: &Json, findings: &mut Findings) {
        let word = |key: &str| package[key].as_str().unwrap_or_default();
        let (name, version) = (word("name"), word("version"));
        let mut object = |what: String| findings.error("Cargo.lock", 0, format!("{name} {version}: {what}"));
        match package["source"].as_str() {
            // A crate of this workspace.
            None => {}
            Some(source)
                if self.registries.iter().any(|known| source.strip_prefix("registry+") == Some(known)) => {}
            Some(source) => object(format!("comes from {source}")),
        }
        match package["license"].as_str() {
            Some(licence) if accepts(licence, &self.licences) => {}
            Some(licence) => object(format!("its licence, {licence}, is not allowed")),
            None => object("declares no licence".to_owned()),
        }
        for ban in self.bans.iter().filter(|ban| ban.hits(name, version)) {
            object(format!("banned: {}", ban.reason));
        }
    }
}

impl Ban {
    fn read(entry: &Value) -> Result<Self, String> {
        let word = |key: &str| entry.get(key).and_then(Value::as_str).map(str::to_owned);
        let spec = word("crate").ok_or_else(|| format!("a ban without `crate`: {entry}"))?;
        let reason = word("reason").ok_or_else(|| format!("{spec}: a ban needs its reason"))?;
        let unreadable = || format!("{spec}: say name, name:<x.y.z or name@x.y.z");
        let (name, versions) = if let Some((name, floor)) = spec.split_once(":<") {
            (name, Versions::Below(parse(floor).ok_or_else(unreadable)?))
        } else if let Some((name, one)) = spec.split_once('@') {
            (name, Versions::Exactly(parse(one).ok_or_else(unreadable)?))
        } else if spec.contains(':') {
            return Err(unreadable());
        } else {
            (spec.as_str(), Versions::All)
        };
        Ok(Self { name: name.to_owned(), versions, reason })
    }

    fn hits(&self, name: &str, version: &str) -> bool {
        // A version that cannot be read counts as banned: better a question than a hole.
        self.name == name
            && match &self.versions {
                Versions::All => true,
                Versions::Below(floor) => parse(version).is_none_or(|version| version < *floor),
                Versions::Exactly(one) => parse(version).is_none_or(|version| version == *one),
            }
    }
}

fn parse(version: &str) -> Option<Version> {
    let numbers = version.split(['-', '+']).next()?;
    let numbers: Vec<u64> = numbers.split('.').map(|number| number.parse().ok()).collect::<Option<_>>()?;
    numbers.try_into().ok()
}

/// Whether the licence expression can be met with the `allowed` ones. `/` is the old way to write `OR`.
fn accepts(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words = spaced.split_whitespace().peekable();
    let accepted = either(&mut words, allowed);
    accepted == Some(true) && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

/// `a OR b …`; none if the expression is malformed.
fn either(words: &mut Words<'_>, allowed: &[String]) -> Option<bool> {
    let mut met = both(words, allowed)?;
    while words.next_if_eq(&"OR").is_some() {
        met |= both(words, allowed)?;
    }
    Some(met)
}

/// `a AND b …`, which binds tighter than `OR`.
fn both(words: &mut Words<'_>, allowed: &[String]) -> Option<bool> {
    let mut met = one(words, allowed)?;
    while words.next_if_eq(&"AND").is_some() {
        met &= one(words, allowed)?;
    }
    Some(met)
}

/// A licence, a licence `WITH` an exception, or an expression in parentheses.
fn one(words: &mut Words<'_>, allowed: &[String]) -> Option<bool> {
    let word = words.next().filter(|word| !matches!(*word, ")" | "OR" | "AND" | "WITH"))?;
    if word == "(" {
        let met = either(words, allowed)?;
        return words.next_if_eq(&")").map(|_| met);
    }
    let name = match words.next_if_eq(&"WITH") {
        Some(_) => format!("{word} WITH {}", words.next()?),
        None => word.to_owned(),
    };
    Some(allowed.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTED: &str = r#"
        [licenses]
        allow = ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "Unicode-3.0"]
        [bans]
        deny = [
          { crate = "bincode", reason = "unmaintained" },
          { crate = "h2:<0.4.16", reason = "advisory" },
          { crate = "tokio@1.54.0", reason = "withdrawn" },
        ]
        [sources]
        allow-registry = ["https://example.org/index"]
    "#;

    fn judged(name: &str, version: &str, licence: &str, source: &str) -> Vec<String> {
        let mut findings = Findings::default();
        let package =
            serde_json::json!({ "name": name, "version": version, "license": licence, "source": source });
        Policy::read(LISTED).unwrap().judge(&package, &mut findings);
        findings.all().iter().map(|finding| finding.what.clone()).collect()
    }

    #[test]
    fn bans_and_floors_hold() {
        let judged = |name, version| judged(name, version, "MIT", "registry+https://example.org/index");
        assert_eq!(judged("bincode", "2.0.1"), ["bincode 2.0.1: banned: unmaintained"]);
        assert_eq!(judged("h2", "0.4.15"), ["h2 0.4.15: banned: advisory"]);
        assert_eq!(judged("h2", "nonsense").len(), 1);
        assert_eq!(judged("tokio", "1.54.0"), ["tokio 1.54.0: banned: withdrawn"]);
        for (name, version) in
            [("h2", "0.4.16"), ("h2", "0.10.0+spec-1"), ("tokio", "1.54.1"), ("bin", "1.0.0")]
        {
            assert!(judged(name, version).is_empty(), "{name} {version}");
        }
    }

    #[test]
    fn only_the_named_registry_is_a_source() {
        let judged = |source| judged("a", "1.0.0", "MIT", source);
        assert!(judged("registry+https://example.org/index").is_empty());
        assert_eq!(judged("registry+https://example.org/other").len(), 1);
        assert_eq!(
            judged("git+https://example.org/index"),
            ["a 1.0.0: comes from git+https://example.org/index"]
        );
    }

    #[test]
    fn licence_expressions_are_read_as_written() {
        let allowed = Policy::read(LISTED).unwrap().licences;
        for good in [
            "MIT",
            "GPL-3.0 OR MIT",
            "MIT/Apache-2.0",
            "(MIT OR GPL-3.0) AND Unicode-3.0",
            "GPL-3.0 AND AGPL-3.0 OR MIT",
            "Apache-2.0 WITH LLVM-exception",
        ] {
            assert!(accepts(good, &allowed), "{good}");
        }
        for bad in [
            "GPL-3.0",
            "MIT AND GPL-3.0",
            "MIT AND (GPL-3.0 OR AGPL-3.0)",
            "MIT WITH GPL-exception",
            "",
            "MIT OR",
            "(MIT",
            "MIT)",
            "MIT MIT",
        ] {
            assert!(!accepts(bad, &allowed), "{bad}");
        }
    }

    #[test]
    fn a_list_tidy_cannot_read_is_refused() {
        for (good, bad) in [
            ("h2:<0.4.16", "h2:>=0.4"),
            ("h2:<0.4.16", "h2@<0.4.16"),
            ("h2:<0.4.16", "h2:<0.4"),
            (", reason = \"unmaintained\"", ""),
            ("allow-registry", "registries"),
        ] {
            assert!(Policy::read(&LISTED.replace(good, bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn our_own_list_can_be_read() {
        let text = std::fs::read_to_string(cargo::root().join(LIST)).unwrap();
        assert!(!Policy::read(&text).unwrap().bans.is_empty());
    }
}
