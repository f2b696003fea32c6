//! The greeting: who we are, and the proof.
//!
//! Invariants: a password leaves the machine in the clear, or as MD5 (which is as good as in the clear), only inside TLS;
//! when the server begins SCRAM, it has to prove that it knows the password too before we go on.

use super::SessionError;
use super::wire::{Wire, Word};
use crate::options::ConnectOptions;
use crate::setup::name;
use fallible_iterator::FallibleIterator;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::backend::{AuthenticationSaslBody, Message};
use postgres_protocol::message::frontend;
use tokio_postgres::error::SqlState;

/// What the server says of itself before the first question.
#[derive(Clone, Copy, Debug)]
pub(super) struct Greeting {
    /// The major version.
    pub(super) version: u32,
    /// The process that serves us.
    pub(super) process: i32,
}

/// Introduces us and waits until the server is ready.
pub(super) async fn enter(
    mut wire: Wire,
    options: &ConnectOptions,
) -> Result<(Wire, Greeting), SessionError> {
    let parameters = [
        ("user", &*options.user),
        ("database", &*options.database),
        ("replication", "database"),
        ("application_name", &*options.application_name),
        // Values come as text; these make the text the same on every server, whatever its configuration.
        ("client_encoding", "UTF8"),
        ("DateStyle", "ISO"),
        ("IntervalStyle", "postgres"),
        ("extra_float_digits", "3"),
        // Streaming is one statement that never ends.
        ("statement_timeout", "0"),
    ];
    wire.put(|out| frontend::startup_message(parameters, out))?;
    wire.send().await?;
    let entered = async {
        prove(&mut wire, options).await?;
        greeting(&mut wire).await
    };
    let greeting = entered.await.map_err(|error| with_mend(error, options))?;
    Ok((wire, greeting))
}

/// Of what the server refuses, the role that may not read the log is mended by one statement.
fn with_mend(mut error: SessionError, options: &ConnectOptions) -> SessionError {
    if error.is(&SqlState::INSUFFICIENT_PRIVILEGE) {
        let role = name(&options.user);
        error.error.message.push_str(&format!(
            "; role {role} may not read the log. Mend: ALTER ROLE {role} REPLICATION (on Amazon RDS: GRANT rds_replication TO \
             {role})"
        ));
    }
    error
}

/// Answers the server's demands until it is content.
async fn prove(wire: &mut Wire, options: &ConnectOptions) -> Result<(), SessionError> {
    loop {
        match wire.word().await? {
            // Without any demand: `trust`, a certificate or the operating system vouches for us.
            Word::Message(Message::AuthenticationOk) => return Ok(()),
            Word::Message(Message::AuthenticationSasl(body)) => scram(wire, options, &body).await?,
            Word::Message(Message::AuthenticationCleartextPassword) => {
                let password = plain_password(wire, options, "in the clear")?;
                wire.put(|out| frontend::password_message(password, out))?;
                wire.send().await?;
            }
            Word::Message(Message::AuthenticationMd5Password(body)) => {
                let password = plain_password(wire, options, "as MD5")?;
                let hash = md5_hash(options.user.as_bytes(), password, body.salt());
                wire.put(|out| frontend::password_message(hash.as_bytes(), out))?;
                wire.send().await?;
            }
            Word::Message(Message::ErrorResponse(body)) => return Err(refused(&SessionError::told(&body))),
            Word::Message(Message::NoticeResponse(_)) => {}
            Word::Message(
                Message::AuthenticationGss
                | Message::AuthenticationSspi
                | Message::AuthenticationKerberosV5
                | Message::AuthenticationScmCredential,
            ) => {
                return Err(SessionError::down(
                    "the server asks for Kerberos or the like, which we do not speak: let this role in by scram-sha-256 \
                     or a certificate (pg_hba.conf)",
                ));
            }
            _ => return Err(SessionError::unexpected("while it asked who we are")),
        }
    }
}

