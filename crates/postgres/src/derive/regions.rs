//! Where a condition holds.
//!
//! A query is a tree of regions. All conditions of one region hold together: a combination of its rows that does not meet
//! them is as if it were not there.
//!
//! ```text
//! SELECT … FROM a LEFT JOIN (b JOIN c ON P) ON Q WHERE R AND NOT EXISTS (SELECT … FROM d WHERE S)
//!
//! region 0             a              R holds for a, b, c and d: nothing matters where it fails
//! ├─ region 1 nullable b, c           P and Q hold for b and c, not for a: its rows appear anyway
//! └─ region 2          d              S holds for d alone
//! ```
//!
//! * What holds in a region holds in those inside it. One exception: a *closed* region (it has a LIMIT, DISTINCT ON, window
//!   functions) chooses among its rows before anything outside can, so a condition stated outside about a column from
//!   inside does not hold for the rows inside.
//! * What holds in a region holds around it too if rows around it appear only with rows from it (*outward*): a subquery in
//!   FROM, EXISTS and IN as conditions that must hold; not the right side of a LEFT JOIN, not an aggregate without GROUP
//!   BY, which answers even where there are no rows.
//!
//! An equality of WHERE may speak of the right side of a LEFT JOIN. It is not met by the row of NULLs, so a row there that
//! displaces the row of NULLs changes nothing either, unless the equality holds for it.

/// One region.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Region {
    pub(crate) parent: Option<usize>,
    /// What holds here holds around it.
    pub(crate) outward: bool,
    /// Conditions from outside about columns from here do not hold here.
    pub(crate) closed: bool,
    /// Nothing from outside holds here.
    pub(crate) alone: bool,
    /// The side of an outer join that may be replaced by NULLs.
    pub(crate) nullable: bool,
}

/// All regions; the first is the query itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Regions {
    list: Vec<Region>,
}

impl Regions {
    pub(crate) fn add(&mut self, region: Region) -> usize {
        self.list.push(region);
        self.list.len() - 1
    }

    /// Whether a condition stated in one region holds for the rows of another, as far as regions tell.
    pub(crate) fn holds(&self, stated: usize, rows: usize) -> bool {
        let mut top = stated;
        while let Some(Region { outward: true, parent: Some(parent), .. }) = self.list.get(top) {
            top = *parent;
        }
        let mut at = rows;
        loop {
            if at == top {
                return true;
            }
            match self.list.get(at) {
                Some(Region { alone: false, parent: Some(parent), .. }) => at = *parent,
                _ => return false,
            }
        }
    }

    /// The closed regions around a row, innermost first: what decides which conditions from outside do not hold for it.
    pub(crate) fn closed_around(&self, rows: usize) -> Vec<usize> {
        self.up(rows).filter(|at| self.list[*at].closed).collect()
    }

    /// Whether a condition stated in `stated` that reads rows of the regions `reads` is kept out of a closed region.
    pub(crate) fn is_kept_out(&self, closed: usize, stated: usize, reads: &[usize]) -> bool {
        !self.is_within(stated, closed) && reads.iter().any(|read| self.is_within(*read, closed))
    }

    /// Whether a condition stated in `stated` may see NULLs in place of a row of the region `read`.
    pub(crate) fn may_see_nulls(&self, stated: usize, read: usize) -> bool {
        self.up(read)
            .take_while(|at| !self.is_within(stated, *at))
            .any(|at| self.list[at].nullable || self.list[at].alone)
    }

    fn is_within(&self, inner: usize, outer: usize) -> bool {
        self.up(inner).any(|at| at == outer)
    }

    /// A region and those around it.
    fn up(&self, from: usize) -> impl Iterator<Item = usize> + '_ {
        std::iter::successors(Some(from), |at| self.list.get(*at).and_then(|region| region.parent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_hold_inward_and_only_where_allowed_outward() {
        let mut regions = Regions::default();
        let root = regions.add(Region::default());
        let nullable = regions.add(Region { parent: Some(root), nullable: true, ..Region::default() });
        let exists =
            regions.add(Region { parent: Some(root), outward: true, closed: true, ..Region::default() });
        let alone = regions.add(Region { parent: Some(root), alone: true, ..Region::default() });
        assert!(regions.holds(root, nullable) && !regions.holds(nullable, root));
        assert!(regions.holds(exists, root) && regions.holds(exists, nullable));
        assert!(!regions.holds(root, alone) && !regions.holds(alone, root));
        assert!(regions.is_kept_out(exists, root, &[exists]), "stated outside about a column from inside");
        assert!(
            !regions.is_kept_out(exists, exists, &[exists]) && !regions.is_kept_out(exists, root, &[root])
        );
        assert!(regions.may_see_nulls(root, nullable) && !regions.may_see_nulls(nullable, nullable));
        assert!(!regions.may_see_nulls(nullable, root), "the left side is there");
    }
}
