//! One good file that says everything, and many bad ones with the place, the message and the mend each must give.

use super::*;
use candor_core::{Dependency, KeyType, Level, OnFeedDown, OnSourceDown, ProofKind, Refresh, Rows};
use proptest::prelude::*;
use std::time::Duration;

const GOOD: &str = include_str!("tests/good.toml");
const SECRET: &str = "correct horse battery staple";

fn environment(name: &str) -> Option<String> {
    match name {
        "DATA" => Some("/data".to_owned()),
        "CANDOR_SECRET" => Some(SECRET.to_owned()),
        "SHORT" => Some("hunter2".to_owned()),
        _ => None,
    }
}

fn parse(text: &str) -> Result<Config, Complaints> {
    Config::parse(Origin::new("etc/candor.toml", text), &environment)
}

#[test]
fn the_good_file_says_everything() {
    let config = parse(GOOD).unwrap_or_else(|complaints| panic!("{complaints}"));
    let [local, plain] = config.sources.as_slice() else { panic!("{:?}", config.sources) };
    assert_eq!((local.kind.word(), &*local.kind.place()), ("sqlite", "/data/shop.db"));
    assert_eq!(local.pool, PoolSettings { connections_max: 4, acquire_timeout: Duration::from_millis(100) });
    let limit = LimitSettings { in_flight_max: 3, queue_max: 0, queue_timeout: Duration::from_secs(1) };
    assert_eq!(local.limit, limit);
    assert_eq!(local.timeout, Duration::from_millis(900));
    assert_eq!((local.feed.poll, local.feed.keep_rows), (Duration::from_millis(20), 5000));
    assert_eq!((plain.kind.word(), &*plain.kind.place()), ("sqlite", "etc/plain.db"));
    assert_eq!((plain.pool, plain.limit), Default::default());
    assert_eq!((plain.feed.poll, plain.feed.keep_rows), (Duration::from_millis(50), 100_000));
    assert_eq!(config.l1.capacity_bytes, 64 << 20);

    let server = &config.server;
    assert_eq!(server.http.to_string(), "0.0.0.0:7071");
    let auth = server.auth.as_ref().unwrap();
    assert_eq!(auth.tokens_file, Path::new("etc/tokens.toml"));
    assert_eq!(auth.subject_header.as_ref().unwrap(), "x-subject");
    assert_eq!(config.place(&auth.span), Place { line: 23, column: 24 });
    assert!(server.session_secret.is_some());
    assert_eq!(server.drain_timeout, Duration::from_secs(3));
    let limits = RequestLimits {
        body_bytes_max: 64 << 10,
        header_bytes_max: 32 << 10,
        header_timeout: Duration::from_secs(2),
        request_timeout: Duration::from_secs(20),
        connections_max: 100,
    };
    assert_eq!(server.limits, limits);
}

#[test]
fn the_good_file_gives_views_and_contracts() {
    let config = parse(GOOD).unwrap();
    let [user, cart, balance] = config.views.as_slice() else { panic!("{:?}", config.views) };
    let seconds = Duration::from_secs;
    assert_eq!((&*user.name, &*user.source, user.private), ("user", "local", None));
    assert_eq!(user.query.key[0].kind, KeyType::Int8);
    let [row, table, application] = user.query.invalidated_by.as_deref().unwrap() else { panic!() };
    assert!(matches!(row, Dependency::Row { parameter: 0, .. }));
    assert!(matches!((table, application), (Dependency::Table(_), Dependency::Application(_))));
    let contract = &user.contract;
    assert_eq!((&*contract.view, &*contract.owner), ("user", "accounts"));
    assert_eq!(contract.level, Level::Bounded(seconds(2)));
    assert_eq!(
        (contract.ttl, contract.absent_ttl, contract.timeout),
        (seconds(1800), seconds(10), seconds(4))
    );
    assert_eq!(contract.refresh, Refresh::WhileRevalidate(seconds(1)));
    assert_eq!(contract.on_source_down, OnSourceDown::Stale(seconds(600)));
    assert_eq!(contract.on_feed_down, OnFeedDown::Stale(seconds(5)));
    assert_eq!(config.place(&user.span("ttl")), Place { line: 42, column: 7 });
    assert_eq!(config.place(&user.span("proof")), Place { line: 34, column: 7 }, "absent: the view's name");

    assert_eq!((cart.private, cart.query.rows), (Some(1), Rows::Many));
    assert_eq!((cart.query.proof, cart.contract.proof), (ProofKind::Clock, ProofKind::Clock));
    assert!(cart.query.sql.starts_with("SELECT *\n"));
    assert_eq!(cart.query.invalidated_by, None);
    assert_eq!((balance.contract.critical, balance.contract.level), (true, Level::Strong));
    assert!(balance.query.key.is_empty());
    let complaint = config.complaint(user.span("sql"), "no such table: users", "create it").to_string();
    assert!(complaint.starts_with("etc/candor.toml:38:7: no such table: users\n"), "{complaint}");
}

