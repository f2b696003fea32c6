//! `candor.toml`: any bytes give a configuration or complaints that say where and what, and never a secret.

use candor_fuzz::Fuzzer;
use candor_server::Config;
use candor_server::config::Origin;
use std::collections::BTreeSet;

const SECRET: &str = "k9-Zebra-quartz-41";

const WORDS: &[&str] = &[
    "[source.shop]\n",
    "[feed.shop]\n",
    "[l1]\n",
    "[server]\n",
    "[server.limits]\n",
    "[view.user]\n",
    "kind = ",
    "\"postgres\"",
    "\"sqlite\"",
    "\"http\"",
    "url = ",
    "\"postgres://app:${SECRET}@db/shop\"",
    "path = \"a.db\"\n",
    "pool = { max = 8 }",
    "limit = { in_flight = 8, queue = 256 }",
    "slot = \"candor\"",
    "key = [\"id:int8\"]",
    "sql = \"SELECT a FROM b WHERE c = $1\"",
    "$1",
    "$2",
    "${SECRET}",
    "${NOTHING}",
    "$",
    "{",
    "}",
    "consistency = ",
    "\"bounded:2s\"",
    "\"strong\"",
    "\"session\"",
    "\"any\"",
    "critical = true",
    "private = \"subject\"",
    "ttl = \"1h\"",
    "refresh = \"swr:10s\"",
    "on_source_down = \"stale:10m\"",
    "on_feed_down = \"error\"",
    "proof = \"clock\"",
    "invalidated_by = [\"users.id=$1\", \"#tag\"]",
    "rows = \"many\"",
    "18446744073709551616",
    "-1",
    "1e9",
    "\"\"\"",
    "'''",
    "\u{feff}",
    "é",
    "\u{202e}",
    "\"99999999999h\"",
    "http = \"0.0.0.0:7070\"",
    "auth = { tokens_file = \"t.toml\" }",
];

#[test]
fn any_file_gives_a_configuration_or_complaints_with_places_and_no_secret() {
    let tally = Fuzzer::new("config", WORDS).run(look);
    assert!(tally.ways > 40, "the fuzzer did nothing: {tally:?}");
}

fn look(input: &[u8]) -> String {
    // A file that is not UTF-8 is refused when it is read; what is looked at here begins after that.
    let text = String::from_utf8_lossy(input).into_owned();
    let environment = |name: &str| (name == "SECRET").then(|| SECRET.to_owned());
    let read = || Config::parse(Origin::new("candor.toml", &*text), &environment);
    match read() {
        Ok(config) => {
            assert!(!format!("{config:?}").contains(SECRET), "a secret is shown by Debug");
            assert!(!config.views.is_empty() || !text.contains("[view."), "a view was lost");
            for view in &config.views {
                assert!(config.source(&view.source).is_some(), "a view without its source passed");
            }
            let levels: Vec<_> = config.views.iter().map(|view| &view.contract.level).collect();
            format!("taken: {} sources, {levels:?}", config.sources.len())
        }
        Err(complaints) => {
            let shown = complaints.to_string();
            assert!(
                !shown.contains(SECRET) && !format!("{complaints:?}").contains(SECRET),
                "a secret is shown: {shown}"
            );
            assert!(complaints.count() > 0 && !shown.is_empty(), "refused without a word");
            let lines = text.split('\n').count();
            for complaint in complaints.list() {
                assert!(!complaint.message.is_empty());
                let Some(place) = &complaint.place else { continue };
                assert!((1..=lines).contains(&place.line), "line {} of {lines}", place.line);
                assert!(place.column >= 1);
            }
            assert_eq!(read().err().map(|again| again.to_string()), Some(shown), "two readings differ");
            let kinds: BTreeSet<_> =
                complaints.list().iter().map(|complaint| without_names(&complaint.message)).collect();
            format!("refused: {kinds:?}")
        }
    }
}

/// The kind of a complaint: what is quoted and what is counted differs from file to file.
fn without_names(message: &str) -> String {
    let unquoted: String = message.split('`').step_by(2).collect();
    unquoted.chars().filter(|letter| letter.is_ascii_alphabetic() || *letter == ' ').take(48).collect()
}
