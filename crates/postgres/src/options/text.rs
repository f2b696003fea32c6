//! The two forms of a connection string, read into parameters. Nothing is completed and nothing is opened here.
//!
//! No message of this file repeats the text it was given: the password may be anywhere in it.

use std::collections::BTreeMap;

/// Parameters by name. An empty value counts as not given, as in libpq.
pub(super) type Parameters = BTreeMap<&'static str, String>;

/// Parameters that mean something here.
const KNOWN: [&str; 11] = [
    "host",
    "port",
    "user",
    "password",
    "dbname",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "connect_timeout",
    "application_name",
];

/// Known here and nowhere stored in [`super::ConnectOptions`].
const PASSFILE: &str = "passfile";

/// What providers put into the strings they hand out, with the values under which we behave as asked.
const HARMLESS: [(&str, &[&str]); 7] = [
    ("channel_binding", &["prefer", "disable"]),
    ("client_encoding", &["utf8", "UTF8", "utf-8", "UTF-8", "auto"]),
    ("gssencmode", &["prefer", "disable"]),
    ("keepalives", &["1"]),
    ("sslcompression", &["0"]),
    ("sslsni", &["1"]),
    ("target_session_attrs", &["any", "read-write", "primary"]),
];

/// What libpq knows and we do not, with what to do instead.
const REFUSED: [(&str, &str); 6] = [
    ("hostaddr", "write the address as `host`"),
    ("options", "give the role its settings with ALTER ROLE … SET, which also holds behind a pooler"),
    ("replication", "leave it out; it is set where it is needed"),
    ("service", "write the service's parameters here"),
    ("sslpassword", "store the key without a passphrase, readable for its owner only"),
    ("load_balance_hosts", "leave it out; hosts are tried in order"),
];

/// Reads either form.
pub(super) fn read(text: &str) -> Result<Parameters, String> {
    let text = text.trim();
    match text.split_once("://") {
        Some(("postgres" | "postgresql", rest)) => url(rest),
        Some((scheme, _)) if scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+') => {
            Err(format!("a connection string begins with postgres:// or host=…, not with `{scheme}://`"))
        }
        _ => keywords(text),
    }
}

fn is_known(name: &str) -> bool {
    let mut names = KNOWN.iter().chain([&PASSFILE]);
    let elsewhere = || HARMLESS.iter().map(|(name, _)| name).chain(REFUSED.iter().map(|(name, _)| name));
    names.any(|known| *known == name) || elsewhere().any(|known| *known == name)
}

fn add(parameters: &mut Parameters, name: &str, value: String) -> Result<(), String> {
    if value.contains('\0') {
        return Err(format!("the value of `{name}` contains NUL"));
    }
    if let Some(known) = KNOWN.iter().chain([&PASSFILE]).find(|known| **known == name) {
        if value.is_empty() {
            parameters.remove(known);
        } else {
            parameters.insert(known, value);
        }
        return Ok(());
    }
    if let Some((_, accepted)) = HARMLESS.iter().find(|(harmless, _)| *harmless == name) {
        if accepted.contains(&value.as_str()) {
            return Ok(());
        }
        return Err(format!(
            "`{name}` of the connection string is only understood as {}; leave it out",
            accepted.join(" or ")
        ));
    }
    if let Some((_, instead)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
        return Err(format!("`{name}` of the connection string is not followed here; {instead}"));
    }
    let near = KNOWN.iter().map(|known| (strsim::levenshtein(known, name), known)).min();
    Err(match near {
        Some((distance, known)) if distance <= known.len().div_ceil(3) => {
            format!("the connection string has no parameter `{}`; did you mean `{known}`?", short(name))
        }
        _ => format!(
            "the connection string has no parameter `{}`; there are {}",
            short(name),
            KNOWN.join(", ")
        ),
    })
}

/// A name that may be half a password with a blank in it is cut.
fn short(name: &str) -> String {
    name.chars().take(24).collect()
}

