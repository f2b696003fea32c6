//! Session tokens as the doors read and write them.
//!
//! A door takes Candor's own tokens, those that a database writes by SQL (docs/postgres.md), and several of either,
//! separated by commas: a session that wrote to two databases shows both positions. What any of them requires, the read
//! keeps to; one that cannot be believed makes the whole refused.

use candor_core::{SessionToken, TokenError, TokenSecret};

/// The longest of our own: sixteen logs make 451 characters. One by SQL has at most 230.
const TOKEN_BYTES_MAX: usize = 512;

/// The longest list: below what a header may have.
const TEXT_BYTES_MAX: usize = 4096;

/// Which tokens a service takes, and how it signs its own.
#[derive(Clone, Debug, Default)]
pub struct Sessions {
    /// What our own are signed with; without one they only carry a checksum.
    pub secret: Option<TokenSecret>,
    /// Whether tokens that a database wrote are taken. They carry no signature.
    pub from_sql: bool,
}

/// Why a session was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionRefusal {
    /// One of our own that cannot be believed, or too many.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// One by SQL, where the service signs its tokens and was not told to take others.
    #[error(
        "session tokens from SQL carry no signature, and this service takes only signed ones; take one with POST \
         /v1/fence, or have sessions_from_sql = true set in [server]"
    )]
    FromSql,
    /// One by SQL that no database wrote.
    #[error(
        "the session token is not as PostgreSQL writes it: {0}; run the statement of docs/postgres.md after the commit"
    )]
    Sql(String),
}

impl Sessions {
    /// Without a secret anybody can make a token of ours too, so those by SQL are taken unless `from_sql` says otherwise;
    /// with one they are not, unless it says so.
    pub fn new(secret: Option<TokenSecret>, from_sql: Option<bool>) -> Self {
        let from_sql = from_sql.unwrap_or(secret.is_none());
        Self { secret, from_sql }
    }

    /// Reads one token, or several.
    ///
    /// # Errors
    ///
    /// See [`SessionRefusal`]; all are the client's to mend, or the operator's by the configuration.
    pub fn read(&self, text: &str) -> Result<SessionToken, SessionRefusal> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(TokenError::Malformed.into());
        }
        let mut session = SessionToken::default();
        for part in text.split(',') {
            session.merge(&self.read_one(part.trim())?)?;
        }
        Ok(session)
    }

    fn read_one(&self, text: &str) -> Result<SessionToken, SessionRefusal> {
        if text.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Malformed.into());
        }
        if !candor_postgres::is_token(text) {
            return Ok(SessionToken::decode(text, self.secret.as_ref())?);
        }
        if !self.from_sql {
            return Err(SessionRefusal::FromSql);
        }
        candor_postgres::read_token(text).map_err(SessionRefusal::Sql)
    }

    /// A token as clients carry it: one, whatever was shown.
    pub fn write(&self, session: &SessionToken) -> String {
        session.encode(self.secret.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candor_core::{Epoch, LogId, Position};

    const SQL: &str = "pg1.7350000000000000001.00000001.1700000000000001.0.23456789.73686f70";

    fn secret() -> Option<TokenSecret> {
        TokenSecret::new(&[7; 16])
    }

    fn own(log: u64, at: u64) -> SessionToken {
        SessionToken::at(Position { epoch: Epoch { log: LogId(log), era: 0 }, at })
    }

    #[test]
    fn tokens_of_several_sources_are_merged_and_leave_as_one() {
        let sessions = Sessions::new(None, None);
        let text = format!("{}, {SQL} ,{}", sessions.write(&own(1, 5)), sessions.write(&own(1, 7)));
        let session = sessions.read(&text).unwrap();
        assert_eq!(session.positions().len(), 2);
        assert_eq!(session.position(LogId(1)), own(1, 7).position(LogId(1)));
        assert!(session.positions().iter().any(|position| position.at == 23_456_789));
        assert_eq!(sessions.read(&sessions.write(&session)), Ok(session));
    }

    #[test]
    fn where_tokens_are_signed_those_by_sql_are_taken_only_if_the_operator_says_so() {
        assert_eq!(Sessions::new(secret(), None).read(SQL), Err(SessionRefusal::FromSql));
        assert_eq!(Sessions::new(None, Some(false)).read(SQL), Err(SessionRefusal::FromSql));
        assert!(Sessions::new(secret(), Some(true)).read(SQL).is_ok());
        assert!(Sessions::new(None, None).read(SQL).is_ok());
        let unsigned = own(1, 5).encode(None);
        assert!(Sessions::new(secret(), Some(true)).read(&unsigned).is_err(), "our own stay signed");
    }

    #[test]
    fn one_part_that_cannot_be_believed_makes_the_whole_refused() {
        let sessions = Sessions::new(None, None);
        let good = sessions.write(&own(1, 5));
        for bad in ["", "x", "pg1.", "pg1.1.2.3", &SQL[..SQL.len() - 1], &"A".repeat(600)] {
            for text in [bad.to_owned(), format!("{good},{bad}"), format!("{bad},{SQL}")] {
                assert!(sessions.read(&text).is_err(), "{text:.40}");
            }
        }
        let many: Vec<String> = (0..17).map(|log| sessions.write(&own(log, 1))).collect();
        assert_eq!(sessions.read(&many.join(",")), Err(TokenError::Crowded.into()));
        assert!(sessions.read(&many[1..].join(",")).is_ok());
        assert!(sessions.read(&vec![good; 1000].join(",")).is_err(), "longer than a header");
    }
}
