//! The password file, `~/.pgpass`: `host:port:database:user:password` in every line, `*` for any.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Reads the file, unless others may read it, too: then it is passed over with a warning, as by libpq.
pub(super) fn read(path: &Path) -> Option<String> {
    let metadata = std::fs::metadata(path).ok()?;
    if !metadata.is_file() {
        tracing::warn!(path = %path.display(), "the password file is not a plain file and is not used");
        return None;
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        tracing::warn!(
            path = %path.display(),
            "the password file can be read by others and is not used; chmod 0600 makes it private"
        );
        return None;
    }
    let bytes = std::fs::read(path).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The password of the first line that fits.
pub(super) fn find(file: &str, host: &str, port: u16, database: &str, user: &str) -> Option<String> {
    let port = port.to_string();
    file.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let mut rest = line;
        for wanted in [host, &port, database, user] {
            let (is_any, field, after) = field(rest)?;
            if !is_any && field != wanted {
                return None;
            }
            rest = after;
        }
        let password = unescaped(rest);
        (!password.is_empty()).then_some(password)
    })
}

/// The field before the next `:`, whether it is a bare `*`, and what follows.
fn field(line: &str) -> Option<(bool, String, &str)> {
    let mut is_escaped = false;
    let end = line.find(|c| {
        let ends = c == ':' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        ends
    })?;
    Some((&line[..end] == "*", unescaped(&line[..end]), &line[end + 1..]))
}

fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        plain.push(if c == '\\' { chars.next().unwrap_or(c) } else { c });
    }
    plain
}
