//! Session tokens: a position per source that the holder must not be shown anything older than.
//!
//! Opaque to clients, versioned, and tamper-evident when a secret is configured. Without a secret a checksum still
//! tells a broken token from a whole one. A token of another log is never taken for fresh: it is refused where it is
//! used.
//!
//! Layout before base64url: version (1), signed (0 or 1), then per source log id (8), era (4), at (8), all big-endian;
//! at the end sixteen bytes of HMAC-SHA-256 when signed, eight bytes of XXH3 when not.

use crate::position::{Epoch, LogId, Position};
use base64::Engine as _;
use base64::display::Base64Display;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt;
use xxhash_rust::xxh3::xxh3_64;

const VERSION: u8 = 1;
const POSITION_BYTES: usize = 20;
const MAC_BYTES: usize = 16;
const CHECKSUM_BYTES: usize = 8;
/// A session rarely reads from more than a few sources; the bound keeps tokens below the size of a header.
const POSITIONS_MAX: usize = 16;

/// A token before base64url.
const BYTES_MAX: usize = 2 + POSITIONS_MAX * POSITION_BYTES + MAC_BYTES;

/// The key that makes tokens tamper-evident. Instances behind one address share it.
///
/// Kept as the signature of nothing, from which every other begins: half of the work of a short one is the key.
#[derive(Clone)]
pub struct TokenSecret(Hmac<Sha256>);

impl TokenSecret {
    /// A secret of at least 16 bytes, or `None` if it is shorter.
    pub fn new(secret: &[u8]) -> Option<Self> {
        if secret.len() < 16 {
            return None;
        }
        // HMAC takes keys of any length.
        Hmac::new_from_slice(secret).ok().map(Self)
    }

    fn mac(&self, body: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        mac.update(body);
        mac
    }
}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSecret(…)")
    }
}

/// What a session has seen or written, as one position per log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionToken {
    /// Ascending by log, one per log.
    positions: Vec<Position>,
}

/// Why a token was refused.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not a token, or damaged on the way.
    #[error("the session token is not one of ours or was damaged on the way; take a new one with a fence")]
    Malformed,
    /// Made by a later version.
    #[error("the session token was made by another version of Candor; take a new one with a fence")]
    Version,
    /// The signature is missing or wrong.
    #[error("the session token carries no valid signature of this service; take a new one with a fence")]
    Forged,
    /// Several tokens that together name more logs than one can hold.
    #[error("the session tokens together name more than sixteen logs; send only those of what is read")]
    Crowded,
}

impl SessionToken {
    /// The token for a single position.
    pub fn at(position: Position) -> Self {
        Self { positions: vec![position] }
    }

    /// The position to be reached in this log, if the holder has seen anything of it.
    pub fn position(&self, log: LogId) -> Option<Position> {
        self.positions.iter().copied().find(|position| position.epoch.log == log)
    }

    /// The positions, ascending by log.
    pub fn positions(&self) -> &[Position] {
        &self.positions
    }

