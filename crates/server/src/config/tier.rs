//! `[l1]` and `[l2]`: where entries are kept.

use super::section::Section;
use super::size;

/// What `[l1]` says.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct L1Settings {
    /// Bytes of values and keys kept in memory. Source: `capacity`, default 256 MiB.
    pub capacity_bytes: u64,
}

impl Default for L1Settings {
    fn default() -> Self {
        Self { capacity_bytes: 256 << 20 }
    }
}

pub(super) fn read(root: &Section<'_>) -> L1Settings {
    root.refuse(
        "l2",
        "a second tier is not available yet",
        "remove [l2]; entries are kept in memory, see [l1]",
    );
    let Some(section) = root.table("l1") else { return L1Settings::default() };
    let capacity = section.parsed("capacity", |text| match size::parse(text)? {
        // Below this the tier's own bookkeeping outweighs what it keeps.
        bytes if bytes < 1 << 20 => {
            Err(format!("`{text}` is too little to keep entries in; write at least 1MiB"))
        }
        bytes => Ok(bytes),
    });
    section.finish();
    capacity.map_or_else(L1Settings::default, |capacity_bytes| L1Settings { capacity_bytes })
}