/// `user:password@host:port,host:port/database?name=value&…`, after the scheme.
fn url(rest: &str) -> Result<Parameters, String> {
    let mut parameters = Parameters::new();
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    if database.contains('@') {
        return Err(
            "a `/` or `?` in the user name or password of the connection string must be written %2F or %3F"
                .into(),
        );
    }
    let hosts = match authority.rsplit_once('@') {
        Some((who, _)) if who.contains('@') => {
            return Err(
                "an `@` in the user name or password of the connection string must be written %40".into()
            );
        }
        Some((who, hosts)) => {
            let (user, password) = who.split_once(':').unwrap_or((who, ""));
            add(&mut parameters, "user", decoded(user, "user name")?)?;
            add(&mut parameters, "password", decoded(password, "password")?)?;
            hosts
        }
        None => authority,
    };
    let (mut names, mut ports) = (Vec::new(), Vec::new());
    for host in hosts.split(',') {
        let (name, port) = match host.strip_prefix('[') {
            Some(bracketed) => {
                let (name, port) = bracketed.split_once(']').ok_or("an IPv6 address lacks its `]`")?;
                let port = port.strip_prefix(':').or(port.is_empty().then_some(""));
                (name, port.ok_or("after `]` comes nothing, or a colon and the port")?)
            }
            None => host.split_once(':').unwrap_or((host, "")),
        };
        names.push(decoded(name, "host")?);
        ports.push(decoded(port, "port")?);
    }
    for (name, values) in [("host", names), ("port", ports)] {
        if values.iter().any(|value| !value.is_empty()) {
            add(&mut parameters, name, values.join(","))?;
        }
    }
    add(&mut parameters, "dbname", decoded(database, "database")?)?;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair
            .split_once('=')
            .ok_or("after the `?` of the connection string every parameter is written name=value")?;
        let name = decoded(name, "parameter name")?;
        // JDBC's spelling, which libpq accepts, too.
        if (name.as_str(), value) == ("ssl", "true") {
            add(&mut parameters, "sslmode", "require".into())?;
            continue;
        }
        let value = decoded(value, &short(&name))?;
        add(&mut parameters, &name, value)?;
    }
    Ok(parameters)
}

/// `name = value`, with `'` around values and `\` before `'` and `\`.
fn keywords(text: &str) -> Result<Parameters, String> {
    let mut parameters = Parameters::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let end = rest.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let after = after.trim_start().strip_prefix('=').ok_or(
            "a connection string is postgres://user@host/database, or name=value pairs with `'` around a value that contains blanks",
        )?;
        let (value, after) = keyword_value(after.trim_start(), name)?;
        // What comes after a password without quotes may be the rest of it.
        if parameters.contains_key("password") && !is_known(name) {
            return Err("an unknown parameter follows the password in the connection string; a password with blanks needs `'` around it".into());
        }
        add(&mut parameters, name, value)?;
        rest = after.trim_start();
    }
    Ok(parameters)
}

fn keyword_value<'a>(text: &'a str, name: &str) -> Result<(String, &'a str), String> {
    let (inner, quoted) = match text.strip_prefix('\'') {
        Some(inner) => (inner, true),
        None => (text, false),
    };
    let mut value = String::new();
    let mut chars = inner.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\'' if quoted => return Ok((value, &inner[at + 1..])),
            c if !quoted && c.is_whitespace() => return Ok((value, &inner[at..])),
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            c => value.push(c),
        }
    }
    if quoted {
        return Err(format!("the value of `{}` lacks its closing `'`", short(name)));
    }
    Ok((value, ""))
}

fn decoded(text: &str, what: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        rest = after;
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let digit = |place: usize| after.get(place).and_then(|byte| char::from(*byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(0), digit(1)) else {
            return Err(format!(
                "the {what} of the connection string has a `%` without two hexadecimal digits; a percent sign is written %25"
            ));
        };
        bytes.push((high * 16 + low) as u8);
        rest = &after[2..];
    }
    String::from_utf8(bytes).map_err(|_| format!("the {what} of the connection string is not UTF-8"))
}