    /// Whether the holder has seen nothing yet.
    pub fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }

    /// Also require `position`. The later of two positions in one log counts; of more than sixteen logs the new one
    /// replaces the first.
    pub fn observe(&mut self, position: Position) {
        match self.positions.binary_search_by_key(&position.epoch.log, |known| known.epoch.log) {
            Ok(index) => {
                let known = &mut self.positions[index];
                let era = known.epoch.era.max(position.epoch.era);
                *known = Position { epoch: Epoch { era, ..known.epoch }, at: known.at.max(position.at) };
            }
            Err(_) if self.positions.len() == POSITIONS_MAX => {
                self.positions[0] = position;
                self.positions.sort_unstable_by_key(|known| known.epoch.log);
            }
            Err(index) => self.positions.insert(index, position),
        }
    }

    /// Also require all that `other` does.
    ///
    /// # Errors
    ///
    /// [`TokenError::Crowded`] where [`Self::observe`] would have to forget a log: a client that shows a position may
    /// rely on it.
    pub fn merge(&mut self, other: &Self) -> Result<(), TokenError> {
        let strange = other.positions.iter().filter(|new| self.position(new.epoch.log).is_none());
        if self.positions.len() + strange.count() > POSITIONS_MAX {
            return Err(TokenError::Crowded);
        }
        other.positions.iter().for_each(|position| self.observe(*position));
        Ok(())
    }

    /// The token as clients carry it.
    pub fn encode(&self, secret: Option<&TokenSecret>) -> String {
        self.encoded(secret).to_string()
    }

    /// The same, to be written where it is needed.
    pub fn encoded(&self, secret: Option<&TokenSecret>) -> EncodedToken {
        let mut token = EncodedToken { bytes: [0; BYTES_MAX], length: 0 };
        token.push(&[VERSION, u8::from(secret.is_some())]);
        for position in &self.positions {
            token.push(&position.epoch.log.0.to_be_bytes());
            token.push(&position.epoch.era.to_be_bytes());
            token.push(&position.at.to_be_bytes());
        }
        match secret {
            Some(secret) => {
                let mac = secret.mac(token.as_bytes()).finalize().into_bytes();
                token.push(&mac[..MAC_BYTES]);
            }
            None => token.push(&xxh3_64(token.as_bytes()).to_be_bytes()),
        }
        token
    }

    /// Reads a token back. With a secret, only tokens signed with it are taken.
    ///
    /// # Errors
    ///
    /// See [`TokenError`]; all are the client's to mend with a new fence.
    pub fn decode(text: &str, secret: Option<&TokenSecret>) -> Result<Self, TokenError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| TokenError::Malformed)?;
        let signed = match bytes.as_slice() {
            [VERSION, signed @ (0 | 1), ..] => *signed == 1,
            [VERSION, ..] | [] => return Err(TokenError::Malformed),
            _ => return Err(TokenError::Version),
        };
        let proof_bytes = if signed { MAC_BYTES } else { CHECKSUM_BYTES };
        let body_bytes = bytes
            .len()
            .checked_sub(proof_bytes)
            .filter(|length| *length >= 2)
            .ok_or(TokenError::Malformed)?;
        let (body, proof) = bytes.split_at(body_bytes);
        match (secret, signed) {
            (Some(secret), true) => {
                secret.mac(body).verify_truncated_left(proof).map_err(|_| TokenError::Forged)?
            }
            (Some(_), false) => return Err(TokenError::Forged),
            // Signed elsewhere: we cannot tell, so we do not believe.
            (None, true) => return Err(TokenError::Forged),
            (None, false) if xxh3_64(body).to_be_bytes() == proof => {}
            (None, false) => return Err(TokenError::Malformed),
        }
        decode_positions(&body[2..])
    }
}

/// A token that is ready to be written. On the stack: every answer of a door leaves with one.
#[derive(Clone, Debug)]
pub struct EncodedToken {
    bytes: [u8; BYTES_MAX],
    length: usize,
}

impl EncodedToken {
    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// There is room for as many positions as a token has.
    fn push(&mut self, part: &[u8]) {
        let end = self.length + part.len();
        self.bytes[self.length..end].copy_from_slice(part);
        self.length = end;
    }
}

/// Base64url.
impl fmt::Display for EncodedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Base64Display::new(self.as_bytes(), &URL_SAFE_NO_PAD).fmt(f)
    }
}

