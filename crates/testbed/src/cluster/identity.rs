//! A system identifier of its own for each server.
//!
//! Servers whose data folders were unpacked from one archive would all claim to be the same, and a test in which one
//! takes another's place would show nothing. PostgreSQL offers no way to choose the identifier, so the file that holds
//! it is edited, and the log, which repeats it, is begun anew.

use std::hash::{BuildHasher, RandomState};
use std::path::Path;

use crate::programs::{as_servant, must_run, postgres_bin};

/// Gives the server that never ran in `data` an identifier that no other has.
pub(super) fn renew(data: &Path) {
    let path = data.join("global/pg_control");
    let mut control = std::fs::read(&path).expect("the control file cannot be read");
    let checksum =
        checksum_at(&control).expect("the control file's checksum is not where it was up to PostgreSQL 18");
    // The upper half is when the archive was made.
    let random = RandomState::new().hash_one(path.as_os_str()).to_le_bytes();
    control[..4].copy_from_slice(&random[..4]);
    let sum = crc32c(&control[..checksum]).to_le_bytes();
    control[checksum..checksum + 4].copy_from_slice(&sum);
    std::fs::write(&path, control).expect("the control file cannot be written");
    must_run(as_servant(postgres_bin().join("pg_resetwal"), data).arg("-D").arg(data));
}

/// Where the checksum is: it differs between versions, and is the sum of all that comes before it.
fn checksum_at(control: &[u8]) -> Option<usize> {
    (64..control.len().min(1024)).step_by(4).find(|end| {
        let stored: Option<[u8; 4]> = control[*end..].first_chunk().copied();
        stored.is_some_and(|stored| crc32c(&control[..*end]).to_le_bytes() == stored)
    })
}

/// The checksum by Castagnoli's polynomial, bit by bit: it runs over a few hundred bytes.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |sum: u32| if sum & 1 == 0 { sum >> 1 } else { (sum >> 1) ^ 0x82F6_3B78 };
    !bytes.iter().fold(!0, |sum, byte| (0..8).fold(sum ^ u32::from(*byte), |sum, _| step(sum)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_one_everybody_means_by_its_name() {
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
    }
}
