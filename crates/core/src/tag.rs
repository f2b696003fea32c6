//! Dependencies of entries, as 64-bit hashes.
//!
//! A tag is what an entry and a change have in common. It is a hash that is stable across processes and versions (XXH3
//! over an unambiguous encoding), because instances that share a feed must agree on it. A collision makes an entry look
//! changed that is not, and costs a needless refill; it can never hide a change.

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// A dependency of an entry.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(pub u64);

/// The set of columns a view reads of one table.
///
/// Where the log carries old values, a change that touches none of a view's columns does not concern the view. So a tag
/// is narrowed to a facet: the change carries the tag once for every facet it touches.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Facet(u64);

impl Facet {
    /// Every column.
    pub const WHOLE: Self = Self(0);

    /// The facet of exactly these columns, in any order and with repetitions.
    pub fn of<'a>(columns: impl IntoIterator<Item = &'a str>) -> Self {
        let mut columns: Vec<&str> = columns.into_iter().collect();
        columns.sort_unstable();
        columns.dedup();
        let mut hash = Xxh3::new();
        for column in columns {
            feed(&mut hash, column.as_bytes());
        }
        Self(hash.digest().max(1))
    }
}

impl Tag {
    /// A row tag: the rows of `table` whose `column` has the canonical value `value`.
    pub fn row(table: &str, facet: Facet, column: &str, value: &str) -> Self {
        let mut hash = Xxh3::new();
        hash.update(b"r");
        hash.update(&facet.0.to_le_bytes());
        for part in [table, column, value] {
            feed(&mut hash, part.as_bytes());
        }
        Self(hash.digest())
    }

    /// A table tag: any row of `table`.
    pub fn table(table: &str, facet: Facet) -> Self {
        let mut hash = Xxh3::new();
        hash.update(b"t");
        hash.update(&facet.0.to_le_bytes());
        feed(&mut hash, table.as_bytes());
        Self(hash.digest())
    }

    /// A tag that only applications give and invalidate.
    pub fn application(name: &str) -> Self {
        let mut hash = Xxh3::new();
        hash.update(b"a");
        feed(&mut hash, name.as_bytes());
        Self(hash.digest())
    }

    /// The tag of an entry's own key, for views that nothing else identifies.
    pub fn of_key(view: &str, key: &[u8]) -> Self {
        let mut hash = Xxh3::new();
        hash.update(b"k");
        feed(&mut hash, view.as_bytes());
        feed(&mut hash, key);
        Self(hash.digest())
    }

    /// A tag from a hash the caller computed; used for keys that have no bytes, only a [`std::hash::Hash`].
    pub fn of_hash(hash: u64) -> Self {
        Self(xxh3_64(&hash.to_le_bytes()))
    }
}

/// Length first, so that no two lists of parts encode alike.
fn feed(hash: &mut Xxh3, part: &[u8]) {
    hash.update(&(part.len() as u64).to_le_bytes());
    hash.update(part);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(Tag::row("ab", Facet::WHOLE, "c", "1"), Tag::row("a", Facet::WHOLE, "bc", "1"));
        assert_ne!(Tag::row("a", Facet::WHOLE, "b", ""), Tag::table("ab", Facet::WHOLE));
        assert_ne!(Facet::of(["ab"]), Facet::of(["a", "b"]));
    }

    #[test]
    fn a_facet_is_a_set() {
        assert_eq!(Facet::of(["b", "a", "b"]), Facet::of(["a", "b"]));
        assert_ne!(Facet::of([]), Facet::WHOLE);
    }

    #[test]
    fn hashes_are_part_of_the_wire_format_and_do_not_move() {
        assert_eq!(Tag::row("users", Facet::WHOLE, "id", "42"), Tag(FIXED_ROW));
        assert_eq!(Tag::application("prices"), Tag(FIXED_APPLICATION));
    }

    const FIXED_ROW: u64 = 1808663720944962382;
    const FIXED_APPLICATION: u64 = 4427269267817908752;
}