fn decode_positions(body: &[u8]) -> Result<SessionToken, TokenError> {
    let (chunks, rest) = body.as_chunks::<POSITION_BYTES>();
    if !rest.is_empty() || chunks.len() > POSITIONS_MAX {
        return Err(TokenError::Malformed);
    }
    let mut token = SessionToken::default();
    for chunk in chunks {
        let mut log = [0; 8];
        let mut era = [0; 4];
        let mut at = [0; 8];
        log.copy_from_slice(&chunk[..8]);
        era.copy_from_slice(&chunk[8..12]);
        at.copy_from_slice(&chunk[12..]);
        let epoch = Epoch { log: LogId(u64::from_be_bytes(log)), era: u32::from_be_bytes(era) };
        token.observe(Position { epoch, at: u64::from_be_bytes(at) });
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(log: u64, era: u32, at: u64) -> Position {
        Position { epoch: Epoch { log: LogId(log), era }, at }
    }

    fn token() -> SessionToken {
        let mut token = SessionToken::at(position(9, 1, 100));
        token.observe(position(3, 0, 7));
        token
    }

    #[test]
    fn tokens_come_back_whole_signed_and_unsigned() {
        let secret = TokenSecret::new(b"sixteen bytes or more").unwrap();
        for secret in [None, Some(&secret)] {
            assert_eq!(SessionToken::decode(&token().encode(secret), secret), Ok(token()));
        }
    }

    #[test]
    fn the_longest_token_has_room_and_its_form_does_not_move() {
        let secret = TokenSecret::new(&[1; 16]).unwrap();
        let mut longest = SessionToken::default();
        (0..2 * POSITIONS_MAX as u64).for_each(|log| longest.observe(position(log, u32::MAX, u64::MAX)));
        for secret in [None, Some(&secret)] {
            assert_eq!(SessionToken::decode(&longest.encode(secret), secret), Ok(longest.clone()));
        }
        assert_eq!(
            token().encode(None),
            "AQAAAAAAAAAAAwAAAAAAAAAAAAAABwAAAAAAAAAJAAAAAQAAAAAAAABkSL8Q64QAIdI"
        );
        let signed = "AQEAAAAAAAAAAwAAAAAAAAAAAAAABwAAAAAAAAAJAAAAAQAAAAAAAABkzPrTWe8MrIi_SanxwuYUDg";
        assert_eq!(token().encode(Some(&secret)), signed);
    }

    #[test]
    fn observing_keeps_the_later_position_of_each_log() {
        let mut token = token();
        token.observe(position(9, 2, 50));
        assert_eq!(token.position(LogId(9)), Some(position(9, 2, 100)));
        assert_eq!(token.position(LogId(3)), Some(position(3, 0, 7)));
        assert_eq!(token.position(LogId(4)), None);
    }

    #[test]
    fn merged_tokens_require_all_that_each_did_and_never_forget_a_log() {
        let mut merged = token();
        let mut other = SessionToken::at(position(9, 0, 200));
        other.observe(position(4, 0, 1));
        merged.merge(&other).unwrap();
        assert_eq!(merged.position(LogId(9)), Some(position(9, 1, 200)));
        assert_eq!(merged.position(LogId(3)), Some(position(3, 0, 7)));
        assert_eq!(merged.position(LogId(4)), Some(position(4, 0, 1)));
        for log in 100..113 {
            merged.merge(&SessionToken::at(position(log, 0, 1))).unwrap();
        }
        let full = merged.clone();
        assert_eq!(merged.merge(&SessionToken::at(position(99, 0, 1))), Err(TokenError::Crowded));
        assert_eq!(merged, full);
        merged.merge(&SessionToken::at(position(100, 0, 2))).unwrap();
        assert_eq!(merged.position(LogId(100)), Some(position(100, 0, 2)));
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let secret = TokenSecret::new(b"sixteen bytes or more").unwrap();
        for secret in [None, Some(&secret)] {
            let bytes = URL_SAFE_NO_PAD.decode(token().encode(secret)).unwrap();
            for bit in 0..bytes.len() * 8 {
                let mut bent = bytes.clone();
                bent[bit / 8] ^= 1 << (bit % 8);
                let decoded = SessionToken::decode(&URL_SAFE_NO_PAD.encode(&bent), secret);
                assert!(decoded.is_err(), "bit {bit} with secret {}", secret.is_some());
            }
        }
    }

    #[test]
    fn an_unsigned_token_is_a_forged_one_where_a_secret_is_configured() {
        let (one, other) = (TokenSecret::new(&[1; 16]).unwrap(), TokenSecret::new(&[2; 16]).unwrap());
        assert_eq!(SessionToken::decode(&token().encode(None), Some(&one)), Err(TokenError::Forged));
        assert_eq!(SessionToken::decode(&token().encode(Some(&other)), Some(&one)), Err(TokenError::Forged));
        assert_eq!(SessionToken::decode(&token().encode(Some(&one)), None), Err(TokenError::Forged));
    }

    #[test]
    fn rubbish_is_refused() {
        for text in ["", "AA", "not base64!", "AQ", "AQA", "////", &"A".repeat(10_000)] {
            assert!(SessionToken::decode(text, None).is_err(), "{text:.20}");
        }
        assert_eq!(
            SessionToken::decode(&URL_SAFE_NO_PAD.encode([2, 0, 1, 2, 3]), None),
            Err(TokenError::Version)
        );
    }

    #[test]
    fn secrets_are_not_printed() {
        assert_eq!(format!("{:?}", TokenSecret::new(&[7; 16]).unwrap()), "TokenSecret(…)");
    }
}
