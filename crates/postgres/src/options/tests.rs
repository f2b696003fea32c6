//! Connection strings, read as libpq reads them.

use super::*;
use std::os::unix::fs::PermissionsExt;

fn parse(text: &str) -> Result<ConnectOptions, String> {
    parse_with(text, &[])
}

fn parse_with(text: &str, env: &[(&str, &str)]) -> Result<ConnectOptions, String> {
    ConnectOptions::parse(text, &|name| {
        let home = (name == "HOME").then_some(("HOME", "/nowhere"));
        env.iter().copied().chain(home).find(|(known, _)| *known == name).map(|(_, value)| value.to_owned())
    })
}

fn hosts(options: &ConnectOptions) -> Vec<(&str, u16)> {
    options.hosts.iter().map(|(host, port)| (&**host, *port)).collect()
}

#[test]
fn a_url_says_everything() {
    let options = parse(
        "postgresql://us%65r:p%40ss%3Aw%2F@one:1111,[::1]:2222,%2Frun%2Fpg/data%20base?sslmode=verify-full&sslrootcert=/ca&connect_timeout=3&application_name=my%20app",
    )
    .unwrap();
    assert_eq!(hosts(&options), [("one", 1111), ("::1", 2222), ("/run/pg", 5432)]);
    assert_eq!((&*options.user, options.password.as_deref()), ("user", Some("p@ss:w/")));
    assert_eq!((&*options.database, &*options.application_name), ("data base", "my app"));
    assert_eq!((options.tls, options.root_certificate), (TlsMode::VerifyFull, Some("/ca".into())));
    assert_eq!(options.connect_timeout, Duration::from_secs(3));
}

#[test]
fn keywords_say_the_same_with_quotes_and_escapes() {
    let options = parse(r"host=a,b port = 5433 user='o''x' ").map(|options| options.user).unwrap_err();
    assert!(options.contains("name=value"), "a doubled quote ends the value: {options}");
    let options = parse(r" host=a,b port = 5433 user='o\'x' password=' a\\b ' dbname=d\ e").unwrap();
    assert_eq!(hosts(&options), [("a", 5433), ("b", 5433)]);
    assert_eq!((&*options.user, options.password.as_deref()), ("o'x", Some(r" a\b ")));
    assert_eq!(&*options.database, "d e");
}

#[test]
fn what_is_left_open_is_completed_from_variables_and_then_defaults() {
    let env = [
        ("PGHOST", "h"),
        ("PGPORT", "7"),
        ("PGUSER", "u"),
        ("PGPASSWORD", "p"),
        ("PGSSLMODE", "require"),
        ("PGCONNECT_TIMEOUT", "9"),
        ("PGAPPNAME", "me"),
        ("PGDATABASE", ""),
    ];
    let options = parse_with("", &env).unwrap();
    assert_eq!(hosts(&options), [("h", 7)]);
    assert_eq!((&*options.user, options.password.as_deref(), &*options.database), ("u", Some("p"), "u"));
    assert_eq!((options.tls, &*options.application_name), (TlsMode::Require, "me"));
    assert_eq!(options.connect_timeout, Duration::from_secs(9));
    let options = parse_with("postgres://x@y:8/z?sslmode=disable", &env).unwrap();
    assert_eq!((hosts(&options), &*options.user, &*options.database), (vec![("y", 8)], "x", "z"));
    assert_eq!(options.tls, TlsMode::Disable);
    let options = parse("").unwrap();
    let host = if std::path::Path::new("/var/run/postgresql").is_dir() {
        "/var/run/postgresql"
    } else {
        "localhost"
    };
    assert_eq!(hosts(&options), [(host, 5432)]);
    assert_eq!(options.user, options.database);
    assert_eq!((options.tls, options.password.is_none()), (TlsMode::Prefer, true));
}

#[test]
fn sockets_are_directories_in_either_form() {
    for text in ["postgres:///db?host=/tmp", "host=/tmp dbname=db", "postgres://%2Ftmp/db"] {
        let options = parse(text).unwrap();
        assert_eq!((hosts(&options), &*options.database), (vec![("/tmp", 5432)], "db"), "{text}");
    }
    assert_eq!(place("/tmp", 5432), "/tmp/.s.PGSQL.5432");
    assert_eq!(place("::1", 1), "[::1]:1");
}

