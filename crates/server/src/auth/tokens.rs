//! The tokens file.
//!
//! ```toml
//! [[token]]
//! name   = "web"
//! sha256 = "<hex>"              # of the bearer token: printf %s "$TOKEN" | sha256sum
//! views  = ["user", "cart"]     # or ["*"]
//! fence  = true                 # also: invalidate, explain; absent means no
//! may_impersonate = true        # may name the subject it acts for in the subject header
//!
//! [[token]]
//! name    = "alice"
//! token   = "${ALICE_TOKEN}"    # instead of sha256: from the environment
//! views   = ["cart"]
//! subject = "42"                # whose private views it reads
//! ```
//!
//! Only digests are kept. A presented token is hashed and compared with every digest in constant time, so that neither
//! the time of one comparison nor the place in the list tells anything.

use super::{Caller, Grant, Subject};
use crate::config::section::{Reader, Section};
use crate::config::{Complaints, Document, Environment, Origin, nearest};
use sha2::{Digest, Sha256};
use std::fmt;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

type Fingerprint = [u8; 32];

/// The tokens that are let in.
#[derive(Clone)]
pub struct Tokens(Vec<(Fingerprint, Arc<Grant>)>);

impl Tokens {
    /// Bytes a token from the environment must have at least: what cannot be guessed.
    pub const TOKEN_BYTES_MIN: usize = 16;

    /// Whether a token may act for subjects other than its own.
    pub fn any_may_impersonate(&self) -> bool {
        self.0.iter().any(|(_, grant)| grant.may_impersonate)
    }

    /// Reads a tokens file. `views` are the declared views: a token for any other is a mistake.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it; all is the author's to mend.
    pub fn read(file: &Path, views: &[&str], environment: &Environment<'_>) -> Result<Self, Complaints> {
        Self::parse(&Origin::read(file)?, views, environment)
    }

    /// Reads a text that is in memory already.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it; all is the author's to mend.
    pub fn parse(origin: &Origin, views: &[&str], environment: &Environment<'_>) -> Result<Self, Complaints> {
        let Document { root, complaints } = Document::parse(origin)?;
        let reader = Reader::new(origin, environment, complaints);
        let tokens = read_all(&reader, &root, views);
        reader.into_complaints().verdict(tokens)
    }

    /// Who presents this token; `None` if nobody we know.
    pub fn caller(&self, presented: &[u8]) -> Option<Caller> {
        let fingerprint = fingerprint(presented);
        let mut found = None;
        for (known, grant) in &self.0 {
            if is_equal(known, &fingerprint) {
                found = Some(grant);
            }
        }
        found.map(|grant| Caller::of(Arc::clone(grant)))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

/// The names, not the digests: a digest is all that a token of little randomness can be guessed from.
impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(_, grant)| &grant.name)).finish()
    }
}

fn fingerprint(token: &[u8]) -> Fingerprint {
    Sha256::digest(token).into()
}

/// Looks at every byte, whatever it finds. [`black_box`] keeps the optimiser from finding an early end.
fn is_equal(a: &Fingerprint, b: &Fingerprint) -> bool {
    let difference = a.iter().zip(b).fold(0, |sum, (a, b)| black_box(sum | (a ^ b)));
    black_box(difference) == 0
}

fn read_all<'a>(reader: &'a Reader<'a>, table: &'a toml::de::DeTable<'a>, views: &[&str]) -> Tokens {
    let root = reader.root(table);
    let mut tokens: Vec<(Fingerprint, Arc<Grant>)> = Vec::new();
    for section in root.repeated("token") {
        let (digest, grant) = read_one(&section, views);
        if tokens.iter().any(|(_, known)| known.name == grant.name) && !grant.name.is_empty() {
            section.complain(
                "name",
                format!("the token `{}` is declared twice", grant.name),
                "give each its own name",
            );
        }
        if let Some(digest) = digest {
            if let Some((_, known)) = tokens.iter().find(|(other, _)| *other == digest) {
                let field = if section.has("token") { "token" } else { "sha256" };
                section.complain(
                    field,
                    format!("this is the same token as `{}`", known.name),
                    "give each its own token",
                );
            }
            tokens.push((digest, Arc::new(grant)));
        }
        section.finish();
    }
    if tokens.is_empty() && !root.has("token") {
        reader.complain(
            0..0,
            "the file declares no token, so nobody would be let in",
            "write a section [[token]]",
        );
    }
    root.finish();
    Tokens(tokens)
}

fn read_one(section: &Section<'_>, views: &[&str]) -> (Option<Fingerprint>, Grant) {
    section.require("name", "name it, for logs: name = \"web\"");
    section.require("views", "list what it may read: views = [\"user\"], or [\"*\"] for everything");
    let name = section.text("name").map_or("", |name| name.text);
    if section.has("name") && name.trim().is_empty() {
        section.complain("name", "the name is empty", "name it, for logs: name = \"web\"");
    }
    let listed = section.texts("views").unwrap_or_default();
    for view in listed.iter().filter(|view| view.text != "*" && !views.contains(&view.text)) {
        let mend = match nearest(view.text, views.iter().copied()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => "name a declared view, or \"*\" for all".to_owned(),
        };
        section.reader.complain(view.span.clone(), format!("there is no view `{}`", view.text), mend);
    }
    let subject = section.parsed("subject", |text| {
        Subject::new(text).ok_or_else(|| {
            format!("`{}` cannot be a subject; write 1 to 1024 bytes of printable text", text.escape_debug())
        })
    });
    let grant = Grant {
        name: name.into(),
        subject,
        all_views: listed.iter().any(|view| view.text == "*"),
        views: listed.iter().map(|view| view.text.into()).collect(),
        fence: section.flag("fence").unwrap_or(false),
        invalidate: section.flag("invalidate").unwrap_or(false),
        explain: section.flag("explain").unwrap_or(false),
        may_impersonate: section.flag("may_impersonate").unwrap_or(false),
    };
    (read_fingerprint(section), grant)
}

fn read_fingerprint(section: &Section<'_>) -> Option<Fingerprint> {
    const HOW: &str = "write sha256 = \"…\", the output of: printf %s \"$TOKEN\" | sha256sum";
    if section.has("token") && section.has("sha256") {
        section.complain("sha256", "a token has either `sha256` or `token`", "remove one of the two");
    } else if !section.has("token") {
        section.require("sha256", HOW);
    }
    let digest = section.parsed("sha256", |text| {
        from_hex(text)
            .ok_or_else(|| "this is not a SHA-256 digest; write its 64 hexadecimal digits".to_owned())
    });
    // A token that stands in the file is known to everybody who can read the file, and to its backups.
    if section.text("token").is_some_and(|token| !token.text.contains("${")) {
        section.complain("token", "the token itself stands in the file", HOW);
        return None;
    }
    let token = section.expanded("token").and_then(|(token, _)| {
        if token.len() >= Tokens::TOKEN_BYTES_MIN {
            return Some(fingerprint(token.as_bytes()));
        }
        let message = format!("the token is shorter than {} bytes", Tokens::TOKEN_BYTES_MIN);
        section.complain(
            "token",
            message,
            "use something long and random, such as the output of: openssl rand -hex 32",
        );
        None
    });
    digest.or(token)
}

fn from_hex(text: &str) -> Option<Fingerprint> {
    let mut bytes = [0; 32];
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != bytes.len() || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests;
