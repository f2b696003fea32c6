//! Rules on pages: a link to a file of ours leads to a file of ours, and a link to a heading to a heading.

use super::tree::File;
use super::{Findings, Tree};

pub(super) fn check(tree: &Tree, findings: &mut Findings) {
    for file in tree.files().iter().filter(|file| file.path.ends_with(".md")) {
        for (number, line) in prose(file) {
            for target in targets(&line) {
                if let Err(why) = follow(tree, file, target) {
                    findings.error(&file.path, number, format!("the link `{target}` {why}"));
                }
            }
        }
    }
}

/// The lines outside fenced code, with code spans blanked.
fn prose(file: &File) -> impl Iterator<Item = (usize, String)> {
    let mut fenced = false;
    file.lines().filter_map(move |(number, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        (!fenced && !fence).then(|| (number, without_code(line)))
    })
}

fn without_code(line: &str) -> String {
    if line.matches('`').count() < 2 {
        return line.to_owned();
    }
    let mut kept = String::new();
    for (index, piece) in line.split('`').enumerate() {
        kept.push_str(if index % 2 == 0 { piece } else { "code" });
    }
    kept
}

/// Where the links on this line lead: `[text](target)`, `[name]: target`, `src="target"`, `href="target"`.
fn targets(line: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for (open, close) in [("](", ')'), ("src=\"", '"'), ("href=\"", '"')] {
        for (start, _) in line.match_indices(open) {
            let rest = &line[start + open.len()..];
            found.extend(rest.split_once(close).map(|(target, _)| target));
        }
    }
    if line.starts_with('[') && !line.starts_with("[^") {
        found.extend(line.split_once("]: ").map(|(_, target)| target));
    }
    // A title may follow the target, and angle brackets may hold it.
    let bare = |target: &'_ str| target.trim().split(' ').next().map(str::len).unwrap_or(0);
    found.iter().map(|target| target.trim()[..bare(target)].trim_matches(['<', '>'])).collect()
}

fn follow(tree: &Tree, from: &File, target: &str) -> Result<(), &'static str> {
    if target.contains("://") || target.starts_with("mailto:") {
        return Ok(());
    }
    let (path, heading) =
        target.split_once('#').map_or((target, None), |(path, heading)| (path, Some(heading)));
    let path = if path.is_empty() { from.path.clone() } else { resolve(&from.path, path)? };
    if !tree.has(path.trim_end_matches('/')) {
        return Err("leads nowhere");
    }
    match (heading, tree.file(&path)) {
        (Some(heading), Some(page)) if page.path.ends_with(".md") && !has_heading(page, heading) => {
            Err("leads to a page that has no such heading")
        }
        _ => Ok(()),
    }
}

/// The path from the root that `target` means on the page `from`.
fn resolve(from: &str, target: &str) -> Result<String, &'static str> {
    if target.starts_with('/') {
        return Err("starts at a root that is another one for each reader");
    }
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "." | "" => {}
            ".." => drop(parts.pop().ok_or("leaves the repository")?),
            name => parts.push(name),
        }
    }
    Ok(parts.join("/"))
}

/// Headings are linked by their words in lower case, joined by hyphens; a repeated one gets a number behind.
fn has_heading(page: &File, wanted: &str) -> bool {
    let unnumbered = wanted.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('-');
    page.lines()
        .filter(|(_, line)| line.starts_with('#'))
        .map(|(_, line)| slug(line.trim_start_matches('#').trim()))
        .any(|slug| slug == wanted || slug == unnumbered)
}

fn slug(heading: &str) -> String {
    heading
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::told;
    use super::*;

    const GUIDE: (&str, &str) = ("docs/guide.md", "# Guide\n\n## What it costs, in `ns`\n");

    fn judged(path: &str, text: &str) -> Vec<String> {
        told(check, &[GUIDE, ("docs/picture.svg", "<svg/>\n"), (path, text)])
    }

    #[test]
    fn links_that_lead_somewhere_pass() {
        let page = "[a](docs/guide.md) [b](docs/guide.md#what-it-costs-in-ns \"title\") [c](docs) [d](docs/)\n\
            [e](https://example.org) [f](#here) <img src=\"docs/picture.svg\"> `[g](nowhere.md)`\n\
            ## Here\n```\n[h](nowhere.md)\n```\n[i]: docs/guide.md\n";
        assert_eq!(judged("README.md", page), [] as [&str; 0]);
        assert_eq!(
            judged("docs/promises/a.md", "[a](../guide.md) [b](../../docs/guide.md)\n"),
            [] as [&str; 0]
        );
    }

    #[test]
    fn links_that_lead_nowhere_are_told() {
        for (link, why) in [
            ("[a](nowhere.md)", "the link `nowhere.md` leads nowhere"),
            ("[a][b]\n[b]: nowhere.md", "the link `nowhere.md` leads nowhere"),
            ("<a href=\"nowhere.md\">", "the link `nowhere.md` leads nowhere"),
            ("[a](docs/guide.md#no)", "the link `docs/guide.md#no` leads to a page that has no such heading"),
            ("[a](#no)", "the link `#no` leads to a page that has no such heading"),
            ("[a](../README.md)", "the link `../README.md` leaves the repository"),
            (
                "[a](/docs/guide.md)",
                "the link `/docs/guide.md` starts at a root that is another one for each reader",
            ),
        ] {
            let told = judged("README.md", &format!("{link}\n"));
            assert_eq!(told.len(), 1, "{link}: {told:?}");
            assert!(told[0].ends_with(why), "{told:?}");
        }
    }
}
