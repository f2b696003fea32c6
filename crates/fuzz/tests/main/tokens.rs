//! Session tokens: damage is noticed, a signature cannot be had without the secret, and what is read is what was written.

use candor_core::{Epoch, LogId, Position, SessionToken, TokenSecret};
use candor_fuzz::Fuzzer;

const WORDS: &[&str] = &["AQ", "AQA", "AQE", "Ag", "=", "-", "_", "+", "/", "AAAAAAAAAAA"];

fn secret() -> TokenSecret {
    TokenSecret::new(b"a secret of the fuzzer").unwrap()
}

fn token() -> SessionToken {
    let position = |log, era, at| Position { epoch: Epoch { log: LogId(log), era }, at };
    let mut token = SessionToken::at(position(7, 0, 42));
    token.observe(position(u64::MAX, 3, u64::MAX));
    token
}

/// The corpus holds an unsigned token and one signed with another secret; the one signed with ours is added here, so
/// that no change of the format leaves it behind.
#[test]
fn a_changed_token_is_never_taken_for_a_signed_one() {
    let signed = token().encode(Some(&secret()));
    let tally = Fuzzer::new("tokens", &[WORDS, &[&signed]].concat()).run(|input| {
        let text = String::from_utf8_lossy(input);
        let with = SessionToken::decode(&text, Some(&secret()));
        if let Ok(read) = &with {
            assert_eq!((read, &*text), (&token(), &*signed), "somebody signed without the secret");
        }
        let without = SessionToken::decode(&text, None);
        if let Ok(read) = &without {
            assert!(with.is_err(), "a token is signed and unsigned at once");
            assert_eq!(
                SessionToken::decode(&read.encode(None), None).as_ref(),
                Ok(read),
                "not the same again"
            );
        }
        let count = without.as_ref().map(|read| read.positions().len());
        format!("{:?} {count:?}", with.err())
    });
    assert!(tally.ways >= 3, "the fuzzer did nothing: {tally:?}");
}