#[test]
fn certificates_that_are_named_are_used() {
    let mode = |text: &str| parse(text).map(|options| options.tls);
    assert_eq!(mode("sslmode=allow"), Ok(TlsMode::Prefer));
    assert_eq!(mode("sslmode=require"), Ok(TlsMode::Require));
    assert_eq!(mode("sslmode=require sslrootcert=/ca"), Ok(TlsMode::VerifyCa));
    assert_eq!(mode("sslrootcert=system"), Ok(TlsMode::VerifyFull));
    assert!(mode("sslrootcert=system sslmode=verify-ca").is_err());
    assert!(mode("sslmode=on").unwrap_err().contains("verify-full"));
    assert!(mode("sslcert=/c").unwrap_err().contains("sslkey"));
}

#[test]
fn what_is_not_known_is_refused_with_a_suggestion() {
    for (text, wanted) in [
        ("hots=a", "did you mean `host`?"),
        ("postgres://h/d?sslmod=require", "did you mean `sslmode`?"),
        ("database=d", "there are host"),
        ("postgres://h/d?options=-csearch_path%3Dx", "ALTER ROLE"),
        ("target_session_attrs=standby", "read-write"),
        ("mysql://h/d", "postgres://"),
        ("port=x", "1 to 65535"),
        ("host=a,b,c port=1,2", "2 ports are given for 3 hosts"),
        ("connect_timeout=1s", "whole seconds"),
        ("user='a", "closing"),
        ("justaname", "name=value"),
        ("postgres://h/%zz", "%25"),
        ("postgres://h/d?host", "name=value"),
        ("postgres://[::1/d", "`]`"),
    ] {
        let error = parse(text).unwrap_err();
        assert!(error.contains(wanted), "{text}: {error}");
    }
}

#[test]
fn no_message_contains_the_password() {
    for text in [
        "postgres://u:s3cr3t@h/d?nonsense=1",
        "postgres://u:s3cr3t@h:port/d",
        "postgres://u:s3cr3t/x@h/d",
        "postgres://u:s3cr3t@x@h/d",
        "postgres://u:s3cr3t%@h/d",
        "password=s3cr3t nonsense",
        "password='s3cr3t",
        "password=two s3cr3t=x",
        "mysql://u:s3cr3t@h",
    ] {
        let error = parse(text).unwrap_err();
        assert!(!error.contains("s3cr3t"), "{text}: {error}");
    }
    let options = parse("postgres://u:s3cr3t@h/d").unwrap();
    assert!(!format!("{options:?} {}", options.describe()).contains("s3cr3t"));
}

#[test]
fn the_password_file_is_read_if_it_is_private() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(".pgpass");
    let lines = "# h:*:*:*:comment\nother:5432:d:u:wrong\nh:6:*:u:wrong\nh:5432:d\\:e:u\\\\v:p\\:q\\\\\nh:*:*:*:any\n*:*:*:last:zz\n";
    std::fs::write(&path, lines).unwrap();
    let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    mode(0o600);
    let home = folder.path().to_str().unwrap();
    let password = |text: &str| parse_with(text, &[("HOME", home)]).unwrap().password;
    assert_eq!(password(r"host=h dbname=d:e user=u\\v").as_deref(), Some(r"p:q\"));
    assert_eq!(password("host=h dbname=d user=u").as_deref(), Some("any"));
    assert_eq!(password("host=nobody,h dbname=d user=u").as_deref(), Some("any"));
    assert_eq!(password("host=x dbname=d user=last").as_deref(), Some("zz"));
    assert_eq!(password("host=x dbname=d user=u"), None);
    assert_eq!(password("host=h dbname=d user=u password=own").as_deref(), Some("own"));
    let file = path.to_str().unwrap();
    let named = parse_with("host=h user=u", &[("PGPASSFILE", file)]).unwrap();
    assert_eq!(named.password.as_deref(), Some("any"));
    mode(0o640);
    assert_eq!(password("host=h dbname=d user=u"), None);
}

#[test]
fn a_service_is_refused_wherever_it_is_named() {
    for refused in
        [parse("service=shop").unwrap_err(), parse_with("host=h", &[("PGSERVICE", "shop")]).unwrap_err()]
    {
        assert!(refused.contains("write the service's parameters here"), "{refused}");
    }
    assert!(parse_with("host=h user=u", &[("PGSERVICE", "")]).is_ok());
}
