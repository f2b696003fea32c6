//! Tokens files, good and bad.

use super::*;
use crate::auth::Action;

/// The digest of `a token of web`.
const WEB: &str = "5ce4a07f0b4b9ea2ad6ea96af0a8be3e4b2f8ec7a8cf4b4a0f0fd0b3e3a5c5c1";

fn environment(name: &str) -> Option<String> {
    match name {
        "ALICE_TOKEN" => Some("alice's long token".to_owned()),
        "SHORT" => Some("fifteen bytes..".to_owned()),
        _ => None,
    }
}

fn read(text: &str) -> Result<Tokens, Complaints> {
    Tokens::parse(&Origin::new("tokens.toml", text), &["user", "cart"], &environment)
}

#[test]
fn a_token_is_known_by_its_digest_and_gets_what_it_was_granted() {
    let digest: String = fingerprint(b"a token of web").iter().map(|byte| format!("{byte:02X}")).collect();
    let tokens = read(&format!(
        "[[token]]\nname = \"web\"\nsha256 = \"{digest}\"\nviews = [\"*\"]\nfence = true\nmay_impersonate = true\n\
         [[token]]\nname = \"alice\"\ntoken = \"${{ALICE_TOKEN}}\"\nviews = [\"cart\"]\nsubject = \"42\"\nexplain = true\n"
    ))
    .unwrap();
    assert_eq!(tokens.count(), 2);
    let web = tokens.caller(b"a token of web").unwrap();
    assert_eq!((web.name(), web.subject()), ("web", None));
    assert!(
        web.may_read("anything").is_ok()
            && web.may(Action::Fence).is_ok()
            && web.may(Action::Explain).is_err()
    );
    assert!(web.acting_for(Subject::new("1").unwrap()).is_ok());
    let alice = tokens.caller(b"alice's long token").unwrap();
    assert_eq!(alice.subject(), Subject::new("42").as_ref());
    assert!(alice.may_read("cart").is_ok() && alice.may_read("user").is_err());
    assert!(alice.may(Action::Explain).is_ok() && alice.may(Action::Invalidate).is_err());
    for stranger in ["", "a token of we", "a token of web ", &digest] {
        assert!(tokens.caller(stranger.as_bytes()).is_none(), "{stranger}");
    }
    let shown = format!("{tokens:?}");
    assert_eq!(shown, r#"["web", "alice"]"#);
}

#[test]
fn every_mistake_is_found_with_its_place() {
    let good = format!("[[token]]\nname = \"web\"\nsha256 = \"{WEB}\"\nviews = [\"user\"]\n");
    for (text, place, message, mend) in [
        ("", "1:1", "no token", "[[token]]"),
        ("[token]\nname = \"x\"\n", "1:1", "is a list of sections, but this is a table", "[[token]]"),
        (&format!("{good}extra = 1\n"), "5:1", "no field `extra`", "the fields here are name, views"),
        (&good.replace("fence", "x").replace("views", "view"), "1:1", "has no `views`", "[\"*\"]"),
        (&good.replace("\"user\"", "\"usr\""), "4:10", "no view `usr`", "did you mean `user`?"),
        (&good.replace("\"user\"", "1"), "4:10", "a list of strings", "quotes"),
        (&good.replace("\"web\"", "\" \""), "2:8", "the name is empty", "name it"),
        (&good.replace(WEB, "abc"), "3:10", "not a SHA-256", "64 hexadecimal"),
        (&good.replace(WEB, &format!("{}é", &WEB[..62])), "3:10", "not a SHA-256", "64 hexadecimal"),
        (
            &format!("{good}token = \"${{ALICE_TOKEN}}\"\n"),
            "3:10",
            "either `sha256` or `token`",
            "remove one",
        ),
        ("[[token]]\nname = \"a\"\nviews = []\n", "1:1", "has no `sha256`", "sha256sum"),
        (
            "[[token]]\nname = \"a\"\nviews = []\ntoken = \"literal\"\n",
            "4:9",
            "stands in the file",
            "sha256sum",
        ),
        ("[[token]]\nname = \"a\"\nviews = []\ntoken = \"${SHORT}\"\n", "4:9", "shorter than 16", "openssl"),
        (
            "[[token]]\nname = \"a\"\nviews = []\ntoken = \"${NONE}\"\n",
            "4:10",
            "no variable `NONE`",
            "set NONE",
        ),
        (&format!("{good}fence = \"yes\"\n"), "5:9", "`fence` is true or false", "without quotes"),
        (&format!("{good}subject = \"\"\n"), "5:11", "cannot be a subject", "printable"),
        (&format!("{good}{}", good.replace("5ce4", "ffff")), "6:8", "`web` is declared twice", "own name"),
        (&format!("{good}{}", good.replace("web", "two")), "7:10", "same token as `web`", "own token"),
    ] {
        let complaints = read(text).expect_err(text);
        let found = complaints.list().iter().any(|complaint| {
            complaint.place.is_some_and(|found| found.to_string() == place)
                && complaint.message.contains(message)
                && complaint.mend.contains(mend)
        });
        assert!(found, "wanted {place} {message} / {mend}\n{complaints}");
    }
}

#[test]
fn complaints_do_not_show_tokens() {
    let shown =
        read("[[token]]\nname = \"a\"\nviews = []\ntoken = \"a literal token\"\n").unwrap_err().to_string();
    assert!(shown.contains('^') && !shown.contains("literal"), "{shown}");
    let short = read("[[token]]\nname = \"a\"\nviews = []\ntoken = \"${SHORT}\"\n").unwrap_err().to_string();
    assert!(!short.contains("fifteen"), "{short}");
}

#[test]
fn digests_are_compared_whole() {
    let digest = fingerprint(b"x");
    assert!(is_equal(&digest, &digest));
    for bit in 0..256 {
        let mut bent = digest;
        bent[bit / 8] ^= 1 << (bit % 8);
        assert!(!is_equal(&digest, &bent), "bit {bit}");
    }
}