#[test]
fn secrets_stay_in_the_dark() {
    let shown = format!("{:?}", parse(GOOD).unwrap());
    assert!(!shown.contains(SECRET), "{shown}");
    for text in [
        "[server]\nsession_secret = \"hunter2\"\n",
        "[server]\nsession_secret = \"${SHORT}\"\n",
        "[server]\nsession_secret = \"hunter2\n",
        "[server]\nsession_secret = hunter2\n",
        "[server]\nsession_secret = \"$hunter2\"\n",
        "[server]\nsession_secret = \"a\"\nsession_secret = \"hunter2\"\n",
        "[source.a]\nkind = \"sqlite\"\nurl = \"postgres://app:hunter2@db/shop\"\n",
    ] {
        let shown = parse(text).unwrap_err().to_string();
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains('^'), "{shown}");
    }
    let continued = parse("[server]\nsession_secret = \"\"\"\nhunter2\\q\"\"\"\n").unwrap_err();
    assert_eq!(continued.list()[0].place.unwrap().line, 3, "the error stands inside the string");
    assert!(!continued.to_string().contains("hunter2"), "{continued}");
}

/// A source on line 1 to 3; whatever follows begins on line 4.
const SOURCE: &str = "[source.s]\nkind = \"sqlite\"\npath = \"s.db\"\n";
/// A view whose fields stand on lines 4 to 8; whatever follows begins on line 9.
const VIEW: &str =
    "[view.v]\nowner = \"o\"\nsource = \"s\"\nkey = [\"id:int8\"]\nsql = \"SELECT * FROM t WHERE id = $1\"\n";