/// SCRAM-SHA-256 from its first word to the server's proof. What comes between is refused: a server that skips its own
/// proof does not know the password.
async fn scram(
    wire: &mut Wire,
    options: &ConnectOptions,
    offer: &AuthenticationSaslBody,
) -> Result<(), SessionError> {
    let is_known = |name: &str| Ok(name == SCRAM_SHA_256);
    if !offer.mechanisms().any(is_known).map_err(|error| failed(&error))? {
        return Err(SessionError::down(
            "the server offers no way to prove a password that we speak (SCRAM-SHA-256)",
        ));
    }
    let mut scram = ScramSha256::new(password(options)?, ChannelBinding::unsupported());
    wire.put(|out| frontend::sasl_initial_response(SCRAM_SHA_256, scram.message(), out))?;
    wire.send().await?;
    match wire.word().await? {
        // The library refuses to compute more than 100,000 rounds for a server.
        Word::Message(Message::AuthenticationSaslContinue(body)) => {
            scram.update(body.data()).map_err(|error| failed(&error))?;
        }
        other => return Err(out_of_order(other)),
    }
    wire.put(|out| frontend::sasl_response(scram.message(), out))?;
    wire.send().await?;
    match wire.word().await? {
        Word::Message(Message::AuthenticationSaslFinal(body)) => {
            scram.finish(body.data()).map_err(|error| failed(&error))
        }
        other => Err(out_of_order(other)),
    }
}

/// Reads until the first question may be asked.
async fn greeting(wire: &mut Wire) -> Result<Greeting, SessionError> {
    let mut version = None;
    let mut process = 0;
    loop {
        match wire.word().await? {
            Word::Message(Message::ParameterStatus(body)) => {
                if body.name().is_ok_and(|name| name == "server_version") {
                    version = body.value().ok().and_then(major);
                }
            }
            Word::Message(Message::BackendKeyData(body)) => process = body.process_id(),
            Word::Message(Message::NoticeResponse(_)) => {}
            Word::Message(Message::ErrorResponse(body)) => return Err(refused(&SessionError::told(&body))),
            Word::Message(Message::ReadyForQuery(_)) => {
                let version = version
                    .ok_or_else(|| SessionError::down("the server did not say which version it is"))?;
                return Ok(Greeting { version, process });
            }
            _ => return Err(SessionError::unexpected("in its greeting")),
        }
    }
}

/// `15.18 (Debian 15.18-1)`, `18beta1`.
fn major(version: &str) -> Option<u32> {
    let end = version.find(|c: char| !c.is_ascii_digit()).unwrap_or(version.len());
    version[..end].parse().ok()
}

fn password(options: &ConnectOptions) -> Result<&[u8], SessionError> {
    options.password.as_deref().map(str::as_bytes).ok_or_else(|| {
        SessionError::down(format!(
            "the server asks for the password of role `{}`, and none is configured (PGPASSWORD, or in the connection \
             string)",
            options.user
        ))
    })
}

fn plain_password<'a>(wire: &Wire, options: &'a ConnectOptions, how: &str) -> Result<&'a [u8], SessionError> {
    if !wire.is_private() {
        return Err(SessionError::down(format!(
            "the server wants the password {how} on a connection without TLS, and anybody could listen: say \
             sslmode=verify-full, or let the role in by scram-sha-256 (pg_hba.conf)"
        )));
    }
    password(options)
}

fn failed(error: &std::io::Error) -> SessionError {
    SessionError::down(format!("the proof of the password failed: {error}"))
}

fn out_of_order(word: Word) -> SessionError {
    match word {
        Word::Message(Message::ErrorResponse(body)) => refused(&SessionError::told(&body)),
        Word::Message(Message::AuthenticationOk) => SessionError::down(
            "the server let us in without proving that it knows the password: it is not the server it claims to be",
        ),
        _ => SessionError::unexpected("amid the proof of the password"),
    }
}

fn refused(told: &SessionError) -> SessionError {
    told.clone().while_doing("PostgreSQL does not let us in")
}
