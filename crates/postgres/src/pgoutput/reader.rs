//! Reading numbers and names off the front of a message. Never beyond its end, whatever the bytes say.

use crate::lsn::Lsn;
use bytes::{Buf, Bytes};
use std::fmt;

/// Why bytes are not a message we understand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) String);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The rest of one message.
pub(crate) struct Reader {
    rest: Bytes,
}

impl Reader {
    pub(crate) fn new(message: Bytes) -> Self {
        Self { rest: message }
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        self.rest.try_get_u8().map_err(|_| ends_early())
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Malformed> {
        self.rest.try_get_u16().map_err(|_| ends_early())
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.rest.try_get_u32().map_err(|_| ends_early())
    }

    pub(crate) fn i32(&mut self) -> Result<i32, Malformed> {
        self.rest.try_get_i32().map_err(|_| ends_early())
    }

    pub(crate) fn i64(&mut self) -> Result<i64, Malformed> {
        self.rest.try_get_i64().map_err(|_| ends_early())
    }

    pub(crate) fn lsn(&mut self) -> Result<Lsn, Malformed> {
        self.rest.try_get_u64().map(Lsn).map_err(|_| ends_early())
    }

    /// That many bytes, not copied.
    pub(crate) fn bytes(&mut self, count: u32) -> Result<Bytes, Malformed> {
        let count = usize::try_from(count).map_err(|_| ends_early())?;
        if count > self.rest.len() {
            return Err(ends_early());
        }
        Ok(self.rest.split_to(count))
    }

    /// A name, which ends with a zero byte.
    pub(crate) fn name(&mut self) -> Result<String, Malformed> {
        let end = self.rest.iter().position(|byte| *byte == 0).ok_or_else(ends_early)?;
        let name = self.rest.split_to(end);
        self.rest.advance(1);
        match std::str::from_utf8(&name) {
            Ok(name) => Ok(name.to_owned()),
            Err(_) => Err(Malformed(format!(
                "the name {:?} is not UTF-8; a database in the encoding SQL_ASCII does not convert its names",
                String::from_utf8_lossy(&name)
            ))),
        }
    }

    /// How many bytes are left.
    pub(crate) fn left(&self) -> usize {
        self.rest.len()
    }

    /// All that is left, not copied.
    pub(crate) fn rest(self) -> Bytes {
        self.rest
    }

    /// Everything is read.
    pub(crate) fn end(&self) -> Result<(), Malformed> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(Malformed(format!("{left} bytes follow where it should end"))),
        }
    }
}

fn ends_early() -> Malformed {
    Malformed("it ends in the middle".to_owned())
}