/// A bad file, and the complaint it must give: place, part of the message, part of the mend.
type Case = (String, &'static str, &'static str, &'static str);

fn view(extra: &str) -> String {
    format!("{SOURCE}{VIEW}{extra}\n")
}

/// The view with one text replaced by another.
fn bent(from: &str, to: &str) -> String {
    assert!(VIEW.contains(from), "{from}");
    format!("{SOURCE}{}", VIEW.replacen(from, to, 1))
}

fn server(text: &str) -> String {
    format!("[server]\n{text}\n")
}

fn check(cases: Vec<Case>) {
    let mut failures = Vec::new();
    for (text, place, message, mend) in cases {
        let complaints = parse(&text).expect_err(&text);
        let found = complaints.list().iter().any(|complaint| {
            complaint.place.is_some_and(|found| found.to_string() == place)
                && complaint.message.contains(message)
                && complaint.mend.contains(mend)
        });
        // One mistake, one complaint: nothing is reported that merely follows from it.
        if !found || complaints.count() != 1 {
            failures.push(format!("wanted {place}: {message} / {mend}, but:\n{complaints}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn mistakes_of_form() {
    check(vec![
        ("[l1\n".into(), "1:4", "not valid TOML", ""),
        ("a = 'x\n".into(), "1:7", "not valid TOML", "close the string"),
        (server("http = localhost"), "2:8", "not valid TOML", "quotes"),
        ("[veiw.v]\n".into(), "1:2", "the file has no field `veiw`", "did you mean `view`?"),
        ("[unheard_of]\n".into(), "1:2", "no field `unheard_of`", "the fields here are"),
        (
            "view = 3\n".into(),
            "1:8",
            "`view` is a group of sections, but this is a whole number",
            "[view.NAME]",
        ),
        ("[[view]]\n".into(), "1:1", "this is a list", "[view.NAME]"),
        ("[view]\nuser = \"x\"\n".into(), "2:8", "`view.user` is text, not a section", "[view.NAME]"),
        ("l1 = \"256MiB\"\n".into(), "1:6", "`l1` is a table, but this is text", "[l1]"),
        (view(VIEW), "9:7", "view `v` is declared twice, first on line 4", "keep one"),
        (format!("{SOURCE}{SOURCE}"), "4:9", "source `s` is declared twice, first on line 1", "keep one"),
        (view("ttl = \"1s\"\nttl = \"2s\""), "10:1", "`ttl` is declared twice, first on line 9", "keep one"),
        (view("tttl = \"1s\""), "9:1", "[view.v] has no field `tttl`", "did you mean `ttl`?"),
        (view("consistancy = \"any\""), "9:1", "no field `consistancy`", "did you mean `consistency`?"),
        (bent("[view.v]", "[view.\"a:b\"]"), "4:7", "`a:b` cannot be a name", "letters"),
    ]);
}

const POSTGRES: &str = "[source.p]\nkind = \"postgres\"\nurl = \"postgres://app@db/shop\"\n";

#[test]
fn a_postgres_source_is_read_with_its_feed_and_never_shows_its_password() {
    let text = "[source.p]\nkind = \"postgres\"\nurl = \"postgres://app:${SHORT}@db:6432/shop\"\ntimeout = \"3s\"\npooler = true\n\
        standby = \"postgres://app:${SHORT}@copy/shop\"\n\
        [feed.p]\nslot = \"candor_eu\"\npublication = \"Candor EU\"\npoll = \"200ms\"\nurl = \"postgres://log:${SHORT}@db:5432/shop\"\n";
    let config = parse(text).unwrap_or_else(|complaints| panic!("{complaints}"));
    let source = &config.sources[0];
    let SourceKind::Postgres { connect, pooler, standby } = &source.kind else { panic!("{source:?}") };
    assert_eq!((connect.password.as_deref(), &*connect.database), (Some("hunter2"), "shop"));
    assert_eq!(connect.hosts, [("db".into(), 6432)]);
    assert_eq!(standby.as_ref().unwrap().hosts, [("copy".into(), 5432)]);
    let direct = source.feed.connect.as_ref().unwrap();
    assert_eq!((&*direct.user, &direct.hosts[..], *pooler), ("log", &[("db".into(), 5432)][..], true));
    assert_eq!((&*source.feed.slot, &*source.feed.publication), ("candor_eu", "Candor EU"));
    assert_eq!((source.feed.poll, source.timeout), (Duration::from_millis(200), Duration::from_secs(3)));
    assert!(!format!("{config:?} {}", source.kind.place()).contains("hunter2"));
    for url in [
        "postgres://app:hunter2@db/shop?sslmod=require",
        "postgres://app:hun/hunter2@db/shop",
        "host=db password=hunter2 dbnam=shop",
        "postgres://app:${SHORT}@db/shop?nonsense",
    ] {
        let text = format!("[source.p]\nkind = \"postgres\"\nurl = \"{url}\"\n");
        let refused = parse(&text).unwrap_err();
        assert_eq!(refused.list()[0].place.unwrap().to_string(), "3:7", "{refused}");
        assert!(!refused.to_string().contains("hunter2"), "{refused}");
    }
}

#[test]
fn mistakes_in_sources_and_feeds() {
    let feed = |extra: &str| format!("{SOURCE}[feed.s]\n{extra}\n");
    check(vec![
        (
            "[source.p]\nkind = \"postgres\"\npath = \"x.db\"\n".into(),
            "3:8",
            "a postgres source has no path",
            "write url =",
        ),
        ("[source.p]\nkind = \"postgres\"\n".into(), "1:9", "has no `url`", "postgres://"),
        (
            "[source.p]\nkind = \"postgres\"\nurl = \"mysql://h/d\"\n".into(),
            "3:7",
            "not with `mysql://`",
            "postgres://",
        ),
        (format!("{POSTGRES}[feed.p]\nkeep = 5000\n"), "5:8", "no change table", "remove keep"),
        (
            format!("{POSTGRES}[feed.p]\nrelay = \"x\"\n"),
            "5:9",
            "not available in this build",
            "remove relay",
        ),
        (format!("{POSTGRES}[feed.p]\nslot = \"A-b\"\n"), "5:8", "made of a to z", "slot = \"candor\""),
        (
            "[source.p]\nkind = \"mysql\"\n".into(),
            "2:8",
            "not available in this build: only sqlite",
            "sqlite",
        ),
        ("[source.p]\nkind = \"http\"\n".into(), "2:8", "not available in this build: only sqlite", "sqlite"),
        (
            "[source.p]\nkind = \"sqlit\"\npath = \"x\"\n".into(),
            "2:8",
            "not a kind",
            "did you mean `sqlite`?",
        ),
        ("[source.p]\nkind = \"oracle\"\n".into(), "2:8", "not a kind", "postgres, mysql, sqlite and http"),
        ("[source.p]\npath = \"x\"\n".into(), "1:9", "[source.p] has no `kind`", "kind = \"sqlite\""),
        ("[source.p]\nkind = \"sqlite\"\n".into(), "1:9", "has no `path`", "relative to this file"),
        ("[source.p]\nkind = \"sqlite\"\npath = \"\"\n".into(), "3:8", "the path is empty", "path ="),
        ("[source.p]\nkind = \"sqlite\"\nurl = \"x\"\n".into(), "3:7", "has no url", "path ="),
        (
            "[source.p]\nkind = \"sqlite\"\npath = \"a/${NONE}/b\"\n".into(),
            "3:11",
            "no variable `NONE`",
            "set NONE",
        ),
        ("[source.p]\nkind = \"sqlite\"\npath = \"$DATA\"\n".into(), "3:9", "stands alone", "${NAME}"),
        (format!("{SOURCE}pool = {{ max = -1 }}\n"), "4:16", "`max` is negative", "from 1 to 1024"),
        (format!("{SOURCE}pool = {{ max = 0 }}\n"), "4:16", "`max` is not between 1", "from 1 to 1024"),
        (
            format!("{SOURCE}pool = {{ max = 99999999999999999999 }}\n"),
            "4:16",
            "not between",
            "from 1 to 1024",
        ),
        (format!("{SOURCE}pool = {{ max = 1.5 }}\n"), "4:16", "a number with a fraction", "whole number"),
        (format!("{SOURCE}pool = {{ maxi = 1 }}\n"), "4:10", "`pool` has no field `maxi`", "`max`"),
        (format!("{SOURCE}pool = 4\n"), "4:8", "`pool` is a table", "pool = {"),
        (
            format!("{SOURCE}limit = {{ queue_timeout = \"5 s\" }}\n"),
            "4:27",
            "`5 s` is not a duration",
            "250ms, 2s",
        ),
        (format!("{SOURCE}timeout = \"0s\"\n"), "4:11", "`timeout` is zero", "length"),
        (feed("slot = \"candor\""), "5:8", "no replication slot", "remove slot"),
        (feed("publication = \"p\""), "5:15", "no publication", "remove publication"),
        (feed("relay = \"redis://r\""), "5:9", "needs no relay", "remove relay"),
        (feed("poll = \"1m\""), "5:8", "unproven for that long", "at most 10s"),
        (feed("keep = 1"), "5:8", "not between 1000", "from 1000"),
        ("[feed.x]\n".into(), "1:7", "there is no source `x`", "[source.x]"),
    ]);
}

#[test]
fn mistakes_in_views() {
    check(vec![
        (bent("owner = \"o\"\n", ""), "4:7", "[view.v] has no `owner`", "owner ="),
        (bent("\"o\"", "\"\""), "5:9", "the owner is empty", "who answers"),
        (bent("source = \"s\"\n", ""), "4:7", "has no `source`", "source ="),
        (bent("source = \"s\"", "source = \"t\""), "6:10", "there is no source `t`", "did you mean `s`?"),
        (bent("source = \"s\"", "source = \"other\""), "6:10", "no source `other`", "declared are s"),
        (bent("key = [\"id:int8\"]\n", ""), "4:7", "has no `key`", "key = []"),
        (bent("[\"id:int8\"]", "\"id:int8\""), "7:7", "`key` is a list of strings", "[\""),
        (bent("\"id:int8\"", "\"id\""), "7:8", "`id` has no type", "id:int8"),
        (bent("id:int8", "id:int9"), "7:8", "`int9` is not a type", "did you mean `int"),
        (bent("id:int8", "id:bigint"), "7:8", "`bigint` is not a type", "did you mean `int8`?"),
        (bent("id:int8", "id:json"), "7:8", "`json` is not a type", "int2, int4"),
        (bent("id:int8", ":int8"), "7:8", "cannot be the name of a key column", "id:int8"),
        (bent("\"id:int8\"]", "\"id:int8\", \"id:text\"]"), "7:19", "declared twice", "own name"),
        (bent("\"id:int8\"]", "\"id:int8\", 4]"), "7:19", "a list of strings", "quotes"),
        (bent("\"id:int8\"", &"'a', ".repeat(17)), "7:7", "at most 16 columns", "leave some out"),
        (bent("= $1", "= 1"), "8:7", "does not use the key column `id` ($1)", "use $1"),
        (bent("= $1", "= $1 OR x = $2"), "8:45", "`$2` has no key column; the key has 1", "list a column"),
        (bent("= $1", "= $1 OR x = $0"), "8:45", "`$0` has no key column", "list a column"),
        (bent("= $1", "= $1 OR x = ? AND y = ?"), "8:45", "`?` is not a placeholder", "write $1"),
        (bent("SELECT * FROM t WHERE id = $1", " "), "8:7", "the SQL is empty", "SELECT"),
        (view("rows = \"some\""), "9:8", "not a number of rows", "one (an object"),
        (view("proof = \"faith\""), "9:9", "not a kind of proof", "log or clock"),
        (view("private = \"subject\""), "9:11", "no column `subject`", "\"subject:text\""),
        (view("private = true"), "9:11", "`private` is text, but this is true or false", "quotes"),
        (view("private = \"id\""), "9:11", "nobody could read the private view `v`", "tokens_file"),
        (view("invalidated_by = []"), "9:18", "nothing would invalidate", "leave invalidated_by out"),
        (view("invalidated_by = [\"t\", \"t.id=$2\"]"), "9:24", "`$2` has no key column", "whole table"),
        (view("invalidated_by = [\"t.id\"]"), "9:19", "not a dependency", "table.column=$1"),
    ]);
}

#[test]
fn mistakes_in_contracts() {
    check(vec![
        (view("ttl = 3600"), "9:7", "`ttl` is text, but this is a whole number", "quotes"),
        (view("ttl = \"1hour\""), "9:7", "`1hour` is not a duration", "250ms, 2s, 10m, 1h or 7d"),
        (view("ttl = \"-1s\""), "9:7", "`-1s` is not a duration", "whole number"),
        (view("ttl = \"0s\""), "9:7", "keeps nothing", "length"),
        (view("ttl = 2026-11-21"), "9:7", "a date or time", "quotes"),
        (view("timeout = \"0ms\""), "9:11", "answers nothing", "length"),
        (view("critical = \"yes\""), "9:12", "`critical` is true or false", "without quotes"),
        (view("consistency = \"eventual\""), "9:15", "not a level", "the levels are strong"),
        (view("consistency = \"session\""), "9:15", "cannot be a default", "bounded:<duration>"),
        (
            view("critical = true\nconsistency = \"any\""),
            "10:15",
            "only read at `strong`, not at `any`",
            "consistency = \"strong\"",
        ),
        (view("critical = true\non_source_down = \"stale:1s\""), "10:18", "never answers stale", "\"error\""),
        (
            view("critical = true\non_feed_down = \"stale:1s\""),
            "10:16",
            "never answers stale",
            "\"source\" or \"error\"",
        ),
        (
            view("critical = true\nrefresh = \"swr:1s\""),
            "10:11",
            "never answers stale",
            "\"early\" or \"none\"",
        ),
        (view("critical = true\nconsistency = \"strog\""), "10:15", "not a level", "the levels are"),
        (view("refresh = \"swr:10s\""), "9:11", "served 10s past their end", "swr:2s"),
        (view("refresh = \"later\""), "9:11", "not a way to refresh", "early, swr:<duration> or none"),
        (view("on_source_down = \"source\""), "9:18", "not a behaviour", "error or stale:<duration>"),
        (view("on_feed_down = \"wait\""), "9:16", "not a behaviour", "source, error or stale"),
        (
            view("proof = \"clock\"\non_feed_down = \"error\""),
            "10:16",
            "follows no log",
            "remove on_feed_down",
        ),
    ]);
}

#[test]
fn mistakes_in_server_and_tiers() {
    check(vec![
        (server("http = \"localhost:7070\""), "2:8", "not an address", "127.0.0.1:7070"),
        (server("http = \"7070\""), "2:8", "not an address", "[::1]:7070"),
        (server("http = \"127.0.0.1:70700\""), "2:8", "not an address", "127.0.0.1:7070"),
        (server("http = \"0.0.0.0:7070\""), "2:8", "can be reached from other machines", "tokens_file"),
        (server("http = \"[::]:7070\""), "2:8", "can be reached from other machines", "tokens_file"),
        (server("resp = \"127.0.0.1:7079\""), "2:8", "not available yet", "remove resp"),
        (server("auth = {}"), "2:1", "`auth` has no `tokens_file`", "tokens.toml"),
        (
            server("auth = { tokens = \"t\" }\nhttp = \"0.0.0.0:1\"")
                .replace("tokens =", "tokens_file = \"t\", tokens ="),
            "2:29",
            "no field `tokens`",
            "the fields here are",
        ),
        (
            server("auth = { tokens_file = \"t\", subject_header = \"a b\" }"),
            "2:46",
            "cannot be the name of a header",
            "X-Subject",
        ),
        (
            server("auth = { tokens_file = \"t\", subject_header = \"Authorization\" }"),
            "2:46",
            "meaning already",
            "X-Subject",
        ),
        (server("session_secret = \"${NONE}\""), "2:19", "no variable `NONE`", "set NONE"),
        (server("session_secret = \"${SHORT}\""), "2:18", "shorter than 16 bytes", "openssl"),
        (server("limits = { body = \"1\" }"), "2:19", "`1` is not a size", "64KiB"),
        (server("limits = { body = \"0B\" }"), "2:19", "`body` is not between 1024", "in between"),
        (server("limits = { headers = \"1KiB\" }"), "2:22", "`headers` is not between 8192", "in between"),
        (server("limits = { connections = -4 }"), "2:26", "`connections` is negative", "from 1"),
        (server("drain = \"soon\""), "2:9", "not a duration", "250ms"),
        ("[l1]\ncapacity = \"256\"\n".into(), "2:12", "`256` is not a size", "256MiB"),
        ("[l1]\ncapacity = 256\n".into(), "2:12", "`capacity` is text", "quotes"),
        ("[l1]\ncapacity = \"1KiB\"\n".into(), "2:12", "too little", "1MiB"),
        ("[l2]\nurl = \"redis://r\"\n".into(), "1:1", "second tier is not available yet", "remove [l2]"),
    ]);
}

#[test]
fn one_run_finds_everything_in_the_order_of_the_file() {
    let text =
        format!("[l1]\ncapacity = \"x\"\n{}ttl = 1\nrows = \"two\"\nshape = 1\n[l2]\n", bent("$1", "$3"));
    let complaints = parse(&text).unwrap_err();
    let lines: Vec<usize> =
        complaints.list().iter().filter_map(|complaint| Some(complaint.place?.line)).collect();
    assert_eq!(lines, [2, 10, 10, 11, 12, 13, 14], "{complaints}");
}

#[test]
fn a_syntax_error_is_not_buried_under_what_follows_from_it() {
    let complaints = parse(&view("ttl = \nrows = \"two\"\nx = = 1")).unwrap_err();
    assert!(
        complaints.list().iter().all(|complaint| complaint.message.contains("not valid TOML")),
        "{complaints}"
    );
    assert!(complaints.count() >= 2, "{complaints}");
}

#[test]
fn the_caret_stands_under_the_value() {
    let shown = parse("[l1]\n\tcapacity = \"größe\" # x\n").unwrap_err().to_string();
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines[0], "etc/candor.toml:2:13: `größe` is not a size");
    assert_eq!(lines[2], "2 |  capacity = \"größe\" # x");
    assert_eq!(lines[3], "  |             ^^^^^^^");
    assert_eq!(lines[4], "  mend: write a whole number and a unit: 64KiB, 256MiB or 1GiB");
}

proptest! {
    /// Whatever is written over, cut out of or put into a good file, reading it neither panics nor shows a secret.
    #[test]
    fn reading_never_panics(at in 0..GOOD.len(), length in 0..40usize, put in "\\PC{0,12}|[\\[\\]=\"'.{}\n$#]{0,6}") {
        let floor = |mut at: usize| { while !GOOD.is_char_boundary(at) { at -= 1 } at };
        let (start, end) = (floor(at), floor((at + length).min(GOOD.len())));
        let text = format!("{}{put}{}", &GOOD[..start], &GOOD[end..]);
        let shown = match parse(&text) {
            Ok(config) => format!("{config:?}"),
            Err(complaints) => {
                let last = text.lines().count() + 1;
                let is_inside = |complaint: &Complaint| complaint.place.is_some_and(|place| place.line <= last);
                prop_assert!(complaints.list().iter().all(is_inside));
                complaints.to_string()
            }
        };
        prop_assert!(!shown.contains(SECRET), "{}", shown);
    }
}
