//! What can be promised of a view, level by level, and why.

use candor_core::{Contract, ProofKind, duration};

/// A level, whether it can be kept, and why or what it costs.
pub(super) struct Promise {
    pub(super) level: &'static str,
    pub(super) can: bool,
    pub(super) why: String,
}

/// The promises of a contract. Nothing can be promised of a view that is refused.
pub(super) fn of(contract: &Contract, is_refused: bool) -> Vec<Promise> {
    let rows = match (is_refused, contract.proof) {
        (true, _) => ["strong", "bounded", "session", "any", "snapshot"]
            .map(|level| (level, false, "the view is refused".to_owned())),
        (false, ProofKind::Log) => logged(contract),
        (false, ProofKind::Clock | ProofKind::None) => clocked(contract),
    };
    let promise = |(level, can, why): (&'static str, bool, String)| {
        let is_barred = contract.critical && !is_refused && !matches!(level, "strong" | "snapshot");
        let why = if is_barred { "the view is critical: it is only read at strong".to_owned() } else { why };
        Promise { level, can: can && !is_barred, why }
    };
    rows.into_iter().map(promise).collect()
}

type Rows = [(&'static str, bool, String); 5];

fn logged(contract: &Contract) -> Rows {
    [
        (
            "strong",
            true,
            "one question to the source for all who wait together; the answer from memory if nothing changed"
                .into(),
        ),
        (
            "bounded",
            true,
            "any duration longer than a question to the source takes; proven by the log".into(),
        ),
        ("session", true, "never behind what the token's holder has seen or written".into()),
        ("any", true, any(contract)),
        ("snapshot", true, "several keys that hold together at one position of the log".into()),
    ]
}

fn clocked(contract: &Contract) -> Rows {
    [
        ("strong", true, "the source is asked each time; memory is of no use to it".into()),
        ("bounded", true, "the source was asked within the duration; changes are not noticed earlier".into()),
        ("session", false, "no log is followed, so there is no position that a token could name".into()),
        ("any", true, any(contract)),
        ("snapshot", false, "no log is followed, so nothing shows that answers hold together".into()),
    ]
}

fn any(contract: &Contract) -> String {
    format!("whatever memory holds, for its time to live of {}", duration::format(contract.ttl))
}
