//! What a connection string leaves open, from where libpq takes it: variables, the password file, defaults.

use super::text::Parameters;
use super::{ConnectOptions, TlsMode, passfile};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where Debian, Red Hat and most others put the server's socket.
const SOCKET_DIRECTORY: &str = "/var/run/postgresql";

/// libpq waits for ever. A cache must know that its source is down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The parameters that have variables.
const VARIABLES: [(&str, &str); 12] = [
    ("host", "PGHOST"),
    ("port", "PGPORT"),
    ("user", "PGUSER"),
    ("password", "PGPASSWORD"),
    ("dbname", "PGDATABASE"),
    ("sslmode", "PGSSLMODE"),
    ("sslrootcert", "PGSSLROOTCERT"),
    ("sslcert", "PGSSLCERT"),
    ("sslkey", "PGSSLKEY"),
    ("connect_timeout", "PGCONNECT_TIMEOUT"),
    ("application_name", "PGAPPNAME"),
    ("passfile", "PGPASSFILE"),
];

pub(super) fn complete(
    mut given: Parameters,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<ConnectOptions, String> {
    // What it means is in a file of libpq's that is not read here; to pass it over would lead to another server in silence.
    if let Some(service) = env("PGSERVICE").filter(|service| !service.is_empty()) {
        return Err(format!(
            "PGSERVICE is set (`{service}`), and service files are not read here; write the service's parameters here, and \
             unset PGSERVICE"
        ));
    }
    for (name, variable) in VARIABLES {
        if !given.contains_key(name)
            && let Some(value) = env(variable).filter(|value| !value.is_empty())
        {
            given.insert(name, value);
        }
    }
    let mut take = |name: &str| given.remove(name);
    let hosts = hosts(take("host"), take("port"))?;
    let user = take("user")
        .or_else(|| os_user(env))
        .ok_or("the connection string names no user, and this process's user has no name; write user=…")?;
    let database = take("dbname").unwrap_or_else(|| user.clone());
    let passfile = take("passfile").map(PathBuf::from).or_else(|| Some(home(env)?.join(".pgpass")));
    let password = take("password").or_else(|| {
        let file = passfile::read(&passfile?)?;
        hosts.iter().find_map(|(host, port)| {
            let host = if host.as_ref() == SOCKET_DIRECTORY { "localhost" } else { host };
            passfile::find(&file, host, *port, &database, &user)
        })
    });
    let client_certificate = match (take("sslcert"), take("sslkey")) {
        (Some(certificate), Some(key)) => Some((certificate.into(), key.into())),
        (None, None) => None,
        (Some(_), None) => return Err("`sslcert` is given without its key; add `sslkey`".into()),
        (None, Some(_)) => return Err("`sslkey` is given without its certificate; add `sslcert`".into()),
    };
    let (tls, root_certificate) = tls(take("sslmode"), take("sslrootcert"))?;
    Ok(ConnectOptions {
        hosts,
        user: user.into(),
        password: password.map(Into::into),
        database: database.into(),
        tls,
        root_certificate,
        client_certificate,
        connect_timeout: connect_timeout(take("connect_timeout"))?,
        application_name: take("application_name").unwrap_or_else(|| "candor".into()).into(),
    })
}

fn hosts(hosts: Option<String>, ports: Option<String>) -> Result<Vec<(Box<str>, u16)>, String> {
    let default = || match Path::new(SOCKET_DIRECTORY).is_dir() {
        true => SOCKET_DIRECTORY,
        false => "localhost",
    };
    let hosts = hosts.unwrap_or_default();
    let hosts: Vec<&str> = hosts.split(',').map(str::trim).collect();
    let ports = ports.unwrap_or_default();
    let ports = ports
        .split(',')
        .map(|port| match port.trim() {
            "" => Ok(5432),
            port => port
                .parse::<u16>()
                .ok()
                .filter(|port| *port > 0)
                .ok_or_else(|| format!("`{port}` is not a port; ports are 1 to 65535")),
        })
        .collect::<Result<Vec<u16>, String>>()?;
    let port_of = |place: usize| match ports.as_slice() {
        [port] => Ok(*port),
        ports if ports.len() == hosts.len() => Ok(ports[place]),
        ports => Err(format!(
            "{} ports are given for {} hosts; give one port for all, or one for each",
            ports.len(),
            hosts.len()
        )),
    };
    let named = |(place, host): (usize, &&str)| {
        let host = if host.is_empty() { default() } else { host };
        Ok((host.into(), port_of(place)?))
    };
    hosts.iter().enumerate().map(named).collect()
}

/// As libpq: certificates that are named are used, so with them `require` also verifies.
fn tls(mode: Option<String>, root: Option<String>) -> Result<(TlsMode, Option<PathBuf>), String> {
    let is_system = root.as_deref() == Some("system");
    let mode = match mode.as_deref() {
        None if is_system => TlsMode::VerifyFull,
        Some("disable") => TlsMode::Disable,
        None | Some("allow" | "prefer") => TlsMode::Prefer,
        Some("require") if root.is_some() => TlsMode::VerifyCa,
        Some("require") => TlsMode::Require,
        Some("verify-ca") => TlsMode::VerifyCa,
        Some("verify-full") => TlsMode::VerifyFull,
        Some(other) => {
            return Err(format!(
                "`{other}` is not an sslmode; there are disable, allow, prefer, require, verify-ca and verify-full"
            ));
        }
    };
    if is_system && mode != TlsMode::VerifyFull {
        return Err(
            "with sslrootcert=system only sslmode=verify-full is safe: anybody can have a public certificate"
                .into(),
        );
    }
    Ok((mode, root.filter(|_| !is_system).map(PathBuf::from)))
}

/// Whole seconds. libpq reads zero and less as "for ever"; here they mean the default.
fn connect_timeout(text: Option<String>) -> Result<Duration, String> {
    let Some(text) = text else { return Ok(CONNECT_TIMEOUT) };
    let seconds: i64 =
        text.trim().parse().map_err(|_| format!("`{text}` is not a connect_timeout; write whole seconds"))?;
    Ok(u64::try_from(seconds).ok().filter(|s| *s > 0).map_or(CONNECT_TIMEOUT, Duration::from_secs))
}

/// The name of the user this process runs as, asked of the system, since variables may be inherited from somebody else.
fn os_user(env: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    own_entry(0).or_else(|| ["USER", "LOGNAME"].into_iter().find_map(env).filter(|name| !name.is_empty()))
}

fn home(env: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let home = env("HOME").filter(|home| !home.is_empty());
    home.or_else(|| own_entry(5)).map(PathBuf::from)
}

/// A field of this process's line in `/etc/passwd`.
fn own_entry(field: usize) -> Option<String> {
    let uid = std::fs::metadata("/proc/self").ok()?.uid().to_string();
    let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
    let line = passwd.lines().find(|line| line.split(':').nth(2) == Some(&uid))?;
    line.split(':').nth(field).map(str::to_owned)
}
