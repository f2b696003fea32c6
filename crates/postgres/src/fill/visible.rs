//! A snapshot in words: which transactions are visible. Compiled into the simulation as well.

/// A snapshot, as `pg_current_snapshot()` prints it: `xmin:xmax:xip,…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Visible {
    /// Every transaction below is finished.
    pub(crate) xmin: u64,
    /// No transaction at or above was finished.
    pub(crate) xmax: u64,
    /// Those between that were running, ascending.
    pub(crate) in_progress: Box<[u64]>,
}

impl Visible {
    /// Reads the text form.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let refusal = || format!("`{text}` is not a snapshot such as 10:20:10,14");
        let number = |text: &str| text.parse::<u64>().map_err(|_| refusal());
        let mut parts = text.splitn(3, ':');
        let mut part = || parts.next().ok_or_else(refusal);
        let (xmin, xmax, list) = (number(part()?)?, number(part()?)?, part()?);
        let mut in_progress =
            list.split(',').filter(|id| !id.is_empty()).map(number).collect::<Result<Vec<u64>, String>>()?;
        in_progress.sort_unstable();
        let in_range = in_progress.iter().all(|id| (xmin..xmax).contains(id));
        if xmin > xmax || !in_range {
            return Err(refusal());
        }
        Ok(Self { xmin, xmax, in_progress: in_progress.into() })
    }
}
